"""The work of a step, recorded once as a CUDA graph and replayed: one launch in place of hundreds."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

_EAGER_STEPS = 3  # before recording, so that libraries have loaded and the optimisers have made their state
_log = logging.getLogger(__name__)


class StepGraph:
    """Does the same work again and again; on CUDA it is recorded as a graph after a few times, and replayed.

    A replay repeats the recorded operations on the same memory: whatever changes from step to step must lie in a tensor
    on the device, and the results lie in the same tensors after every step. What cannot be recorded is done one
    operation at a time.

    Parameters
    ----------
    device : torch.device
    is_constant : bool
        Whether the work reads no numbers from the host that change.

    References
    ----------
    NVIDIA: CUDA C++ Programming Guide, "CUDA Graphs".
    """

    def __init__(self, device: torch.device, *, is_constant: bool = True) -> None:
        self._device = device
        self._may_record = is_constant and can_record(device)
        self._times = 0
        self._replay: Callable[[], None] | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether the work is replayed from a graph by now."""
        return self._replay is not None

    def run(self, work: Callable[[], None]) -> None:
        """Do the work once: always the same, and without waiting for the device."""
        if self._replay is not None:
            self._replay()
        elif not self._may_record:
            work()
        elif self._times < _EAGER_STEPS:
            self._times += 1
            work_aside(work, self._device)
        else:
            self._record(work)

    def _record(self, work: Callable[[], None]) -> None:
        """Record the work and replay it; if that fails, do it and record no more."""
        try:
            self._replay = record(work, self._device)
        except RuntimeError as error:
            _log.warning("This GPU does not record a step as a graph, so steps take longer: %s", error)
            self._may_record = False
            work()
        else:
            self._replay()


def can_record(device: torch.device) -> bool:
    """Return whether a device records graphs: NVIDIA's do; AMD's might, but that was never run."""
    return device.type == "cuda" and torch.version.hip is None


def work_aside(work: Callable[[], None], device: torch.device) -> None:
    """Do the work in a CUDA stream of its own, as recording will; what follows in the present stream waits for it."""
    present = torch.cuda.current_stream(device)
    aside = torch.cuda.Stream(device)
    aside.wait_stream(present)
    with torch.cuda.stream(aside):
        work()
    present.wait_stream(aside)


def record(work: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return what replays the work; nothing is computed yet.

    Raises
    ------
    RuntimeError
        If the work cannot be recorded.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph.replay
