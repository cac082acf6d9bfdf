"""The layer that shows a run's current estimate; at the end it becomes the result or is removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer
from numpy.typing import NDArray

from ...many.axes import Plane
from .outputs import OutputImage
from .own_layers import add_over
from .placement import PLACEMENT, place_over
from .source import Source

if TYPE_CHECKING:
    from ...outcome import Progress


class PreviewLayer:
    """Shows at most one layer, "NAME preview"; the user may remove it."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._layer: Image | None = None
        self._removed = False  # by the user, so it does not come back

    def begin(self) -> None:
        """Get ready for another run."""
        self._layer, self._removed = None, False

    def show(self, source: Source, plane: Plane, progress: Progress, enlargement: int) -> None:
        """Show the estimate of a plane, or of a tile of it, in its place.

        Parameters
        ----------
        source : Source
            What is being restored.
        plane : Plane
        progress : Progress
        enlargement : int
            How many times more rows and columns the estimate has.
        """
        data, appearance = source.axes.spread(progress.estimate), source.appearance
        here = np.array(source.find_corner(plane), dtype=float)
        here[-2:] += progress.corner
        if self._layer is None and not self._removed:
            own = np.array(data)  # a copy, because later estimates overwrite it
            self._layer = add_over(
                self._viewer, appearance, own, f"{source.name} preview", {}, enlargement=enlargement, first=here
            )
        elif self._layer is not None and self._layer in self._viewer.layers:
            self._draw(self._layer, data)
            _move(self._layer, {"translate": place_over(appearance, enlargement, here)["translate"]})
        else:
            self._removed = True

    def _draw(self, layer: Image, data: NDArray) -> None:
        """Replace the pixels in half the time that napari takes for new data: extent and thumbnail stay the same."""
        if layer.data.shape != data.shape:
            layer.data = np.array(data)
            return
        layer.data[...] = data
        layer.refresh(extent=False, thumbnail=False, highlight=False)

    @property
    def is_in_view(self) -> bool:
        """Whether the viewer's sliders show the preview's plane; also True if there is no preview."""
        layer = self._layer
        if layer is None or layer not in self._viewer.layers:
            return True
        place = np.rint(layer.world_to_data(self._viewer.dims.point[-layer.ndim :]))[:-2]
        return bool(((place >= 0) & (place < layer.data.shape[: len(place)])).all())

    def raise_to_top(self) -> None:
        """Move the preview above all other layers, without changing the selection."""
        layers, layer = self._viewer.layers, self._layer
        if layer is not None and layer in layers and layers[-1] is not layer:
            selected = layers.selection.active
            layers.move(layers.index(layer), len(layers))
            layers.selection.active = selected

    def keep(self, source: Source, output: OutputImage, name: str, plane: Plane) -> Image | None:
        """Turn the preview into a visible result on top of all layers, which saves adding and removing one.

        Parameters
        ----------
        source : Source
            With its present place.
        output : OutputImage
        name : str
        plane : Plane
            The plane that the result belongs to.

        Returns
        -------
        Image or None
            The layer; None if there is no preview.
        """
        layers, layer = self._viewer.layers, self._layer
        if layer is None or layer not in layers:
            return None
        layer.data, layer.metadata = output.data, output.metadata
        place = {each: source.appearance[each] for each in PLACEMENT if each in source.appearance}
        _move(layer, place | place_over(source.appearance, output.enlargement, source.find_corner(plane)))
        layer.name = name  # napari numbers a name that exists
        layer.visible = True  # a user who hid the preview to look below it still wants to see the result
        if layers[-1] is not layer:
            layers.move(layers.index(layer), len(layers))
            layers.selection.active = layer  # not the layer that was added below it
        self._layer = None
        return layer

    def remove(self) -> None:
        """Remove the preview."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None


def _move(layer: Image, place: Mapping[str, Any]) -> None:
    """Move a layer; set only what changes, because napari redraws for everything that is set."""
    for setting, value in place.items():
        now = getattr(layer, setting)
        now = now.affine_matrix if setting == "affine" else now
        if not (tuple(now) == tuple(value) if setting == "units" else np.array_equal(now, value)):
            setattr(layer, setting, value)
