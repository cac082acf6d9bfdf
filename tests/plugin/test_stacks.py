"""Stacks in the window: the planes that are wanted, each at its place, kept when a run is stopped, and gone on with."""

import re
import subprocess
import sys

import dask.array
import numpy as np
import pytest
import tifffile
import zarr
from gestures import assert_lies_over, finish, names, open_widget, press, run, texts, wait_for_workers
from qtpy.QtWidgets import QApplication
from skimage import data

import napari_dip
from napari_dip.optimisation.fit import Fit
from napari_dip.plugin.layers.layer_axes import find_layer_axes

SIDE = 32
ENDLESS = 100_000  # steps, of a run that is stopped by hand

SMALL = {
    "width": 8, "levels": 2, "smoothed_steps": 10, "device": "cpu", "partner": False, "step_limit": 20
}  # fmt: skip


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """A (5, 2, 32, 32) stack, the second channel in other units."""
    truth = data.camera()[80 : 80 + SIDE, 200 : 200 + SIDE]
    noise = np.random.default_rng(0).normal(0, 10, (5, 2, SIDE, SIDE))
    return ((truth + noise) * np.array([1.0, 40.0])[:, None, None]).astype(np.float32)


@pytest.fixture
def geometry() -> dict:
    return {
        "scale": (2, 1, 0.5, 0.25), "translate": (7, 0, 3, 4), "axis_labels": ("time", "channel", "y", "x"),
        "units": ("s", "pixel", "um", "um"), "colormap": "magma", "contrast_limits": (0, 300),
        "affine": [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0.9, 0.1, 5], [0, 0, -0.1, 0.9, 6], [0, 0, 0, 0, 1]],
    }  # fmt: skip


def planes_done(layer) -> np.ndarray:
    """Which planes of a (t, c, y, x) layer are filled."""
    return np.isfinite(layer.data).all(axis=(-2, -1))


def test_a_film_fills_in_plane_by_plane(viewer, qtbot, film, geometry) -> None:
    image = viewer.add_image(film, name="film", metadata={"channel_names": ["DAPI", "GFP"]}, **geometry)
    viewer.dims.set_current_step(0, 3)
    widget = open_widget(viewer, image, "all")
    before = viewer.dims.current_step
    statuses, fills = set(), []

    def look(event=None) -> None:
        statuses.add(widget.controls.progress.tooltip or "")
        if "film restored" in viewer.layers:
            fills.append(int(planes_done(viewer.layers["film restored"]).sum()))

    widget.controls.progress.changed.connect(look)
    run(widget, qtbot)

    restored = viewer.layers["film restored"]
    assert names(viewer) == ["film", "film restored"]
    assert viewer.dims.current_step == before
    assert restored.data.shape == film.shape
    assert len(set(fills)) > 3
    for name in ("scale", "translate", "rotate", "shear", "contrast_limits"):
        np.testing.assert_allclose(getattr(restored, name), getattr(image, name))
    np.testing.assert_allclose(restored.affine.affine_matrix, image.affine.affine_matrix)
    assert (restored.units, restored.axis_labels) == (image.units, image.axis_labels)
    assert restored.colormap.name == "magma"
    assert restored.metadata["channel_names"] == ["DAPI", "GFP"]
    # which reports are shown is a matter of the clock
    assert any(re.match(r"time \d, (DAPI|GFP): restoring, step \d", each) for each in statuses), statuses
    assert any("GFP: finished" in each and "left" in each for each in statuses), statuses
    out = np.zeros(film.shape, np.float32)
    settings = widget.form.settings()
    list(napari_dip.restore_stack(film, "TCYX", settings=settings, out=out))
    np.testing.assert_array_equal(restored.data, out)
    record = napari_dip.Record.from_dict(restored.metadata["napari-dip"])
    assert (record.stack.axes, record.stack.shape, len(record.stack.planes)) == ("TCYX", film.shape, 10)
    assert widget.controls.status.value.startswith("Finished: 10 planes")


