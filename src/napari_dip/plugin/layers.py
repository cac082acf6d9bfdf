"""Layers to arrays and mask; results to layers, with the geometry of the layer they came from."""

from __future__ import annotations

import copy
import dataclasses
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from napari.utils.transforms import Affine
from napari.viewer import Viewer
from numpy.typing import ArrayLike, NDArray

from ..image_files import read_image, read_quantisation_table
from ..many.axes import Axes
from .layer_axes import LayerAxes, count_dimensions, find_array, find_layer_axes
from .mask_layers import find_stack_marks, read_mask_layer
from .origin import Origin
from .pixel_size import PIXEL_SIZE_KEY, find_pixel_size

# What a layer over the original takes from it. Contrast, because the result has the same units.
_KEPT = (
    "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "colormap", "gamma", "blending",
    "contrast_limits", "interpolation2d", "opacity", "rgb", "rendering",
)  # fmt: skip
RECORD_KEY = "napari-dip"  # of a layer's metadata
_LARGEST_REGION = 192  # pixels a side of what is in view: enough to judge by, and done in seconds
_SMALLEST_REGION = 16
_TRANSFORMS = ("scale", "translate", "rotate", "shear")
_PLACE = (*_TRANSFORMS, "affine", "units")
_made: weakref.WeakSet[Layer] = weakref.WeakSet()


AnySource = TypeVar("AnySource", bound=Any)  # Source or StackSource


@dataclass(frozen=True, slots=True)
class Source:
    """What a run takes from a layer, captured when it starts, so that later changes of the layer do not matter.

    Attributes
    ----------
    image : ndarray
        ``(h, w)`` or ``(h, w, 3 or 4)``, a copy.
    mask : ndarray or None
        ``(h, w)`` bool, True = missing.
    quantisation_table : ndarray or None
        ``(8, 8)`` steps, if the layer shows a grey JPEG file, unchanged.
    name : str
        The layer's.
    appearance : dict
        Keyword arguments of ``add_image`` that put a layer exactly over the source.
    layer_name : str
        The layer's own name, where ``name`` is that of a region.
    path : str or None
        The file that the layer was opened from.
    region : tuple or None
        ``((first row, end row), (first column, end column))`` of a part.
    axes : Axes or None
        If it is one plane of a stack: the stack's axes, with a length of 1 along those that are stepped through.
    metadata : dict
        What else the layer holds: names of channels and the like.
    first : tuple of float
        Where in the layer, counted in its pixels, the image begins.
    origin : Origin or None
        The layer.
    """

    image: NDArray
    mask: NDArray[np.bool_] | None
    quantisation_table: NDArray[np.float64] | None
    name: str
    appearance: dict[str, Any]
    layer_name: str
    path: str | None
    region: tuple[tuple[int, int], tuple[int, int]] | None = None
    axes: Axes | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    first: tuple[float, ...] = ()
    origin: Origin | None = None

    @property
    def colours(self) -> bool:
        """Whether the image's channels, if it has any, are colours of one light."""
        return self.axes is None or not self.axes.takes_channels_together

    @property
    def dtype(self) -> np.dtype:
        """The pixel type."""
        return self.image.dtype

    def as_now(self, viewer: Viewer) -> Source:
        """Return this source with the name and the place that its layer has now, if it still has one."""
        return follow_origin(self, viewer, self.first)

    def spread(self, image: NDArray) -> NDArray:
        """Return an image of this plane as a layer over the original holds it: with all axes of the original."""
        return image if self.axes is None else self.axes.spread(image)

    def cut(self, region: tuple[slice, slice]) -> Source:
        """Return a part of the image and its mask, in its place; the steps of a JPEG no longer fit its blocks."""
        ahead = len(self.appearance["scale"]) - 2
        corner = [0.0] * ahead + [float(each.start) for each in region]
        return dataclasses.replace(
            self,
            image=self.image[region],
            mask=None if self.mask is None else self.mask[region],
            quantisation_table=None,
            name=f"{self.name} region",
            appearance=self.appearance | {"translate": find_place(self.appearance, corner)},
            first=tuple(np.add(self.first or np.zeros(len(corner)), corner)),
            region=((region[0].start, region[0].stop), (region[1].start, region[1].stop)),
        )


