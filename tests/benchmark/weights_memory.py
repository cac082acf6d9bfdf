"""What memory the weights of a wide network take, with gradients and optimiser, as many times their own size.

    python tests/benchmark/weights_memory.py [--width 512 1024] [--optimiser muon adam] [--precision float32 bfloat16]

Each in a process of its own, on an image of 32 x 32 pixels: the peak of its resident memory, less what a narrow network
had taken before, divided by what the kernels take once.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import subprocess
import sys

import numpy as np

import napari_dip
from napari_dip.device import choose_device
from napari_dip.fit_plan import bytes_needed

_MIB = 2**20


def main() -> None:
    """Print a line for each width, optimiser and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--optimiser", nargs="+", default=["muon", "adam"])
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--here", action="store_true", help="in this process; then one of each")
    arguments = parser.parse_args()
    if arguments.here:
        measure(arguments.width[0], arguments.optimiser[0], arguments.precision[0])
        return
    for optimiser in arguments.optimiser:
        for precision in arguments.precision:
            for width in arguments.width:
                line = [sys.executable, __file__, "--here", "--width", str(width)]
                line += ["--optimiser", optimiser, "--precision", precision]
                subprocess.run(line, check=True)


def measure(width: int, optimiser: str, precision: str) -> None:
    """Restore with a narrow network, then with the wide one, and print what the peak rose by."""
    image = np.random.default_rng(0).random((32, 32))
    narrow = napari_dip.Settings(
        width=8, levels=2, stopping="fixed", step_limit=3, device="cpu", partner=False, optimiser=optimiser,
        precision=precision,
    )  # fmt: skip
    wide = dataclasses.replace(narrow, width=width)
    napari_dip.restore(image, settings=narrow)
    before = peak()
    napari_dip.restore(image, settings=wide)
    taken = peak() - before
    kernels = 4 * 9 * (width * narrow.input_channels + 5 * width**2)  # a stem of two convolutions, and two a level
    device = choose_device("cpu", precision)
    planned = bytes_needed(wide, device, image.shape, 1, partner=False)
    planned -= bytes_needed(narrow, device, image.shape, 1, partner=False)
    print(
        f"{optimiser}, {precision}, width {width}: {taken / _MIB:.0f} MiB, {taken / kernels:.1f} times the kernels; "
        f"planned {planned / _MIB:.0f} MiB, {planned / kernels:.1f} times",
        flush=True,
    )


def peak() -> float:
    """Return the most bytes that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1)


if __name__ == "__main__":
    main()