def test_this_plane_is_the_one_that_the_sliders_show(viewer, qtbot, film, geometry) -> None:
    image = viewer.add_image(film, name="film", **geometry)
    widget = open_widget(viewer, image)
    assert widget.form.stack.planes.value == "this"
    viewer.dims.set_current_step((0, 1), (4, 1))
    run(widget, qtbot)
    restored = viewer.layers["film (time 4, channel 1) restored"]
    assert restored.data.shape == (1, 1, SIDE, SIDE)
    assert_lies_over(restored, image, (4, 1, 0, 0))
    alone = napari_dip.restore(film[4, 1], settings=widget.form.settings())
    np.testing.assert_array_equal(restored.data[0, 0], alone.restored)
    assert viewer.dims.current_step[:2] == (4, 1)


def test_a_region_of_this_plane(viewer, qtbot, film) -> None:
    image = viewer.add_image(film, name="film", scale=(1, 1, 0.5, 0.5))
    viewer.dims.set_current_step((0, 1), (2, 1))
    corners = [(2, 1, 2, 4), (2, 1, 2, 12), (2, 1, 11, 12), (2, 1, 11, 4)]
    viewer.add_shapes([np.array(corners)], shape_type="polygon", name="where")
    widget = open_widget(viewer, image, "all")
    press(qtbot, widget.controls.region_button)
    finish(widget, qtbot)
    restored = viewer.layers["film (axis 0: 2, axis 1: 1) region restored"]
    assert restored.data.shape == (1, 1, 19, 17)
    assert_lies_over(restored, image, (2, 1, 4, 8))


def test_a_range_has_its_planes_at_their_place(viewer, qtbot, film, geometry) -> None:
    image = viewer.add_image(film, name="film", **geometry)
    widget = open_widget(viewer, image, "range")
    stack = widget.form.stack
    assert (stack.along.value, stack.first.value, stack.last.value) == ("T", 0, 4)
    stack.first.value, stack.last.value = 1, 2
    run(widget, qtbot)
    restored = viewer.layers["film restored"]
    assert restored.data.shape == (2, 2, SIDE, SIDE)
    assert_lies_over(restored, image, (1, 0, 0, 0))
    alone = napari_dip.restore(film[2, 0], settings=widget.form.settings())
    np.testing.assert_array_equal(restored.data[1, 0], alone.restored)


def test_a_range_of_one_plane_is_that_plane(viewer, qtbot, film) -> None:
    image = viewer.add_image(film[:, 0], name="film", axis_labels=("t", "y", "x"))
    widget = open_widget(viewer, image, "range")
    widget.form.stack.first.value = widget.form.stack.last.value = 2
    run(widget, qtbot)
    restored = viewer.layers["film (t 2) restored"]
    assert_lies_over(restored, image, (2, 0, 0))
    assert restored.metadata["napari-dip"]["stack"] is None
    assert not widget.band_plot.scrubber.isHidden()


def test_channels_together(viewer, qtbot, film, geometry) -> None:
    image = viewer.add_image(film[:2], name="film", **geometry)
    widget = open_widget(viewer, image, "all")
    assert texts(widget.form.stack.together) == ["One by one", "Together: channel (2)", "Together: time (2)"]
    widget.form.stack.together.value = "C"
    assert texts(widget.form.stack.planes) == ["This plane", "All planes", "Range …"]
    run(widget, qtbot)
    out = np.zeros(film[:2].shape, np.float32)
    list(napari_dip.restore_stack(film[:2], "TCYX", settings=widget.form.settings(), channels="together", out=out))
    np.testing.assert_array_equal(viewer.layers["film restored"].data, out)
    assert_lies_over(viewer.layers["film restored"], image, (0, 0, 0, 0))
    widget.form.stack.planes.value = "this"
    run(widget, qtbot)
    assert viewer.layers[-1].data.shape == (1, 2, SIDE, SIDE)


def test_an_unnamed_axis_can_be_the_channels(viewer, qtbot, film) -> None:
    viewer.add_image(film[:2], name="film")
    widget = open_widget(viewer, viewer.layers["film"], "all")
    stack = widget.form.stack
    assert stack.together.native.isHidden()
    widget.form.advanced_shown.native.click()
    assert not stack.together.native.isHidden()
    assert texts(stack.together)[1] == "Together: axis 0 (2)"
    stack.together.value = stack.together.choices[1]
    run(widget, qtbot)
    record = viewer.layers["film restored"].metadata["napari-dip"]
    assert record["stack"]["channels"] == "together"
    assert record["stack"]["axes"][0] == "C"


