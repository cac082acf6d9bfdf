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
        What the user must know if the choice is not the expected one; usually empty. The reason says it too.
    """

    device: str
    precision: Literal["bfloat16", "float32"]
    reason: str
    warning: str = ""

    @property
    def channels_last(self) -> bool:
        """Whether to store feature maps channels-last; this changes the speed, not the results.

        On CUDA, yes. On a CPU, only with bfloat16 or AVX-512: without them, the product for the kernels' gradient then
        takes 2 to 4 times as long (docs/tuning.md). Not elsewhere, because it was not measured there.
        """
        kind = torch.device(self.device).type
        if kind != "cpu":
            return kind == "cuda"
        return self.precision == "bfloat16" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def choose_device(device: str = "auto", precision: Precision = "auto") -> DeviceChoice:
    """Choose CUDA, MPS, another accelerator, or else the CPU; and bfloat16 where the hardware multiplies in it.

    This does not check that the device computes correctly; runs use ``device_check.choose_proven_device``.

    Parameters
    ----------
    device : str
        ``"auto"``, or the torch name of the device to use.
    precision : {"auto", "bfloat16", "float32"}

    Raises
    ------
    ValueError
        If the device does not exist here.
    """
    chosen, why = _best_device() if device == "auto" else (_check_exists(device), "as you chose")
    return describe_choice(chosen, precision, f"{why}.")


def describe_choice(device: str, precision: Precision, why: str, warning: str = "") -> DeviceChoice:
    """Return the choice of an existing device, with its reason in words.

    Parameters
    ----------
    device : str
        A torch device name.
    precision : {"auto", "bfloat16", "float32"}
    why : str
        One or more sentences; they follow a colon.
    warning : str
        As in ``DeviceChoice``.
    """
    if precision == "auto":
        precision = "bfloat16" if _multiplies_bfloat16(torch.device(device).type) else "float32"
    return DeviceChoice(device, precision, f"{name_device(device)} in {precision}: {why}", warning)


class NotEnoughMemory(ValueError):
    """A run does not fit into the device's memory."""


def check_memory(device: str, needed: float) -> None:
    """Refuse a run that would not fit into memory.

    Parameters
    ----------
    device : str
        A torch device name.
    needed : float
        Bytes.

    Raises
    ------
    NotEnoughMemory
        The message says how much is needed and how much is free.
    """
    free = free_memory(device)
    if needed > free:
        raise NotEnoughMemory(
            f"this would take about {needed / 1e9:.1f} GB of memory, and {name_device(device)} has {free / 1e9:.1f} GB"
            " free: restore a part of the image, or choose a narrower network (width), fewer runs or another device."
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that a device ran out of memory; the CPU raises a RuntimeError then."""
    text = str(error).lower()
    return isinstance(error, torch.cuda.OutOfMemoryError | NotEnoughMemory | MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate" in text)
    )


def return_memory(error: BaseException) -> None:
    """Give the memory of a failed run back to the device: what its frames hold, and what torch caches.

    A traceback keeps every frame of the run alive, and with them the network, its gradients and the feature maps.
    """
    traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def free_memory(device: str) -> float:
    """Return the number of bytes that are still free."""
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
    """Return a device's name for the user."""
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
    """Import now what torch would import at the first step: its optimisers' compiler takes about a second."""
    torch.optim.Adam([torch.zeros(1)])


def _best_device() -> tuple[str, str]:
    if torch.cuda.is_available():
        return "cuda", "a CUDA GPU was found"
    if torch.backends.mps.is_available():
        return "mps", "an Apple GPU was found"
    if (other := _other_accelerator()) is not None:
        return other, "an accelerator was found"
    if torch.version.cuda is None and torch.version.hip is None:
        why = "the installed torch has no GPU support (pytorch.org/get-started offers builds that do)"
    else:
        why = "the installed torch supports GPUs but found none; check the graphics driver"
    return "cpu", why


def _other_accelerator() -> str | None:
    """Return another accelerator that torch supports, natively or by an extension, such as Intel's; None if none."""
    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else None


def _check_exists(device: str) -> str:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        if first_line.startswith("Expected one of"):  # twenty names follow
            raise ValueError(f'there is no device "{device}"; use auto, cpu, cuda, cuda:1 or mps.') from error
        raise ValueError(f'device "{device}" cannot be used here: {first_line}. Use "auto" or "cpu".') from error
    return device


def _multiplies_bfloat16(kind: str) -> bool:
    if kind == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability()[0] >= 8  # Ampere and newer
    if kind == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False  # MPS: bfloat16 convolutions depend on the macOS version; float32 always works
