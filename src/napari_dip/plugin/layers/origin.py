"""The layer that a run started from; during the run, the user may rename, move, change or remove it."""

from __future__ import annotations

import inspect
import weakref
from typing import Any

from napari.layers import Image
from napari.viewer import Viewer

from .layer_axes import find_array


class Origin:
    """Remembers a layer and its pixels without keeping either alive."""

    def __init__(self, image: Image) -> None:
        array = find_array(image)
        self._layer = weakref.ref(inspect.unwrap(image))  # napari gives plugins wrappers, which do not last
        self._shape = tuple(array.shape)
        self._array: Any
        try:
            self._array = weakref.ref(inspect.unwrap(array))
        except TypeError:  # some arrays have no weak references
            self._array = None

    def find(self, viewer: Viewer) -> Image | None:
        """Return the layer, if the viewer still has it."""
        layer = self._layer()
        return layer if layer is not None and layer in viewer.layers else None

    def has_same_shape(self, layer: Image) -> bool:
        """Return whether the layer still has the same shape; otherwise its place says nothing about the old pixels."""
        return tuple(find_array(layer).shape) == self._shape

    def has_new_pixels(self, viewer: Viewer) -> bool:
        """Return whether the layer has been given another array."""
        layer = self.find(viewer)
        return layer is not None and self._array is not None and self._array() is not inspect.unwrap(find_array(layer))
