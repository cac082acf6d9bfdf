"""While a worker runs, Python collects garbage in the window's thread only.

A closed window is garbage in cycles, and Python collects cycles in whichever thread happens to allocate. In a worker's,
PySide then destroys Qt objects of the window there: it holds a lock of Qt and waits for Python, while the window's
thread holds Python and waits for that lock. Seen with PySide6 6.11: napari stood still for good.

pyqtgraph's ``GarbageCollector`` does the same, but cannot be ended, searches everything whatever it costs, and would
load pyqtgraph before the form opens.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from qtpy.QtCore import QCoreApplication, QTimer

_MS_BETWEEN = 100  # often, so that each time there is little to search
_MANY = 125_000  # a quarter of what napari and torch make, as Python itself would wait; all of it took 0.6 s to search


class GarbageCollector:
    """Collects by a timer, instead of Python's automatic collection, as long as there is work beside the window.

    Nothing changes if automatic collection is already off: whoever turned it off collects in a way of their own.

    Parameters
    ----------
    is_needed : callable
        Returns whether anything still works beside the window. Asked in the window's thread.
    """

    def __init__(self, is_needed: Callable[[], bool]) -> None:
        self._is_needed = is_needed
        self._timer: QTimer | None = None
        self._grown_old = 0

    def begin(self) -> None:
        """Begin, unless it has begun; called in the window's thread, before the work starts."""
        application = QCoreApplication.instance()
        if self._timer is not None or application is None or not gc.isenabled():
            return
        gc.disable()
        self._timer = QTimer(application)
        self._timer.timeout.connect(self._collect_or_end)
        self._timer.start(_MS_BETWEEN)
        # a script may go on after its window; napari has waited for the workers by then
        application.aboutToQuit.connect(self._end)

    def _collect_or_end(self) -> None:
        if self._is_needed():
            self._collect()
        else:
            self._end()

    def _collect(self) -> None:
        """Collect as often as Python would, but the oldest objects, which take longest, once many have joined them."""
        young, middle, _ = (count > limit for count, limit in zip(gc.get_count(), gc.get_threshold(), strict=True))
        if young and middle:
            searched = sum(len(gc.get_objects(generation=each)) for each in (0, 1))
            self._grown_old += searched - gc.collect(1)
            if self._grown_old > _MANY:
                gc.collect()
                self._grown_old = 0
        elif young:
            gc.collect(0)

    def _end(self) -> None:
        """Let Python collect by itself again, but not at once: the last worker's thread may still be ending."""
        if self._timer is None:
            return
        self._timer.stop()
        self._timer.deleteLater()
        self._timer = None
        QCoreApplication.instance().aboutToQuit.disconnect(self._end)
        gc.collect(0)
        gc.enable()
