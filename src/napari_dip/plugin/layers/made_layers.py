"""The layers that this plugin makes: exactly over the layer that they come from, and known as made here."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer
from napari.viewer import Viewer
from numpy.typing import NDArray

from .placement import lay_over

if TYPE_CHECKING:
    from .outputs import Made
    from .source import Source

RECORD_KEY = "napari-dip"  # of a layer's metadata
_made: weakref.WeakSet[Layer] = weakref.WeakSet()


def add_made(viewer: Viewer, source: Source, made: Made, name: str) -> Image:
    """Add an image of a result exactly over its source."""
    return add_over(
        viewer, source.appearance, made.data, name, made.metadata, enlargement=made.enlargement,
        own_contrast=made.own_contrast,
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
) -> Image:
    """Add an image layer over another; a name that exists is numbered, never overwritten.

    Parameters
    ----------
    viewer : Viewer
    appearance : dict
        Keyword arguments of ``add_image`` that put a layer exactly over the other.
    data : ndarray
    name : str
    metadata : dict
    enlargement : int
        How many times more rows and columns the data have: their pixels are that much smaller.
    first : sequence of float, optional
        The pixel of the other layer at which it begins; by default the first.
    own_contrast : bool
        Whether the layer's intensities are of another kind than the other's and choose their own contrast.
    """
    appearance = {**appearance, **lay_over(appearance, enlargement, first)}
    if own_contrast:
        appearance = {key: value for key, value in appearance.items() if key not in ("contrast_limits", "gamma")}
    layer = Image(data, name=name, metadata=metadata, **appearance)
    _made.add(layer)  # before the viewer selects it
    viewer.add_layer(layer)
    return layer


def is_made_here(layer: Layer) -> bool:
    """Return whether this plugin made a layer: a result, or what is shown on the way to one."""
    return layer in _made or RECORD_KEY in layer.metadata
