"""One run in napari's worker: started, paused, stopped; its errors are sentences."""

from __future__ import annotations

import atexit
import gc
import threading
import time
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QThreadPool

from ..measurement.task import Task, find_task
from ..pace import Pace
from ..request import Hooks
from ..request import Request as PlaneRequest
from ..settings import Settings
from ..threads import shorten_waits
from .layers import Source
from .stack_source import StackSource
from .worker import Job

if TYPE_CHECKING:
    from ..outcome import Progress, Restoration


_MS_AT_EXIT = 30_000
_runs: weakref.WeakSet[Run] = weakref.WeakSet()


@atexit.register
def _end_runs() -> None:
    """Let no worker outlive Qt.

    Napari waits for them only where its event loop ran, and a process that ends without would abort.
    """
    for run in list(_runs):
        run.abandon()
    gc.collect()  # here, not in a worker: PySide6 crashes at exit if a closed window is collected in another thread
    QThreadPool.globalInstance().waitForDone(_MS_AT_EXIT)


class RestorationFailed(Exception):
    """What the engine could not do, in a sentence. No RuntimeError: napari's worker would swallow it."""


class OutOfMemory(RestorationFailed):
    """What was asked for did not fit; the memory has been given back."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to restore, and how.

    Attributes
    ----------
    source : Source or StackSource
    task : str
    factor : int or None
        Of super-resolution.
    settings : Settings
    original_type : bool
        Whether the result is wanted in the pixel type of the source.
    previews_per_second : float
        At most so many.
    warm_start : str or None
        Of a stack, the letter of the axis along which a plane begins with the network of the one before it.
    """

    source: Source | StackSource
    task: str
    factor: int | None
    settings: Settings
    original_type: bool = False
    previews_per_second: float = 5.0
    warm_start: str | None = None


class Run:
    """A request on its way; the callbacks come in the window's own thread.

    Parameters
    ----------
    request : Request
    on_progress, on_result, on_error, on_finished : callable
        For each preview; for the result; for the exception that ended it; at the end, whatever it was.
    work : generator function
        What the worker runs, given the request, the events that stop it and let it go on, and ``arguments``.
    arguments : tuple
    """

    def __init__(
        self,
        request: Request,
        *,
        on_progress: Callable[[Any], None],
        on_result: Callable[[Any], None],
        on_error: Callable[[Exception], None],
        on_finished: Callable[[], None],
        work: Callable[..., Generator[Any, None, Any]],
        arguments: tuple[Any, ...] = (),
    ) -> None:
        self.request = request
        self._stop, self._may_go_on = threading.Event(), threading.Event()
        self._may_go_on.set()
        self._started = time.perf_counter()
        self._job = Job(
            work, request, self._stop, self._may_go_on, *arguments,
            on_progress=on_progress, on_result=on_result, on_error=on_error, on_finished=on_finished,
        )  # fmt: skip

    def start(self) -> None:
        """Begin."""
        _runs.add(self)
        self._job.start()

    @property
    def task(self) -> Task:
        """What is being done."""
        return find_task(self.request.task)

    @property
    def main_stage(self) -> str:
        """The stage whose curves tell about the result."""
        return "restoring" if self.task.removes_noise else "smoothing"

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._started

    @property
    def stopping(self) -> bool:
        """Whether it has been asked to end."""
        return self._stop.is_set()

    @property
    def paused(self) -> bool:
        """Whether it has been asked to wait."""
        return not self._may_go_on.is_set()

    def stop(self) -> None:
        """End with the best so far."""
        self._stop.set()
        self._may_go_on.set()

    def abandon(self) -> None:
        """End without a result."""
        self.stop()
        self._job.quit()

    def pause(self) -> None:
        """Wait after the present steps."""
        self._may_go_on.clear()

    def resume(self) -> None:
        """Go on."""
        self._may_go_on.set()


def restore_in_worker(
    request: Request, stop: threading.Event, may_go_on: threading.Event
) -> Generator[Progress, None, Restoration]:
    """Run the engine in napari's worker: previews by the clock, errors that the worker does not swallow."""
    with shorten_waits():
        result = yield from explain_errors(_restore, request, stop, may_go_on)
    if result is None:
        raise RestorationFailed("the run ended without a result.")
    return result


def _restore(
    request: Request, stop: threading.Event, may_go_on: threading.Event
) -> Generator[Progress, None, Restoration | None]:
    from ..many.tiles import restore_tiles
    from ..many.tiling import plan_tiles
    from ..restoration import restore_steps

    source = request.source
    assert isinstance(source, Source)
    table = source.quantisation_table if find_task(request.task).takes("quantisation_table") else None
    pace = Pace(1 / request.previews_per_second)  # no more: napari would queue them up
    image, mask = source.image, source.mask
    given = {"factor": request.factor, "quantisation_table": table}
    how = PlaneRequest(
        request.task, request.settings, {name: each for name, each in given.items() if each is not None}, source.colours
    )
    hooks = Hooks(stop.is_set, lambda: pace.is_due() or not may_go_on.is_set(), quick_estimates=True)
    tiling = plan_tiles(image.shape, how)
    if tiling is None:
        steps = restore_steps(image, mask, **how.arguments, **hooks.arguments)
    else:  # it does not fit as a whole
        read_mask = None if mask is None else lambda *place: mask[place]
        steps = restore_tiles(lambda *place: image[place], read_mask, image.shape, tiling, how, hooks)
    for progress in steps:
        pace.made()
        if progress.result is not None:
            return progress.result
        yield progress
        may_go_on.wait()
    return None


def explain_errors(work: Callable[..., Generator[Any, None, Any]], *arguments: Any) -> Generator[Any, None, Any]:
    """Do what a worker does, and raise what torch could not do as an error that napari's worker does not swallow."""
    from ..device import NotEnoughMemory, return_memory

    try:
        return (yield from work(*arguments))
    except (RuntimeError, MemoryError, NotEnoughMemory) as error:  # torch's own, out of memory included
        failure = explain_failure(error)
        return_memory(error)
    raise failure  # beyond the except clause: chained to it, the error would keep the run's frames


def explain_failure(error: Exception) -> RestorationFailed:
    """Say in a sentence what torch could not do."""
    from ..device import NotEnoughMemory, is_out_of_memory

    text = str(error)
    if isinstance(error, NotEnoughMemory):
        return OutOfMemory(f"{text.partition(':')[0]}.")
    if is_out_of_memory(error):
        return OutOfMemory("the device ran out of memory.")
    return RestorationFailed(f"the restoration failed: {text.splitlines()[0] if text else type(error).__name__}")
