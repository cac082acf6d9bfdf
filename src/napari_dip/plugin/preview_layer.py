"""The layer that shows how far a run is; in the end it becomes the result, or goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer
from numpy.typing import NDArray

from .layers import Source, add_looking_like, add_over, find_factor, find_whole_place, lay_over
from .outputs import Made, list_outputs

if TYPE_CHECKING:
    from ..outcome import Restoration


class PreviewLayer:
    """At most one layer "NAME preview"; the user may remove it.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._layer: Image | None = None
        self._removed = False  # by the user: it stays so

    def begin(self) -> None:
        """Be ready for another run."""
        self._layer, self._removed = None, False

    def show(
        self,
        name: str,
        appearance: Mapping[str, Any],
        data: NDArray,
        factor: int = 1,
        first: Sequence[float] = (),
        corner: tuple[int, int] = (0, 0),
    ) -> None:
        """Show an estimate.

        Parameters
        ----------
        name : str
            Of the layer that is restored.
        appearance : mapping
            Of a layer exactly over it.
        data : ndarray
        factor : int
            How many times more rows and columns.
        first : sequence of float, optional
            Where in that layer the image begins; by default with its first pixel.
        corner : (int, int)
            The row and column of the image at which the estimate begins, if it is of a part.
        """
        here = np.array(first, dtype=float) if len(first) else np.zeros(len(appearance["scale"]))
        here[-2:] += corner
        if self._layer is None and not self._removed:
            place = lay_over(appearance, 1, here)
            own = np.array(data)  # written over by the next
            self._layer = add_looking_like(self._viewer, {**appearance, **place}, factor, own, f"{name} preview", {})
        elif self._layer is not None and self._layer in self._viewer.layers:
            self._draw(self._layer, data)
            translate = lay_over(appearance, factor, here)["translate"]
            _put(self._layer, {"translate": translate})
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

    def keep(self, name: str, data: NDArray, metadata: dict[str, Any], place: Mapping[str, Any]) -> Image | None:
        """Make it the result, on top of all others and to be seen: a layer less to add, and another to remove.

        Parameters
        ----------
        name : str
        data : ndarray
        metadata : dict
        place : mapping
            As ``find_whole_place`` returns it.

        Returns
        -------
        Image or None
            The layer; None if there is none.
        """
        layers, layer = self._viewer.layers, self._layer
        if layer is None or layer not in layers:
            return None
        layer.data, layer.metadata = data, metadata
        _put(layer, place)
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


def add_result(
    viewer: Viewer, preview: PreviewLayer, source: Source, result: Restoration, original_type: bool
) -> list[Made]:
    """Make a result layers, of which the preview becomes the one that matters most; what was selected stays so.

    Returns the images among them: residual and uncertainty are none.
    """
    source = source.as_now(viewer)
    made = list_outputs(result, source, original_type)
    images = [each for each in made if not each.own_contrast]
    selected = viewer.layers.selection.active
    for each in [each for each in made if each.own_contrast] + images[:-1]:
        add_over(viewer, source, each.data, each.suffix, each.metadata, own_contrast=each.own_contrast)
    if selected is not None:  # napari selects each layer that is added
        viewer.layers.selection.active = selected
    if not images:
        preview.remove()
        return images
    main = images[-1]
    place = find_whole_place(source.appearance, find_factor(source, main.data))
    if preview.keep(f"{source.name} {main.suffix}", main.data, main.metadata, place) is None:
        add_over(viewer, source, main.data, main.suffix, main.metadata)
    return images
