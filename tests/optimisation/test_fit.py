"""A run is one object: saved and loaded it goes on to the bit; missing and held-out pixels teach nothing.

On a CPU to the bit; elsewhere to rounding.
"""

import dataclasses

import pytest
import torch
from devices import assert_same

from napari_dip import Settings
from napari_dip.device import choose_device
from napari_dip.fit_plan import build_fit
from napari_dip.image_tensor import to_tensor
from napari_dip.measurement.data_term import data_term_of
from napari_dip.measurement.task import find_task
from napari_dip.optimisation.fit import Fit, cut_centre


def build(camera, settings: Settings, device: str, mask=None) -> Fit:
    tensor = to_tensor(camera, mask)
    data_term = data_term_of(find_task("denoise"), tensor.values.to(device), tensor.known.to(device))
    return build_fit(settings, choose_device(device), data_term)


@pytest.mark.parametrize("langevin", [False, True])
def test_saved_and_loaded_it_goes_on_to_the_bit(camera, small_settings, tmp_path, langevin, device) -> None:
    if langevin:
        small_settings = dataclasses.replace(small_settings, weight_noise=2.0, input_noise=0.03, step_limit=200)
    first = build(camera, small_settings, device)
    for _ in range(5):
        first.step()
    first.measure()
    torch.save(first.state_dict(), tmp_path / "fit.pt")
    second = build(camera, dataclasses.replace(small_settings, seed=99), device)
    second.load_state_dict(torch.load(tmp_path / "fit.pt"))
    for fit in (first, second):
        for _ in range(5):
            fit.step()
    loss, again = first.measure().loss, second.measure().loss
    assert loss == again if device == "cpu" else loss == pytest.approx(again, rel=0.01)
    assert_same(first.estimate, second.estimate, times=30)
    assert first.estimate_step == second.estimate_step


def test_missing_and_held_out_pixels_teach_nothing(camera, small_settings, device) -> None:
    mask = torch.zeros(camera.shape, dtype=torch.bool)
    mask[10:18, 10:20] = True  # narrow: single pixels are held out
    estimates = []
    for other in (0.0, 0.9):
        fit = build(camera, small_settings, device, mask.numpy())
        known = fit.data_term.known
        values = torch.where(~known | fit.held_out, other, fit.data_term.values)
        fit.data_term = dataclasses.replace(fit.data_term, values=values)
        for _ in range(5):
            fit.step()
        estimates.append(fit.averaged_output)
    assert_same(estimates[0], estimates[1], times=30)
    assert fit.held_out.sum() == round(0.05 * int(known.sum()))
    assert not (fit.held_out & ~known).any()


def test_several_runs_average(camera, small_settings, device) -> None:
    fit = build(camera, dataclasses.replace(small_settings, runs=3), device)
    fit.step()
    assert fit.averaged_output.shape == (1, 1, *camera.shape)


def test_warm_start_takes_the_weights(camera, small_settings, device) -> None:
    taught = build(camera, small_settings, device)
    fresh = build(camera, dataclasses.replace(small_settings, seed=5), device)
    for _ in range(10):
        taught.step()
    fresh.start_from(taught.network.state_dict())
    for ours, theirs in zip(fresh.network.parameters(), taught.network.parameters(), strict=True):
        assert ours.equal(theirs)


def test_cut_centre() -> None:
    image = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert cut_centre(image, (2, 4)).equal(image[..., 2:4, 1:5])
