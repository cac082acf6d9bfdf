"""What each part of the default settings is worth: every variant on the same noisy images, PSNR, steps and seconds.

    python tests/benchmark/ablation.py --data DIR [--variant NAME ...] [--results FILE]

DIR holds ``denoise/`` (photographs; Gaussian noise of 25 is added to their 128 px centres) and may hold ``microscopy/``
(pairs NAME_raw, NAME_truth; 256 px centres). Every finished case is written to --results at once; started again, the
run goes on where it ended.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from degradations import SUFFIXES, Case, acquired, find_images, noisy
from paper import read_results
from rich.progress import track

import napari_dip
from napari_dip.optimisation.partner import DenoisingPartner

_OLD = {"optimiser": "adam", "patience": 300, "step_limit": 3000}
_LONG_MEAN = {"averaging": 0.98}
_SMALLEST = " by the smallest error"  # at the end of a name: the step is chosen by it, whether that is chance or not
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    # how the default became faster: without each lever, with each alone, with none
    "Adam": _OLD,
    "chosen" + _SMALLEST: {},
    "outputs averaged over 50 steps": _LONG_MEAN,
    "Muon alone" + _SMALLEST: _LONG_MEAN,
    "significant gains alone": _OLD | _LONG_MEAN,
    "outputs averaged over 10 steps, alone" + _SMALLEST: _OLD,
    "none of the three" + _SMALLEST: _OLD | _LONG_MEAN,
    # its parts, one change at a time
    "no partner": {"partner": False},
    "λ = 1.4": {"lipschitz_bound": 1.4},
    "no bound": {"lipschitz_bound": None},
    "learning rate 0.01": {"learning_rate": 0.01},
    "learning rate 0.04": {"learning_rate": 0.04},
    "outputs not averaged": {"averaging": 0.0},
    "noise of 0.05 on z": {"input_noise": 0.05},
    "width 16": {"width": 16},
    "width 64": {"width": 64},
    "two runs": {"runs": 2},
    "four runs": {"runs": 4},
    "patience 50": {"patience": 50},
    "patience 200": {"patience": 200},
}
_ALONE = {"λ = 1.4", "no bound", "outputs not averaged"}  # measured without a partner, too
VARIANTS |= {f"no partner, {name}": VARIANTS[name] | {"partner": False} for name in sorted(_ALONE)}


def main() -> None:
    """Run what is not yet in the results, then print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--family", choices=("photographs", "microscopy"), help="default: both")
    parser.add_argument("--variant", action="append", choices=list(VARIANTS), help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("ablation.jsonl"))
    arguments = parser.parse_args()
    variants = arguments.variant or list(VARIANTS)
    cases = {key: case for key, case in find_cases(arguments.data).items() if arguments.family in (None, key[0])}
    done = read_results(arguments.results)
    keys = {
        (variant, *key): f"{variant}; {'; '.join(key)}; seed {arguments.seed}" for variant in variants for key in cases
    }
    todo = [(case, text) for case, text in keys.items() if text not in done]
    for (variant, *key), text in track(todo, description=f"{len(todo)} of {len(keys)} to do"):
        settings = dataclasses.replace(napari_dip.Settings(), seed=arguments.seed, **VARIANTS[variant])
        case = cases[key[0], key[1]]
        start = time.perf_counter()
        with chosen_by_smallest_error() if variant.endswith(_SMALLEST) else nullcontext():
            result = napari_dip.restore(case.degraded.astype(np.float32), settings=settings)
        seconds, steps = time.perf_counter() - start, result.history[-1].step
        figures = {"psnr": case.score(result.restored), "step": result.step, "steps": steps, "seconds": seconds}
        done[text] = figures
        with arguments.results.open("a") as file:
            file.write(json.dumps({"case": text, **figures}) + "\n")
    for family in dict.fromkeys(key[0] for key in cases):
        print(f"\n{family}")
        for variant in variants:
            rows = [done[keys[variant, *key]] for key in cases if key[0] == family]
            psnr, steps, seconds = (np.mean([row[name] for row in rows]) for name in ("psnr", "steps", "seconds"))
            print(f"  {variant:70s} {psnr:6.2f} dB  {steps:5.0f} steps  {seconds:6.1f} s each")


@contextmanager
def chosen_by_smallest_error() -> Iterator[None]:
    """Hide from the engine whether a gain exceeds chance."""
    judge = DenoisingPartner.judge
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DenoisingPartner, "judge", lambda *given: dataclasses.replace(judge(*given), errors=None))
        yield


def find_cases(folder: Path) -> dict[tuple[str, str], Case]:
    """Return the cases by family and name."""
    cases = {("photographs", path.stem): noisy(path, 128, 25) for path in find_images(folder, "denoise")}
    for path in sorted((folder / "microscopy").glob("*_raw.*")):
        if path.suffix.lower() in SUFFIXES:
            cases["microscopy", path.stem.removesuffix("_raw")] = acquired(path, 256)
    return cases


if __name__ == "__main__":
    main()
