"""How long the last runs took, kept from session to session where Qt keeps a user's settings; nothing of any image."""

from __future__ import annotations

import dataclasses
import json

from qtpy.QtCore import QSettings

from ...many.run_estimate import PastRun, remember_run
from ...outcome import Restoration

_MOST = 60
_KEY = "past_runs"


def keep_run(result: Restoration) -> None:
    """Remember how long a run took, if it ended by itself."""
    run = remember_run(result)
    if run is not None:
        runs = [*recall_runs(), run][-_MOST:]
        _open().setValue(_KEY, json.dumps([dataclasses.astuple(each) for each in runs]))


def recall_runs() -> list[PastRun]:
    """Return the last runs, the latest last; none if they cannot be read."""
    try:
        kept = [
            PastRun(str(device), str(kind), float(work), int(pixels), float(seconds))
            for device, kind, work, pixels, seconds in json.loads(str(_open().value(_KEY, "[]")))
        ]
    except (ValueError, TypeError):  # of another version, or damaged
        return []
    return [each for each in kept if min(each.work, each.pixels, each.seconds) > 0]


def _open() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-dip", "napari-dip")
