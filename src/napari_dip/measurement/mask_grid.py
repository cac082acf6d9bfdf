"""Bring marks from another grid, or drawn shapes, onto the image's grid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage import draw

_ELLIPSE_CORNERS = 90


@dataclass(frozen=True, slots=True)
class Shape:
    """One drawn shape.

    Attributes
    ----------
    kind : {"polygon", "ellipse", "path"}
        A rectangle is a polygon, a line is a path.
    vertices : ndarray
        ``(n, 2)`` in the drawing's own coordinates; for an ellipse, the four corners around it.
    width : float
        Of a path, in the drawing's own coordinates.
    """

    kind: Literal["polygon", "ellipse", "path"]
    vertices: NDArray[np.float64]
    width: float = 1.0


def resample_marks(marks: np.ndarray, matrix: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Bring marks onto another grid; beyond the marks' grid nothing is marked.

    A pixel is marked if its centre lies in a marked pixel, or if a marked pixel's centre lies in it. So no mark is lost
    on a coarser grid, however thin.

    Parameters
    ----------
    marks : ndarray
        ``(a, b)`` bool.
    matrix : array
        ``(2, 3)``: maps a pixel (row, column, 1) of the new grid to a position on the marks' grid.
    shape : (int, int)
        Rows and columns of the new grid.

    Returns
    -------
    ndarray
        ``shape``, bool.

    Raises
    ------
    ValueError
        If the grids do not overlap.
    """
    matrix = np.asarray(matrix, dtype=float)
    inside = _sample(np.ones(marks.shape, dtype=np.uint8), matrix, shape)
    if not inside.any():
        raise ValueError("it lies beside the image and does not overlap it anywhere.")
    mask = _sample(marks.astype(np.uint8), matrix, shape)
    places = np.linalg.solve(matrix[:, :2], np.argwhere(marks).T - matrix[:, 2:])
    rows, columns = np.rint(places).astype(int)
    within = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    mask[rows[within], columns[within]] = True
    return mask


def _sample(values: NDArray[np.uint8], matrix: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    # outside is 0; a margin of zeros lets border pixels extend to their own edge, half a pixel out
    return ndimage.affine_transform(
        np.pad(values, 1), matrix[:, :2], matrix[:, 2] + 1, output_shape=shape, order=0, mode="constant"
    ).astype(bool)


def draw_shapes(shapes: Sequence[Shape], matrix: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mark the pixels whose centres lie in any of the shapes; paths have their drawn width.

    Parameters
    ----------
    shapes : sequence of Shape
    matrix : array
        ``(2, 3)``: maps a pixel (row, column, 1) to the shapes' coordinates.
    shape : (int, int)
        Rows and columns of the grid.

    Returns
    -------
    ndarray
        ``shape``, bool.
    """
    matrix = np.asarray(matrix, dtype=float)
    linear, offset = matrix[:, :2], matrix[:, 2]
    mask = np.zeros(shape, dtype=bool)
    for each in shapes:
        vertices = np.asarray(each.vertices, dtype=float)
        if each.kind == "path":
            for start, end in itertools.pairwise(vertices):
                _draw_segment(mask, start, end, each.width, linear, offset)
            continue
        if each.kind == "ellipse":
            vertices = _outline_of_ellipse(vertices)
        rows, columns = np.linalg.solve(linear, (vertices - offset).T)
        mask[draw.polygon(rows, columns, shape)] = True
    return mask


def _outline_of_ellipse(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points along the ellipse inscribed in a parallelogram of four corners, ``(n, 2)``."""
    centre = corners.mean(axis=0)
    across, along = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)[:, None]
    return centre + np.cos(angle) * across + np.sin(angle) * along


def _draw_segment(
    mask: NDArray[np.bool_],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    width: float,
    linear: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> None:
    """Mark the pixels within half the width of a segment, at least half a pixel, so that the line is never broken."""
    pixel = np.sqrt(abs(np.linalg.det(linear)))  # a pixel's side in the shapes' coordinates
    reach = max(width, pixel) / 2
    box = [start + reach * np.array(sign) for sign in ((-1, -1), (-1, 1), (1, -1), (1, 1))]
    box += [end + reach * np.array(sign) for sign in ((-1, -1), (-1, 1), (1, -1), (1, 1))]
    corners = np.linalg.solve(linear, (np.array(box) - offset).T)
    first = np.maximum(np.floor(corners.min(axis=1)).astype(int), 0)
    last = np.minimum(np.ceil(corners.max(axis=1)).astype(int) + 1, mask.shape)
    if (last <= first).any():
        return
    grid = np.array(np.mgrid[first[0] : last[0], first[1] : last[1]])
    places = np.einsum("ij,jrc->irc", linear, grid) + offset[:, None, None]
    direction = end - start
    length = float(direction @ direction)
    from_start = places - start[:, None, None]
    share = np.einsum("i,irc->rc", direction, from_start) / length if length else np.zeros(grid.shape[1:])
    nearest = np.clip(share, 0, 1) * direction[:, None, None]
    near = np.square(from_start - nearest).sum(axis=0) <= reach**2
    mask[first[0] : last[0], first[1] : last[1]] |= near
