"""The tiles of an image share what was measured on all of it, and leave no seams."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

import napari_dip
from napari_dip.image_files import read_image, read_quantisation_table
from napari_dip.interruption import Interrupted
from napari_dip.many import tile_survey, tiles
from napari_dip.many.axes import Plane, find_axes
from napari_dip.many.image_stack import MaskedStack
from napari_dip.many.tile_survey import measure_whole
from napari_dip.many.tiling import Tiling, plan_tiles
from napari_dip.request import NO_REPORTS, Hooks, Request


@pytest.mark.parametrize(("shape", "tile", "overlap"), [((100, 70), (40, 32), 8), ((50, 50), (64, 20), 5)])
@pytest.mark.parametrize("factor", [1, 2])
def test_weights_sum_to_one_everywhere(shape, tile, overlap, factor) -> None:
    tiling = Tiling(shape, tuple(min(each) for each in zip(shape, tile, strict=True)), overlap)
    total = np.zeros([length * factor for length in shape])
    for place in tiling.places():
        total[tuple(slice(each.start * factor, each.stop * factor) for each in place)] += tiling.weights(place, factor)
    np.testing.assert_allclose(total, 1, atol=1e-6)


def as_stack(image, mask=None) -> tuple[MaskedStack, Plane]:
    """Return an image as a stack, and its only plane."""
    axes = find_axes(image.shape)
    return MaskedStack(image, axes, mask), next(axes.planes())


def restore_tiles(image, tiling, task="denoise", *, settings, mask=None, **named):
    """Call the engine's function, which takes a request and hooks."""
    asked = {name: named.pop(name) for name in ("stop_requested", "report_wanted", "quick_estimates") if name in named}
    hooks = dataclasses.replace(NO_REPORTS, **asked)
    return tiles.restore_tiles(*as_stack(image, mask), tiling, Request(task, settings, named), hooks)


def test_a_budget_bounds_the_tiles(small_settings) -> None:
    assert plan_tiles((256, 256), Request("denoise", small_settings), memory=2e9) is None
    sides = [plan_tiles((4096, 4096), Request("denoise", small_settings), memory=each).tile[0] for each in (1e9, 2e9)]
    assert sides[0] < sides[1] < 4096
    with pytest.raises(ValueError, match=r"budget of 0\.10 GB is too small"):
        plan_tiles((4096, 4096), Request("denoise", small_settings), memory=1e8)


@pytest.mark.parametrize("shape", [(750, 500), (325, 275), (30, 10_000)])
def test_a_large_image_is_measured_by_blocks(shape, monkeypatch) -> None:
    """Only a part is read or measured, but range and noise are right for the whole image.

    All at a quarter of the sides.
    """
    for name, value in (("_MOST_PIXELS", 1 << 18), ("_ENOUGH_FOR_NOISE", 1 << 16), ("_BLOCK", 32)):
        monkeypatch.setattr(tile_survey, name, value)
    random = np.random.default_rng(0)
    image = np.linspace(0, 1000, shape[0])[:, None] + random.normal(0, 20, shape)
    asked = []

    class Watched:
        shape, dtype = image.shape, image.dtype

        def __getitem__(self, place):
            asked.append(place)
            return image[place]

    whole = measure_whole(*as_stack(Watched()), Request())
    low, high = whole.intensity_range[:, 0]
    assert (low, high) == (pytest.approx(image.min(), abs=60), pytest.approx(image.max(), abs=60))
    assert whole.noise.mean_variance**0.5 * (high - low) == pytest.approx(20, rel=0.05)
    assert not whole.correlated
    longest = max(rows.stop - rows.start for rows, _ in asked)
    assert longest == (32 if image.size > 1 << 18 and shape[0] > 32 else shape[0])


