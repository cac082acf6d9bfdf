"""Words of the window that several of its parts need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..pace import say_duration, say_time_left

if TYPE_CHECKING:
    from ..outcome import Progress
    from .run import Run


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run is, in numbers and words.

    Attributes
    ----------
    done, of : int
    stage : str
        What it does.
    words, more : str
        A few; and all that there is to say.
    """

    done: int
    of: int
    stage: str
    words: str
    more: str


def say_state(
    run: Run, done: int, of: int, stage: str, words: str, more: str, seconds_left: tuple[float, float] | None
) -> RunState:
    """Return how far a run is, with the time that it took and still takes at the end of its words.

    Parameters
    ----------
    run : Run
    done, of, stage, words, more
        As ``RunState`` has them.
    seconds_left : (float, float) or None
        The least and the most; None if nobody knows.
    """
    left, left_fully = ("paused" if run.paused else say_time_left(seconds_left, fully=fully) for fully in (False, True))
    more = f"{more}, {say_duration(run.seconds)} so far"
    return RunState(done, of, begin(stage), _join(words, left), _join(more, left_fully))


def begin(sentence: str) -> str:
    """Return a sentence with its first letter as a sentence has it."""
    return sentence[:1].upper() + sentence[1:]


def say_step(progress: Progress) -> str:
    """Return in words at which step it is, and how many there may be."""
    return f"step {progress.step} of at most {progress.step_limit}"


def _join(*parts: str) -> str:
    return ", ".join(filter(None, parts))
