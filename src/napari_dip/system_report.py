"""What a report of a fault must say about the machine: versions, device, its check, memory."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import psutil

_PACKAGES = (
    "napari-dip", "torch", "numpy", "scipy", "scikit-image", "tifffile", "zarr", "napari", "npe2", "magicgui", "PyQt6",
    "PySide6", "PyQt5", "pyqtgraph",
)  # fmt: skip


def describe_system() -> str:
    """Describe this installation and machine, in lines of ``name: value``, for a report of a fault.

    It chooses and checks the device as a run would, so the first call in a process takes a few seconds. A torch that
    cannot be imported is described, too: that may be the fault. No line holds a path, a user's or a machine's name.

    Returns
    -------
    str
        Lines, in English.
    """
    lines = [f"Python: {platform.python_version()} ({platform.python_implementation()})", f"System: {_name_system()}"]
    lines += [f"{name}: {installed}" for name in _PACKAGES if (installed := _find_version(name))]
    try:
        lines += _describe_device()
    except (ImportError, OSError) as error:  # OSError: a library of torch's is missing or does not fit
        lines.append(f"Device: torch cannot be imported ({_first_line(error)})")
    memory = psutil.virtual_memory()
    lines.append(f"Memory: {memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} GB free")
    return "\n".join(lines)


def _name_system() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]} ({platform.machine()})"
    return f"{platform.system()} {platform.release()} ({platform.machine()})"


def _find_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _describe_device() -> list[str]:
    import torch

    from .device import choose_device, free_memory
    from .device_check import check_device, choose_proven_device

    found = choose_device()
    lines = [f"Device: {choose_proven_device().reason}"]
    if torch.device(found.device).type == "cpu":
        lines.append("Device check: not needed, the CPU is what others are compared with")
    else:
        verdict = check_device(found.device, found.precision)  # made by the line above, and remembered
        lines.append(f"Device check: {'passed' if verdict.agrees else 'failed'}. {verdict.sentence}")
        if (free := free_memory(found.device)) < float("inf"):
            lines.append(f"Device memory: {free / 1e9:.1f} GB free")
    lines.append(
        f"Processor: {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}; threads of torch: "
        f"{torch.get_num_threads()}"
    )
    return lines


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
