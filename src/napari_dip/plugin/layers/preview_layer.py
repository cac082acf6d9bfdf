"""The layer that shows how far a run is; in the end it becomes the result, or goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer
from numpy.typing import NDArray

from ...many.axes import Plane
from .made_layers import add_over
from .outputs import Made
from .placement import PLACE, lay_over
from .source import Source

if TYPE_CHECKING:
    from ...outcome import Progress


class PreviewLayer:
    """At most one layer "NAME preview"; the user may remove it."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._layer: Image | None = None
        self._removed = False  # by the user: it stays so

    def begin(self) -> None:
        """Be ready for another run."""
        self._layer, self._removed = None, False

    def show(self, source: Source, plane: Plane, progress: Progress, enlargement: int) -> None:
        """Show the estimate of a plane, or of a tile of it, at its place.

        Parameters
        ----------
        source : Source
            What is restored.
        plane : Plane
        progress : Progress
        enlargement : int
            How many times more rows and columns the estimate has.
        """
        data, appearance = source.axes.spread(progress.estimate), source.appearance
        here = np.array(source.find_corner(plane), dtype=float)
        here[-2:] += progress.corner
        if self._layer is None and not self._removed:
            own = np.array(data)  # written over by the next
            self._layer = add_over(
                self._viewer, appearance, own, f"{source.name} preview", {}, enlargement=enlargement, first=here
            )
        elif self._layer is not None and self._layer in self._viewer.layers:
            self._draw(self._layer, data)
            _put(self._layer, {"translate": lay_over(appearance, enlargement, here)["translate"]})
        else:
            self._removed = True

    def _draw(self, layer: Image, data: NDArray) -> None:
        """Show other pixels in half the time that napari takes for other data: extent and thumbnail stay."""
        if layer.data.shape != data.shape:
            layer.data = np.array(data)
            return
        layer.data[...] = data
        layer.refresh(extent=False, thumbnail=False, highlight=False)

    @property
    def is_in_view(self) -> bool:
        """Whether the viewer's sliders show its plane."""
        layer = self._layer
        if layer is None or layer not in self._viewer.layers:
            return True  # there is nothing to look for
        place = np.rint(layer.world_to_data(self._viewer.dims.point[-layer.ndim :]))[:-2]
        return bool(((place >= 0) & (place < layer.data.shape[: len(place)])).all())

    def raise_to_top(self) -> None:
        """Put it above all others; what is selected stays so."""
        layers, layer = self._viewer.layers, self._layer
        if layer is not None and layer in layers and layers[-1] is not layer:
            selected = layers.selection.active
            layers.move(layers.index(layer), len(layers))
            layers.selection.active = selected

    def keep(self, source: Source, made: Made, name: str, plane: Plane) -> Image | None:
        """Make it a result, on top of all others and to be seen: a layer less to add, and another to remove.

        Parameters
        ----------
        source : Source
            With its place as it is now.
        made : Made
        name : str
        plane : Plane
            Which one it is of.

        Returns
        -------
        Image or None
            The layer; None if there is none.
        """
        layers, layer = self._viewer.layers, self._layer
        if layer is None or layer not in layers:
            return None
        layer.data, layer.metadata = made.data, made.metadata
        place = {each: source.appearance[each] for each in PLACE if each in source.appearance}
        _put(layer, place | lay_over(source.appearance, made.enlargement, source.find_corner(plane)))
        layer.name = name  # napari numbers it if there is one
        layer.visible = True  # whoever hid the preview, to see what lies below, wants the result all the same
        if layers[-1] is not layer:
            layers.move(layers.index(layer), len(layers))
            layers.selection.active = layer  # not what was added below it
        self._layer = None
        return layer

    def remove(self) -> None:
        """Take it away."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None


def _put(layer: Image, place: Mapping[str, Any]) -> None:
    """Move a layer; what it has already is left alone, for it would be drawn anew."""
    for setting, value in place.items():
        now = getattr(layer, setting)
        now = now.affine_matrix if setting == "affine" else now
        if not (tuple(now) == tuple(value) if setting == "units" else np.array_equal(now, value)):
            setattr(layer, setting, value)
