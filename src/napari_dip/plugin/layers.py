"""Layers to arrays and mask; results to layers, with the geometry of the layer they came from."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from napari.utils.transforms import Affine
from napari.viewer import Viewer
from numpy.typing import NDArray

from ..image_files import read_image, read_quantisation_table
from .mask_layers import read_mask_layer

# What a layer over the original takes from it. Contrast, because the result has the same units.
_KEPT = (
    "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "colormap", "gamma", "blending",
    "contrast_limits", "interpolation2d", "opacity", "rgb",
)  # fmt: skip
RECORD_KEY = "napari-dip"  # of a layer's metadata
_LARGEST_REGION = 192  # pixels a side of what is in view: enough to judge by, and done in seconds
_SMALLEST_REGION = 16
_TRANSFORMS = ("scale", "translate", "rotate", "shear")


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
    """

    image: NDArray
    mask: NDArray[np.bool_] | None
    quantisation_table: NDArray[np.float64] | None
    name: str
    appearance: dict[str, Any]
    layer_name: str
    path: str | None
    region: tuple[tuple[int, int], tuple[int, int]] | None = None

    def cut(self, region: tuple[slice, slice]) -> Source:
        """Return a part of the image and its mask, in its place; the steps of a JPEG no longer fit its blocks."""
        place = {name: self.appearance[name] for name in _TRANSFORMS}
        first = Affine(**place)([each.start for each in region])
        return dataclasses.replace(
            self,
            image=self.image[region],
            mask=None if self.mask is None else self.mask[region],
            quantisation_table=None,
            name=f"{self.name} region",
            appearance=self.appearance | {"translate": first},
            region=((region[0].start, region[0].stop), (region[1].start, region[1].stop)),
        )


def read_source(image: Image | None, labels: Labels | Shapes | None = None, label: int = 0) -> Source:
    """Read an Image layer and, if given, a Labels or Shapes layer over its missing pixels.

    Parameters
    ----------
    image : Image
        One plane, grey or RGB; of a multiscale layer the finest level is read.
    labels : Labels or Shapes, optional
        Anywhere in the same space.
    label : int
        Of a Labels layer the label that means missing, 0 for all labels.

    Raises
    ------
    ValueError
        In a sentence for the user.
    """
    if image is None:
        raise ValueError("there is no image; open one and choose it under Image.")
    data = image.data[0] if image.multiscale else image.data
    planes = data.ndim - (1 if image.rgb else 0)
    if planes != 2:
        raise ValueError(
            f'"{image.name}" has {planes} dimensions; only single planes are restored so far. '
            "Extract one: right-click the layer and choose Split Stack."
        )
    mask = None
    if labels is not None:
        mask = read_mask_layer(image, labels, data.shape[:2], label)
    settings = image.as_layer_data_tuple()[1]
    appearance = {key: copy.deepcopy(settings[key]) for key in _KEPT if key in settings}
    pixels = np.array(data)
    path = None if image.source.path is None else str(Path(image.source.path).absolute())
    return Source(pixels, mask, _read_quantisation_table(image, pixels), image.name, appearance, image.name, path)


def find_region(image: Image, active: object = None) -> tuple[slice, slice]:
    """Return the rows and columns to try settings on.

    Parameters
    ----------
    image : Image
        One plane, shown by a viewer.
    active : layer, optional
        A Shapes layer here means the bounding box of its last shape; else it is what is in view, its middle of at most
        192 pixels a side.

    Raises
    ------
    ValueError
        If less than 16 x 16 pixels of the image lie there.
    """
    sides = (image.data[0] if image.multiscale else image.data).shape[:2]
    drawn = isinstance(active, Shapes) and len(active.data) > 0
    if drawn:
        assert isinstance(active, Shapes)
        corners = np.array([image.world_to_data(active.data_to_world(vertex)) for vertex in active.data[-1]])[:, -2:]
        first, last = np.rint(corners.min(axis=0)).astype(int), np.rint(corners.max(axis=0)).astype(int)
    else:
        first, last = (np.asarray(corner, dtype=int)[:2] for corner in image.corner_pixels)
        if image.multiscale:  # counted in pixels of the level that is drawn
            shrunk = np.asarray(image.downsample_factors)[image.data_level][:2]
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
        The shape of ``source.image``, or a whole factor more rows and columns: its pixels are then that much smaller.
    suffix : str
        Follows the source's name.
    metadata : dict
        Goes into the layer's metadata.
    own_contrast : bool
        Whether the layer's intensities are of another kind than the source's and choose their own contrast.
    """
    appearance = source.appearance | _finer_geometry(source, data.shape[0] // source.image.shape[0])
    if own_contrast:
        appearance = {key: value for key, value in appearance.items() if key not in ("contrast_limits", "gamma")}
    layer = viewer.add_image(data, name=f"{source.name} {suffix}", metadata=metadata, **appearance)
    return layer if isinstance(layer, Image) else layer[0]


def _finer_geometry(source: Source, factor: int) -> dict[str, Any]:
    """Return scale and translate of a layer over the source with ``factor`` times its rows and columns."""
    if factor == 1:
        return {}
    place = {name: source.appearance[name] for name in _TRANSFORMS}
    # napari counts from pixel centres: the first small pixel lies half a pixel, less half a small one, before the first
    first = Affine(**place)([0.5 / factor - 0.5] * len(place["scale"]))
    return {"scale": np.asarray(place["scale"]) / factor, "translate": first}
