"""The line above Restore: about how long a run will take, and how much memory."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

from qtpy.QtCore import QTimer

from ...many.past_runs import recall_runs
from ...many.run_estimate import describe_estimate, estimate_run
from ..request import Plan
from ..words import capitalise
from .worker import Job

_MS_UNTIL_STILL = 250  # after the last change: typing a number changes a field at every key


class Expectation:
    """Says what a run will take whenever the form changes, a little later and from napari's worker.

    Parameters
    ----------
    plan : callable
        Returns what would be restored, or None; raises ValueError or TypeError if a field cannot be used.
    say : callable
        Called with the line; it may be empty.
    """

    def __init__(self, plan: Callable[[], Plan | None], say: Callable[[str], None]) -> None:
        self._plan, self._say = plan, say
        self._ready = self._closed = False
        self._number = 0  # of the last question: answers to earlier ones no longer matter
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_MS_UNTIL_STILL)
        self._timer.timeout.connect(self._ask)

    def get_ready(self) -> None:
        """Begin: torch is loaded, and known to work."""
        self._ready = True
        self.refresh()

    def close(self) -> None:
        """Say no more, because the form closes."""
        self._closed = True
        with contextlib.suppress(RuntimeError):  # Qt has deleted it
            self._timer.stop()

    def refresh(self, event: object = None) -> None:
        """Say it anew, once the form has been left alone for a moment."""
        if self._ready and not self._closed:
            self._timer.start()

    def _ask(self) -> None:
        self._number += 1
        try:
            plan = self._plan()
        except (ValueError, TypeError):  # Restore says what is wrong
            plan = None
        if plan is None:
            self._say("")
            return
        Job(_estimate, plan, on_result=functools.partial(self._answer, self._number)).start()

    def _answer(self, number: int, words: str) -> None:
        if number == self._number and not self._closed:
            self._say(words)


def _estimate(plan: Plan) -> str:
    """Return the line; in the worker."""
    from ...device import NotEnoughMemory

    try:
        found = estimate_run(plan.request, plan.shape, plan.planes, recall_runs(), neighbours=plan.neighbours)
    except NotEnoughMemory as error:
        return capitalise(str(error))
    except (ValueError, OSError):  # Restore says what is wrong
        return ""
    return describe_estimate(found, plan.planes, continues=plan.continues)