@pytest.mark.parametrize("along", ["rows", "columns"])
@pytest.mark.parametrize("most_pixels", [1 << 20, 1 << 15])
def test_stripes_are_measured_on_the_whole_image(along, most_pixels, monkeypatch) -> None:
    """A tile tells them less well: its lines are shorter, and at its edges it does not know what changes slowly."""
    monkeypatch.setattr(tile_survey, "_MOST_PIXELS", most_pixels)
    monkeypatch.setattr(tile_survey, "_BLOCK", 64)
    random = np.random.default_rng(0)
    smooth = data.camera().astype(float)
    offsets = random.normal(0, 20, len(smooth))[:, None]
    if along == "columns":
        smooth, offsets = smooth[:384], offsets.T
    noisy = smooth + random.normal(0, 10, smooth.shape)
    whole = measure_whole(*as_stack(noisy + offsets), Request())
    found = whole.stripes.offsets[0, 0].numpy() * np.ptp(whole.intensity_range)
    assert whole.stripes.along == along
    expected = offsets - ndimage.gaussian_filter(offsets, 5, mode="nearest")
    assert np.std(found - expected) < 2.5
    part = whole.cut(slice(10, 40), slice(20, 70)).stripes.offsets[0, 0].numpy() * np.ptp(whole.intensity_range)
    np.testing.assert_array_equal(part, found[10:40] if along == "rows" else found[:, 20:70])
    settings = napari_dip.Settings(remove_stripes=False)
    assert measure_whole(*as_stack(noisy + offsets), Request(settings=settings)).stripes is None
    even = measure_whole(*as_stack(noisy), Request())
    assert even.stripes is None
    deviations = [each.noise.mean_variance**0.5 * np.ptp(each.intensity_range) for each in (whole, even)]
    assert deviations[0] == pytest.approx(deviations[1], rel=0.1)


@pytest.fixture(scope="module")
def noisy() -> tuple[np.ndarray, np.ndarray]:
    truth = data.camera()[60:188, 150:278].astype(np.float32)
    return truth, truth + np.random.default_rng(0).normal(0, 20, truth.shape).astype(np.float32)


@pytest.mark.full
def test_tiles_are_as_good_as_the_whole_and_have_no_seams(noisy) -> None:
    truth, image = noisy
    settings = napari_dip.Settings(width=16, levels=3, step_limit=120, device="cpu", patience=40, wait_for_prior=False)
    tiling = Tiling(image.shape, (80, 80), 32)
    *_, last = restore_tiles(image, tiling, settings=settings)
    tiled = last.result.restored
    alone = napari_dip.restore(image, settings=settings).restored
    of_tiles, of_whole = (peak_signal_noise_ratio(truth, each, data_range=255) for each in (tiled, alone))
    assert of_tiles > of_whole - 0.1
    assert last.result.settings.chosen_step is not None
    assert "in 4 tiles of 80 x 80 pixels" in last.result.record.compared
    error = tiled - truth
    for axis in (0, 1):
        steps = np.abs(np.diff(error, axis=axis).mean(axis=1 - axis))  # from each row or column to the next
        seams = [n for start in tiling.starts(axis) for n in (start - 1, start + 80 - 1) if 0 < n < len(steps)]
        interior = np.delete(steps, seams)
        assert steps[seams].max() <= np.quantile(interior, 0.98)


def test_a_large_plane_of_a_stack_is_restored_in_tiles(noisy, small_settings) -> None:
    image = noisy[1][:96, :96]
    settings = dataclasses.replace(small_settings, stopping="fixed", step_limit=4, partner=False, residual=True)
    stack = np.stack([image, image])
    done = list(napari_dip.restore_stack(stack, "TYX", settings=settings, memory=6.32e8))
    results = [each.result for each in done if each.result is not None]
    assert len(results) == 2
    assert "tiles" in results[0].record.compared
    np.testing.assert_allclose(results[0].restored + results[0].residual, image, atol=1e-2)


def test_a_stop_keeps_the_finished_tiles(noisy, small_settings) -> None:
    _, image = noisy
    settings = dataclasses.replace(small_settings, stopping="fixed", step_limit=10, partner=False)
    asked = iter(range(10_000))
    *_, last = restore_tiles(
        image, Tiling(image.shape, (80, 80), 32),
        settings=settings, stop_requested=lambda: next(asked) >= 15,
    )  # fmt: skip
    restored = last.result.restored
    assert np.isfinite(restored[:80]).all()
    assert np.isnan(restored[81:, :48]).any() or np.isnan(restored[81:]).any()


@pytest.mark.full
def test_reports_name_their_tile(noisy, small_settings) -> None:
    _, image = noisy
    settings = dataclasses.replace(small_settings, step_limit=60, report_every=5, partner=False)
    tiling = Tiling(image.shape, (80, 80), 32)
    *reports, last = restore_tiles(image, tiling, settings=settings, report_wanted=lambda: True)
    samples = [each.tile for each in reports if each.tile.sample]
    tiles = [each for each in reports if not each.tile.sample]
    assert {(each.number, each.count) for each in samples} <= {(1, 2), (2, 2), (1, 3), (2, 3), (3, 3)}
    assert [each.tile.number for each in tiles] == sorted(each.tile.number for each in tiles)
    assert [each.tile.number for each in tiles if each.step == tiles[0].step] == [1, 2, 3, 4]
    assert all((each.tile.rows, each.tile.columns) == tiling.places()[each.tile.number - 1] for each in tiles)
    assert all(each.estimate.shape == (80, 80) for each in tiles)
    fractions = [each.fraction for each in tiles]
    assert fractions == sorted(fractions)
    assert last.tile is None
    assert last.estimate.shape == image.shape


