"""Collaborative filtering: blocks that look alike are filtered together, guided by the spectrum of a pilot image.

It is written here because no library with a licence for commercial use has one that takes a pilot.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from ..measurement.forward_operator import cosines_like

_WINDOW_SHAPE = 2.0  # β of the Kaiser window on each block, from Dabov et al.
_ENTRIES_AT_ONCE = 1 << 22  # of distances, or of grouped blocks' coefficients: 16 MiB


def match_blocks(guide: torch.Tensor, side: int, stride: int, reach: int, count: int) -> torch.Tensor:
    """Find the blocks around each reference block that look most like it.

    Parameters
    ----------
    guide : Tensor
        ``(1, c, h, w)``, with little noise; the mean of its channels is compared. A reference block begins at every
        ``stride``-th row and column, until the last one reaches the end of the image or beyond.
    side : int
        Of the blocks.
    stride : int
        Between references.
    reach : int
        How far to search in each direction.
    count : int
        Blocks per group, a power of two; lowered to what the search finds in the corner of a small image.

    Returns
    -------
    Tensor
        ``(references, n)``, n at most ``count``: the reference itself, then the others by their squared distance, as
        indices of all places where a block can begin in the image (padded until the last reference fits), row by row.
    """
    guide = _pad_to_blocks(guide.mean(dim=1, keepdim=True), side, stride)[0]
    height, width = guide.shape[-2:]
    places_down, places_across = height - side + 1, width - side + 1
    nearest = [min(reach + 1, places) for places in (places_down, places_across)]  # within reach of a corner
    count = min(count, 1 << (math.prod(nearest).bit_length() - 1))
    shifts = torch.arange(-reach, reach + 1, device=guide.device)
    span = len(shifts)
    rows = torch.arange(0, places_down, stride, device=guide.device)
    columns = torch.arange(0, places_across, stride, device=guide.device)
    wide = functional.pad(guide, (reach,) * 4)
    across = columns[:, None] + shifts  # (columns, span)
    found = []
    for band in rows.split(max(1, _ENTRIES_AT_ONCE // (span**2 * len(columns)))):
        top, bottom = int(band[0]), int(band[-1]) + side
        distances = guide.new_empty(len(band), len(columns), span, span)
        for n in range(span):
            beside = wide[:, top + n : bottom + n].unfold(2, width, 1)  # (c, rows, span, w)
            squares = (beside - guide[:, top:bottom, None]).square_().sum(dim=0).movedim(1, 0)  # (span, rows, w)
            distances[:, :, n] = functional.avg_pool2d(squares, side, stride).movedim(0, 2)
        down = band[:, None] + shifts
        inside = ((down >= 0) & (down < places_down))[:, None, :, None]
        inside = inside & ((across >= 0) & (across < places_across))[None, :, None, :]
        distances.masked_fill_(~inside, math.inf)
        distances[:, :, reach, reach] = -1
        near = distances.flatten(2).topk(count, dim=2, largest=False).indices  # (rows, columns, count)
        places = (band[:, None, None] + near // span - reach) * places_across
        found.append((places + columns[None, :, None] + near % span - reach).flatten(0, 1))
    return torch.cat(found)


def collaborative_filter(
    pilot: torch.Tensor,
    noisy: torch.Tensor,
    variance: torch.Tensor,
    groups: torch.Tensor,
    side: int,
    stride: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shrink the coefficients of groups of similar blocks by P² / (P² + V), P those of a pilot, V the noise variance.

    Channels and blocks are transformed by cosines, groups by Haar's wavelet. Overlapping results are averaged; a group
    is weighted by the inverse of the noise left in it.

    Parameters
    ----------
    pilot, noisy : Tensor
        ``(1, c, h, w)``, a first estimate and the degraded image; h and w at least ``side``.
    variance : Tensor
        Of the noise, in the same shape.
    groups : Tensor
        ``(references, n)``, from ``match_blocks``.
    side, stride : int
        As passed to ``match_blocks``.

    Returns
    -------
    (Tensor, Tensor)
        The filtered image, ``(1, c, h, w)``, and the variance left in it if P is the image's spectrum,
        ``(1, 1, h, w)``: the mean of V P² / (P² + V) over each group.

    References
    ----------
    Dabov, Foi, Katkovnik and Egiazarian: Image denoising by sparse 3-D transform-domain collaborative filtering, IEEE
    Transactions on Image Processing 16, 2007; the second step, with another pilot.
    """
    channels, height, width = pilot.shape[1:]
    between = cosines_like(channels, pilot)
    pilot, noisy = (
        _pad_to_blocks(torch.einsum("dc,schw->sdhw", between, image), side, stride) for image in (pilot, noisy)
    )
    level = _pad_to_blocks(variance.mean(dim=1, keepdim=True), side, stride)
    size = pilot.shape[-2:]
    transform = cosines_like(side, pilot)
    signal, data = (  # (places, c * side²)
        (transform @ _cut_blocks(image, side) @ transform.mT).flatten(1) for image in (pilot, noisy)
    )
    block_variance = functional.avg_pool2d(level, side, stride=1).flatten()
    wavelet = haar(groups.shape[1]).to(pilot)
    total, left_over = torch.zeros_like(data), torch.zeros_like(block_variance)
    weight = torch.zeros_like(block_variance)
    for some in groups.split(max(1, _ENTRIES_AT_ONCE // (groups.shape[1] * data.shape[1]))):
        group = some.T.contiguous()  # (n, references): all groups are transformed in one product
        noise = block_variance[group].mean(dim=0)  # (references,)
        power = (wavelet @ signal[group].flatten(1)).square_().reshape(*group.shape, -1)  # (n, references, c * side²)
        gain = power / (power + noise[:, None])
        filtered = wavelet.T @ (gain.flatten(1) * (wavelet @ data[group].flatten(1)))
        share = 1 / (noise * gain.square().sum(dim=(0, 2))).clamp_min(torch.finfo(gain.dtype).tiny)
        total.index_add_(0, group.flatten(), (filtered.reshape(gain.shape) * share[:, None]).flatten(0, 1))
        for sums, each in ((weight, share), (left_over, share * noise * gain.mean(dim=(0, 2)))):
            sums.index_add_(0, group.flatten(), each.expand_as(group).flatten())
    window = torch.kaiser_window(side, periodic=False, beta=_WINDOW_SHAPE, dtype=torch.float32).to(pilot)
    window = window[:, None] * window
    total = total.reshape(-1, channels, side, side)
    summed = _lay_blocks(transform.mT @ total @ transform * window, size)
    weights, variances = (_lay_blocks(each[:, None, None, None] * window, size) for each in (weight, left_over))
    image = torch.einsum("dc,sdhw->schw", between, summed / weights)
    return image[..., :height, :width], (variances / weights)[..., :height, :width]


def haar(length: int) -> torch.Tensor:
    """Return the orthonormal Haar wavelet transform, ``(n, n)``: coefficient, position; n is a power of two."""
    if length == 1:
        return torch.ones(1, 1, dtype=torch.float32)
    half = length // 2
    means = torch.kron(haar(half), torch.ones(1, 2, dtype=torch.float32))
    differences = torch.kron(torch.eye(half, dtype=torch.float32), torch.tensor([[1.0, -1.0]], dtype=torch.float32))
    return torch.cat([means, differences]) / math.sqrt(2)


def _pad_to_blocks(image: torch.Tensor, side: int, stride: int) -> torch.Tensor:
    """Return ``(1, c, h, w)`` padded so that the last reference block ends with the image."""
    down, across = (-(length - side) % stride for length in image.shape[-2:])
    return functional.pad(image, (0, across, 0, down), mode="replicate")


def _cut_blocks(image: torch.Tensor, side: int) -> torch.Tensor:
    """Return the blocks of ``(1, c, h, w)`` at all places, ``(places, c, side, side)``."""
    return functional.unfold(image, side)[0].T.reshape(-1, image.shape[1], side, side)


def _lay_blocks(blocks: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Return the sum of blocks at all places, ``(places, c, side, side)``, as an image ``(1, c, h, w)``."""
    side = blocks.shape[-1]
    return functional.fold(blocks.flatten(1).T[None], size, side)
