"""The note: what the noise and the residual say about a restored image, in sentences for the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .measurement.noise import ChannelNoise, NoiseModel
from .measurement.stripes import Stripes

if TYPE_CHECKING:
    from .outcome import Report

_HARDLY_ANY = 0.01  # noise deviation as a share of the image's range; also a gain of the filters
_MOST = 0.5  # of the network's error, removed by filters
_COLOURED = 0.1  # correlation between neighbouring pixels of a residual


def tell_neighbours(count: int) -> str:
    """Say how many neighbouring planes helped; empty if none did."""
    return f"{count} neighbouring plane{'s' if count > 1 else ''} helped." if count else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a run has found out that advice depends on.

    Attributes
    ----------
    noise : NoiseModel, ChannelNoise or None
        Estimated on values in [0, 1]; None if it could not be estimated.
    stripes : Stripes or None
        What was taken out first, on the same values.
    correlation_side : int
        Side of the squares within which errors are correlated, in pixels; 1 for independent noise.
    residual_correlation : float
        Correlation between neighbouring pixels of the residual, the degraded image minus what the operator makes of the
        restored one; the larger of the two directions.
    scale : float or None
        Intensities per unit of value; None if channels have different scales.
    report : Report or None
        Of the chosen step.
    light_kept : float or None
        The restored image's sum, above the background, as a share of the degraded image's; None if their sizes differ.
    """

    noise: NoiseModel | ChannelNoise | None
    stripes: Stripes | None = None
    correlation_side: int
    residual_correlation: float
    scale: float | None
    report: Report | None = None
    light_kept: float | None = None


def advise(task: str, findings: Findings) -> str:
    """Return the sentences for a task's result; empty if it needs none."""
    return _ADVICE[task](findings) if task in _ADVICE else ""


def _advise_denoising(findings: Findings) -> str:
    """Say how strong the noise is, whether denoising was worthwhile, what the filters did, and what to look at."""
    noise, report, side = findings.noise, findings.report, findings.correlation_side
    sentences = [] if findings.stripes is None else [_say_stripes(findings.stripes, findings.scale)]
    level = "" if noise is None else _say_level(noise, findings.scale)
    if noise is not None and noise.correlation is not None:
        along_rows, along_columns = noise.correlation.of_neighbours
        sentences.append(
            f"The noise of neighbouring pixels is correlated ({along_rows:.1f} along rows, {along_columns:.1f} along "
            f"columns): {level} on average. It was judged and filtered accordingly. If it was made by interpolation or "
            "compression and you have the raw camera image, restore that instead."
        )
    elif side > 1:
        sentences.append(
            "The noise of neighbouring pixels is correlated (by interpolation, compression or blur?). The fit was "
            f"therefore judged by squares of {side} x {side} pixels instead of single pixels, "
            "and no classical filters were used. If you have the raw camera image, restore that instead."
        )
    elif noise is not None:
        if noise.mean_variance**0.5 < _HARDLY_ANY:
            sentences.append(f"There is hardly any noise: {level}. Denoising may do more harm than good.")
        elif noise.slope > 0:
            sentences.append(f"The noise grows with brightness, as shot noise does: {level} on average.")
        else:
            sentences.append(
                f"The noise is equally strong everywhere: {level}. If it is Gaussian, a filter that uses this level, "
                "such as BM3D, is faster and may be better."
            )
    if report is not None and report.step == 1 and report.prior_error is not None:
        sentences.append("The filters did all the work: the network found nothing to improve on them.")
    elif report is not None and report.prior_error and report.held_out_error is not None:
        sentences.append(_say_gain(1 - report.held_out_error / report.prior_error))
    if findings.residual_correlation > _COLOURED and side == 1:
        sentences.append(
            "Some structure was removed with the noise: look at the residual, where neighbouring pixels correlate by "
            f"{findings.residual_correlation:.2f}."
        )
    return " ".join(sentences)


