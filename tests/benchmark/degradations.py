"""The degradations of the paper's experiments, for the scripts here: an image file becomes a case with its truth."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True)
class Case:
    """One degraded image in [0, 255], what the restoration is told of it, and its truth."""

    task: str
    degraded: NDArray
    truth: NDArray
    mask: NDArray | None = None
    factor: int | None = None
    same_units: bool = True

    def score(self, restored: NDArray) -> float:
        """PSNR in dB of the whole image, clipped to [0, 255]; where units differ, with gain and offset fitted."""
        restored = np.asarray(restored, dtype=np.float64)
        if not self.same_units:
            design = np.stack([restored.ravel(), np.ones(restored.size)], axis=1)
            gain_and_offset, *_ = np.linalg.lstsq(design, self.truth.ravel(), rcond=None)
            restored = (design @ gain_and_offset).reshape(restored.shape)
        else:
            restored = np.clip(restored, 0, 255)
        error = np.mean((restored - self.truth) ** 2)
        return float(10 * np.log10(255**2 / error))


def find_images(folder: Path, *names: str) -> list[Path]:
    """The images of the first of the sub-folders that exists, else of the folder itself; masks left out."""
    places = [folder / name for name in names if (folder / name).is_dir()] or [folder]
    found = sorted(path for path in places[0].iterdir() if path.suffix.lower() in SUFFIXES and "mask" not in path.stem)
    if not found:
        raise SystemExit(f"there is no image in {places[0]}.")
    return found


def read(path: Path, size: int | None, *, grey: bool = False, multiple: int = 1) -> NDArray:
    """The centre of an image as float in [0, 255], grey or RGB; sides are multiples of ``multiple``."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L" if grey or image.mode in ("L", "1", "I;16") else "RGB"), dtype=np.float64)
    height, width = (min(side, size or side) // multiple * multiple for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def noisy(path: Path, size: int | None, sigma: float) -> Case:
    """Gaussian noise of deviation sigma, clipped."""
    truth = read(path, size)
    noise = np.random.default_rng(0).normal(0, sigma, truth.shape)
    return Case("denoise", np.clip(truth + noise, 0, 255), truth)


def acquired(path: Path, size: int | None, level: float = 0) -> Case:
    """One exposure NAME_raw and the mean of many, NAME_truth, beside it; stored with other contrast."""
    truth = read(path.with_name(path.name.replace("_raw", "_truth")), size)
    return Case("denoise", read(path, size), truth, same_units=False)


def compressed(path: Path, size: int | None, quality: float) -> Case:
    """The Y channel as a JPEG of Pillow's."""
    truth = read(path, size, grey=True)
    buffer = io.BytesIO()
    Image.fromarray(truth.astype(np.uint8)).save(buffer, "JPEG", quality=int(quality))
    return Case("deblock", np.asarray(Image.open(buffer), dtype=np.float64), truth)


def holed(path: Path, size: int | None, ratio: float) -> Case:
    """A central rectangle of that share of the area is missing."""
    truth = read(path, size)
    sides = [round(side * ratio**0.5) for side in truth.shape[:2]]
    mask = np.zeros(truth.shape[:2], dtype=bool)
    top, left = ((full - part) // 2 for full, part in zip(truth.shape[:2], sides, strict=True))
    mask[top : top + sides[0], left : left + sides[1]] = True
    return Case("inpaint", np.where(np.expand_dims(mask, tuple(range(2, truth.ndim))), 0, truth), truth, mask)


def dropped(path: Path, size: int | None, share: float) -> Case:
    """That share of the pixels is missing at random."""
    truth = read(path, size)
    mask = np.random.default_rng(0).random(truth.shape[:2]) < share
    return Case("inpaint", np.where(np.expand_dims(mask, tuple(range(2, truth.ndim))), 0, truth), truth, mask)


def shrunk(path: Path, size: int | None, factor: float) -> Case:
    """Lanczos downsampling by Pillow, 8 bits."""
    whole = int(factor)
    truth = read(path, size, multiple=whole)
    small = (truth.shape[1] // whole, truth.shape[0] // whole)
    image = Image.fromarray(truth.astype(np.uint8)).resize(small, Image.Resampling.LANCZOS)
    return Case("super_resolve", np.asarray(image, dtype=np.float64), truth, factor=whole)


Degradation = Callable[[Path, int | None, float], Case]
