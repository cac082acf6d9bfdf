"""The devices that the tests run on, and how nearly the others must agree with the CPU."""

from __future__ import annotations

import pretend_device
import pytest
import torch

# What holds bit by bit on a CPU holds to (relative, absolute) rounding elsewhere: sums are taken in another order. Of
# MPS nothing is known, and no more is asked.
TOLERANCE = {"cpu": (0.0, 0.0), pretend_device.NAME: (1e-4, 1e-5), "cuda": (5e-3, 2e-3), "mps": (5e-3, 2e-3)}
needs_pretend_device = pytest.mark.skipif(
    not pretend_device.is_available(), reason="this torch takes no device in Python"
)


def draw(*shape: int, seed: int = 0, device: str = "cpu") -> torch.Tensor:
    """Draw normal numbers, the same on every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def find_accelerators() -> list[str]:
    """Return the devices here that are not the CPU: the pretend one, and what is real."""
    found = [pretend_device.NAME] if pretend_device.is_available() else []
    found += ["cuda"] if torch.cuda.is_available() else []
    return found + (["mps"] if torch.backends.mps.is_available() else [])


def assert_same(ours: torch.Tensor, expected: torch.Tensor, *, times: float = 1.0) -> None:
    """Compare what a device computed with what the law says: to the bit if both are the CPU's.

    Parameters
    ----------
    ours, expected : Tensor
        Each on whatever device.
    times : float
        The tolerance; more than 1 after steps of a fit, which multiply what rounding began.
    """
    rtol, atol = max(TOLERANCE[each.device.type] for each in (ours, expected))
    torch.testing.assert_close(ours.detach().cpu(), expected.detach().cpu(), rtol=times * rtol, atol=times * atol)
