"""Turns Labels and Shapes layers, wherever they lie, into a mask on the image's pixel grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pint
from napari.layers import Image, Labels, Shapes
from numpy.typing import NDArray

from ...measurement.mask_grid import Shape, draw_shapes, resample_marks

_MOST_AT_ONCE = 1 << 22  # pixels that are looked at while the user waits, in some 10 ms
_KINDS = {"rectangle": "polygon", "polygon": "polygon", "ellipse": "ellipse", "path": "path", "line": "path"}


class LaterMask:
    """A mask of many pixels, made when it is first indexed: the worker does that, not the window.

    Parameters
    ----------
    shape : (int, int)
    make : callable
        Returns the mask.

    Raises
    ------
    ValueError
        When it is indexed, with a message for the user, if there is something wrong with the layer.
    """

    def __init__(self, shape: tuple[int, int], make: Callable[[], NDArray[np.bool_]]) -> None:
        self.shape, self._make = shape, make
        self._mask: NDArray[np.bool_] | None = None

    def __getitem__(self, index: Any) -> NDArray[np.bool_]:
        if self._mask is None:
            self._mask = self._make()
        return self._mask[index]

    def cut(self, region: tuple[slice, slice]) -> LaterMask:
        """Return a part of the mask, to be made later as well."""
        shape = tuple(len(range(*each.indices(side))) for each, side in zip(region, self.shape, strict=True))
        return LaterMask((shape[0], shape[1]), lambda: self[region])


def read_mask_layer(
    image: Image, layer: Labels | Shapes, shape: tuple[int, int], label: int = 0
) -> NDArray[np.bool_] | LaterMask:
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
    name = layer.name
    if isinstance(layer, Shapes):
        if not len(layer.data):
            raise ValueError(f'the mask "{name}" has no shapes; draw one over the missing pixels.')
        shapes, matrix = _read_shapes(layer), map_pixels(image, layer, shape)
        return _now_or_later(lambda: _draw(name, shapes, matrix, shape), shape)
    data = layer.data[0] if layer.multiscale else layer.data
    if len(data.shape) != 2:
        raise ValueError(
            f'the mask "{name}" has {len(data.shape)} dimensions; choose a layer with two, or one on the pixel grid of '
            "the stack."
        )
    matrix = map_pixels(image, layer, shape)
    return _now_or_later(lambda: _bring_over(name, data, label, matrix, shape), shape, tuple(data.shape))


def cut_mask(
    mask: NDArray[np.bool_] | LaterMask | None, region: tuple[slice, slice]
) -> NDArray[np.bool_] | LaterMask | None:
    """Return the part of a plane's mask between rows and columns."""
    if isinstance(mask, LaterMask):
        return mask.cut(region)
    return None if mask is None else mask[region]


def _now_or_later(make: Callable[[], NDArray[np.bool_]], *shapes: tuple[int, ...]) -> NDArray[np.bool_] | LaterMask:
    """Make a mask now, or later if that would hold the window."""
    small = all(rows * columns <= _MOST_AT_ONCE for rows, columns in shapes)
    return make() if small else LaterMask(shapes[0], make)  # type: ignore[arg-type]


def _draw(name: str, shapes: list[Shape], matrix: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    mask = draw_shapes(shapes, matrix, shape)
    if not mask.any():
        raise ValueError(f'no shape of the mask "{name}" covers a pixel of the image.')
    return mask


def _bring_over(
    name: str, data: Any, label: int, matrix: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    data = np.asarray(data)
    marks = data == label if label else data > 0
    if not marks.any():
        which = f"label {label}" if label else "any label"
        raise ValueError(f'the mask "{name}" has no pixel with {which}; paint over the missing pixels.')
    if data.shape == shape and _is_identity(matrix, shape):
        return marks
    try:
        mask = resample_marks(marks, matrix, shape)
    except ValueError as error:
        raise ValueError(f'the mask "{name}" cannot be used: {error}') from error
    if not mask.any():
        raise ValueError(f'no pixel that the mask "{name}" marks lies on the image.')
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
        """Return the present marks, unless there are many: the user may paint in the layer during a run."""
        small = isinstance(self._data, np.ndarray) and self._data.size <= _MOST_AT_ONCE
        return StackMarks(self[...].astype(np.uint8), 0) if small else self

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
