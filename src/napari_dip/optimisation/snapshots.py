"""Moments of a run, kept so that they can be looked at when it is over: a bounded number, chosen by steps alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .partner import Partner


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What one step of a run would have returned; of the run itself it keeps only the partner.

    Attributes
    ----------
    step : int
    output : Tensor
        ``(1, c, H, W)`` float32 on the CPU, without the partner's help.
    device : torch.device
        Of the run, and of the partner.
    partner : Partner or None
    """

    step: int
    output: torch.Tensor
    device: torch.device
    partner: Partner | None

    def estimate(self) -> torch.Tensor:
        """Return the estimate of that step, ``(1, c, H, W)`` on the run's device; the partner may take a while."""
        output = self.output.to(self.device)
        return output if self.partner is None else self.partner.help(output)[0]


class Snapshots:
    """Evenly spaced snapshots of a run of unknown length, never more than a number of them.

    Whenever there would be too many, every second one is dropped and the spacing doubled: which steps are kept depends
    on the steps alone.

    Parameters
    ----------
    most : int
        How many, 0 for none.
    spacing : int
        Steps between the first.
    """

    def __init__(self, most: int, spacing: int) -> None:
        self._most, self._spacing = most, spacing
        self._first_spacing = spacing
        self.kept: list[Snapshot] = []

    def clear(self) -> None:
        """Forget them, to begin again."""
        self.kept, self._spacing = [], self._first_spacing

    def wants(self, step: int) -> bool:
        """Return whether a snapshot of this step is to be kept."""
        return self._most > 0 and step % self._spacing == 0

    def add(self, snapshot: Snapshot) -> None:
        """Keep a wanted snapshot, later than all before."""
        self.kept.append(snapshot)
        if len(self.kept) > self._most:
            self._spacing *= 2
            self.kept = [each for each in self.kept if each.step % self._spacing == 0]
