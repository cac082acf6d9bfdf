"""What the engine could not do, in sentences."""

from __future__ import annotations


class RestorationFailed(Exception):
    """What the engine could not do, in a sentence. No RuntimeError: napari's worker would swallow it."""


class OutOfMemory(RestorationFailed):
    """What was asked for did not fit; the memory has been given back."""


def explain_failure(error: Exception) -> RestorationFailed:
    """Say in a sentence what torch could not do."""
    from ...device import NotEnoughMemory, is_out_of_memory

    text = str(error)
    if isinstance(error, NotEnoughMemory):
        return OutOfMemory(f"{text.partition(':')[0]}.")
    if is_out_of_memory(error):
        return OutOfMemory("the device ran out of memory.")
    return RestorationFailed(f"the restoration failed: {text.splitlines()[0] if text else type(error).__name__}")
