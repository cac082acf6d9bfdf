"""The first estimate of a noisy image: what collaborative filtering makes of it before any network has learned."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..measurement.missing_pixels import blur, fill_smoothly
from ..measurement.noise import ChannelNoise, NoiseModel
from .collaborative_filter import collaborative_filter, match_blocks

_SIDE, _REACH = 8, 12  # of the blocks; of the search
_FEW, _MANY = 16, 32  # blocks per group: among noisy blocks fewer are alike than among filtered ones
_FILL = 0.8  # pixels; σ of the blur that stands in for a pixel until the filter has a better value
_REACHED = 2  # pixels around a known one that this blur fills in


def estimate_first(values: torch.Tensor, seen: torch.Tensor, noise: NoiseModel | ChannelNoise) -> torch.Tensor:
    """Denoise an image by collaborative filtering, after a transform that makes the noise equally strong everywhere.

    The first pass sets the weak coefficients of similar noisy blocks to 0. The second finds similar blocks in its
    result, which is also its pilot.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``.
    seen : Tensor
        ``(1, 1, h, w)`` bool; every other pixel is replaced by a blur of these, and by the first pass's result in the
        second pass.
    noise : NoiseModel or ChannelNoise

    Returns
    -------
    Tensor
        In the shape of ``values``.

    References
    ----------
    Dabov, Foi, Katkovnik and Egiazarian: Image denoising by sparse 3-D transform-domain collaborative filtering, IEEE
    Transactions on Image Processing 16, 2007. The transform: Mäkitalo and Foi, IEEE Transactions on Image Processing
    22, 2013.
    """
    side = min(_SIDE, 1 << (min(values.shape[-2:]).bit_length() - 1))
    stride = max(1, side // 2)
    noisy = noise.stabilise(_fill_roughly(values, seen))
    variance = torch.ones_like(noisy)
    spectrum = None if noise.correlation is None else noise.correlation.spectrum(side)
    groups = match_blocks(noisy, side, stride, _REACH, _FEW)
    pilot, _ = collaborative_filter(None, noisy, variance, groups, side, stride, spectrum=spectrum)
    groups = match_blocks(pilot, side, stride, _REACH, _MANY)
    noisy = torch.where(seen, noisy, pilot)
    image, _ = collaborative_filter(pilot, noisy, variance, groups, side, stride, spectrum=spectrum)
    return noise.unstabilise(image)


def _fill_roughly(values: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Return the image with every other pixel replaced by a mean of those that are seen around it."""
    if bool(seen.all()):
        return values
    near = functional.max_pool2d(seen.to(values), 2 * _REACHED + 1, stride=1, padding=_REACHED) > 0
    blurred = blur(values, seen.to(values), _FILL)
    return fill_smoothly(torch.where(seen, values, blurred), near)
