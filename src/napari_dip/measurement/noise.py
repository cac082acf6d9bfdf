"""The noise of one image: how strong it is at each intensity, estimated from the image itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

_SMOOTHEST = 0.3  # share of the pixels, those where the image changes least, that tell whether noise is correlated
_CORRELATED = 1.8  # times as much variance between pixels two apart as between neighbours; white noise has 1
_STRONG = 0.025  # deviation below which it may as well be texture
_BINS = 16  # of intensity, each with as many pixels
_FEWEST_PIXELS = 1000  # that tell anything about noise
_MAD_OF_NORMAL = 0.6745  # median absolute deviation of a standard normal
_CHANGE, _CHANGE_ERROR = 0.1, 8.6  # share of its mean by which the variance must change over the bins to depend on
# brightness: at least the first, and the second / sqrt(pixels of a bin), three standard errors
_FLOOR = 0.05  # share of the mean variance that no pixel's variance falls below


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Noise independent from pixel to pixel, of variance ``constant + slope * intensity`` (Poisson-Gaussian).

    Attributes
    ----------
    constant, slope : float
        In units of the image's values; ``constant`` is negative where a camera adds an offset, slope is never.
    floor : float
        Variance that is never gone below.
    mean_variance : float
        Of the pixels of the image that it was estimated from.
    """

    constant: float
    slope: float
    floor: float
    mean_variance: float

    def variance(self, image: torch.Tensor) -> torch.Tensor:
        """Return the variance at every pixel of a noise-free image, in its shape."""
        return (self.constant + self.slope * image).clamp_min(self.floor)

    def stabilise(self, values: NDArray) -> NDArray[np.float64]:
        """Map values to a scale on which the noise has variance 1: the generalised Anscombe transform."""
        values = np.asarray(values, dtype=np.float64)
        if self.slope == 0:
            return values / math.sqrt(self.constant)
        return 2 / self.slope * np.sqrt(np.maximum(self.slope * values + 3 / 8 * self.slope**2 + self.constant, 0))

    def unstabilise(self, stabilised: NDArray) -> NDArray[np.float64]:
        """Map the mean of stabilised values to that of the values.

        The closed form of the exact unbiased inverse, Mäkitalo and Foi, IEEE Transactions on Image Processing 22,
        91-103, 2013.
        """
        if self.slope == 0:
            return np.asarray(stabilised, dtype=np.float64) * math.sqrt(self.constant)
        read_noise = self.constant / self.slope**2
        root = np.maximum(stabilised, 2 * math.sqrt(3 / 8))  # what zero photons stabilise to
        half = math.sqrt(3 / 2)
        photons = root**2 / 4 + half / 4 / root - 11 / 8 / root**2 + 5 / 8 * half / root**3 - 1 / 8
        return self.slope * (photons - read_noise)


@dataclass(frozen=True, slots=True)
class ChannelNoise:
    """Noise that differs between channels, each with its own detector or dye.

    Attributes
    ----------
    channels : tuple of NoiseModel
    """

    channels: tuple[NoiseModel, ...]

    @property
    def mean_variance(self) -> float:
        """Of the pixels of all channels."""
        return sum(each.mean_variance for each in self.channels) / len(self.channels)

    @property
    def slope(self) -> float:
        """The largest: 0 if no channel's noise depends on brightness."""
        return max(each.slope for each in self.channels)

    def variance(self, image: torch.Tensor) -> torch.Tensor:
        """Return the variance at every pixel of noise-free images, ``(s, c, h, w)``."""
        parts = image.split(1, dim=1)
        return torch.cat([each.variance(part) for each, part in zip(self.channels, parts, strict=True)], dim=1)

    def stabilise(self, values: NDArray) -> NDArray[np.float64]:
        """Map values, ``(c, h, w)``, to a scale on which the noise of every channel has variance 1."""
        return np.stack([each.stabilise(part) for each, part in zip(self.channels, values, strict=True)])

    def unstabilise(self, stabilised: NDArray) -> NDArray[np.float64]:
        """Map the mean of stabilised values, ``(c, h, w)``, to that of the values."""
        return np.stack([each.unstabilise(part) for each, part in zip(self.channels, stabilised, strict=True)])


def estimate_channel_noise(values: torch.Tensor, known: torch.Tensor) -> ChannelNoise | None:
    """Estimate the noise of every channel on its own, as ``estimate_noise`` does; None where none has any.

    A channel without noise counts as having a hundredth of the others' mean variance, so that filters can compare them.
    """
    found = [estimate_noise(channel, known) for channel in values.split(1, dim=1)]
    variances = [each.mean_variance for each in found if each is not None]
    if not variances:
        return None
    least = 0.01 * sum(variances) / len(variances)
    return ChannelNoise(tuple(each or NoiseModel(least, 0.0, _FLOOR * least, least) for each in found))


