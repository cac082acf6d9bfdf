"""Whether a device computes what the CPU computes: the check that every run begins with, then the same fit on both.

    python tests/benchmark/gpu_check.py --device cuda [--size 128] [--steps 200]

Prints what the check found and how long it took, then, in float32, the loss and the output's spread on either. Ends
with an error if the check fails, if the device's loss is larger in the end, or its output a constant. The prior alone:
a partner would hide that a network learns nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time

from speed import make_case, make_fit

import napari_dip
from napari_dip import device_check
from napari_dip.device import choose_device

_WORSE = 1.2  # times the CPU's loss: rounding alone makes two fits part, but none learns so much less
_CONSTANT = 1e-3  # spread of an output in [0, 1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    print(f"{choose_device(arguments.device).reason}\n", flush=True)
    refusals = print_check(arguments.device)
    image = make_case(None, arguments.size).degraded
    settings = napari_dip.Settings(partner=False, precision="float32")
    fits = [make_fit(image, dataclasses.replace(settings, device=device)) for device in ("cpu", arguments.device)]
    print(f"| step | loss, CPU | loss, {arguments.device} | spread, CPU | spread, {arguments.device} |")
    print("|---|---|---|---|---|")
    for step in range(1, arguments.steps + 1):
        for fit in fits:
            fit.step()
        if step in (1, 10, 50, arguments.steps):
            losses = [float(fit.loss) for fit in fits]
            spreads = [float(fit.averaged_outputs.std()) for fit in fits]
            figures = (*(f"{loss:.5f}" for loss in losses), *(f"{spread:.4f}" for spread in spreads))
            print(f"| {step} | {' | '.join(figures)} |", flush=True)
    if refusals:
        sys.exit(" ".join(refusals))
    if not losses[1] < _WORSE * losses[0]:  # NaN, too
        sys.exit(f"{arguments.device} learns less than the CPU: loss {losses[1]:.5f} instead of {losses[0]:.5f}.")
    if spreads[1] < _CONSTANT:
        sys.exit(f"on {arguments.device} the output is a constant after {arguments.steps} steps.")


def print_check(device: str) -> list[str]:
    """Print what the check of a device finds in either precision; return its sentences if it refuses the device."""
    names = [each.name for each in dataclasses.fields(device_check.Differences)]
    refusals = []
    print(f"| largest difference of | {' | '.join(names)} | seconds |\n|---|---|{len(names) * '---|'}")
    for precision in dict.fromkeys(("float32", choose_device(device).precision)):
        start = time.perf_counter()
        verdict = device_check.check_device(device, precision)
        seconds = time.perf_counter() - start
        found = dataclasses.astuple(device_check.measure_differences(device, precision))
        print(f"| {precision} | {' | '.join(f'{share:.2g}' for share in found)} | {seconds:.2f} |", flush=True)
        if not verdict.agrees:
            refusals.append(verdict.sentence)
    print()
    return refusals


if __name__ == "__main__":
    main()
