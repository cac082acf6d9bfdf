"""Run the protocols of the paper's Tables 1-5 and print our PSNR beside the paper's.

    python tests/benchmark/paper.py --data DIR [--table TABLE] [--size N] [--preset NAME]

DIR holds images, or a folder of images for each table (denoise, deblock or jpeg, inpaint, super_resolve). The paper's
own sets are CBSD68 (denoise, inpaint), LIVE1 (deblock), Set14 and Set5 (super_resolve): only on them are its figures
comparable with ours; elsewhere they stand beside ours for orientation. Without a GPU use --size 128 (central crops).

Every finished case is written to --results at once; started again, the run goes on where it ended.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from degradations import Degradation, compressed, dropped, find_images, holed, noisy, shrunk
from rich.progress import track

import napari_dip


@dataclasses.dataclass(frozen=True)
class Row:
    """One protocol: a degradation, its levels, and what the paper reports at each."""

    table: str
    title: str
    degradation: Degradation
    unit: str
    paper: dict[float, dict[str, float]]
    folders: tuple[str, ...]


ROWS = [
    Row("denoise", "Table 1: Gaussian noise, CBSD68", noisy, "σ", {
        15: {"ours": 30.80, "Ulyanov": 30.58, "Heckel": 28.66, "Cheng": 30.77, "CBM3D": 33.52},
        25: {"ours": 28.15, "Ulyanov": 27.84, "Heckel": 26.60, "Cheng": 28.08, "CBM3D": 30.71},
        50: {"ours": 24.83, "Ulyanov": 24.59, "Heckel": 24.06, "Cheng": 24.71, "CBM3D": 27.38},
    }, ("denoise",)),
    Row("deblock", "Table 2: JPEG, LIVE1", compressed, "quality", {
        10: {"ours": 27.70, "Ulyanov": 27.52, "Heckel": 26.63, "Cheng": 27.59, "AR-CNN": 28.96},
        20: {"ours": 29.86, "Ulyanov": 29.75, "Heckel": 27.65, "Cheng": 29.81, "AR-CNN": 31.29},
        30: {"ours": 31.14, "Ulyanov": 31.08, "Heckel": 28.99, "Cheng": 31.12, "AR-CNN": 32.67},
    }, ("deblock", "jpeg")),
    Row("inpaint", "Table 3: central hole, CBSD68", holed, "hole", {
        0.1: {"ours": 22.87, "Ulyanov": 22.78, "Heckel": 21.52, "Cheng": 22.83},
        0.25: {"ours": 19.58, "Ulyanov": 19.42, "Heckel": 18.67, "Cheng": 19.49},
        0.5: {"ours": 17.36, "Ulyanov": 17.26, "Heckel": 16.81, "Cheng": 17.28},
    }, ("inpaint",)),
    Row("inpaint", "Fig. 10: pixels missing at random (the paper prints curves only)", dropped, "missing",
        {0.5: {}}, ("inpaint",)),
    Row("super_resolve", "Tables 4 and 5: Lanczos downsampling, Set14 (Set5)", shrunk, "x", {
        4: {"ours": 27.50, "Ulyanov": 27.00, "Heckel": 21.79, "Cheng": 26.07, "bicubic": 26.05, "LapSRN": 28.13},
        8: {"ours": 24.17, "Ulyanov": 24.15, "Heckel": 20.31, "Cheng": 20.67, "bicubic": 23.09, "LapSRN": 24.35},
    }, ("super_resolve", "denoise")),
]  # fmt: skip


def main() -> None:
    """Run what is not yet in the results, then print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--table", choices=sorted({row.table for row in ROWS}), help="default: all")
    parser.add_argument("--size", type=int, help="side of a central crop; default: whole images")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--results", type=Path, default=Path("paper_results.jsonl"))
    arguments = parser.parse_args()
    settings = dataclasses.replace(
        napari_dip.Settings.preset(arguments.preset), seed=arguments.seed, device=arguments.device
    )
    rows = [row for row in ROWS if arguments.table in (None, row.table)]
    done = read_results(arguments.results)
    todo = []
    for row in rows:
        for path in find_images(arguments.data, *row.folders):
            for level in row.paper:
                key = name_case(row, level, path, arguments)
                if key not in done:
                    todo.append((key, row, level, path))
    for key, row, level, path in track(todo, description=f"{len(todo)} of {len(todo) + len(done)} to do"):
        case = row.degradation(path, arguments.size, level)
        start = time.perf_counter()
        result = napari_dip.restore(
            case.degraded.astype(np.float32), case.mask, case.task, case.factor, settings=settings
        )
        degraded = None if case.factor else case.score(case.degraded)
        figures = {
            "psnr": case.score(result.restored), "degraded": degraded, "step": result.step,
            "seconds": time.perf_counter() - start, "device": result.settings.device,
        }  # fmt: skip
        done[key] = figures
        with arguments.results.open("a") as file:
            file.write(json.dumps({"case": key, **figures}) + "\n")
    for row in rows:
        print_row(row, done, arguments)


def read_results(path: Path) -> dict[str, dict]:
    """What earlier runs wrote; a line cut off by an interruption is done again."""
    done = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            figures = json.loads(line)
        except json.JSONDecodeError:
            continue
        done[figures.pop("case")] = figures
    return done


def name_case(row: Row, level: float, path: Path, arguments: argparse.Namespace) -> str:
    """All that the figure depends on."""
    size = arguments.size or "whole"
    return f"{row.degradation.__name__} {level:g} {path.stem} {size} {arguments.preset} seed {arguments.seed}"


def print_row(row: Row, done: dict[str, dict], arguments: argparse.Namespace) -> None:
    """One line per level: our mean on these images, then the paper's figures on its own."""
    by_level = defaultdict(list)
    for path in find_images(arguments.data, *row.folders):
        for level in row.paper:
            by_level[level].append(done[name_case(row, level, path, arguments)])
    print(f"\n{row.title}")
    for level, figures in by_level.items():
        ours, seconds = (np.mean([each[name] for each in figures]) for name in ("psnr", "seconds"))
        before = [each["degraded"] for each in figures if each["degraded"] is not None]
        degraded = f", degraded {np.mean(before):5.2f}" if before else ""
        paper = "  ".join(f"{name} {value:.2f}" for name, value in row.paper[level].items()) or "-"
        print(
            f"  {row.unit} {level:<5g} here {ours:5.2f} dB on {len(figures)} images{degraded}, {seconds:4.0f} s each"
            f"  |  in the paper: {paper}"
        )


if __name__ == "__main__":
    main()
