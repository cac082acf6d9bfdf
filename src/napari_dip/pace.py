"""How often a run shows its progress, and how much time is left."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_SOON = 0.5  # seconds; less is not said as a number
_SHARE = 0.1  # of the time may be spent on showing progress


class Pace:
    """Says when it is time to show the progress of a run.

    Parameters
    ----------
    seconds : float
        The shortest interval. It grows if needed, so that preparing what is shown takes at most a tenth of the time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due_since: float | None = None  # None while nothing is being prepared
        self._next = float("-inf")

    def is_due(self) -> bool:
        """Return whether it is time; the first call returns True."""
        now = time.perf_counter()
        if now < self._next:
            return False
        self._due_since, self._next = now, now + self._seconds
        return True

    def mark_shown(self) -> None:
        """Note that what was due has been shown; if nothing was due (a result is always shown), do nothing."""
        if self._due_since is None:
            return
        now = time.perf_counter()
        self._next = max(self._next, now + (now - self._due_since) * (1 / _SHARE - 1))
        self._due_since = None


class StepTimer:
    """Measures the time per step, reports included, from the first report on: before that, everything is cold."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def seconds_per_step(self, step: int) -> float | None:
        """Return the mean up to this step; None at the first report."""
        now = time.perf_counter()
        if self._first is None:
            self._first = step, now
        before, then = self._first
        return (now - then) / (step - before) if step > before else None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the clock meanwhile, for a pause or for the caller's use of a report."""
        start = time.perf_counter()
        yield
        if self._first is not None:
            step, then = self._first
            self._first = step, then + time.perf_counter() - start


def say_duration(seconds: float) -> str:
    """Return a duration in words: 8 s, 1 min 20 s, 5 min, 2 h 10 min."""
    if seconds < 100:
        return f"{round(seconds)} s" if seconds < 60 else f"1 min {round(seconds) - 60} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def say_time_left(seconds_left: tuple[float, float] | None, *, fully: bool = False) -> str:
    """Return the time left in words; empty if it is not known yet.

    Parameters
    ----------
    seconds_left : (float, float) or None
        The least and the most.
    fully : bool
        Whether to mention the most too: the time to the step limit, which few runs reach.
    """
    if seconds_left is None:
        return ""
    if seconds_left[0] < _SOON:
        return "about to end"
    least, most = (say_duration(seconds) for seconds in seconds_left)
    if least == most:
        return f"{least} left"
    return f"at least {least} left" + (f", at most {most}" if fully else "")


def seconds_left_of_planes(
    seconds_left: tuple[float, float] | None, elapsed: float, finished: Sequence[float], waiting: int
) -> tuple[float, float] | None:
    """Return the least and the most time that a stack still takes; None if it is not known yet.

    Parameters
    ----------
    seconds_left : (float, float) or None
        The least and the most time that the current plane still takes.
    elapsed : float
        Seconds that it has taken so far.
    finished : sequence of float
        Seconds that each finished plane took.
    waiting : int
        How many planes come after it. Each is assumed to take as long as the finished ones, or as this one.
    """
    if finished:
        mean = sum(finished) / len(finished)
        least, most = seconds_left or (max(0.0, mean - elapsed),) * 2
        # this plane's most is the time to its step limit, which no plane before may have come near
        return least + waiting * mean, min(most, max(least, 2 * max(finished) - elapsed)) + waiting * mean
    if seconds_left is None:
        return None
    least, most = seconds_left
    return least + waiting * (elapsed + least), most + waiting * (elapsed + most)
