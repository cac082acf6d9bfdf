"""Neighbouring planes: a plane is denoised with those before and after it, as far as that proves better."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from ..measurement.missing_pixels import fill_smoothly
from ..measurement.neighbouring_planes import NeighbouringPlanes
from ..measurement.noise import ChannelNoise, NoiseModel
from .collaborative_filter import collaborative_filter, follow_blocks, match_blocks

_COUNTS = (1, 3, 5)  # planes that are tried: the plane alone, and with one or two neighbours on each side
# Side, stride, reach and count of the blocks: of the first estimate, and of the passes that have a pilot.
_FIRST, _SECOND = (4, 2, 8, 32), (8, 6, 8, 64)
_LAST = ((12, 8, 8, 64), (4, 2, 6, 16))
_PART, _PART_APART = 128, 32  # side and distance of the parts in which the number of neighbours is chosen
_THRESHOLD = 2.5  # of the first estimate, in deviations of the noise
_HIDDEN = 0.25  # of the pixels, while the number of neighbours is chosen
_REACH = 4  # pixels that content may move between the plane and any of its neighbours
_COST = 0.2  # of a move by a pixel, as a share of the noise variance


@dataclass(frozen=True, slots=True, eq=False)
class _Matches:
    """Similar blocks and where they are in each plane, from ``match_blocks`` and ``follow_blocks``."""

    groups: torch.Tensor
    paths: torch.Tensor | None


class NeighbourFilter:
    """Denoises a plane with collaborative filters whose groups reach through its neighbours.

    The first estimate needs no pilot: blocks that look alike in all planes at once are transformed together, and
    coefficients below the noise are left out. A Wiener filter follows, whose groups follow what moves from plane to
    plane. Brightness may change from plane to plane: a group's mean in each plane is kept if it exceeds the noise.

    Parameters
    ----------
    planes : NeighbouringPlanes
    noise : NoiseModel or ChannelNoise
        Of every plane; white.
    """

    def __init__(self, planes: NeighbouringPlanes, noise: NoiseModel | ChannelNoise) -> None:
        self._planes, self._noise = planes, noise
        self._guide = planes.values

    @property
    def count(self) -> int:
        """How many planes there are, the restored one included."""
        return len(self._planes.values)

    def estimate(self, values: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Estimate all planes without a pilot, ``(p, c, h, w)``.

        Parameters
        ----------
        values : Tensor
            ``(1, c, h, w)``, of the plane itself.
        seen : Tensor
            ``(1, 1, h, w)`` bool: its pixels that may be used.
        """
        filled = self._fill(self._put(self._planes.values, values), self._put(self._planes.known, seen))
        stable = self._noise.stabilise(filled)
        side, stride, reach, count = _FIRST
        groups = match_blocks(stable, side, stride, reach, count)
        smooth, _ = collaborative_filter(
            None, stable, torch.ones_like(stable), groups, side, stride, threshold=_THRESHOLD
        )
        return self._noise.unstabilise(smooth)

    def denoise(self, values: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Denoise the plane without a pilot; return it and the variance left in it, as ``collaborative_filter`` does.

        The other planes, denoised with it, become their pilots for ``improve``.

        Parameters
        ----------
        values, seen
            As for ``estimate``.
        """
        pilot = self.estimate(values, seen)
        side, stride, reach, count = _SECOND
        if min(pilot.shape[-2:]) < side:
            self._guide = pilot
            return self._own(pilot), self._own(self._noise.variance(pilot)).mean(dim=1, keepdim=True)
        matches = self._match(pilot, side, stride, reach, count)
        self._guide, left_over = self._filter(pilot, values, seen, matches, side, stride)
        return self._own(self._guide), self._own(left_over)

    def improve(
        self, pilot: torch.Tensor, values: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Filter the plane with a better pilot, ``(1, c, h, w)``; return it and the variance left in it.

        This is the mean of two filters: large blocks suit smooth planes, small ones fine detail.

        Parameters
        ----------
        pilot : Tensor
        values, seen
            As for ``estimate``.
        """
        guide = self._put(self._guide, pilot)
        images, variances = [], []
        for side, stride, reach, count in _LAST:
            if min(pilot.shape[-2:]) >= side:
                matches = self._match(guide, side, stride, reach, count)
                image, left_over = self._filter(guide, values, seen, matches, side, stride, wanted=self._planes.place)
                images.append(image)
                variances.append(left_over)
        return torch.stack(images).mean(dim=0), torch.stack(variances).mean(dim=0)

    def _match(self, guide: torch.Tensor, side: int, stride: int, reach: int, count: int) -> _Matches:
        paths = None
        if self.count > 1:
            cost = _COST * float(self._noise.variance(guide).mean())
            paths = follow_blocks(guide, self._planes.place, side, stride, _REACH, cost)
        return _Matches(match_blocks(guide, side, stride, reach, count), paths)

    def _filter(
        self,
        pilot: torch.Tensor,
        values: torch.Tensor,
        seen: torch.Tensor,
        matches: _Matches,
        side: int,
        stride: int,
        *,
        wanted: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        known = self._put(self._planes.known, seen)
        noisy = torch.where(known, self._put(self._planes.values, values), pilot)
        variance = self._noise.variance(pilot)
        return collaborative_filter(
            pilot, noisy, variance, matches.groups, side, stride, paths=matches.paths, wanted=wanted
        )

    def _fill(self, values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Fill in missing pixels of each plane smoothly; a plane of which nothing is known repeats the restored one."""
        filled = [
            fill_smoothly(plane[None], mask[None]) if bool(mask.any()) else None
            for plane, mask in zip(values, known, strict=True)
        ]
        own = filled[self._planes.place]
        assert own is not None
        return torch.cat([own if each is None else each for each in filled])

    def _put(self, planes: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Return the planes with the restored one replaced."""
        return torch.cat([planes[: self._planes.place], own, planes[self._planes.place + 1 :]])

    def _own(self, planes: torch.Tensor) -> torch.Tensor:
        return planes[self._planes.place][None]


def choose_neighbours(
    planes: NeighbouringPlanes, fitted: torch.Tensor, noise: NoiseModel | ChannelNoise
) -> NeighbourFilter | None:
    """Return the filter that uses as many neighbours as prove useful; None if none does.

    A quarter of the plane's pixels is hidden from the first estimate and judges it; a few would not tell a small gain
    from chance. Neighbours have to lower the error by more than the standard error of the gain, so that fast motion, a
    cut or a wide gap between planes cost nothing. Fewer take the place of more by the same rule.

    Parameters
    ----------
    planes : NeighbouringPlanes
    fitted : Tensor
        ``(1, 1, h, w)`` bool: the pixels of the plane that the filters may see.
    noise : NoiseModel or ChannelNoise
    """
    whole = planes
    planes, fitted = _cut_richest_part(planes, fitted)
    values = planes.values[planes.place][None]
    drawn = torch.rand(fitted.shape, generator=torch.Generator().manual_seed(0)).to(fitted.device)
    hidden = fitted & (drawn < _HIDDEN)
    if not bool(hidden.any()):
        return None
    counts = sorted({min(each, len(planes.values)) for each in _COUNTS})
    errors = {}
    for count in counts:
        around = planes.nearest(count)
        image = NeighbourFilter(around, noise).estimate(values, fitted & ~hidden)[around.place][None]
        errors[count] = (image - values).square().mean(dim=1, keepdim=True)[hidden]
    best = counts.pop()
    for fewer in reversed(counts[1:]):
        if _is_better(errors[fewer], errors[best]):
            best = fewer
    return NeighbourFilter(whole.nearest(best), noise) if _is_better(errors[best], errors[1]) else None


def _cut_richest_part(planes: NeighbouringPlanes, fitted: torch.Tensor) -> tuple[NeighbouringPlanes, torch.Tensor]:
    """Return the part of a large plane, and its neighbours, that has most contrast: it tells as much as the whole."""
    height, width = sides = [min(length, _PART) for length in planes.values.shape[-2:]]
    if (height, width) == planes.values.shape[-2:]:
        return planes, fitted
    own = planes.values[planes.place][None] * fitted
    means, squares, known = (
        functional.avg_pool2d(each, sides, _PART_APART).mean(dim=1) for each in (own, own.square(), fitted.to(own))
    )
    contrast = squares * known - means.square()  # the variance of the known pixels, times their share squared
    row, column = divmod(int(contrast.argmax()), contrast.shape[-1])
    top, left = row * _PART_APART, column * _PART_APART
    part = (..., slice(top, top + height), slice(left, left + width))
    return NeighbouringPlanes(planes.values[part], planes.known[part], planes.place), fitted[part]


def _is_better(errors: torch.Tensor, others: torch.Tensor) -> bool:
    """Return whether errors are smaller than others of the same pixels by more than the gain's standard error."""
    gain = others - errors
    return float(gain.mean()) > float(gain.std(correction=0)) / len(gain) ** 0.5