def read_source(
    image: Image | None,
    labels: Labels | Shapes | None = None,
    label: int = 0,
    *,
    of: LayerAxes | None = None,
    at: Mapping[str, int] | None = None,
) -> Source:
    """Read one plane of an Image layer and, if given, a Labels or Shapes layer over its missing pixels.

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
    at : mapping, optional
        Which plane of a stack: the number along each axis that is stepped through.

    Raises
    ------
    ValueError
        In a sentence for the user.
    """
    if image is None:
        raise ValueError("there is no image; open one and choose it under Image.")
    if count_dimensions(image) < 2:
        raise ValueError(f'"{image.name}" has one dimension; an image has two.')
    found = of or find_layer_axes(image)
    axes = found.axes
    (plane,) = axes.planes(dict.fromkeys(axes.stepped, 0) | dict(at or {}))
    pixels = np.array(axes.read(find_array(image), plane))
    mask = None
    if labels is not None:
        marks = find_stack_marks(image, axes.shape[: image.ndim], labels, label) if axes.stepped else None
        if marks is None:
            mask = read_mask_layer(image, labels, pixels.shape[:2], label)
        else:
            mask = axes.read_mask(marks, plane)
            if not mask.any():
                raise ValueError(f'the mask "{labels.name}" marks nothing at {found.describe(plane)}.')
    appearance = read_appearance(image)
    name = image.name
    table = None
    corner = np.zeros(image.ndim)
    if image.ndim == 2:
        table = _read_quantisation_table(image, pixels)
    else:
        _, first = axes.part({letter: slice(number, number + 1) for letter, number in plane.place.items()})
        corner = np.array(first[: image.ndim], dtype=float)
        appearance["translate"] = find_place(appearance, corner)
        name = f"{name} ({found.describe(plane)})" if plane.place else name
    path = None if image.source.path is None else str(Path(image.source.path).absolute())
    return Source(
        pixels, mask, table, name, appearance, image.name, path, axes=axes if image.ndim > 2 else None,
        metadata=read_metadata(image, found), first=tuple(corner), origin=Origin(image),
    )  # fmt: skip


def read_appearance(image: Image) -> dict[str, Any]:
    """Return keyword arguments of ``add_image`` that put a layer exactly over another, and draw it alike."""
    settings = image.as_layer_data_tuple()[1]
    return {key: copy.deepcopy(settings[key]) for key in _KEPT if key in settings}


def follow_origin(source: AnySource, viewer: Viewer, first: Sequence[float]) -> AnySource:
    """Return a source with the name and the place that its layer has now, if the viewer still has it.

    Parameters
    ----------
    source : Source or StackSource
    viewer : Viewer
    first : sequence of float
        The pixel of the layer at which the source begins.
    """
    layer = None if source.origin is None else source.origin.find(viewer)
    if layer is None or source.origin is None:
        return source
    appearance = source.appearance
    if source.origin.is_as_large(layer):
        now = read_appearance(layer)
        appearance = appearance | {name: now[name] for name in _PLACE if name in now}
        appearance["translate"] = find_place(now, first)
    name = f"{layer.name}{source.name.removeprefix(source.layer_name)}"
    return dataclasses.replace(source, name=name, layer_name=layer.name, appearance=appearance)


def read_place_of_planes(image: Image) -> dict[str, Any]:
    """Return keyword arguments that put a layer of two dimensions exactly over every plane of an image."""
    settings = image.as_layer_data_tuple()[1]
    names = (*_PLACE, "axis_labels")
    if image.ndim == 2:
        return {name: settings[name] for name in names if name in settings}
    ahead = np.zeros(image.ndim - 2)
    first, down, right = (
        np.array(image.data_to_world([*ahead, *pixel]))[-2:] for pixel in ((0, 0), (1, 0), (0, 1))
    )  # fmt: skip
    affine = np.eye(3)
    affine[:2] = np.column_stack([down - first, right - first, first])
    return {"affine": affine} | {name: settings[name][-2:] for name in ("units", "axis_labels") if name in settings}


def read_metadata(image: Image, of: LayerAxes) -> dict[str, Any]:
    """Return what a layer's metadata hold beside our own: a result keeps them.

    With them come the names of channels and, where the layer itself has none, the size of a pixel as its file has them.
    """
    kept = {key: value for key, value in image.metadata.items() if key not in (RECORD_KEY, PIXEL_SIZE_KEY)}
    size = find_pixel_size(image)
    of_file = {"channel_names": list(of.channel_names)} if of.channel_names else {}
    return of_file | ({} if size is None else {PIXEL_SIZE_KEY: size}) | kept


def find_place(appearance: Mapping[str, Any], first: ArrayLike) -> NDArray[np.float64]:
    """Return the translation of a layer whose first pixel lies at these coordinates of a layer that looks like this."""
    return np.asarray(Affine(**{name: appearance[name] for name in _TRANSFORMS})(first))


