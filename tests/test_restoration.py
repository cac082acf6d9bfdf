"""The laws of a restoration, on small networks."""

import dataclasses
import gc
import inspect
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from pretend_device import refuse_types
from scipy.ndimage import gaussian_filter, laplace
from skimage import data

import napari_dip
from napari_dip import Settings, StopReason, restore, restore_steps
from napari_dip.guidance import Findings, advise
from napari_dip.measurement.task import TASKS
from napari_dip.optimisation.fit import Fit
from napari_dip.outcome import Report
from napari_dip.settings import PRESETS


def test_same_seed_same_restoration(camera, small_settings, device) -> None:
    """On a CPU to the bit; a GPU adds in whatever order its threads come, and steps make more of that."""
    settings = dataclasses.replace(small_settings, device=device, step_limit=10)
    first, second = (restore(camera, settings=settings) for _ in range(2))
    other = restore(camera, settings=dataclasses.replace(settings, seed=1))
    if device == "cpu":
        np.testing.assert_array_equal(first.restored, second.restored)
    difference = np.abs(first.restored - second.restored).mean()
    assert difference <= 0.1 * np.abs(first.restored - other.restored).mean()
    assert not np.array_equal(first.restored, other.restored)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_done_on_every_device(task: str, accelerator: str, camera, small_settings) -> None:
    """With its filters, and nothing of it in float64, which Apple's GPUs do not have."""
    image = camera[:32, :28]
    noisy = image + np.random.default_rng(0).normal(0, 15, image.shape) * (task == "denoise")
    mask = np.zeros(image.shape, bool)
    mask[10:18, 12:20] = mask[30, :] = task == "inpaint"
    arguments = {"mask": mask, "task": task, "factor": 2 if task == "super_resolve" else None}
    if task == "deblock":
        arguments["quantisation_table"] = np.full((8, 8), 16.0)
    if task == "deconvolve":
        arguments["psf"] = np.outer([1, 2, 1], [1, 2, 1])
    asked = dataclasses.replace(
        small_settings, precision="float32", step_limit=5, report_every=3, smoothed_steps=3, runs=2, uncertainty=True,
        residual=True,
    )  # fmt: skip
    results = []
    for device in ("cpu", accelerator):
        with refuse_types(torch.float64, torch.complex128):
            results.append(restore(noisy, **arguments, settings=dataclasses.replace(asked, device=device)))
    expected, ours = results
    assert ours.settings.device == accelerator
    assert ours.step == expected.step
    for name in ("restored", "smoothed", "detail_enhanced", "residual", "uncertainty"):
        one, other = getattr(ours, name), getattr(expected, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, atol=0.01 * np.ptp(noisy), err_msg=name)


def test_gain_and_offset_pass_through(camera, small_settings) -> None:
    """12 or 16 bits with a camera offset give the same picture, scaled and shifted."""
    camera = camera[:32, :28]
    plain = restore(camera, settings=small_settings).restored
    for gain, offset, dtype in ((16, 100, np.uint16), (257, -3000, np.int32), (0.25, 7.5, np.float64)):
        changed = (camera.astype(np.float64) * gain + offset).astype(dtype)
        other = restore(changed, settings=small_settings).restored
        np.testing.assert_allclose(other, plain.astype(np.float64) * gain + offset, rtol=1e-5, atol=1e-3 * gain)


@pytest.mark.parametrize("shape", [(16, 16), (17, 61), (33, 32), (40, 40, 1), (40, 35, 3), (40, 35, 4)])
def test_every_size_and_channel_count_comes_back(shape, small_settings) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    result = restore(image, settings=dataclasses.replace(small_settings, step_limit=4, levels=5))
    assert result.restored.shape == shape
    assert result.restored.dtype == np.float32
    if len(shape) == 3 and shape[2] == 4:
        np.testing.assert_array_equal(result.restored[:, :, 3], image[:, :, 3])


def test_noise_is_removed(camera) -> None:
    truth = np.kron(camera[:32:2, :32:2], np.ones((4, 4)))
    noisy = truth + np.random.default_rng(0).normal(0, 25, truth.shape)
    result = restore(noisy, settings=Settings(width=8, levels=2, step_limit=30, device="cpu"))
    errors = [np.sqrt(np.mean((each - truth) ** 2)) for each in (noisy, result.restored)]
    assert errors[1] < 0.6 * errors[0]


