"""Samples for File > Open Sample: degraded images, each with its ground truth or mask.

The degraded image comes first, so that the form chooses it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.types import LayerDataTuple

from ..samples import (
    BEAD_PIXEL,
    FILAMENT_PIXEL,
    NUCLEI_PIXEL,
    NUCLEI_STEP,
    Sample,
    blurred_filaments,
    jpeg_photograph,
    moving_cells,
    noisy_fluorescence,
    noisy_histology,
    nuclei_stack,
    scratched_photograph,
    small_photograph,
    striped_fluorescence,
)


def noisy_fluorescence_layers() -> list[LayerDataTuple]:
    """Return the noisy image and its (hidden) ground truth, with 0.1 µm pixels."""
    return _show_fluorescence(noisy_fluorescence(), "fluorescence")


def striped_fluorescence_layers() -> list[LayerDataTuple]:
    """Return the same cells with stripes along rows, and their (hidden) ground truth."""
    return _show_fluorescence(striped_fluorescence(), "stripes")


def _show_fluorescence(sample: Sample, name: str) -> list[LayerDataTuple]:
    limits = (float(sample.truth.min()), float(sample.truth.max()))
    shared = {"scale": (0.1, 0.1), "units": ("um", "um"), "contrast_limits": limits, "colormap": "gray"}
    return _beside_truth(sample, f"{name} noisy", f"{name} truth", **shared)


def scratched_photograph_layers() -> list[LayerDataTuple]:
    """Return the scratched image, its (hidden) ground truth and a Labels mask over the scratches."""
    sample = scratched_photograph()
    assert sample.mask is not None
    return [
        *_beside_truth(sample, "photograph scratched", "photograph truth"),
        (sample.mask.astype("uint8"), {"name": "scratches", "opacity": 0.5}, "labels"),
    ]


def jpeg_photograph_layers() -> list[LayerDataTuple]:
    """Return a photograph saved as a JPEG of quality 10, and the (hidden) original."""
    return _beside_truth(jpeg_photograph(), "JPEG", "JPEG truth")


def small_photograph_layers() -> list[LayerDataTuple]:
    """Return the small image and, in the same place, its large (hidden) ground truth."""
    sample = small_photograph()
    small, (truth, look, kind) = _beside_truth(sample, "small", "small truth")
    factor = sample.truth.shape[0] // sample.degraded.shape[0]
    # napari counts from pixel centres, but the two images share their outer edges
    inside = {"scale": (1 / factor,) * 2, "translate": (0.5 / factor - 0.5,) * 2}
    return [small, (truth, look | inside, kind)]


def noisy_histology_layers() -> list[LayerDataTuple]:
    """Return the noisy colour image and its (hidden) ground truth."""
    return _beside_truth(noisy_histology(), "histology noisy", "histology truth", rgb=True)


def blurred_filaments_layers() -> list[LayerDataTuple]:
    """Return the blurred image, its (hidden) truth, and an image of a bead with smaller pixels."""
    sample = blurred_filaments()
    assert sample.bead is not None
    pixel = {"units": ("um", "um"), "colormap": "gray"}
    image = {"scale": (FILAMENT_PIXEL,) * 2, "contrast_limits": (100, float(sample.degraded.max())), **pixel}
    bead = {"name": "bead", "scale": (BEAD_PIXEL,) * 2, "visible": False, **pixel}
    return [*_beside_truth(sample, "filaments blurred", "filaments truth", **image), (sample.bead, bead, "image")]


def nuclei_stack_layers() -> list[LayerDataTuple]:
    """Return the noisy z-stack and its (hidden) ground truth: planes 0.5 µm apart, 0.2 µm pixels."""
    sample = nuclei_stack()
    limits = (float(sample.truth.min()), float(np.quantile(sample.degraded, 0.999)))
    return _beside_truth(
        sample, "nuclei noisy", "nuclei truth", scale=(NUCLEI_STEP, NUCLEI_PIXEL, NUCLEI_PIXEL), units=("um",) * 3,
        contrast_limits=limits, colormap="gray", axis_labels=("z", "y", "x"),
    )  # fmt: skip


def moving_cells_layers() -> list[LayerDataTuple]:
    """Return the noisy film and its (hidden) ground truth: one frame per second, 0.2 µm pixels."""
    sample = moving_cells()
    limits = (float(sample.truth.min()), float(np.quantile(sample.degraded, 0.999)))
    return _beside_truth(
        sample, "cells noisy", "cells truth", scale=(1, 0.2, 0.2), units=("s", "um", "um"), contrast_limits=limits,
        axis_labels=("t", "y", "x"), colormap="gray",
    )  # fmt: skip


def _beside_truth(sample: Sample, name: str, name_of_truth: str, **shared: Any) -> list[LayerDataTuple]:
    return [
        (sample.degraded, {"name": name, **shared}, "image"),
        (sample.truth, {"name": name_of_truth, "visible": False, **shared}, "image"),
    ]
