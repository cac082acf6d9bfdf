"""What a run takes from a layer with more than two dimensions; its planes are read when their turn comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from napari.viewer import Viewer
from numpy.typing import NDArray

from ..many.axes import Axes
from .layer_axes import LayerAxes, find_array
from .layers import find_place, follow_origin, read_appearance, read_metadata
from .mask_layers import find_stack_marks, read_mask_layer
from .origin import Origin


@dataclass(frozen=True, slots=True, eq=False)
class StackSource:
    """The planes of a layer.

    Attributes
    ----------
    array : array
        The layer's own, of a multiscale layer its finest level: numpy, dask or zarr, of which one plane at a time is
        read.
    of : LayerAxes
    selection : dict
        Which planes: a slice without gaps for the letters of some axes; all of the others.
    mask : array or None
        True = missing, ``(h, w)`` for all planes or of the stack's shape.
    name : str
        The layer's.
    appearance : dict
        Keyword arguments of ``add_image`` that put the planes that are selected exactly over the layer.
    path : str or None
        The file that the layer was opened from.
    metadata : dict
        What else the layer holds: names of channels and the like.
    layer_name, region, origin
        As ``Source`` has them.
    """

    array: Any
    of: LayerAxes
    selection: Mapping[str, slice]
    mask: Any
    name: str
    appearance: dict[str, Any]
    path: str | None
    metadata: dict[str, Any]

    layer_name: str = ""
    region: None = None
    origin: Origin | None = None

    @property
    def dtype(self) -> np.dtype:
        """The pixel type."""
        return np.dtype(self.array.dtype)

    def as_now(self, viewer: Viewer) -> StackSource:
        """Return this source with the name and the place that its layer has now, if it still has one."""
        return follow_origin(self, viewer, self.first[: len(self.appearance["scale"])])

    def spread(self, image: NDArray) -> NDArray:
        """Return an image of a plane with all axes of the stack."""
        return self.axes.spread(image)

    @property
    def axes(self) -> Axes:
        """Of the whole stack."""
        return self.of.axes

    @property
    def part(self) -> Axes:
        """The axes of the planes that are selected."""
        return self.axes.part(self.selection)[0]

    @property
    def first(self) -> tuple[int, ...]:
        """Where along each axis the planes that are selected begin."""
        return self.axes.part(self.selection)[1]


def read_stack_source(
    image: Image, of: LayerAxes, selection: Mapping[str, slice], labels: Labels | Shapes | None = None, label: int = 0
) -> StackSource:
    """Take what a run needs from an Image layer, without its pixels.

    Parameters
    ----------
    image : Image
    of : LayerAxes
    selection : mapping
        As ``StackSource`` has it.
    labels, label
        As ``read_source`` takes them.

    Raises
    ------
    ValueError
        In a sentence for the user.
    """
    axes = of.axes
    mask: Any = None
    if labels is not None:
        mask = find_stack_marks(image, axes.shape[: image.ndim], labels, label)
        if mask is not None:
            mask = mask.as_now()
        else:
            mask = read_mask_layer(image, labels, (axes.size("Y"), axes.size("X")), label)
    appearance = read_appearance(image)
    appearance["translate"] = find_place(appearance, axes.part(selection)[1][: image.ndim])
    path = None if image.source.path is None else str(Path(image.source.path).absolute())
    dtype = np.dtype(find_array(image).dtype)
    if dtype.kind not in "fiub":
        raise ValueError(f'"{image.name}" has pixels of type {dtype}; they must be real numbers.')
    return StackSource(
        find_array(image), of, dict(selection), mask, image.name, appearance, path, read_metadata(image, of),
        layer_name=image.name, origin=Origin(image),
    )  # fmt: skip
