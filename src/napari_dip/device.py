"""Which device and precision a run uses, and why."""

from __future__ import annotations

import platform
import traceback
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

Precision = Literal["auto", "bfloat16", "float32"]


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """A device, the precision of its convolutions, and the reason in words.

    Attributes
    ----------
    device : str
        A torch device name.
    precision : {"bfloat16", "float32"}
    reason : str
        For the user: device, precision, and why.
    warning : str
        What the user must know about a choice that is not the one to expect; mostly empty. The reason says it, too.
    """

    device: str
    precision: Literal["bfloat16", "float32"]
    reason: str
    warning: str = ""

    @property
    def channels_last(self) -> bool:
        """Whether feature maps are to lie in memory with their channels last; it changes the speed, no result.

        On CUDA they are. On a CPU only where they are multiplied in bfloat16 or with AVX-512: without, the product for
        the kernels' gradient takes 2 to 4 times as long then (docs/benchmarks.md). Nowhere else: it was not measured.
        """
        kind = torch.device(self.device).type
        if kind != "cpu":
            return kind == "cuda"
        return self.precision == "bfloat16" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def choose_device(device: str = "auto", precision: Precision = "auto") -> DeviceChoice:
    """Choose CUDA, MPS, another accelerator, or else the CPU; and bfloat16 where the hardware multiplies in it.

    Whether the device computes what it should is not asked here: runs ask ``device_check.choose_proven_device``.

    Parameters
    ----------
    device : str
        ``"auto"`` or a torch device name, which is obeyed.
    precision : {"auto", "bfloat16", "float32"}

    Raises
    ------
    ValueError
        If the device does not exist here.
    """
    chosen, why = _best_device() if device == "auto" else (_checked(device), "as asked for")
    return describe_choice(chosen, precision, f"{why}.")


def describe_choice(device: str, precision: Precision, why: str, warning: str = "") -> DeviceChoice:
    """Return the choice of a device that is there, in words.

    Parameters
    ----------
    device : str
        A torch device name.
    precision : {"auto", "bfloat16", "float32"}
    why : str
        One or more sentences; they follow a colon.
    warning : str
        As ``DeviceChoice`` has it.
    """
    if precision == "auto":
        precision = "bfloat16" if _multiplies_bfloat16(torch.device(device).type) else "float32"
    return DeviceChoice(device, precision, f"{name_device(device)} in {precision}: {why}", warning)


class NotEnoughMemory(ValueError):
    """What was asked for does not fit the device's memory."""


def check_memory(device: str, needed: float) -> None:
    """Refuse what would not fit.

    Parameters
    ----------
    device : str
        A torch device name.
    needed : float
        Bytes.

    Raises
    ------
    NotEnoughMemory
        In a sentence that says how much is needed and how much is free.
    """
    free = free_memory(device)
    if needed > free:
        raise NotEnoughMemory(
            f"this would take about {needed / 1e9:.1f} GB of memory, and {name_device(device)} has {free / 1e9:.1f} GB"
            " free: restore a part of the image, or choose a narrower network (width), fewer runs or another device."
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that a device's memory was not enough; the CPU's comes as a RuntimeError."""
    text = str(error).lower()
    return isinstance(error, torch.cuda.OutOfMemoryError | NotEnoughMemory | MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate" in text)
    )


def return_memory(error: BaseException) -> None:
    """Give back to the device what a failed run held: what its frames name, and what torch keeps for later.

    A traceback keeps every frame of the run, and these the network, its gradients and the feature maps.
    """
    traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def free_memory(device: str) -> float:
    """Return the bytes that can still be had."""
    match torch.device(device).type:
        case "cuda":
            unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            return torch.cuda.mem_get_info(device)[0] + unused
        case "mps":
            return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
        case "cpu":
            return float(psutil.virtual_memory().available)
    return float("inf")


def name_device(device: str) -> str:
    """Return what a user calls a device."""
    match torch.device(device).type:
        case "cuda":
            return f"GPU ({torch.cuda.get_device_name(device)})"
        case "mps":
            return "Apple GPU"
        case "cpu":
            return f"CPU ({platform.machine()})"
        case other:
            return f"Accelerator ({other})"


def load_late_parts() -> None:
    """Import what torch imports only when it is first used: its optimisers' compiler takes about a second."""
    torch.optim.Adam([torch.zeros(1)])


def _best_device() -> tuple[str, str]:
    if torch.cuda.is_available():
        return "cuda", "a CUDA GPU was found"
    if torch.backends.mps.is_available():
        return "mps", "an Apple GPU was found"
    if (other := _other_accelerator()) is not None:
        return other, "an accelerator was found"
    if torch.version.cuda is None and torch.version.hip is None:
        why = "the installed torch is built without GPU support (see pytorch.org/get-started for one that has it)"
    else:
        why = "the installed torch supports GPUs but found none; check the graphics driver"
    return "cpu", why


def _other_accelerator() -> str | None:
    """Return the accelerator that torch was built for or has been taught, such as Intel's; None if there is none."""
    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else None


def _checked(device: str) -> str:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f'device "{device}" cannot be used here: {first_line}. Use "auto" or "cpu".') from error
    return device


def _multiplies_bfloat16(kind: str) -> bool:
    if kind == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability()[0] >= 8  # Ampere and newer
    if kind == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False  # MPS: bfloat16 convolutions depend on the macOS version; float32 always works
