"""How many networks never start: 200 dim, sparse, saturated and tiny images, five seeds each, the prior alone.

    OMP_NUM_THREADS=1 python tests/benchmark/dead_networks.py [--images N] [--seeds N] [--optimiser NAME]
        [--learning-rate R] [--bound λ] [--processes N] [--results FILE]

A network is dead when after 200 steps its output has less than 0.7 of the lowest frequency band of the image (the
median of its last five reports: of an 18 px image that band is nine frequencies, and one report of them jitters), or
when the run was begun again since it was still a constant. Half of the images have a painted scratch to fill in, the
others are denoised, each with a network as wide as the defaults have it. Every run is written to --results at once;
started again, the script goes on where it ended.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paper import read_results
from rich.progress import track
from scipy import ndimage
from skimage import data, transform

import napari_dip

STEPS, DEAD_BELOW = 200, 0.7
CAMERA_OFFSET = 100  # grey levels of a camera that sees nothing


def main() -> None:
    """Run what is not yet in the results, then print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--optimiser", choices=("muon", "adam"), help="default: that of the settings")
    parser.add_argument("--learning-rate", type=float, help="default: that of the settings")
    parser.add_argument("--bound", type=float, help="λ; default: that of the settings")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("dead_networks.jsonl"))
    arguments = parser.parse_args()
    asked = {
        "optimiser": arguments.optimiser,
        "learning_rate": arguments.learning_rate,
        "lipschitz_bound": arguments.bound,
    }
    settings = dataclasses.replace(
        napari_dip.Settings(device="cpu", partner=False, stopping="fixed", step_limit=STEPS, report_every=10),
        **{name: value for name, value in asked.items() if value is not None},
    )
    done = read_results(arguments.results)
    runs = {f"image {number}, seed {seed}": (number, seed) for number in range(arguments.images)
            for seed in range(arguments.seeds)}  # fmt: skip
    left = [name for name in runs if name not in done]
    print(f"{len(left)} of {len(runs)} to do")
    context = multiprocessing.get_context("spawn")
    with (
        arguments.results.open("a", encoding="utf-8") as file,
        ProcessPoolExecutor(arguments.processes, mp_context=context) as processes,
    ):
        jobs = {
            processes.submit(measure, number, dataclasses.replace(settings, seed=seed)): name
            for name, (number, seed) in ((name, runs[name]) for name in left)
        }
        for job in track(as_completed(jobs), "Fitting", total=len(jobs)):
            done[jobs[job]] = job.result()
            file.write(json.dumps({"case": jobs[job], **done[jobs[job]]}) + "\n")
            file.flush()
    print_table([done[name] for name in runs])


def measure(number: int, settings: napari_dip.Settings) -> dict[str, Any]:
    """Fit one image; return its kind and what the network had learned in the end and after a tenth of the steps."""
    kind, image, mask = make_image(number)
    task = "denoise" if mask is None else "inpaint"
    width = settings.choose_width(partner=mask is None)
    result = napari_dip.restore(image, mask, task=task, settings=dataclasses.replace(settings, width=width))
    bands = [report.band_correspondence[0] for report in result.history]
    return {
        "kind": kind,
        "side": image.shape[0],
        "task": task,
        "band_at_20": bands[1],
        "band": float(np.median(bands[-5:])),
        "last_band": bands[-1],
        "loss": result.history[-1].loss,
        "restarts": result.record.restarts,
    }


def print_table(results: list[dict[str, Any]]) -> None:
    """Print how many of each kind are dead."""
    restarts = sum(result["restarts"] > 0 for result in results)
    below = sum(result["last_band"] < DEAD_BELOW for result in results)
    print(f"\n{restarts} runs were begun again; {below} are below {DEAD_BELOW} in their last report")
    print(f"\n{'images':14s}{'runs':>6s}{'dead':>6s}{'least lowest band':>20s}{'median':>9s}")
    for kind in (*KINDS, "all"):
        of_kind = [result for result in results if kind in (result["kind"], "all")]
        bands = [result["band"] for result in of_kind]
        if bands:
            dead = sum(result["restarts"] > 0 or result["band"] < DEAD_BELOW for result in of_kind)
            print(f"{kind:14s}{len(bands):6d}{dead:6d}{min(bands):20.3f}{np.median(bands):9.3f}")


