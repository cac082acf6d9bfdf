"""Classical methods as the prior's partners. Held-out pixels weigh what each proposes, so that it can do no harm."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from skimage.restoration import denoise_nl_means
from torch.nn import functional

from ..measurement.data_term import DataTerm
from ..measurement.forward_operator import BlockCosines, cosines_like
from ..measurement.missing_pixels import fill_smoothly
from ..measurement.noise import ChannelNoise, NoiseModel
from .collaborative_filter import collaborative_filter, match_blocks

_BLOCK_SIDES = (8, 16)  # of the Wiener filter; one for texture, one for smooth images
_SHIFTS, _SHIFTS_OF_RESULT = 4, 8  # of the blocks, along either side; more is better, and slower
_PATCH, _REACH, _STRENGTH = 5, 6, 0.8  # of non-local means: pixels, pixels, noise deviations
# Passes of the collaborative filter, as docs/benchmarks.md has them measured: large blocks bear more noise, small ones
# find more of their like.
_PASSES = ((8, 4, 12, 64), (4, 2, 12, 32))  # side, stride, reach, count


class Partner(Protocol):
    """Makes more of the prior's output with what it knows of the degraded image."""

    def judge(self, output: torch.Tensor) -> torch.Tensor:
        """Return what becomes of the prior's output, ``(1, c, H, W)``, if no held-out pixel is seen: to be judged."""
        ...

    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the most that becomes of it with all known pixels seen, and its mean squared error as far as known.

        Or, quickly, what is near to that.
        """
        ...


def choose_partner(data_term: DataTerm, held_out: torch.Tensor) -> Partner | None:
    """Return the partner that can help with a measurement, None if there is none or nothing is held out to weigh it.

    Parameters
    ----------
    data_term : DataTerm
    held_out : Tensor
        bool, ``(1, 1, h, w)`` where the data term is by pixel.
    """
    if not data_term.by_pixel or not bool(held_out.any()):
        return None
    fitted = data_term.judged & ~held_out
    if data_term.noise is not None:
        return DenoisingPartner(data_term.values, fitted, held_out, data_term.noise)
    if data_term.size == data_term.values.shape[-2:] and not bool(data_term.known.all()):
        return CompletingPartner(data_term.values, fitted, held_out)
    return None


class CompletingPartner:
    """Makes what is drawn between known pixels agree with them: what the fit leaves of them is continued.

    The residual of the fitted pixels is filled in smoothly between them; a share of it, in [0, 1], is added to the
    output there: the share with the smallest squared error on the held-out pixels (noise is not worth agreeing with).
    Fitted pixels themselves stay as the prior draws them.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``, the degraded image.
    fitted, held_out : Tensor
        ``(1, 1, h, w)`` bool.
    """

    def __init__(self, values: torch.Tensor, fitted: torch.Tensor, held_out: torch.Tensor) -> None:
        self._values, self._fitted, self._held_out = values, fitted, held_out

    def judge(self, output: torch.Tensor) -> torch.Tensor:
        """Return the output with what was missing of it, ``(1, c, h, w)``, continued from the fitted pixels."""
        change, share = self._missing(output)
        return torch.where(self._fitted, output, output + share * change)

    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same, continued from all known pixels, and 0: of the noise nothing is known."""
        _, share = self._missing(output)
        known = self._fitted | self._held_out
        change = fill_smoothly(torch.where(known, self._values - output, 0.0), known)
        return torch.where(known, output, output + share * change), output.new_zeros(())

    def _missing(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the fitted pixels' residual, continued, and the share of it that is best."""
        residual = self._values - output
        continued = fill_smoothly(torch.where(self._fitted, residual, 0.0), self._fitted)
        return continued, best_share(continued, residual, self._held_out)


class DenoisingPartner:
    """Non-local means of the degraded image, and filters that take the prior's spectrum for the image's.

    The prior's output p and the non-local means n are blended, m = n + a (p - n); the degraded image is filtered with
    m's spectrum, to w, and m + b (w - m) is the image that is judged. Of the one that is chosen more is made: passes of
    a collaborative filter, each with what is there as pilot, of whose change a share is taken. All shares, in [0, 1],
    are those with the smallest squared error on the held-out pixels, of which no filter sees anything then; with these
    shares all see everything.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``, the degraded image.
    fitted, held_out : Tensor
        ``(1, 1, h, w)`` bool: the pixels that the filters may always see, and those that judge them. Pixels that are
        neither are missing: there the result is p with what the filters change around them, continued smoothly. The
        step is chosen by known pixels, where filters may do well long before p alone does.
    noise : NoiseModel or ChannelNoise
    """

    def __init__(
        self,
        values: torch.Tensor,
        fitted: torch.Tensor,
        held_out: torch.Tensor,
        noise: NoiseModel | ChannelNoise,
    ) -> None:
        self._values, self._fitted, self._held_out, self._noise = values, fitted, held_out, noise
        self._known = fitted | held_out
        self._smooth_of_fitted = non_local_means(values, fitted, noise)
        self._smooth_of_known = non_local_means(values, self._known, noise)

    def judge(self, output: torch.Tensor) -> torch.Tensor:
        """Return what prior and filters make of the image together, ``(1, c, h, w)``, of the fitted pixels alone."""
        image, _, _ = self._shared(output)
        return image

    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the filters make of all known pixels, and the error that they leave, squared.

        That is the variance of the noise that they let pass, and the square of their bias. Quickly, without the
        collaborative filter and the bias.
        """
        judged, first, second = self._shared(output)
        blend = self._complete(torch.lerp(self._smooth_of_known, output, first), output)
        filtered, variance = self._filter(blend, self._known, _SHIFTS_OF_RESULT)
        image, variance = torch.lerp(blend, filtered, second), second * variance
        for side, stride, reach, count in () if quick else _PASSES:
            if min(image.shape[-2:]) < side:
                continue
            groups = match_blocks(judged, side, stride, reach, count)
            of_fitted, _ = self._filter_groups(judged, self._fitted, groups, side, stride)
            share = self._share(judged, of_fitted)
            judged = torch.lerp(judged, of_fitted, share)
            of_known, left_over = self._filter_groups(image, self._known, groups, side, stride)
            image, variance = torch.lerp(image, of_known, share), torch.lerp(variance, left_over, share)
        image = self._complete(image, output)
        return image, variance if quick else variance + self._squared_bias(image)

    def _squared_bias(self, image: torch.Tensor) -> torch.Tensor:
        """Return the square, ``(1, 1, h, w)``, of what a filter takes from the result, and hence took from the truth.

        References
        ----------
        Tukey: Exploratory Data Analysis, 1977 (twicing).
        """
        side = _BLOCK_SIDES[0]
        if 2 * side > min(image.shape[-2:]):
            return torch.zeros_like(image[:, :1])
        again, _ = wiener_filter(image, image, self._noise.variance(image), side)
        return (again - image).square().mean(dim=1, keepdim=True)

    def _shared(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the image that is judged, and the two shares."""
        first = self._share(self._smooth_of_fitted, output)
        blend = self._complete(torch.lerp(self._smooth_of_fitted, output, first), output)
        filtered, _ = self._filter(blend, self._fitted, _SHIFTS)
        second = self._share(blend, filtered)
        return self._complete(torch.lerp(blend, filtered, second), output), first, second

    def _complete(self, image: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Return the image where pixels are known; where not, the output with the difference continued."""
        if bool(self._known.all()):
            return image
        return torch.where(self._known, image, output + fill_smoothly((image - output) * self._known, self._known))

    def _filter_groups(
        self, pilot: torch.Tensor, seen: torch.Tensor, groups: torch.Tensor, side: int, stride: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one pass of the collaborative filter, and its variance."""
        noisy = torch.where(seen, self._values, pilot)
        return collaborative_filter(pilot, noisy, self._noise.variance(pilot), groups, side, stride)

    def _filter(self, pilot: torch.Tensor, seen: torch.Tensor, shifts: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean of the filters of all block sizes, and of their variances."""
        noisy, variance = torch.where(seen, self._values, pilot), self._noise.variance(pilot)
        sides = [side for side in _BLOCK_SIDES if 2 * side <= min(pilot.shape[-2:])]
        images, variances = zip(*(wiener_filter(pilot, noisy, variance, side, shifts) for side in sides), strict=True)
        return torch.stack(images).mean(dim=0), torch.stack(variances).mean(dim=0)

    def _share(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Return how far to go from one image towards another."""
        return best_share(other - one, self._values - one, self._held_out)


def best_share(change: torch.Tensor, error: torch.Tensor, judged: torch.Tensor) -> torch.Tensor:
    """Return the share of a change, ``()`` in [0, 1], that leaves least of an error where it is judged.

    Parameters
    ----------
    change, error : Tensor
        ``(1, c, h, w)``.
    judged : Tensor
        ``(1, 1, h, w)`` bool.
    """
    change = torch.where(judged, change, 0.0)
    share = (change * error).sum() / change.square().sum().clamp_min(torch.finfo(change.dtype).tiny)
    return share.clamp(0, 1)


def non_local_means(values: torch.Tensor, fitted: torch.Tensor, noise: NoiseModel | ChannelNoise) -> torch.Tensor:
    """Denoise with non-local means where the noise has been made equally strong everywhere.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``.
    fitted : Tensor
        ``(1, 1, h, w)`` bool; the other pixels are taken from the nearest of these.
    noise : NoiseModel

    Returns
    -------
    Tensor
        The shape of ``values``.

    References
    ----------
    Buades, Coll and Morel: A non-local algorithm for image denoising, CVPR 2005.
    """
    nearest = ndimage.distance_transform_edt(~fitted[0, 0].cpu().numpy(), return_distances=False, return_indices=True)
    image = np.moveaxis(noise.stabilise(values[0].cpu().numpy()[:, *nearest]), 0, -1)
    smooth = denoise_nl_means(image, _PATCH, _REACH, h=_STRENGTH, sigma=1.0, fast_mode=True, channel_axis=-1)
    smooth = np.moveaxis(smooth.reshape(image.shape), -1, 0)  # a single channel's axis is dropped
    # not every device has float64: rounded before it is moved
    return torch.from_numpy(noise.unstabilise(smooth)).to(values.dtype).to(values.device)[None]


def wiener_filter(
    pilot: torch.Tensor, noisy: torch.Tensor, variance: torch.Tensor, side: int, shifts: int = _SHIFTS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shrink each cosine coefficient of a noisy image by P² / (P² + V), P that of a pilot and V the noise variance.

    Mean over shifted blocks; channels are decorrelated by a cosine transform, too; a block's mean is kept.

    Parameters
    ----------
    pilot, noisy : Tensor
        ``(1, c, h, w)``, a first estimate and the degraded image; h and w at least twice the side.
    variance : Tensor
        The same shape, of the noise.
    side : int
        Of the blocks.
    shifts : int
        Along either side, a divisor of ``side``.

    Returns
    -------
    (Tensor, Tensor)
        The filtered image, ``(1, c, h, w)``, and the variance that is left in it if P is the image's spectrum,
        ``(1, 1, h, w)``: the mean of V P² / (P² + V) over each block.

    References
    ----------
    Yaroslavsky, Egiazarian and Astola: Transform domain image restoration methods, SPIE 4304, 2001; the pilot as in
    Ghael, Sayeed and Baraniuk: Improved wavelet denoising via empirical Wiener filtering, SPIE 3169, 1997.
    """
    blocks = BlockCosines(side)
    between = cosines_like(pilot.shape[1], pilot)
    height, width = ((-(-size // side) + 1) * side for size in pilot.shape[-2:])  # of blocks that cover every shift
    stride = side // shifts
    below, right = (whole - stride - size for whole, size in zip((height, width), pilot.shape[-2:], strict=True))
    pad = (side, right, side, below)
    pilot_wide, noisy_wide = (
        functional.pad(torch.einsum("dc,schw->sdhw", between, image), pad, mode="reflect") for image in (pilot, noisy)
    )
    variance_wide = functional.pad(variance.mean(dim=1, keepdim=True), pad, mode="reflect")
    total, left_over = torch.zeros_like(pilot_wide), torch.zeros_like(variance_wide)
    for top in range(0, side, stride):
        for left in range(0, side, stride):
            here = (..., slice(top, top + height), slice(left, left + width))
            power = blocks(pilot_wide[here]).square()
            block_variance = _spread(functional.avg_pool2d(variance_wide[here], side), side)
            gain = power / (power + block_variance)
            gain[:, 0, ::side, ::side] = 1
            total[here] += blocks.invert(gain * blocks(noisy_wide[here]))
            left_over[here] += _spread(
                functional.avg_pool2d(gain.mean(dim=1, keepdim=True) * block_variance, side), side
            )
    inside = (..., slice(side, side + pilot.shape[-2]), slice(side, side + pilot.shape[-1]))
    return torch.einsum("dc,sdhw->schw", between, total[inside] / shifts**2), left_over[inside] / shifts**2


def _spread(blocks: torch.Tensor, side: int) -> torch.Tensor:
    """Return ``(s, c, h, w)`` with every value repeated over a block."""
    return blocks.repeat_interleave(side, dim=-2).repeat_interleave(side, dim=-1)
