"""restore() and restore_steps(): the one room where measurement, prior, spectrum and optimisation meet."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .device import DeviceChoice
from .device_check import choose_proven_device
from .fit_plan import build_estimate, build_fit, check_run_fits, resolve_settings
from .guidance import advise_denoising, warn_of_idle_network
from .image_tensor import ImageTensor, as_plain_array, check_shape, read_arrays, to_tensor
from .measurement.data_term import data_term_of
from .measurement.task import Task, check_factor, find_task
from .measurement.whole_image import WholeImage
from .optimisation.estimate import Estimate
from .optimisation.snapshots import Snapshot, Snapshots
from .optimisation.stopping import StopReason
from .outcome import Moment, Progress, Report, Restoration, WarmStart
from .record import Given, Record, describe_given, read_versions
from .settings import Settings
from .spectrum.whiteness import neighbour_correlation
from .stage import Stage
from .torch_modes import keep_modes, plain_modes


def restore(
    image: ArrayLike,
    mask: ArrayLike | None = None,
    task: str = "denoise",
    factor: int | None = None,
    settings: Settings | None = None,
    *,
    quantisation_table: ArrayLike | None = None,
    colours: bool = True,
) -> Restoration:
    """Restore one image with a controlled deep image prior.

    Parameters
    ----------
    image : array
        ``(h, w)``, or ``(h, w, c)`` with c = 1, 3 or 4 (the fourth is alpha, passed through); any real dtype; at least
        16 pixels a side. NaN, inf, and what is masked in a masked array are missing pixels. It is not changed.
    mask : array, optional
        ``(h, w)``, True = missing.
    task : {"denoise", "inpaint", "deblock", "super_resolve", "enhance"}
    factor : int, optional
        For super-resolution, and only there: a whole number of at least 2.
    settings : Settings, optional
        ``Settings()`` by default.
    quantisation_table : array, optional
        For deblocking: the ``(8, 8)`` luminance steps of the JPEG, vertical frequency first, of intensities from 0 to
        255. By default they are estimated from the pixels; where that fails, and for RGB, the data term is plain
        squared error.
    colours : bool
        Whether the channels of the image are colours of one light. If not, there may be any number of them, none is
        alpha, and each has an intensity range and a noise of its own; one network draws them all, so that they share
        their structure.

    Returns
    -------
    Restoration

    Raises
    ------
    ValueError, TypeError
        If image, mask, task or settings cannot be used together, or if the device that the settings name does not
        compute what the CPU does (where none is named, the run goes to the CPU, and the note says so); the message says
        what to do.

    References
    ----------
    Shi, Mettes, Maji, Snoek: On Measuring and Controlling the Spectral Bias of the Deep Image Prior, IJCV 2022.
    """
    steps = restore_steps(
        image, mask, task, factor, settings, quantisation_table=quantisation_table, colours=colours,
        report_wanted=lambda: False,
    )  # fmt: skip
    (last,) = deque(steps, maxlen=1)
    assert last.result is not None
    return last.result


def restore_steps(
    image: ArrayLike,
    mask: ArrayLike | None = None,
    task: str = "denoise",
    factor: int | None = None,
    settings: Settings | None = None,
    *,
    quantisation_table: ArrayLike | None = None,
    colours: bool = True,
    whole: WholeImage | None = None,
    start: WarmStart | None = None,
    keep_network: bool = False,
    stop_requested: Callable[[], bool] = lambda: False,
    report_wanted: Callable[[], bool] = lambda: True,
    quick_estimates: bool = False,
) -> Iterator[Progress]:
    """Restore one image step by step; everything is checked at the call, iteration ends when it has stopped.

    Parameters are those of ``restore``, and

    Parameters
    ----------
    whole : WholeImage, optional
        If the image is a part of another: what is known of that, so that all parts are restored alike.
    start : WarmStart, optional
        Where the fit begins: as it ended for a similar image of the same size and settings. By default afresh.
    keep_network : bool
        Whether the result is to hold the network for such a start.
    stop_requested : callable
        Asked after every step; when it returns True, the run ends with the best so far.
    report_wanted : callable
        Asked at every report; when it returns False, this one is not yielded, and its estimate, which takes a while,
        not made. The history is complete nevertheless.
    quick_estimates : bool
        Whether estimates, but for the last, are the images that were judged by held-out pixels: near to what stopping
        would return, and there already. For previews.

    Yields
    ------
    Progress
        One per ``settings.report_every`` steps, if wanted; the last one, always yielded, carries the result.

    Raises
    ------
    ValueError, TypeError
        As ``restore``.
    """
    settings = Settings() if settings is None else settings
    if not isinstance(settings, Settings):
        raise TypeError(f"settings is a {type(settings).__name__}; give napari_dip.Settings(...).")
    chosen_task = find_task(task)
    check_factor(chosen_task, factor)
    if settings.chosen_step is not None and not chosen_task.removes_noise:
        raise ValueError(f"chosen_step picks a moment of a restoration; the task {task!r} has none, leave it None.")
    with plain_modes():
        image, mask = read_arrays(image, mask, colours=colours)
        check_shape(image.shape, colours=colours)
        table = None if quantisation_table is None else _check_table(quantisation_table, chosen_task, image)
        settings = settings.for_task(chosen_task)
        device = choose_proven_device(settings.device, settings.precision)
        check_run_fits(settings, device, chosen_task, image.shape, factor, colours=colours)
        tensor = to_tensor(
            image, mask, colours=colours, intensity_range=None if whole is None else whole.intensity_range
        )
        if chosen_task.needs_mask and bool(tensor.known.all()) and whole is None:  # a tile may lack nothing
            raise ValueError("nothing is marked as missing; mark the missing pixels (mask), or set them to NaN.")
        given = describe_given(image, mask, table, colours)
    steps = _run(
        tensor, chosen_task, settings, device, factor, table, given, stop_requested, report_wanted, quick_estimates,
        whole, start, keep_network,
    )  # fmt: skip
    return keep_modes(steps)


def _check_table(quantisation_table: ArrayLike, task: Task, image: NDArray) -> NDArray[np.float64]:
    if not task.knows_quantisation:
        raise ValueError(f"quantisation_table is for deblocking; the task {task.name!r} takes none.")
    table = as_plain_array(quantisation_table, "quantisation_table")
    if table.dtype.kind not in "buif" or table.shape != (8, 8) or not ((table >= 1) & (table < np.inf)).all():
        raise ValueError("quantisation_table must hold 8 x 8 steps of at least 1, vertical frequency first.")
    if image.min() < 0 or not 1 < image.max() <= 255 or (image != np.round(image)).any():
        raise ValueError("quantisation_table is in steps of 8 bits: give the JPEG's intensities, whole, from 0 to 255.")
    return table.astype(np.float64)


def _run(
    tensor: ImageTensor,
    task: Task,
    settings: Settings,
    device: DeviceChoice,
    factor: int | None,
    quantisation_table: NDArray | None,
    given: Given,
    stop_requested: Callable[[], bool],
    report_wanted: Callable[[], bool],
    quick_estimates: bool,
    whole: WholeImage | None,
    start_from: WarmStart | None,
    keep_network: bool,
) -> Generator[Progress, None, None]:
    """Fit, then smooth if asked; yield every report, the last one with the result."""
    start = time.perf_counter()
    values, known = tensor.values.to(device.device), tensor.known.to(device.device)
    keep_known = (task.keeps_known and settings.keep_known) or not task.removes_noise
    data_term = data_term_of(
        task, values, known, factor=factor, scale=float(tensor.scale[0]), offset=float(tensor.offset[0]),
        quantisation_table=quantisation_table, colours=given.colours, whole=whole,
    )  # fmt: skip
    history: list[Report] = []
    reason, step, bound = StopReason.STEP_LIMIT, 0, settings.lipschitz_bound
    restarts, idle = 0, False
    steps_of_all_stages = 0
    restored_values = values
    smoothed_values: torch.Tensor | None = None
    deviation: torch.Tensor | None = None
    last: Progress | None = None
    snapshots = Snapshots(settings.snapshots if task.removes_noise else 0, settings.report_every)
    moments: list[Snapshot] = []
    kept: WarmStart | None = None

    def as_restored(estimate: torch.Tensor) -> torch.Tensor:
        return data_term.impose(estimate) if keep_known or not data_term.by_pixel else estimate

    def as_image(restored: torch.Tensor) -> NDArray[np.float32]:
        image = tensor.to_image(restored)
        return tensor.keep_known(image) if keep_known and factor is None else image  # not as rounded on the way

    def enhanced(smooth: torch.Tensor) -> torch.Tensor:
        return restored_values + settings.detail_amount * (restored_values - smooth)

    # this and ``read`` outlive the run with its moments: they must not name the fit, which would stay with them
    def conclude(
        restored: torch.Tensor, step: int, reason: StopReason, reports: list[Report], settings: Settings,
        bound: float | Literal["auto"] | None, seconds: float, stopped_after: int | None = None,
    ) -> Restoration:  # fmt: skip
        used = dataclasses.replace(
            resolve_settings(settings, data_term),
            device=device.device,
            precision=device.precision,
            lipschitz_bound=bound,
        )
        residual = data_term.residual(restored)
        correlation = max(float(each) for each in neighbour_correlation(residual, known))
        notes = [warn_of_idle_network()] if idle else []
        if task.noise_is_independent:
            advice = advise_denoising(
                data_term.noise,
                correlated_over=data_term.correlation_side,
                residual_correlation=correlation,
                scale=float(tensor.scale[0]) if given.colours else None,
                report=next((each for each in reversed(reports) if each.step == step), None),
            )
            notes.append(advice)
        if keep_known and factor is None and tensor.is_rounded:
            notes.append("Known pixels above 16,777,216 are rounded to what float32 can tell apart.")
        note = " ".join(filter(None, (*notes, device.warning)))
        return Restoration(
            restored=as_image(restored),
            smoothed=None,
            detail_enhanced=None,
            uncertainty=None,
            residual=tensor.to_residual(residual) if settings.residual else None,
            note=note,
            step=step,
            stop_reason=reason,
            history=tuple(reports),
            settings=used,
            record=Record(
                task=task.name,
                factor=factor,
                settings=settings,
                used=used,
                compared=data_term.description,
                missing=int((~known).sum()),
                device=device.reason,
                step=step,
                stop_step=reports[-1].step,
                stop_reason=reason.value,
                residual_correlation=correlation,
                note=note,
                seconds=seconds,
                versions=read_versions(),
                given=given,
                stopped_after=stopped_after,
                restarts=restarts,
                noise=(
                    None
                    if data_term.noise is None
                    else data_term.noise.mean_variance**0.5 * (float(tensor.scale[0]) if given.colours else 1.0)
                ),
                threads=torch.get_num_threads(),
            ),
        )

    @plain_modes()
    def read(snapshot: Snapshot, seconds: float) -> Restoration:
        reports = [report for report in history if report.step <= snapshot.step]
        chosen = dataclasses.replace(settings, chosen_step=snapshot.step)
        restored = as_restored(snapshot.estimate())
        bound = reports[-1].lipschitz_bound
        return conclude(restored, snapshot.step, StopReason.CHOSEN, reports, chosen, bound, seconds)

    wants_smoothing = settings.smoothed or settings.detail_enhanced or not task.removes_noise
    if task.removes_noise or not bool(known.all()):

        def build(settings: Settings) -> Estimate:
            fit = build_fit(settings, device, data_term)
            if start_from is not None:
                fit.start_from(start_from.network, lambda_step=start_from.lambda_step)
            return build_estimate(settings, fit, keep_network=keep_network)

        further_steps = settings.smoothed_steps / settings.networks if wants_smoothing else 0
        step_limit = settings.chosen_step or settings.step_limit
        stage = Stage(
            "restoring", step_limit, settings, stop_requested, report_wanted, quick_estimates, further_steps, snapshots
        )
        outcome = yield from stage.run(build, lambda estimate: as_image(as_restored(estimate)), history)
        estimate, reason, last = outcome.estimate, outcome.reason, outcome.last
        # a record repeats the start that lived at once
        settings, restarts, idle = outcome.settings, outcome.restarts, outcome.is_idle(history)
        restored_values, step = as_restored(estimate.image), estimate.step
        steps_of_all_stages += estimate.fit.step_count
        bound = estimate.fit.lipschitz_bound(step - 1)
        deviation = estimate.deviation
        if keep_network:
            kept = WarmStart(estimate.network, estimate.lambda_step)
        if settings.snapshots and task.removes_noise:
            own = estimate.take_snapshot_of_best()
            moments = sorted((own, *(each for each in snapshots.kept if each.step != step)), key=lambda each: each.step)
    if wants_smoothing and reason is not StopReason.USER:
        if last is not None:
            yield last
        gentle = _smoothing_settings(resolve_settings(settings, data_term))
        everything = torch.ones_like(restored_values[:, :1], dtype=torch.bool)
        of_restored = data_term_of(find_task("denoise"), restored_values, everything)
        stage = Stage("smoothing", settings.smoothed_steps, gentle, stop_requested, report_wanted, quick_estimates)
        restored_image = as_image(restored_values)
        shown = (
            (lambda smooth: restored_image) if task.removes_noise else lambda smooth: tensor.to_image(enhanced(smooth))
        )
        smooth_history: list[Report] = []
        try:
            outcome = yield from stage.run(
                lambda settings: build_estimate(settings, build_fit(settings, device, of_restored)),
                shown,
                smooth_history,
            )
        except FloatingPointError:
            if not task.removes_noise:  # else what was restored is not lost with it
                raise
        else:
            estimate, last = outcome.estimate, outcome.last
            steps_of_all_stages += outcome.steps  # a repetition begins again, too
            if not task.removes_noise:
                history, reason, step, bound = (
                    smooth_history,
                    outcome.reason,
                    estimate.fit.step_count,
                    gentle.lipschitz_bound,
                )
                restarts, idle = restarts + outcome.restarts, outcome.is_idle(history)
            if not task.removes_noise or outcome.reason is StopReason.STEP_LIMIT:  # half a smoothing is none
                smoothed_values = estimate.image
    assert last is not None  # there is always a stage
    seconds = time.perf_counter() - start
    stopped_after = steps_of_all_stages if reason is StopReason.USER else None
    smoothed = None if smoothed_values is None else tensor.to_image(smoothed_values)
    wants_detail = settings.detail_enhanced or not task.removes_noise
    result = dataclasses.replace(
        conclude(restored_values, step, reason, history, settings, bound, seconds, stopped_after),
        smoothed=smoothed if settings.smoothed or not task.removes_noise else None,
        detail_enhanced=(
            tensor.to_image(enhanced(smoothed_values)) if smoothed_values is not None and wants_detail else None
        ),
        uncertainty=None if deviation is None else tensor.to_deviation(deviation),
        warm_start=kept,
        moments=tuple(Moment(each.step, partial(read, each, seconds)) for each in moments),
    )
    yield dataclasses.replace(last, result=result)


def _smoothing_settings(settings: Settings) -> Settings:
    """Return the settings of the smoothed image: the same network, held to a small λ by the default's optimisation."""
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
