"""The forward operator A of y = A(x) + e (Section 2.1): how the true image became the measured one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


class ForwardOperator(Protocol):
    """A, as a function of the image."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h, w)`` images to what would be measured of them."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything is measured."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image."""
        return image


@dataclass(frozen=True, slots=True)
class Masking:
    """Only the known pixels are measured; the others are 0 and receive no gradient.

    Attributes
    ----------
    known : Tensor
        ``(1, 1, h, w)`` bool.
    """

    known: torch.Tensor

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image with missing pixels set to 0."""
        return torch.where(self.known, image, 0.0)
