"""May restored intensities be measured? Discs and spots of known brightness under Poisson noise, restored and measured.

    python tests/benchmark/linearity.py [--preset NAME] [--side 256]

Each object's intensity above its surroundings is summed over a square around it, in the restored image and, for
comparison, in the noisy one and after a Gaussian filter of 1 px, and divided by the truth's: 1 means that a measurement
on the restored image gives what one on the noise-free image would.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
from scipy.ndimage import gaussian_filter

import napari_dip

_BACKGROUND = 10.0  # photons per pixel
_KINDS = {"spots of 1.5 px": 1.5, "discs of 6 px": 6.0}  # standard deviation; radius
_PEAKS = (3, 10, 30, 100)  # photons per pixel above the background
_CELL = 32  # pixels between objects


def main() -> None:
    """Print the mean ratio and its spread per kind of object and brightness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    settings = dataclasses.replace(napari_dip.Settings.preset(arguments.preset), seed=arguments.seed)
    for kind, size in _KINDS.items():
        rng = np.random.default_rng(arguments.seed)
        truth, places, peaks = draw(kind, size, arguments.side, rng)
        noisy = rng.poisson(truth).astype(np.float32)
        result = napari_dip.restore(noisy, settings=settings)
        print(f"{kind}, background {_BACKGROUND:g} photons; step {result.step}; {result.note}")
        for name, image in (("noisy", noisy), ("Gaussian", gaussian_filter(noisy, 1)), ("restored", result.restored)):
            ratios = measure(image, places) / measure(truth, places)
            row = (f"{peak}: {ratios[peaks == peak].mean():.2f} ± {ratios[peaks == peak].std():.2f}" for peak in _PEAKS)
            print(f"  {name:9s} measured / true at peak photons {'  '.join(row)}")


def draw(kind: str, size: float, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the noise-free image, the objects' centres ``(n, 2)`` and their peaks ``(n,)``."""
    rows, columns = np.indices((side, side))
    image = np.full((side, side), _BACKGROUND)
    corners = np.arange(_CELL // 2, side - _CELL // 2 + 1, _CELL)
    places = np.stack(np.meshgrid(corners, corners, indexing="ij"), axis=-1).reshape(-1, 2)
    peaks = rng.permutation(np.resize(_PEAKS, len(places)))
    for (row, column), peak in zip(places, peaks, strict=True):
        squared = (rows - row) ** 2 + (columns - column) ** 2
        shape = np.exp(-squared / 2 / size**2) if "spots" in kind else gaussian_filter((squared < size**2) * 1.0, 1)
        image += peak * shape
    return image, places, peaks


def measure(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return each object's sum above the mean of the frame around it, ``(n,)``."""
    inner, outer = _CELL // 3, _CELL // 2
    sums = []
    for row, column in places:
        square = image[row - outer : row + outer, column - outer : column + outer]
        middle = image[row - inner : row + inner, column - inner : column + inner]
        frame = np.ones(square.shape, bool)
        margin = outer - inner
        frame[margin:-margin, margin:-margin] = False
        sums.append((middle - square[frame].mean()).sum())
    return np.array(sums)


if __name__ == "__main__":
    main()
