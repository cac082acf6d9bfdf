"""restore() and restore_steps(): the one room where measurement, prior, spectrum and optimisation meet."""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .device import DeviceChoice, check_memory, choose_device
from .guidance import advise_denoising
from .image_tensor import ImageTensor, to_tensor
from .measurement.data_term import DataTerm, data_term_of
from .measurement.missing_pixels import choose_held_out, widest_hole
from .measurement.task import Task, find_task
from .measurement.whole_image import WholeImage
from .optimisation.fit import Fit, Measures
from .optimisation.snapshots import Snapshot, Snapshots
from .optimisation.stopping import StopReason, choose_rule
from .outcome import Moment, Progress, Report, Restoration, WarmStart
from .pace import StepTimer
from .prior.networks import NETWORKS, Architecture, fixed_input
from .record import Given, Record, describe_given, read_versions
from .settings import Settings
from .spectrum.whiteness import neighbour_correlation

_FEWEST_LEVELS, _MOST_LEVELS = 5, 10  # of levels="auto"
_WIDE_HOLE, _SQUARE_PER_HOLE = 10, 0.8  # pixels; of held_out_side="auto"
_HELD_OUT_PIXELS, _HELD_OUT_SQUARES = 0.05, 0.15  # of held_out="auto"
_WIDTH, _WIDTH_WITH_PARTNER = 64, 32  # of width="auto"
_RUNS_FOR_UNCERTAINTY = 4
_BYTES_OF_LIBRARIES, _BYTES_PER_PIXEL_BESIDE = 200e6, 130  # beside the network; as tests/benchmark/speed.py measured
_BYTES_PER_PIXEL_OF_PARTNER = 1100  # and channel: all blocks of 8 x 8, of three images, and what passes
_FIRST_BOUND, _BOUND_PER_STEP, _LAST_BOUND = 1.0, 0.0008, 2.2  # λ of lipschitz_bound="auto"


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
        16 pixels a side. NaN and inf are missing pixels.
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
        If image, mask, task or settings cannot be used together; the message says what to do.

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
    if chosen_task.needs_factor:
        if not isinstance(factor, numbers.Integral) or factor < 2:
            raise ValueError(f"super-resolution needs a whole factor of at least 2, not {factor!r}.")
    elif factor is not None:
        raise ValueError(f"factor is for super-resolution; the task {task!r} takes none.")
    if settings.chosen_step is not None and not chosen_task.removes_noise:
        raise ValueError(f"chosen_step picks a moment of a restoration; the task {task!r} has none, leave it None.")
    tensor = to_tensor(
        np.asarray(image), None if mask is None else np.asarray(mask), colours=colours,
        intensity_range=None if whole is None else whole.intensity_range,
    )  # fmt: skip
    table = None if quantisation_table is None else _check_table(quantisation_table, chosen_task, np.asarray(image))
    if chosen_task.needs_mask and bool(tensor.known.all()):
        raise ValueError("nothing is marked as missing; mark the pixels to fill in, with a mask or as NaN.")
    device = choose_device(settings.device, settings.precision)
    given = describe_given(np.asarray(image), None if mask is None else np.asarray(mask), table, colours)
    return _run(
        tensor, chosen_task, settings, device, factor, table, given, stop_requested, report_wanted, quick_estimates,
        whole, start, keep_network,
    )  # fmt: skip


def _check_table(quantisation_table: ArrayLike, task: Task, image: NDArray) -> NDArray[np.float64]:
    table = np.asarray(quantisation_table, dtype=float)
    if not task.knows_quantisation:
        raise ValueError(f"quantisation_table is for deblocking; the task {task.name!r} takes none.")
    if table.shape != (8, 8) or not (table >= 1).all():
        raise ValueError("quantisation_table must hold 8 x 8 steps of at least 1, vertical frequency first.")
    if image.min() < 0 or not 1 < image.max() <= 255 or (image != np.round(image)).any():
        raise ValueError("quantisation_table is in steps of 8 bits: give the JPEG's intensities, whole, from 0 to 255.")
    return table


def auto_lipschitz_bound(step: int) -> float:
    """Return λ of ``lipschitz_bound="auto"``: a hard bound at first, relaxed a little with every step."""
    return min(_FIRST_BOUND + _BOUND_PER_STEP * step, _LAST_BOUND)


