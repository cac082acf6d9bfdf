"""Which moments are kept depends on the steps alone, and never are they more than asked for."""

import pytest
import torch

from napari_dip.optimisation.snapshots import Snapshot, Snapshots


def keep(most: int, spacing: int, last: int) -> list[int]:
    snapshots = Snapshots(most, spacing)
    for step in range(1, last + 1):
        if snapshots.wants(step):
            snapshots.add(Snapshot(step, torch.zeros(1), torch.device("cpu"), None))
    return [each.step for each in snapshots.kept]


@pytest.mark.parametrize("most", [1, 2, 5, 24])
@pytest.mark.parametrize("last", [9, 10, 137, 3000])
def test_they_are_bounded_evenly_spaced_and_as_many_as_the_spacing_allows(most: int, last: int) -> None:
    steps = keep(most, 10, last)
    reports = last // 10
    assert min(reports, (most + 1) // 2) <= len(steps) <= most
    assert all(step == (n + 1) * steps[0] for n, step in enumerate(steps))
    if steps:
        doublings = steps[0] // 10
        assert doublings & (doublings - 1) == 0  # a power of two


def test_none_are_kept_unless_asked_for() -> None:
    assert keep(0, 10, 100) == []
