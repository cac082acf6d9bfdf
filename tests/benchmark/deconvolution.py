"""Deconvolve the sample of filaments with its own PSF and with wrong ones, beside Richardson-Lucy; draw docs' pictures.

    python tests/benchmark/deconvolution.py OUT [--photons 30 300] [--quick]

PSNR after a fitted gain and offset; the peak is the truth's. Richardson-Lucy works on the noisy image, with the same
free surroundings and background as ours. The pictures are of the first number of photons.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import napari_dip
from napari_dip.measurement.forward_operator import Blur
from napari_dip.measurement.psf import full_widths, optical_psf, psf_of_bead
from napari_dip.optimisation.deconvolution_partner import deconvolve
from napari_dip.samples import BEAD_PIXEL, FILAMENT_OPTICS, FILAMENT_PIXEL, Sample, blurred_filaments

WIDTHS = (0.7, 1.0, 1.3)  # of the PSF, relative to the true one
ITERATIONS = (1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 50, 80)


def main() -> None:
    """Print a table for each number of photons, and draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photons", type=float, nargs="+", default=[300.0, 30.0])
    parser.add_argument("--quick", action="store_true", help="small and few steps: only to run every line")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = napari_dip.Settings(device="cpu", residual=True)
    if arguments.quick:
        settings = napari_dip.Settings(device="cpu", residual=True, step_limit=3, width=8)
    aperture, wavelength = FILAMENT_OPTICS
    for number, photons in enumerate(arguments.photons):
        sample = blurred_filaments(64 if arguments.quick else 160, photons)
        print(f"\n{photons:g} photons: the blurred image has {psnr(sample.degraded, sample):.2f} dB")
        psfs = {
            f"{width:g} times as wide": optical_psf(aperture, width * wavelength, FILAMENT_PIXEL) for width in WIDTHS
        }
        assert sample.bead is not None
        psfs["from the bead"] = psf_of_bead(sample.bead, (BEAD_PIXEL / FILAMENT_PIXEL,) * 2)
        results = {}
        for name, psf in psfs.items():
            result = napari_dip.restore(sample.degraded, task="deconvolve", psf=psf, settings=settings)
            curve = richardson_lucy(sample, psf)
            best = max(curve, key=curve.__getitem__)
            results[name] = result
            print(
                f"PSF {name}, {full_widths(psf)[0]:.1f} pixels: ours {psnr(result.restored, sample):.2f} dB at step "
                f"{result.step} of {result.history[-1].step}; Richardson-Lucy at best {curve[best]:.2f} ({best} "
                f"iterations), at 10 {curve[10]:.2f}, at 50 {curve[50]:.2f}; residual's correlation "
                f"{result.record.residual_correlation:.2f}; {result.note}",
                flush=True,
            )
        if number == 0:
            draw(sample, {"blurred": sample.degraded, "restored": results["1 times as wide"].restored,
                          "truth": sample.truth}, arguments.out / "deconvolve.png")  # fmt: skip
            wrong = {f"PSF {width:g} times as wide": results[f"{width:g} times as wide"].restored for width in WIDTHS}
            draw(sample, wrong, arguments.out / "deconvolve_wrong_psf.png")


def psnr(image: np.ndarray, sample: Sample) -> float:
    """Return the PSNR in dB after a fitted gain and offset."""
    truth = sample.truth.astype(float)
    gain, offset = np.polyfit(image.astype(float).ravel(), truth.ravel(), 1)
    return float(10 * np.log10(np.ptp(truth) ** 2 / np.mean((gain * image + offset - truth) ** 2)))


def richardson_lucy(sample: Sample, psf: np.ndarray) -> dict[int, float]:
    """Return the PSNR of Richardson-Lucy on the noisy image after some numbers of iterations."""
    seen = sample.degraded.astype(np.float32)
    values = torch.from_numpy((seen - seen.min()) / np.ptp(seen))[None, None]
    operator = Blur.by(psf / psf.sum(), seen.shape)
    return {each: psnr(operator.cut(deconvolve(values, operator, each))[0, 0].numpy(), sample) for each in ITERATIONS}


def draw(sample: Sample, images: dict[str, np.ndarray], path: Path) -> None:
    """Draw parts of images side by side, each with the truth's range."""
    figure = Figure(figsize=(10.5, 3.8), layout="constrained")
    part = (slice(20, 110), slice(20, 110))
    for axes, (title, image) in zip(figure.subplots(1, len(images)), images.items(), strict=True):
        axes.imshow(np.sqrt(np.maximum(image[part] - sample.truth.min(), 0)), cmap="gray", interpolation="nearest")
        axes.set_title(title)
        axes.axis("off")
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
