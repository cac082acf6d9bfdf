"""The size of a pixel where the layer does not have it: napari opens a TIFF as if every pixel were 1 wide."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pint
from napari.layers import Image

from .layer_axes import find_array, read_axes

PIXEL_SIZE_KEY = "napari-dip pixel size"  # of a layer's metadata
LENGTHS = ("pm", "nm", "µm", "mm", "cm", "m")  # as OME names them
TIMES = ("ns", "µs", "ms", "s", "min", "h", "d")  # the same


def find_pixel_size(image: Image) -> dict[str, Any] | None:
    """Return the size of a layer's pixels as its file has it; None where the layer has its own, or nobody knows it.

    A scale or units that somebody has set count, and the file no more. Nor does it where the layer shows a part of it.

    Returns
    -------
    dict or None
        "height" and "width" in a "unit" of length, and the layer's "scale" of rows and columns for which they hold: if
        it is changed later, that is the user's word. Of a stack also "distances" of planes (Z) and frames (T), with
        their units. For a layer's metadata, under ``PIXEL_SIZE_KEY``.
    """
    _, settings, _ = image.as_layer_data_tuple()
    kept = read_kept_size(settings)
    if kept is not None:
        return kept
    if has_units(settings) or not np.all(np.asarray(image.scale) == 1):
        return None
    told = read_axes(image.source.path, tuple(find_array(image).shape))
    if not {"Y", "X"} <= set(told.pixel_sizes):
        return None
    unit, lengths = as_lengths(
        [told.pixel_sizes["Y"], told.pixel_sizes["X"]], [told.units.get(letter, "") for letter in "YX"]
    )
    if lengths is None or not all(0 < each < np.inf for each in lengths):
        return None
    size = {"height": lengths[0], "width": lengths[1], "unit": unit, "scale": (1.0, 1.0)}
    distances = find_distances({each: (told.pixel_sizes[each], told.units.get(each, "")) for each in told.pixel_sizes})
    return size | ({"distances": distances} if distances else {})


def read_kept_size(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the size of a pixel that a layer's metadata hold, if its scale is still what it was then."""
    kept = settings.get("metadata", {}).get(PIXEL_SIZE_KEY)
    if not isinstance(kept, Mapping) or has_units(settings):
        return None
    return dict(kept) if np.allclose(np.asarray(settings["scale"])[-2:], kept["scale"]) else None


def shrink(size: Mapping[str, Any], factor: int) -> dict[str, Any]:
    """Return the size of the pixels of an image with ``factor`` times the rows and columns."""
    return {
        **size,
        "height": size["height"] / factor,
        "width": size["width"] / factor,
        "scale": tuple(each / factor for each in size["scale"]),
    }


def has_units(settings: Mapping[str, Any]) -> bool:
    """Return whether a layer's units are others than napari's own, pixels."""
    return not {str(unit) for unit in settings.get("units", ())} <= {"pixel"}


def find_distances(steps: Mapping[str, tuple[float, str]]) -> dict[str, tuple[float, str]]:
    """Return how far planes (Z) and frames (T) lie apart, in units as OME names them; only what is a length or a time.

    Parameters
    ----------
    steps : mapping
        By the letter of an axis, the step along it and its unit.
    """
    found = {}
    for letter, names in (("Z", LENGTHS), ("T", TIMES)):
        if letter in steps and steps[letter][0] > 0:
            otherwise = "s" if letter == "T" else "µm"
            unit, values = _in_one_unit([steps[letter][0]], [steps[letter][1]], names, otherwise=otherwise)
            if values is not None and np.isfinite(values[0]):
                found[letter] = (values[0], unit)
    return found


def as_lengths(values: list[float], units: list[str]) -> tuple[str, tuple[float, ...] | None]:
    """Return one unit of length, as OME names it, and values in it; None if these are no lengths."""
    return _in_one_unit(values, units, LENGTHS, otherwise="µm")


def _in_one_unit(
    values: list[float], units: list[str], names: Sequence[str], *, otherwise: str
) -> tuple[str, tuple[float, ...] | None]:
    """Return one unit by its name, the first value's or else another, and values in it; None if they have none."""
    # pint would compute what a file calls a unit: "m**(10**10**10)" has no end
    if not all(re.fullmatch(r"[^\W\d_]+", unit) for unit in units):
        return otherwise, None
    try:
        name = next((name for name in names if pint.Unit(name) == pint.Unit(units[0])), otherwise)
        factors = [float((1 * pint.Unit(unit)).to(name).magnitude) for unit in units]
    except (pint.DimensionalityError, pint.UndefinedUnitError, ValueError, TypeError, AssertionError):
        return otherwise, None
    return name, tuple(value * factor for value, factor in zip(values, factors, strict=True))
