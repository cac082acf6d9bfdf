"""Work for the window's thread, cut into turns: between two of them the window answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from qtpy.QtCore import QTimer

_MS_BETWEEN = 10  # in which the window draws and takes clicks


class Turns:
    """Does what it is given one after another, each in a turn of its own; at once if nothing is waiting."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()
        self._busy = self._hurries = False

    def take(self, *work: Callable[[], object]) -> None:
        """Do this work after what is already waiting."""
        self._waiting.extend(work)
        if self._hurries:
            self.hurry()
        elif not self._busy:
            self._busy = True
            self._do_next()

    def hurry(self) -> None:
        """Do what is waiting, and everything to come, at once: there is no window any more that could be held."""
        self._hurries = True
        while self._waiting:
            self._waiting.popleft()()

    def _do_next(self) -> None:
        if not self._waiting:
            self._busy = False
            return
        work = self._waiting.popleft()
        QTimer.singleShot(_MS_BETWEEN, self._do_next)  # first, in case the work fails
        work()
