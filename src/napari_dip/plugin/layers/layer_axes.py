"""The axes of an Image layer: letters for the engine, names for the user."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from napari.layers import Image

from ...image_files import TIFF_SUFFIXES
from ...many.axes import Axes, Plane, find_axes
from ...many.image_stack import Stack
from ...many.stack_files import is_zarr, open_stack

_UNNAMED = re.compile(r"(axis )?-?\d+")  # napari's default names
_FREE_LETTERS = "QPRUVWABDEFGHIJKLMNO"  # for axes without a name; not T, Z or C, which have a meaning
_CHANNEL = "C"


@dataclass(frozen=True, slots=True)
class LayerAxes:
    """The axes of a layer.

    Attributes
    ----------
    axes : Axes
    names : mapping
        By letter, the user's name for the axis: its label, or else its number.
    channel_names : tuple of str
        The names along axis C, if the layer or its file has them.
    """

    axes: Axes
    names: Mapping[str, str]
    channel_names: tuple[str, ...] = ()

    def describe(self, plane: Plane) -> str:
        """Return a plane's position in the user's words, such as "t 3, GFP"; empty if there is only one plane."""
        return ", ".join(self._describe_axis(letter, number) for letter, number in plane.place.items())

    def _describe_axis(self, letter: str, number: int) -> str:
        if letter == _CHANNEL and len(self.channel_names) > number:
            return self.channel_names[number]
        return f"{self.names[letter]}{':' if ' ' in self.names[letter] else ''} {number}"


def find_array(image: Image) -> Any:
    """Return a layer's pixels without reading them; for a multiscale layer, its finest level."""
    return image.data[0] if image.multiscale else image.data


def count_dimensions(image: Image) -> int:
    """Return how many axes a layer has, not counting colour."""
    return len(find_array(image).shape) - bool(image.rgb)


def read_axes(path: object, shape: tuple[int, ...]) -> Stack:
    """Return what a layer's file says about its axes, if it holds a stack of this shape."""
    nothing = Stack(None, None)
    if path is None or not (Path(str(path)).suffix.lower() in TIFF_SUFFIXES or is_zarr(Path(str(path)))):
        return nothing
    try:
        opened = _open_once(str(path), Path(str(path)).stat().st_mtime)
    except (OSError, ValueError):  # the file has moved, or only napari can read it
        return nothing
    return opened if opened.array == shape and opened.axes is not None else nothing


@lru_cache(maxsize=32)
def _open_once(path: str, changed: float) -> Stack:
    """Return what a file says about its axes, with the shape in place of the pixels, so that no file stays open."""
    opened = open_stack(Path(path))
    return replace(opened, array=tuple(opened.array.shape))


def find_layer_axes(image: Image, slider_labels: Sequence[str] = (), together: str | None = None) -> LayerAxes:
    """Return the axes of an Image layer; rows and columns come last, as napari draws them.

    Parameters
    ----------
    image : Image
    slider_labels : sequence of str
        The labels at the viewer's sliders. They name axes that the layer itself does not name; axes that neither names
        get their letters from the file.
    together : str, optional
        The axis whose channels are restored together, by the letter that this function gives it without ``together``.
    """
    shape = tuple(find_array(image).shape)
    count = count_dimensions(image) - 2
    in_file = read_axes(image.source.path, shape)
    layer_labels = [str(label) for label in getattr(image, "axis_labels", ())][:count]  # napari 0.5.6 and newer
    viewer_labels = list(map(str, slider_labels))[-count - 2 : -2] if len(slider_labels) >= count + 2 else []
    letters: list[str] = []
    names: dict[str, str] = {}
    free = iter(_FREE_LETTERS)
    for number in range(count):
        sources = layer_labels, viewer_labels, in_file.axes or ""
        found = [labels[number] for labels in sources if len(labels) > number]
        label = next((each for each in found if each and not _UNNAMED.fullmatch(each)), "")
        letter = label[:1].upper()
        if not (letter.isascii() and letter.isalpha()) or letter in "YXS" or letter in letters:
            letter = next(each for each in free if each not in letters)
        letters.append(letter)
        names[letter] = label or f"axis {number}"
    if together is not None and together != _CHANNEL:
        other = next(each for each in free if each not in letters)
        renamed = {together: _CHANNEL, _CHANNEL: other}
        names = {renamed.get(letter, letter): name for letter, name in names.items()}
        letters = [renamed.get(letter, letter) for letter in letters]
    text = "".join(letters) + "YX" + ("S" if image.rgb else "")
    return LayerAxes(
        find_axes(shape, text, "apart" if together is None else "together"),
        names,
        find_channel_names(image, text, shape),
    )


def find_channel_names(image: Image, letters: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the channel names from the layer's metadata or its file; empty if their number does not fit."""
    if _CHANNEL not in letters:
        return ()
    names = image.metadata.get("channel_names") or read_axes(image.source.path, shape).channel_names
    fits = isinstance(names, list | tuple) and len(names) == shape[letters.index(_CHANNEL)]
    return tuple(map(str, names)) if fits else ()
