"""A plane starts from its neighbour's network only if they are alike, and old content does not stay."""

import dataclasses

import numpy as np
import pytest

import napari_dip
from napari_dip.many.axes import find_axes
from napari_dip.many.warm_start import LastNetworks, shorten
from napari_dip.restoration import restore_steps


def result_of(image, settings):
    *_, last = restore_steps(image, settings=settings, keep_network=True)
    return last.result


@pytest.fixture
def noisy(camera):
    def draw(seed: int) -> np.ndarray:
        return camera[:36, :32] + np.random.default_rng(seed).normal(0, 20, (36, 32))

    return draw


def test_planes_that_differ_start_afresh(noisy, small_settings) -> None:
    axes = find_axes((3, 2, 36, 32), "TCYX")
    planes = {tuple(plane.place.values()): plane for plane in axes.planes()}
    networks = LastNetworks(axes, "t")
    assert networks.start(planes[0, 0], noisy(0)) is None
    networks.remember(planes[0, 0], noisy(0), result_of(noisy(0), small_settings))
    assert networks.start(planes[1, 0], noisy(1)) is not None
    assert networks.start(planes[1, 0], 255 - noisy(1)) is None  # something else
    assert networks.start(planes[1, 1], noisy(1)) is None  # another channel
    assert networks.start(planes[2, 0], noisy(1)) is None  # not the next


def test_the_network_continues_from_the_chosen_step(noisy, small_settings) -> None:
    settings = dataclasses.replace(small_settings, step_limit=40, report_every=10, partner=False)
    first = result_of(noisy(0), settings)
    assert first.warm_start.lambda_step == first.step
    *_, last = restore_steps(noisy(1), settings=settings, start=first.warm_start)
    warm, fresh = last.result.history, result_of(noisy(1), settings).history
    assert warm[0].held_out_error < fresh[0].held_out_error
    assert warm[0].lipschitz_bound > fresh[0].lipschitz_bound


def test_a_warm_start_needs_a_stepped_axis(camera, small_settings) -> None:
    film = np.stack([camera] * 2)
    for axes, along, sentence in (("TYX", "Z", "choose T"), ("CYX", "C", "there is only one plane")):
        with pytest.raises(ValueError, match=sentence):
            napari_dip.restore_stack(film, axes, warm_start=along, settings=small_settings)


def test_less_patience(small_settings) -> None:
    assert shorten(dataclasses.replace(small_settings, patience=200)).patience == 50