def find_region(image: Image, active: object = None) -> tuple[slice, slice]:
    """Return the rows and columns to try settings on.

    Parameters
    ----------
    image : Image
        Shown by a viewer.
    active : layer, optional
        A Shapes layer here means the bounding box of its last shape; else it is what is in view, its middle of at most
        192 pixels a side.

    Raises
    ------
    ValueError
        If less than 16 x 16 pixels of the image lie there.
    """
    axes = find_layer_axes(image).axes
    sides = axes.size("Y"), axes.size("X")
    drawn = isinstance(active, Shapes) and len(active.data) > 0
    if drawn:
        assert isinstance(active, Shapes)
        ahead = np.zeros(max(0, image.ndim - active.ndim))  # of axes that the shape does not have
        drawn_in_world = (np.array([*ahead, *active.data_to_world(vertex)]) for vertex in active.data[-1])
        corners = np.array([image.world_to_data(vertex[-image.ndim :]) for vertex in drawn_in_world])[:, -2:]
        first, last = np.rint(corners.min(axis=0)).astype(int), np.rint(corners.max(axis=0)).astype(int)
    else:
        first, last = (np.asarray(corner, dtype=int)[-2:] for corner in image.corner_pixels)
        if image.multiscale:  # counted in pixels of the level that is drawn
            shrunk = np.asarray(image.downsample_factors)[image.data_level][: image.ndim][-2:]
            first, last = (np.rint(corner * shrunk).astype(int) for corner in (first, last))
    region = []
    for low, high, side in zip(first, last, sides, strict=True):
        low, high = max(0, int(low)), min(side, int(high) + 1)
        if not drawn and high - low > _LARGEST_REGION:
            low = (low + high - _LARGEST_REGION) // 2
            high = low + _LARGEST_REGION
        if high - low < _SMALLEST_REGION:
            where = "the last shape covers" if drawn else "in view are"
            raise ValueError(f"{where} too few pixels of the image to restore: at least 16 x 16 are needed.")
        region.append(slice(low, high))
    return region[0], region[1]


def _read_quantisation_table(image: Image, pixels: NDArray) -> NDArray[np.float64] | None:
    """Return the table of the JPEG file that the layer was opened from, if it still shows that file's pixels."""
    if image.source.path is None:
        return None
    path = Path(image.source.path)
    try:
        table = read_quantisation_table(path)
        return table if table is not None and np.array_equal(read_image(path), pixels) else None
    except ValueError:  # moved or gone: the steps are then estimated
        return None


def add_over(
    viewer: Viewer, source: Source, data: NDArray, suffix: str, metadata: dict[str, Any], *, own_contrast: bool = False
) -> Image:
    """Add an image layer exactly over the source; a name that exists is numbered, never overwritten.

    Parameters
    ----------
    viewer : Viewer
    source : Source
    data : ndarray
        As ``source.spread`` returns it, or a whole factor more rows and columns: its pixels are then that much smaller.
    suffix : str
        Follows the source's name.
    metadata : dict
        Goes into the layer's metadata.
    own_contrast : bool
        Whether the layer's intensities are of another kind than the source's and choose their own contrast.
    """
    return add_looking_like(
        viewer, source.appearance, find_factor(source, data), data, f"{source.name} {suffix}", metadata,
        own_contrast=own_contrast,
    )  # fmt: skip


def find_factor(source: Source, data: NDArray) -> int:
    """Return how many times more rows than its source an image has, which ``source.spread`` returned."""
    return data.shape[-3 if source.appearance.get("rgb") else -2] // source.image.shape[0]


def add_looking_like(
    viewer: Viewer,
    appearance: Mapping[str, Any],
    factor: int,
    data: NDArray,
    name: str,
    metadata: dict[str, Any],
    *,
    own_contrast: bool = False,
) -> Image:
    """Add an image layer with the place and the look of another, whose pixels are ``factor`` times as large."""
    appearance = {**appearance, **lay_over(appearance, factor)}
    if own_contrast:
        appearance = {key: value for key, value in appearance.items() if key not in ("contrast_limits", "gamma")}
    layer = Image(data, name=name, metadata=metadata, **appearance)
    _made.add(layer)  # before the viewer selects it
    viewer.add_layer(layer)
    return layer


def is_made_here(layer: Layer) -> bool:
    """Return whether this plugin made a layer: a result, or what is shown on the way to one."""
    return layer in _made or RECORD_KEY in layer.metadata


def find_whole_place(
    appearance: Mapping[str, Any], factor: int = 1, first: Sequence[float] | NDArray = ()
) -> dict[str, Any]:
    """Return all that says where a layer lies, as ``lay_over`` takes and returns it."""
    return {name: appearance[name] for name in _PLACE if name in appearance} | lay_over(appearance, factor, first)


def lay_over(appearance: Mapping[str, Any], factor: int = 1, first: Sequence[float] | NDArray = ()) -> dict[str, Any]:
    """Return scale and translation of a layer over another, with ``factor`` times its rows and columns.

    Parameters
    ----------
    appearance : mapping
        Of the other layer.
    factor : int
    first : sequence of float, optional
        The pixel of the other layer at which it begins; by default the first.
    """
    scale = np.array(appearance["scale"], dtype=float)
    corner = np.array(first, dtype=float) if len(first) else np.zeros(len(scale))
    if factor == 1 and not corner.any():
        return {"scale": appearance["scale"], "translate": appearance["translate"]}
    scale[-2:] /= factor
    # napari counts from pixel centres: the first small pixel lies half a pixel, less half a small one, before the first
    corner[-2:] += 0.5 / factor - 0.5
    return {"scale": scale, "translate": find_place(appearance, corner)}
