"""Failures of the engine, as sentences for the user."""

from __future__ import annotations


class RestorationFailed(Exception):
    """Says what the engine could not do. Not a RuntimeError, which napari's worker would swallow."""


class OutOfMemory(RestorationFailed):
    """The run needed too much memory, which has been freed since."""


def explain_failure(error: Exception) -> RestorationFailed:
    """Turn an exception from torch into a sentence."""
    from ...device import NotEnoughMemory, is_out_of_memory

    text = str(error)
    if isinstance(error, NotEnoughMemory):
        return OutOfMemory(f"{text.partition(':')[0]}.")
    if is_out_of_memory(error):
        return OutOfMemory("the device ran out of memory.")
    return RestorationFailed(f"the restoration failed: {text.splitlines()[0] if text else type(error).__name__}")