def build_fit(settings: Settings, device: DeviceChoice, data_term: DataTerm) -> Fit:
    """Build the network, its input and its fit for one measurement, all randomness from ``settings.seed``.

    The network draws a canvas whose sides are multiples of ``2**levels``; the image is its centre, so that nothing of
    the image is padded, resized or cropped, and what lies beyond it stays free.

    Parameters
    ----------
    settings : Settings
    device : DeviceChoice
    data_term : DataTerm
        On that device.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    settings = resolve_settings(settings, data_term)
    levels, side = cast("int", settings.levels), cast("int", settings.held_out_side)
    share = cast("float", settings.held_out)
    low, high, mean = _range_of(data_term)
    fewest = max(2, settings.kernel_size // 2 + 1)  # pixels a side at the smallest size: reflection needs neighbours
    height, width_of_canvas = (max(fewest, -(-side // 2**levels)) * 2**levels for side in data_term.size)
    held_out = torch.zeros_like(data_term.judged)
    if data_term.by_pixel:
        held_out = choose_held_out(data_term.known, share, generator, side)
    kind = NETWORKS[settings.network]
    size = kind.input_size((height, width_of_canvas), levels)
    noise = fixed_input(settings.input_kind, settings.runs, settings.input_channels, size, generator)
    network = kind(_architecture_of(settings, len(mean)), (min(0.0, low), max(1.0, high)), mean, generator)
    network.compute_dtype = getattr(torch, device.precision)
    pixels = height * width_of_canvas
    check_memory(device.device, _BYTES_OF_LIBRARIES + pixels * (network.bytes_per_pixel() + _BYTES_PER_PIXEL_BESIDE))
    network.to(device.device)
    bound = settings.lipschitz_bound
    return Fit(
        network,
        noise.to(device.device, memory_format=torch.channels_last if device.channels_last else torch.contiguous_format),
        data_term=data_term,
        held_out=held_out,
        learning_rate=settings.learning_rate,
        second_moment_decay=settings.second_moment_decay,
        averaging=settings.averaging,
        lipschitz_bound=auto_lipschitz_bound if bound == "auto" else lambda step: bound,
        bands=settings.bands,
        weight_decay=settings.weight_decay,
        input_noise=settings.input_noise,
        weight_noise=settings.weight_noise,
        burn_in=settings.burn_in,
        seed=settings.seed,
        partner=settings.partner,
        uncertainty=settings.uncertainty,
    )


def _architecture_of(settings: Settings, channels: int) -> Architecture:
    """Return what settings whose every "auto" is resolved say of the network."""
    return Architecture(
        runs=settings.runs,
        input_channels=settings.input_channels,
        output_channels=channels,
        width=cast("int", settings.width),
        levels=cast("int", settings.levels),
        convolutions_per_level=settings.convolutions_per_level,
        stem_convolutions=settings.stem_convolutions,
        skip_channels=settings.skip_channels,
        kernel_size=settings.kernel_size,
        normalisation=settings.normalisation,
        upsampling=settings.upsampling,
        gaussian_sigma=settings.gaussian_sigma,
        gaussian_kernel_size=settings.gaussian_kernel_size,
    )


def bytes_needed(
    settings: Settings, device: DeviceChoice, size: tuple[int, int], channels: int, *, helped: bool
) -> float:
    """Return about how much memory a restoration takes, torch itself included.

    Parameters
    ----------
    settings : Settings
    device : DeviceChoice
    size : (int, int)
        Of the image that is sought.
    channels : int
    helped : bool
        Whether the task lets a partner denoise, as far as the settings do.
    """
    helped = helped and settings.partner
    width = settings.width if settings.width != "auto" else _WIDTH_WITH_PARTNER if helped else _WIDTH
    levels = settings.levels if settings.levels != "auto" else _FEWEST_LEVELS
    runs = _RUNS_FOR_UNCERTAINTY if settings.uncertainty and settings.runs == 1 else settings.runs
    settings = dataclasses.replace(settings, width=width, levels=levels, runs=runs)
    architecture = _architecture_of(settings, channels)
    network = NETWORKS[settings.network](architecture, (0.0, 1.0), torch.full((channels,), 0.5), torch.Generator())
    network.compute_dtype = getattr(torch, device.precision)
    height, width_of_canvas = (-(-side // 2**levels) * 2**levels for side in size)
    fitting = height * width_of_canvas * (network.bytes_per_pixel() + _BYTES_PER_PIXEL_BESIDE)
    helping = size[0] * size[1] * channels * _BYTES_PER_PIXEL_OF_PARTNER if helped else 0.0
    return _BYTES_OF_LIBRARIES + max(fitting, helping)


def resolve_settings(settings: Settings, data_term: DataTerm) -> Settings:
    """Return the settings with every "auto" that depends on the measurement replaced by its value.

    Wide holes want more levels, so that no pixel of the Decoder's input lies wholly within one: what is drawn there
    would depend on nothing that is known. And they want to be judged by squares nearly as wide: single pixels are
    guessed ever better while the fill of the hole has long begun to drift. So do errors that are correlated: a pixel is
    no judge of what its neighbours tell.
    """
    hole = widest_hole(data_term.known)
    drawn_hole = hole * data_term.size[0] / data_term.known.shape[2]
    levels, held_out, side = settings.levels, settings.held_out, settings.held_out_side
    if levels == "auto":
        levels = _FEWEST_LEVELS
        while 2**levels < drawn_hole and levels < _MOST_LEVELS and 2 ** (levels + 1) < min(data_term.size):
            levels += 1
    if side == "auto":
        side = data_term.correlation_side if hole < _WIDE_HOLE else round(_SQUARE_PER_HOLE * hole)
    if held_out == "auto":
        held_out = _HELD_OUT_PIXELS if side == 1 else _HELD_OUT_SQUARES
    # the spread of runs takes several
    runs = _RUNS_FOR_UNCERTAINTY if settings.uncertainty and settings.runs == 1 else settings.runs
    width = settings.width
    if width == "auto":
        width = _WIDTH_WITH_PARTNER if settings.partner and data_term.noise is not None else _WIDTH
    return dataclasses.replace(settings, levels=levels, held_out=held_out, held_out_side=side, runs=runs, width=width)


def _range_of(data_term: DataTerm) -> tuple[float, float, torch.Tensor]:
    """Return the smallest and largest known value of the degraded image, and its mean per channel, ``(c,)``."""
    values = data_term.values[0][:, data_term.known[0, 0]]  # (c, n)
    return float(values.min()), float(values.max()), values.mean(dim=1).cpu()


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
) -> Iterator[Progress]:
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
        note = ""
        if task.noise_is_independent:
            note = advise_denoising(
                data_term.noise,
                correlated_over=data_term.correlation_side,
                residual_correlation=correlation,
                scale=float(tensor.scale[0]) if given.colours else None,
            )
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
                noise=(
                    None
                    if data_term.noise is None
                    else data_term.noise.mean_variance**0.5 * (float(tensor.scale[0]) if given.colours else 1.0)
                ),
            ),
        )

    def read(snapshot: Snapshot, seconds: float) -> Restoration:
        reports = [report for report in history if report.step <= snapshot.step]
        chosen = dataclasses.replace(settings, chosen_step=snapshot.step)
        restored = as_restored(snapshot.estimate())
        bound = reports[-1].lipschitz_bound
        return conclude(restored, snapshot.step, StopReason.CHOSEN, reports, chosen, bound, seconds)

    wants_smoothing = settings.smoothed or settings.detail_enhanced or not task.removes_noise
    if task.removes_noise or not bool(known.all()):
        fit = build_fit(settings, device, data_term)
        fit.keeps_network = keep_network
        if start_from is not None:
            fit.start_from(start_from.network, lambda_step=start_from.lambda_step)
        further_steps = settings.smoothed_steps / fit.runs if wants_smoothing else 0
        step_limit = settings.chosen_step or settings.step_limit
        stage = _Stage(
            "restoring", step_limit, settings, stop_requested, report_wanted, quick_estimates, further_steps, snapshots
        )
        reason, last = yield from stage.run(fit, lambda estimate: as_image(as_restored(estimate)), history)
        restored_values, step = as_restored(fit.estimate), fit.estimate_step
        steps_of_all_stages += fit.step_count
        bound = fit.lipschitz_bound(step - 1)
        deviation = fit.deviation
        if keep_network:
            kept = WarmStart(fit.network_of_estimate, fit.lambda_step_of_estimate)
        if settings.snapshots and task.removes_noise:
            own = fit.take_snapshot_of_estimate()
            moments = sorted((own, *(each for each in snapshots.kept if each.step != step)), key=lambda each: each.step)
    if wants_smoothing and reason is not StopReason.USER:
        if last is not None:
            yield last
        gentle = _smoothing_settings(settings)
        everything = torch.ones_like(restored_values[:, :1], dtype=torch.bool)
        fit = build_fit(gentle, device, data_term_of(find_task("denoise"), restored_values, everything))
        stage = _Stage("smoothing", settings.smoothed_steps, gentle, stop_requested, report_wanted, quick_estimates)
        restored_image = as_image(restored_values)
        shown = (
            (lambda smooth: restored_image) if task.removes_noise else lambda smooth: tensor.to_image(enhanced(smooth))
        )
        smooth_history: list[Report] = []
        try:
            smooth_reason, last = yield from stage.run(fit, shown, smooth_history)
        except FloatingPointError:
            if not task.removes_noise:
                raise
            smooth_reason = StopReason.DIVERGED  # what was restored is not lost with it
        steps_of_all_stages += fit.step_count
        if not task.removes_noise:
            history, reason, step, bound = smooth_history, smooth_reason, fit.step_count, gentle.lipschitz_bound
        if not task.removes_noise or smooth_reason is StopReason.STEP_LIMIT:  # half a smoothing is none
            smoothed_values = fit.estimate
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
        moments=tuple(Moment(each.step, functools.partial(read, each, seconds)) for each in moments),
    )
    yield dataclasses.replace(last, result=result)


def _smoothing_settings(settings: Settings) -> Settings:
    """Return the settings of the smoothed image: the same network, held to a small λ by the default's optimisation."""
    default = Settings()
    return dataclasses.replace(
        settings,
        lipschitz_bound=settings.smoothed_lipschitz_bound,
        normalisation="lipschitz",
        learning_rate=default.learning_rate,
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


@dataclass(frozen=True, slots=True)
class _Stage:
    """One fit from its first step to its stop."""

    name: str
    step_limit: int
    settings: Settings
    stop_requested: Callable[[], bool]
    report_wanted: Callable[[], bool]
    quick_estimates: bool
    further_steps: float = 0.0  # of the next stage, in steps of this one
    snapshots: Snapshots | None = None

    def run(
        self, fit: Fit, as_image: Callable[[torch.Tensor], NDArray[np.float32]], history: list[Report]
    ) -> Generator[Progress, None, tuple[StopReason, Progress]]:
        """Step the fit; yield its reports but the last, which is returned with the reason to stop."""
        by_hand = self.settings.chosen_step is not None
        rule = choose_rule(
            "fixed" if by_hand else self.settings.stopping,
            patience=self.settings.patience,
            wait_for_prior=self.settings.wait_for_prior,
            ratio_window=self.settings.ratio_window,
            ratio_threshold=self.settings.ratio_threshold,
            knows_discrepancy=not fit.data_term.by_pixel,
        )
        timer = StepTimer()
        while True:
            fit.step()
            stopped = self.stop_requested()
            at_limit = fit.step_count >= self.step_limit
            if not (stopped or at_limit or fit.step_count % self.settings.report_every == 0):
                continue
            measures = fit.measure()
            if not math.isfinite(measures.loss):
                if history and fit.keeps_best:
                    return StopReason.DIVERGED, self._progress(history[-1], as_image(fit.estimate))
                raise FloatingPointError(
                    f"the fit diverged at step {fit.step_count}; use a smaller learning rate or Lipschitz bound."
                )
            history.append(self._report(fit, measures))
            if self.snapshots is not None and self.snapshots.wants(fit.step_count):
                self.snapshots.add(fit.take_snapshot())
            reason = rule.update(fit.step_count, measures)
            if stopped:
                reason = StopReason.USER
            elif at_limit and by_hand:
                fit.choose_present()
                reason = StopReason.CHOSEN
            elif reason is None and at_limit:
                reason = StopReason.STEP_LIMIT
            if reason is not None:
                return reason, self._progress(history[-1], as_image(fit.estimate))
            seconds_per_step = timer.seconds_per_step(fit.step_count)
            if self.report_wanted():
                left = self._seconds_left(fit.step_count, rule.earliest_stop, seconds_per_step)
                estimate = fit.quick_estimate if self.quick_estimates else fit.estimate
                progress = self._progress(history[-1], as_image(estimate), left)
                with timer.stopped():
                    yield progress

    def _seconds_left(
        self, step: int, earliest_stop: int | None, seconds_per_step: float | None
    ) -> tuple[float, float] | None:
        if seconds_per_step is None:
            return None
        most = self.step_limit - step
        least = most if earliest_stop is None else min(max(0, earliest_stop - step), most)
        return (least + self.further_steps) * seconds_per_step, (most + self.further_steps) * seconds_per_step

    def _report(self, fit: Fit, measures: Measures) -> Report:
        return Report(
            step=fit.step_count,
            loss=measures.loss,
            held_out_error=measures.held_out_error,
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
            ratio=report.ratio,
            lipschitz_bound=report.lipschitz_bound,
            band_correspondence=np.asarray(report.band_correspondence),
            estimate=estimate,
            seconds_left=seconds_left,
        )
