"""Missing pixels: how wide their holes are, how to fill them; and which known pixels are held out to judge the fit."""

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
        Of the known pixels, in [0, 0.5]; at least one pixel or square is chosen unless it is 0.
    generator : torch.Generator
        On the CPU, so that a seed chooses the same pixels on every device.
    side : int
        Of the squares, in pixels. Squares contain only known pixels and do not overlap. If there is too little room,
        there are fewer; if there is no room for even one, the side is halved until there is.

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
    """Return the top left corners of all squares that lie in free pixels, ``(n, 2)``."""
    if side > min(free.shape):
        return torch.empty(0, 2, dtype=torch.long)
    fits = ndimage.minimum_filter(free.numpy(), size=side, origin=-(side // 2))  # the square that begins here
    height, width = (full - side + 1 for full in free.shape)
    return torch.from_numpy(fits[:height, :width]).nonzero()


def fill_smoothly(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Fill in missing pixels with nearly a membrane: each missing pixel becomes the mean of its neighbours.

    This goes from coarse to fine: blocks of four pixels are averaged until nothing is missing; then the missing pixels
    of each finer image start from the coarser one and are relaxed.

    Parameters
    ----------
    values : Tensor
        ``(s, c, h, w)``.
    known : Tensor
        ``(1, 1, h, w)`` bool, at least one True.

    Returns
    -------
    Tensor
        ``(s, c, h, w)``, with the known values unchanged.

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
    """Blur an image with a Gaussian in which only known pixels take part (normalised convolution).

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
        In the shape of ``values``; 0 where no pixel that counts is within reach.

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

    This is twice the largest distance to a known pixel or to the border, accurate to a pixel.

    Parameters
    ----------
    known : Tensor
        ``(1, 1, h, w)`` bool.
    """
    missing = np.pad(~known[0, 0].cpu().numpy(), 1)  # a hole ends at the border
    return 2.0 * float(ndimage.distance_transform_edt(missing).max()) if missing.any() else 0.0
