"""How well the time left is told: after a tenth, a quarter and half of a run, against what it then took.

    python tests/benchmark/time_left.py [--size 256]

Watched as the window does it. Once with a fixed number of steps, where the end is known; once with the automatic stop,
of which only the least and the most are told.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from skimage import data

import napari_dip
from napari_dip.pace import Pace

_SECONDS_BETWEEN = 0.2
_MOMENTS = (0.1, 0.25, 0.5)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    size = parser.parse_args().size
    truth = data.camera()[:size, :size].astype(np.float32)
    noisy = np.clip(truth + np.random.default_rng(0).normal(0, 25, truth.shape), 0, 255).astype(np.float32)
    for name, settings in {
        "400 steps": napari_dip.Settings(stopping="fixed", step_limit=400),
        "400 steps, then smoothing": napari_dip.Settings(stopping="fixed", step_limit=400, smoothed=True),
        "automatic stop": napari_dip.Settings(),
    }.items():
        told = []
        pace = Pace(_SECONDS_BETWEEN)
        for progress in napari_dip.restore_steps(
            noisy, settings=settings, quick_estimates=True, report_wanted=pace.is_due
        ):
            pace.mark_shown()
            told.append((time.perf_counter(), progress.seconds_left))
        start, end = told[0][0], told[-1][0]
        print(f"{name}, {size}^2: {end - start:.1f} s")
        for moment in _MOMENTS:
            when, left = next(each for each in told if each[0] >= start + moment * (end - start))
            really = end - when
            if left is not None:
                least, most = left
                print(f"  after {when - start:.1f} s: told {least:.1f} to {most:.1f} s, it took {really:.1f} s "
                      f"({100 * (least / really - 1):+.0f}% to {100 * (most / really - 1):+.0f}%)")  # fmt: skip


if __name__ == "__main__":
    main()
