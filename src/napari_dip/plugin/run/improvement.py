"""Whether a run still gets anywhere, so that the window can say so."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...outcome import Progress

_LEAST_SECONDS = 10.0  # after the first report, before which nobody wonders
_LEAST_STEPS = 60  # without filters: a network takes up to 40 to begin (docs/tuning.md)
_SHARE, _DECIBELS = 2 / 3, 0.1  # a run that has gained less since this share of its time improves slowly


class Improvement:
    """Remembers the error of one plane over time, as held-out pixels show it."""

    def __init__(self) -> None:
        self._errors: list[tuple[float, float]] = []  # seconds, and the smallest error so far

    def is_slow(self, progress: Progress, seconds: float) -> bool:
        """Return whether the error has hardly fallen in the last third of the time so far.

        Parameters
        ----------
        progress : Progress
            The latest report.
        seconds : float
            Since the start of the run.
        """
        error = progress.held_out_error
        if error is None or not error > 0 or progress.tile is not None or progress.stage != "restoring":
            return False
        best = min(error, self._errors[-1][1]) if self._errors else error
        self._errors.append((seconds, best))
        first = self._errors[0][0]
        may_begin = progress.prior_error is None and progress.step < _LEAST_STEPS
        if may_begin or seconds - first < _LEAST_SECONDS:
            return False
        # the last report before: with seconds between two reports, this one may be the only one after
        then = next(before for at, before in reversed(self._errors) if at <= first + _SHARE * (seconds - first))
        return 10 * math.log10(then / best) < _DECIBELS
