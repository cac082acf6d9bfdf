"""Missing pixels filled in by collaborative filtering: blocks that look alike complete one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from .collaborative_filter import collaborative_filter, match_blocks

_SIDE, _REACH, _COUNT = 8, 12, 16  # of the blocks; of the search; blocks per group
_EVERY = 4  # passes: what looks alike hardly changes from one to the next
_BEYOND = 1.2  # of a pass's change, added to it before the next: half as many passes suffice (docs/tuning.md)


def fill_by_groups(
    start: torch.Tensor, values: torch.Tensor, known: torch.Tensor, strengths: Sequence[float]
) -> Iterator[torch.Tensor]:
    """Yield an image with its missing pixels filled in, better and better.

    Each pass sets the weak coefficients of groups of similar blocks to 0, and puts the known pixels back. What is left
    of a wrong fill is weak where other blocks of its group know better. Each pass starts from the last one's result
    plus 1.2 times what that changed (over-relaxation), so that fewer are needed.

    Parameters
    ----------
    start : Tensor
        ``(1, c, h, w)``, a first fill.
    values : Tensor
        ``(1, c, h, w)``; only known pixels count.
    known : Tensor
        ``(1, 1, h, w)`` bool.
    strengths : sequence of float
        For each pass, falling: the assumed deviation of the fill's error, in the image's units.

    References
    ----------
    Danielyan, Katkovnik and Egiazarian: BM3D frames and variational image deblurring, IEEE Transactions on Image
    Processing 21, 2012 (such filters as a regulariser); Li: Image recovery via hybrid sparse representations: a
    deterministic annealing approach, IEEE Journal of Selected Topics in Signal Processing 5, 2011 (falling thresholds);
    Youla and Webb: Image restoration by the method of convex projections, IEEE Transactions on Medical Imaging 1, 1982
    (over-relaxation).
    """
    side = min(_SIDE, 1 << (min(values.shape[-2:]).bit_length() - 1))
    stride = max(1, side // 2)
    image, groups = torch.where(known, values, start), None
    for number, strength in enumerate(strengths):
        if groups is None or number % _EVERY == 0:
            groups = match_blocks(image, side, stride, _REACH, _COUNT)
        filtered, _ = collaborative_filter(
            None, image, torch.full_like(image[:, :1], strength**2).expand_as(image), groups, side, stride
        )
        filled = torch.where(known, values, filtered)
        image = filled + _BEYOND * (filled - image)
        yield filled
