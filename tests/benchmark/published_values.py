"""Compare the measures with what the published implementation computes.

    python tests/benchmark/published_values.py --values published_values.json --data DIR

The values are figures computed once with the published implementation, on images under DIR.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from skimage import filters, io

from napari_dip.prior.upsampling import gaussian_kernel
from napari_dip.spectrum.band_correspondence import band_correspondence
from napari_dip.spectrum.sharpness import blur_sharpness_ratio, blurriness, sharpness


def as_tensor(image: np.ndarray) -> torch.Tensor:
    """``(h, w)`` or ``(h, w, c)`` to ``(1, c, h, w)``."""
    return torch.from_numpy(np.atleast_3d(image)).permute(2, 0, 1)[None].float()


def read(path: Path, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The image in [0, 1], and the same blurred."""
    target = io.imread(path) / 255
    blurred = filters.gaussian(target, sigma, channel_axis=-1 if target.ndim == 3 else None) if sigma else target
    return target, blurred


def main() -> None:
    """Print the largest deviations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    published = json.loads(arguments.values.read_text())
    worst = dict.fromkeys(("bands", "blurriness", "sharpness", "ratio", "kernel"), 0.0)
    for row in published["band_correspondence"]:
        target, estimate = read(arguments.data / row["target"], row["estimate_sigma"])
        ours = band_correspondence(as_tensor(estimate), as_tensor(target))[0].numpy()
        worst["bands"] = max(worst["bands"], float(np.abs(ours - row["bands"]).max()))
    for row in published["blur_sharpness"]:
        _, image = read(arguments.data / row["image"], row["sigma"])
        tensor = as_tensor(image)
        ours = {"blurriness": blurriness, "sharpness": sharpness, "ratio": blur_sharpness_ratio}
        for name, measure in ours.items():
            difference = abs(float(measure(tensor)) - row[name])
            worst[name] = max(worst[name], difference if name == "blurriness" else difference / row[name])
    for sigma, kernel in published["gaussian_kernel_5x5"].items():
        ours = gaussian_kernel(float(sigma)).numpy()
        worst["kernel"] = max(worst["kernel"], float(np.abs(ours - kernel).max()))
    limits = {"bands": 1e-3, "blurriness": 1e-3, "sharpness": 1e-2, "ratio": 1e-2, "kernel": 1e-5}
    for name, limit in limits.items():
        verdict = "ok" if worst[name] <= limit else "OFF"
        print(f"{name:10s} largest deviation {worst[name]:.2e}  (limit {limit:g})  {verdict}")
    raise SystemExit(any(worst[name] > limit for name, limit in limits.items()))


if __name__ == "__main__":
    main()
