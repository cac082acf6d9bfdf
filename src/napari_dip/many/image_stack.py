"""A stack as a file describes it: its pixels, read when they are asked for, and what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SHORT_UNITS = {
    "micrometer": "µm", "nanometer": "nm", "picometer": "pm", "millimeter": "mm", "centimeter": "cm", "meter": "m",
    "second": "s", "millisecond": "ms", "minute": "min", "hour": "h", "micron": "µm", "um": "µm", "\\u00B5m": "µm",
}  # fmt: skip
LONG_UNITS = {
    "µm": "micrometer",
    "nm": "nanometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "s": "second",
    "ms": "millisecond",
}


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """An image of any number of axes, and what its file says of it.

    Attributes
    ----------
    array : array
        Indexed, it reads the parts that it is asked for.
    axes : str or None
        One letter for each axis; None where the file does not say.
    channel_names : tuple of str
        May be empty.
    pixel_sizes : dict
        By letter: the distance of two pixels, planes or frames.
    units : dict
        Of these, by letter, as OME-TIFF has them ("µm", "s").
    """

    array: Any
    axes: str | None
    channel_names: tuple[str, ...] = ()
    pixel_sizes: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
