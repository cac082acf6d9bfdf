"""Stripes: an offset that all pixels of a row, or of a column, share, as from a camera's readout or a scanned line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, stats

from .noise import ChannelNoise, NoiseModel

_SMALLEST = 32  # rows and columns, to tell stripes from chance
_WEAKEST = 0.01  # deviation of the noise; in cleaner images, lines are the image's own
_STRIKING = 6.0  # times the variance that a line's mean has without stripes; 2.5 at most on 50 images without
_ONE_WAY = 3.0  # times that of the other direction: noise that is correlated both ways is no stripe
_WIDTH = 5.0  # lines; σ of the blur along the offsets that is left in the image, because it may be the image's own
_TRIMMED = 0.25  # of the differences between two lines, on either side: where an edge of the image runs along them
_TRIMMED_VARIANCE = 1.195  # of that mean of normal values, times their number


@dataclass(frozen=True, slots=True, eq=False)
class Stripes:
    """Offsets of lines.

    Attributes
    ----------
    offsets : Tensor
        ``(n, c, h, 1)`` of rows, or ``(n, c, 1, w)`` of columns, in units of the image's values.
    """

    offsets: torch.Tensor

    @property
    def along(self) -> Literal["rows", "columns"]:
        """Which lines have offsets."""
        return "rows" if self.offsets.shape[3] == 1 else "columns"

    @property
    def deviation(self) -> float:
        """The offsets' root mean square."""
        return float(self.offsets.square().mean().sqrt())


def find_stripes(values: torch.Tensor, known: torch.Tensor, noise: NoiseModel | ChannelNoise) -> Stripes | None:
    """Return the image's stripes; None if there are none that chance could not explain.

    From line to line, an image changes little at most pixels, and white noise averages out. So does the change from
    line to line of what is left: stripes are seen where its variance is far larger than that of averaged noise, and
    far larger one way than the other.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``.
    known : Tensor
        ``(1, 1, h, w)`` bool.
    noise : NoiseModel or ChannelNoise
        As measured from detail in both directions, which contains no stripes.
    """
    if min(values.shape[-2:]) < _SMALLEST or noise.mean_variance**0.5 < _WEAKEST:
        return None
    stabilised = noise.stabilise(values.cpu())
    strengths = {axis: _measure_strength(stabilised, known.cpu(), axis) for axis in (2, 3)}
    axis = max(strengths, key=lambda each: strengths[each])
    if strengths[axis] < max(_STRIKING, _ONE_WAY * strengths[5 - axis]):
        return None
    return measure_stripes(values, known, "rows" if axis == 2 else "columns")


def measure_stripes(values: torch.Tensor, known: torch.Tensor, along: Literal["rows", "columns"]) -> Stripes:
    """Return the offsets of all rows or columns of images, but for what changes slowly from one to the next.

    Parameters
    ----------
    values : Tensor
        ``(n, c, h, w)``.
    known : Tensor
        ``(n, 1, h, w)`` bool.
    along : {"rows", "columns"}
    """
    axis = 2 if along == "rows" else 3
    steps, _ = _measure_steps(values.cpu(), known.cpu(), axis)
    offsets = np.concatenate([np.zeros_like(steps[..., :1]), steps.cumsum(axis=-1)], axis=-1)
    offsets -= ndimage.gaussian_filter1d(offsets, _WIDTH, axis=-1, mode="nearest")
    return Stripes(torch.from_numpy(offsets).to(values).unsqueeze(5 - axis))


def _measure_strength(stabilised: torch.Tensor, known: torch.Tensor, axis: int) -> float:
    """Return the variance from line to line, relative to that of averaged white noise; the mean of the channels."""
    steps, counts = _measure_steps(stabilised, known, axis)
    bends = np.diff(steps, axis=-1)
    variances = stats.median_abs_deviation(bends, axis=-1, scale="normal") ** 2 / 6  # of a line: (1, -2, 1)
    return float(variances.mean() * counts.mean() / _TRIMMED_VARIANCE)


def _measure_steps(
    values: torch.Tensor, known: torch.Tensor, axis: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean change from each line to the next without the largest changes, and the number of its pixels.

    Both are ``(n, c, lines - 1)``; where no two neighbouring pixels are known, the change is 0.
    """
    lines, seen = (np.moveaxis(each.numpy(), axis, 2) for each in (values.double(), known))
    changes, both = np.diff(lines, axis=2), seen[:, :, 1:] & seen[:, :, :-1]
    both = np.broadcast_to(both, changes.shape)
    steps = np.zeros(changes.shape[:3])
    for place in np.ndindex(steps.shape):
        if both[place].any():
            steps[place] = stats.trim_mean(changes[place][both[place]], _TRIMMED)
    return steps, both.sum(axis=-1).astype(float)
