"""The noise of one image: how strong it is at each intensity, estimated from the image itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch.nn import functional

from .noise_correlation import NoiseCorrelation, measure_correlation

_SMOOTHEST = 0.3  # share of the pixels, where the image changes least, in which correlated noise is looked for
_CORRELATED = 1.8  # ratio of the variance between pixels two apart to that between neighbours; 1 for white noise
_STRONG = 0.025  # deviation; anything weaker may as well be texture
_BINS = 16  # of intensity, each with the same number of pixels
_FEWEST_PIXELS = 1000  # for any estimate of the noise
_MAD_OF_NORMAL = 0.6745  # median absolute deviation of a standard normal
_EVEN = 0.5  # share of each bin's pixels, where the image around changes least, that measure its noise
_APART = 3  # pixels, from each of them to the middle of the local means that are compared
_SPIKES = 0.02  # share of the largest squares that is left out, so that hot pixels do not count
# The noise depends on brightness if its variance changes over the bins by more than this share of its mean: the first,
# plus the second / sqrt(pixels of a bin), which is three standard errors.
_CHANGE, _CHANGE_ERROR = 0.1, 8.6
_FLOOR = 0.05  # smallest variance of a pixel, as a share of the mean variance


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Noise of variance ``constant + slope * intensity`` (Poisson-Gaussian).

    Attributes
    ----------
    constant, slope : float
        In units of the image's values; ``constant`` is negative if the camera adds an offset, ``slope`` never is.
    floor : float
        The smallest variance.
    mean_variance : float
        Over the pixels of the image that the model was estimated from.
    correlation : NoiseCorrelation or None
        None if the noise is independent from pixel to pixel.
    """

    constant: float
    slope: float
    floor: float
    mean_variance: float
    correlation: NoiseCorrelation | None = field(default=None, compare=False)

    def times(self, factor: float) -> NoiseModel:
        """Return noise of that many times the variance."""
        return replace(
            self,
            constant=factor * self.constant,
            slope=factor * self.slope,
            floor=factor * self.floor,
            mean_variance=factor * self.mean_variance,
        )

    def variance(self, image: torch.Tensor) -> torch.Tensor:
        """Return the variance at every pixel of a noise-free image, in the image's shape."""
        return (self.constant + self.slope * image).clamp_min(self.floor)

    def stabilise(self, values: torch.Tensor) -> torch.Tensor:
        """Map values to a scale on which the noise has variance 1: the generalised Anscombe transform."""
        if self.slope == 0:
            return values / math.sqrt(self.constant)
        return 2 / self.slope * (self.slope * values + 3 / 8 * self.slope**2 + self.constant).clamp_min(0).sqrt()

    def unstabilise(self, stabilised: torch.Tensor) -> torch.Tensor:
        """Map the mean of stabilised values to the mean of the values.

        This is the closed form of the exact unbiased inverse: Mäkitalo and Foi, IEEE Transactions on Image Processing
        22, 91-103, 2013.
        """
        if self.slope == 0:
            return stabilised * math.sqrt(self.constant)
        read_noise = self.constant / self.slope**2
        root = stabilised.clamp_min(2 * math.sqrt(3 / 8))  # what zero photons stabilise to
        half = math.sqrt(3 / 2)
        photons = root**2 / 4 + half / 4 / root - 11 / 8 / root**2 + 5 / 8 * half / root**3 - 1 / 8
        return self.slope * (photons - read_noise)


@dataclass(frozen=True, slots=True)
class ChannelNoise:
    """Noise that differs between channels, because each has its own detector or dye.

    Attributes
    ----------
    channels : tuple of NoiseModel
    """

    channels: tuple[NoiseModel, ...]

    def times(self, factor: float) -> ChannelNoise:
        """Return noise of that many times the variance."""
        return ChannelNoise(tuple(each.times(factor) for each in self.channels))

    @property
    def correlation(self) -> NoiseCorrelation | None:
        """The correlation between pixels, which is that of all channels; None if they are independent."""
        return self.channels[0].correlation

    @property
    def mean_variance(self) -> float:
        """The mean over the pixels of all channels."""
        return sum(each.mean_variance for each in self.channels) / len(self.channels)

    @property
    def slope(self) -> float:
        """The largest slope; 0 if no channel's noise depends on brightness."""
        return max(each.slope for each in self.channels)

    def variance(self, image: torch.Tensor) -> torch.Tensor:
        """Return the variance at every pixel of noise-free images, ``(s, c, h, w)``."""
        parts = image.split(1, dim=1)
        return torch.cat([each.variance(part) for each, part in zip(self.channels, parts, strict=True)], dim=1)

    def stabilise(self, values: torch.Tensor) -> torch.Tensor:
        """Map values, ``(s, c, h, w)``, to a scale on which the noise of every channel has variance 1."""
        parts = values.split(1, dim=1)
        return torch.cat([each.stabilise(part) for each, part in zip(self.channels, parts, strict=True)], dim=1)

    def unstabilise(self, stabilised: torch.Tensor) -> torch.Tensor:
        """Map the mean of stabilised values, ``(s, c, h, w)``, to the mean of the values."""
        parts = stabilised.split(1, dim=1)
        return torch.cat([each.unstabilise(part) for each, part in zip(self.channels, parts, strict=True)], dim=1)