def test_colours_of_a_film_stay_together(viewer, qtbot) -> None:
    frames = np.stack([data.astronaut()[80 : 80 + SIDE, 200 : 200 + SIDE]] * 2)
    viewer.add_image(frames, name="colours", rgb=True, axis_labels=("t", "y", "x"))
    widget = open_widget(viewer, viewer.layers["colours"], "all")
    assert widget.form.stack.together.native.isHidden()
    run(widget, qtbot)
    restored = viewer.layers["colours restored"]
    assert restored.rgb
    assert restored.data.shape == frames.shape
    assert restored.metadata["napari-dip"]["stack"]["axes"] == "TYXS"


def test_a_single_image_shows_no_planes(viewer, qtbot) -> None:
    viewer.add_image(data.astronaut()[:SIDE, :SIDE], name="rgb")
    widget = open_widget(viewer)
    assert widget.form.stack.native.isHidden()
    run(widget, qtbot)
    assert viewer.layers["rgb restored"].rgb


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_multiscale_layer_is_restored_at_its_finest_level(viewer, qtbot, film, dimensions) -> None:
    levels = [film[:2, 0], film[:2, 0, ::2, ::2], film[:2, 0, ::4, ::4]]
    levels = levels if dimensions == 3 else [level[0] for level in levels]
    image = viewer.add_image(
        levels, multiscale=True, name="pyramid", scale=(0.5,) * dimensions, translate=(3,) * dimensions
    )
    widget = open_widget(viewer, image, "all" if dimensions == 3 else None)
    run(widget, qtbot)
    restored = viewer.layers["pyramid restored"]
    assert restored.data.shape == levels[0].shape
    assert_lies_over(restored, image, (0,) * dimensions)


@pytest.mark.parametrize("kind", ["dask", pytest.param("zarr", marks=pytest.mark.full)])
def test_planes_are_read_one_by_one(viewer, qtbot, film, kind, tmp_path, monkeypatch) -> None:
    largest = []
    if kind == "dask":

        def read(block_info=None):
            return film[tuple(slice(*each) for each in block_info[None]["array-location"])]

        stack = dask.array.map_blocks(read, chunks=((1,) * 3, (1, 1), SIDE, SIDE), dtype=film.dtype)
        monkeypatch.setattr(dask.array.Array, "compute", _noting(dask.array.Array.compute, largest))
    else:
        stack = zarr.create_array(str(tmp_path / "film.zarr"), data=film[:3], chunks=(1, 1, SIDE, SIDE))
        monkeypatch.setattr(zarr.Array, "__getitem__", _noting_parts(zarr.Array.__getitem__, largest))
    viewer.add_image(stack, name="film", contrast_limits=(0, 300))
    widget = open_widget(viewer, viewer.layers["film"], "all")
    largest.clear()
    run(widget, qtbot)
    assert largest
    assert max(largest) <= SIDE * SIDE
    alone = napari_dip.restore(film[2, 1], settings=widget.form.settings())
    np.testing.assert_array_equal(viewer.layers["film restored"].data[2, 1], alone.restored)


def _noting(method, sizes):
    def note(self, *arguments, **options):
        sizes.append(self.size)
        return method(self, *arguments, **options)

    return note


def _noting_parts(method, sizes):
    def note(self, index):
        part = method(self, index)
        sizes.append(np.size(part))
        return part

    return note


def stop_in_plane(widget, qtbot, number: int) -> None:
    """Let planes end by themselves, and press Stop and keep in that one."""
    press(qtbot, widget.controls.restore_button)
    qtbot.waitUntil(lambda: f"; {number - 1} of" in widget.controls.status.value, timeout=240_000)
    press(qtbot, widget.controls.stop_button)
    finish(widget, qtbot)


