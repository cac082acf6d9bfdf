"""Where a layer lies that is to lie over another, and how it looks."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Image
from napari.utils.transforms import Affine
from numpy.typing import ArrayLike, NDArray

# What a layer over the original takes from it. Contrast, because the result has the same units.
_KEPT = (
    "scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "colormap", "gamma", "blending",
    "contrast_limits", "interpolation2d", "opacity", "rgb", "rendering",
)  # fmt: skip
_TRANSFORMS = ("scale", "translate", "rotate", "shear")
PLACE = (*_TRANSFORMS, "affine", "units")


def read_appearance(image: Image) -> dict[str, Any]:
    """Return keyword arguments of ``add_image`` that put a layer exactly over another, and draw it alike."""
    settings = image.as_layer_data_tuple()[1]
    return {key: copy.deepcopy(settings[key]) for key in _KEPT if key in settings}


def read_place_of_planes(image: Image) -> dict[str, Any]:
    """Return keyword arguments that put a layer of two dimensions exactly over every plane of an image."""
    settings = image.as_layer_data_tuple()[1]
    names = (*PLACE, "axis_labels")
    if image.ndim == 2:
        return {name: settings[name] for name in names if name in settings}
    ahead = np.zeros(image.ndim - 2)
    first, down, right = (
        np.array(image.data_to_world([*ahead, *pixel]))[-2:] for pixel in ((0, 0), (1, 0), (0, 1))
    )  # fmt: skip
    affine = np.eye(3)
    affine[:2] = np.column_stack([down - first, right - first, first])
    return {"affine": affine} | {name: settings[name][-2:] for name in ("units", "axis_labels") if name in settings}


def find_place(appearance: Mapping[str, Any], first: ArrayLike) -> NDArray[np.float64]:
    """Return the translation of a layer whose first pixel lies at these coordinates of a layer that looks like this."""
    return np.asarray(Affine(**{name: appearance[name] for name in _TRANSFORMS})(first))


def lay_over(
    appearance: Mapping[str, Any], enlargement: int = 1, first: Sequence[float] | NDArray = ()
) -> dict[str, Any]:
    """Return scale and translation of a layer over another, with ``enlargement`` times its rows and columns.

    Parameters
    ----------
    appearance : mapping
        Of the other layer.
    enlargement : int
    first : sequence of float, optional
        The pixel of the other layer at which it begins; by default the first.
    """
    scale = np.array(appearance["scale"], dtype=float)
    corner = np.array(first, dtype=float) if len(first) else np.zeros(len(scale))
    if enlargement == 1 and not corner.any():
        return {"scale": appearance["scale"], "translate": appearance["translate"]}
    scale[-2:] /= enlargement
    # napari counts from pixel centres: the first small pixel lies half a pixel, less half a small one, before the first
    corner[-2:] += 0.5 / enlargement - 0.5
    return {"scale": scale, "translate": find_place(appearance, corner)}
