"""Adds this plugin's layers, exactly over the layers that they come from, and recognises them later."""

from __future__ import annotations

import types
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from napari.viewer import Viewer
from numpy.typing import NDArray

from .placement import place_over

if TYPE_CHECKING:
    from .outputs import OutputImage
    from .source import Source

_THUMBNAIL = 32  # pixels per side
RECORD_KEY = "napari-dip"  # in a layer's metadata
_own_layers: weakref.WeakSet[Layer] = weakref.WeakSet()


def add_output(viewer: Viewer, source: Source, output: OutputImage, name: str) -> Image:
    """Add an image of a result exactly over its source; hidden if it is no picture of the same thing.

    Such as the residual: it would hide the original from a user who hides the restored image to compare them.
    """
    return add_over(
        viewer, source.appearance, output.data, name, output.metadata, enlargement=output.enlargement,
        own_contrast=output.own_contrast, visible=not output.own_contrast,
    )  # fmt: skip


def add_over(
    viewer: Viewer,
    appearance: dict[str, Any],
    data: NDArray,
    name: str,
    metadata: dict[str, Any],
    *,
    enlargement: int = 1,
    first: Sequence[float] | NDArray = (),
    own_contrast: bool = False,
    visible: bool = True,
) -> Image:
    """Add an image layer over another one; napari numbers a name that exists.

    Parameters
    ----------
    viewer : Viewer
    appearance : dict
        Keyword arguments of ``add_image`` that place a layer exactly over the other one.
    data : ndarray
    name : str
    metadata : dict
    enlargement : int
        How many times more rows and columns the data have; the pixels are smaller by this factor.
    first : sequence of float, optional
        The pixel of the other layer where this one starts; by default its first.
    own_contrast : bool
        Whether the intensities mean something else than the other layer's, so that they need their own contrast limits.
    visible : bool
    """
    appearance = {**appearance, **place_over(appearance, enlargement, first)}
    if own_contrast:
        appearance = {key: value for key, value in appearance.items() if key not in ("contrast_limits", "gamma")}
    layer = Image(data, name=name, metadata=metadata, visible=visible, **appearance)
    if layer.rgb and data.dtype.kind == "f":
        layer.events.thumbnail.connect(_draw_thumbnail)
        _draw_thumbnail(types.SimpleNamespace(source=layer))
    _own_layers.add(layer)  # before the viewer selects it
    viewer.add_layer(layer)
    return layer


def _draw_thumbnail(event: Any) -> None:
    """Draw the thumbnail of an RGB image of floats by its contrast limits: napari takes all above 1 for white."""
    layer = event.source
    low, high = layer.contrast_limits
    pixels = layer.data[(0,) * (layer.data.ndim - 3)]  # the first plane
    step = -(-max(pixels.shape[:2]) // _THUMBNAIL)
    small = np.nan_to_num((pixels[::step, ::step, :3] - low) / (high - low)).clip(0, 1)
    with layer.events.thumbnail.blocker(_draw_thumbnail):
        layer.thumbnail = np.dstack([small, np.ones(small.shape[:2])])


def is_own_layer(layer: Layer) -> bool:
    """Return whether this plugin added a layer: a result, a preview or a moment."""
    return layer in _own_layers or RECORD_KEY in layer.metadata