def test_inpainting_keeps_the_known_pixels_as_given(astronaut, small_settings) -> None:
    mask = np.zeros(astronaut.shape[:2], bool)
    mask[12:20, 10:30] = True
    kept = restore(astronaut, mask, task="inpaint", settings=small_settings).restored
    np.testing.assert_array_equal(kept[~mask], astronaut[~mask])
    drawn = restore(
        astronaut, mask, task="inpaint", settings=dataclasses.replace(small_settings, keep_known=False)
    ).restored
    assert not np.array_equal(drawn[~mask], astronaut[~mask])


def test_what_hides_behind_the_mask_does_not_matter(camera, small_settings) -> None:
    mask = np.zeros(camera.shape, bool)
    mask[5:15, 5:15] = True
    results = []
    for hidden in (0, 255, np.nan):
        image = camera.astype(np.float32)
        image[mask] = hidden
        results.append(restore(image, mask, task="inpaint", settings=small_settings).restored)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert np.isfinite(results[2]).all()


def test_nan_alone_marks_what_is_missing(camera, small_settings) -> None:
    image = camera.astype(np.float32)
    image[5:9, 5:9] = np.nan
    for task in ("denoise", "inpaint", "enhance"):
        settings = dataclasses.replace(small_settings, smoothed_steps=10)
        assert np.isfinite(restore(image, task=task, settings=settings).restored).all()


def test_details_keep_both_signs(camera, small_settings) -> None:
    settings = dataclasses.replace(small_settings, smoothed_steps=20, detail_amount=2.0)
    result = restore(camera, task="enhance", settings=settings)
    np.testing.assert_array_equal(result.restored, camera.astype(np.float32))
    expected = camera + 2.0 * (camera - result.smoothed)
    np.testing.assert_allclose(result.detail_enhanced, expected, atol=1e-2)
    difference = result.detail_enhanced - camera
    assert difference.min() < 0 < difference.max()


def test_a_smaller_bound_makes_a_smoother_image(camera) -> None:
    """λ is the knob of enhancement (Fig. 16)."""
    roughness = []
    for bound in (0.5, 1.0, 2.2):
        settings = Settings(width=8, levels=3, device="cpu", smoothed_lipschitz_bound=bound, smoothed_steps=40)
        smoothed = restore(camera, task="enhance", settings=settings).smoothed
        roughness.append(np.abs(laplace(smoothed)).mean())
    assert roughness[0] < 0.8 * roughness[1] < 0.64 * roughness[2]


@pytest.mark.parametrize(
    "pattern",
    ["points", pytest.param("lines", marks=pytest.mark.full), pytest.param("dead columns", marks=pytest.mark.full)],
)
def test_narrow_gaps_are_filled_from_what_is_beside_them(pattern: str) -> None:
    image = data.camera()[60:108, 180:228].astype(float)
    mask = np.zeros(image.shape, bool)
    match pattern:
        case "points":
            mask = np.random.default_rng(0).random(image.shape) < 0.3
        case "lines":
            mask[np.arange(48), np.arange(48)] = mask[np.arange(47), np.arange(1, 48)] = True
        case "dead columns":
            mask[:, [20, 41, 42]] = True
    settings = Settings(width=16, levels=3, step_limit=30, device="cpu")
    filled = restore(np.where(mask, 0, image), mask, "inpaint", settings=settings)
    error = np.sqrt(np.mean((filled.restored - image)[mask] ** 2))
    assert error < 0.4 * image.std()


def test_the_step_limit_holds_for_enhancing_too(camera, small_settings) -> None:
    settings = dataclasses.replace(small_settings, step_limit=3, smoothed_steps=10)
    assert restore(camera, task="enhance", settings=settings).step == 3


@pytest.mark.parametrize("task", ["denoise", "inpaint", "enhance"])
def test_the_smoothed_image_is_repeated_from_what_was_used(task: str, camera, small_settings) -> None:
    """Also where the restoring network was wider, or deeper for a wide hole, than a smoothing one would choose."""
    mask = np.zeros(camera.shape, bool)
    mask[8:24, 8:24] = task == "inpaint"
    auto = dataclasses.replace(
        small_settings, width="auto", levels="auto", step_limit=10, smoothed=True, smoothed_steps=5
    )
    result = restore(camera, mask if task == "inpaint" else None, task=task, settings=auto)
    again = restore(
        camera, mask if task == "inpaint" else None, task=task,
        settings=dataclasses.replace(auto, width=result.settings.width, levels=result.settings.levels),
    )  # fmt: skip
    np.testing.assert_array_equal(again.smoothed, result.smoothed)


