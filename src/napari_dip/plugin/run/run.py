"""One run in napari's worker: started, paused, stopped."""

from __future__ import annotations

import atexit
import gc
import threading
import time
import weakref
from collections.abc import Callable, Mapping

from qtpy.QtCore import QThreadPool

from ...record import Record
from ..layers.source import Place
from ..request import LayerRequest
from .restoring import RunReport, restore_in_worker
from .worker import Job

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


class Run:
    """A request on its way; the callbacks come in the window's own thread.

    Parameters
    ----------
    request : LayerRequest
    done : mapping
        The records of planes that an earlier run has done.
    on_report, on_end, on_error, on_finished : callable
        For each report; for the end, if nothing went wrong; for the exception that ended it; last, whatever it was.
    """

    def __init__(
        self,
        request: LayerRequest,
        done: Mapping[Place, Record],
        *,
        on_report: Callable[[RunReport], None],
        on_end: Callable[[None], None],
        on_error: Callable[[Exception], None],
        on_finished: Callable[[], None],
    ) -> None:
        self.request = request
        self._stop, self._may_go_on = threading.Event(), threading.Event()
        self._may_go_on.set()
        self._started = time.perf_counter()
        self._job = Job(
            restore_in_worker, request, self._stop, self._may_go_on, done,
            on_progress=on_report, on_result=on_end, on_error=on_error, on_finished=on_finished,
        )  # fmt: skip

    def start(self) -> None:
        """Begin."""
        _runs.add(self)
        self._job.start()

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
