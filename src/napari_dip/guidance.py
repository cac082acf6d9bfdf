"""What the noise and the residual say about a denoised image, in sentences for its user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .measurement.noise import ChannelNoise, NoiseModel

if TYPE_CHECKING:
    from .outcome import Report

_HARDLY_ANY = 0.01  # noise deviation, of the image's range
_MOST = 0.5  # of the network's error, that filters take away
_COLOURED = 0.1  # correlation of a residual's neighbours


def advise_denoising(
    noise: NoiseModel | ChannelNoise | None,
    *,
    correlated_over: int,
    residual_correlation: float,
    scale: float | None,
    report: Report | None = None,
) -> str:
    """Say how strong the noise is, whether denoising was worth while, what the filters did, and what to look at.

    Parameters
    ----------
    noise : NoiseModel, ChannelNoise or None
        Estimated on values in [0, 1]; None if there was none to estimate.
    correlated_over : int
        Side of the squares within which errors are correlated, in pixels; 1 for independent noise.
    residual_correlation : float
        Of the residual's neighbours; the larger of the two directions.
    scale : float or None
        Intensities per unit of value; None where channels differ in it.
    report : Report, optional
        Of the step that was chosen.
    """
    sentences = []
    if correlated_over > 1:
        sentences.append(
            "The noise of neighbouring pixels is correlated (interpolation, compression, a blur?): the fit was judged "
            f"by squares of {correlated_over} pixels instead of single ones, and classical filters were left out. "
            "If you have the image as the camera gave it, restore that."
        )
    elif noise is not None:
        deviation = noise.mean_variance**0.5
        share = f"{100 * deviation:.2g}% of the range"
        level = share if scale is None else f"{deviation * scale:.3g} ({share})"
        if deviation < _HARDLY_ANY:
            sentences.append(f"There is hardly any noise, {level}: denoising can take away more than it gives.")
        elif noise.slope > 0:
            sentences.append(f"The noise grows with brightness, {level} on average, as shot noise does.")
        else:
            sentences.append(
                f"The noise is equally strong everywhere, {level}. If it is Gaussian, a filter such as BM3D that is "
                "told this level is faster and may be better."
            )
    if report is not None and report.prior_error and report.held_out_error is not None:
        sentences.append(_say_share(1 - report.held_out_error / report.prior_error))
    if residual_correlation > _COLOURED and correlated_over == 1:
        sentences.append(
            f"What was taken away is not white (neighbours correlate by {residual_correlation:.2f}): look at the "
            "residual, structure went with the noise."
        )
    return " ".join(sentences)


def warn_of_idle_network() -> str:
    """Say that the network explains the image no better than a coarse blur, and what to do."""
    return (
        "The network contributed nothing: it explains the image no better than a coarse blur does. This is a fault, "
        "and not your image's: what you see is the work of classical filters, if any. Try another seed, a larger "
        "Lipschitz bound or the CPU, and please report it with the record."
    )


def _say_share(gain: float) -> str:
    """Say how much smaller filters made the network's error on held-out pixels, noise included."""
    if gain > _MOST:
        return (
            f"The filters did most of it: on pixels held out they made the network's error {gain:.0%} smaller. Other "
            "steps then look alike."
        )
    if gain > _HARDLY_ANY:
        return f"On pixels held out the filters made the network's error {gain:.0%} smaller, noise included."
    return "On pixels held out the filters made the network's error hardly smaller."
