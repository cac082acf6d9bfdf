"""A network that learns nothing is noticed: another begins, and if that does not help the note calls it a fault."""

import dataclasses

import numpy as np
import pytest
import torch

import napari_dip
from napari_dip import fit_plan
from napari_dip.prior import convolution


@pytest.fixture
def settings(small_settings: napari_dip.Settings) -> napari_dip.Settings:
    return dataclasses.replace(small_settings, step_limit=80, stopping="fixed")


def test_a_constant_begins_again_and_its_record_repeats_it_at_once(camera, settings, monkeypatch) -> None:
    """The first of the networks gets a z of zeros: whatever its weights, what it draws is a constant."""
    calls: list[int] = []
    draw = fit_plan.fixed_input

    def draw_or_not(*arguments):
        calls.append(len(calls))
        return draw(*arguments) if len(calls) > 1 else torch.zeros_like(draw(*arguments))

    monkeypatch.setattr(fit_plan, "fixed_input", draw_or_not)
    *_, last = reports = list(napari_dip.restore_steps(camera, settings=settings))
    steps, result = [progress.step for progress in reports], last.result
    assert steps[:9] == [1, 10, 20, 30, 40, 50, 1, 10, 20]  # given up at 60: what was shown of it is not the result's
    assert result.record.restarts == 1
    assert len(calls) == 2
    assert [report.step for report in result.history] == [1, *range(10, 81, 10)]
    assert result.history[-1].band_correspondence[0] > 0.7
    assert "contributed nothing" not in result.note
    assert result.record.settings.seed != settings.seed
    again = napari_dip.restore(camera, settings=napari_dip.record.Record.from_dict(result.record.as_dict()).settings)
    assert again.record.restarts == 0
    np.testing.assert_array_equal(again.restored, result.restored)


def test_a_healthy_network_begins_once(camera, settings) -> None:
    result = napari_dip.restore(camera, settings=settings)
    assert result.record.restarts == 0
    assert result.record.settings == settings
    assert "contributed nothing" not in result.note


@pytest.mark.parametrize(
    "task",
    [
        "denoise",
        "inpaint",
        *(pytest.param(each, marks=pytest.mark.full) for each in ("deblock", "super_resolve", "enhance")),
    ],
)
def test_a_broken_network_is_a_fault_and_the_note_says_so(camera, settings, task, monkeypatch) -> None:
    """As on CUDA, where a padding scrambled by the layout taught the network nothing, and filters hid it."""

    def forget(features, kernel, bias, stride, workspace):
        constant = (0 * kernel.sum() + bias).to(features.dtype)
        return constant[:, :, None, None].expand(-1, -1, *(side // stride for side in features.shape[2:]))

    monkeypatch.setattr(convolution, "convolve_and_centre_in_place", forget)
    mask = np.zeros(camera.shape, bool)
    mask[20:24, 20:24] = task == "inpaint"
    factor = 2 if task == "super_resolve" else None
    result = napari_dip.restore(camera, mask if mask.any() else None, task, factor, settings)
    assert result.note.startswith("The network contributed nothing")
    assert "fault" in result.note
    assert result.record.note == result.note
    assert result.record.restarts == 3


def test_a_run_that_had_no_time_is_not_accused(camera, settings) -> None:
    result = napari_dip.restore(camera, settings=dataclasses.replace(settings, step_limit=20))
    assert "contributed nothing" not in result.note
