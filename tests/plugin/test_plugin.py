"""The plugin in a real viewer: real layers, a small network, real clicks."""

import dataclasses
import importlib

import numpy as np
import pytest
from gestures import assert_lies_over, finish, open_widget, press, run, wait_for_workers
from npe2 import PluginManifest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLabel
from skimage import data, io

import napari_dip
from napari_dip.image_files import read_quantisation_table
from napari_dip.many.tiling import Tiling
from napari_dip.measurement.task import TASKS
from napari_dip.plugin.form.restore_form import COMPARISONS, QUALITIES
from napari_dip.plugin.layers.region import find_region
from napari_dip.plugin.layers.source import read_source
from napari_dip.plugin.run.failures import RestorationFailed

SMALL = {"width": 8, "levels": 3, "smoothed_steps": 20, "device": "cpu"}


@pytest.fixture
def geometry() -> dict:
    return {
        "scale": (0.5, 0.25), "translate": (3, 4), "rotate": 10, "units": ("um", "um"), "axis_labels": ("y", "x"),
        "colormap": "magma", "gamma": 0.9, "affine": [[1, 0.1, 0], [0, 1, 2], [0, 0, 1]],
    }  # fmt: skip


def test_manifest() -> None:
    manifest = PluginManifest.from_distribution("napari-dip")
    assert manifest.display_name == "Deep Image Prior"
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_samples_open(viewer) -> None:
    viewer.open_sample("napari-dip", "noisy_fluorescence")
    viewer.open_sample("napari-dip", "scratched_photograph")
    assert [type(layer).__name__ for layer in viewer.layers] == ["Image", "Image", "Image", "Image", "Labels"]


def test_the_journey(viewer, qtbot, camera, geometry) -> None:
    """Open, paint, restore, watch, stop and keep."""
    image = viewer.add_image(camera, name="cells", **geometry)
    labels = viewer.add_labels(np.zeros(camera.shape, int), name="broken", **{
        key: geometry[key] for key in ("scale", "translate", "rotate", "units", "affine")
    })  # fmt: skip
    labels.brush_size = 6
    labels.paint((10, 10), 1)
    widget = open_widget(viewer)
    widget.form.image.value, widget.form.mask.value, widget.form.task.value = image, labels, "inpaint"
    widget.form.advanced["stopping"].value = "fixed"  # the user stops it
    press(qtbot, widget.controls.restore_button)
    assert not widget.controls.restore_button.enabled
    qtbot.waitUntil(lambda: "cells preview" in viewer.layers, timeout=60_000)
    first = viewer.layers["cells preview"].data.copy()
    qtbot.waitUntil(lambda: not np.array_equal(viewer.layers["cells preview"].data, first), timeout=60_000)
    qtbot.waitUntil(lambda: len(widget.band_plot.steps) > 2, timeout=60_000)
    press(qtbot, widget.controls.stop_button)
    finish(widget, qtbot)

    assert [layer.name for layer in viewer.layers] == ["cells", "broken", "cells restored"]
    restored = viewer.layers["cells restored"]
    assert restored.data.dtype == np.float32
    np.testing.assert_array_equal(restored.data[labels.data == 0], camera[labels.data == 0])
    for name in ("scale", "translate", "rotate", "shear", "contrast_limits"):
        np.testing.assert_allclose(getattr(restored, name), getattr(image, name))
    np.testing.assert_allclose(restored.affine.affine_matrix, image.affine.affine_matrix)
    assert restored.units == image.units
    assert restored.axis_labels == image.axis_labels
    assert restored.colormap.name == "magma"
    assert restored.gamma == 0.9
    record = restored.metadata["napari-dip"]
    assert record["task"] == "inpaint"
    assert record["stop_reason"] == napari_dip.StopReason.USER.value
    assert "stopped by hand" in widget.band_plot.caption.text()
    assert widget.controls.restore_button.enabled


def test_the_run_repeats_the_library_and_never_overwrites(viewer, qtbot, camera) -> None:
    viewer.add_image(camera, name="cells")
    taken = viewer.add_image(camera, name="cells restored", visible=False)
    widget = open_widget(viewer)
    widget.form.image.value = viewer.layers["cells"]
    (
        widget.form.advanced["step_limit"].value,
        widget.form.extra_outputs["smoothed"].value,
        widget.form.extra_outputs["detail_enhanced"].value,
    ) = (
        20,
        True,
        True,
    )
    widget.start()
    finish(widget, qtbot)
    names = [layer.name for layer in viewer.layers]
    assert names == ["cells", "cells restored", "cells smoothed", "cells detail-enhanced", "cells restored [1]"]
    np.testing.assert_array_equal(taken.data, camera)
    expected = napari_dip.restore(camera, settings=widget.form.settings())
    np.testing.assert_array_equal(viewer.layers[-1].data, expected.restored)


