"""When to stop, and why."""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .estimate import Measures

_LEAST_GAIN = 0.001  # of a new minimum, as a share of the last
_SHARE_BESIDE_FILTERS = 0.4  # of patience, where only significant gains count and nothing is filled in
_FURTHER_PATIENCES = 2  # that such a run, right after a gain, hardly ever exceeds (on recorded runs)
# A JPEG's discrepancy falls ever more slowly: of the steps that its slope over the last 50 promises, it takes as many.
_STEPS_OF_SLOPE, _SOONEST, _LATEST = 50, 0.8, 2
_QUANTISATION_SHARE = 0.7  # 1 would be Morozov's; on seven JPEGs 0.7 came nearest to the best step (docs/tuning.md)


class StopReason(enum.Enum):
    """Why a run ended; the value is a sentence for the user."""

    HELD_OUT = "the error on the held-out pixels no longer fell"
    DISCREPANCY = "the JPEG's quantisation explains the remaining error"
    RATIO = "the ratio of blurriness to sharpness no longer changed"
    STEP_LIMIT = "the step limit was reached"
    DIVERGED = "the fit diverged; the best result before that was kept"
    USER = "it was stopped by hand"
    CHOSEN = "it was picked by hand"


class StoppingRule(Protocol):
    """Looks at each report and says when to stop."""

    def update(self, step: int, measures: Measures) -> StopReason | None:
        """Return the reason to stop after this report, or None to go on."""
        ...

    def foresee_stop(self, step_limit: int) -> tuple[int, int]:
        """Return the earliest step at which it may stop, and the one by which it probably has stopped."""
        ...


class HeldOutRule:
    """Stop when no held-out error has reached a new minimum for a number of steps.

    Parameters
    ----------
    patience : int
        That number of steps. Where gains can be told from chance, only a significant one counts.
    wait_for_prior : bool
        Whether to watch the network's own error besides the estimate's. A partner may make the estimate good at once,
        while the network still has much to learn that will improve it. Without effect where only a significant gain
        counts.
    steps_to_start : int
        Before which such a run does not end: until then the network may not have begun to help.
    learns_slowly : bool
        Whether the network may go on learning for long, so that nobody can foresee when such a run ends.
    fills_in : bool
        Whether pixels are filled in. Otherwise 0.4 of the patience suffices where gains can be told from chance,
        because filters hold whatever the network has found.
    """

    def __init__(
        self,
        patience: int,
        wait_for_prior: bool = True,
        steps_to_start: int = 0,
        learns_slowly: bool = False,
        fills_in: bool = False,
    ) -> None:
        self._patience, self._wait_for_prior, self._steps_to_start = patience, wait_for_prior, steps_to_start
        self._learns_slowly = learns_slowly
        self._short_patience = patience if fills_in else round(_SHARE_BESIDE_FILTERS * patience)
        self._smallest = [float("inf")] * 2
        self._step = 0  # of the last gain
        self._earliest_stop, self._rest, self._is_short = patience, 0.0, False

    def update(self, step: int, measures: Measures) -> StopReason | None:
        """Return the reason to stop, or None."""
        if measures.is_better is not None:
            if measures.is_better:
                self._step = step
            self._earliest_stop = max(self._step + self._short_patience, self._steps_to_start)
            self._rest, self._is_short = (step - self._step) / max(1, self._short_patience), not self._learns_slowly
            return StopReason.HELD_OUT if step >= self._earliest_stop else None
        for n, error in enumerate((measures.held_out_error, measures.prior_error)):
            if error is None:
                raise ValueError("the held-out rule needs held-out pixels.")
            if error < (1 - _LEAST_GAIN) * self._smallest[n] and (n == 0 or self._wait_for_prior):
                self._smallest[n], self._step = error, step
        self._earliest_stop = self._step + self._patience
        self._rest = (step - self._step) / self._patience
        return StopReason.HELD_OUT if step >= self._earliest_stop else None

    def foresee_stop(self, step_limit: int) -> tuple[int, int]:
        """Return the step at which patience ends, and one that is nearer to it the more of the patience has passed."""
        earliest = min(self._earliest_stop, step_limit)
        further = step_limit - earliest
        if self._is_short:
            further = min(further, _FURTHER_PATIENCES * self._short_patience)
        return earliest, earliest + round(max(0.0, 1 - self._rest) * further)


