"""Blurriness, sharpness and their ratio, which steadies when the network has learned what it can (Eq. 8).

Both expect intensities in [0, 1]. So that one hot pixel does not decide them, values beyond that are clamped, and a
pixel that exceeds all its neighbours by more than half the range is set to the nearest of them (dark pixels likewise).
Ordinary images have no such pixels.
"""

from __future__ import annotations

import functools

import torch
from torch.nn import functional

from . import to_grey

_BOX = 9
_STRONGEST = 1000
_DECAY = 0.01
_HOT = 0.5  # of the range; over 25 ordinary photographs and micrographs the largest was 0.45


def blurriness(image: torch.Tensor) -> torch.Tensor:
    """Return how little an image changes when blurred further (after Crete et al. 2007).

    This is the share of the differences between neighbours that survives a box mean of 9 pixels along rows or columns,
    whichever share is larger.

    Parameters
    ----------
    image : Tensor
        ``(s, c, h, w)``; at least 16 x 16.

    Returns
    -------
    Tensor
        ``(s,)`` in [0, 1]; 1 for a flat image.
    """
    grey = _without_hot_pixels(image)  # (s, 1, h, w)
    return torch.maximum(_surviving_share(grey), _surviving_share(grey.mT))


def _surviving_share(grey: torch.Tensor) -> torch.Tensor:
    """Return the share along rows, ``(s,)``, for ``(s, 1, h, w)``."""
    reach = _BOX // 2
    mean = functional.avg_pool2d(grey, (1, _BOX), stride=1)  # (s, 1, h, w - 8), only where the box fits
    image = grey[..., reach:-reach]
    # Published crop: rows and columns 5 ... n-5, then one pixel less at either end of the differences.
    rows = slice(_BOX - reach + 1, -reach - 1)
    differences, blurred = (each[..., rows, 1:].diff(dim=-1).abs()[..., :-1] for each in (image, mean))
    total = differences.sum(dim=(1, 2, 3))
    kept = torch.minimum(differences, blurred).sum(dim=(1, 2, 3))
    return torch.where(total > 0, kept / total.clamp_min(torch.finfo(total.dtype).tiny), 1.0)


def sharpness(image: torch.Tensor) -> torch.Tensor:
    """Return the weighted strength of the strongest local differences (after Bahrami and Kot 2014).

    At each inner pixel take the signed maximum of (neighbour - centre) over its 8 neighbours; sort them in descending
    order, drop the first two, weight the k-th by exp(-0.01 k), and take the root mean square of the next 999 (fewer on
    small images).

    Parameters
    ----------
    image : Tensor
        ``(s, c, h, w)``, in [0, 1]; sharpness is proportional to the intensities.

    Returns
    -------
    Tensor
        ``(s,)``; 0 for a flat image.
    """
    grey = _without_hot_pixels(image)  # (s, 1, h, w)
    strongest = (functional.max_pool2d(grey, 3, stride=1) - grey[..., 1:-1, 1:-1])[:, 0]  # (s, h - 2, w - 2)
    # The window's maximum includes the centre's own difference, 0. That matters only at strict local maxima, which come
    # last in the order.
    ranked = torch.topk(strongest.flatten(1), min(_STRONGEST + 1, strongest[0].numel()), dim=1).values
    rank = torch.arange(2, ranked.shape[1], device=ranked.device)
    weighted = ranked[:, 2:] * torch.exp(-_DECAY * rank)
    return weighted.square().mean(dim=1).sqrt()


def blur_sharpness_ratio(image: torch.Tensor) -> torch.Tensor:
    """Return blurriness over sharpness, r of Eq. 8, ``(s,)``; a very large number for a flat image."""
    return blurriness(image) / sharpness(image).clamp_min(1e-6)


def _without_hot_pixels(image: torch.Tensor) -> torch.Tensor:
    """Return ``(s, c, h, w)`` images as grey ``(s, 1, h, w)`` in [0, 1], hot and dead pixels set to a neighbour."""
    grey = to_grey(image).float().clamp(0, 1)[:, None]
    padded = functional.pad(grey, (1, 1, 1, 1), mode="reflect")
    height, width = grey.shape[-2:]
    neighbours = [
        padded[..., row : row + height, column : column + width]
        for row in range(3)
        for column in range(3)
        if (row, column) != (1, 1)
    ]
    largest, smallest = functools.reduce(torch.maximum, neighbours), functools.reduce(torch.minimum, neighbours)
    cool = torch.where(grey - largest > _HOT, largest, grey)
    return torch.where(smallest - cool > _HOT, smallest, cool)
