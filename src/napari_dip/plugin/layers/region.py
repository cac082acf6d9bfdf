"""The part of an image to try settings on: the region in view, or a shape."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Shapes

from .layer_axes import find_layer_axes

_LARGEST = 192  # pixels per side of the region in view: enough to judge by, and quick
_SMALLEST = 16


def find_region(image: Image, active: object = None) -> tuple[slice, slice]:
    """Return the rows and columns to try settings on.

    Parameters
    ----------
    image : Image
        Shown in a viewer.
    active : layer, optional
        If this is a Shapes layer, the bounding box of its last shape; otherwise the middle of the region in view, at
        most 192 pixels per side.

    Raises
    ------
    ValueError
        If the region has fewer than 16 x 16 pixels of the image.
    """
    axes = find_layer_axes(image).axes
    sides = axes.size("Y"), axes.size("X")
    drawn = isinstance(active, Shapes) and len(active.data) > 0
    if drawn:
        assert isinstance(active, Shapes)
        leading = np.zeros(max(0, image.ndim - active.ndim))  # for axes that the shape does not have
        drawn_in_world = (np.array([*leading, *active.data_to_world(vertex)]) for vertex in active.data[-1])
        corners = np.array([image.world_to_data(vertex[-image.ndim :]) for vertex in drawn_in_world])[:, -2:]
        first, last = np.rint(corners.min(axis=0)).astype(int), np.rint(corners.max(axis=0)).astype(int)
    else:
        first, last = (np.asarray(corner, dtype=int)[-2:] for corner in image.corner_pixels)
        if image.multiscale:  # corner_pixels counts pixels of the level that is drawn
            shrunk = np.asarray(image.downsample_factors)[image.data_level][: image.ndim][-2:]
            first, last = (np.rint(corner * shrunk).astype(int) for corner in (first, last))
    region = []
    for low, high, side in zip(first, last, sides, strict=True):
        low, high = max(0, int(low)), min(side, int(high) + 1)
        if not drawn and high - low > _LARGEST:
            low = (low + high - _LARGEST) // 2
            high = low + _LARGEST
        if high - low < _SMALLEST:
            where = "the last shape covers" if drawn else "the view shows"
            raise ValueError(f"{where} too little of the image: at least 16 x 16 pixels are needed.")
        region.append(slice(low, high))
    return region[0], region[1]
