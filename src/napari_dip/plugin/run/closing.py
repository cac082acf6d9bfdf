"""How a form learns that its dock or its window closes; Qt tells each in its own way."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QWidget


class DockWatcher(QObject):
    """Calls back when a widget leaves its closing dock, or is destroyed with its window.

    Parameters
    ----------
    watched : QWidget
    on_closed, on_destroyed : callable
    """

    def __init__(self, watched: QWidget, on_closed: Callable[[], None], on_destroyed: Callable[[], None]) -> None:
        super().__init__()
        self._on_closed, self._on_destroyed = on_closed, on_destroyed
        watched.installEventFilter(self)
        watched.destroyed.connect(self._on_destroyed)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Notice that the widget has lost its parent."""
        if event.type() == QEvent.Type.ParentChange and watched.parent() is None:
            self._on_closed()
        return False


class WindowWatcher(QObject):
    """Knows whether a window is still there after its form has closed; if the user cancels its closing, it is."""

    def __init__(self) -> None:
        super().__init__()
        self._saw_close = False

    def watch(self, window: QMainWindow) -> None:
        """Begin, until Qt deletes either."""
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Notice a close event."""
        self._saw_close = self._saw_close or event.type() == QEvent.Type.Close
        return False

    def still_exists(self, window: QMainWindow | None) -> bool:
        """Return whether the window can still show layers."""
        if window is None:
            return False
        try:
            return window.isVisible() or not self._saw_close
        except RuntimeError:  # Qt has deleted it
            return False
