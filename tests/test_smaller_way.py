"""Each way is smaller than the one before, and they come to an end."""

import pytest

from napari_dip import Settings
from napari_dip.measurement.task import TASKS
from napari_dip.smaller_way import find_smaller_way


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("preset", ["fast", "default", "best", "published"])
def test_every_way_is_smaller_and_the_last_is_a_part(task: str, preset: str) -> None:
    settings, size, taken = Settings.preset(preset), (1024, 300), []
    while (way := find_smaller_way(settings, task, size)) is not None:
        taken.append(way.words)
        assert way.settings.runs <= settings.runs
        if way.region is not None:
            rows, columns = way.region
            size = (rows.stop - rows.start, columns.stop - columns.start)
        settings = way.settings
        assert len(taken) < 10
    assert settings.device == "cpu"
    assert taken[-1] == "the middle 192 x 192 pixels"
    assert len(set(taken)) == len(taken)


def test_uncertainty_takes_four_runs_and_goes_with_them() -> None:
    way = find_smaller_way(Settings(uncertainty=True), "denoise", (100, 100))
    assert way is not None
    assert way.words == "one network instead of 4 and no uncertainty"
    assert (way.settings.runs, way.settings.uncertainty) == (1, False)


def test_there_is_none_beyond_the_smallest() -> None:
    assert find_smaller_way(Settings(width=8, device="cpu"), "denoise", (64, 64)) is None
