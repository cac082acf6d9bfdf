"""What a run takes from a layer: one plane, several planes, or a region of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from napari.viewer import Viewer
from numpy.typing import NDArray

from ...image_files import read_image, read_quantisation_table
from ...many.axes import Axes, Plane
from ...many.image_stack import PLANES_TOGETHER
from ...many.neighbours import find_helping_axes
from .array_part import take_part
from .layer_axes import LayerAxes, count_dimensions, find_array, find_layer_axes
from .mask_layers import StackMarks, cut_mask, find_stack_marks, read_mask_layer
from .origin import Origin
from .own_layers import RECORD_KEY
from .pixel_size import PIXEL_SIZE_KEY, find_pixel_size
from .placement import PLACEMENT, find_translation, read_appearance

Place = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The planes of a layer to restore, as they were when the run started.

    Attributes
    ----------
    array : array
        Has the axes of the layer. For several planes it is the layer's own array (numpy, dask or zarr); for a single
        plane a part of it, of length 1 along the axes that are stepped through, or a few planes long if neighbours
        help. Only a small part in memory has been copied; the worker reads everything else, one plane at a time, and
        then keeps what it has read.
    layer_axes : LayerAxes
        The axes of the array.
    selection : mapping
        Which planes of the array: a slice without gaps by the letter of an axis; everything along the other axes.
    mask : array or None
        True = missing, ``(h, w)`` for all planes or with the array's shape; may be read when it is indexed.
    name : str
        The layer's name, followed by the position if it is a single plane.
    layer_name : str
        The layer's own name.
    appearance : dict
        Keyword arguments of ``add_image`` that place the chosen planes exactly over the layer.
    first : tuple of float
        The pixel of the layer where they start.
    path : str or None
        The file that the layer was opened from.
    metadata : dict
        What else the layer's metadata hold, such as channel names.
    origin : Origin
        The layer.
    jpeg : Path or None
        The file that the layer shows, if its quantisation table may belong to the pixels.
    region : tuple or None
        ``((first row, end row), (first column, end column))`` if only a part of the plane is restored.
    in_layer : (Axes, Plane) or None
        For a single plane: the axes of the whole layer, and which of its planes this is.
    """

    array: Any
    layer_axes: LayerAxes
    selection: Mapping[str, slice]
    mask: Any
    name: str
    layer_name: str
    appearance: dict[str, Any]
    first: tuple[float, ...]
    path: str | None
    metadata: dict[str, Any]
    origin: Origin
    jpeg: Path | None = None
    region: tuple[tuple[int, int], tuple[int, int]] | None = None
    in_layer: tuple[Axes, Plane] | None = None

    @property
    def axes(self) -> Axes:
        """The axes of the array."""
        return self.layer_axes.axes

    @property
    def part(self) -> Axes:
        """The axes of the chosen planes."""
        return self.axes.part(self.selection)[0]

    @property
    def is_single(self) -> bool:
        """Whether only one plane is restored."""
        return self.part.count == 1

    @property
    def dtype(self) -> np.dtype:
        """The array's pixel type."""
        return np.dtype(self.array.dtype)

    @property
    def image(self) -> NDArray:
        """The pixels of the first, or the only, plane: ``(h, w)`` or ``(h, w, c)``; they may have to be read."""
        return self.axes.read(self.array, next(self.planes()))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters of tasks that come with the layer; to be asked for in the worker, because files are read.

        The ``quantisation_table`` of a grey JPEG file, if the layer shows the file unchanged.
        """
        return {} if self.jpeg is None else _read_parameters(self.jpeg, self.image)

    def planes(self) -> Iterator[Plane]:
        """Return the chosen planes in order."""
        return self.axes.planes(self.selection)

    def find_corner(self, plane: Plane) -> Place:
        """Return the pixel where a plane starts in a layer that holds the chosen planes."""
        index = plane.seen_from(self.axes.part(self.selection)[1]).index
        return tuple(0 if isinstance(at, slice) else at for at in index)[: len(self.first)]

    def describe(self, plane: Plane) -> str:
        """Return a plane's position in the user's words, such as "t 3, GFP"; empty for a single plane."""
        return "" if self.is_single else self.layer_axes.describe(plane)

    def follow_layer(self, viewer: Viewer) -> Source:
        """Return this source with its layer's present name and place, if the viewer still has the layer."""
        layer = self.origin.find(viewer)
        if layer is None:
            return self
        appearance = self.appearance
        if self.origin.has_same_shape(layer):
            now = read_appearance(layer)
            appearance = appearance | {name: now[name] for name in PLACEMENT if name in now}
            appearance["translate"] = find_translation(now, self.first)
        name = f"{layer.name}{self.name.removeprefix(self.layer_name)}"
        return dataclasses.replace(self, name=name, layer_name=layer.name, appearance=appearance)

    def cut(self, region: tuple[slice, slice]) -> Source:
        """Return a region of a single plane and its mask, without a JPEG's table: the blocks no longer fit."""
        within = dict(zip("YX", region, strict=True))
        array = self.array[tuple(within.get(letter, slice(None)) for letter in self.axes.letters)]
        corner = [0.0] * (len(self.first) - 2) + [float(each.start) for each in region]
        return dataclasses.replace(
            self,
            array=array,
            layer_axes=dataclasses.replace(self.layer_axes, axes=dataclasses.replace(self.axes, shape=array.shape)),
            mask=self._cut_mask(region),
            jpeg=None,
            name=f"{self.name} region",
            appearance=self.appearance | {"translate": find_translation(self.appearance, corner)},
            first=tuple(np.add(self.first, corner)),
            region=((region[0].start, region[0].stop), (region[1].start, region[1].stop)),
        )

    def _cut_mask(self, region: tuple[slice, slice]) -> Any:
        if not isinstance(self.mask, np.ndarray) or self.mask.ndim == 2:
            return cut_mask(self.mask, region)
        within = dict(zip("YX", region, strict=True))  # each of the planes that help has its own
        return self.mask[tuple(within.get(letter, slice(None)) for letter in self.axes.letters[: self.mask.ndim])]