def estimate_noise(values: torch.Tensor, known: torch.Tensor) -> NoiseModel | None:
    """Estimate the noise from what is left of the image by the mask of Immerkær, as a function of local brightness.

    Texture that is as fine as the pixels counts as noise.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``.
    known : Tensor
        ``(1, 1, h, w)`` bool.

    Returns
    -------
    NoiseModel or None
        None where too few pixels are known, or no noise is left.

    References
    ----------
    Immerkær: Fast noise variance estimation, Computer Vision and Image Understanding 64, 300-302, 1996. The median of
    absolute values, in bins of brightness, and a line through them are those of Foi et al., IEEE Transactions on Image
    Processing 17, 1737-1754, 2008, in outline.
    """
    values, known = values.cpu(), known.cpu()  # once a run, in float64, which not every device has
    filled = torch.where(known, values, 0.0)
    detail = _finest_detail(filled, 1)
    brightness = functional.avg_pool2d(functional.pad(filled, (1,) * 4, mode="reflect"), 5, 1)
    whole = _all_known(known, 1).expand_as(detail)
    if int(whole.sum()) < _FEWEST_PIXELS:
        return None
    bright, fine = (part[whole].double().numpy() for part in (brightness, detail))
    order = np.argsort(bright, kind="stable")
    bins = np.array_split(order, _BINS)
    at = np.array([bright[part].mean() for part in bins])
    variance = np.array([(np.median(np.abs(fine[part])) / _MAD_OF_NORMAL) ** 2 for part in bins])
    mean = float(variance.mean())
    if mean <= np.finfo(np.float32).eps ** 2:
        return None
    weight = 1 / np.maximum(variance, 1e-3 * mean)  # a variance's own error is proportional to it
    slope, constant = np.polyfit(at, variance, 1, w=weight)
    if slope * (at[-1] - at[0]) < (_CHANGE + _CHANGE_ERROR / math.sqrt(len(bins[0]))) * mean:
        slope, constant = 0.0, float(np.average(variance, weights=weight))
    return NoiseModel(float(constant), float(slope), _FLOOR * mean, mean)


def is_correlated(values: torch.Tensor, known: torch.Tensor) -> bool:
    """Tell whether the noise of neighbouring pixels is correlated, as after interpolation, compression or a blur.

    In the smoothest parts of the image, Immerkær's mask finds as much white noise between pixels two apart as between
    neighbours, but more of noise whose neighbours are alike. Fine texture all over the image looks the same; so noise
    weaker than 2.5% of the range is not judged.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``, in [0, 1].
    known : Tensor
        ``(1, 1, h, w)`` bool.
    """
    values, known = values.cpu(), known.cpu()  # once a run; not every device ranks values (kthvalue)
    filled = torch.where(known, values, 0.0)
    reach = 2
    change = functional.avg_pool2d(filled, 5, 1)
    change = (change[..., 2:, 1:-1] - change[..., :-2, 1:-1]).square() + (
        change[..., 1:-1, 2:] - change[..., 1:-1, :-2]
    ).square()  # of means over 5 pixels: (1, c, h - 6, w - 6)
    whole = _all_known(known, reach)[..., 1:-1, 1:-1].expand_as(change)
    if int(whole.sum()) < _FEWEST_PIXELS / _SMOOTHEST:
        return False
    changes = change[whole]
    smooth = whole & (change <= changes.kthvalue(int(_SMOOTHEST * len(changes))).values)
    near, far = (
        _finest_detail(filled, dilation)[..., 3 - dilation : dilation - 3 or None, 3 - dilation : dilation - 3 or None]
        for dilation in (1, reach)
    )
    near_deviation, far_deviation = (part[smooth].abs().median() / _MAD_OF_NORMAL for part in (near, far))
    return bool((far_deviation > _STRONG) & (far_deviation.square() > _CORRELATED * near_deviation.square()))


def _finest_detail(values: torch.Tensor, dilation: int) -> torch.Tensor:
    """Return what the mask of Immerkær, spread over pixels so far apart, leaves: ``(1, c, h - 2d, w - 2d)``."""
    second = torch.tensor([1.0, -2.0, 1.0]).to(values)
    mask = torch.outer(second, second) / 6  # white noise keeps its variance
    channels = values.shape[1]
    return functional.conv2d(values, mask.expand(channels, 1, 3, 3), groups=channels, dilation=dilation)


def _all_known(known: torch.Tensor, margin: int) -> torch.Tensor:
    """Return whether all within 2 pixels are known, ``(1, 1, h - 2m, w - 2m)`` without a margin of m pixels, m <= 2."""
    missing = functional.pad((~known).float(), (2 - margin,) * 4)
    return functional.max_pool2d(missing, 5, 1) == 0
