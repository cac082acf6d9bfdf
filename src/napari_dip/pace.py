"""How often a run shows its progress, and how much time is left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_SOON = 0.5  # seconds; less is not said as a number
_SHARE = 0.1  # of the time may be spent on showing progress
_NEARLY = 1.25  # times: two durations that differ by less are said as one
_SLACK = 0.2  # less than the least: the first steps of a run are slow, or the machine was busy
_FAR_APART = 4  # times: of two durations that differ by more, the shorter one says nothing


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
    """Measures the time per step from the first report on: before that, everything is cold."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._stepping = 0.0  # seconds since then

    def seconds_per_step(self, step: int) -> float | None:
        """Return the mean up to this step, reports included; None at the first report."""
        now = time.perf_counter()
        if self._first is None:
            self._first, self._stepping = (step, now), 0.0
        before, then = self._first
        return (now - then) / (step - before) if step > before else None

    def seconds_per_bare_step(self, step: int) -> float | None:
        """Return the mean up to this step, without reports; None at the first report."""
        before = step if self._first is None else self._first[0]
        return self._stepping / (step - before) if step > before else None

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """Note that a step is being taken."""
        start = time.perf_counter()
        yield
        self._stepping += time.perf_counter() - start

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
        whole = round(seconds)
        return f"{whole} s" if whole < 60 else f"1 min {whole - 60} s".removesuffix(" 0 s")
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def say_range(seconds: tuple[float, float]) -> str:
    """Return a range of durations in words: 5 to 15 s, 50 s to 2 min; one duration if they hardly differ."""
    least, most = (_round(each, how) for each, how in zip(seconds, (math.floor, math.ceil), strict=True))
    if seconds[1] <= max(_NEARLY * seconds[0], seconds[0] + 1):
        return say_duration(_round(sum(seconds) / 2, round))
    first, last = say_duration(least), say_duration(most)
    shared = first.rpartition(" ")
    return f"{shared[0] if last.count(' ') == 1 and last.endswith(' ' + shared[2]) else first} to {last}"


def _round(seconds: float, how: Callable[[float], int]) -> float:
    """Return a duration that reads easily: rounded down, up or to the nearest."""
    unit = 1 if seconds < 10 else 5 if seconds < 60 else 10 if seconds < 100 else 60
    return how(seconds / unit) * unit


def say_time_left(seconds_left: tuple[float, float] | None) -> str:
    """Return the time left in words; empty if it is not known yet.

    Parameters
    ----------
    seconds_left : (float, float) or None
        The least and the most.
    """
    if seconds_left is None:
        return ""
    least, most = seconds_left
    if most < _SOON:
        return "about to end"
    if most > max(_FAR_APART * least, 5):
        return f"at most {say_duration(_round(most, math.ceil))} left"
    if most > _NEARLY * least:
        least *= 1 - _SLACK
    return f"{say_range((least, most))} left"


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


class FilesTimer:
    """Foresees how long several files still take: as was expected, until the first one is finished; then from those.

    Parameters
    ----------
    count : int
        How many are to be restored.
    expected : (float, float) or None
        The least and the most seconds for all of them; None if it is not known.
    """

    def __init__(self, count: int, expected: tuple[float, float] | None) -> None:
        self._left, self._expected = count, expected
        self._took: list[float] = []
        self._began = self._last = time.perf_counter()

    def end_file(self, *, is_done: bool) -> None:
        """Note that a file has ended; one that failed says nothing about how long the others take."""
        now = time.perf_counter()
        if is_done:
            self._took.append(now - self._last)
        self._left, self._last = self._left - 1, now

    @property
    def seconds_left(self) -> tuple[float, float] | None:
        """The least and the most for all files that are left; None if unknown, or if it takes longer than expected."""
        now = time.perf_counter()
        if self._left < 1:
            return None
        if self._took:
            left = seconds_left_of_planes(None, now - self._last, self._took, self._left - 1)
        elif self._expected is not None:
            least, most = (max(0.0, each - (now - self._began)) for each in self._expected)
            left = least, most
        else:
            left = None
        return left if left is not None and left[1] > 0 else None