def test_a_paused_run_waits_and_then_goes_on(viewer, qtbot, camera) -> None:
    viewer.add_image(camera, name="cells")
    widget = open_widget(viewer)
    widget.form.advanced["step_limit"].value = 5000
    widget.start()
    qtbot.waitUntil(lambda: widget.controls.progress.value > 0, timeout=60_000)
    press(qtbot, widget.controls.pause_button)
    qtbot.waitUntil(lambda: "Paused" in widget.controls.status.value, timeout=60_000)
    qtbot.wait(600)  # a report may be on its way
    step = widget.controls.progress.value
    qtbot.wait(600)
    assert widget.controls.progress.value == step
    assert widget.controls.pause_button.text == "Resume"
    press(qtbot, widget.controls.pause_button)
    qtbot.waitUntil(lambda: widget.controls.progress.value > step, timeout=60_000)
    press(qtbot, widget.controls.pause_button)
    qtbot.waitUntil(lambda: "Paused" in widget.controls.status.value, timeout=60_000)
    press(qtbot, widget.controls.stop_button)  # a paused run stops, too
    finish(widget, qtbot)
    assert "cells restored" in viewer.layers


def test_a_region_is_restored_in_its_place(viewer, qtbot, camera, geometry) -> None:
    image = viewer.add_image(camera, name="cells", **geometry)
    corners = [image.data_to_world(corner) for corner in ((4, 8), (4, 27), (27, 27), (27, 8))]
    viewer.add_shapes([np.array(corners)], shape_type="polygon", name="where")
    widget = open_widget(viewer)
    widget.form.advanced["step_limit"].value = 10
    press(qtbot, widget.controls.region_button)
    finish(widget, qtbot)
    restored = viewer.layers["cells region restored"]
    assert restored.data.shape == (24, 20)
    for corner in ((0, 0), (23.5, 19.5)):
        np.testing.assert_allclose(restored.data_to_world(corner), image.data_to_world(np.add(corner, (4, 8))))


