"""On what it was measured, as a Markdown table: machine, device, driver, versions, commit.

python tests/benchmark/gpu_machine.py --device cuda
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

_PROJECT = Path(__file__).parents[2]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--commit", help="where the project lies without its git folder")
    arguments = parser.parse_args()
    memory = psutil.virtual_memory().total / 2**30
    facts = {
        "device": describe_device(torch.device(arguments.device)),
        "processor": f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; {torch.get_num_threads()} threads",
        "system": platform.platform(),
        "versions": ", ".join(f"{name} {found(name)}" for name in ("torch", "numpy", "scipy", "scikit-image"))
        + f", Python {platform.python_version()}",
        "napari-dip": f"{found('napari-dip')}, commit {arguments.commit or commit()}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    print("| | |\n|---|---|")
    for name, fact in facts.items():
        print(f"| {name} | {fact} |")


def describe_device(device: torch.device) -> str:
    """Return a device's name, memory and driver."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        built = f"CUDA {torch.version.cuda}" if torch.version.hip is None else f"ROCm {torch.version.hip}"
        return (
            f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, driver {driver()}; "
            f"torch built with {built}, cuDNN {torch.backends.cudnn.version()}"
        )
    if device.type == "mps":
        return f"Apple GPU, {torch.mps.recommended_max_memory() / 2**30:.0f} GiB, macOS {platform.mac_ver()[0]}"
    return f"the CPU ({torch.backends.cpu.get_cpu_capability()}): no GPU was used"


def driver() -> str:
    """Return the version of NVIDIA's driver, as far as it tells."""
    if shutil.which("nvidia-smi"):
        asked = first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        if asked:
            return asked
    told = Path("/proc/driver/nvidia/version")
    return told.read_text().splitlines()[0] if told.exists() else "unknown"


def processor() -> str:
    """Return the processor's name."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """Return the commit of this checkout, and whether files differ from it."""
    found = first_line("git", "-C", str(_PROJECT), "rev-parse", "--short", "HEAD") if shutil.which("git") else ""
    if not found:
        return "unknown (no git folder)"
    changed = first_line("git", "-C", str(_PROJECT), "status", "--porcelain", "--untracked-files=no")
    return f"{found} with changes" if changed else found


def first_line(*command: str) -> str:
    """Return the first line that a command prints; empty if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""


def found(package: str) -> str:
    """Return the version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
