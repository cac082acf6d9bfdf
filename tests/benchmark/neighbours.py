"""What neighbouring planes are worth on stacks whose truth is known: PSNR, flicker, time; and what they cost in memory.

    python tests/benchmark/neighbours.py [--stack still membranes cells unrelated] [--task denoise inpaint] [--side 128]
    python tests/benchmark/neighbours.py --memory 10 100

Flicker is the mean squared change of the error from plane to plane, as a share of that of the noisy stack: what the
restored planes differ from their neighbours where the truth does not. Holes are scratches, or discs up to 24 pixels
wide, that lie elsewhere in every plane; in them, PSNR counts the missing pixels only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage import data, draw

import napari_dip
from napari_dip.samples import moving_cells

PLANES, PHOTONS, FADED = 5, 25.0, 0.01  # planes; of noise to remove; deviation of noise that stays, beside holes


def draw_membranes(side: int) -> NDArray[np.float64]:
    """Return membranes between cells that move about, with moving spots, in [0, 1], ``(t, h, w)``."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side].astype(float)
    cells, drift = random.uniform(-10, side + 10, (30, 2)), random.normal(0, 0.8, (30, 2))
    spots, speeds = random.uniform(0, side, (60, 2)), random.normal(0, 1.2, (60, 2))
    film = []
    for frame in range(PLANES):
        places = cells + frame * drift
        apart = np.hypot(rows - places[:, 0, None, None], columns - places[:, 1, None, None])
        nearest, next_one, *_ = np.sort(apart, axis=0)
        film.append(0.8 * gaussian_filter(np.exp(-(((next_one - nearest) / 2) ** 2)), 0.8))
        for row, column in spots + frame * speeds:
            film[-1] += 0.7 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4.5)
    return np.clip(film, 0, 1)


def make_stack(name: str, side: int) -> NDArray[np.float64]:
    """Return the truth of a stack, about in [0, 1]."""
    if name == "membranes":
        return draw_membranes(side)
    if name == "cells":
        cells = moving_cells(PLANES, side).truth
        return (cells - cells.min()) / np.ptp(cells)
    photographs = [
        data.camera()[60:, 130:],
        data.moon()[100:, 100:],
        data.coins()[50:, 50:],
        data.page()[20:, 20:],
        data.brick(),
    ]
    if name == "still":
        photographs = photographs[:1] * PLANES
    return np.stack([each[:side, :side] / 255.0 for each in photographs])


def make_holes(name: str, side: int) -> NDArray[np.bool_]:
    """Return which pixels are missing, ``(t, h, w)``."""
    random = np.random.default_rng(1)
    lines, discs, radii = (5, 8, (2, 6)) if name == "scratches" else (5, 5, (8, 12))
    missing = np.zeros((PLANES, side, side), bool)
    for plane in missing:
        for _ in range(lines):
            rows, columns = draw.line(*random.integers(0, side, 4))
            for shift in (-1, 0, 1):
                plane[np.clip(rows + shift, 0, side - 1), columns] = True
        for row, column in random.integers(8, side - 8, (discs, 2)):
            plane[draw.disk((row, column), random.uniform(*radii), shape=plane.shape)] = True
    return missing


def measure_flicker(stack: NDArray, truth: NDArray) -> float:
    """Return the mean squared change of the error from plane to plane."""
    return float(np.mean(np.diff(stack - truth, axis=0) ** 2))


def restore(stack: NDArray, settings: napari_dip.Settings, planes: slice, **how: object) -> tuple:
    """Restore some planes; return them, how many were helped, and the seconds that each took."""
    out, helped, begun = np.zeros(stack.shape, np.float32), 0, time.perf_counter()
    for each in napari_dip.restore_stack(stack, "TYX", settings=settings, planes={"T": planes}, out=out, **how):
        if each.result is not None:
            helped += each.result.record.neighbours > 0
    return out[planes], helped, (time.perf_counter() - begun) / len(out[planes])


def compare(name: str, task: str, side: int, planes: slice, settings: napari_dip.Settings) -> None:
    """Restore planes of a stack with and without neighbours, and print both."""
    truth, random = make_stack(name, side), np.random.default_rng(0)
    cases: dict[str, tuple] = {}
    if task == "denoise":
        noisy = random.poisson(PHOTONS * (truth + 0.03)) / PHOTONS - 0.03
        cases["noise"] = noisy, np.ones(truth.shape, bool), {}
    else:
        for kind in ("scratches", "discs"):
            holes = make_holes(kind, side)
            seen = np.where(holes, 0, truth + random.normal(0, FADED, truth.shape))
            cases[kind] = seen, holes, {"task": "inpaint", "mask": holes}
    for kind, (degraded, where, how) in cases.items():
        before = 0.0
        for neighbours in (None, "auto"):
            image, helped, seconds = restore(degraded, settings, planes, neighbours=neighbours, **how)
            psnr = 10 * np.log10(1 / np.mean((image - truth[planes])[where[planes]] ** 2))
            said = [f"{name:10s} {kind:10s} neighbours {neighbours or 'none'}: {psnr:.2f} dB"]
            if task == "denoise" and len(image) > 1:
                flicker = measure_flicker(image, truth[planes]) / measure_flicker(degraded[planes], truth[planes])
                said.append(f"flicker {100 * flicker:.2f}%")
            said.append(f"{helped} of {len(image)} planes helped")
            ratio = f" ({seconds / before:.2f} times)" if before else ""
            print(", ".join([*said, f"{seconds:.1f} s a plane{ratio}, load {os.getloadavg()[0]:.1f}"]), flush=True)
            before = seconds


def measure_memory(count: int) -> None:
    """Restore a few steps of ``count`` planes with neighbours, and print the peak of this process's memory."""
    import resource

    stack = np.random.default_rng(0).poisson(20, (count, 64, 64)).astype(np.float32)
    settings = napari_dip.Settings(width=8, step_limit=10, stopping="fixed", device="cpu")
    for _ in napari_dip.restore_stack(stack, "TYX", settings=settings):
        pass
    print(f"{count} planes: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack", nargs="+", default=["still", "membranes", "cells", "unrelated"])
    parser.add_argument("--task", nargs="+", choices=["denoise", "inpaint"], default=["denoise", "inpaint"])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--plane", type=int, help="only this one; by default all, which flicker needs")
    parser.add_argument("--step-limit", type=int)
    parser.add_argument("--memory", type=int, nargs="+", metavar="PLANES")
    arguments = parser.parse_args()
    if arguments.memory and len(arguments.memory) == 1:
        measure_memory(arguments.memory[0])
        return
    for count in arguments.memory or []:
        subprocess.run([sys.executable, __file__, "--memory", str(count)], check=True)
    if arguments.memory:
        return
    changes = {} if arguments.step_limit is None else {"step_limit": arguments.step_limit}
    planes = slice(None) if arguments.plane is None else slice(arguments.plane, arguments.plane + 1)
    for name in arguments.stack:
        for task in arguments.task:
            compare(name, task, arguments.side, planes, napari_dip.Settings(device="cpu", **changes))


if __name__ == "__main__":
    main()