def test_a_stopped_run_keeps_what_is_done_and_goes_on(viewer, qtbot, film, geometry, monkeypatch) -> None:
    steps = count_steps(monkeypatch)
    film = film[:3]
    image = viewer.add_image(film, name="film", **geometry)
    widget = open_widget(viewer, image, "all")
    widget.form.advanced["step_limit"].value = 60
    stop_in_plane(widget, qtbot, 3)
    restored = viewer.layers["film restored"]
    done = planes_done(restored)
    number = int(done.sum())
    assert 2 <= number < 6
    assert done.ravel()[:number].all()
    assert np.isnan(restored.data[~done]).all()
    assert f"{number} of 6 planes are finished" in widget.controls.status.value
    before = names(viewer)
    assert (before[0], before[-1]) == ("film", "film restored")
    assert "film preview" not in before
    for name in before[1:-1]:  # the plane at work, at its place only, where the stack will hide it once it is done
        assert name.startswith("film (time ")
        assert name.endswith(") stopped early")
        place = number // 2, number % 2, 0, 0
        assert_lies_over(viewer.layers[name], image, place)
        assert viewer.layers[name].metadata["napari-dip"]["stop_reason"] == napari_dip.StopReason.USER.value
    kept = restored.data.copy()
    left = "the remaining plane" if number == 5 else f"the {6 - number} remaining planes"
    for step_limit, planes in ((61, "6 planes"), (60, left)):  # with other settings, it would begin anew
        widget.form.advanced["step_limit"].value = step_limit
        expect(widget, qtbot, planes)
    steps.clear()
    press(qtbot, widget.controls.restore_button)
    finish(widget, qtbot)
    expect(widget, qtbot, "6 planes")
    assert len(steps) == 6 - number  # fits: those that are done are not fitted again
    assert planes_done(restored).all()
    np.testing.assert_array_equal(restored.data[done], kept[done])
    assert names(viewer) == ["film", "film restored"]  # the unfinished plane has gone
    assert widget.controls.status.value.startswith(f"Finished: 6 planes, {6 - number} of them in this run (")
    assert len(restored.metadata["napari-dip"]["stack"]["planes"]) == 6
    press(qtbot, widget.controls.restore_button)  # all are done: this is another run, and overwrites nothing
    qtbot.waitUntil(lambda: "film restored [1]" in viewer.layers, timeout=240_000)
    press(qtbot, widget.controls.stop_button)
    finish(widget, qtbot)
    np.testing.assert_array_equal(restored.data[done], kept[done])


def expect(widget, qtbot, planes: str) -> None:
    """Wait until the form says how long that many planes will take."""
    qtbot.waitUntil(lambda: f" for {planes}, " in widget.controls.expectation.value, timeout=60_000)


def test_only_a_result_that_is_still_there_is_gone_on_with(viewer, qtbot, film) -> None:
    viewer.add_image(film[:3, 0], name="film")
    widget = open_widget(viewer, viewer.layers["film"], "all")
    widget.form.advanced["step_limit"].value = 80
    stop_in_plane(widget, qtbot, 2)
    qtbot.waitUntil(lambda: " remaining plane" in widget.controls.expectation.value, timeout=60_000)
    restored = viewer.layers["film restored"]
    viewer.layers.remove(restored)
    expect(widget, qtbot, "3 planes")
    viewer.layers.append(restored)
    qtbot.waitUntil(lambda: " remaining plane" in widget.controls.expectation.value, timeout=60_000)
    unfinished = [each for each in viewer.layers if each.name.endswith("stopped early")]
    for layer in unfinished:
        layer.name = "mine"
    run(widget, qtbot)
    assert names(viewer) == ["film", *("mine" for _ in unfinished), "film restored"]  # what was renamed stays


def count_steps(monkeypatch) -> dict:
    """Return steps by fit, as they are made."""
    step, steps = Fit.step, {}

    def counted(self):
        steps[id(self)] = self, steps.get(id(self), (self, 0))[1] + 1
        step(self)

    monkeypatch.setattr(Fit, "step", counted)
    return steps


