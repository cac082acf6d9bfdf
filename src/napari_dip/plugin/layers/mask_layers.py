"""Turns Labels and Shapes layers, wherever they lie, into a mask on the image's pixel grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pint
from napari.layers import Image, Labels, Shapes
from numpy.typing import NDArray

from ...measurement.mask_grid import Shape, draw_shapes, resample_marks

_KINDS = {"rectangle": "polygon", "polygon": "polygon", "ellipse": "ellipse", "path": "path", "line": "path"}


def read_mask_layer(image: Image, layer: Labels | Shapes, shape: tuple[int, int], label: int = 0) -> NDArray[np.bool_]:
    """Return the pixels that a layer marks as missing, on the image's pixel grid.

    Parameters
    ----------
    image : Image
        For a stack, any plane gets the same mask.
    layer : Labels or Shapes
        Has one plane. Its scale, translation, rotation, shear, affine and units place it over the image.
    shape : (int, int)
        Rows and columns of the image.
    label : int
        Which label of a Labels layer means missing; 0 for all labels.

    Raises
    ------
    ValueError
        With a message for the user.
    """
    if isinstance(layer, Shapes):
        if not len(layer.data):
            raise ValueError(f'the mask "{layer.name}" has no shapes; draw one over the missing pixels.')
        mask = draw_shapes(_read_shapes(layer), map_pixels(image, layer, shape), shape)
        if not mask.any():
            raise ValueError(f'no shape of the mask "{layer.name}" covers a pixel of the image.')
        return mask
    data = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    if data.ndim != 2:
        raise ValueError(
            f'the mask "{layer.name}" has {data.ndim} dimensions; choose a layer with two, or one on the pixel grid of '
            "the stack."
        )
    marks = data == label if label else data > 0
    if not marks.any():
        which = f"label {label}" if label else "any label"
        raise ValueError(f'the mask "{layer.name}" has no pixel with {which}; paint over the missing pixels.')
    matrix = map_pixels(image, layer, shape)
    if data.shape == shape and _is_identity(matrix, shape):
        return marks
    try:
        mask = resample_marks(marks, matrix, shape)
    except ValueError as error:
        raise ValueError(f'the mask "{layer.name}" cannot be used: {error}') from error
    if not mask.any():
        raise ValueError(f'no pixel that the mask "{layer.name}" marks lies on the image.')
    return mask


class StackMarks:
    """The marks of a Labels layer on the pixel grid of a stack; read only where it is indexed.

    Parameters
    ----------
    data : array
    label : int
        Which label means missing; 0 for all labels.
    """

    def __init__(self, data: Any, label: int) -> None:
        self.shape = tuple(data.shape)
        self._data, self._label = data, label

    def freeze(self) -> StackMarks:
        """Return the present marks: the user may paint in the layer during a run."""
        return StackMarks(self[...].astype(np.uint8), 0) if isinstance(self._data, np.ndarray) else self

    def __getitem__(self, index: Any) -> NDArray[np.bool_]:
        part = np.asarray(self._data[index])
        return part == self._label if self._label else part > 0


def find_stack_marks(image: Image, shape: tuple[int, ...], layer: Labels | Shapes, label: int = 0) -> StackMarks | None:
    """Return the marks of a Labels layer for each plane of a stack; None if the layer has one plane for all of them.

    Parameters
    ----------
    image : Image
    shape : tuple of int
        The shape of the stack without colours.
    layer, label
        As ``read_mask_layer`` takes them.

    Raises
    ------
    ValueError
        If the layer has as many dimensions as the stack but lies elsewhere.
    """
    if isinstance(layer, Shapes) or layer.ndim == 2:
        return None
    data = layer.data[0] if layer.multiscale else layer.data
    corners = np.zeros(len(shape)), np.array(shape) - 1.0
    if tuple(data.shape) != shape or not all(
        np.allclose(layer.world_to_data(image.data_to_world(corner)), corner, atol=0.01) for corner in corners
    ):
        raise ValueError(
            f'the mask "{layer.name}" does not lie on the pixels of the stack; paint in a new Labels layer, or choose '
            "one with two dimensions."
        )
    return StackMarks(data, label)


def map_pixels(image: Image, layer: Labels | Shapes, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the matrix, ``(2, 3)``, that maps an image pixel (row, column, 1) to the layer's coordinates.

    Raises
    ------
    ValueError
        If the layers' units cannot be converted.
    """
    try:
        factors = [_unit_factor(one, other) for one, other in zip(image.units[-2:], layer.units[-2:], strict=True)]
    except pint.DimensionalityError as error:
        raise ValueError(
            f'the mask "{layer.name}" is in {_describe_units(layer)} and the image in {_describe_units(image)}, which '
            "cannot be converted: set layer.units of one of them."
        ) from error
    height, width = (max(2, side) for side in shape)
    # the corners are far apart, so that a large translation costs no accuracy
    corners = np.array([(0, 0), (height - 1, 0), (0, width - 1)], dtype=float)
    # along other axes take the first plane: the image may be a stack, and so may shapes drawn beside it
    image_position, layer_position = np.zeros(image.ndim - 2), np.zeros(layer.ndim - 2)
    in_world = [np.array(image.data_to_world([*image_position, *corner]))[-2:] for corner in corners]
    places = np.array([layer.world_to_data([*layer_position, *(corner * factors)])[-2:] for corner in in_world])
    first = places[0]
    rows, columns = (places[1] - first) / (height - 1), (places[2] - first) / (width - 1)
    return np.column_stack([rows, columns, first])


def _unit_factor(one: pint.Unit, other: pint.Unit) -> float:
    """Return how many of the other unit make up one; 1 if either is pixels, as napari draws them."""
    if one == other or "pixel" in (str(one), str(other)):
        return 1.0
    return float((1 * one).to(other).magnitude)


def _is_identity(matrix: NDArray[np.float64], shape: tuple[int, int]) -> bool:
    """Return whether every pixel maps to itself, up to rounding."""
    corners = np.array([(0, 0, 1), (shape[0], 0, 1), (0, shape[1], 1)], dtype=float)
    return bool(np.abs(corners @ matrix.T - corners[:, :2]).max() < 0.01)


def _read_shapes(layer: Shapes) -> list[Shape]:
    return [
        Shape(_KINDS[kind], np.asarray(vertices)[:, -2:], float(width))  # type: ignore[arg-type]
        for kind, vertices, width in zip(layer.shape_type, layer.data, layer.edge_width, strict=True)
    ]


def _describe_units(layer: Image | Labels | Shapes) -> str:
    return " and ".join(dict.fromkeys(str(unit) for unit in layer.units[-2:]))