def make_image(number: int) -> tuple[str, NDArray[np.uint16], NDArray[np.bool_] | None]:
    """Return the kind, the image ``(n, n)`` and the mask, if any, of one of the 200."""
    generator = np.random.default_rng(number)
    kind = list(KINDS)[number % len(KINDS)]
    side = int(generator.integers(16, 33)) if kind == "tiny" else int(generator.integers(40, 97))
    image = KINDS[kind](side, generator)
    return kind, image, draw_scratch(side, generator) if number // len(KINDS) % 2 else None


def dim(side: int, generator: np.random.Generator) -> NDArray[np.uint16]:
    """A few cells' glow of some tens of photons above a camera's offset."""
    return _detect(
        generator.uniform(3, 60) * _glow(side, generator, int(generator.integers(2, 9)), 0.05, 0.2), generator
    )


def sparse(side: int, generator: np.random.Generator) -> NDArray[np.uint16]:
    """Beads a few pixels wide on a dark ground."""
    beads = _glow(side, generator, int(generator.integers(1, 16)), 1.0 / side, 2.5 / side)
    return _detect(generator.uniform(20, 1000) * beads, generator)


def saturated(side: int, generator: np.random.Generator) -> NDArray[np.uint16]:
    """Structure of which much is clipped, at the detector's upper end or at its lower."""
    image = _glow(side, generator, int(generator.integers(2, 9)), 0.05, 0.3)
    if generator.random() < 0.5:
        image = 1 - image
    image = generator.uniform(1.2, 4) * image * 200 + generator.normal(0, generator.uniform(2, 20), image.shape)
    return np.clip(image, 0, 255).astype(np.uint16)


def tiny(side: int, generator: np.random.Generator) -> NDArray[np.uint16]:
    """A piece of a photograph or of coins, 16 to 32 pixels a side, with noise."""
    whole = (data.camera(), data.coins(), data.moon())[int(generator.integers(3))]
    top, left = (int(generator.integers(0, length - 4 * side)) for length in whole.shape)
    piece = transform.resize(whole[top : top + 4 * side, left : left + 4 * side].astype(float), (side, side))
    return np.clip(piece + generator.normal(0, generator.uniform(1, 30), piece.shape), 0, 255).astype(np.uint16)


KINDS: dict[str, Callable[[int, np.random.Generator], NDArray[np.uint16]]] = {
    each.__name__: each for each in (dim, sparse, saturated, tiny)
}


def draw_scratch(side: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """A painted stroke across the image, 2 to 5 pixels wide."""
    mask = np.zeros((side, side), dtype=bool)
    rows = np.linspace(*generator.uniform(0.1, 0.9, 2), 4 * side) * (side - 1)
    columns = np.linspace(0.1, 0.9, 4 * side) * (side - 1)
    mask[rows.round().astype(int), columns.round().astype(int)] = True
    return ndimage.binary_dilation(mask, iterations=int(generator.integers(1, 3)))


def _glow(side: int, generator: np.random.Generator, count: int, least: float, most: float) -> NDArray[np.float64]:
    """Gaussian spots, of widths between two shares of the side, with 1 at the brightest pixel."""
    row, column = np.mgrid[:side, :side]
    image = np.zeros((side, side))
    for centre, width in zip(_places(count, side, generator), generator.uniform(least, most, count), strict=True):
        distance = (row - centre[0]) ** 2 + (column - centre[1]) ** 2
        image += generator.uniform(0.2, 1) * np.exp(-distance / (2 * (width * side) ** 2))
    return image / image.max()


def _places(count: int, side: int, generator: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    yield from generator.uniform(0, side, (count, 2))


def _detect(photons: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.uint16]:
    """Photon noise, read noise, a gain and an offset, as of an sCMOS camera."""
    electrons = generator.poisson(photons) + generator.normal(0, 1.5, photons.shape)
    return np.maximum(CAMERA_OFFSET + 2 * electrons, 0).round().astype(np.uint16)


if __name__ == "__main__":
    main()
