"""Missing and held-out pixels teach a fit nothing; the estimate is of its best moment, whatever comes after."""

import dataclasses

import pytest
import torch
from devices import assert_same

from napari_dip import Settings
from napari_dip.device import choose_device
from napari_dip.fit_plan import build_estimate, build_fit
from napari_dip.image_tensor import to_tensor
from napari_dip.measurement.data_term import data_term_of
from napari_dip.measurement.task import find_task
from napari_dip.optimisation.fit import Fit, cut_centre


def build(camera, settings: Settings, device: str, mask=None) -> Fit:
    tensor = to_tensor(camera, mask)
    data_term = data_term_of(find_task("denoise"), tensor.values.to(device), tensor.known.to(device))
    return build_fit(settings, choose_device(device), data_term)


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
        estimates.append(fit.averaged_outputs)
    assert_same(estimates[0], estimates[1], times=30)
    assert fit.held_out.sum() == round(0.05 * int(known.sum()))
    assert not (fit.held_out & ~known).any()


def test_several_runs_average(camera, small_settings, device) -> None:
    settings = dataclasses.replace(small_settings, runs=3)
    fit = build(camera, settings, device)
    fit.step()
    assert fit.averaged_outputs.shape == (3, 1, *camera.shape)
    assert build_estimate(settings, fit).image.shape == (1, 1, *camera.shape)


def test_warm_start_takes_the_weights(camera, small_settings, device) -> None:
    taught = build(camera, small_settings, device)
    fresh = build(camera, dataclasses.replace(small_settings, seed=5), device)
    for _ in range(10):
        taught.step()
    fresh.start_from(taught.network.state_dict())
    for ours, theirs in zip(fresh.network.parameters(), taught.network.parameters(), strict=True):
        assert ours.equal(theirs)
    wider = build(camera, dataclasses.replace(small_settings, width=12), device)
    with pytest.raises(ValueError, match="another width"):
        wider.start_from(taught.network.state_dict())


def test_the_best_moment_is_kept_and_the_present_one_can_be_chosen(camera, small_settings, device) -> None:
    settings = dataclasses.replace(small_settings, partner=False)
    fit = build(camera, settings, device)
    estimate = build_estimate(settings, fit)
    assert not estimate.is_kept
    errors, images = [], []
    for _ in range(5):
        fit.step()
        errors.append(estimate.measure().held_out_error)
        images.append(fit.averaged_outputs)
    best = min(range(5), key=errors.__getitem__)
    assert estimate.is_kept
    assert estimate.step == best + 1
    assert estimate.image.equal(images[best])
    assert estimate.quick_image.equal(images[best])
    fit.step()
    assert estimate.image.equal(images[best])
    estimate.choose_present()
    assert estimate.step == 6
    assert estimate.image.equal(fit.averaged_outputs)


def test_the_weights_of_the_best_moment_are_kept_where_asked(camera, small_settings, device) -> None:
    fit = build(camera, small_settings, device)
    estimate = build_estimate(small_settings, fit, keep_network=True)
    fit.step()
    estimate.measure()
    kept = {name: value.clone() for name, value in fit.network.state_dict().items()}
    fit.step()
    for name, value in estimate.network.items():
        assert value.equal(kept[name])
    assert estimate.lambda_step == 1


def test_cut_centre() -> None:
    image = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert cut_centre(image, (2, 4)).equal(image[..., 2:4, 1:5])
