"""What a step is made of, between two reports: launches, kernels, how long the device is busy, how often it is awaited.

    python tests/benchmark/gpu_profile.py --device cuda [--size 256 512] [--preset default published]

On CUDA (and ROCm) from a trace of torch's profiler; the milliseconds of a step are taken without it, because it slows
the launches. "Busy" is the time in which at least one kernel or copy runs. Of other devices torch tells no kernels:
counted are the operations that a step asks for, and the values that it reads off the device (a CPU has nothing to wait
for). A step must not wait for its device: ends with an error if one does.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from speed import make_case, make_fit, synchronise, timed
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode

import napari_dip
from napari_dip.device import choose_device
from napari_dip.optimisation.fit import Fit

_WARM_UP, _TURNS = 10, 5
_WINDOW = "steps of a fit"
_ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
_ON_HOST = ("cuda_runtime", "cuda_driver")


def main() -> None:
    """Print a row for every preset and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--preset", nargs="+", default=["default", "published"])
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    choice = choose_device(arguments.device)
    cuda = torch.device(choice.device).type == "cuda"
    columns = (
        ("ms", "device busy, ms", "busy", "launches", "kernels and copies", "synchronisations")
        if cuda
        else ("operations", "values read off the device")
    )
    print(f"| a step of | size | {' | '.join(columns)} |\n" + (2 + len(columns)) * "|---" + "|", flush=True)
    waited = 0.0
    for preset, size in itertools.product(arguments.preset, arguments.size):
        settings = dataclasses.replace(napari_dip.Settings.preset(preset), device=choice.device)
        fit = make_fit(make_case(None, size).degraded, settings)
        for _ in range(_WARM_UP):
            fit.step()
        if cuda:
            milliseconds = 1000 * min(timed(fit.step, arguments.steps, choice.device) for _ in range(_TURNS))
            work = profile_steps(fit, arguments.steps, choice.device)
            waits = max(work["synchronisations"], count_warnings(fit, arguments.steps) / arguments.steps)
            waited = max(waited, waits)
            figures = (
                f"{milliseconds:.2f}",
                f"{work['busy']:.2f}",
                f"{100 * work['busy'] / milliseconds:.0f}%",
                f"{work['launches']:.0f}",
                f"{work['kernels']:.0f}",
                f"{waits:g}",
            )
        else:
            operations, reads = count_operations(fit, arguments.steps)
            waited = max(waited, reads)
            figures = (f"{operations:.0f}", "" if choice.device == "cpu" else f"{reads:g}")
        print(f"| {preset} | {size}² | {' | '.join(figures)} |", flush=True)
    if not cuda:
        print("\nLaunches, busy time and synchronisations are told of CUDA only.")
    if waited:
        sys.exit(f"a step waits for its device {waited:g} times.")


def profile_steps(fit: Fit, steps: int, device: str) -> dict[str, float]:
    """Return what ``read_trace`` makes of some steps on CUDA."""
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    with profile(activities=activities):  # the first one loads the driver's part
        fit.step()
        synchronise(device)
    with profile(activities=activities) as profiler:
        with record_function(_WINDOW):
            for _ in range(steps):
                fit.step()
        synchronise(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return read_trace(json.loads(path.read_text())["traceEvents"], steps)


def read_trace(events: Iterable[Mapping[str, Any]], steps: int) -> dict[str, float]:
    """Return what a step takes of launches, kernels, busy milliseconds and synchronisations.

    Parameters
    ----------
    events : iterable of dict
        The "traceEvents" of a Chrome trace by torch's profiler: "ts" and "dur" are microseconds. Of what the host did,
        what it did within the steps counts; the device works on after them, and every kernel counts.
    steps : int
    """
    events = [each for each in events if each.get("ph") == "X"]
    (window,) = (each for each in events if each["name"] == _WINDOW and each.get("cat") == "user_annotation")
    begin, end = window["ts"], window["ts"] + window["dur"]
    calls = [each["name"] for each in events if each.get("cat") in _ON_HOST and begin <= each["ts"] <= end]
    work = sorted((each["ts"], each["ts"] + each["dur"]) for each in events if each.get("cat") in _ON_DEVICE)
    busy, until = 0.0, float("-inf")
    for start, stop in work:  # kernels of several streams may overlap
        busy += max(0.0, stop - max(start, until))
        until = max(until, stop)
    return {
        "launches": sum("Launch" in name for name in calls) / steps,
        "kernels": len(work) / steps,
        "busy": busy / 1000 / steps,
        "synchronisations": sum("Synchronize" in name for name in calls) / steps,
    }


def count_warnings(fit: Fit, steps: int) -> int:
    """Return how often torch itself says that some steps waited for a CUDA device."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(steps):
                fit.step()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return sum("synchronizing CUDA operation" in str(each.message) for each in caught)


class OperationCount(TorchDispatchMode):
    """Counts the operations that pass, and those of them that read a value off the device."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.reads = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        self.operations += 1
        if function is torch.ops.aten._local_scalar_dense.default:
            self.reads += not arguments[0].is_cpu  # the optimiser may count its steps on the CPU
        return function(*arguments, **(options or {}))


def count_operations(fit: Fit, steps: int) -> tuple[float, float]:
    """Return the operations of a step, and the values that it reads."""
    with OperationCount() as count:
        for _ in range(steps):
            fit.step()
    return count.operations / steps, count.reads / steps


if __name__ == "__main__":
    main()
