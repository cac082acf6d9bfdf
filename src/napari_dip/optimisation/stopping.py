"""When to stop, and why."""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .estimate import Measures

_SHARE_OF_PATIENCE = 0.4  # where a partner knows the noise, and only significant gains count
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

    @property
    def earliest_stop(self) -> int | None:
        """The earliest step at which it may stop; None if it never does."""
        ...


class HeldOutRule:
    """Stop when no held-out error has reached a new minimum for a number of steps.

    Parameters
    ----------
    patience : int
        That number of steps. A new minimum must be at least 0.1% below the last. Where a partner knows the noise, 0.4
        of it suffices, and only a significant gain counts.
    wait_for_prior : bool
        Whether to watch the network's own error besides the estimate's. A partner may make the estimate good at once,
        while the network still has much to learn that will improve it. Without effect where a partner knows the noise.
    steps_to_start : int
        Before which such a run does not end: until then the network may not have begun to help.
    """

    def __init__(self, patience: int, wait_for_prior: bool = True, steps_to_start: int = 0) -> None:
        self._patience, self._wait_for_prior, self._steps_to_start = patience, wait_for_prior, steps_to_start
        self._smallest = [float("inf")] * 2
        self._step, self._earliest_stop = 0, patience

    def update(self, step: int, measures: Measures) -> StopReason | None:
        """Return the reason to stop, or None."""
        if measures.is_better is not None:
            if measures.is_better:
                self._step = step
            patience = round(_SHARE_OF_PATIENCE * self._patience)
            self._earliest_stop = max(self._step + patience, self._steps_to_start)
            return StopReason.HELD_OUT if step >= self._earliest_stop else None
        for n, error in enumerate((measures.held_out_error, measures.prior_error)):
            if error is None:
                raise ValueError("the held-out rule needs held-out pixels.")
            if error < 0.999 * self._smallest[n] and (n == 0 or self._wait_for_prior):
                self._smallest[n], self._step = error, step
        self._earliest_stop = self._step + self._patience
        return StopReason.HELD_OUT if step >= self._earliest_stop else None

    @property
    def earliest_stop(self) -> int:
        """The step at which patience ends, unless an error falls before."""
        return self._earliest_stop


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

    @property
    def earliest_stop(self) -> int:
        """The end of the second window."""
        return 2 * self._window


class DiscrepancyRule:
    """Stop when the errors are as small as the truth's own errors (Morozov's discrepancy principle).

    Parameters
    ----------
    share : float
        Of the truth's mean squared error.
    """

    def __init__(self, share: float) -> None:
        self._share = share

    def update(self, step: int, measures: Measures) -> StopReason | None:
        """Return the reason to stop, or None."""
        if measures.discrepancy is None:
            raise ValueError("the discrepancy rule needs to know how large the truth's errors are.")
        return StopReason.DISCREPANCY if measures.discrepancy < self._share else None

    @property
    def earliest_stop(self) -> int:
        """Any step."""
        return 0


class FixedRule:
    """Never stop before the step limit."""

    def update(self, step: int, measures: Measures) -> StopReason | None:
        """Return None."""
        return None

    @property
    def earliest_stop(self) -> None:
        """Never."""
        return None


def choose_rule(
    stopping: str,
    *,
    patience: int,
    wait_for_prior: bool,
    steps_to_start: int,
    ratio_window: int,
    ratio_threshold: float,
    knows_discrepancy: bool,
) -> StoppingRule:
    """Return the rule named by ``Settings.stopping``; "auto" depends on what is known about the errors."""
    match stopping:
        case "auto":
            if knows_discrepancy:
                return DiscrepancyRule(_QUANTISATION_SHARE)
            return HeldOutRule(patience, wait_for_prior, steps_to_start)
        case "ratio":
            return RatioRule(ratio_window, ratio_threshold)
        case "fixed":
            return FixedRule()
    raise ValueError(f"there is no stopping rule {stopping!r}; choose auto, ratio or fixed.")
