"""Restore public images and print our PSNR beside that of rivals on the same pixels: the first table of benchmarks.md.

    python tests/benchmark/rivals.py DIR --set denoise [--only-rivals]

DIR has a folder of images for each set: ``denoise`` (for hole and enlarge, too), ``inpaint`` (for missing), ``jpeg``,
and ``microscopy`` and ``fmd``, which hold pairs of one exposure and its truth, NAME_raw and NAME_truth. Rivals are what
scikit-image and Pillow bring; the results of others that lie beside the images of ``microscopy`` as NAME_vst_bm3d and
NAME_n2v (W2S publishes them); and BM3D, if its authors' package is installed, whose licence allows non-commercial use
only.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from degradations import Case, acquired, compressed, dropped, find_images, holed, noisy, shrunk
from numpy.typing import NDArray
from PIL import Image
from skimage.restoration import inpaint_biharmonic

import napari_dip

Rival = Callable[[Case, Path], NDArray | None]


@dataclasses.dataclass(frozen=True)
class Set:
    """Some images of a folder, how they are degraded, and the rivals."""

    folder: str
    make: Callable[[Path], Case]
    rivals: dict[str, Rival]
    names: tuple[str, ...] = ("*",)


def main() -> None:
    """Print a row for every image, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", choices=SETS, required=True, dest="name")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only-rivals", action="store_true", help="leave out ours, which takes longest")
    arguments = parser.parse_args()
    chosen = SETS[arguments.name]
    settings = dataclasses.replace(
        napari_dip.Settings.preset(arguments.preset), seed=arguments.seed, device=arguments.device
    )
    paths = [
        path
        for path in find_images(arguments.data / chosen.folder)
        if any(path.match(name) for name in chosen.names) and is_input(path)
    ]
    if not paths:
        raise SystemExit(f"there is none of {', '.join(chosen.names)} in {arguments.data / chosen.folder}.")
    columns = ["degraded", "ours", "step", "seconds", *chosen.rivals]
    print(f"| image | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}", flush=True)
    rows = []
    for path in paths:
        case = chosen.make(path)
        row = {"degraded": None if case.factor else case.score(case.degraded)}
        row |= {} if arguments.only_rivals else restore(case, settings)
        for name, rival in chosen.rivals.items():
            image = rival(case, path)
            row[name] = None if image is None else case.score(image)
        rows.append(row)
        print_row(path.stem.removesuffix("_raw"), row, columns)
    print_row("mean", {name: find_mean([row.get(name) for row in rows]) for name in columns}, columns)


def is_input(path: Path) -> bool:
    """Whether a file is an image to restore, not the truth or a rival's result that lies beside one."""
    return not path.stem.endswith(("_truth", "_n2v", "_vst_bm3d"))


def restore(case: Case, settings: napari_dip.Settings) -> dict[str, float | None]:
    """Return our figures."""
    start = time.perf_counter()
    result = napari_dip.restore(case.degraded.astype(np.float32), case.mask, case.task, case.factor, settings=settings)
    assert result.restored is not None
    return {"ours": case.score(result.restored), "step": result.step, "seconds": time.perf_counter() - start}


def print_row(name: str, row: dict[str, float | None], columns: list[str]) -> None:
    """Print a line of the table."""
    texts = []
    for column in columns:
        value = row.get(column)
        texts.append("" if value is None else f"{value:.{0 if column == 'step' else 2}f}")
    print(f"| {name} | {' | '.join(texts)} |", flush=True)


def find_mean(values: list[float | None]) -> float | None:
    """Return the mean of what is there."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def run_bm3d(case: Case, path: Path) -> NDArray | None:
    """BM3D, or CBM3D for colours, told the noise; None if its authors' package is not installed."""
    try:
        import bm3d
    except ImportError:
        return None
    filtered = bm3d.bm3d_rgb if case.degraded.ndim == 3 else bm3d.bm3d
    return np.asarray(filtered(case.degraded / 255, 25 / 255)) * 255


def fill_biharmonic(case: Case, path: Path) -> NDArray:
    """Biharmonic functions through the known pixels (scikit-image)."""
    image, axis = case.degraded / 255, -1 if case.degraded.ndim == 3 else None
    return np.asarray(inpaint_biharmonic(image, case.mask, channel_axis=axis)) * 255


def find_published(ending: str) -> Rival:
    """Return what finds a rival's published result beside an image."""

    def look(case: Case, path: Path) -> NDArray | None:
        beside = path.with_name(path.name.replace("_raw", ending))
        if not beside.exists():
            return None
        whole = tifffile.imread(beside).astype(np.float64)
        top, left = ((full - part) // 2 for full, part in zip(whole.shape, case.truth.shape, strict=True))
        return whole[top : top + case.truth.shape[0], left : left + case.truth.shape[1]]

    return look


def resample(filter_: Image.Resampling) -> Rival:
    """Return what enlarges with one of Pillow's filters."""

    def enlarge(case: Case, path: Path) -> NDArray:
        height, width = case.truth.shape[:2]
        small = Image.fromarray(case.degraded.astype(np.uint8))
        return np.asarray(small.resize((width, height), filter_), dtype=np.float64)

    return enlarge


def acquire_in_same_units(path: Path) -> Case:
    """One exposure and its truth, stored with the same contrast."""
    return dataclasses.replace(acquired(path, 256), same_units=True)


SETS = {
    "denoise": Set("denoise", lambda path: noisy(path, 128, 25), {"BM3D": run_bm3d}),
    "microscopy": Set(
        "microscopy", lambda path: acquired(path, 256),
        {"VST-BM3D": find_published("_vst_bm3d"), "Noise2Void": find_published("_n2v")}, ("*_raw.*",),
    ),
    "fmd": Set("fmd", acquire_in_same_units, {}, ("*_raw.*",)),
    "missing": Set("inpaint", lambda path: dropped(path, 128, 0.5), {"biharmonic": fill_biharmonic},
                   ("barbara.*", "boat.*", "house.*", "peppers*.*")),
    "hole": Set("denoise", lambda path: holed(path, 128, 0.1), {"biharmonic": fill_biharmonic}),
    "jpeg": Set("jpeg", lambda path: compressed(path, 128, 10), {}),
    "enlarge": Set(
        "denoise", lambda path: shrunk(path, 128, 4),
        {"Lanczos": resample(Image.Resampling.LANCZOS), "bicubic": resample(Image.Resampling.BICUBIC)},
        ("*F16*", "*House*"),
    ),
}  # fmt: skip


if __name__ == "__main__":
    main()
