"""The part of an image to try settings on: what is in view, or what is drawn around."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Shapes

from .layer_axes import find_layer_axes

_LARGEST = 192  # pixels a side of what is in view: enough to judge by, and done in seconds
_SMALLEST = 16


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
        if not drawn and high - low > _LARGEST:
            low = (low + high - _LARGEST) // 2
            high = low + _LARGEST
        if high - low < _SMALLEST:
            where = "the last shape covers" if drawn else "in view are"
            raise ValueError(f"{where} too few pixels of the image to restore: at least 16 x 16 are needed.")
        region.append(slice(low, high))
    return region[0], region[1]