def test_the_note_tells_what_the_filters_did(camera, small_settings) -> None:
    noisy = camera + np.random.default_rng(0).normal(0, 25, camera.shape)
    helped = restore(noisy, settings=small_settings)
    report = next(each for each in helped.history if each.step == helped.step)
    gain = 1 - report.held_out_error / report.prior_error
    assert f"reduced the network's error on held-out pixels by {gain:.0%}" in helped.note
    alone = restore(noisy, settings=dataclasses.replace(small_settings, partner=False))
    assert alone.history[0].prior_error is None
    assert "The filters" not in alone.note


def test_smoothed_comes_only_when_asked(camera, small_settings) -> None:
    plain = restore(camera, settings=small_settings)
    assert plain.smoothed is None
    assert plain.detail_enhanced is None
    asked = restore(
        camera, settings=dataclasses.replace(small_settings, smoothed=True, detail_enhanced=True, smoothed_steps=10)
    )
    np.testing.assert_array_equal(asked.restored, plain.restored)
    expected = asked.restored + (asked.restored - asked.smoothed)
    np.testing.assert_allclose(asked.detail_enhanced, expected, atol=1e-2)


def test_progress_ends_with_the_result(camera, small_settings) -> None:
    everything = list(restore_steps(camera, settings=small_settings))
    assert [each.step for each in everything] == [1, 10, 20]  # a partner has something to show at once
    assert all(each.result is None for each in everything[:-1])
    result = everything[-1].result
    assert result is not None
    assert result.stop_reason is StopReason.STEP_LIMIT
    np.testing.assert_array_equal(everything[-1].estimate, result.restored)
    assert [each.step for each in result.history] == [1, 10, 20]
    assert everything[0].band_correspondence.shape == (5,)
    assert everything[0].estimate.shape == camera.shape


def test_reports_that_are_not_wanted_change_nothing(camera, small_settings) -> None:
    wanted = iter([False, True])
    few = list(restore_steps(camera, settings=small_settings, report_wanted=wanted.__next__))
    everything = list(restore_steps(camera, settings=small_settings))
    assert [each.step for each in few] == [10, 20]
    np.testing.assert_array_equal(few[0].estimate, everything[1].estimate)
    np.testing.assert_array_equal(few[-1].result.restored, everything[-1].result.restored)
    assert few[-1].result.history == everything[-1].result.history


def test_reports_do_not_depend_on_the_step_limit(camera, small_settings) -> None:
    short = list(restore_steps(camera, settings=dataclasses.replace(small_settings, step_limit=20)))
    long = list(restore_steps(camera, settings=dataclasses.replace(small_settings, step_limit=40)))
    for a, b in zip(short, long, strict=False):
        np.testing.assert_array_equal(a.estimate, b.estimate)


def test_stop_keeps_the_best_so_far(camera, small_settings) -> None:
    steps = restore_steps(
        camera,
        settings=dataclasses.replace(small_settings, step_limit=10_000),
        stop_requested=iter([False] * 12 + [True]).__next__,
    )
    last = list(steps)[-1]
    assert last.result is not None
    assert last.result.stop_reason is StopReason.USER
    assert last.result.record.stop_step == 13


def test_the_width_follows_the_noise(camera, small_settings) -> None:
    settings = dataclasses.replace(small_settings, width="auto", step_limit=2)
    noisy = np.tile(camera, (2, 2)) + np.random.default_rng(0).normal(0, 20, (96, 80))
    assert restore(noisy, settings=settings).settings.width == 32
    assert restore(noisy, settings=dataclasses.replace(settings, partner=False)).settings.width == 64
    assert restore(noisy, task="super_resolve", factor=2, settings=settings).settings.width == 64
    assert restore(noisy, settings=dataclasses.replace(settings, width=48)).settings.width == 48


