"""Runs work in napari's worker: errors come back like results, and nothing is kept after the end."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import FunctionWorker, GeneratorWorker, create_worker

from ...interruption import is_still_working
from .garbage import GarbageCollector


@dataclass(frozen=True, slots=True)
class _Failed:
    """An exception, returned as a value.

    The worker must not emit ``errored``: napari 0.9.2 answers it with a function that PySide6 calls with one argument
    too many, and a RuntimeError does not even get that far.
    """

    error: Exception


_running: set[Job] = set()  # also keeps the callbacks' owners alive: PySide would call methods of deleted objects
_garbage_collector = GarbageCollector(lambda: bool(_running) or is_still_working())


class Job:
    """One function or generator function in napari's worker; the callbacks run in the window's thread.

    Parameters
    ----------
    function : callable
    *arguments
        Its arguments. They are released with the work, because napari keeps every worker as long as its window.
    on_result, on_error : callable
        Called with the value that the function returns, or with the exception that it raises.
    on_progress : callable
        Called with each value that a generator function yields or tells.
    on_finished : callable
        Always called at the end. Until then the callbacks and their owners are kept alive, but no longer.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        on_result: Callable[[Any], None] | None = None,
        on_error: Callable[[Exception], None] | None = None,
        on_progress: Callable[[Any], None] | None = None,
        on_finished: Callable[[], None] | None = None,
    ) -> None:
        self._on_result, self._on_error = on_result, on_error
        self._on_progress, self._on_finished = on_progress, on_finished
        self._steps: list[Any] = []
        waiting, steps = [functools.partial(function, *arguments)], self._steps

        def work() -> Any:
            try:
                return waiting.pop()()
            except Exception as error:
                return _Failed(error)

        def work_in_steps() -> Any:
            try:
                steps.append(waiting.pop()())
                while True:
                    yield next(steps[0])
            except StopIteration as end:
                return end.value
            except Exception as error:
                return _Failed(error)

        chosen = work_in_steps if inspect.isgeneratorfunction(function) else work
        chosen.__qualname__ = function.__qualname__  # napari shows it if the window closes during the run
        self.worker: FunctionWorker | GeneratorWorker = create_worker(chosen, _ignore_errors=True)
        # methods, because Qt keeps functions, and all that they refer to, alive as long as the worker
        if isinstance(self.worker, GeneratorWorker):
            self.worker.yielded.connect(self._report)
        self.worker.returned.connect(self._answer)
        self.worker.finished.connect(self._finish)

    def start(self) -> None:
        """Begin."""
        _running.add(self)
        _garbage_collector.begin()
        self.worker.start()

    def quit(self) -> None:
        """End at the next step of a generator, without a result."""
        self.worker.quit()

    @property
    def was_asked_to_quit(self) -> bool:
        """Whether it ends without a result: after ``quit``, or because napari's window closes."""
        return bool(self.worker.abort_requested)

    def tell(self, progress: Any) -> None:
        """Pass a value on from a generator function that cannot yield now; called in the worker's thread."""
        self.worker.yielded.emit(progress)

    def _report(self, progress: Any) -> None:
        if self._on_progress is not None:
            self._on_progress(progress)

    def _answer(self, result: Any) -> None:
        if not isinstance(result, _Failed):
            answer, value = self._on_result, result
        else:
            answer, value = self._on_error, result.error
        if answer is not None:
            answer(value)

    def _finish(self) -> None:
        for each in self._steps:  # a generator that was asked to quit is paused, and still holds its data
            each.close()
        self._steps.clear()
        if self._on_finished is not None:
            self._on_finished()
        self._on_result = self._on_error = self._on_progress = self._on_finished = None
        _running.discard(self)
