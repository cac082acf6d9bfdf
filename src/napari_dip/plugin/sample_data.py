"""Samples for File > Open Sample: layers with their truth or mask."""

from __future__ import annotations

from napari.types import LayerDataTuple

from ..samples import noisy_fluorescence, scratched_photograph


def noisy_fluorescence_layers() -> list[LayerDataTuple]:
    """Return the truth (hidden) and the noisy image over it, 0.1 µm pixels."""
    sample = noisy_fluorescence()
    limits = (float(sample.truth.min()), float(sample.truth.max()))
    shared = {"scale": (0.1, 0.1), "units": ("um", "um"), "contrast_limits": limits, "colormap": "gray"}
    return [
        (sample.truth, {"name": "fluorescence truth", "visible": False, **shared}, "image"),
        (sample.degraded, {"name": "fluorescence noisy", **shared}, "image"),
    ]


def scratched_photograph_layers() -> list[LayerDataTuple]:
    """Return the truth (hidden), the scratched image and the Labels mask over the scratches."""
    sample = scratched_photograph()
    assert sample.mask is not None
    return [
        (sample.truth, {"name": "photograph truth", "visible": False}, "image"),
        (sample.degraded, {"name": "photograph scratched"}, "image"),
        (sample.mask.astype("uint8"), {"name": "scratches", "opacity": 0.5}, "labels"),
    ]