def test_settings_used_are_resolved_and_recorded(camera, small_settings) -> None:
    result = restore(camera, settings=small_settings)
    assert result.settings.device == "cpu"
    assert result.settings.precision in ("bfloat16", "float32")
    assert isinstance(result.settings.lipschitz_bound, float)
    assert result.record.as_dict()["settings"]["lipschitz_bound"] == "auto"
    assert '"torch"' in result.record.as_json()


def test_a_table_needs_the_jpegs_own_intensities(camera) -> None:
    with pytest.raises(ValueError, match="from 0 to 255"):
        restore_steps(camera / 255, task="deblock", quantisation_table=np.full((8, 8), 16))


def test_hot_pixels_do_not_spoil_the_rest(camera) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(4.0 * camera + 100 + rng.normal(0, 40, camera.shape), 0, 65535).astype(np.uint16)
    hot = noisy.copy()
    hot[[10, 30], [20, 11]] = 65535
    settings = Settings(width=8, levels=2, step_limit=30, device="cpu")
    for spoilt in (noisy, hot):
        result = restore(spoilt, settings=settings)
        error = np.sqrt(np.mean((result.restored - (4.0 * camera + 100)) ** 2))
        assert error < 45
    assert result.record.missing == 2


def test_kernels_of_any_size(camera, small_settings) -> None:
    settings = dataclasses.replace(small_settings, kernel_size=9, levels=5, step_limit=2)
    assert np.isfinite(restore(camera, settings=settings).restored).all()


def test_half_a_smoothing_is_none(camera, small_settings) -> None:
    settings = dataclasses.replace(small_settings, smoothed=True, detail_enhanced=True, smoothed_steps=30)
    stopped = iter([False] * 40 + [True] * 30)
    *_, last = restore_steps(camera, settings=settings, stop_requested=stopped.__next__)
    assert last.result.smoothed is None
    assert last.result.detail_enhanced is None
    np.testing.assert_array_equal(last.result.restored, restore(camera, settings=small_settings).restored)


@pytest.mark.full
@pytest.mark.parametrize("preset", ["deep_image_prior", "gp_dip"])
def test_the_smoothed_image_is_held_to_its_bound_by_every_preset(preset: str, camera) -> None:
    gradient = []
    for bound in (0.5, 2.0):
        settings = dataclasses.replace(
            Settings.preset(preset), width=16, levels=3, smoothed_lipschitz_bound=bound, smoothed_steps=80, device="cpu"
        )
        smoothed = restore(camera, task="enhance", settings=settings).smoothed
        gradient.append(np.abs(np.diff(smoothed)).mean())
    assert gradient[0] < 0.7 * gradient[1]


def test_what_diverges_keeps_the_best(camera, small_settings, monkeypatch) -> None:
    step = Fit.step

    def diverging(fit: Fit) -> None:
        step(fit)
        if fit.step_count == 20:
            fit.loss, fit._mean = (part * float("nan") for part in (fit.loss, fit._mean))

    monkeypatch.setattr(Fit, "step", diverging)
    result = restore(camera, settings=small_settings)
    assert result.stop_reason is StopReason.DIVERGED
    assert result.step < 20
    assert np.isfinite(result.restored).all()


def test_enhancing_with_missing_pixels_tells_one_story(camera, small_settings) -> None:
    image = camera.astype(float)
    image[5, 5:8] = np.nan
    result = restore(image, task="enhance", settings=dataclasses.replace(small_settings, smoothed_steps=20))
    assert [report.step for report in result.history] == [10, 20]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs(name: str, camera) -> None:
    steps = 110 if name == "gp_dip" else 12
    settings = dataclasses.replace(Settings.preset(name), width=8, levels=2, step_limit=steps, device="cpu", burn_in=0)
    result = restore(camera, settings=settings)
    assert np.isfinite(result.restored).all()


@pytest.mark.parametrize(("shape", "factor"), [((17, 20), 2), ((16, 18, 3), 3), ((16, 16, 4), 4), ((20, 16, 1), 8)])
def test_super_resolution_by_any_whole_factor(shape, factor: int, small_settings) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    result = restore(image, task="super_resolve", factor=factor, settings=small_settings)
    assert result.restored.shape == (shape[0] * factor, shape[1] * factor, *shape[2:])
    assert result.restored.dtype == np.float32
    if shape[2:] == (4,):
        np.testing.assert_array_equal(result.restored[::factor, ::factor, 3], image[..., 3])


