"""Make the pairs of pictures that the docs site puts under a slider, and its film: from samples, with real runs.

    python tests/benchmark/before_after.py [FOLDER] [--only denoise film] [--preset NAME]

Before and after have the same grey levels; an enlarged image lies beside its original with every pixel repeated. Says
for each what the truth, where there is one, has to say of it.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

import napari_dip
from napari_dip import samples
from napari_dip.measurement.psf import psf_of_bead

Pair = tuple[NDArray, NDArray, NDArray | None]  # before, after, truth


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/images/pairs"))
    parser.add_argument("--only", nargs="+", choices=[*PAIRS, "film"], default=[*PAIRS, "film"])
    parser.add_argument("--preset", default="default")
    parser.add_argument("--side", type=int, default=256, help="of the images, in pixels")
    arguments = parser.parse_args()
    settings = napari_dip.Settings.preset(arguments.preset)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        if name == "film":
            make_film(arguments.folder / "film.webp", settings, arguments.side)
            continue
        before, after, truth = PAIRS[name](settings, arguments.side)
        low, high = np.percentile(before if truth is None else truth, (0.1, 99.9))
        for when, image in (("before", before), ("after", after)):
            as_picture(image, low, high).save(arguments.folder / f"{name}_{when}.png", optimize=True)
        if truth is not None:
            say_gain(name, before, after, truth)


def denoise(settings: napari_dip.Settings, side: int) -> Pair:
    """Fluorescence in little light."""
    sample = samples.noisy_fluorescence(side)
    return sample.degraded, restore(sample.degraded, settings=settings), sample.truth


def stripes(settings: napari_dip.Settings, side: int) -> Pair:
    """Fluorescence in little light, each row read with an offset of its own."""
    sample = samples.striped_fluorescence(side)
    return sample.degraded, restore(sample.degraded, settings=settings), sample.truth


def inpaint(settings: napari_dip.Settings, side: int) -> Pair:
    """A photograph with scratches that are marked."""
    sample = samples.scratched_photograph(side)
    return sample.degraded, restore(sample.degraded, sample.mask, task="inpaint", settings=settings), sample.truth


def deblock(settings: napari_dip.Settings, side: int) -> Pair:
    """A photograph as a JPEG of quality 10."""
    sample = samples.jpeg_photograph(side)
    return sample.degraded, restore(sample.degraded, task="deblock", settings=settings), sample.truth


def super_resolve(settings: napari_dip.Settings, side: int) -> Pair:
    """A small photograph, enlarged four times; before, its pixels are repeated."""
    sample = samples.small_photograph(side // 4)
    repeated = np.kron(sample.degraded, np.ones((4, 4), sample.degraded.dtype))
    return repeated, restore(sample.degraded, task="super_resolve", factor=4, settings=settings), sample.truth


def deconvolve(settings: napari_dip.Settings, side: int) -> Pair:
    """Filaments and beads blurred by the optics; the PSF comes from the bead."""
    sample = samples.blurred_filaments(side)
    assert sample.bead is not None
    psf = psf_of_bead(sample.bead, (samples.BEAD_PIXEL / samples.FILAMENT_PIXEL,) * 2)
    return sample.degraded, restore(sample.degraded, task="deconvolve", psf=psf, settings=settings), sample.truth


def enhance(settings: napari_dip.Settings, side: int) -> Pair:
    """The texture of a photograph made stronger; there is no truth."""
    image = data.camera()[60 : 60 + side, 130 : 130 + side]
    settings = dataclasses.replace(settings, detail_amount=1.5)
    result = napari_dip.restore(image, task="enhance", settings=settings)
    assert result.detail_enhanced is not None
    return image, result.detail_enhanced, None


PAIRS: dict[str, Callable[[napari_dip.Settings, int], Pair]] = {
    "denoise": denoise, "stripes": stripes, "inpaint": inpaint, "deblock": deblock, "super_resolve": super_resolve,
    "deconvolve": deconvolve, "enhance": enhance,
}  # fmt: skip


def make_film(path: Path, settings: napari_dip.Settings, side: int) -> None:
    """Write a film of cells, noisy on the left and restored on the right, as an animation."""
    sample = samples.moving_cells(side=side // 2)
    out = np.zeros(sample.degraded.shape, np.float32)
    for plane in napari_dip.restore_stack(sample.degraded, "TYX", settings=settings, out=out):
        print(f"film: frame {plane.number} of {plane.count}", flush=True)
    say_gain("film", sample.degraded, out, sample.truth)
    low, high = np.percentile(sample.truth, (0.1, 99.9))
    gap = np.full((side // 2, 4), high)
    first, *others = (
        as_picture(np.hstack([noisy, gap, restored]), low, high, scale=2)
        for noisy, restored in zip(sample.degraded, out, strict=True)
    )
    first.save(path, save_all=True, append_images=others, duration=250, loop=0, quality=80, method=6)


def restore(image: NDArray, mask: NDArray | None = None, **how: object) -> NDArray:
    """Return the restored image alone."""
    restored = napari_dip.restore(image, mask, **how).restored  # type: ignore[arg-type]
    assert restored is not None
    return restored


def as_picture(image: NDArray, low: float, high: float, scale: int = 1) -> Image.Image:
    """Return grey levels from low to high as 8 bits, every pixel repeated."""
    grey = np.clip(np.rint(255 * (image.astype(np.float64) - low) / (high - low)), 0, 255).astype(np.uint8)
    return Image.fromarray(np.kron(grey, np.ones((scale, scale), np.uint8)))


def say_gain(name: str, before: NDArray, after: NDArray, truth: NDArray) -> None:
    """Print the PSNR before and after, with the truth's range as the peak."""
    peak = float(np.ptp(truth))
    levels = [peak_signal_noise_ratio(truth, image.astype(np.float64), data_range=peak) for image in (before, after)]
    print(f"{name}: {levels[0]:.1f} dB before, {levels[1]:.1f} dB after", flush=True)


if __name__ == "__main__":
    main()
