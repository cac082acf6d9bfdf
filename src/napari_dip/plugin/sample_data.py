"""Samples for File > Open Sample: layers with their truth or mask.

The degraded image comes first: it is the one that a form chooses.
"""

from __future__ import annotations

import numpy as np
from napari.types import LayerDataTuple

from ..samples import (
    jpeg_photograph,
    moving_cells,
    noisy_fluorescence,
    noisy_histology,
    scratched_photograph,
    small_photograph,
)


def noisy_fluorescence_layers() -> list[LayerDataTuple]:
    """Return the noisy image and its truth (hidden), 0.1 µm pixels."""
    sample = noisy_fluorescence()
    limits = (float(sample.truth.min()), float(sample.truth.max()))
    shared = {"scale": (0.1, 0.1), "units": ("um", "um"), "contrast_limits": limits, "colormap": "gray"}
    return [
        (sample.degraded, {"name": "fluorescence noisy", **shared}, "image"),
        (sample.truth, {"name": "fluorescence truth", "visible": False, **shared}, "image"),
    ]


def scratched_photograph_layers() -> list[LayerDataTuple]:
    """Return the scratched image, its truth (hidden) and the Labels mask over the scratches."""
    sample = scratched_photograph()
    assert sample.mask is not None
    return [
        (sample.degraded, {"name": "photograph scratched"}, "image"),
        (sample.truth, {"name": "photograph truth", "visible": False}, "image"),
        (sample.mask.astype("uint8"), {"name": "scratches", "opacity": 0.5}, "labels"),
    ]


def jpeg_photograph_layers() -> list[LayerDataTuple]:
    """Return what a JPEG of quality 10 left of a photograph, and that (hidden)."""
    sample = jpeg_photograph()
    return [
        (sample.degraded, {"name": "JPEG"}, "image"),
        (sample.truth, {"name": "JPEG truth", "visible": False}, "image"),
    ]


def small_photograph_layers() -> list[LayerDataTuple]:
    """Return the small image and, in the same place, its large truth (hidden)."""
    sample = small_photograph()
    factor = sample.truth.shape[0] // sample.degraded.shape[0]
    # napari counts from pixel centres: the first small pixel lies half a pixel, less half a large one, before the first
    inside = {"scale": (1 / factor,) * 2, "translate": (0.5 / factor - 0.5,) * 2}
    return [
        (sample.degraded, {"name": "small"}, "image"),
        (sample.truth, {"name": "small truth", "visible": False, **inside}, "image"),
    ]


def noisy_histology_layers() -> list[LayerDataTuple]:
    """Return the noisy colour image and its truth (hidden)."""
    sample = noisy_histology()
    return [
        (sample.degraded, {"name": "histology noisy", "rgb": True}, "image"),
        (sample.truth, {"name": "histology truth", "visible": False, "rgb": True}, "image"),
    ]


def moving_cells_layers() -> list[LayerDataTuple]:
    """Return the noisy film and its truth (hidden), a frame a second, 0.2 µm pixels."""
    sample = moving_cells()
    limits = (float(sample.truth.min()), float(np.quantile(sample.degraded, 0.999)))
    shared = {
        "scale": (1, 0.2, 0.2), "units": ("s", "um", "um"), "axis_labels": ("t", "y", "x"), "contrast_limits": limits,
        "colormap": "gray",
    }  # fmt: skip
    return [
        (sample.degraded, {"name": "cells noisy", **shared}, "image"),
        (sample.truth, {"name": "cells truth", "visible": False, **shared}, "image"),
    ]
