"""Deconvolution: what was blurred comes out sharper, up to the border, with masks and channels; it can be repeated."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.signal import fftconvolve

import napari_dip
from napari_dip import fit_plan
from napari_dip.device_check import choose_proven_device
from napari_dip.many import tiles
from napari_dip.many.axes import find_axes
from napari_dip.many.image_stack import MaskedStack
from napari_dip.many.tiling import Tiling, plan_tiles
from napari_dip.measurement.psf import gaussian_psf, read_psf
from napari_dip.measurement.task import find_task
from napari_dip.record import Record
from napari_dip.request import NO_REPORTS, Request

PSF = gaussian_psf(1.5)


def blurred_points(photons: float = 200.0, side: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return a photographed image and its truth, with points beyond the border as well."""
    rng = np.random.default_rng(3)
    truth = np.zeros((side + 20, side + 20))
    for row, column in rng.integers(0, side + 20, (70, 2)):
        truth[row, column] += rng.uniform(0.3, 1)
    truth = fftconvolve(truth, gaussian_psf(0.7), mode="same")
    truth *= photons / truth.max()
    seen = rng.poisson(np.maximum(fftconvolve(truth, PSF, mode="same"), 0) + 5)
    return seen[10:-10, 10:-10].astype(np.float32), truth[10:-10, 10:-10]


def error(image: np.ndarray, truth: np.ndarray) -> float:
    slope, offset = np.polyfit(image.ravel(), truth.ravel(), 1)
    return float(np.mean((slope * image + offset - truth) ** 2))


@pytest.mark.full
def test_it_takes_out_the_blur_up_to_the_border() -> None:
    seen, truth = blurred_points()
    settings = napari_dip.Settings(step_limit=60, device="cpu", residual=True)
    result = napari_dip.restore(seen, task="deconvolve", psf=PSF, settings=settings)
    assert result.restored.shape == seen.shape
    assert result.residual is not None
    assert result.residual.shape == seen.shape
    assert error(result.restored, truth) < 0.6 * error(seen, truth)
    assert result.restored.max() > 1.3 * seen.max()  # brighter than the blurred image
    border = np.ones(seen.shape, bool)
    border[4:-4, 4:-4] = False
    assert error(result.restored[border], truth[border]) < 0.8 * error(seen[border], truth[border])
    light = result.restored.sum() / seen.sum()
    assert light == pytest.approx(1, abs=0.03)  # none is lost


def test_a_record_repeats_a_deconvolution(small_settings) -> None:
    seen, _ = blurred_points(side=24)
    first = napari_dip.restore(seen, task="deconvolve", psf=PSF, settings=small_settings)
    record = Record.from_dict(json.loads(json.dumps(first.record.as_dict())))
    again = napari_dip.restore(seen, task=record.task, settings=record.settings, **record.parameters)
    np.testing.assert_array_equal(again.restored, first.restored)
    script = record.as_python()
    scope: dict = {}
    exec("psf = [" + script.partition("psf = [")[2].partition("\n]")[0] + "\n]", scope)
    np.testing.assert_array_equal(np.array(scope["psf"]), np.array(record.parameters["psf"]))
    assert "psf=psf" in script


def test_a_moment_is_what_a_run_to_its_step_returns(small_settings) -> None:
    """The result may be the mean of several steps; the moment of its step is that step alone, and can be repeated."""
    seen, _ = blurred_points(60)
    settings = dataclasses.replace(small_settings, step_limit=150, snapshots=3)
    result = napari_dip.restore(seen, task="deconvolve", psf=PSF, settings=settings)
    (moment,) = [each for each in result.moments if each.step == result.step]
    chosen = dataclasses.replace(settings, chosen_step=result.step)
    again = napari_dip.restore(seen, task="deconvolve", psf=PSF, settings=chosen)
    assert result.history[-1].step > result.step
    assert not np.array_equal(result.restored, again.restored)  # later steps were as good
    np.testing.assert_array_equal(moment.restoration().restored, again.restored)


def test_channels_may_have_a_psf_each(small_settings) -> None:
    seen = np.stack([blurred_points(side=24)[0]] * 3, axis=2)
    psf = np.stack([gaussian_psf(sigma)[:5, :5] for sigma in (1.2, 1.25, 1.3)], axis=2)
    result = napari_dip.restore(seen, task="deconvolve", psf=psf, settings=small_settings)
    assert result.restored.shape == seen.shape
    with pytest.raises(ValueError, match=r"3 channels.*the image has 1.*z-stack"):
        napari_dip.restore(seen[..., 0], task="deconvolve", psf=psf, settings=small_settings)


