"""What a run takes from a layer: the planes that are wanted, one or many, or a region of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from napari.viewer import Viewer
from numpy.typing import NDArray

from ...image_files import read_image, read_quantisation_table
from ...many.axes import Axes, Plane
from .layer_axes import LayerAxes, count_dimensions, find_array, find_layer_axes
from .made_layers import RECORD_KEY
from .mask_layers import StackMarks, find_stack_marks, read_mask_layer
from .origin import Origin
from .pixel_size import PIXEL_SIZE_KEY, find_pixel_size
from .placement import PLACE, find_place, read_appearance

Place = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The planes of a layer that are wanted, as they were when the run was started.

    Attributes
    ----------
    array : array
        With the axes of the layer. Of many planes it is the layer's own, numpy, dask or zarr, of which one plane at a
        time is read; a single plane is a copy, of length 1 along the axes that are stepped through.
    of : LayerAxes
        Of the array.
    selection : mapping
        Which planes of the array: a slice without gaps for the letters of some axes; all of the others.
    mask : array or None
        True = missing, ``(h, w)`` for all planes or of the array's shape.
    name : str
        The layer's, with the place of a single plane.
    layer_name : str
        The layer's own name.
    appearance : dict
        Keyword arguments of ``add_image`` that put the planes that are wanted exactly over the layer.
    first : tuple of float
        Where in the layer, counted in its pixels, they begin.
    path : str or None
        The file that the layer was opened from.
    metadata : dict
        What else the layer holds: names of channels and the like.
    origin : Origin
        The layer.
    parameters : mapping
        What tasks may take, as ``restore`` does, that comes with the layer: the ``quantisation_table`` of a grey JPEG
        file, if the layer shows it unchanged.
    region : tuple or None
        ``((first row, end row), (first column, end column))`` of a part.
    """

    array: Any
    of: LayerAxes
    selection: Mapping[str, slice]
    mask: Any
    name: str
    layer_name: str
    appearance: dict[str, Any]
    first: tuple[float, ...]
    path: str | None
    metadata: dict[str, Any]
    origin: Origin
    parameters: Mapping[str, Any] = field(default_factory=dict)
    region: tuple[tuple[int, int], tuple[int, int]] | None = None

    @property
    def axes(self) -> Axes:
        """Of the array."""
        return self.of.axes

    @property
    def part(self) -> Axes:
        """The axes of the planes that are wanted."""
        return self.axes.part(self.selection)[0]

    @property
    def is_single(self) -> bool:
        """Whether one plane is wanted, and no more."""
        return self.part.count == 1

    @property
    def dtype(self) -> np.dtype:
        """The pixel type."""
        return np.dtype(self.array.dtype)

    @property
    def image(self) -> NDArray:
        """The pixels of the first plane, ``(h, w)`` or ``(h, w, c)``: of a single one, all there is."""
        return self.axes.read(self.array, next(self.planes()))

    def planes(self) -> Iterator[Plane]:
        """Return the planes that are wanted, in order."""
        return self.axes.planes(self.selection)

    def find_corner(self, plane: Plane) -> Place:
        """Return the pixel at which a plane begins in a layer of all that are wanted."""
        index = plane.seen_from(self.axes.part(self.selection)[1]).index
        return tuple(0 if isinstance(at, slice) else at for at in index)[: len(self.first)]

    def describe(self, plane: Plane) -> str:
        """Return which plane it is in the user's words, such as "t 3, GFP"; empty of a single one."""
        return "" if self.is_single else self.of.describe(plane)

    def as_now(self, viewer: Viewer) -> Source:
        """Return this source with the name and the place that its layer has now, if the viewer still has it."""
        layer = self.origin.find(viewer)
        if layer is None:
            return self
        appearance = self.appearance
        if self.origin.is_as_large(layer):
            now = read_appearance(layer)
            appearance = appearance | {name: now[name] for name in PLACE if name in now}
            appearance["translate"] = find_place(now, self.first)
        name = f"{layer.name}{self.name.removeprefix(self.layer_name)}"
        return dataclasses.replace(self, name=name, layer_name=layer.name, appearance=appearance)

    def cut(self, region: tuple[slice, slice]) -> Source:
        """Return a part of a single plane and its mask, in its place; the steps of a JPEG no longer fit its blocks."""
        within = dict(zip("YX", region, strict=True))
        array = self.array[tuple(within.get(letter, slice(None)) for letter in self.axes.letters)]
        corner = [0.0] * (len(self.first) - 2) + [float(each.start) for each in region]
        return dataclasses.replace(
            self,
            array=array,
            of=dataclasses.replace(self.of, axes=dataclasses.replace(self.axes, shape=array.shape)),
            mask=None if self.mask is None else self.mask[region],
            parameters={},
            name=f"{self.name} region",
            appearance=self.appearance | {"translate": find_place(self.appearance, corner)},
            first=tuple(np.add(self.first, corner)),
            region=((region[0].start, region[0].stop), (region[1].start, region[1].stop)),
        )