def place_of(plane: Plane) -> Place:
    """Return a plane's position as a tuple, to use as a key."""
    return tuple(plane.place.values())


def read_source(
    image: Image | None,
    labels: Labels | Shapes | None = None,
    label: int = 0,
    *,
    layer_axes: LayerAxes | None = None,
    selection: Mapping[str, slice] | None = None,
    with_neighbours: bool = False,
) -> Source:
    """Find in an Image layer what a run needs, with a mask from a Labels or Shapes layer if there is one.

    Pixels of the image are read later, in the worker, but the mask now: the user may go on painting. A mask of many
    pixels is read at the start of the run, because it would hold the window.

    Parameters
    ----------
    image : Image
        Grey or RGB; a multiscale layer is read at its finest level.
    labels : Labels or Shapes, optional
        With one plane, anywhere in the same space; or on the pixel grid of the stack.
    label : int
        Which label of a Labels layer means missing; 0 for all labels.
    layer_axes : LayerAxes, optional
        The axes of the layer; by default as ``find_layer_axes`` finds them.
    selection : mapping, optional
        Which planes, as in ``Source``; by default the first along every axis.
    with_neighbours : bool
        Whether a single plane is to come with the neighbouring planes that help to restore it.

    Raises
    ------
    ValueError
        With a message for the user.
    """
    if image is None:
        raise ValueError("there is no image; open one and choose it under Image.")
    if count_dimensions(image) < 2:
        raise ValueError(f'"{image.name}" has one dimension; an image needs two.')
    array = find_array(image)
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "fiub":
        raise ValueError(f'"{image.name}" has pixels of type {dtype}; they must be real numbers.')
    layer_axes = layer_axes or find_layer_axes(image)
    axes = layer_axes.axes
    selection = dict.fromkeys(axes.stepped, slice(1)) if selection is None else dict(selection)
    part, begin = axes.part(selection)
    first = begin[: image.ndim]
    appearance = read_appearance(image)
    appearance["translate"] = find_translation(appearance, first)
    path = None if image.source.path is None else str(Path(image.source.path).absolute())
    source = Source(
        array, layer_axes, selection, None, image.name, image.name, appearance, first, path,
        read_metadata(image, layer_axes), Origin(image),
    )  # fmt: skip
    mask: Any = None
    if labels is not None:
        marks = find_stack_marks(image, axes.shape[: image.ndim], labels, label) if axes.stepped else None
        mask = marks or read_mask_layer(image, labels, (axes.size("Y"), axes.size("X")), label)
    if part.count > 1:
        return dataclasses.replace(source, mask=mask.freeze() if isinstance(mask, StackMarks) else mask)
    (plane,) = source.planes()
    place = layer_axes.describe(plane)
    around = {letter: _widen(plane, letter, axes) for letter in find_helping_axes(axes)} if with_neighbours else {}
    part, begin = axes.part({**selection, **around})
    within = [slice(start, start + length) for start, length in zip(begin, part.shape, strict=True)]
    own: dict[str, slice] = {}
    if around:
        starts = dict(zip(axes.letters, begin, strict=True))
        own = {letter: slice(n - starts[letter], n - starts[letter] + 1) for letter, n in plane.place.items()}
    if labels is not None and isinstance(mask, StackMarks):
        marks, mask = mask, axes.read_mask(mask, plane)
        if not mask.any():
            raise ValueError(f'the mask "{labels.name}" marks nothing at {place}.')
        if around:  # each plane has its own
            mask = marks[tuple(within[: image.ndim])]
    return dataclasses.replace(
        source, array=take_part(array, within), layer_axes=dataclasses.replace(layer_axes, axes=part), selection=own,
        mask=mask, name=f"{image.name} ({place})" if place else image.name,
        jpeg=Path(path) if image.ndim == 2 and path is not None else None, in_layer=(axes, plane),
    )  # fmt: skip


def _widen(plane: Plane, letter: str, axes: Axes) -> slice:
    """Return the planes around a plane along an axis, those that may help it."""
    numbers = [each.place[letter] for each in axes.planes_around(plane, letter, PLANES_TOGETHER)]
    return slice(numbers[0], numbers[-1] + 1)


def read_metadata(image: Image, layer_axes: LayerAxes) -> dict[str, Any]:
    """Return the metadata that a result keeps: the layer's own, without ours.

    Channel names, and the pixel size if the layer itself has none, are added from the file.
    """
    kept = {key: value for key, value in image.metadata.items() if key not in (RECORD_KEY, PIXEL_SIZE_KEY)}
    size = find_pixel_size(image)
    from_file = {"channel_names": list(layer_axes.channel_names)} if layer_axes.channel_names else {}
    return from_file | ({} if size is None else {PIXEL_SIZE_KEY: size}) | kept


def _read_parameters(path: Path, pixels: NDArray) -> dict[str, Any]:
    """Return the quantisation table of the layer's JPEG file, if the layer still shows that file's pixels."""
    try:
        table = read_quantisation_table(path)
        shown = table is not None and np.array_equal(read_image(path), pixels)
    except ValueError:  # the file has moved; the table is then estimated
        return {}
    return {"quantisation_table": table} if shown else {}
