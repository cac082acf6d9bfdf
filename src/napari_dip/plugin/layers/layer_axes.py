"""What the axes of an Image layer are: letters for the engine, names for the user."""

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

_UNNAMED = re.compile(r"(axis )?-?\d+")  # what napari calls an axis that nobody named
_FREE_LETTERS = "QPRUVWABDEFGHIJKLMNO"  # of axes without a name; no T, Z or C, which mean something
_CHANNEL = "C"


@dataclass(frozen=True, slots=True)
class LayerAxes:
    """The axes of a layer.

    Attributes
    ----------
    axes : Axes
    names : mapping
        By letter, what the user calls them: their labels, or else their numbers.
    channel_names : tuple of str
        Of axis C, where the layer's metadata name them.
    """

    axes: Axes
    names: Mapping[str, str]
    channel_names: tuple[str, ...] = ()

    def describe(self, plane: Plane) -> str:
        """Return the place of a plane in the user's words, such as "t 3, GFP"; empty where there is only one."""
        return ", ".join(self._say(letter, number) for letter, number in plane.place.items())

    def _say(self, letter: str, number: int) -> str:
        if letter == _CHANNEL and len(self.channel_names) > number:
            return self.channel_names[number]
        return f"{self.names[letter]}{':' if ' ' in self.names[letter] else ''} {number}"


def find_array(image: Image) -> Any:
    """Return the pixels of a layer, unread: of a multiscale layer its finest level."""
    return image.data[0] if image.multiscale else image.data


def count_dimensions(image: Image) -> int:
    """Return how many axes a layer has, without colours."""
    return len(find_array(image).shape) - bool(image.rgb)


def read_axes(path: object, shape: tuple[int, ...]) -> Stack:
    """Return what the file that a layer was opened from says of its axes, if it holds a stack of that shape."""
    nothing = Stack(None, None)
    if path is None or not (Path(str(path)).suffix.lower() in TIFF_SUFFIXES or is_zarr(Path(str(path)))):
        return nothing
    try:
        told = _open_once(str(path), Path(str(path)).stat().st_mtime)
    except (OSError, ValueError):  # moved, or of a kind that only napari reads
        return nothing
    return told if told.array == shape and told.axes is not None else nothing


@lru_cache(maxsize=32)
def _open_once(path: str, changed: float) -> Stack:
    """Return what a file says of its axes, with the shape in place of the pixels: nothing is kept open."""
    opened = open_stack(Path(path))
    return replace(opened, array=tuple(opened.array.shape))


def find_layer_axes(image: Image, shown: Sequence[str] = (), together: str | None = None) -> LayerAxes:
    """Return the axes of an Image layer: rows and columns last, as napari draws them.

    Parameters
    ----------
    image : Image
    shown : sequence of str
        The labels at the viewer's sliders, which name the axes that the layer itself does not; what neither names may
        have a letter in the file.
    together : str, optional
        The letter, as this function finds it without, of the axis whose channels are taken together.
    """
    shape = tuple(find_array(image).shape)
    ahead = count_dimensions(image) - 2
    of_file = read_axes(image.source.path, shape)
    own = [str(label) for label in getattr(image, "axis_labels", ())][:ahead]  # napari 0.5.6 and newer
    of_viewer = [str(label) for label in shown][-ahead - 2 : -2] if len(shown) >= ahead + 2 else []
    letters: list[str] = []
    names: dict[str, str] = {}
    free = iter(_FREE_LETTERS)
    for number in range(ahead):
        found = [labels[number] for labels in (own, of_viewer, of_file.axes or "") if len(labels) > number]
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
    """Return the names of the channels as the layer's metadata, or its file, has them; none if they are not as many."""
    if _CHANNEL not in letters:
        return ()
    names = image.metadata.get("channel_names") or read_axes(image.source.path, shape).channel_names
    told = isinstance(names, list | tuple) and len(names) == shape[letters.index(_CHANNEL)]
    return tuple(map(str, names)) if told else ()
