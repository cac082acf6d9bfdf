"""How often a run shows itself, and how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_SOON = 0.5  # seconds: less is not told in numbers
_SHARE = 0.1  # of the time that may go into showing


class Pace:
    """Says when to show how far a run is.

    Parameters
    ----------
    seconds : float
        At most once in so many; and so rarely that making what is shown takes a tenth of the time at most.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._asked: float | None = None  # since when something is being made
        self._next = float("-inf")

    def is_due(self) -> bool:
        """Return whether it is time: True when asked first."""
        now = time.perf_counter()
        if now < self._next:
            return False
        self._asked, self._next = now, now + self._seconds
        return True

    def made(self) -> None:
        """Be told that what was due has been made; what was not, such as a result, counts for nothing."""
        if self._asked is None:
            return
        now = time.perf_counter()
        self._next = max(self._next, now + (now - self._asked) * (1 / _SHARE - 1))
        self._asked = None


class StepTimer:
    """Measures what a step takes, reports included, from the first report on: before, all is still cold."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def seconds_per_step(self, step: int) -> float | None:
        """Return the mean so far; None at the first report, whose step this is."""
        now = time.perf_counter()
        if self._first is None:
            self._first = step, now
        before, then = self._first
        return (now - then) / (step - before) if step > before else None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Do not count what happens meanwhile: a pause, or whoever looks at a report."""
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
    """Return the time left in words; empty if nobody knows yet.

    Parameters
    ----------
    seconds_left : (float, float) or None
        The least and the most that it may be.
    fully : bool
        Whether to say the most, too, which is that of a run to its step limit: few come near.
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
    of_plane: tuple[float, float] | None, elapsed: float, done: Sequence[float], to_come: int
) -> tuple[float, float] | None:
    """Return the least and the most that a stack still takes; None if nobody knows yet.

    Parameters
    ----------
    of_plane : (float, float) or None
        What the plane at work still takes.
    elapsed : float
        What it has taken.
    done : sequence of float
        What each of those before it took.
    to_come : int
        How many come after it; each is taken to be as long as those that are done, or else as this one.
    """
    if done:
        mean = sum(done) / len(done)
        least, most = of_plane or (max(0.0, mean - elapsed),) * 2
        # the most of this plane is its step limit, which none before may have come near
        return least + to_come * mean, min(most, max(least, 2 * max(done) - elapsed)) + to_come * mean
    if of_plane is None:
        return None
    least, most = of_plane
    return least + to_come * (elapsed + least), most + to_come * (elapsed + most)
