"""Along which axis the planes of a stack help one another."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..measurement.task import find_task
from ..request import Request
from .axes import Axes
from .image_stack import PLANES_TOGETHER, UnreadablePixels

_KNOWN = "TZ"  # planes along these follow one another


def find_neighbour_axis(array: Any, axes: Axes, request: Request, neighbours: str | None) -> str | None:
    """Return the letter of the axis along which planes help one another; None if they do not.

    Parameters
    ----------
    array : array
        The stack's pixels. If planes follow one another in time and in depth, a few in its middle are read.
    axes : Axes
    request : Request
        Whose task and settings must have a use for neighbours.
    neighbours : str or None
        As ``restore_stack`` takes it.

    Raises
    ------
    ValueError
        If planes are not stepped through along that axis.
    """
    if neighbours is None:
        return None
    along = neighbours.upper()
    usable = [letter for letter in axes.stepped if letter != "C"]
    if neighbours != "auto" and along not in usable:
        raise ValueError(
            f'neighbours along {neighbours} cannot help; choose {" or ".join(usable)}, "auto" or None.'
            if usable
            else f"neighbours along {neighbours} cannot help: there is only one plane; leave it out."
        )
    if not (find_task(request.task).takes_neighbours and request.settings.partner):
        return None
    if neighbours != "auto":
        return along if axes.size(along) > 1 else None
    found = find_helping_axes(axes)
    if len(found) < 2:
        return found[0] if found else None
    return min(found, key=lambda letter: _measure_change(array, axes, letter))


def find_helping_axes(axes: Axes) -> list[str]:
    """Return the letters of the axes along which planes can help one another with "auto".

    These are T, Z or both. In a stack without them, it is the only axis that is stepped through, whatever its letter:
    time or depth that nobody has named, most likely, and if not, neighbours are not used where they do not help. With
    fewer than five planes it might as well be channels, which stay apart.
    """
    found = [letter for letter in axes.stepped if letter != "C" and axes.size(letter) > 1]
    known = [letter for letter in _KNOWN if letter in found]
    if known or len(found) != 1 or axes.size(found[0]) < PLANES_TOGETHER:
        return known
    return found


def _measure_change(array: Any, axes: Axes, along: str) -> float:
    """Return the mean squared difference between two neighbouring planes in the middle of a stack."""
    middle = {letter: (axes.size(letter) - 1) // 2 for letter in axes.stepped}
    (one,) = axes.planes(middle)
    (other,) = axes.planes({**middle, along: middle[along] + 1})
    try:
        before, after = (np.ma.filled(axes.read(array, plane).astype(np.float64), np.nan) for plane in (one, other))
    except UnreadablePixels:
        return np.inf
    return float(np.nanmean((after - before) ** 2)) if np.isfinite(after - before).any() else np.inf
