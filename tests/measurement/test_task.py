"""Each task says what it takes; what another takes is refused in a sentence."""

import numpy as np
import pytest

import napari_dip
from napari_dip.measurement.forward_operator import BLOCK
from napari_dip.measurement.task import TASKS, find_task


def test_a_task_reads_its_own_parameters_and_refuses_the_others() -> None:
    names = {each.name for task in TASKS.values() for each in task.parameters}
    values = {"factor": 2, "quantisation_table": np.ones((8, 8)), "psf": np.ones((3, 3))}
    assert names == set(values)
    for task in TASKS.values():
        own = {name: value for name, value in values.items() if task.takes(name)}
        assert task.read_parameters(own | dict.fromkeys(names - set(own))).keys() == own.keys()
        for name in names - set(own):
            with pytest.raises(ValueError, match=f"{name} is for .*; the task '{task.name}' takes none"):
                task.read_parameters(own | {name: values[name]})
    with pytest.raises(ValueError, match="needs a factor"):
        find_task("super_resolve").read_parameters({})
    with pytest.raises(ValueError, match="needs a psf"):
        find_task("deconvolve").read_parameters({})
    assert find_task("deblock").read_parameters({}) == {}
    assert find_task("deblock").block == BLOCK


def test_the_steps_of_a_jpeg_serve_every_plane_of_a_stack(small_settings) -> None:
    rng = np.random.default_rng(0)
    stack = rng.integers(60, 200, (2, 24, 24)).astype(np.uint8)
    table = np.full((8, 8), 12)
    steps = napari_dip.restore_stack(stack, "TYX", task="deblock", settings=small_settings, quantisation_table=table)
    for each in steps:
        assert "quantisation steps (given)" in each.result.record.compared
    with pytest.raises(ValueError, match="quantisation_table is for deblocking"):
        napari_dip.restore_stack(stack, "TYX", settings=small_settings, quantisation_table=table)
