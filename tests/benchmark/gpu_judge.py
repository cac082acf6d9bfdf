"""The same cases on the CPU and on another device: PSNR on either, and the difference.

    python tests/benchmark/gpu_judge.py JUDGE_DIR --device cuda [--quick]

JUDGE_DIR holds ``cases.py``, whose ``all_cases()`` yields degraded images with their truth, and ``judge.py`` with its
names of tasks; the first case of each of five families is restored with the default settings. The two devices work at
the same time, each in a process of its own. Ends with an error where the other device is far worse.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np

import napari_dip

# dB that are no fault: two seeds differ by as much
_WORSE = {"deblock": 0.3, "denoise": 0.3, "inpaint_hole": 3.0, "inpaint": 0.7, "microscopy": 0.3}


def main() -> None:
    """Print a row for every case as both devices have done it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judge", type=Path)
    parser.add_argument("--device", required=True)
    parser.add_argument("--quick", action="store_true", help="few steps: only to run every line")
    arguments = parser.parse_args()
    names = find_names(arguments.judge)
    limit = 20 if arguments.quick else None
    spawn = multiprocessing.get_context("spawn")
    worse = []
    print(f"| case | CPU, dB | step | {arguments.device}, dB | step | difference |\n" + 6 * "|---" + "|", flush=True)
    with spawn.Pool(1) as here, spawn.Pool(1) as there:
        on_cpu, on_device = (
            pool.imap(restore_case, [(arguments.judge, name, device, limit) for name in names.values()])
            for pool, device in ((here, "cpu"), (there, arguments.device))
        )
        for (family, name), (reference, step), (found, step_there) in zip(
            names.items(), on_cpu, on_device, strict=True
        ):
            difference = found - reference
            print(
                f"| {family}: {name} | {reference:.2f} | {step} | {found:.2f} | {step_there} | {difference:+.2f} |",
                flush=True,
            )
            if not difference > -_WORSE[family]:
                worse.append(f"{name} by {-difference:.2f} dB")
    if worse:
        sys.exit(f"{arguments.device} is worse than the CPU: {'; '.join(worse)}.")


def find_names(judge: Path) -> dict[str, str]:
    """Return the name of the first case of each family."""
    names: dict[str, str] = {}
    for case in import_from(judge, "cases").all_cases():
        if case.family in _WORSE:
            names.setdefault(case.family, case.name)
    missing = [family for family in _WORSE if family not in names]
    if missing:
        sys.exit(f"{judge}/cases.py finds no case of {', '.join(missing)}: do its images lie where it looks for them?")
    return {family: names[family] for family in _WORSE}


def restore_case(what: tuple[Path, str, str, int | None]) -> tuple[float, int]:
    """In a process of its own: restore a case; return its PSNR and the chosen step."""
    judge, name, device, limit = what
    case = next(each for each in import_from(judge, "cases").all_cases() if each.name == name)
    task = import_from(judge, "judge").TASKS.get(case.family, case.family)
    settings = napari_dip.Settings(device=device)
    if limit is not None:
        settings = dataclasses.replace(settings, step_limit=limit)
    result = napari_dip.restore(case.degraded.astype(np.float32), case.mask, task, case.factor, settings)
    return case.score(result.restored), result.step


def import_from(judge: Path, module: str) -> Any:
    """Import one of the judge's modules."""
    if not (judge / f"{module}.py").exists():
        sys.exit(f"there is no {module}.py in {judge}.")
    if str(judge) not in sys.path:
        sys.path.insert(0, str(judge))
    return __import__(module)


if __name__ == "__main__":
    main()