def test_missing_pixels_do_not_matter(small_settings) -> None:
    seen, _ = blurred_points(side=24)
    mask = np.zeros(seen.shape, bool)
    mask[10:13, 5:9] = True
    spoiled = np.where(mask, 60_000, seen)
    one, other = (
        napari_dip.restore(each, mask, task="deconvolve", psf=PSF, settings=small_settings) for each in (seen, spoiled)
    )
    np.testing.assert_array_equal(one.restored, other.restored)


def test_every_plane_of_a_stack_has_the_same_psf(small_settings) -> None:
    stack = np.stack([blurred_points(side=24)[0]] * 2)
    out = np.zeros(stack.shape, np.float32)
    settings = dataclasses.replace(small_settings, uncertainty=True)
    for each in napari_dip.restore_stack(stack, "TYX", task="deconvolve", psf=PSF, settings=settings, out=out):
        assert each.result is not None
        assert each.result.uncertainty is not None
        assert each.result.uncertainty.shape == stack.shape[1:]
        assert "PSF of 13 x 13" in each.result.record.compared
    assert np.isfinite(out).all()


def test_a_psf_larger_than_the_image_is_refused(small_settings) -> None:
    with pytest.raises(ValueError, match="over twice the image's 24 x 24"):
        napari_dip.restore(np.eye(24), task="deconvolve", psf=np.ones((51, 51)), settings=small_settings)


def test_correlated_noise_is_said_and_filtered(small_settings) -> None:
    rng = np.random.default_rng(0)
    seen = fftconvolve(rng.normal(0, 30, (68, 68)), np.ones((2, 2)) / 2, mode="same")[2:-2, 2:-2]
    seen += 100 * fftconvolve(np.eye(64), PSF, mode="same")
    result = napari_dip.restore(seen, task="deconvolve", psf=PSF, settings=small_settings)
    assert "neighbouring pixels is correlated" in result.note
    assert result.restored.std() < 0.8 * seen.std()


def test_memory_counts_the_surroundings(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(fit_plan, "check_memory", lambda device, needed: asked.append(needed))
    device, settings = choose_proven_device("cpu", "auto"), napari_dip.Settings()
    for psf in (np.ones((3, 3)), np.ones((129, 129))):
        parameters = {"psf": read_psf(psf)}
        fit_plan.check_run_fits(settings, device, find_task("deconvolve"), parameters, (256, 256), colours=True)
    _, small, _, large = (each - fit_plan._BYTES_OF_LIBRARIES for each in asked)
    assert large > 1.5 * small


def test_tiles_share_what_a_blur_reaches(small_settings) -> None:
    tiling = plan_tiles((900, 700), Request("deconvolve", small_settings, {"psf": gaussian_psf(12)}), memory=1.0e9)
    assert tiling is not None
    reach = read_psf(gaussian_psf(12)).shape[0] // 2
    assert tiling.overlap >= 2 * reach
    assert min(tiling.tile) >= 4 * reach


@pytest.mark.full
def test_tiles_are_as_good_as_the_whole_and_have_no_seams() -> None:
    seen, truth = blurred_points(side=160)
    settings = napari_dip.Settings(step_limit=80, device="cpu")
    whole = napari_dip.restore(seen, task="deconvolve", psf=PSF, settings=settings).restored
    axes, tiling = find_axes(seen.shape), Tiling(seen.shape, (96, 96), 32)
    stack, request = MaskedStack(seen, axes), Request("deconvolve", settings, {"psf": PSF})
    *_, last = tiles.restore_tiles(stack, next(axes.planes()), tiling, request, NO_REPORTS)
    tiled = last.result.restored
    assert error(tiled, truth) < 1.1 * error(whole, truth)
    strip = np.zeros(seen.shape, bool)
    strip[64:96], strip[:, 64:96] = True, True  # where tiles overlap
    difference = (tiled - whole) ** 2
    assert difference[strip].mean() < 0.5 * error(whole, truth)
    assert error(tiled[strip], truth[strip]) < 1.15 * error(whole[strip], truth[strip])
