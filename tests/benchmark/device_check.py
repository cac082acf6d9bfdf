"""How far a device is from the CPU in its check, beside what is tolerated, and how long the check takes.

python tests/benchmark/device_check.py cuda
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import torch

from napari_dip.device import choose_device, load_late_parts
from napari_dip.device_check import TOLERATED, check_device, choose_proven_device, forget_verdicts, measure_differences


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", help="a torch device name")
    device = parser.parse_args().device
    load_late_parts()  # a run loads them, too
    start = time.perf_counter()
    torch.ones(64, 64, device=device).matmul(torch.ones(64, 64, device=device)).sum().item()
    print(f"the device's own start: {time.perf_counter() - start:.2f} s")
    precision = choose_device(device).precision
    for which in ("first", "again, as if for the first time"):
        forget_verdicts()
        start = time.perf_counter()
        verdict = check_device(device, precision)
        print(f"check in {precision}, {which}: {time.perf_counter() - start:.2f} s")
    start = time.perf_counter()
    check_device(device, precision)
    print(f"check, remembered: {1000 * (time.perf_counter() - start):.2f} ms")
    print(verdict.sentence)
    for each in dict.fromkeys(("float32", precision)):
        found, tolerated = (dataclasses.asdict(one) for one in (measure_differences(device, each), TOLERATED[each]))
        print(f"{each}: " + ", ".join(f"{name} {found[name]:.2%} of {tolerated[name]:.1%}" for name in found))
    print(choose_proven_device(device, precision).reason if verdict.agrees else "refused")


if __name__ == "__main__":
    main()
