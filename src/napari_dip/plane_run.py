"""One run on one plane, where measurement, prior, spectrum and optimisation meet: fit, smooth if asked, conclude."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from .fit_plan import build_estimate, build_fit, resolve_settings
from .guidance import Findings, advise, tell_neighbours, warn_of_idle_network
from .interruption import Interrupted
from .measured_plane import MeasuredPlane
from .measurement.data_term import data_term_of
from .measurement.task import find_task
from .optimisation.estimate import Estimate
from .optimisation.snapshots import Snapshot, Snapshots
from .optimisation.stopping import StopReason
from .outcome import Moment, Progress, Report, Restoration, WarmStart
from .record import Record, read_versions
from .record_fields import read_numbers
from .request import Hooks
from .settings import Settings
from .spectrum.whiteness import neighbour_correlation
from .stage import Stage
from .torch_modes import plain_modes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _RunState:
    """How far a run has come: what a stage produced, and how it ended.

    Attributes
    ----------
    restored : Tensor
        ``(1, c, H, W)``.
    settings : Settings
        With the seed of the network that learned, so that a record repeats it without the failed starts.
    reports : tuple of Report
    step : int
        The chosen step.
    reason : StopReason
    bound : float, "auto" or None
        λ at that step.
    restarts : int
    is_idle : bool
        Whether the network contributed nothing.
    steps : int
        That repeating the run takes, over all stages.
    last : Progress or None
    deviation : Tensor or None
        Standard deviation of the estimate, ``(1, c, H, W)``, on the scale of the values.
    warm_start : WarmStart or None
    moments : tuple of Snapshot
    smoothed : Tensor or None
        ``(1, c, H, W)``; None if not requested or not finished.
    cut_short : bool
        Whether a stop left out the last filters.
    neighbours : int
        How many neighbouring planes helped.
    """

    restored: torch.Tensor
    settings: Settings
    reports: tuple[Report, ...] = ()
    step: int = 0
    reason: StopReason = StopReason.STEP_LIMIT
    bound: float | Literal["auto"] | None = None
    restarts: int = 0
    is_idle: bool = False
    steps: int = 0
    last: Progress | None = None
    deviation: torch.Tensor | None = None
    warm_start: WarmStart | None = None
    moments: tuple[Snapshot, ...] = ()
    smoothed: torch.Tensor | None = None
    cut_short: bool = False
    neighbours: int = 0


def run_plane(
    plane: MeasuredPlane, settings: Settings, hooks: Hooks, start: WarmStart | None, keep_network: bool
) -> Generator[Progress, None, None]:
    """Fit, then smooth if asked; yield every report, the last one with the result."""
    began, task = time.perf_counter(), plane.task
    wants_smoothing = settings.smoothed or settings.detail_enhanced or not task.removes_noise
    ended = _RunState(restored=plane.values, settings=settings, bound=settings.lipschitz_bound)
    if task.removes_noise or not bool(plane.known.all()):
        further_steps = settings.smoothed_steps / settings.networks if wants_smoothing else 0
        ended = yield from _fit(plane, settings, hooks, further_steps, start, keep_network)
    # moments outlive the run, so they keep only what they need
    fitted = dataclasses.replace(ended, last=None, deviation=None, warm_start=None, moments=())
    if wants_smoothing and ended.reason is not StopReason.USER:
        if ended.last is not None:
            yield ended.last
        ended = yield from _smooth(plane, ended, hooks)
    assert ended.last is not None  # there is always a stage
    seconds = time.perf_counter() - began
    result = _conclude(plane, ended, seconds, ended.steps if ended.reason is StopReason.USER else None)
    smoothed, to_image = ended.smoothed, plane.to_units
    wants_smoothed, wants_detail = (
        wanted or not task.removes_noise for wanted in (settings.smoothed, settings.detail_enhanced)
    )
    result = dataclasses.replace(
        result,
        smoothed=to_image(smoothed) if wants_smoothed and smoothed is not None else None,
        detail_enhanced=to_image(_enhanced(ended, smoothed)) if wants_detail and smoothed is not None else None,
        uncertainty=None if ended.deviation is None else plane.to_deviation(ended.deviation),
        warm_start=ended.warm_start,
        moments=tuple(Moment(each.step, partial(_read_moment, plane, fitted, each, seconds)) for each in ended.moments),
    )
    yield dataclasses.replace(ended.last, result=result)


def _fit(
    plane: MeasuredPlane,
    settings: Settings,
    hooks: Hooks,
    further_steps: float,
    start: WarmStart | None,
    keep_network: bool,
) -> Generator[Progress, None, _RunState]:
    """Fit the network to the plane; yield all reports but the last."""

    def build(settings: Settings) -> Estimate:
        fit = build_fit(settings, plane.device, plane.data_term, keeps_known=plane.keeps_known)
        if start is not None:
            fit.start_from(start.network, lambda_step=start.lambda_step)
        return build_estimate(
            settings, fit, planes=plane.planes, keeps_known=plane.keeps_known, keep_network=keep_network
        )

    removes_noise = plane.task.removes_noise
    snapshots = Snapshots(settings.snapshots if removes_noise else 0, settings.report_every)
    step_limit = settings.chosen_step or settings.step_limit
    stage = Stage("restoring", step_limit, settings, hooks, further_steps, snapshots)
    outcome = yield from stage.run(build, lambda estimate: plane.to_image(plane.impose_known(estimate)))
    estimate, step, moments = outcome.estimate, outcome.estimate.step, []
    if settings.snapshots and removes_noise:
        moments = [estimate.take_snapshot_of_best(), *(each for each in snapshots.kept if each.step != step)]
    return _RunState(
        restored=plane.impose_known(estimate.image),
        settings=outcome.settings,
        reports=outcome.reports,
        step=step,
        reason=outcome.reason,
        bound=estimate.fit.lipschitz_bound(step - 1),
        restarts=outcome.restarts,
        is_idle=outcome.is_idle(),
        steps=estimate.fit.step_count,
        last=outcome.last,
        deviation=estimate.deviation,
        warm_start=WarmStart(estimate.network, estimate.lambda_step) if keep_network else None,
        moments=tuple(sorted(moments, key=lambda each: each.step)),
        cut_short=outcome.cut_short,
        neighbours=estimate.neighbours,
    )


def _smooth(plane: MeasuredPlane, fitted: _RunState, hooks: Hooks) -> Generator[Progress, None, _RunState]:
    """Fit a network with a small λ to the restored plane; yield all reports but the last.

    For a task that removes no noise ("enhance"), this is the stage that counts.
    """
    counts, restored = not plane.task.removes_noise, fitted.restored
    gentle = _smoothing_settings(_resolve(plane, fitted.settings))
    everything = torch.ones_like(restored[:, :1], dtype=torch.bool)
    data_term = data_term_of(find_task("denoise"), restored, everything)
    image = plane.to_image(restored)

    def show(smooth: torch.Tensor) -> NDArray[np.float32]:
        return plane.to_units(_enhanced(fitted, smooth)) if counts else image

    def build(settings: Settings) -> Estimate:
        return build_estimate(settings, build_fit(settings, plane.device, data_term))

    limit = fitted.settings.smoothed_steps
    if counts:  # else the limit is that of the fit, and half a smoothing is no use
        limit = min(limit, fitted.settings.step_limit)
    stage = Stage("smoothing", limit, gentle, hooks)
    try:
        outcome = yield from stage.run(build, show)
    except FloatingPointError:
        if counts:  # otherwise the restored image is still worth returning
            raise
        return fitted
    except Interrupted:
        if counts:  # there is nothing else
            raise
        return fitted
    steps = fitted.steps + outcome.steps  # failed starts included: a script that repeats the run takes them too
    if not counts:
        is_finished = outcome.reason is StopReason.STEP_LIMIT  # half a smoothing is no use
        smoothed = outcome.estimate.image if is_finished else None
        return dataclasses.replace(fitted, last=outcome.last, steps=steps, smoothed=smoothed)
    return dataclasses.replace(
        fitted,
        reports=outcome.reports,
        step=outcome.estimate.fit.step_count,
        reason=outcome.reason,
        bound=gentle.lipschitz_bound,
        restarts=fitted.restarts + outcome.restarts,
        is_idle=outcome.is_idle(),
        steps=steps,
        last=outcome.last,
        smoothed=outcome.estimate.image,
    )


def _resolve(plane: MeasuredPlane, settings: Settings) -> Settings:
    """Return the settings with every "auto" resolved that depends on the plane."""
    return resolve_settings(settings, plane.data_term, keeps_known=plane.keeps_known).put_into(settings)


def _enhanced(fitted: _RunState, smooth: torch.Tensor) -> torch.Tensor:
    """Return the restored plane with the detail that the smoothed one lacks amplified, ``(1, c, H, W)``."""
    return fitted.restored + fitted.settings.detail_amount * (fitted.restored - smooth)


def _conclude(plane: MeasuredPlane, ended: _RunState, seconds: float, stopped_after: int | None) -> Restoration:
    """Return the result, without the outputs that take a run of their own."""
    settings, data_term, device = ended.settings, plane.data_term, plane.device
    used = dataclasses.replace(
        _resolve(plane, settings),
        device=device.device,
        precision=device.precision,
        lipschitz_bound=ended.bound,
    )
    residual = data_term.residual(ended.restored)
    correlation = max(float(each) for each in neighbour_correlation(residual, plane.known))
    note = _write_note(plane, ended, correlation)
    return Restoration(
        restored=plane.to_image(ended.restored),
        residual=plane.tensor.to_residual(data_term.put_stripes_back(residual)) if settings.residual else None,
        note=note,
        step=ended.step,
        stop_reason=ended.reason,
        history=ended.reports,
        settings=used,
        record=Record(
            task=plane.task.name,
            parameters={name: read_numbers(value) for name, value in plane.parameters.items()},
            settings=settings,
            used=used,
            compared=data_term.description,
            missing=int((~plane.known).sum()),
            device=device.reason,
            step=ended.step,
            stop_step=ended.reports[-1].step,
            stop_reason=ended.reason.value,
            residual_correlation=correlation,
            note=note,
            seconds=seconds,
            versions=read_versions(),
            given=plane.given,
            stopped_after=stopped_after,
            cut_short=ended.cut_short,
            restarts=ended.restarts,
            noise=plane.noise,
            neighbours=ended.neighbours,
            threads=torch.get_num_threads(),
        ),
    )


def _write_note(plane: MeasuredPlane, ended: _RunState, residual_correlation: float) -> str:
    notes = [warn_of_idle_network()] if ended.is_idle else []
    notes.append(tell_neighbours(ended.neighbours))
    findings = Findings(
        noise=plane.data_term.noise,
        stripes=plane.data_term.stripes,
        correlation_side=plane.data_term.correlation_side,
        residual_correlation=residual_correlation,
        scale=plane.scale,
        report=next((each for each in reversed(ended.reports) if each.step == ended.step), None),
        light_kept=_measure_light(plane, ended.restored),
    )
    notes.append(advise(plane.task.name, findings))
    if plane.keeps_known and plane.data_term.is_direct and plane.tensor.is_rounded:
        notes.append("Known pixels above 16,777,216 are rounded, because float32 cannot hold them exactly.")
    return " ".join(filter(None, (*notes, plane.device.warning)))


def _measure_light(plane: MeasuredPlane, restored: torch.Tensor) -> float | None:
    """Return the sum of what was restored, above the degraded image's darkest pixel, as a share of that image's.

    None if pixels do not correspond to pixels.
    """
    view, values = plane.data_term.cut_to_view(restored), plane.values
    if view.shape != values.shape:
        return None
    light, before = (torch.where(plane.known, each, 0.0).sum() for each in (view, values))
    return float(light / before)


@plain_modes()
def _read_moment(plane: MeasuredPlane, fitted: _RunState, snapshot: Snapshot, seconds: float) -> Restoration:
    """Return what the run would have returned at a kept moment."""
    reports = tuple(report for report in fitted.reports if report.step <= snapshot.step)
    moment = dataclasses.replace(
        fitted,
        restored=plane.impose_known(snapshot.estimate()),
        settings=dataclasses.replace(fitted.settings, chosen_step=snapshot.step),
        reports=reports,
        step=snapshot.step,
        reason=StopReason.CHOSEN,
        bound=reports[-1].lipschitz_bound,
        cut_short=False,
    )
    return _conclude(plane, moment, seconds, None)


def _smoothing_settings(settings: Settings) -> Settings:
    """Return the settings for the smoothed image: the same network with a small λ and the default optimisation."""
    default = Settings()
    return dataclasses.replace(
        settings,
        lipschitz_bound=settings.smoothed_lipschitz_bound,
        normalisation="lipschitz",
        optimiser=default.optimiser,
        learning_rate=default.learning_rate,
        momentum=default.momentum,
        second_moment_decay=default.second_moment_decay,
        averaging=default.averaging,
        input_noise=0.0,
        weight_noise=0.0,
        weight_decay=0.0,
        held_out=0.0,
        stopping="fixed",
        runs=1,
        partner=False,
        chosen_step=None,
        snapshots=0,
    )
