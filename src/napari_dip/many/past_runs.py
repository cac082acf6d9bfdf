"""How long the last runs took, kept from session to session, for window and terminal alike; nothing of any image."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path

import platformdirs

from ..outcome import Restoration
from ..whole_files import remove_unfinished, write_atomically
from .run_estimate import PastRun, remember_run

_MOST = 60


def keep_run(result: Restoration) -> None:
    """Remember how long a run took, if it ended by itself."""
    run = remember_run(result)
    if run is None:
        return
    file = find_past_runs()
    remove_unfinished([file.parent])
    text = json.dumps([dataclasses.astuple(each) for each in [*recall_runs(), run][-_MOST:]])
    with suppress(OSError):  # a full disk, or a home that cannot be written: the next estimate knows less
        write_atomically(file, lambda hidden: hidden.write_text(text, encoding="utf-8"))


def recall_runs() -> list[PastRun]:
    """Return the last runs, the latest last; none if they cannot be read."""
    try:
        kept = [
            PastRun(str(device), str(kind), float(work), int(pixels), float(seconds))
            for device, kind, work, pixels, seconds in json.loads(find_past_runs().read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, TypeError, RecursionError):  # none yet, of another version, or damaged
        return []
    return [each for each in kept if min(each.work, each.pixels, each.seconds) > 0]


def find_past_runs() -> Path:
    """Return the file that holds them, where the system keeps what programs remember for a user."""
    return platformdirs.user_state_path("napari-dip", appauthor=False) / "past_runs.json"
