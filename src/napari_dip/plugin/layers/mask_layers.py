"""Labels and Shapes layers as a mask on the image's own grid, wherever they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pint
from napari.layers import Image, Labels, Shapes
from numpy.typing import NDArray

from ...measurement.mask_grid import Shape, draw_shapes, resample_marks

_KINDS = {"rectangle": "polygon", "polygon": "polygon", "ellipse": "ellipse", "path": "path", "line": "path"}


def read_mask_layer(image: Image, layer: Labels | Shapes, shape: tuple[int, int], label: int = 0) -> NDArray[np.bool_]:
    """Return what a layer marks as missing, on the grid of the image.

    Parameters
    ----------
    image : Image
        Of a stack, the mask is that of any plane.
    layer : Labels or Shapes
        Of one plane, anywhere in the same space: its own scale, translation, rotation, shear, affine and units count.
    shape : (int, int)
        Rows and columns of the image.
    label : int
        Of a Labels layer the label that means missing, 0 for all labels.

    Raises
    ------
    ValueError
        In a sentence for the user.
    """
    if isinstance(layer, Shapes):
        if not len(layer.data):
            raise ValueError(f'the mask "{layer.name}" has no shapes; draw over what is missing.')
        mask = draw_shapes(_read_shapes(layer), map_pixels(image, layer, shape), shape)
        if not mask.any():
            raise ValueError(f'no shape of the mask "{layer.name}" covers a pixel of the image.')
        return mask
    data = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    if data.ndim != 2:
        raise ValueError(
            f'the mask "{layer.name}" has {data.ndim} dimensions; choose one of a single plane, or one that lies '
            "on the pixels of the stack."
        )
    marks = data == label if label else data > 0
    if not marks.any():
        which = f"label {label}" if label else "any label"
        raise ValueError(f'the mask "{layer.name}" has no pixel with {which}; paint over what is missing.')
    matrix = map_pixels(image, layer, shape)
    if data.shape == shape and _is_identity(matrix, shape):
        return marks
    try:
        mask = resample_marks(marks, matrix, shape)
    except ValueError as error:
        raise ValueError(f'the mask "{layer.name}" cannot be used: {error}') from error
    if not mask.any():
        raise ValueError(f'nothing that the mask "{layer.name}" marks lies on the image.')
    return mask


class StackMarks:
    """The marks of a Labels layer that lies on the pixels of a stack, read where it is indexed.

    Parameters
    ----------
    data : array
    label : int
        That means missing, 0 for all labels.
    """

    def __init__(self, data: Any, label: int) -> None:
        self.shape = tuple(data.shape)
        self._data, self._label = data, label

    def as_now(self) -> StackMarks:
        """Return the marks as they are now, of a layer that can be painted in while a run goes on."""
        return StackMarks(self[...].astype(np.uint8), 0) if isinstance(self._data, np.ndarray) else self

    def __getitem__(self, index: Any) -> NDArray[np.bool_]:
        part = np.asarray(self._data[index])
        return part == self._label if self._label else part > 0


def find_stack_marks(image: Image, shape: tuple[int, ...], layer: Labels | Shapes, label: int = 0) -> StackMarks | None:
    """Return the marks of a Labels layer for each plane of a stack; None if the layer is of one plane for all.

    Parameters
    ----------
    image : Image
    shape : tuple of int
        Of the stack, without colours.
    layer, label
        As ``read_mask_layer`` takes them.

    Raises
    ------
    ValueError
        If it has as many dimensions as the stack, and lies elsewhere.
    """
    if isinstance(layer, Shapes) or layer.ndim == 2:
        return None
    data = layer.data[0] if layer.multiscale else layer.data
    corners = np.zeros(len(shape)), np.array(shape) - 1.0
    if tuple(data.shape) != shape or not all(
        np.allclose(layer.world_to_data(image.data_to_world(corner)), corner, atol=0.01) for corner in corners
    ):
        raise ValueError(
            f'the mask "{layer.name}" does not lie on the pixels of the stack; paint in a new Labels layer, or '
            "choose one of a single plane."
        )
    return StackMarks(data, label)


def map_pixels(image: Image, layer: Labels | Shapes, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the matrix, ``(2, 3)``, that takes a pixel (row, column, 1) of the image to the layer's coordinates.

    Raises
    ------
    ValueError
        If the layers' units cannot be converted.
    """
    try:
        factors = [_conversion(one, other) for one, other in zip(image.units[-2:], layer.units[-2:], strict=True)]
    except pint.DimensionalityError as error:
        raise ValueError(
            f'the mask "{layer.name}" is in {_say_units(layer)}, the image in {_say_units(image)}: one cannot be '
            "converted to the other; set layer.units of one of them."
        ) from error
    height, width = (max(2, side) for side in shape)
    # far corners, so that a large translation costs no accuracy
    corners = np.array([(0, 0), (height - 1, 0), (0, width - 1)], dtype=float)
    # of further axes the first place: images, and shapes drawn beside them, may be stacks
    of_stack, before = np.zeros(image.ndim - 2), np.zeros(layer.ndim - 2)
    in_world = [np.array(image.data_to_world([*of_stack, *corner]))[-2:] for corner in corners]
    places = np.array([layer.world_to_data([*before, *(corner * factors)])[-2:] for corner in in_world])
    first = places[0]
    rows, columns = (places[1] - first) / (height - 1), (places[2] - first) / (width - 1)
    return np.column_stack([rows, columns, first])


def _conversion(one: pint.Unit, other: pint.Unit) -> float:
    """Return how many of the other unit one is; a layer without units (in pixels) is taken as napari draws it."""
    if one == other or "pixel" in (str(one), str(other)):
        return 1.0
    return float((1 * one).to(other).magnitude)


def _is_identity(matrix: NDArray[np.float64], shape: tuple[int, int]) -> bool:
    """Return whether pixels fall on the same pixels everywhere, up to rounding."""
    corners = np.array([(0, 0, 1), (shape[0], 0, 1), (0, shape[1], 1)], dtype=float)
    return bool(np.abs(corners @ matrix.T - corners[:, :2]).max() < 0.01)


def _read_shapes(layer: Shapes) -> list[Shape]:
    return [
        Shape(_KINDS[kind], np.asarray(vertices)[:, -2:], float(width))  # type: ignore[arg-type]
        for kind, vertices, width in zip(layer.shape_type, layer.data, layer.edge_width, strict=True)
    ]


def _say_units(layer: Image | Labels | Shapes) -> str:
    return " and ".join(dict.fromkeys(str(unit) for unit in layer.units[-2:]))
