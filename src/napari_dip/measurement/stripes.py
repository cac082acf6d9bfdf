"""Stripes: an offset that all pixels of a row, or of a column, share, as from a camera's readout or a scanned line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, stats
from torch.nn import functional

from .noise import ChannelNoise, NoiseModel

Direction: TypeAlias = Literal["rows", "columns"]
Lines: TypeAlias = slice | NDArray[np.intp]

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

    @classmethod
    def from_steps(cls, steps: torch.Tensor, along: Direction) -> Stripes:
        """Add up the changes from each line to the next, ``(n, c, lines - 1)``, without what changes slowly."""
        offsets = functional.pad(steps.cumsum(dim=-1), (1, 0)).numpy()
        offsets = offsets - ndimage.gaussian_filter1d(offsets, _WIDTH, axis=-1, mode="nearest")
        return cls(torch.from_numpy(offsets).unsqueeze(3 if along == "rows" else 2))

    def to(self, values: torch.Tensor) -> Stripes:
        """Return them in the precision, and on the device, of an image."""
        return Stripes(self.offsets.to(values))

    def cut(self, rows: Lines, columns: Lines) -> Stripes:
        """Return the stripes of a part of the image."""
        return Stripes(self.offsets[:, :, rows] if self.along == "rows" else self.offsets[..., columns])

    @property
    def along(self) -> Direction:
        """Which lines have offsets."""
        return "rows" if self.offsets.shape[3] == 1 else "columns"

    @property
    def deviation(self) -> float:
        """The offsets' root mean square."""
        return float(self.offsets.square().mean().sqrt())


def find_stripes(values: torch.Tensor, known: torch.Tensor, noise: NoiseModel | ChannelNoise) -> Stripes | None:
    """Return the image's stripes; None if there are none that chance could not explain.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``.
    known : Tensor
        ``(1, 1, h, w)`` bool.
    noise : NoiseModel or ChannelNoise
        As measured from detail in both directions, which contains no stripes.
    """
    along = find_direction(values, known, noise)
    return None if along is None else measure_stripes(values, known, along)


def find_direction(values: torch.Tensor, known: torch.Tensor, noise: NoiseModel | ChannelNoise) -> Direction | None:
    """Return which lines of an image have offsets that chance could not explain, if any.

    From line to line, an image changes little at most pixels, and white noise averages out. So does the change from
    line to line of what is left: stripes are seen where its variance is far larger than that of averaged noise, and
    far larger one way than the other.

    Parameters
    ----------
    values, known, noise
        As in ``find_stripes``.
    """
    if min(values.shape[-2:]) < _SMALLEST or noise.mean_variance**0.5 < _WEAKEST:
        return None
    stabilised = noise.stabilise(values.cpu())
    rows, columns = (_measure_strength(stabilised, known, along) for along in get_args(Direction))
    if max(rows, columns) < max(_STRIKING, _ONE_WAY * min(rows, columns)):
        return None
    return "rows" if rows > columns else "columns"


def measure_stripes(values: torch.Tensor, known: torch.Tensor, along: Direction) -> Stripes:
    """Return the offsets of all rows or columns of images, but for what changes slowly from one to the next.

    Parameters
    ----------
    values : Tensor
        ``(n, c, h, w)``.
    known : Tensor
        ``(n, 1, h, w)`` bool.
    along : {"rows", "columns"}
    """
    return Stripes.from_steps(measure_steps(values, known, along), along).to(values)


def measure_steps(values: torch.Tensor, known: torch.Tensor, along: Direction) -> torch.Tensor:
    """Return the mean change from each line to the next without the largest changes, ``(n, c, lines - 1)`` float64.

    Where no two neighbouring pixels are known, the change is 0.
    """
    changes, both = _measure_changes(values, known, along)
    if both.all():  # all lines at once, which is much faster
        return torch.from_numpy(stats.trim_mean(changes, _TRIMMED, axis=-1))
    steps = np.zeros(changes.shape[:3])
    for place in np.ndindex(steps.shape):
        if both[place].any():
            steps[place] = stats.trim_mean(changes[place][both[place]], _TRIMMED)
    return torch.from_numpy(steps)


def _measure_strength(stabilised: torch.Tensor, known: torch.Tensor, along: Direction) -> float:
    """Return the variance from line to line, relative to that of averaged white noise; the mean of the channels."""
    bends = np.diff(measure_steps(stabilised, known, along).numpy(), axis=-1)
    variances = stats.median_abs_deviation(bends, axis=-1, scale="normal") ** 2 / 6  # of a line: (1, -2, 1)
    _, both = _measure_changes(stabilised, known, along)
    return float(variances.mean() * both.sum(axis=-1).mean() / _TRIMMED_VARIANCE)


def _measure_changes(
    values: torch.Tensor, known: torch.Tensor, along: Direction
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the changes from each line to the next, ``(n, c, lines - 1, pixels)``, and where both pixels are known."""
    axis = 2 if along == "rows" else 3
    lines, seen = (np.moveaxis(each.cpu().numpy(), axis, 2) for each in (values.double(), known))
    changes = np.diff(lines, axis=2)
    return changes, np.broadcast_to(seen[:, :, 1:] & seen[:, :, :-1], changes.shape)