def place_of(plane: Plane) -> Place:
    """Return the place of a plane, as a key."""
    return tuple(plane.place.values())


def read_source(
    image: Image | None,
    labels: Labels | Shapes | None = None,
    label: int = 0,
    *,
    of: LayerAxes | None = None,
    selection: Mapping[str, slice] | None = None,
) -> Source:
    """Take what a run needs from an Image layer and, if given, a Labels or Shapes layer over its missing pixels.

    Parameters
    ----------
    image : Image
        Grey or RGB; of a multiscale layer the finest level is read.
    labels : Labels or Shapes, optional
        Of one plane, anywhere in the same space; or on the pixels of the whole stack.
    label : int
        Of a Labels layer the label that means missing, 0 for all labels.
    of : LayerAxes, optional
        The axes of the layer, as ``find_layer_axes`` finds them by default.
    selection : mapping, optional
        Which planes, as ``Source`` has it; by default the first along all axes.

    Raises
    ------
    ValueError
        In a sentence for the user.
    """
    if image is None:
        raise ValueError("there is no image; open one and choose it under Image.")
    if count_dimensions(image) < 2:
        raise ValueError(f'"{image.name}" has one dimension; an image has two.')
    array = find_array(image)
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "fiub":
        raise ValueError(f'"{image.name}" has pixels of type {dtype}; they must be real numbers.')
    of = of or find_layer_axes(image)
    axes = of.axes
    selection = dict.fromkeys(axes.stepped, slice(1)) if selection is None else dict(selection)
    part, begin = axes.part(selection)
    first = begin[: image.ndim]
    appearance = read_appearance(image)
    appearance["translate"] = find_place(appearance, first)
    path = None if image.source.path is None else str(Path(image.source.path).absolute())
    source = Source(
        array, of, selection, None, image.name, image.name, appearance, first, path, read_metadata(image, of),
        Origin(image),
    )  # fmt: skip
    mask: Any = None
    if labels is not None:
        marks = find_stack_marks(image, axes.shape[: image.ndim], labels, label) if axes.stepped else None
        mask = marks or read_mask_layer(image, labels, (axes.size("Y"), axes.size("X")), label)
    if part.count > 1:
        return dataclasses.replace(source, mask=mask.as_now() if isinstance(mask, StackMarks) else mask)
    (plane,) = source.planes()
    place = of.describe(plane)
    if labels is not None and isinstance(mask, StackMarks):
        mask = axes.read_mask(mask, plane)
        if not mask.any():
            raise ValueError(f'the mask "{labels.name}" marks nothing at {place}.')
    pixels = np.array(axes.read(array, plane))
    return dataclasses.replace(
        source, array=axes.spread(pixels), of=dataclasses.replace(of, axes=part), selection={}, mask=mask,
        name=f"{image.name} ({place})" if place else image.name,
        parameters=_read_parameters(image, pixels) if image.ndim == 2 else {},
    )  # fmt: skip


def read_metadata(image: Image, of: LayerAxes) -> dict[str, Any]:
    """Return what a layer's metadata hold beside our own: a result keeps them.

    With them come the names of channels and, where the layer itself has none, the size of a pixel as its file has them.
    """
    kept = {key: value for key, value in image.metadata.items() if key not in (RECORD_KEY, PIXEL_SIZE_KEY)}
    size = find_pixel_size(image)
    of_file = {"channel_names": list(of.channel_names)} if of.channel_names else {}
    return of_file | ({} if size is None else {PIXEL_SIZE_KEY: size}) | kept


def _read_parameters(image: Image, pixels: NDArray) -> dict[str, Any]:
    """Return the table of the JPEG file that the layer was opened from, if it still shows that file's pixels."""
    if image.source.path is None:
        return {}
    path = Path(image.source.path)
    try:
        table = read_quantisation_table(path)
        shown = table is not None and np.array_equal(read_image(path), pixels)
    except ValueError:  # moved or gone: the steps are then estimated
        return {}
    return {"quantisation_table": table} if shown else {}
