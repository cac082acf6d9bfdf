"""When a run does not fit into memory: the next way to do it with less."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from .measurement.task import find_task
from .settings import Settings

_NARROWEST = 16  # channels; below, hardly anything is restored
_SIDE = 192  # pixels, of the part to restore instead


@dataclass(frozen=True, slots=True)
class SmallerWay:
    """A way to run with less memory.

    Attributes
    ----------
    settings : Settings
    words : str
        What to try, to follow "Try".
    region : tuple of slice or None
        The rows and columns to restore, if only a part fits.
    """

    settings: Settings
    words: str
    region: tuple[slice, slice] | None = None


def find_smaller_way(settings: Settings, task: str, size: tuple[int, int]) -> SmallerWay | None:
    """Return the next smaller way: one network, a narrower one, the CPU, a part of the image; None if none is left.

    Parameters
    ----------
    settings : Settings
        Those of the run that did not fit.
    task : str
    size : (int, int)
        Rows and columns of the image.
    """
    if settings.networks > 1:
        without = " and no uncertainty" if settings.uncertainty else ""
        fewer = dataclasses.replace(settings, runs=1, uncertainty=False)
        return SmallerWay(fewer, f"one network instead of {settings.networks}{without}")
    kind = find_task(task)
    width = settings.for_task(kind).expect_width(kind)
    if width > _NARROWEST:
        narrower = max(_NARROWEST, width // 2)
        return SmallerWay(
            dataclasses.replace(settings, width=narrower), f"a narrower network, {narrower} channels instead of {width}"
        )
    if settings.device != "cpu":
        return SmallerWay(dataclasses.replace(settings, device="cpu"), "the CPU, which is slower")
    if max(size) > _SIDE:
        rows, columns = (_middle(side) for side in size)
        return SmallerWay(
            settings, f"the middle {rows.stop - rows.start} x {columns.stop - columns.start} pixels", (rows, columns)
        )
    return None


def _middle(side: int) -> slice:
    first = max(0, (side - _SIDE) // 2)
    return slice(first, min(side, first + _SIDE))
