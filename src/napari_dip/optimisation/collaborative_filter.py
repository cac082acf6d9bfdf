"""Collaborative filtering: blocks that look alike, in one plane or several, are filtered together.

It is written here because no library with a licence for commercial use has one that takes a pilot.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch.nn import functional

from ..measurement.forward_operator import cosines_like

_WINDOW_SHAPE = 2.0  # β of the Kaiser window on each block, from Dabov et al.
_THRESHOLD = 2.7  # deviations of the noise, from Dabov et al.
_PLACES_APART = 2  # of the blocks that are followed; those between them move alike
_ENTRIES_AT_ONCE = 1 << 21  # of distances, or of grouped blocks' coefficients: 8 MiB


def match_blocks(guide: torch.Tensor, side: int, stride: int, reach: int, count: int) -> torch.Tensor:
    """Find the blocks around each reference block that look most like it.

    Parameters
    ----------
    guide : Tensor
        ``(p, c, h, w)``, with little noise; the mean of its channels is compared, in all planes at once. A reference
        block begins at every ``stride``-th row and column, until the last one reaches the end of the image or beyond.
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
    guide = _pad_to_blocks(guide.mean(dim=1, keepdim=True), side, stride)[:, 0]
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
        squares = guide.new_empty(span, bottom - top, width)
        for n in range(span):
            for number, (before, plane) in enumerate(zip(wide, guide, strict=True)):
                beside = before[top + n : bottom + n].unfold(1, width, 1).movedim(1, 0)  # (span, rows, w)
                # written in place: the layout of a difference would be that of the view, and slow to read
                change = torch.sub(beside, plane[top:bottom], out=squares if number == 0 else torch.empty_like(squares))
                change.square_()
                if number:
                    squares += change
            distances[:, :, n] = _pool_blocks(squares, side, stride).movedim(0, 2)
        down = band[:, None] + shifts
        inside = ((down >= 0) & (down < places_down))[:, None, :, None]
        inside = inside & ((across >= 0) & (across < places_across))[None, :, None, :]
        distances.masked_fill_(~inside, math.inf)
        distances[:, :, reach, reach] = -1
        near = distances.flatten(2).topk(count, dim=2, largest=False).indices  # (rows, columns, count)
        places = (band[:, None, None] + near // span - reach) * places_across
        found.append((places + columns[None, :, None] + near % span - reach).flatten(0, 1))
    return torch.cat(found)


def follow_blocks(guide: torch.Tensor, plane: int, side: int, stride: int, reach: int, cost: float) -> torch.Tensor:
    """Find where the content of each block of one plane is in every other plane.

    Parameters
    ----------
    guide : Tensor
        ``(p, c, h, w)``, with little noise; the mean of its channels is compared.
    plane : int
        The plane whose blocks are followed.
    side, stride : int
        As passed to ``match_blocks``.
    reach : int
        How far to search in each direction.
    cost : float
        Added to the mean squared distance of two blocks for each pixel that lies between them, so that blocks without
        structure stay where they are.

    Returns
    -------
    Tensor
        ``(p, places)``: for each place where a block can begin in that plane, its place in each plane.
    """
    guide = _pad_to_blocks(guide.mean(dim=1, keepdim=True), side, stride)
    height, width = guide.shape[-2:]
    down, across = height - side + 1, width - side + 1
    own, others = guide[plane, 0], [n for n in range(len(guide)) if n != plane]
    wide = functional.pad(guide[others], (reach,) * 4, value=math.inf)[:, 0]  # no block may leave the image
    smallest = moves = None
    for number, shift in enumerate(itertools.product(range(-reach, reach + 1), repeat=2)):
        top, left = (reach + each for each in shift)
        squares = (wide[:, top : top + height, left : left + width] - own).square_()
        distances = _pool_blocks(squares, side, _PLACES_APART) + cost * math.hypot(*shift)
        if smallest is None or moves is None:
            smallest, moves = distances, torch.zeros_like(distances, dtype=torch.long)
            continue
        is_nearer = distances < smallest
        smallest = torch.where(is_nearer, distances, smallest)
        moves = torch.where(is_nearer, number, moves)
    assert moves is not None  # there is a shift of 0
    rows, columns = (torch.arange(length, device=guide.device) for length in (down, across))
    places = rows[:, None] * across + columns
    # the places between move like the one before them, but stay within the image
    moves = moves[:, rows // _PLACES_APART][:, :, columns // _PLACES_APART]
    span = 2 * reach + 1
    to_rows = (rows[:, None] + moves // span - reach).clamp(0, down - 1)
    to_columns = (columns + moves % span - reach).clamp(0, across - 1)
    found = places.repeat(len(guide), 1, 1)
    found[others] = to_rows * across + to_columns
    return found.flatten(1)


def collaborative_filter(
    pilot: torch.Tensor | None,
    noisy: torch.Tensor,
    variance: torch.Tensor,
    groups: torch.Tensor,
    side: int,
    stride: int,
    *,
    paths: torch.Tensor | None = None,
    wanted: int | None = None,
    spectrum: torch.Tensor | None = None,
    threshold: float = _THRESHOLD,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shrink the coefficients of groups of similar blocks, which reach through all planes.

    With a pilot they are multiplied by P² / (P² + V), P the pilot's coefficients and V the noise variance. Without one,
    those below a multiple of the noise's deviation become 0.

    Planes, channels and blocks are transformed by cosines, groups by Haar's wavelet. Overlapping results are averaged;
    a group is weighted by the inverse of the noise left in it.

    Parameters
    ----------
    pilot : Tensor or None
        ``(p, c, h, w)``, a first estimate.
    noisy : Tensor
        ``(p, c, h, w)``, the degraded planes; h and w at least ``side``.
    variance : Tensor
        Of the noise, in the same shape.
    groups : Tensor
        ``(references, n)``, from ``match_blocks``.
    side, stride : int
        As passed to ``match_blocks``.
    paths : Tensor, optional
        ``(p, places)``, from ``follow_blocks``: the place, in each plane, of what a group's block shows. By default the
        same place.
    wanted : int, optional
        The only plane to return, which takes less time and memory; by default all of them.
    spectrum : Tensor, optional
        ``(side, side)``: the noise variance of each coefficient of a block, relative to a pixel's. White by default.
    threshold : float
        Used without a pilot: in deviations of the noise.

    Returns
    -------
    (Tensor, Tensor)
        The filtered planes, ``(p, c, h, w)``, and the variance left in them if P is the image's spectrum,
        ``(p, 1, h, w)``: the mean of V P² / (P² + V) over each group. What no path reaches stays as in the pilot, or
        noisy.

    References
    ----------
    Dabov, Foi, Katkovnik and Egiazarian: Image denoising by sparse 3-D transform-domain collaborative filtering, IEEE
    Transactions on Image Processing 16, 2007. Groups through several planes: Maggioni, Katkovnik, Egiazarian and Foi:
    Nonlocal transform-domain filter for volumetric data denoising and reconstruction, IEEE Transactions on Image
    Processing 22, 2013. Paths: Maggioni, Boracchi, Foi and Egiazarian: Video denoising, deblocking, and enhancement
    through separable 4-D nonlocal spatiotemporal transforms, IEEE Transactions on Image Processing 21, 2012.
    """
    planes, channels, height, width = noisy.shape
    between = cosines_like(channels, noisy)
    padded = [
        _pad_to_blocks(torch.einsum("dc,schw->sdhw", between, image), side, stride)
        for image in ([noisy] if pilot is None else [noisy, pilot])
    ]
    variance = _pad_to_blocks(variance.mean(dim=1, keepdim=True), side, stride)
    size = padded[0].shape[-2:]
    transform = torch.kron(*[cosines_like(side, noisy)] * 2)  # of a block's pixels, row by row
    data, *signal = (_cut_blocks(image, transform) for image in padded)  # (p * places, c * side²)
    block_variance = functional.avg_pool2d(variance, side, stride=1).flatten()
    wavelet, through = haar(groups.shape[1]).to(noisy), cosines_like(planes, noisy)
    of_coefficients = _spread_spectrum(spectrum, side, channels, noisy)
    places = len(data) // planes
    first = torch.arange(0, len(data), places, device=groups.device)[:, None, None]  # of each plane

    def transform_groups(blocks: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
        mixed = wavelet @ blocks[group].flatten(2)  # (p, n, references * c * side²): all groups in one product
        return (mixed if planes == 1 else (through @ mixed.flatten(1)).view_as(mixed)).reshape(*group.shape, -1)

    chosen = slice(None) if wanted is None else slice(wanted, wanted + 1)
    count = places * (planes if wanted is None else 1)
    total, left_over = data.new_zeros(count, data.shape[1]), data.new_zeros(count)
    weight = torch.zeros_like(left_over)
    for some in groups.split(max(1, _ENTRIES_AT_ONCE // (planes * groups.shape[1] * data.shape[1]))):
        group = some.T.contiguous()
        group = (group.expand(planes, -1, -1) if paths is None else paths[:, group]) + first  # (p, n, references)
        level = block_variance[group].mean(dim=(0, 1))  # (references,)
        noise = level[:, None] * of_coefficients
        coefficients = transform_groups(data, group)  # (p, n, references, c * side²)
        power = (transform_groups(signal[0], group) if signal else coefficients).square()
        gain = power / (power + noise) if signal else (power > threshold**2 * noise).to(power)
        shrunk = wavelet.T @ (gain * coefficients).flatten(2)
        if planes > 1:
            shrunk = (through.T @ shrunk.flatten(1)).view_as(shrunk)
        # a group may lose all its coefficients
        left = (gain.square().sum(dim=(0, 1)) * noise).sum(dim=1).clamp_min(torch.finfo(gain.dtype).tiny)
        share = 1 / (left if signal else torch.maximum(left, level))
        group = (group - first[chosen][:1])[chosen]
        total.index_add_(0, group.flatten(), (shrunk.reshape(gain.shape)[chosen] * share[:, None]).flatten(0, 2))
        for sums, each in ((weight, share), (left_over, share * (gain.mean(dim=(0, 1)) * noise).mean(dim=1))):
            sums.index_add_(0, group.flatten(), each.expand_as(group).flatten())
    window = torch.kaiser_window(side, periodic=False, beta=_WINDOW_SHAPE, dtype=torch.float32).to(noisy)
    window = torch.outer(window, window).flatten()
    summed = _lay_blocks(total, transform * window, size)
    weights, variances = (_lay_blocks(each[:, None], window[None], size) for each in (weight, left_over))
    padded, variance = [each[chosen] for each in padded], variance[chosen]
    # paths may leave out parts of other planes
    is_reached = weights > 0
    summed, variances = (torch.where(is_reached, each / weights, other)
                         for each, other in ((summed, padded[-1]), (variances, variance)))  # fmt: skip
    image = torch.einsum("dc,sdhw->schw", between, summed)
    return image[..., :height, :width], variances[..., :height, :width]


def _spread_spectrum(spectrum: torch.Tensor | None, side: int, channels: int, like: torch.Tensor) -> torch.Tensor:
    """Return the relative noise variance of each coefficient of all channels' blocks, ``(c * side²,)``."""
    if spectrum is None:
        return like.new_ones(channels * side**2)
    return spectrum.to(like).flatten().repeat(channels)


def haar(length: int) -> torch.Tensor:
    """Return the orthonormal Haar wavelet transform, ``(n, n)``: coefficient, position; n is a power of two."""
    if length == 1:
        return torch.ones(1, 1, dtype=torch.float32)
    half = length // 2
    means = torch.kron(haar(half), torch.ones(1, 2, dtype=torch.float32))
    differences = torch.kron(torch.eye(half, dtype=torch.float32), torch.tensor([[1.0, -1.0]], dtype=torch.float32))
    return torch.cat([means, differences]) / math.sqrt(2)


def _pad_to_blocks(image: torch.Tensor, side: int, stride: int) -> torch.Tensor:
    """Return ``(p, c, h, w)`` padded so that the last reference block ends with the image."""
    down, across = (-(length - side) % stride for length in image.shape[-2:])
    return functional.pad(image, (0, across, 0, down), mode="replicate")


def _pool_blocks(images: torch.Tensor, side: int, stride: int) -> torch.Tensor:
    """Return the mean of ``(n, h, w)`` over each block that begins at a ``stride``-th row and column."""
    if side % stride:
        return functional.avg_pool2d(images, side, stride)
    # blocks share cells of stride x stride pixels: their sums are taken once
    for axis in (1, 2):
        cells = images.shape[axis] // stride
        sums = images.narrow(axis, 0, cells * stride).unflatten(axis, (cells, stride)).sum(axis + 1)
        blocks = cells - side // stride + 1
        images = sums.narrow(axis, 0, blocks).clone()
        for n in range(1, side // stride):
            images += sums.narrow(axis, n, blocks)
    return images / side**2


def _cut_blocks(image: torch.Tensor, transform: torch.Tensor) -> torch.Tensor:
    """Return the coefficients of blocks at all places of all planes ``(p, c, h, w)``, as ``(p * places, c * side²)``.

    ``transform`` is ``(side², side²)``: coefficient, pixel. One product for all blocks is much faster than two each.
    """
    side = math.isqrt(len(transform))
    blocks = functional.unfold(image, side).mT  # (p, places, c * side²)
    return (blocks.reshape(-1, side**2) @ transform.T).reshape(-1, blocks.shape[-1])


def _lay_blocks(coefficients: torch.Tensor, transform: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Return the sum of blocks at all places, ``(p * places, c * n)``, as planes ``(p, c, h, w)``.

    ``transform`` is ``(n, side²)``: coefficient, pixel.
    """
    side = math.isqrt(transform.shape[1])
    blocks = (coefficients.reshape(-1, len(transform)) @ transform).reshape(len(coefficients), -1)  # pixels
    places = (size[0] - side + 1) * (size[1] - side + 1)
    return functional.fold(blocks.reshape(-1, places, blocks.shape[1]).mT, size, side)