@pytest.mark.parametrize(
    "change", [pytest.param("settings", marks=pytest.mark.full), "pixels", pytest.param("mask", marks=pytest.mark.full)]
)
def test_what_has_changed_begins_anew(viewer, qtbot, film, change) -> None:
    pixels = film.copy()
    image = viewer.add_image(pixels, name="film")
    widget = open_widget(viewer, image, "all")
    widget.form.advanced["step_limit"].value = 100
    stop_in_plane(widget, qtbot, 2)
    restored = viewer.layers["film restored"]
    kept = restored.data.copy()
    if change == "settings":
        widget.form.advanced["seed"].value = 5
    elif change == "pixels":
        pixels[0, 0, 3, 3] += 50  # in place: nobody is told
    else:
        marks = np.zeros((SIDE, SIDE), int)
        marks[5:8, 5:8] = 1
        widget.form.mask.value = viewer.add_labels(marks, name="broken")
    press(qtbot, widget.controls.restore_button)
    qtbot.waitUntil(lambda: "film restored [1]" in viewer.layers, timeout=240_000)
    press(qtbot, widget.controls.stop_button)
    finish(widget, qtbot)
    np.testing.assert_array_equal(restored.data, kept)


def test_stopped_before_a_plane_is_done(viewer, qtbot, film) -> None:
    viewer.add_image(film, name="film")
    widget = open_widget(viewer, viewer.layers["film"], "all")
    widget.form.advanced["step_limit"].value, widget.form.advanced["stopping"].value = ENDLESS, "fixed"
    viewer.dims.set_current_step(0, 3)
    press(qtbot, widget.controls.restore_button)
    qtbot.waitUntil(lambda: "The sliders show another plane" in widget.controls.status.value, timeout=60_000)
    viewer.dims.set_current_step(0, 0)
    qtbot.waitUntil(lambda: widget.controls.status.value.endswith("…"), timeout=60_000)
    press(qtbot, widget.controls.stop_button)
    finish(widget, qtbot)
    assert names(viewer) == ["film", "film (axis 0: 0, axis 1: 0) stopped early"]
    assert widget.controls.status.value.startswith("Stopped before a plane was finished.")
    assert viewer.layers[-1].data.shape == (1, 1, SIDE, SIDE)


def test_a_plane_that_cannot_be_restored_is_left_out_and_said(viewer, qtbot, film, errors) -> None:
    broken = film.copy()
    broken[1, 0] = 7
    viewer.add_image(broken, name="film", axis_labels=("t", "c", "y", "x"))
    widget = open_widget(viewer, viewer.layers["film"], "all")
    for attempt in (1, 2):  # again, only that plane is tried
        run(widget, qtbot)
        assert len(errors) == attempt
        assert errors[-1].startswith("Plane t 1, c 0: ")
        assert "9 of 10 planes are finished in “film restored”" in errors[-1]
    assert np.argwhere(~planes_done(viewer.layers["film restored"])).tolist() == [[1, 0]]
    assert names(viewer) == ["film", "film restored"]
    assert widget.controls.restore_button.enabled


def test_what_fails_for_all_planes_is_said_once(viewer, qtbot, film, errors) -> None:
    viewer.add_image(film, name="film", axis_labels=("t", "c", "y", "x"))
    widget = open_widget(viewer, viewer.layers["film"], "all")
    widget.form.task.value = "inpaint"
    run(widget, qtbot)
    (sentence,) = errors
    assert sentence.startswith("Plane t 0, c 0: nothing is marked as missing")
    assert names(viewer) == ["film"]


def test_a_failure_is_one_sentence_and_keeps_the_planes_that_are_done(viewer, qtbot, film, errors, monkeypatch) -> None:
    step, fits = Fit.step, []

    def step_until_it_fails(self):
        if self not in fits:
            fits.append(self)
        if len(fits) == 3:
            raise RuntimeError("CUDA error: something of the device.")
        step(self)

    monkeypatch.setattr(Fit, "step", step_until_it_fails)
    viewer.add_image(film, name="film")
    widget = open_widget(viewer, viewer.layers["film"], "all")
    run(widget, qtbot)
    (sentence,) = errors
    assert "CUDA error" in sentence
    assert "2 of 10 planes are finished in “film restored”; press Restore to continue." in sentence
    assert planes_done(viewer.layers["film restored"]).sum() == 2
    assert names(viewer) == ["film", "film restored"]
    monkeypatch.setattr(Fit, "step", step)
    run(widget, qtbot)
    assert planes_done(viewer.layers["film restored"]).all()


