"""Blocks that look alike as the network's partner in filling in what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage

from ..measurement.missing_pixels import blur, fill_smoothly
from .completing_partner import CompletingPartner
from .group_fill import fill_by_groups
from .partner import Judgement, Partner, best_share

_FIRST, _LAST, _PASSES = 1.5, 0.08, 15  # strength of the passes, in deviations of the smooth fill's error
_FIRST_OF_RESULT, _PASSES_OF_RESULT = 0.6, 8  # strength in deviations of the blend's error
_AROUND = 12.0  # pixels: σ of the mean of errors
_NEAR, _FAR = 2.0, 8.0  # pixels from a known one: up to there blocks know it well; from there on not at all


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """Which pixels a fill knows, and what blocks make of the others without the network.

    Attributes
    ----------
    known : Tensor
        ``(1, 1, h, w)`` bool.
    nearness : Tensor
        ``(1, 1, h, w)``: how near a pixel lies to known ones, from 1 to 0 (far).
    fill : Tensor
        ``(1, c, h, w)``.
    """

    known: torch.Tensor
    nearness: torch.Tensor
    fill: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """The fill that has not seen the held-out pixels, and what they said about it.

    Attributes
    ----------
    sight : _Sight
    strengths : sequence of float
        Of the passes that it took.
    last_strength : float
        To which the passes fall.
    """

    sight: _Sight
    strengths: Sequence[float]
    last_strength: float


class GroupFillPartner(Partner):
    """Fills in missing pixels with what similar blocks show, as far as that is better.

    The output, completed as ``CompletingPartner`` does it, is blended with a fill that is made without the network, by
    ``fill_by_groups`` from a smooth one. The blend is judged. The final result gets further passes, which begin with
    the blend. Away from known pixels, blocks have nothing to go by, so there the network's fill is left as it is.

    All shares, in [0, 1], and the numbers of passes are those with the smallest squared error on the held-out pixels,
    which the fills that are judged do not see. Known pixels must be kept in the result: the run may end long before the
    network draws them well.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``, the degraded image.
    fitted, held_out : Tensor
        ``(1, 1, h, w)`` bool.
    """

    def __init__(self, values: torch.Tensor, fitted: torch.Tensor, held_out: torch.Tensor) -> None:
        self._values, self._fitted, self._held_out = values, fitted, held_out
        self._alone = CompletingPartner(values, fitted, held_out)
        _, pieces = ndimage.label(held_out[0, 0].cpu().numpy())
        self._judges_are_single = 2 * pieces > int(held_out.sum())

    @property
    def is_prepared(self) -> bool:
        """Whether the fill without the network is made, whose passes take a while."""
        return "_trial" in vars(self)

    def prepare(self) -> None:
        """Make that fill."""
        _ = self._trial

    @cached_property
    def _trial(self) -> _Trial:
        """What is made of the fitted pixels."""
        smooth = fill_smoothly(torch.where(self._fitted, self._values, 0.0), self._fitted)
        deviation = self._deviation(smooth)
        strengths = _fall(_FIRST * deviation, _LAST * deviation, _PASSES)
        fill, passes = self._fill_best(smooth, strengths)
        sight = _Sight(self._fitted, _nearness(self._fitted), fill)
        return _Trial(sight, strengths[:passes], _LAST * deviation)

    @cached_property
    def _all(self) -> _Sight:
        """What is made of all known pixels; the judge does without, so a run begins sooner."""
        known = self._fitted | self._held_out
        smooth = fill_smoothly(torch.where(known, self._values, 0.0), known)
        return _Sight(known, _nearness(known), self._fill_all(smooth, known, self._trial.strengths))

    def judge(self, output: torch.Tensor) -> Judgement:
        """Complete the output from the fitted pixels; once prepared, blend it with what blocks make of these."""
        if not self.is_prepared:
            return self._alone.judge(output)
        image, _ = self._blend_trial(output)
        if not self._judges_are_single:  # errors within a square depend on one another
            return Judgement(image)
        errors = (image - self._values).square().mean(dim=1, keepdim=True)
        return Judgement(image, errors * self._held_out, self._held_out)

    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the blend from all known pixels with further passes, and its squared error.

        Near known pixels, a missing one gets the blend's mean squared error at the held-out pixels around it; known
        pixels, and the middle of a wide hole, get 0. With ``quick``, without the passes.
        """
        judged, share = self._blend_trial(output)
        image, _ = self._alone.help(output, quick=quick)
        image = image + share * self._change(image, self._all.fill, self._all)
        if not quick:
            first = _FIRST_OF_RESULT * self._deviation(judged)
            strengths = _fall(first, self._trial.last_strength, _PASSES_OF_RESULT)
            filled, passes = self._fill_best(judged, strengths)
            change = self._change(judged, filled, self._trial.sight)
            share = best_share(change, self._values - judged, self._held_out)
            filled = self._fill_all(image, self._all.known, strengths[:passes])
            image = image + share * self._change(image, filled, self._all)
            judged = judged + share * change
        return image, torch.where(self._all.known, 0.0, self._all.nearness * self._error_around(judged))

    def _blend_trial(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the blend that has not seen the held-out pixels, and the share of what blocks make of the others."""
        image = self._alone.judge(output).image
        sight = self._trial.sight
        change = self._change(image, sight.fill, sight)
        share = best_share(change, self._values - image, self._held_out)
        return image + share * change, share

    @staticmethod
    def _change(image: torch.Tensor, fill: torch.Tensor, sight: _Sight) -> torch.Tensor:
        """Return the way from an image to a fill, which is shorter away from known pixels, and 0 at these."""
        return torch.where(sight.known, 0.0, sight.nearness * (fill - image))

    def _fill_best(self, start: torch.Tensor, strengths: Sequence[float]) -> tuple[torch.Tensor, int]:
        """Return the fill from the fitted pixels that meets the held-out ones best, and the number of its passes."""
        best, passes, smallest = start, 0, self._deviation(start)
        for number, image in enumerate(fill_by_groups(start, self._values, self._fitted, strengths), 1):
            deviation = self._deviation(image)
            if deviation < smallest:
                best, passes, smallest = image, number, deviation
        return best, passes

    def _fill_all(self, start: torch.Tensor, known: torch.Tensor, strengths: Sequence[float]) -> torch.Tensor:
        """Return the fill from all known pixels after these passes."""
        image = start
        for image in fill_by_groups(start, self._values, known, strengths):  # noqa: B007 - the last one counts
            pass
        return image

    def _error_around(self, judged: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error at the held-out pixels around each pixel, ``(1, 1, h, w)``."""
        squares, weight = (judged - self._values).square().mean(dim=1, keepdim=True), self._held_out.to(judged)
        around = blur(squares, weight, _AROUND)
        return torch.where(around > 0, around, (squares * weight).sum() / weight.sum())

    def _deviation(self, image: torch.Tensor) -> float:
        """Return the root mean square of an image's error at the held-out pixels."""
        squares = (image - self._values).square().mean(dim=1, keepdim=True)
        return float((squares * self._held_out).sum() / self._held_out.sum()) ** 0.5


def _nearness(known: torch.Tensor) -> torch.Tensor:
    distance = ndimage.distance_transform_edt(~known[0, 0].cpu().numpy())
    near = np.clip((_FAR - distance) / (_FAR - _NEAR), 0, 1).astype(np.float32)
    return torch.from_numpy(near)[None, None].to(known.device)


def _fall(first: float, last: float, count: int) -> list[float]:
    """Return strengths that fall from the first to the last by equal factors, or the last alone if it is larger.

    None if the last is 0: a smooth fill then meets the held-out pixels exactly, as in a constant tile.
    """
    if last <= 0:
        return []
    if first <= last:
        return [last]
    return [float(each) for each in np.geomspace(first, last, count)]
