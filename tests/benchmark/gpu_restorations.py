"""Whole restorations on one device: PSNR, steps and seconds of images that ship with scikit-image or are made here.

    python tests/benchmark/gpu_restorations.py --device cuda [--quick]

"Prior alone" is without the filters, which would hide a network that learns nothing. Ends with an error if a restored
image is no better than the degraded one.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time

import numpy as np
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import inpaint_biharmonic
from speed import make_case

import napari_dip
from napari_dip.samples import Sample, noisy_fluorescence, noisy_histology, scratched_photograph


def main() -> None:
    """Print a row for every restoration as it ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="small images, few steps: only to run every line")
    arguments = parser.parse_args()
    small, large = (48, 64) if arguments.quick else (256, 512)
    default, fast = (
        dataclasses.replace(napari_dip.Settings.preset(name), device=arguments.device) for name in ("default", "fast")
    )
    both, alone = {"default": default, "fast": fast}, {"prior alone": dataclasses.replace(default, partner=False)}
    if arguments.quick:
        del both["fast"]  # in so few steps the same
    todo = [
        (f"photograph {large}², σ = 25", photograph(large), both),
        (f"photograph {small}², σ = 25", photograph(small), alone),
        (f"fluorescence {small}²", noisy_fluorescence(small), both),
        (f"histology {small}², RGB", noisy_histology(small), both),
        (f"scratches {small}²", scratched_photograph(small), both),
        (f"half missing {small}²", half_missing(small), both),
    ]
    failed, notes = [], []
    print("| image | settings | degraded | restored, dB | biharmonic | step | steps | seconds |\n" + 8 * "|---" + "|")
    for image, sample, choices in todo:
        before = score(sample, sample.degraded)
        filled = "" if sample.mask is None else f"{score(sample, fill(sample)):.2f}"
        for name, settings in choices.items():
            if arguments.quick:
                settings = dataclasses.replace(settings, step_limit=20)
            start = time.perf_counter()
            task = "denoise" if sample.mask is None else "inpaint"
            result = napari_dip.restore(sample.degraded, sample.mask, task, settings=settings)
            seconds = time.perf_counter() - start
            after = score(sample, result.restored)
            print(
                f"| {image} | {name} | {before:.2f} | {after:.2f} | {filled} | {result.step} | "
                f"{result.record.stop_step} | {seconds:.1f} |",
                flush=True,
            )
            if not after > before and not arguments.quick:  # so few steps of the prior alone are no better
                failed.append(f"{image}, {name}")
            if result.note:
                notes.append(f"- {image}, {name}: {result.note}")
    print("\n".join(["", *notes]))
    if failed:
        sys.exit(f"no better than the degraded image: {'; '.join(failed)}.")


def photograph(size: int) -> Sample:
    """Return the centre of the cameraman with Gaussian noise of 25."""
    case = make_case(None, size)
    return Sample(case.degraded.astype(np.float32), case.truth)


def half_missing(size: int) -> Sample:
    """Return the centre of the cameraman, half of whose pixels are missing at random."""
    truth = make_case(None, size).truth
    mask = np.random.default_rng(0).random(truth.shape) < 0.5
    return Sample(np.where(mask, 0, truth).astype(np.float32), truth, mask)


def fill(sample: Sample) -> np.ndarray:
    """Fill what is missing by scikit-image's biharmonic inpainting."""
    peak = float(sample.truth.max())
    filled = inpaint_biharmonic(sample.degraded / peak, sample.mask)
    return np.where(sample.mask, filled * peak, sample.degraded)


def score(sample: Sample, restored: np.ndarray) -> float:
    """PSNR in dB; the peak is 255, or the truth's range where that is larger."""
    truth = np.asarray(sample.truth, dtype=np.float64)
    peak = max(255.0, float(np.ptp(truth)))
    return float(peak_signal_noise_ratio(truth, np.asarray(restored, dtype=np.float64), data_range=peak))


if __name__ == "__main__":
    main()
