"""Classical methods as the prior's partners. Held-out pixels weigh what each proposes, so that it can do no harm."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from scipy import ndimage
from skimage.restoration import denoise_nl_means
from torch.nn import functional

from ..measurement.data_term import DataTerm
from ..measurement.forward_operator import BlockCosines, cosines
from ..measurement.missing_pixels import fill_smoothly
from ..measurement.noise import NoiseModel

_BLOCK_SIDES = (8, 16)  # of the Wiener filter; one for texture, one for smooth images
_SHIFTS_PER_SIDE = 4
_PATCH, _REACH, _STRENGTH = 5, 6, 0.8  # of non-local means: pixels, pixels, noise deviations


class Partner(Protocol):
    """Makes more of the prior's output with what it knows of the degraded image."""

    def help(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the better image, ``(1, c, H, W)``, of the prior's output, and the variance of the noise in it."""
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

    def help(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the output with what was missing of it, ``(1, c, h, w)``, and 0: of the noise nothing is known."""
        residual = self._values - output
        continued = fill_smoothly(torch.where(self._fitted, residual, 0.0), self._fitted)
        share = best_share(continued, residual, self._held_out)
        return torch.where(self._fitted, output, output + share * continued), output.new_zeros(())


class DenoisingPartner:
    """Non-local means of the degraded image, and a Wiener filter that takes the prior's spectrum for the image's.

    The prior's output p and the non-local means n are blended, m = n + a (p - n); the degraded image is filtered with
    m's spectrum, to w; the result is m + b (w - m). The weights a and b, in [0, 1], are those with the smallest squared
    error on the held-out pixels, of which neither filter sees anything.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``, the degraded image.
    fitted, held_out : Tensor
        ``(1, 1, h, w)`` bool: the pixels that the filters may see, and those that judge them. Pixels that are neither
        are missing: there the result is p.
    noise : NoiseModel
    """

    def __init__(self, values: torch.Tensor, fitted: torch.Tensor, held_out: torch.Tensor, noise: NoiseModel) -> None:
        self._values, self._fitted, self._held_out, self._noise = values, fitted, held_out, noise
        self._non_local_means = non_local_means(values, fitted, noise)

    def help(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what prior and filters make of the image together, ``(1, c, h, w)``, and the Wiener filter's variance.

        Parameters
        ----------
        output : Tensor
            ``(1, c, h, w)``, of the prior.
        """
        known = self._fitted | self._held_out
        blend = torch.where(known, self._weigh(self._non_local_means, output), output)
        seen = torch.where(self._fitted, self._values, blend)
        variance = self._noise.variance(blend)
        sides = [side for side in _BLOCK_SIDES if 2 * side <= min(blend.shape[-2:])]
        images, variances = zip(*(wiener_filter(blend, seen, variance, side) for side in sides), strict=True)
        filtered, left = torch.stack(images).mean(dim=0), torch.stack(variances).mean(dim=0)
        return torch.where(known, self._weigh(blend, filtered), output), left

    def _weigh(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Return the point between two images that is nearest to the held-out pixels."""
        return torch.lerp(one, other, best_share(other - one, self._values - one, self._held_out))


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


def non_local_means(values: torch.Tensor, fitted: torch.Tensor, noise: NoiseModel) -> torch.Tensor:
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
    return torch.from_numpy(noise.unstabilise(smooth)).to(values)[None]


def wiener_filter(
    pilot: torch.Tensor, noisy: torch.Tensor, variance: torch.Tensor, side: int
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
        Of the blocks, a multiple of 4.

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
    between = cosines(pilot.shape[1]).to(pilot)
    height, width = ((-(-size // side) + 1) * side for size in pilot.shape[-2:])  # of blocks that cover every shift
    stride = side // _SHIFTS_PER_SIDE
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
    shifts = _SHIFTS_PER_SIDE**2
    return torch.einsum("dc,sdhw->schw", between, total[inside] / shifts), left_over[inside] / shifts


def _spread(blocks: torch.Tensor, side: int) -> torch.Tensor:
    """Return ``(s, c, h, w)`` with every value repeated over a block."""
    return blocks.repeat_interleave(side, dim=-2).repeat_interleave(side, dim=-1)
