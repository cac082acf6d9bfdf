"""A plane with its neighbours in a stack, as measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .stripes import Stripes


@dataclass(frozen=True, slots=True, eq=False)
class NeighbouringPlanes:
    """Neighbouring planes of a stack, in order.

    Attributes
    ----------
    values : Tensor
        ``(p, c, h, w)``, degraded, all on the scale of the plane that is restored.
    known : Tensor
        ``(p, 1, h, w)`` bool.
    place : int
        The index of that plane.
    """

    values: torch.Tensor
    known: torch.Tensor
    place: int

    def nearest(self, count: int) -> NeighbouringPlanes:
        """Return the ``count`` planes around the restored one; near an end of the stack, more lie on one side."""
        first = max(0, min(self.place - count // 2, len(self.values) - count))
        part = slice(first, first + count)
        return NeighbouringPlanes(self.values[part], self.known[part], self.place - first)

    def without(self, stripes: Stripes) -> NeighbouringPlanes:
        """Return the planes without their stripes, ``(p, c, h, w)``."""
        return NeighbouringPlanes(self.values - stripes.offsets, self.known, self.place)

    def to(self, device: str) -> NeighbouringPlanes:
        """Return the planes on a device."""
        return NeighbouringPlanes(self.values.to(device), self.known.to(device), self.place)
