"""What planes gain from their neighbours on a film whose truth is known: time, steps and PSNR.

python tests/benchmark/warm_start.py --frames 4 --side 96
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np
from skimage.metrics import peak_signal_noise_ratio

import napari_dip
from napari_dip.samples import moving_cells


def main() -> None:
    """Restore the film with and without warm start; print both, and what each plane took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--photons", type=float, default=25.0)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--width", type=int, default=0, help="0: the preset's")
    arguments = parser.parse_args()
    sample = moving_cells(arguments.frames, arguments.side, arguments.photons)
    settings = napari_dip.Settings.preset(arguments.preset)
    if arguments.width:
        settings = dataclasses.replace(settings, width=arguments.width)
    peak = float(sample.truth.max() - sample.truth.min())
    totals = {}
    for along in ("T", None):  # the first plane is the same in both
        psnr, steps, seconds = [], [], []
        begun = time.process_time()
        rest = None if along else {"T": slice(1, None)}
        for each in napari_dip.restore_stack(sample.degraded, "TYX", settings=settings, warm_start=along, planes=rest):
            assert each.result is not None
            truth = sample.truth[each.plane.index]
            psnr.append(peak_signal_noise_ratio(truth, each.result.restored, data_range=peak))
            steps.append(each.result.record.stop_step)
            seconds.append(time.process_time() - begun)
            begun = time.process_time()
            name = "warm" if along else "afresh"
            print(
                f"{name} {each.plane.describe()}: {psnr[-1]:.2f} dB, {steps[-1]} steps, {seconds[-1]:.1f} s", flush=True
            )
        first = 1 if along else 0
        totals[along] = np.mean(psnr[first:]), sum(steps[first:]), sum(seconds[first:])
    (cold, cold_steps, cold_seconds), (warm, warm_steps, warm_seconds) = totals[None], totals["T"]
    print(
        f"planes after the first: {cold_seconds / warm_seconds:.2f} x faster (processor time), "
        f"{cold_steps / warm_steps:.2f} x fewer steps, {warm - cold:+.2f} dB"
    )


if __name__ == "__main__":
    main()