def test_super_resolution_shrinks_back_to_what_was_given(camera) -> None:
    for keep_known, steps, error in ((True, 20, 0.01), (False, 150, 0.4 * camera.std())):
        settings = Settings(width=16, levels=3, step_limit=steps, device="cpu", keep_known=keep_known)
        large = restore(camera, task="super_resolve", factor=2, settings=settings).restored
        small = Image.fromarray(large).resize(camera.shape[::-1], Image.Resampling.LANCZOS)
        assert np.sqrt(np.mean((np.asarray(small) - camera) ** 2)) < error


def test_a_wider_hole_gets_more_levels(camera, small_settings) -> None:
    """And the settings that were used say so; a number given is obeyed."""
    image = np.tile(camera, (3, 4))
    mask = np.zeros(image.shape, bool)
    mask[40:90, 40:90] = True
    quick = dataclasses.replace(small_settings, levels="auto", step_limit=2, partner=False)
    assert restore(image, settings=quick).settings.levels == 5
    assert restore(image, mask, "inpaint", settings=quick).settings.levels == 6
    assert restore(image, mask, "inpaint", settings=dataclasses.replace(quick, levels=3)).settings.levels == 3


@pytest.mark.parametrize("network", ["decoder", "encoder_decoder", "conv_net"])
def test_every_network_serves_every_task(network: str, camera, small_settings) -> None:
    settings = dataclasses.replace(small_settings, network=network, step_limit=3, smoothed_steps=3)
    mask = camera > np.median(camera)
    for task, factor in (
        ("denoise", None),
        ("inpaint", None),
        ("deblock", None),
        ("super_resolve", 2),
        ("enhance", None),
    ):
        result = restore(camera, mask if task == "inpaint" else None, task, factor, settings)
        assert np.isfinite(result.restored).all()


def test_langevin_dynamics_gives_mean_and_spread(camera, small_settings) -> None:
    camera = camera[:24, :20]
    settings = dataclasses.replace(
        small_settings, weight_noise=2.0, burn_in=20, step_limit=120, held_out=0.0, stopping="fixed"
    )
    result = restore(camera, settings=settings)
    assert result.uncertainty is not None
    assert result.uncertainty.shape == result.restored.shape
    assert result.uncertainty.min() >= 0
    assert result.uncertainty.mean() > 0
    doubled = restore(camera.astype(float) * 2 + 5, settings=settings)
    np.testing.assert_allclose(doubled.uncertainty, 2 * result.uncertainty, rtol=1e-4, atol=1e-4)
    assert restore(camera, settings=small_settings).uncertainty is None


def test_uncertainty_is_the_spread_of_runs_in_the_images_units(camera, small_settings) -> None:
    camera, settings = camera[:32, :28], dataclasses.replace(small_settings, uncertainty=True)
    result = restore(camera, settings=settings)
    assert result.settings.runs == 4
    assert result.uncertainty.shape == camera.shape
    assert result.uncertainty.min() > 0
    doubled = restore(camera.astype(float) * 2 + 5, settings=settings)
    np.testing.assert_allclose(doubled.uncertainty, 2 * result.uncertainty, rtol=1e-3)
    assert restore(camera, settings=dataclasses.replace(settings, runs=2)).settings.runs == 2


def test_the_residual_and_the_restored_are_the_image(camera, small_settings) -> None:
    image = camera.astype(float)
    image[3, 4] = np.nan
    result = restore(image, settings=dataclasses.replace(small_settings, residual=True))
    assert np.isnan(result.residual[3, 4])
    np.testing.assert_allclose((result.residual + result.restored), image, atol=1e-3)
    small = restore(camera, task="super_resolve", factor=2, settings=dataclasses.replace(small_settings, residual=True))
    assert small.residual.shape == camera.shape
    assert np.abs(small.residual).max() < 0.05  # it shrinks to what was given


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("none", "hardly any"), ("gaussian", "equally strong"), ("poisson", "grows with"), ("blurred", "is correlated")],
)
def test_the_note_tells_what_noise_it_is(kind: str, sentence: str, small_settings) -> None:
    rows, columns = np.indices((96, 96)) / 96
    image = 100 + 80 * np.sin(5 * rows) * np.cos(4 * columns)
    noise = np.random.default_rng(0).normal(0, 1, image.shape)
    match kind:
        case "none":
            image = image + 0.3 * noise
        case "gaussian":
            image = image + 15 * noise
        case "poisson":
            image = image + 2 * np.sqrt(image - 15) * noise
        case "blurred":
            image = image + 40 * gaussian_filter(noise, 0.8)
    result = restore(image, settings=dataclasses.replace(small_settings, step_limit=4, partner=False))
    assert sentence in result.note
    assert result.record.note == result.note
    if kind == "blurred":
        assert result.settings.held_out_side > 1


