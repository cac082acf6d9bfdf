"""One fit from its first step to its stop, with its reports; restarted if the network does not start to learn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from .interruption import Interrupted
from .optimisation.estimate import Estimate, Measures
from .optimisation.partner_choice import fills_in
from .optimisation.snapshots import Snapshots
from .optimisation.stopping import StopReason, choose_rule
from .outcome import Progress, Report
from .pace import StepTimer
from .request import Hooks
from .settings import Settings, find_bounds
from .torch_modes import interruptible

_MOST_STARTS = 4
_STEPS_TO_START = {"muon": 60, "adam": 300}  # Muon's networks take 10 to 40, Adam's up to 150 (docs/tuning.md)
_CONSTANT = 0.01  # an output whose spread is below this share of the image's counts as constant
_SEEDS_APART = 1_000_000  # between two starts
_SEEDS = int(find_bounds("seed").most) + 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended.

    Attributes
    ----------
    estimate : Estimate
        Holds the fit.
    settings : Settings
        Of that fit, with the seed of the start that succeeded.
    restarts : int
        How many networks were given up before, because they did not start to learn.
    steps : int
        Of all networks together.
    reports : tuple of Report
        All reports of the network that learned, yielded or not.
    reason : StopReason
    last : Progress
        The last report.
    cut_short : bool
        Whether a stop left out the last filters.
    """

    estimate: Estimate
    settings: Settings
    restarts: int
    steps: int
    reports: tuple[Report, ...]
    reason: StopReason
    last: Progress
    cut_short: bool = False

    def is_idle(self) -> bool:
        """Return whether the network explains the image no better than a coarse blur, although it had time to learn."""
        fit = self.estimate.fit
        had_time = fit.step_count >= _STEPS_TO_START[self.settings.optimiser]
        return had_time and min(report.loss for report in self.reports) >= fit.measure_blur()


