"""An empirical Wiener filter: the cosine coefficients of shifted blocks are shrunk as the spectrum of a pilot says."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..measurement.forward_operator import BlockCosines, cosines_like

_ON_CPU, _ON_GPU = 1 << 17, 1 << 25  # values that are shifted at once: few that stay in the cache, or few launches


def wiener_filter(
    pilot: torch.Tensor,
    noisy: torch.Tensor,
    variance: torch.Tensor,
    side: int,
    shifts: int,
    spectrum: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shrink each cosine coefficient of a noisy image by P² / (P² + V), P that of a pilot and V the noise variance.

    The result is the mean over shifted blocks. A cosine transform also decorrelates the channels. The mean of each
    block is kept.

    Parameters
    ----------
    pilot, noisy : Tensor
        ``(n, c, h, w)``, first estimates and degraded images; h and w at least twice ``side``.
    variance : Tensor
        Of the noise, in the same shape.
    side : int
        Of the blocks.
    shifts : int
        Along each side, a divisor of ``side``.
    spectrum : Tensor, optional
        ``(side, side)``: the noise variance of each coefficient of a block, relative to a pixel's. White by default.

    Returns
    -------
    (Tensor, Tensor)
        The filtered images, ``(n, c, h, w)``, and the variance left in them if P is the image's spectrum,
        ``(n, 1, h, w)``: the mean of V P² / (P² + V) over each block.

    References
    ----------
    Yaroslavsky, Egiazarian and Astola: Transform domain image restoration methods, SPIE 4304, 2001. The pilot: Ghael,
    Sayeed and Baraniuk: Improved wavelet denoising via empirical Wiener filtering, SPIE 3169, 1997.
    """
    blocks = BlockCosines(side)
    between = cosines_like(pilot.shape[1], pilot)
    height, width = ((-(-size // side) + 1) * side for size in pilot.shape[-2:])  # whole blocks that cover every shift
    stride = side // shifts
    below, right = (length - stride - size for length, size in zip((height, width), pilot.shape[-2:], strict=True))
    pad = (side, right, side, below)
    pilot_wide, noisy_wide = (
        functional.pad(torch.einsum("dc,schw->sdhw", between, image), pad, mode="reflect") for image in (pilot, noisy)
    )
    variance_wide = functional.pad(variance.mean(dim=1, keepdim=True), pad, mode="reflect")
    total, left_over = torch.zeros_like(pilot_wide), torch.zeros_like(variance_wide)
    of_coefficients = (
        pilot.new_ones(()) if spectrum is None else spectrum.to(pilot).repeat(height // side, width // side)
    )
    corners = [(top, left) for top in range(0, side, stride) for left in range(0, side, stride)]
    count = len(pilot)
    at_once = max(1, (_ON_CPU if pilot.is_cpu else _ON_GPU) // (count * height * width * pilot.shape[1]))
    for some in (corners[n : n + at_once] for n in range(0, len(corners), at_once)):
        places = [(..., slice(top, top + height), slice(left, left + width)) for top, left in some]
        pilots, data, variances = (
            torch.cat([image[place] for place in places]) for image in (pilot_wide, noisy_wide, variance_wide)
        )
        power = blocks(pilots).square()
        block_variance = _spread(functional.avg_pool2d(variances, side), side) * of_coefficients
        gain = power / (power + block_variance)
        gain[:, 0, ::side, ::side] = 1
        filtered = blocks.invert(gain * blocks(data))
        left = _spread(functional.avg_pool2d(gain.mean(dim=1, keepdim=True) * block_variance, side), side)
        for place, image, share in zip(places, filtered.split(count), left.split(count), strict=True):
            total[place] += image
            left_over[place] += share
    inside = (..., slice(side, side + pilot.shape[-2]), slice(side, side + pilot.shape[-1]))
    return torch.einsum("dc,sdhw->schw", between, total[inside] / shifts**2), left_over[inside] / shifts**2


def _spread(blocks: torch.Tensor, side: int) -> torch.Tensor:
    """Return ``(s, c, h, w)`` with each value repeated over a block."""
    return blocks.repeat_interleave(side, dim=-2).repeat_interleave(side, dim=-1)
