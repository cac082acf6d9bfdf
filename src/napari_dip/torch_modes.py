"""Torch's and numpy's modes: a run ignores the caller's, and has one of its own that lets a stop end it at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from .interruption import Interrupted

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


class _Watch(TorchFunctionMode):
    """Looks at the stop before every operation."""

    def __init__(self, stop_requested: Callable[[], bool]) -> None:
        super().__init__()
        self._stop_requested = stop_requested

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if self._stop_requested():
            raise Interrupted
        return func(*args, **(kwargs or {}))


def interruptible(stop_requested: Callable[[], bool] | None) -> AbstractContextManager[object]:
    """Raise ``Interrupted`` before torch's next operation once a stop is requested; None: never.

    So filters and steps need not look at the stop themselves. What they were computing is then incomplete.
    """
    return nullcontext() if stop_requested is None else _Watch(stop_requested)
