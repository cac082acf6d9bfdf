"""Neighbouring planes as the network's partner in filling in what is missing."""

from __future__ import annotations

import itertools

import torch
from scipy import ndimage
from torch.nn import functional

from ..measurement.missing_pixels import fill_smoothly, widest_hole
from ..measurement.neighbouring_planes import NeighbouringPlanes
from .completing_partner import CompletingPartner
from .neighbour_fill import fill_from_neighbours
from .partner import Judgement, Partner, best_share

_MUCH_BETTER = 0.1  # of the squared error in held-out squares, left by what is to help in far narrower holes
_AROUND = 9  # side of the square around a pixel in which missing pixels are counted
_OPENNESSES, _MATCHES, _FEWEST = 3, 2, 50  # groups by their number and by match; the fewest held-out pixels in one


class NeighbourFillPartner(Partner):
    """Fills in missing pixels with what neighbouring planes show there, as far as that is better.

    The output, completed as in a single plane, is blended with the plane as its neighbours show it,
    continued smoothly from the pixels that are known. How much of that is used depends on how much is missing around a
    pixel, because the network then knows less, and on how well the neighbours match there. The held-out pixels form
    groups by both; in each, the share in [0, 1] with the smallest squared error is taken. It is 0 if the gain does not
    exceed its standard error, so that fast motion and cuts cost nothing. Holes less than half as wide as the held-out
    squares cannot be judged fairly, because there the network errs less: they get their share only if it leaves less
    than a tenth of the error that the network has with its own residual continued.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``, the degraded plane.
    fitted, held_out : Tensor
        ``(1, 1, h, w)`` bool.
    planes : NeighbouringPlanes
    alone : Partner
        Completes the output without them.
    """

    def __init__(
        self,
        values: torch.Tensor,
        fitted: torch.Tensor,
        held_out: torch.Tensor,
        planes: NeighbouringPlanes,
        alone: Partner,
    ) -> None:
        self._values, self._fitted, self._held_out, self._alone = values, fitted, held_out, alone
        self._network_alone = CompletingPartner(values, fitted, held_out)
        self._count, self._helped = len(planes.values) - 1, False
        found = fill_from_neighbours(planes, fitted)
        is_shown = found.errors < torch.inf
        residual = torch.where(fitted & is_shown, values - found.image, 0.0)
        self._fill = found.image
        if bool((fitted & is_shown).any()):
            self._fill = found.image + fill_smoothly(residual, fitted & is_shown)
        openness = functional.avg_pool2d((~fitted).to(values), _AROUND, 1, _AROUND // 2)
        usable = is_shown & ~fitted
        self._groups = [
            group
            for layer in _split(usable, openness, held_out, _OPENNESSES, is_open=True)
            for group in _split(layer, found.errors, held_out, _MATCHES)
        ]
        # the network errs far less in holes that are much narrower than the squares that were held out
        side = max(1, (int(widest_hole(~held_out)) - 1) // 2)
        self._is_narrow = ~fitted & ~_open(~fitted, side)
        # errors within a held-out square depend on one another
        squares, _ = ndimage.label(held_out[0, 0].cpu().numpy())
        self._squares = torch.from_numpy(squares)[None, None].to(held_out.device, torch.long)

    @property
    def neighbours(self) -> int:
        """How many neighbouring planes helped with the last result."""
        return self._count if self._helped else 0

    @property
    def is_prepared(self) -> bool:
        """Whether the other partner is."""
        return self._alone.is_prepared

    def prepare(self) -> None:
        """Prepare the other partner."""
        self._alone.prepare()

    def judge(self, output: torch.Tensor) -> Judgement:
        """Complete the output from the fitted pixels, and blend it with what the neighbours show."""
        image = self._alone.judge(output).image
        return Judgement(self._blend(image, self._choose_shares(image, output)))

    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same, completed from all known pixels, and its squared error as far as it is known.

        Where neighbours help, that is the mean squared error at the held-out pixels of a group; elsewhere the fill's.
        """
        shares = self._choose_shares(self._alone.judge(output).image, output)
        image, variance = self._alone.help(output, quick=quick)
        self._helped = any(share > 0 for share, _, _ in shares)
        variance = variance.expand_as(image[:, :1])
        for group, (share, of_narrow, left) in zip(self._groups, shares, strict=True):
            is_helped = group & ~self._held_out & (torch.where(self._is_narrow, of_narrow, share) > 0)
            variance = torch.where(is_helped, left, variance)
        return torch.where(self._held_out, image, self._blend(image, shares)), variance

    def _choose_shares(self, image: torch.Tensor, output: torch.Tensor) -> list[tuple[float, float, float]]:
        """Return the share of each group, that in narrow holes, and the squared error that it leaves.

        They are for an image that has not seen the held-out pixels.
        """
        shares: list[tuple[float, float, float]] = []
        if not self._groups:
            return shares
        of_network = (self._values - self._network_alone.judge(output).image).square().mean(dim=1, keepdim=True)
        for group in self._groups:
            judged = group & self._held_out
            change, error = self._fill - image, self._values - image
            share = best_share(change, error, judged)
            gains = (error.square() - (error - share * change).square()).mean(dim=1, keepdim=True)[judged]
            of_squares = torch.bincount(self._squares[judged], gains - gains.mean())
            least = of_squares.square().sum().sqrt() / len(gains)
            chosen = float(share) if bool(gains.mean() > least) else 0.0
            left = error.square().mean(dim=1, keepdim=True)[judged].mean() - gains.mean()
            is_much_better = bool(left < _MUCH_BETTER * of_network[judged].mean())
            shares.append((chosen, chosen if is_much_better else 0.0, float(left)))
        return shares

    def _blend(self, image: torch.Tensor, shares: list[tuple[float, float, float]]) -> torch.Tensor:
        for group, (share, of_narrow, _) in zip(self._groups, shares, strict=True):
            here = torch.where(self._is_narrow, of_narrow, share)
            image = torch.where(group, torch.lerp(image, self._fill, here), image)
        return image


def _open(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Return the pixels, ``(1, 1, h, w)`` bool, that lie in a square of such pixels."""
    beyond = functional.pad(pixels.to(torch.float32), (side,) * 4)
    corners = -functional.max_pool2d(-beyond, side, 1)
    return functional.max_pool2d(corners, side, 1)[..., 1 : 1 + pixels.shape[-2], 1 : 1 + pixels.shape[-1]] > 0


def _split(
    pixels: torch.Tensor, values: torch.Tensor, held_out: torch.Tensor, count: int, *, is_open: bool = False
) -> list[torch.Tensor]:
    """Split pixels into groups, ``(1, 1, h, w)`` bool, by a value of theirs, with equally many held-out ones in each.

    Pixels with larger values than any that was held out are in no group, unless the last one is open.
    """
    judged = values[pixels & held_out]
    count = min(count, len(judged) // _FEWEST)
    if count == 0:
        return []
    limits = judged.quantile(torch.linspace(0, 1, count + 1, device=judged.device)).tolist()
    limits[0] = -torch.inf
    if is_open:
        limits[-1] = torch.inf
    groups = [pixels & (values > low) & (values <= high) for low, high in itertools.pairwise(limits) if low < high]
    return [group for group in groups if int((group & held_out).sum()) >= _FEWEST]
