"""Which pixels are missing, how wide their holes are, and which are left out of the fit to judge it."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

_RELAXATIONS = 10  # at each size


def choose_held_out(known: torch.Tensor, share: float, generator: torch.Generator, side: int = 1) -> torch.Tensor:
    """Choose some of the known pixels at random, one by one or in squares.

    Parameters
    ----------
    known : Tensor
        ``(1, 1, h, w)`` bool.
    share : float
        Of the known pixels, in [0, 0.5]; at least one pixel or square unless it is 0.
    generator : torch.Generator
        On the CPU, so that a seed chooses the same pixels on every device.
    side : int
        Of the squares, in pixels. Squares lie wholly in what is known and do not overlap; where there is no room for
        as many as asked there are fewer, where there is none for one their side is halved.

    Returns
    -------
    Tensor
        ``(1, 1, h, w)`` bool on the device of ``known``, True where held out.
    """
    free = known[0, 0].cpu()
    held_out = torch.zeros_like(free)
    if share == 0:
        return held_out[None, None].to(known.device)
    corners = _corners(free, side)
    while len(corners) == 0:
        side //= 2
        corners = _corners(free, side)
    wanted = max(1, round(share * int(free.sum()) / side**2))
    order = torch.randperm(len(corners), generator=generator)
    if side == 1:
        rows, columns = corners[order[:wanted]].T
        held_out[rows, columns] = True
        return held_out[None, None].to(known.device)
    for index in order:
        row, column = corners[index].tolist()
        square = held_out[row : row + side, column : column + side]
        if not square.any():
            square.fill_(True)
            wanted -= 1
            if not wanted:
                break
    return held_out[None, None].to(known.device)


def _corners(free: torch.Tensor, side: int) -> torch.Tensor:
    """Return the top left corners of all squares that lie wholly in what is free, ``(n, 2)``."""
    if side > min(free.shape):
        return torch.empty(0, 2, dtype=torch.long)
    whole = ndimage.minimum_filter(free.numpy(), size=side, origin=-(side // 2))  # of the square that begins here
    height, width = (full - side + 1 for full in free.shape)
    return torch.from_numpy(whole[:height, :width]).nonzero()


def fill_smoothly(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Fill in what is missing by what is nearly its membrane: each missing pixel the mean of its neighbours.

    From coarse to fine: known pixels are averaged by fours until nothing is missing, and what is missing of each finer
    image begins as the coarser one, then is relaxed.

    Parameters
    ----------
    values : Tensor
        ``(s, c, h, w)``.
    known : Tensor
        ``(1, 1, h, w)`` bool, at least one of them.

    Returns
    -------
    Tensor
        ``(s, c, h, w)``, the known values as they were.

    References
    ----------
    Gortler, Grzeszczuk, Szeliski and Cohen: The lumigraph, SIGGRAPH 1996 (pull-push), with relaxation.
    """
    if bool(known.all()):
        return values
    weight = known.to(values)
    pooled_weight = functional.avg_pool2d(weight, 2, ceil_mode=True)
    pooled = functional.avg_pool2d(values * weight, 2, ceil_mode=True) / pooled_weight.clamp_min(1e-6)
    coarse = fill_smoothly(pooled, pooled_weight > 0)
    size = (values.shape[-2], values.shape[-1])
    filled = torch.where(known, values, functional.interpolate(coarse, size, mode="bilinear"))
    for _ in range(_RELAXATIONS):
        wide = functional.pad(filled, (1, 1, 1, 1), mode="replicate")
        beside = wide[..., 1:-1, :-2] + wide[..., 1:-1, 2:] + wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1]
        filled = torch.where(known, values, beside / 4)
    return filled


def blur(values: torch.Tensor, weight: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur an image by a Gaussian of which only known pixels take part (normalised convolution).

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``.
    weight : Tensor
        ``(1, 1, h, w)``, at least 0: how much each pixel counts.
    sigma : float
        In pixels.

    Returns
    -------
    Tensor
        The shape of ``values``; 0 where no pixel that counts is within reach.

    References
    ----------
    Knutsson and Westin: Normalized and differential convolution, CVPR 1993.
    """
    image, counts = values[0].cpu().numpy(), weight[0, 0].cpu().numpy()
    reached = ndimage.gaussian_filter(counts, sigma)
    blurred = np.stack([ndimage.gaussian_filter(channel * counts, sigma) for channel in image])
    blurred /= np.maximum(reached, np.finfo(reached.dtype).tiny)
    return torch.from_numpy(blurred).to(values)[None]


def widest_hole(known: torch.Tensor) -> float:
    """Return the diameter of the largest disc of missing pixels, in pixels; 0 if none is missing.

    Twice the largest distance to a known pixel, or to the border, to within a pixel.

    Parameters
    ----------
    known : Tensor
        ``(1, 1, h, w)`` bool.
    """
    missing = np.pad(~known[0, 0].cpu().numpy(), 1)  # what lies beyond the border ends a hole
    return 2.0 * float(ndimage.distance_transform_edt(missing).max()) if missing.any() else 0.0
