"""Modes that a caller may have set in torch and numpy: a run ignores them and leaves them as they were."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import numpy as np
import torch

_Reported = TypeVar("_Reported")
_NUMPYS_OWN = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@contextmanager
def plain_modes() -> Iterator[None]:
    """Let this thread compute as a fresh one does: with gradients, without autocast, on the CPU by default.

    Afterwards the caller's modes (``no_grad``, ``inference_mode``, ``autocast``, a default device, ``numpy.seterr``)
    hold again. Torch's default type belongs to all threads and is left alone: all our tensors name their type.
    """
    accelerator = torch.accelerator.current_accelerator()
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.enable_grad())
        for kind in ("cpu", *([] if accelerator is None else [accelerator.type])):
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        modes.enter_context(np.errstate(**_NUMPYS_OWN))  # type: ignore[arg-type]
        yield


def keep_modes(steps: Generator[_Reported, None, None]) -> Generator[_Reported, None, None]:
    """Run a generator in plain modes, but yield in the caller's own modes.

    A mode left on at a ``yield`` would leak to the caller, and a mode that the caller sets between two reports would
    leak into the run.
    """
    try:
        while True:
            with plain_modes():
                try:
                    reported = next(steps)
                except StopIteration:
                    return
            yield reported
    finally:
        steps.close()
