"""Places one layer over another and makes it look alike."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Image
from napari.utils.transforms import Affine
from numpy.typing import ArrayLike, NDArray

# What a layer over the original takes from it; contrast too, because the result has the same intensity units.
_KEPT = (
    "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "colormap", "gamma", "blending",
    "contrast_limits", "interpolation2d", "opacity", "rgb", "rendering",
)  # fmt: skip
_TRANSFORMS = ("scale", "translate", "rotate", "shear")
PLACEMENT = (*_TRANSFORMS, "affine", "units")


def read_appearance(image: Image) -> dict[str, Any]:
    """Return keyword arguments of ``add_image`` that place a layer exactly over this one and make it look alike."""
    settings = image.as_layer_data_tuple()[1]
    return {key: copy.deepcopy(settings[key]) for key in _KEPT if key in settings}


def read_plane_placement(image: Image) -> dict[str, Any]:
    """Return keyword arguments that place a two-dimensional layer exactly over every plane of an image."""
    settings = image.as_layer_data_tuple()[1]
    names = (*PLACEMENT, "axis_labels")
    if image.ndim == 2:
        return {name: settings[name] for name in names if name in settings}
    leading = np.zeros(image.ndim - 2)
    first, down, right = (
        np.array(image.data_to_world([*leading, *pixel]))[-2:] for pixel in ((0, 0), (1, 0), (0, 1))
    )  # fmt: skip
    affine = np.eye(3)
    affine[:2] = np.column_stack([down - first, right - first, first])
    return {"affine": affine} | {name: settings[name][-2:] for name in ("units", "axis_labels") if name in settings}


def find_translation(appearance: Mapping[str, Any], first: ArrayLike) -> NDArray[np.float64]:
    """Return the translation that puts a layer's first pixel at these pixel coordinates of another layer."""
    return np.asarray(Affine(**{name: appearance[name] for name in _TRANSFORMS})(first))


def place_over(
    appearance: Mapping[str, Any], enlargement: int = 1, first: Sequence[float] | NDArray = ()
) -> dict[str, Any]:
    """Return scale and translation of a layer over another one, with ``enlargement`` times its rows and columns.

    Parameters
    ----------
    appearance : mapping
        The other layer's.
    enlargement : int
    first : sequence of float, optional
        The pixel of the other layer where this one starts; by default its first.
    """
    scale = np.array(appearance["scale"], dtype=float)
    corner = np.array(first, dtype=float) if len(first) else np.zeros(len(scale))
    if enlargement == 1 and not corner.any():
        return {"scale": appearance["scale"], "translate": appearance["translate"]}
    scale[-2:] /= enlargement
    # napari counts from pixel centres, but the two layers share their outer edges
    corner[-2:] += 0.5 / enlargement - 0.5
    return {"scale": scale, "translate": find_translation(appearance, corner)}