def survey_noise(
    values: torch.Tensor, known: torch.Tensor, *, colours: bool
) -> tuple[NoiseModel | ChannelNoise | None, bool]:
    """Estimate the noise, and whether neighbouring pixels share it; if so, with its correlation.

    Parameters
    ----------
    values, known
        As for ``is_correlated``.
    colours : bool
        Whether the channels are colours, which share one noise.

    Returns
    -------
    (NoiseModel, ChannelNoise or None, bool)
        None if the noise cannot be estimated.
    """
    noise = estimate_noise(values, known) if colours else estimate_channel_noise(values, known)
    correlated = is_correlated(values, known)
    if noise is None or not correlated:
        return noise, correlated
    # the finest detail shows only a small part of correlated noise: it is measured again, at all frequencies
    measured = measure_correlation(noise.stabilise(values.cpu()), known)
    if measured is None:
        return None, True
    correlation, variances = measured
    more = [max(1.0, variance) for variance in variances]  # a channel may be flat
    if isinstance(noise, ChannelNoise):
        pairs = zip(noise.channels, more, strict=True)
        return ChannelNoise(tuple(replace(each.times(by), correlation=correlation) for each, by in pairs)), True
    return replace(noise.times(sum(more) / len(more)), correlation=correlation), True


def estimate_channel_noise(values: torch.Tensor, known: torch.Tensor) -> ChannelNoise | None:
    """Estimate the noise of each channel on its own, as ``estimate_noise`` does; None if no channel has any.

    A channel without noise is given a hundredth of the others' mean variance, so that filters can compare channels.
    """
    found = [estimate_noise(channel, known) for channel in values.split(1, dim=1)]
    variances = [each.mean_variance for each in found if each is not None]
    if not variances:
        return None
    least = 0.01 * sum(variances) / len(variances)
    return ChannelNoise(tuple(each or NoiseModel(least, 0.0, _FLOOR * least, least) for each in found))


def estimate_noise(values: torch.Tensor, known: torch.Tensor) -> NoiseModel | None:
    """Estimate the noise as a function of local brightness, from the detail that Immerkær's mask extracts.

    Texture as fine as the pixels counts as noise. So each bin of brightness is measured where the image around changes
    least. The squares are averaged: a median would take the noise of a few photons, which is 0 at most pixels and large
    at the others, for less than it is.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``.
    known : Tensor
        ``(1, 1, h, w)`` bool.

    Returns
    -------
    NoiseModel or None
        None if too few pixels are known, or there is no noise.

    References
    ----------
    Immerkær: Fast noise variance estimation, Computer Vision and Image Understanding 64, 300-302, 1996. The bins of
    brightness, and the line through their variances, follow in outline Foi et al., IEEE Transactions on Image
    Processing 17, 1737-1754, 2008.
    """
    values, known = values.cpu(), known.cpu()  # once per run; not every device has float64
    filled = torch.where(known, values, 0.0)
    detail = _finest_detail(filled, 1)
    brightness = functional.avg_pool2d(functional.pad(filled, (1,) * 4, mode="reflect"), 5, 1)
    usable = _all_known(known, 1).expand_as(detail)
    if int(usable.sum()) < _FEWEST_PIXELS:
        return None
    change = _measure_change(filled, known)
    bright, fine, uneven = (part[usable].double().numpy() for part in (brightness, detail, change))
    bins = [
        pixels[np.argsort(uneven[pixels], kind="stable")[: math.ceil(_EVEN * len(pixels))]]
        for pixels in np.array_split(np.argsort(bright, kind="stable"), _BINS)
    ]
    at = np.array([bright[pixels].mean() for pixels in bins])
    variance = np.array([_trimmed_variance(fine[pixels]) for pixels in bins])
    mean = float(variance.mean())
    if mean <= np.finfo(np.float32).eps ** 2:
        return None
    weight = 1 / np.maximum(variance, 1e-3 * mean)  # the error of a variance is proportional to it
    slope, constant = np.polyfit(at, variance, 1, w=weight)
    if slope * (at[-1] - at[0]) < (_CHANGE + _CHANGE_ERROR / math.sqrt(len(bright) / _BINS)) * mean:
        slope, constant = 0.0, float(np.average(variance, weights=weight))
    return NoiseModel(float(constant), float(slope), _FLOOR * mean, mean)


