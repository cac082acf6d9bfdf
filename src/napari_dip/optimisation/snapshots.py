"""Snapshots of a run, to look at afterwards: a bounded number, chosen by the step alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .partner import Partner


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What a run would have returned at one step; it keeps nothing else of the run but the partner.

    Attributes
    ----------
    step : int
    output : Tensor
        ``(1, c, H, W)`` float32 on the CPU, without the partner's help.
    device : torch.device
        The device of the run and of the partner.
    partner : Partner or None
    """

    step: int
    output: torch.Tensor
    device: torch.device
    partner: Partner | None

    def estimate(self) -> torch.Tensor:
        """Return the estimate at this step, ``(1, c, H, W)`` on the run's device; the partner may take a while."""
        output = self.output.to(self.device)
        return output if self.partner is None else self.partner.help(output)[0]


class Snapshots:
    """Evenly spaced snapshots of a run of unknown length, up to a maximum number.

    Whenever there would be too many, every second one is dropped and the spacing is doubled. Which steps are kept thus
    depends on the step count alone.

    Parameters
    ----------
    most : int
        Maximum number of snapshots; 0 for none.
    spacing : int
        Steps between snapshots at first.
    """

    def __init__(self, most: int, spacing: int) -> None:
        self._most, self._spacing = most, spacing
        self._first_spacing = spacing
        self.kept: list[Snapshot] = []

    def clear(self) -> None:
        """Drop all snapshots and start again."""
        self.kept, self._spacing = [], self._first_spacing

    def wants(self, step: int) -> bool:
        """Return whether to keep a snapshot of this step."""
        return self._most > 0 and step % self._spacing == 0

    def add(self, snapshot: Snapshot) -> None:
        """Keep a wanted snapshot; it must be later than all before."""
        self.kept.append(snapshot)
        if len(self.kept) > self._most:
            self._spacing *= 2
            self.kept = [each for each in self.kept if each.step % self._spacing == 0]
