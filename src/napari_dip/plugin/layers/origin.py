"""The layer that a run began with, which may meanwhile be renamed, moved, given other pixels, or removed."""

from __future__ import annotations

import inspect
import weakref
from typing import Any

from napari.layers import Image
from napari.viewer import Viewer

from .layer_axes import find_array


class Origin:
    """Remembers a layer and which pixels it had, and keeps neither alive."""

    def __init__(self, image: Image) -> None:
        array = find_array(image)
        self._layer = weakref.ref(inspect.unwrap(image))  # napari hands wrappers to plugins, which do not last
        self._shape = tuple(array.shape)
        self._array: Any
        try:
            self._array = weakref.ref(inspect.unwrap(array))
        except TypeError:  # an array of a kind that cannot be remembered so
            self._array = None

    def find(self, viewer: Viewer) -> Image | None:
        """Return the layer, if the viewer still has it."""
        layer = self._layer()
        return layer if layer is not None and layer in viewer.layers else None

    def is_as_large(self, layer: Image) -> bool:
        """Return whether the layer has as many pixels as before: only then its place is that of what was read."""
        return tuple(find_array(layer).shape) == self._shape

    def has_other_pixels(self, viewer: Viewer) -> bool:
        """Return whether the layer was given another array meanwhile."""
        layer = self.find(viewer)
        return layer is not None and self._array is not None and self._array() is not inspect.unwrap(find_array(layer))
