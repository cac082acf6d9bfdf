"""Restore a large image within a memory budget, and measure the peak: the process's whole resident memory.

python tests/benchmark/large_image.py --side 4096 --budget 2.0 --width 8 --steps 4
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
from skimage import data

import napari_dip


def main() -> None:
    """Print tiles, seconds and the peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--budget", type=float, default=2.0, help="GB")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--partner", action="store_true")
    arguments = parser.parse_args()
    side = arguments.side
    photograph = data.camera()
    image = np.tile(photograph, (-(-side // 512),) * 2)[:side, :side].astype(np.uint16)
    random = np.random.default_rng(0)
    for row in range(0, side, 256):  # not all at once: the peak is to be the restoration's
        part = image[row : row + 256]
        image[row : row + 256] = np.clip(part + random.normal(0, 15, part.shape), 0, 65535)
    settings = napari_dip.Settings(
        device="cpu", width=arguments.width, levels=4, step_limit=arguments.steps, stopping="fixed",
        partner=arguments.partner, report_every=arguments.steps,
    )  # fmt: skip
    start = time.perf_counter()
    (done,) = napari_dip.restore_stack(image, "YX", settings=settings, memory=arguments.budget * 1e9)
    assert done.result is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(done.result.record.compared)
    print(f"{time.perf_counter() - start:.0f} s; peak {peak / 1e9:.2f} GB, of a budget of {arguments.budget:.2f} GB")


if __name__ == "__main__":
    main()