class RatioRule:
    """Stop when the mean ratio over n steps differs from that over the n steps before by less than ε (Eq. 8).

    Parameters
    ----------
    window : int
        n, in steps; the mean is over the reports in the window.
    threshold : float
        ε, absolute; the ratio must come from intensities in [0, 1].
    """

    def __init__(self, window: int, threshold: float) -> None:
        self._window, self._threshold = window, threshold
        self._ratios: deque[tuple[int, float]] = deque()

    def update(self, step: int, measures: Measures) -> StopReason | None:
        """Return the reason to stop, or None."""
        self._ratios.append((step, measures.ratio))
        while self._ratios[0][0] <= step - 2 * self._window:
            self._ratios.popleft()
        if step < 2 * self._window:
            return None
        later = [value for at, value in self._ratios if at > step - self._window]
        earlier = [value for at, value in self._ratios if at <= step - self._window]
        if not earlier or not later:
            return None  # reports are farther apart than the window
        change = abs(sum(later) / len(later) - sum(earlier) / len(earlier))
        return StopReason.RATIO if change < self._threshold else None

    def foresee_stop(self, step_limit: int) -> tuple[int, int]:
        """Return the end of the second window, or the next report if that is over; and the step limit."""
        step = self._ratios[-1][0] if self._ratios else 0
        return min(max(2 * self._window, step), step_limit), step_limit


class DiscrepancyRule:
    """Stop when the errors are as small as the truth's own errors (Morozov's discrepancy principle).

    Parameters
    ----------
    share : float
        Of the truth's mean squared error.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._fall: deque[tuple[int, float]] = deque()

    def update(self, step: int, measures: Measures) -> StopReason | None:
        """Return the reason to stop, or None."""
        if measures.discrepancy is None:
            raise ValueError("the discrepancy rule needs to know how large the truth's errors are.")
        self._fall.append((step, measures.discrepancy))
        while self._fall[0][0] < step - _STEPS_OF_SLOPE:
            self._fall.popleft()
        return StopReason.DISCREPANCY if measures.discrepancy < self._share else None

    def foresee_stop(self, step_limit: int) -> tuple[int, int]:
        """Return around when the discrepancy will be small enough, if it goes on to fall as it did lately."""
        if not self._fall:
            return 0, step_limit
        (before, then), (step, now) = self._fall[0], self._fall[-1]
        if not then > now > self._share:
            return step, step_limit
        steps = (step - before) * math.log(now / self._share) / math.log(then / now)
        soonest, latest = (min(step + round(times * steps), step_limit) for times in (_SOONEST, _LATEST))
        return soonest, latest


class FixedRule:
    """Never stop before the step limit."""

    def update(self, step: int, measures: Measures) -> StopReason | None:
        """Return None."""
        return None

    def foresee_stop(self, step_limit: int) -> tuple[int, int]:
        """Return the step limit, twice."""
        return step_limit, step_limit


def choose_rule(
    stopping: str,
    *,
    patience: int,
    wait_for_prior: bool,
    steps_to_start: int,
    learns_slowly: bool = False,
    fills_in: bool = False,
    ratio_window: int,
    ratio_threshold: float,
    knows_discrepancy: bool,
) -> StoppingRule:
    """Return the rule named by ``Settings.stopping``; "auto" depends on what is known about the errors."""
    match stopping:
        case "auto":
            if knows_discrepancy:
                return DiscrepancyRule(_QUANTISATION_SHARE)
            return HeldOutRule(patience, wait_for_prior, steps_to_start, learns_slowly, fills_in)
        case "ratio":
            return RatioRule(ratio_window, ratio_threshold)
        case "fixed":
            return FixedRule()
    raise ValueError(f"there is no stopping rule {stopping!r}; choose auto, ratio or fixed.")