def test_tiles_without_holes_stay_as_they_are_and_empty_ones_are_left_out(noisy, small_settings) -> None:
    _, image = noisy
    tiling = Tiling(image.shape, (48, 48), 8)
    mask = np.zeros(image.shape, bool)
    mask[100:108, 100:104] = True  # in only one tile
    mask[:50, 78:] = True  # all of another tile
    settings = dataclasses.replace(small_settings, stopping="fixed", step_limit=10, keep_known=True)
    *reports, last = restore_tiles(
        image, tiling, "inpaint", mask=mask, settings=settings, report_wanted=lambda: True
    )  # fmt: skip
    restored = last.result.restored
    np.testing.assert_array_equal(restored[~mask], image[~mask])
    assert np.isfinite(restored[mask & (np.arange(128)[:, None] > 90)]).all()
    assert np.isnan(restored[:38, 90:]).all()
    assert "1 of 9 tiles had too few known pixels" in last.result.note
    assert {each.tile.count for each in reports} == {4}
    with pytest.raises(ValueError, match="nothing is marked"):
        next(restore_tiles(image, tiling, "inpaint", settings=settings))


@pytest.mark.parametrize(("task", "channels"), [("inpaint", None), ("enhance", None), ("denoise", 4)])
def test_known_pixels_and_alpha_of_tiles_stay_to_the_last_bit(task, channels, noisy, small_settings) -> None:
    """Even where tiles are blended, which rounds."""
    image = noisy[1][:96, :96].copy()
    mask = np.zeros(image.shape, bool)
    mask[30:60:4, 30:60] = task == "inpaint"
    image[mask] = np.nan
    if channels:
        image = np.stack([image] * channels, axis=2)
    tiling = Tiling(image.shape[:2], (56, 56), 16)
    settings = dataclasses.replace(small_settings, stopping="fixed", step_limit=2, smoothed_steps=2, partner=False)
    *_, last = restore_tiles(image, tiling, task, settings=settings)
    restored = last.result.restored
    kept = np.s_[..., 3] if channels else ~mask
    np.testing.assert_array_equal(restored[kept], image[kept])
    assert np.isfinite(restored).all()


def test_weights_count_in_the_budget(small_settings) -> None:
    """A wide network on a small image needs memory mostly for weights, gradients and the optimiser's state."""
    wide = dataclasses.replace(small_settings, width=512, levels=4, convolutions_per_level=2, stem_convolutions=2)
    kernels = 4 * 9 * (512 * 32 + 9 * 512 * 512)  # bytes: a stem of two convolutions, and two per level
    for optimiser, times in (("muon", 4), ("adam", 5)):  # gradients, momentum or two moments, bounded kernels
        settings = dataclasses.replace(wide, optimiser=optimiser)
        with pytest.raises(ValueError, match=r"budget of .* is too small"):
            plan_tiles((1024, 1024), Request("denoise", settings), memory=6.3e8 + times * kernels)
    assert plan_tiles((64, 64), Request("denoise", wide), memory=6.3e8 + 20 * kernels) is None


def test_a_run_that_does_not_fit_is_refused_before_memory_is_used() -> None:
    """Neither the image as floats (50 TB) nor a single weight is allocated."""
    vast = np.broadcast_to(np.uint8(7), (2_500_000, 2_500_000))
    settings = napari_dip.Settings(device="cpu", width=8, levels=2)
    wide = dataclasses.replace(settings, width=1024, kernel_size=15, runs=64)
    for image, asked in ((vast, settings), (np.eye(64), wide)):
        with pytest.raises(ValueError, match=r"GB of memory, and CPU .* free"):
            napari_dip.restore_steps(image, settings=asked)


@pytest.mark.full
def test_tiles_of_a_jpeg_begin_with_its_blocks(small_settings, tmp_path) -> None:
    picture = data.camera()[60:257, 150:421]
    Image.fromarray(picture).save(tmp_path / "picture.jpg", quality=10)
    image, table = read_image(tmp_path / "picture.jpg"), read_quantisation_table(tmp_path / "picture.jpg")
    tiling = plan_tiles(image.shape, Request("deblock", small_settings), memory=6.4e8)
    assert len(tiling.places()) > 1
    assert all(each.start % 8 == 0 for place in tiling.places() for each in place)
    assert max(rows.stop for rows, _ in tiling.places()) == image.shape[0]
    assert max(columns.stop for _, columns in tiling.places()) == image.shape[1]
    *_, last = restore_tiles(
        image, tiling, "deblock", settings=small_settings,
        quantisation_table=table,
    )  # fmt: skip
    assert "quantisation steps (given)" in last.result.record.compared
    assert np.isfinite(last.result.restored).all()