def test_an_enlarged_stack_lies_exactly_over_it(viewer, qtbot, film, geometry) -> None:
    image = viewer.add_image(film[:1], name="film", **geometry)
    widget = open_widget(viewer, image, "all")
    widget.form.task.value, widget.form.factor.value = "super_resolve", 2
    run(widget, qtbot)
    large = viewer.layers["film restored"]
    assert large.data.shape == (1, 2, 2 * SIDE, 2 * SIDE)
    for corner in ((0, 0, -0.5, -0.5), (0, 1, 31.5, 31.5)):
        finer = [*corner[:2], *(2 * (place + 0.5) - 0.5 for place in corner[2:])]
        np.testing.assert_allclose(large.data_to_world(finer), image.data_to_world(corner))


def test_further_outputs_and_the_original_type(viewer, qtbot, film) -> None:
    counts = np.clip(film[:2, 0], 0, 255).astype(np.uint8)
    viewer.add_image(counts, name="film")
    widget = open_widget(viewer, viewer.layers["film"], "all")
    outputs = widget.form.extra_outputs
    outputs["residual"].value = outputs["smoothed"].value = widget.form.original_type.value = True
    run(widget, qtbot)
    assert names(viewer) == ["film", "film residual", "film smoothed", "film restored"]
    assert [layer.data.dtype.name for layer in viewer.layers] == ["uint8", "float32", "uint8", "uint8"]
    assert "Rounded to uint8" in widget.controls.details.value


@pytest.mark.parametrize(
    "kind", [pytest.param("plane", marks=pytest.mark.full), "stack", pytest.param("shapes", marks=pytest.mark.full)]
)
def test_missing_pixels_of_a_stack(viewer, qtbot, film, geometry, kind) -> None:
    geometry = {key: value for key, value in geometry.items() if key not in ("colormap", "contrast_limits")}
    image = viewer.add_image(film[:2], name="film", **geometry)
    marks = np.zeros(film[:2].shape, np.uint8)
    marks[..., 5:9, 5:9] = 1
    if kind == "stack":
        marks[1, 1, 20:24, 20:24] = 1
        mask = viewer.add_labels(marks, name="broken", **geometry)
    elif kind == "plane":
        widget = open_widget(viewer, image)
        from napari_dip.plugin.form.mask_finder import mark_over

        mask = mark_over(viewer, image, marks[0, 0] > 0, 1)
    else:
        corners = [image.data_to_world((0, 0, *each))[-2:] for each in ((5, 5), (5, 8), (8, 8), (8, 5))]
        mask = viewer.add_shapes([np.array(corners)], shape_type="polygon", name="broken", units=("um", "um"))
    widget = open_widget(viewer, image, "all")
    widget.form.mask.value, widget.form.task.value = mask, "inpaint"
    run(widget, qtbot)
    restored = viewer.layers["film restored"].data
    differs = restored != film[:2]
    np.testing.assert_array_equal(differs & (marks == 0), False)
    assert differs[..., 6:8, 6:8].any(axis=(-2, -1)).all()
    assert differs[1, 1, 21:23, 21:23].any() == (kind == "stack")


def test_a_mask_that_lies_elsewhere_is_refused(viewer, film, errors) -> None:
    viewer.add_image(film, name="film")
    widget = open_widget(viewer, viewer.layers["film"], "all")
    widget.form.mask.value = viewer.add_labels(np.ones((3, 2, SIDE, SIDE), int), name="other")
    widget.start()
    assert "does not lie on the pixels of the stack" in errors[0]
    assert not widget.running


def test_what_does_not_fit_the_memory_is_refused(viewer, qtbot, errors) -> None:
    huge = dask.array.zeros((100_000, SIDE, 1 << 20), chunks=(1, SIDE, 1 << 20), dtype=np.float32)
    viewer.add_image(huge, name="huge", contrast_limits=(0, 1))
    widget = open_widget(viewer, viewer.layers["huge"], "all")
    run(widget, qtbot)
    assert "choose a range of planes" in errors[0]


