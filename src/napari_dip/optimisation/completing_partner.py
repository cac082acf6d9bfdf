"""Classical filling as the network's partner where pixels are missing and the noise is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ..measurement.missing_pixels import fill_smoothly
from .collaborative_fill import fill_by_groups
from .partner import Judgement, best_share

_FIRST, _LAST, _PASSES = 1.5, 0.08, 30  # strength of the passes, in deviations of the smooth fill's error
_FIRST_OF_RESULT, _PASSES_OF_RESULT = 0.6, 15  # strength in deviations of the blend's error
_NEAR, _FAR = 2.0, 8.0  # pixels from a known one: up to there blocks know it well; from there on not at all


class CompletingPartner:
    """Fills in missing pixels with what similar blocks show, and makes the network's fill join the known pixels.

    Two fills compete. One is the output, with a share of the residual of the fitted pixels, continued smoothly between
    them (a small share if the residual is noise). The other, made without the network, is ``fill_by_groups`` from a
    smooth fill. The image that is judged is a blend of both. The final result gets further passes, which begin with the
    blend. Away from known pixels, blocks have nothing to go by, so there the network's fill is left as it is.

    All shares, in [0, 1], and the numbers of passes are those with the smallest squared error on the held-out pixels,
    which the fills that are judged do not see. Fitted pixels stay as the network draws them.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``, the degraded image.
    fitted, held_out : Tensor
        ``(1, 1, h, w)`` bool.
    """

    def __init__(self, values: torch.Tensor, fitted: torch.Tensor, held_out: torch.Tensor) -> None:
        self._values, self._held_out = values, held_out
        self._trial, self._all = (_Sight(known, _nearness(known)) for known in (fitted, fitted | held_out))
        smooth = fill_smoothly(torch.where(fitted, values, 0.0), fitted)
        strengths = _fall(_FIRST * self._deviation(smooth), _LAST * self._deviation(smooth), _PASSES)
        self._last_strength = strengths[-1]
        self._first_of_trial, passes = self._fill_best(smooth, strengths)
        smooth = fill_smoothly(torch.where(self._all.known, values, 0.0), self._all.known)
        self._first_of_all = self._fill_all(smooth, strengths[:passes])
        _, squares = ndimage.label(held_out[0, 0].cpu().numpy())
        self._judges_are_single = 2 * squares > int(held_out.sum())

    @property
    def neighbours(self) -> int:
        """None: this plane is filled in alone."""
        return 0

    def judge(self, output: torch.Tensor) -> Judgement:
        """Blend both fills as the fitted pixels make them; the noise is unknown."""
        image, _, _ = self._blend_trial(output)
        image = torch.where(self._trial.known, output, image)
        if not self._judges_are_single:  # errors within a square depend on one another
            return Judgement(image)
        errors = (image - self._values).square().mean(dim=1, keepdim=True)
        return Judgement(image, errors * self._held_out, self._held_out)

    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the blend from all known pixels with further passes, and a variance of 0, as the noise is unknown.

        With ``quick``, without them.
        """
        judged, of_residual, of_groups = self._blend_trial(output)
        known = self._all.known
        image = output + of_residual * fill_smoothly(torch.where(known, self._values - output, 0.0), known)
        image = image + of_groups * self._all.nearness * (self._first_of_all - image)
        if not quick:
            strengths = _fall(_FIRST_OF_RESULT * self._deviation(judged), self._last_strength, _PASSES_OF_RESULT)
            filled, passes = self._fill_best(judged, strengths)
            change = self._trial.nearness * (filled - judged)
            share = best_share(change, self._values - judged, self._held_out)
            filled = self._fill_all(image, strengths[:passes])
            image = image + share * self._all.nearness * (filled - image)
        return torch.where(known, output, image), output.new_zeros(())

    def _blend_trial(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the blend that has not seen the held-out pixels, the share of the residual and that of the groups."""
        fitted, residual = self._trial.known, self._values - output
        continued = fill_smoothly(torch.where(fitted, residual, 0.0), fitted)
        of_residual = best_share(continued, residual, self._held_out)
        image = output + of_residual * continued
        change = self._trial.nearness * (self._first_of_trial - image)
        of_groups = best_share(change, self._values - image, self._held_out)
        return image + of_groups * change, of_residual, of_groups

    def _fill_best(self, start: torch.Tensor, strengths: Sequence[float]) -> tuple[torch.Tensor, int]:
        """Return the fill from the fitted pixels that meets the held-out ones best, and the number of its passes."""
        best, passes, smallest = start, 0, self._deviation(start)
        fills = fill_by_groups(start, self._values, self._trial.known, strengths)
        for number, image in enumerate(fills, 1):
            deviation = self._deviation(image)
            if deviation < smallest:
                best, passes, smallest = image, number, deviation
        return best, passes

    def _fill_all(self, start: torch.Tensor, strengths: Sequence[float]) -> torch.Tensor:
        """Return the fill from all known pixels after these passes."""
        image = start
        for image in fill_by_groups(start, self._values, self._all.known, strengths):  # noqa: B007
            pass
        return image

    def _deviation(self, image: torch.Tensor) -> float:
        """Return the root mean square of an image's error at the held-out pixels."""
        squares = (image - self._values).square().mean(dim=1, keepdim=True)
        return float((squares * self._held_out).sum() / self._held_out.sum()) ** 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """Which pixels a fill knows, ``(1, 1, h, w)`` bool, and how near the others lie to these, from 1 to 0 (far)."""

    known: torch.Tensor
    nearness: torch.Tensor


def _nearness(known: torch.Tensor) -> torch.Tensor:
    distance = ndimage.distance_transform_edt(~known[0, 0].cpu().numpy())
    near = np.clip((_FAR - distance) / (_FAR - _NEAR), 0, 1).astype(np.float32)
    return torch.from_numpy(near)[None, None].to(known.device)


def _fall(first: float, last: float, count: int) -> list[float]:
    """Return strengths that fall from the first to the last by equal factors, or the last alone if it is larger."""
    if first <= last:
        return [last]
    return [float(each) for each in np.geomspace(first, last, count)]