@pytest.mark.parametrize("colours", [False, True])
def test_a_stop_with_a_uniform_tile_and_enlargement(noisy, small_settings, colours) -> None:
    """The dark edge of a slide is fitted like the rest; missing tiles after a stop do not count as dark."""
    image = noisy[1][:80, :80].copy()
    image[:44, :44] = 7
    if colours:
        image = np.stack([image] * 3, axis=2)
    settings = dataclasses.replace(
        small_settings, stopping="fixed", step_limit=10, smoothed=True, smoothed_steps=10, residual=True
    )
    tiling, asked = Tiling(image.shape[:2], (32, 32), 8), []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > 50

    *_, last = restore_tiles(image, tiling, settings=settings, stop_requested=stop)
    result = last.result
    assert np.isfinite(result.restored[:28, :28]).all()
    assert np.isnan(result.restored).any()
    done = np.isfinite(result.smoothed)
    assert done[:28, :28].all()
    assert done.sum() <= np.isfinite(result.restored).sum()
    assert result.smoothed[done].min() > 0.5 * image.min()


def test_a_window_cuts_what_its_steps_would_take_too_long_for(small_settings) -> None:
    """However much memory there is; a script does not."""
    request = Request("denoise", small_settings)
    assert plan_tiles((2048, 2048), request, 1e12) is None
    assert plan_tiles((1024, 1024), request, 1e12, prompt=True) is None
    assert plan_tiles((2048, 2048), request, 1e12, prompt=True).tile == (384, 384)
    assert plan_tiles((100, 20_000), request, 1e12, prompt=True).tile == (100, 384)
    enlarging = dataclasses.replace(request, task="super_resolve", parameters={"factor": 4})
    assert plan_tiles((600, 600), enlarging, 1e12, prompt=True).tile == (96, 96)


def stop_in_phase(noisy, settings, words: str):
    """Restore a part in four tiles and stop in a phase; return the phases, all reports, and the tiles' places."""
    tiling, phases, reports = Tiling((80, 80), (48, 48), 16), [], []
    try:
        for each in tiles.restore_tiles(
            *as_stack(noisy[1][:80, :80]), tiling, Request("denoise", settings),
            Hooks(lambda: words in phases, lambda: True, ends_at_once=True, phase_begun=phases.append),
        ):  # fmt: skip
            reports.append(each)
    except Interrupted:
        reports.append(None)
    return phases, reports, tiling.places()


@pytest.mark.parametrize("words", ["Measuring the noise", "Planning the tiles", "Preparing the filters, sample 1 of 2"])
def test_a_stop_before_the_first_tile_leaves_nothing(noisy, small_settings, words) -> None:
    phases, reports, _ = stop_in_phase(noisy, small_settings, words)
    assert phases[0] == "Reading the image"
    assert words in phases[-2:]
    assert reports == [None]


@pytest.mark.parametrize("words", ["Preparing the filters, sample 2 of 2", "Preparing the filters, tile 1 of 4"])
def test_a_stop_before_the_first_finished_tile_keeps_the_samples(noisy, small_settings, words) -> None:
    _, reports, places = stop_in_phase(noisy, small_settings, words)
    sampled = {(each.tile.rows.start, each.tile.columns.start) for each in reports[:-1]}
    result = reports[-1].result
    for place in places:
        is_sample = (place[0].start, place[1].start) in sampled
        middle = result.restored[place][16:32, 16:32]
        assert np.isfinite(middle).all() == is_sample
    assert result.was_stopped
    assert result.stop_reason is napari_dip.StopReason.USER
    assert f"{4 - len(sampled)} of 4 tiles were still to be restored" in result.note


def test_a_stop_while_a_tile_is_prepared_keeps_the_tiles_before_it(noisy, small_settings) -> None:
    settings = dataclasses.replace(small_settings, stopping="fixed", step_limit=10)
    _, reports, _ = stop_in_phase(noisy, settings, "Preparing the filters, tile 3 of 4")
    result = reports[-1].result
    assert np.isfinite(result.restored[:48]).all()
    assert np.isnan(result.restored[48:]).all()
    assert result.was_stopped
    assert "2 of 4 tiles were still to be restored; they are empty." in result.note
    _, reports, _ = stop_in_phase(noisy, settings, "Putting the tiles together")
    assert not reports[-1].result.was_stopped