def test_what_is_in_view_is_the_region(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer(show=True)  # what is in view is known only when it has been drawn
    viewer.add_image(data.camera(), name="cells")
    viewer.window.resize(900, 700)
    viewer.reset_view()
    qtbot.wait(200)
    region = find_region(viewer.layers["cells"])
    assert [each.stop - each.start for each in region] == [192, 192]
    view = getattr(viewer, "scene", viewer).camera  # napari 0.9 moved it
    view.center, view.zoom = (0, 100, 150), 8
    qtbot.wait(200)
    rows, columns = find_region(viewer.layers["cells"])
    assert rows.start < 100 < rows.stop
    assert columns.start < 150 < columns.stop
    assert rows.stop - rows.start < 192
    view.center = (0, 5000, 5000)
    qtbot.wait(200)
    with pytest.raises(ValueError, match="too little of the image"):
        find_region(viewer.layers["cells"])


def test_rgb_stays_rgb(viewer, qtbot, astronaut) -> None:
    viewer.add_image(astronaut, name="rgb")
    widget = open_widget(viewer)
    widget.form.task.value, widget.form.advanced["step_limit"].value = "enhance", 10
    widget.start()
    finish(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == ["rgb", "rgb smoothed", "rgb detail-enhanced"]
    assert viewer.layers[-1].rgb


@pytest.mark.parametrize("factor", [2, 3])
def test_super_resolved_layers_lie_exactly_over_the_original(viewer, qtbot, camera, geometry, factor) -> None:
    image = viewer.add_image(camera, name="cells", **geometry)
    widget = open_widget(viewer)
    widget.form.task.value, widget.form.factor.value = "super_resolve", factor
    widget.form.advanced["step_limit"].value = 10
    widget.start()
    finish(widget, qtbot)
    large = viewer.layers["cells restored"]
    assert large.data.shape == tuple(factor * side for side in camera.shape)
    for corner in ((-0.5, -0.5), (47.5, 39.5), (10.25, 20.0)):  # data coordinates: pixel centres are whole
        finer = [factor * (place + 0.5) - 0.5 for place in corner]
        np.testing.assert_allclose(large.data_to_world(finer), image.data_to_world(corner))


def test_the_table_of_an_opened_jpeg_is_used_while_its_pixels_are_shown(viewer, tmp_path, camera) -> None:
    io.imsave(tmp_path / "photo.jpg", camera, check_contrast=False)
    (layer,) = viewer.open(tmp_path / "photo.jpg", plugin="napari")
    table = read_source(layer).parameters["quantisation_table"]
    assert table.shape == (8, 8)
    layer.data = layer.data[::-1]
    assert read_source(layer).parameters == {}
    assert read_source(viewer.add_image(camera)).parameters == {}


def test_a_jpeg_that_was_opened_is_restored_with_its_own_table(viewer, qtbot, tmp_path, camera) -> None:
    io.imsave(tmp_path / "photo.jpg", camera, check_contrast=False)
    (layer,) = viewer.open(tmp_path / "photo.jpg", plugin="napari")
    widget = open_widget(viewer, layer)
    widget.form.task.value = "deblock"
    widget.form.advanced["step_limit"].value = 20
    run(widget, qtbot)
    restored = viewer.layers["photo restored"]
    record = napari_dip.Record.from_dict(restored.metadata["napari-dip"])
    table = read_quantisation_table(tmp_path / "photo.jpg")
    np.testing.assert_array_equal(record.parameters["quantisation_table"], table)
    assert record.task == "deblock"
    assert not np.array_equal(restored.data, layer.data)
    assert_lies_over(restored, layer)


def test_langevin_dynamics_brings_an_uncertainty_layer(viewer, qtbot, camera) -> None:
    viewer.add_image(camera, name="cells", colormap="magma")
    widget = open_widget(viewer)
    widget.form.comparison.value = "gp_dip"
    widget.form.advanced["step_limit"].value, widget.form.advanced["burn_in"].value = 110, 0
    widget.start()
    finish(widget, qtbot)
    uncertainty = viewer.layers["cells uncertainty"]
    assert uncertainty.contrast_limits[1] < 200
    assert uncertainty.colormap.name == "magma"


def test_uncertainty_and_residual_come_as_layers_when_asked_for(viewer, qtbot, camera) -> None:
    viewer.add_image(camera, name="cells", scale=(0.5, 0.5))
    widget = open_widget(viewer)
    widget.form.extra_outputs["uncertainty"].value = widget.form.extra_outputs["residual"].value = True
    widget.form.advanced["step_limit"].value = 20
    widget.start()
    finish(widget, qtbot)
    restored, residual = viewer.layers["cells restored"], viewer.layers["cells residual"]
    np.testing.assert_allclose(restored.data + residual.data, camera, atol=1e-3)
    assert viewer.layers["cells uncertainty"].data.min() > 0
    assert tuple(residual.scale) == (0.5, 0.5)
    assert "residual_correlation" in residual.metadata["napari-dip"]


def test_a_preset_sets_the_advanced_fields_and_what_the_user_changes_counts(viewer) -> None:
    widget = open_widget(viewer)
    widget.form.advanced["seed"].value = 7
    widget.form.comparison.value = "paper"
    assert not widget.form.quality.enabled
    assert widget.form.advanced["upsampling"].value == "gaussian"
    assert 'Set by "As in the paper"' in widget.form.advanced["upsampling"].tooltip
    widget.form.advanced["upsampling"].value = "nearest"
    assert "Changed by you" in widget.form.advanced["upsampling"].tooltip
    widget.form.advanced["levels"].value = " 4 "
    expected = dataclasses.replace(napari_dip.Settings.preset("paper"), upsampling="nearest", seed=7, levels=4)
    assert widget.form.settings() == expected
    widget.form.comparison.value = ""
    assert widget.form.settings() == dataclasses.replace(napari_dip.Settings.preset("default"), seed=7)


def test_mistakes_are_said_and_change_nothing(viewer, qtbot, camera, errors) -> None:
    widget = open_widget(viewer)

    def restore_by_mistake() -> str:
        errors.clear()
        before = list(viewer.layers)
        widget.start()
        finish(widget, qtbot)
        assert len(errors) == 1
        assert errors[0][0].isupper() or errors[0][0] == '"'
        assert list(viewer.layers) == before
        return errors[0]

    said = [restore_by_mistake()]
    image = viewer.add_image(camera)
    marks = np.zeros(camera.shape, int)
    for value, place in ((1, (900, 0)), (0, (0, 0))):  # elsewhere; empty
        marks[3:5] = value
        widget.form.mask.value = mask = viewer.add_labels(marks, translate=place)
        said.append(restore_by_mistake())
        viewer.layers.remove(mask)
    bound = widget.form.advanced["lipschitz_bound"].value
    widget.form.advanced["lipschitz_bound"].value = "tight"
    said.append(restore_by_mistake())
    widget.form.advanced["lipschitz_bound"].value = bound
    assert "same intensity" not in " ".join(said)
    assert len(set(said)) == 4
    image.data = np.zeros((20, 20))
    assert "same intensity" in restore_by_mistake()


def test_a_runtime_error_in_the_run_reaches_the_user(viewer, qtbot, camera, errors, monkeypatch) -> None:
    monkeypatch.setattr(
        "napari_dip.optimisation.fit.Fit.step", lambda self: (_ for _ in ()).throw(RuntimeError("CUDA out of memory."))
    )
    viewer.add_image(camera)
    widget = open_widget(viewer)
    widget.start()
    finish(widget, qtbot)
    assert len(errors) == 1
    assert "out of memory" in errors[0]
    assert widget.controls.restore_button.enabled
    assert len(viewer.layers) == 1
    assert not issubclass(RestorationFailed, RuntimeError)


def test_closing_the_viewer_in_mid_run_is_quiet(quiet, make_napari_viewer, qtbot, camera) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(camera, name="cells")
    widget = open_widget(viewer)
    widget.start()
    qtbot.waitUntil(lambda: "cells preview" in viewer.layers, timeout=60_000)
    viewer.close()
    wait_for_workers(qtbot)
    qtbot.wait(200)
    assert not widget.running


@pytest.mark.parametrize("what", ["dock", "plot", "preview"])
def test_closing_things_in_mid_run_is_quiet(viewer, qtbot, camera, what) -> None:
    viewer.window.resize(1200, 900)  # high enough for the plot to open by itself
    viewer.add_image(camera, name="cells")
    dock, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
    widget.start()
    qtbot.waitUntil(lambda: "cells preview" in viewer.layers, timeout=60_000)
    if what == "dock":
        viewer.window.remove_dock_widget(dock)
        qtbot.waitUntil(lambda: "cells restored" in viewer.layers, timeout=30_000)
        wait_for_workers(qtbot)
        return
    if what == "plot":
        qtbot.waitUntil(lambda: widget._plot_dock.is_open, timeout=60_000)
        viewer.window.remove_dock_widget(widget.band_plot)
    else:
        viewer.layers.remove("cells preview")
    qtbot.wait(500)
    widget.stop_and_keep()
    finish(widget, qtbot)
    assert "cells restored" in viewer.layers
    assert (widget.band_plot.parent() is None) == (what == "plot")  # closed by the user: it stays so in this run


def test_a_closed_plot_is_opened_anew(viewer, qtbot, camera) -> None:
    viewer.window.resize(1200, 900)  # high enough for it to open by itself
    viewer.add_image(camera, name="cells")
    widget = open_widget(viewer)
    widget._plot_dock.show()
    viewer.window.remove_dock_widget(widget.band_plot)
    widget.form.advanced["step_limit"].value = 20
    widget.start()
    finish(widget, qtbot)
    assert widget.band_plot.parent() is not None
    assert widget.band_plot.steps == [1, 10, 20]


def test_a_run_follows_the_task_that_it_was_started_with(viewer, qtbot, camera) -> None:
    viewer.add_image(camera, name="cells")
    widget = open_widget(viewer)
    widget.form.advanced["step_limit"].value = 60
    widget.form.extra_outputs["smoothed"].value = True
    widget.start()
    widget.form.task.value = "enhance"
    finish(widget, qtbot)
    assert widget.band_plot.steps == [1, 10, 20, 30, 40, 50, 60]
    assert "cells restored" in viewer.layers


def test_stopping_by_held_out_pixels_is_possible_with_every_quality(viewer) -> None:
    widget = open_widget(viewer)
    for choice, named in ((widget.form.quality, QUALITIES), (widget.form.comparison, COMPARISONS)):
        for _, name in named:
            choice.value = name
            widget.form.advanced["stopping"].value = "auto"
            assert widget.form.settings().held_out != 0


def test_unfolding_shows_what_the_quality_uses(viewer) -> None:
    widget = open_widget(viewer)
    widget.native.window().show()
    widget.form.comparison.value = "paper"
    assert not widget.form.advanced["gaussian_sigma"].visible
    widget.form.advanced_shown.native.click()
    assert widget.form.advanced["gaussian_sigma"].visible
    assert not widget.form.advanced["burn_in"].visible


def test_only_what_the_task_uses_is_shown(viewer) -> None:
    widget = open_widget(viewer)
    widget.native.window().show()
    assert not widget.form.keep_known.visible
    widget.form.task.value = "inpaint"
    assert widget.form.keep_known.visible
    widget.form.task.value = "enhance"
    assert widget.form.detail_amount.visible
    assert not widget.form.extra_outputs["smoothed"].visible


def test_no_two_fields_that_are_shown_have_the_same_label(viewer, camera) -> None:
    image = viewer.add_image(np.stack([camera] * 6).reshape(3, 2, *camera.shape), axis_labels=("t", "c", "y", "x"))
    viewer.add_labels(np.ones(camera.shape, int))
    widget = open_widget(viewer, image, "range")
    widget.native.window().show()
    form = widget.form
    form.advanced_shown.native.click()
    for form.task.value in TASKS:
        labels = [each.text() for each in form.native.findChildren(QLabel) if each.isVisible() and each.text()]
        assert "Channels" in labels
        assert sorted(set(labels)) == sorted(labels)


def test_a_small_screen_is_enough_and_what_is_in_view_stays_there(make_napari_viewer, qtbot, camera) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1024, 700)
    viewer.add_image(camera)
    widget = open_widget(viewer)
    window = widget.native.window()
    viewer.reset_view()
    qtbot.wait(200)
    view = getattr(viewer, "scene", viewer).camera  # napari 0.9 moved it
    zoom, height = view.zoom, window.centralWidget().height()
    widget._plot_dock.show()
    qtbot.wait(300)
    assert window.height() == 700
    assert window.centralWidget().height() < height
    assert view.zoom == pytest.approx(zoom * window.centralWidget().height() / height)


def test_the_plot_follows_the_theme(viewer, qtbot) -> None:
    widget = open_widget(viewer)
    widget._plot_dock.show()
    plot = widget.band_plot
    colours = set()
    for theme in ("light", "dark", "system"):
        viewer.theme = theme
        colours.add(plot.views[0].plots[0].backgroundBrush().color().name())
    assert len(colours) == 2


def test_big_labels_choose_one_label(camera) -> None:
    from napari.layers import Image, Labels

    marks = np.zeros(camera.shape, int)
    marks[0], marks[1] = 1, 2
    both = read_source(Image(camera), Labels(marks)).mask
    one = read_source(Image(camera), Labels(marks), label=2).mask
    assert both.sum() == 2 * one.sum() == 2 * camera.shape[1]


def test_multiscale_reads_the_finest_level() -> None:
    from napari.layers import Image

    camera = data.camera()
    source = read_source(Image([camera, camera[::2, ::2]], multiscale=True))
    assert source.image.shape == camera.shape


@pytest.mark.full
def test_an_image_beyond_memory_is_restored_in_tiles(viewer, qtbot, camera, geometry, monkeypatch) -> None:
    monkeypatch.setattr("napari_dip.many.tiling.plan_tiles", lambda shape, *_, **__: Tiling(shape, (24, 24), 4))
    image = viewer.add_image(camera, name="cells", **geometry)
    widget = open_widget(viewer)
    widget.form.advanced["step_limit"].value = 60
    widget.form.advanced["partner"].value = False  # filters alone would have each tile within one report
    places, words = [], set()

    def look() -> None:
        words.add(widget.controls.status.value)
        if "cells preview" in viewer.layers:
            layer = viewer.layers["cells preview"]
            places.append(tuple(np.rint(image.world_to_data(layer.data_to_world((0, 0)))).astype(int)))
            assert layer.data.shape == (24, 24)

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(5)
    widget.start()
    finish(widget, qtbot)
    timer.stop()
    result = viewer.layers["cells restored"]
    assert result.data.shape == camera.shape
    np.testing.assert_allclose(result.data_to_world((5, 3)), image.data_to_world((5, 3)))
    assert np.isfinite(result.data).all()
    assert len(set(places)) > 1  # of samples and tiles
    assert set(places) <= {(top, left) for top in (0, 12, 24) for left in (0, 16)}
    assert any("tile" in each for each in words), words


def test_a_refusal_is_said_until_something_changes_and_leaves_the_run_before(viewer, qtbot, camera) -> None:
    viewer.add_image(camera, name="cells")
    widget = open_widget(viewer)
    widget.form.advanced["step_limit"].value = 40
    widget.start()
    finish(widget, qtbot)
    steps, moments = widget.band_plot.steps, widget.band_plot.scrubber._moments
    assert steps
    assert moments
    widget.form.task.value = "inpaint"
    widget.start()
    finish(widget, qtbot)
    assert widget.controls.status.value.startswith("Nothing is marked as missing")
    assert (widget.band_plot.steps, widget.band_plot.scrubber._moments) == (steps, moments)
    widget.form.task.value = "denoise"
    assert widget.controls.status.value == ""
