"""Missing pixels filled in from neighbouring planes: what is a hole in one may be known in the next."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from ..measurement.neighbouring_planes import NeighbouringPlanes

_CELL = 4  # side of the squares, in pixels, that move together
_WINDOWS = (3, 5, 9)  # sides, in cells, of the parts that are compared; small ones follow motion, large ones span holes
_REACH = 4  # pixels that content may move between the plane and any of its neighbours
_LEAST_KNOWN = 0.3  # of a window
_LEAST_GAIN, _MOST_GAIN = 0.5, 2.0  # of brightness, between two planes
_COST = 0.02  # of a move by a pixel, as a share of the error
_FLOOR = 1e-5  # of a variance; also what keeps the gain at 1 where there is no contrast
_BY_CHANCE = 4.0  # how much smaller the smallest of many errors is, in standard errors, than it ought to be


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourFill:
    """A plane as its neighbours show it.

    Attributes
    ----------
    image : Tensor
        ``(1, c, h, w)``.
    errors : Tensor
        ``(1, 1, h, w)``: the squared error around each pixel that is to be expected; infinite where no neighbour shows
        what is there.
    """

    image: torch.Tensor
    errors: torch.Tensor


def fill_from_neighbours(planes: NeighbouringPlanes, fitted: torch.Tensor) -> NeighbourFill:
    """Draw every pixel of a plane as its neighbours show it.

    Each cell of the plane is looked for in each neighbour, at all displacements within reach, by the window around it:
    where the squared difference is smallest after a linear change of brightness. The neighbours' pixels there are then
    averaged, with weights that fall with the square of that difference.

    Parameters
    ----------
    planes : NeighbouringPlanes
    fitted : Tensor
        ``(1, 1, h, w)`` bool: the pixels of the plane itself that may be seen.
    """
    height, width = planes.values.shape[-2:]
    below, right = -height % _CELL, -width % _CELL
    others = [n for n in range(len(planes.values)) if n != planes.place]
    own = functional.pad(torch.where(fitted, planes.values[planes.place][None], 0.0), (0, right, 0, below))
    seen = functional.pad(fitted.to(own), (0, right, 0, below))
    known = planes.known[others].to(own)
    pad = (_REACH, _REACH + right, _REACH, _REACH + below)
    values, known = (functional.pad(each, pad) for each in (planes.values[others] * known, known))
    corners = [(top, left) for top in range(2 * _REACH + 1) for left in range(2 * _REACH + 1)]
    best: tuple[torch.Tensor, ...] | None = None
    for index, (top, left) in enumerate(corners):
        place = (..., slice(top, top + own.shape[-2]), slice(left, left + own.shape[-1]))
        error, *brightness = _compare(own, seen, values[place], known[place])
        compared = (error * (1 + _COST * (abs(top - _REACH) + abs(left - _REACH))), *brightness)
        if best is None:
            best = (*compared, torch.zeros_like(error, dtype=torch.long))
        else:
            is_better = compared[0] < best[0]
            best = (
                *(torch.where(is_better, new, old) for new, old in zip(compared, best[:3], strict=True)),
                torch.where(is_better, index, best[3]),
            )
    assert best is not None
    errors, gain, offset, number = (each.repeat_interleave(_CELL, -2).repeat_interleave(_CELL, -1) for each in best)
    rows = torch.arange(own.shape[-2], device=own.device)[:, None] + number // (2 * _REACH + 1)
    columns = torch.arange(own.shape[-1], device=own.device) + number % (2 * _REACH + 1)
    source = (rows * values.shape[-1] + columns).flatten(1)[:, None]
    shape = (len(others), -1, *own.shape[-2:])
    moved = values.flatten(2).gather(2, source.expand(-1, values.shape[1], -1)).reshape(shape)
    is_known = known.flatten(2).gather(2, source).reshape(shape) > 0
    errors = torch.where(is_known, errors, torch.inf)
    weight = 1 / (errors + _FLOOR).square()
    total = weight.sum(dim=0, keepdim=True)
    image = ((gain * moved + offset) * weight).sum(dim=0, keepdim=True) / total.clamp_min(torch.finfo(total.dtype).tiny)
    inside = (..., slice(height), slice(width))
    return NeighbourFill(image[inside], errors.amin(dim=0, keepdim=True)[inside])


def _compare(
    own: torch.Tensor, seen: torch.Tensor, others: torch.Tensor, known: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compare cells of a plane with those of others; return the error, and the gain and offset of brightness.

    Parameters
    ----------
    own, seen : Tensor
        ``(1, c, h, w)`` and ``(1, 1, h, w)``.
    others, known : Tensor
        ``(n, c, h, w)`` and ``(n, 1, h, w)``.

    Returns
    -------
    (Tensor, Tensor, Tensor)
        ``(n, 1, ...)``, ``(n, c, ...)`` and ``(n, c, ...)``, for each cell.
    """
    both, channels = seen * known, own.shape[1]
    one, other = own * both, others * both
    sums = torch.cat([both, one, other, one * own, other * others, one * others], dim=1)
    cells = functional.avg_pool2d(sums, _CELL)
    best: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
    for side in _WINDOWS:
        share, *means = functional.avg_pool2d(cells, side, 1, side // 2).split([1, *[channels] * 5], dim=1)
        own_mean, mean, own_square, square, product = (each / share.clamp_min(1e-6) for each in means)
        variance = (square - mean.square()).clamp_min(0)
        covariance = product - own_mean * mean
        gain = ((covariance + _FLOOR) / (variance + _FLOOR)).clamp(_LEAST_GAIN, _MOST_GAIN)
        left = own_square - own_mean.square() - 2 * gain * covariance + gain.square() * variance
        by_chance = _BY_CHANCE / (share * (side * _CELL) ** 2 * channels).clamp_min(1).sqrt()
        error = left.clamp_min(0).mean(dim=1, keepdim=True) * (1 + by_chance)
        error = torch.where(share >= _LEAST_KNOWN, error, torch.inf)
        found = error, gain, own_mean - gain * mean
        best = found if best is None else tuple(  # type: ignore[assignment]
            torch.where(error < best[0], new, old) for new, old in zip(found, best, strict=True)
        )  # fmt: skip
    assert best is not None
    return best
