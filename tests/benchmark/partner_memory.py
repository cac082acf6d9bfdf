"""What memory an image takes at most, filters included, beside what was planned for it.

    python tests/benchmark/partner_memory.py [--size 512 1024 1536] [--width 8 32] [--neighbours | --fill]

Each in a process of its own: the peak of its resident memory, less what its imports had taken.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import numpy as np
from skimage import data

import napari_dip
from napari_dip.device import choose_device
from napari_dip.fit_plan import bytes_needed

_MIB = 2**20


def main() -> None:
    """Print a line for each size and width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[512, 1024, 1536])
    parser.add_argument("--width", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--neighbours", action="store_true", help="four neighbouring planes help")
    parser.add_argument("--fill", action="store_true", help="half of the pixels are missing, and nothing else is wrong")
    parser.add_argument("--here", action="store_true", help="in this process; then one size and one width")
    arguments = parser.parse_args()
    if arguments.here:
        measure(arguments.size[0], arguments.width[0], neighbours=arguments.neighbours, fill=arguments.fill)
        return
    for size in arguments.size:
        for width in arguments.width:
            line = [sys.executable, __file__, "--here", "--size", str(size), "--width", str(width)]
            line += [f"--{name}" for name in ("neighbours", "fill") if getattr(arguments, name)]
            subprocess.run(line, check=True)


def measure(size: int, width: int, *, neighbours: bool, fill: bool) -> None:
    """Restore once, and print the peak."""
    times = -(-size // 512)
    planes = 5 if neighbours else 1
    truth, generator = np.tile(data.camera(), (times, times))[:size, :size], np.random.default_rng(0)
    stack = (truth + generator.normal(0, 0 if fill else 25, (planes, size, size))).astype(np.float32)
    task, mask = ("inpaint", generator.random(truth.shape) < 0.5) if fill else ("denoise", None)
    settings = napari_dip.Settings(width=width, stopping="fixed", step_limit=10, device="cpu")
    planned = bytes_needed(
        settings, choose_device("cpu"), (size, size), 1, partner=not fill, fills=fill, neighbours=neighbours
    )
    before = peak()
    for _ in napari_dip.restore_stack(stack, "TYX", mask, task=task, settings=settings, planes={"T": planes // 2}):
        pass
    taken = peak() - before
    print(
        f"{size}^2, width {width}: {taken / _MIB:.0f} MiB, {taken / size**2:.0f} bytes a pixel; planned "
        f"{planned / _MIB:.0f} MiB",
        flush=True,
    )


def peak() -> float:
    """Return the most bytes that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1)


if __name__ == "__main__":
    main()