@pytest.mark.full
def test_the_script_repeats_the_stack(viewer, qtbot, film, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "film.ome.tif", film[:3], metadata={"axes": "TCYX"}, photometric="minisblack")
    (layer,) = viewer.open(tmp_path / "film.ome.tif", plugin="napari")
    layer.name = "film"
    widget = open_widget(viewer, layer, "range")
    stack = widget.form.stack
    stack.first.value, stack.last.value = 1, 2
    run(widget, qtbot)
    press(qtbot, widget.record_tools.copy_button)
    assert "Copied a script" in widget.controls.status.value
    script = QApplication.clipboard().text()
    assert "restore_stack(" in script
    assert str(tmp_path) in script
    compile(script, "script", "exec")
    done = subprocess.run(
        [sys.executable, "-c", script + "np.save('out.npy', restored)\n"], cwd=tmp_path, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), viewer.layers["film restored"].data)
    tifffile.imwrite(tmp_path / "film.ome.tif", film[2::-1], metadata={"axes": "TCYX"}, photometric="minisblack")
    press(qtbot, widget.record_tools.copy_button)
    assert "or has changed" in widget.controls.status.value


def test_planes_can_begin_like_the_one_before(viewer, qtbot, film, geometry) -> None:
    image = viewer.add_image(film, name="film", **geometry)
    widget = open_widget(viewer, image, "all")
    warm_start = widget.form.stack.warm_start
    assert warm_start.native.isHidden()
    widget.form.advanced_shown.native.click()
    assert not warm_start.native.isHidden()
    assert texts(warm_start) == ["From scratch", "From the previous one along time (5)"]
    warm_start.value = "T"
    widget.form.stack.along.value, widget.form.stack.planes.value = "T", "range"
    widget.form.stack.last.value = 1
    run(widget, qtbot)
    settings = napari_dip.Settings(**viewer.layers[-1].metadata["napari-dip"]["settings"])
    expected = napari_dip.restore_stack(film, "TCYX", planes={"T": slice(0, 2)}, warm_start="T", settings=settings)
    for each in expected:
        if each.result is not None:
            np.testing.assert_array_equal(viewer.layers[-1].data[each.plane.index[:2]], each.result.restored)
    assert viewer.layers[-1].metadata["napari-dip"]["stack"]["warm_start"] == "T"
    widget.form.stack.planes.value = "this"
    assert warm_start.native.isHidden()


def test_a_mask_of_several_planes_cannot_be_a_script(viewer, qtbot, film) -> None:
    image = viewer.add_image(film[:2], name="film")
    marks = np.zeros(film[:2].shape, np.uint8)
    marks[0, :, 5:9, 5:9] = marks[1, :, 15:19, 5:9] = 1
    widget = open_widget(viewer, image, "all")
    widget.form.mask.value = viewer.add_labels(marks)
    run(widget, qtbot)
    press(qtbot, widget.record_tools.copy_button)
    assert "cannot be turned into a script: its mask differs from plane to plane" in widget.controls.status.value


def test_settings_are_loaded_from_a_stack_that_was_saved(viewer, qtbot, film, tmp_path) -> None:
    viewer.add_image(film[:2], name="film", axis_labels=("t", "c", "y", "x"), metadata={"channel_names": ["a", "b"]})
    widget = open_widget(viewer, viewer.layers["film"], "all")
    widget.form.advanced["seed"].value = 9
    run(widget, qtbot)
    widget.record_tools.save(tmp_path / "done.ome.tif")
    viewer.layers.clear()
    (layer,) = viewer.open(tmp_path / "done.ome.tif", plugin="napari")
    assert layer.data.shape == film[:2].shape
    found = find_layer_axes(layer)  # of a file, its letters and names count
    assert (found.axes.letters, found.channel_names) == ("TCYX", ("a", "b"))
    widget.form.advanced["seed"].value = 1
    press(qtbot, widget.record_tools.load_button)
    assert widget.form.advanced["seed"].value == 9, widget.controls.status.value


def test_closing_in_mid_run_is_quiet(quiet, make_napari_viewer, qtbot, film) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(film, name="film")
    widget = open_widget(viewer, viewer.layers["film"], "all")
    widget.start()
    qtbot.waitUntil(lambda: "film restored" in viewer.layers, timeout=240_000)
    restored = viewer.layers["film restored"]
    viewer.close()
    wait_for_workers(qtbot)
    qtbot.wait(200)
    assert not widget.running
    assert 1 <= planes_done(restored).sum() < 10