@dataclass(frozen=True, slots=True)
class Stage:
    """One fit from its first step to its stop.

    Attributes
    ----------
    name : str
        As progress reports it: "restoring" or "smoothing".
    step_limit : int
    settings : Settings
    hooks : Hooks
    further_steps : float
        Duration of the next stage, in steps of this one without reports; counts towards the time left.
    snapshots : Snapshots or None
        Keeps moments of this stage.
    """

    name: str
    step_limit: int
    settings: Settings
    hooks: Hooks
    further_steps: float = 0.0
    snapshots: Snapshots | None = None

    def run(
        self,
        build: Callable[[Settings], Estimate],
        as_image: Callable[[torch.Tensor], NDArray[np.float32]],
    ) -> Generator[Progress, None, Outcome]:
        """Build a fit and step it; yield all reports but the last, which is returned.

        A network whose output is still constant after some tens of steps is given up, and the fit starts again from
        another seed.

        Parameters
        ----------
        build : callable
            Builds a fit, with its estimate, from these settings, possibly with another seed.
        as_image : callable
            Turns an estimate, ``(1, c, H, W)``, into the image to report.

        Raises
        ------
        FloatingPointError
            If the fit diverges before anything is worth keeping.
        Interrupted
            If the hooks want a stop to end at once, and it comes before the first report.
        """
        history: list[Report] = []
        steps, cut_short = 0, False
        for restarts in range(_MOST_STARTS):
            seed = (self.settings.seed + restarts * _SEEDS_APART) % _SEEDS
            settings = replace(self.settings, seed=seed)
            self.hooks.phase_begun("Preparing the filters" if self.settings.partner else "Preparing the network")
            began = time.perf_counter()
            with interruptible(self.hooks.stop_at_once):
                estimate = build(settings)
            # the last filters take about as long as the first; those that fill in pixels, up to twice as long
            finishing = time.perf_counter() - began if estimate.has_partner else 0.0
            self.hooks.phase_begun("Taking the first steps")
            try:
                ended = yield from self._run_once(
                    estimate, as_image, history, finishing, may_give_up=restarts + 1 < _MOST_STARTS
                )
            except Interrupted:  # there is an estimate to keep, see _interruptible
                cut_short = True
                estimate.keep_judged()
                ended = StopReason.USER, self._progress(history[-1], as_image(estimate.image))
            steps += estimate.fit.step_count
            if ended is not None:
                break
            history.clear()
            if self.snapshots is not None:
                self.snapshots.clear()
        assert ended is not None  # the last start is not given up
        reason, last = ended
        return Outcome(estimate, settings, restarts, steps, tuple(history), reason, last, cut_short)

    def _run_once(
        self,
        estimate: Estimate,
        as_image: Callable[[torch.Tensor], NDArray[np.float32]],
        history: list[Report],
        finishing: float,
        *,
        may_give_up: bool,
    ) -> Generator[Progress, None, tuple[StopReason, Progress] | None]:
        """Step the fit; yield all reports but the last, and return it with the reason to stop, or None to give up."""
        fit, by_hand = estimate.fit, self.settings.chosen_step is not None
        rule = choose_rule(
            "fixed" if by_hand else self.settings.stopping,
            patience=self.settings.patience,
            wait_for_prior=self.settings.wait_for_prior,
            steps_to_start=_STEPS_TO_START[self.settings.optimiser],
            learns_slowly=fit.data_term.is_learned_slowly,
            fills_in=fills_in(fit.data_term),
            ratio_window=self.settings.ratio_window,
            ratio_threshold=self.settings.ratio_threshold,
            knows_discrepancy=not fit.data_term.by_pixel,
        )
        timer = StepTimer()
        started = not may_give_up
        while True:
            # a step on a GPU is short, and may be being recorded
            with timer.stepping(), self._interruptible(estimate, history) if fit.noise.is_cpu else nullcontext():
                fit.step()
            stopped = self.hooks.stop_requested()
            at_limit = fit.step_count >= self.step_limit
            # a partner has something to show at once
            is_due = fit.step_count % self.settings.report_every == 0 or (fit.step_count == 1 and estimate.has_partner)
            if not (stopped or at_limit or is_due):
                continue
            with self._interruptible(estimate, history):
                measures = estimate.measure()
            if not math.isfinite(measures.loss):
                if history and estimate.is_kept:
                    return StopReason.DIVERGED, self._progress(history[-1], as_image(estimate.image))
                raise FloatingPointError(
                    f"the fit diverged at step {fit.step_count}; use a smaller learning rate or Lipschitz bound."
                )
            if not started and fit.step_count >= _STEPS_TO_START[self.settings.optimiser]:
                if measures.spread < _CONSTANT and not stopped:
                    return None
                started = True
            history.append(self._report(estimate, measures))
            if self.snapshots is not None and self.snapshots.wants(fit.step_count):
                self.snapshots.add(estimate.take_snapshot())
            reason = rule.update(fit.step_count, measures)
            if stopped:
                reason = StopReason.USER
            elif at_limit and by_hand:
                estimate.choose_present()
                reason = StopReason.CHOSEN
            elif reason is None and at_limit:
                reason = StopReason.STEP_LIMIT
            if reason is not None:
                if stopped and self.hooks.ends_at_once and estimate.is_kept:
                    raise Interrupted
                self.hooks.phase_begun("Applying the last filters" if estimate.has_partner else "Finishing")
                with self._interruptible(estimate, history):
                    return reason, self._progress(history[-1], as_image(estimate.image))
            seconds_per_step = timer.seconds_per_step(fit.step_count)
            wanted = self.hooks.report_wanted()
            if not estimate.is_prepared and not (wanted and self.hooks.quick_estimates):
                finishing += self._prepare(estimate, history, timer)
            if wanted:
                left = None
                if seconds_per_step is not None:
                    # smoothing has no filters at its reports; a GPU's steps end in the reports, and count with them
                    bare = timer.seconds_per_bare_step(fit.step_count) if fit.noise.is_cpu else seconds_per_step
                    later = finishing + self.further_steps * (bare or seconds_per_step)
                    further = (max(0, each - fit.step_count) for each in rule.foresee_stop(self.step_limit))
                    least, most = (each * seconds_per_step + later for each in further)
                    left = least, most
                image = estimate.quick_image if self.hooks.quick_estimates else estimate.image
                progress = self._progress(history[-1], as_image(image), left)
                with timer.stopped():
                    yield progress
            if not estimate.is_prepared and not self.hooks.stop_requested():
                finishing += self._prepare(estimate, history, timer)

    def _prepare(self, estimate: Estimate, history: list[Report], timer: StepTimer) -> float:
        """Prepare the partner, now that there is something to show, and judge that anew; return how long it took."""
        began = time.perf_counter()
        self.hooks.phase_begun("Comparing similar blocks")
        with timer.stopped(), self._interruptible(estimate, history):
            history[-1] = replace(history[-1], held_out_error=estimate.prepare())
        self.hooks.phase_begun("Taking the first steps")
        return time.perf_counter() - began

    def _interruptible(self, estimate: Estimate, history: list[Report]) -> AbstractContextManager[object]:
        """Let a stop end what is being computed, if that is wanted and there is an estimate that it cannot spoil."""
        return interruptible(self.hooks.stop_at_once if history and estimate.is_kept else None)

    def _report(self, estimate: Estimate, measures: Measures) -> Report:
        fit = estimate.fit
        return Report(
            step=fit.step_count,
            loss=measures.loss,
            held_out_error=measures.held_out_error,
            prior_error=measures.prior_error if estimate.has_partner else None,
            band_correspondence=measures.band_correspondence,
            ratio=measures.ratio,
            lipschitz_bound=fit.lipschitz_bound(fit.step_count - 1),
        )

    def _progress(
        self, report: Report, estimate: NDArray[np.float32], seconds_left: tuple[float, float] | None = None
    ) -> Progress:
        return Progress(
            step=report.step,
            step_limit=self.step_limit,
            stage=self.name,
            loss=report.loss,
            held_out_error=report.held_out_error,
            prior_error=report.prior_error,
            ratio=report.ratio,
            lipschitz_bound=report.lipschitz_bound,
            band_correspondence=np.asarray(report.band_correspondence),
            estimate=estimate,
            seconds_left=seconds_left,
        )