def _measure_change(filled: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return the squared differences of local means on either side of each pixel, ``(1, c, h - 2, w - 2)``."""
    margin = _APART + 1
    wide, counted = (
        functional.avg_pool2d(functional.pad(each, (margin,) * 4, mode="replicate"), 5, 1)
        for each in (filled, known.to(filled))
    )
    means = wide / counted.clamp_min(1e-6)
    across, along = (
        (means.roll(-_APART, axis) - means.roll(_APART, axis)).square()[..., _APART:-_APART, _APART:-_APART]
        for axis in (2, 3)
    )
    return across + along


def _trimmed_variance(noise: NDArray[np.float64]) -> float:
    """Return the mean square of values without the largest, made up for what normal noise has there."""
    squares = np.sort(noise**2)
    kept = len(squares) - round(_SPIKES * len(squares))
    largest = stats.norm.ppf(1 - _SPIKES / 2)
    share_of_largest = _SPIKES + 2 * largest * stats.norm.pdf(largest) if kept < len(squares) else 0.0
    return float(squares[:kept].sum() / len(squares) / (1 - share_of_largest))


def is_correlated(values: torch.Tensor, known: torch.Tensor) -> bool:
    """Return whether the noise of neighbouring pixels is correlated, as after interpolation, compression or a blur.

    In the smoothest parts of the image, Immerkær's mask is applied to neighbours and to pixels two apart. White noise
    gives the same variance in both; correlated noise gives more between pixels two apart. Fine texture all over the
    image looks the same, so noise weaker than 2.5% of the range is not judged.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``, in [0, 1].
    known : Tensor
        ``(1, 1, h, w)`` bool.
    """
    values, known = values.cpu(), known.cpu()  # once per run; not every device has kthvalue
    filled = torch.where(known, values, 0.0)
    reach = 2
    change = functional.avg_pool2d(filled, 5, 1)
    change = (change[..., 2:, 1:-1] - change[..., :-2, 1:-1]).square() + (
        change[..., 1:-1, 2:] - change[..., 1:-1, :-2]
    ).square()  # of means over 5 pixels: (1, c, h - 6, w - 6)
    usable = _all_known(known, reach)[..., 1:-1, 1:-1].expand_as(change)
    if int(usable.sum()) < _FEWEST_PIXELS / _SMOOTHEST:
        return False
    changes = change[usable]
    smooth = usable & (change <= changes.kthvalue(int(_SMOOTHEST * len(changes))).values)
    near, far = (
        _finest_detail(filled, dilation)[..., 3 - dilation : dilation - 3 or None, 3 - dilation : dilation - 3 or None]
        for dilation in (1, reach)
    )
    near_deviation, far_deviation = (part[smooth].abs().median() / _MAD_OF_NORMAL for part in (near, far))
    return bool((far_deviation > _STRONG) & (far_deviation.square() > _CORRELATED * near_deviation.square()))


def _finest_detail(values: torch.Tensor, dilation: int) -> torch.Tensor:
    """Return what Immerkær's mask extracts at a dilation of d pixels, ``(1, c, h - 2d, w - 2d)``."""
    second = torch.tensor([1.0, -2.0, 1.0]).to(values)
    mask = torch.outer(second, second) / 6  # white noise keeps its variance
    channels = values.shape[1]
    return functional.conv2d(values, mask.expand(channels, 1, 3, 3), groups=channels, dilation=dilation)


def _all_known(known: torch.Tensor, margin: int) -> torch.Tensor:
    """Return whether all pixels within 2 are known, ``(1, 1, h - 2m, w - 2m)``, without a margin of m <= 2 pixels."""
    missing = functional.pad((~known).float(), (2 - margin,) * 4)
    return functional.max_pool2d(missing, 5, 1) == 0