def test_the_hosts_state_is_untouched(camera, small_settings) -> None:
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    flags = torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.get_default_dtype(), torch.is_grad_enabled()
    restore(camera, settings=small_settings)
    assert before[0].equal(torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert flags == (
        torch.get_num_threads(), torch.backends.cudnn.benchmark, torch.get_default_dtype(), torch.is_grad_enabled()
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"task": "sharpen"}, "no task 'sharpen'"),
        ({"task": "inpaint"}, "nothing is marked as missing"),
        ({"factor": 2}, "takes none"),
        ({"task": "super_resolve"}, "a whole number from 2 to 1024"),
        ({"task": "super_resolve", "factor": 1.5}, "a whole number from 2 to 1024"),
        ({"task": "super_resolve", "factor": 1025}, "a whole number from 2 to 1024"),  # a record takes no more
        ({"task": "deblock", "quantisation_table": np.zeros((8, 8))}, "8 x 8 steps"),
        ({"quantisation_table": np.ones((8, 8))}, "is for deblocking"),
        ({"settings": Settings(device="cuda:77")}, "cannot be used here"),
        ({"settings": Settings(device="gpu")}, 'there is no device "gpu"; use auto, cpu, cuda, cuda:1 or mps.$'),
    ],
)
def test_everything_is_checked_at_the_call(camera, arguments, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        restore_steps(camera, **arguments)


def test_the_public_interface_is_as_promised() -> None:
    assert list(inspect.signature(restore).parameters)[:5] == ["image", "mask", "task", "factor", "settings"]
    fields = {field.name for field in dataclasses.fields(napari_dip.Settings)}
    assert fields >= {
        "seed", "device", "lipschitz_bound", "step_limit", "report_every", "stopping", "keep_known",
    }  # fmt: skip


def test_what_does_not_fit_is_refused_with_a_number(monkeypatch, camera) -> None:
    monkeypatch.setattr("napari_dip.device.free_memory", lambda device: 1e8)
    with pytest.raises(ValueError, match=r"would take about 0\.\d GB of memory, and CPU .* has 0\.1 GB free"):
        restore(camera[:64, :64], settings=Settings(device="cpu"))


def test_the_time_left_is_told_from_the_second_report_on(camera) -> None:
    settings = Settings(width=8, stopping="fixed", step_limit=40, partner=False, smoothed=True, smoothed_steps=10)
    left = [each.seconds_left for each in restore_steps(camera[:32, :32], settings=settings) if each.result is None]
    assert left[0] is None
    assert left[1] is not None
    assert left[1][0] == left[1][1] > 0  # nothing but the step limit ends it


@pytest.mark.full
def test_the_least_time_left_is_the_patience(camera) -> None:
    settings = Settings(width=8, patience=50, step_limit=200, partner=False)
    left = [each.seconds_left for each in restore_steps(camera[:32, :32], settings=settings) if each.seconds_left]
    assert all(0 <= least <= most for least, most in left)
    assert left[0][0] < left[0][1]


@pytest.mark.parametrize(
    "kind",
    [
        "denoise",
        "enlarge",
        *(
            pytest.param(each, marks=pytest.mark.full)
            for each in ("inpaint", "rgb", "jpeg", "runs", "unjudged", "langevin")
        ),
    ],
)
def test_a_moment_is_what_a_run_to_its_step_returns(kind, camera, astronaut, small_settings, tmp_path) -> None:
    """Bit for bit, and its record is that run's."""
    camera = camera[:32, :32]
    image, mask, task, factor = camera, None, "denoise", None
    settings = dataclasses.replace(small_settings, step_limit=60, patience=60, snapshots=3, residual=True)
    match kind:
        case "denoise":
            image = camera + np.random.default_rng(0).normal(0, 20, camera.shape)
        case "inpaint":
            mask, task = np.zeros(camera.shape, bool), "inpaint"
            mask[10:14, 5:30] = True
        case "rgb":
            image = astronaut
        case "enlarge":
            task, factor = "super_resolve", 2
        case "jpeg":
            Image.fromarray(camera).save(tmp_path / "camera.jpg", quality=20)
            image, task = np.asarray(Image.open(tmp_path / "camera.jpg")), "deblock"
            settings = dataclasses.replace(settings, stopping="fixed")
        case "runs":
            settings = dataclasses.replace(settings, runs=2)
        case "unjudged":
            settings = dataclasses.replace(settings, held_out=0.0, stopping="fixed")
        case "langevin":
            settings = dataclasses.replace(settings, weight_noise=2.0, step_limit=130, held_out=0.0, stopping="fixed")
    result = restore(image, mask, task, factor, settings)
    steps = [moment.step for moment in result.moments]
    assert steps == sorted(steps)
    assert result.step in steps
    assert {20, 40, 60} <= set(steps) if kind != "langevin" else {40, 80, 120} <= set(steps)
    assert len(steps) <= 4
    for moment in result.moments:
        seen = moment.restoration()
        again = restore(image, mask, task, factor, dataclasses.replace(settings, chosen_step=moment.step))
        np.testing.assert_array_equal(seen.restored, again.restored)
        np.testing.assert_array_equal(seen.residual, again.residual)
        assert seen.history == again.history
        assert dataclasses.replace(seen.record, seconds=0) == dataclasses.replace(again.record, seconds=0)
        assert again.step == moment.step
        assert again.stop_reason is StopReason.CHOSEN
        if moment.step == result.step:
            np.testing.assert_array_equal(seen.restored, result.restored)


def test_keeping_moments_changes_nothing_and_keeps_no_network(camera, small_settings, monkeypatch) -> None:
    fits = []
    build = napari_dip.plane_run.build_fit

    def build_and_watch(*arguments, keeps_known: bool = False) -> Fit:
        fit = build(*arguments, keeps_known=keeps_known)
        fits.extend([weakref.ref(fit), weakref.ref(fit.network)])
        return fit

    monkeypatch.setattr(napari_dip.plane_run, "build_fit", build_and_watch)
    result = restore(camera, settings=dataclasses.replace(small_settings, snapshots=2, smoothed=True, smoothed_steps=5))
    gc.collect()
    assert len(fits) == 4
    assert all(fit() is None for fit in fits)
    plain = restore(camera, settings=small_settings)
    np.testing.assert_array_equal(result.restored, plain.restored)
    assert result.history == plain.history
    assert plain.moments == ()


def test_what_is_kept_does_not_depend_on_who_looks(camera, small_settings) -> None:
    settings = dataclasses.replace(small_settings, snapshots=5, step_limit=200)
    *_, last = restore_steps(camera, settings=settings, stop_requested=iter([False] * 76 + [True]).__next__)
    steps = {moment.step for moment in last.result.moments}
    assert steps - {last.result.step} <= {20, 40, 60}


def test_a_chosen_step_need_be_no_report_and_has_no_sense_where_nothing_is_restored(camera, small_settings) -> None:
    settings = dataclasses.replace(small_settings, chosen_step=17)
    result = restore(camera, settings=settings)
    assert [report.step for report in result.history] == [1, 10, 17]
    assert result.step == 17
    assert result.record.as_dict()["settings"]["chosen_step"] == 17
    with pytest.raises(ValueError, match="leave it None"):
        restore_steps(camera, task="enhance", settings=settings)
    enhanced = restore(camera, task="enhance", settings=dataclasses.replace(small_settings, snapshots=3))
    assert enhanced.moments == ()


def test_the_note_says_that_the_filters_did_it_alone() -> None:
    report = Report(
        step=1, loss=0.1, held_out_error=0.01, prior_error=0.1, band_correspondence=(1.0,), ratio=1.0,
        lipschitz_bound=1.0,
    )  # fmt: skip

    def say(report: Report) -> str:
        findings = Findings(noise=None, correlation_side=1, residual_correlation=0.0, scale=1.0, report=report)
        return advise("denoise", findings)

    assert "the network found nothing to improve" in say(report)
    assert "did most of the work" in say(dataclasses.replace(report, step=10))
    assert say(dataclasses.replace(report, prior_error=None)) == ""  # there were no filters