def _say_stripes(stripes: Stripes, scale: float | None) -> str:
    """Say that stripes were taken out, and what to do if they were the image's own."""
    return (
        f"Stripes along {stripes.along} were taken out first: {_say_deviation(stripes.deviation, scale)}. If these "
        "lines belong to your sample, switch off “Remove stripes” (remove_stripes)."
    )


def _say_level(noise: NoiseModel | ChannelNoise, scale: float | None) -> str:
    """Say how strong the noise is, in the image's units if there are any, and as a share of its range."""
    return _say_deviation(noise.mean_variance**0.5, scale)


def _say_deviation(deviation: float, scale: float | None) -> str:
    share = f"{100 * deviation:.2g}% of the range"
    return share if scale is None else f"{deviation * scale:.3g} ({share})"


def _advise_deconvolving(findings: Findings) -> str:
    """Say how strong the noise is, whether the residual speaks against the PSF, and whether light was lost."""
    noise = findings.noise
    sentences = [] if findings.stripes is None else [_say_stripes(findings.stripes, findings.scale)]
    if noise is not None and noise.correlation is not None:
        sentences.append(
            f"The noise of neighbouring pixels is correlated: {_say_level(noise, findings.scale)} on average. It was "
            "filtered accordingly. If you have the raw camera image, take that instead."
        )
    elif findings.correlation_side > 1:
        sentences.append(
            "The noise of neighbouring pixels is correlated (by interpolation, compression or scaling?), so Richardson-"
            "Lucy and the filters were not used. If you have the raw camera image, take that instead."
        )
    elif noise is not None:
        sentences.append(f"Noise: {_say_level(noise, findings.scale)} on average.")
    if findings.residual_correlation > _COLOURED:
        sentences.append(
            "Blurred again by this PSF, the result does not quite explain the image: neighbouring pixels of the "
            f"residual correlate by {findings.residual_correlation:.2f}. Look at the residual. Rings around bright "
            "points mean that the PSF is too wide."
        )
    if findings.report is not None and findings.report.step == 1:
        sentences.append(
            "Richardson-Lucy on the filtered image was best: the network found nothing to improve on that."
        )
    if findings.light_kept is not None:
        sentences.append(f"The result has {100 * findings.light_kept:.1f}% of the image's light.")
    return " ".join(sentences)


def _advise_filling(findings: Findings) -> str:
    """Say how much of the work the classical filling did: similar blocks, the fit's residual, neighbouring planes."""
    report = findings.report
    if report is None or not report.prior_error or report.held_out_error is None:
        return ""
    if report.step == 1:
        return "Classical filling did all the work: the network added nothing."
    gain = 1 - report.held_out_error / report.prior_error
    if gain > _MOST:
        return f"Classical filling did most of the work: it reduced the error on held-out pixels by {gain:.0%}."
    return ""


_ADVICE: dict[str, Callable[[Findings], str]] = {
    "denoise": _advise_denoising, "inpaint": _advise_filling, "deconvolve": _advise_deconvolving,
}  # fmt: skip


def warn_of_idle_network() -> str:
    """Say that the network explains the image no better than a coarse blur, and what to do."""
    return (
        "The network contributed nothing: it explains the image no better than a coarse blur does. The fault is ours, "
        "not your image's. What you see is the work of the classical filters, if any. Try another seed, a larger "
        "Lipschitz bound or the CPU, and please report this, with the record."
    )


def _say_gain(gain: float) -> str:
    """Say by how much filters reduced the network's error on held-out pixels, noise included."""
    if gain > _MOST:
        return f"The filters did most of the work: they reduced the network's error on held-out pixels by {gain:.0%}."
    if gain > _HARDLY_ANY:
        return f"The filters reduced the network's error on held-out pixels by {gain:.0%}; this error includes noise."
    return "The filters hardly reduced the network's error on held-out pixels."
