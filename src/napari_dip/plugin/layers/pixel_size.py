"""The pixel size of a layer that has none of its own: napari opens every TIFF as if a pixel were 1 wide."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pint
from napari.layers import Image

from .layer_axes import find_array, read_axes

PIXEL_SIZE_KEY = "napari-dip pixel size"  # in a layer's metadata
LENGTHS = ("pm", "nm", "µm", "mm", "cm", "m")  # by their names in OME
TIMES = ("ns", "µs", "ms", "s", "min", "h", "d")  # by their names in OME


def find_pixel_size(image: Image) -> dict[str, Any] | None:
    """Return the pixel size from a layer's file; None if the layer has its own, or the file has none.

    A scale or unit that somebody has set overrides the file. The file is also ignored if the layer shows only a part.

    Returns
    -------
    dict or None
        "height" and "width" in a "unit" of length, and the layer's "scale" of rows and columns to which they belong: a
        scale that changes later is the user's own. For a stack also "distances" between z-slices (Z) and frames (T),
        with their units. Goes into the layer's metadata under ``PIXEL_SIZE_KEY``.
    """
    _, settings, _ = image.as_layer_data_tuple()
    kept = read_kept_size(settings)
    if kept is not None:
        return kept
    if has_units(settings) or not np.all(np.asarray(image.scale) == 1):
        return None
    stack = read_axes(image.source.path, tuple(find_array(image).shape))
    if not {"Y", "X"} <= set(stack.pixel_sizes):
        return None
    unit, lengths = as_lengths(
        [stack.pixel_sizes["Y"], stack.pixel_sizes["X"]], [stack.units.get(letter, "") for letter in "YX"]
    )
    if lengths is None or not all(0 < each < np.inf for each in lengths):
        return None
    size = {"height": lengths[0], "width": lengths[1], "unit": unit, "scale": (1.0, 1.0)}
    steps = {letter: (step, stack.units.get(letter, "")) for letter, step in stack.pixel_sizes.items()}
    distances = find_distances(steps)
    return size | ({"distances": distances} if distances else {})


def find_micrometres(image: Image) -> tuple[float, float] | None:
    """Return the height and width of a layer's pixels in micrometres; None if neither it nor its file knows them."""
    _, settings, _ = image.as_layer_data_tuple()
    if has_units(settings):
        sides = [float(each) for each in np.asarray(image.scale)[-2:]]
        unit, lengths = as_lengths(sides, [str(each) for each in settings["units"][-2:]])
    else:
        size = find_pixel_size(image)
        if size is None:
            return None
        unit, lengths = size["unit"], (size["height"], size["width"])
    if lengths is None or not all(0 < each < np.inf for each in lengths):
        return None
    micrometres = float((1 * pint.Unit(unit)).to("µm").magnitude)
    return lengths[0] * micrometres, lengths[1] * micrometres


def read_kept_size(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the pixel size in a layer's metadata if the layer still has the scale that belongs to it."""
    kept = settings.get("metadata", {}).get(PIXEL_SIZE_KEY)
    if not isinstance(kept, Mapping) or has_units(settings):
        return None
    return dict(kept) if np.allclose(np.asarray(settings["scale"])[-2:], kept["scale"]) else None


def shrink(size: Mapping[str, Any], factor: int) -> dict[str, Any]:
    """Return the pixel size of an image with ``factor`` times the rows and columns."""
    return {
        **size,
        "height": size["height"] / factor,
        "width": size["width"] / factor,
        "scale": tuple(each / factor for each in size["scale"]),
    }


def has_units(settings: Mapping[str, Any]) -> bool:
    """Return whether a layer has units other than pixels, napari's default."""
    return not {str(unit) for unit in settings.get("units", ())} <= {"pixel"}


def find_distances(steps: Mapping[str, tuple[float, str]]) -> dict[str, tuple[float, str]]:
    """Return the distances between z-slices (Z) and frames (T) in OME's units; leave out anything else.

    Parameters
    ----------
    steps : mapping
        The step along each axis and its unit, by the axis's letter.
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
    """Return a unit of length by its name in OME, and the values in it; None if they are no lengths."""
    return _in_one_unit(values, units, LENGTHS, otherwise="µm")


def _in_one_unit(
    values: list[float], units: list[str], names: Sequence[str], *, otherwise: str
) -> tuple[str, tuple[float, ...] | None]:
    """Return a unit by its name, the first value's or else the default, and the values in it; None if that fails."""
    # pint evaluates what a file calls a unit, and "m**(10**10**10)" never ends
    if not all(re.fullmatch(r"[^\W\d_]+", unit) for unit in units):
        return otherwise, None
    try:
        name = next((name for name in names if pint.Unit(name) == pint.Unit(units[0])), otherwise)
        factors = [float((1 * pint.Unit(unit)).to(name).magnitude) for unit in units]
    except (pint.DimensionalityError, pint.UndefinedUnitError, ValueError, TypeError, AssertionError):
        return otherwise, None
    return name, tuple(value * factor for value, factor in zip(values, factors, strict=True))
