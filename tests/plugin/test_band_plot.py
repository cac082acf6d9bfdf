"""The dock below the image: curves, what the mouse reads, what is exported, and the slider through a run's moments."""

import csv
import dataclasses
import gc

import numpy as np
import pytest
from gestures import names, open_widget, press, run
from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QFileDialog

import napari_dip
from napari_dip.outcome import Report
from napari_dip.plugin.restore_widget import RestoreWidget
from napari_dip.plugin.run.scrubber import keep_moments

STEPS = 60

SMALL = {"width": 8, "levels": 3, "device": "cpu", "stopping": "fixed", "partner": False}


@pytest.fixture
def widget(viewer, camera) -> RestoreWidget:
    viewer.add_image(camera, name="cells", scale=(0.5, 0.25), colormap="magma")
    widget = open_widget(viewer)
    widget.form.advanced["step_limit"].value = STEPS
    return widget


def scrub(widget, qtbot, steps: int) -> None:
    """Press an arrow key so many times, and wait for the moment's layer."""
    scrubber = widget.band_plot.scrubber
    for _ in range(abs(steps)):
        qtbot.keyClick(scrubber.slider, Qt.Key.Key_Right if steps > 0 else Qt.Key.Key_Left)
    qtbot.waitUntil(scrubber.use_button.isEnabled, timeout=20_000)


def test_the_first_report_lies_on_an_axis_that_begins_at_0(widget) -> None:
    report = Report(1, 0.1, 0.1, 0.1, (0.1,) * 5, 1.0, 1.0)
    plot = widget._plot_dock.make()
    plot.add(report)
    for each in plot._plots():
        each.getViewBox().updateAutoRange()  # as drawing it does
        first, last = each.getViewBox().viewRange()[0]
        assert 0 <= first <= 1 <= last <= 12


def test_another_moment_is_looked_at_and_used(viewer, widget, qtbot, camera) -> None:
    scrubber = widget._plot_dock.make().scrubber
    assert scrubber.isHidden()
    run(widget, qtbot)
    kept = viewer.layers["cells restored"].data.copy()
    assert not scrubber.isHidden()
    assert "chosen" in scrubber.step_label.text()
    assert not scrubber.use_button.isEnabled()
    scrub(widget, qtbot, -2)
    moment = viewer.layers["cells moment"]
    assert names(viewer) == ["cells", "cells restored", "cells moment"]
    assert moment.colormap.name == "magma"
    np.testing.assert_allclose(moment.scale, (0.5, 0.25))
    for plot in widget.band_plot._plots():
        assert plot._lines["moment"].isVisible()
    press(qtbot, scrubber.use_button)
    (used,) = [layer for layer in viewer.layers if "restored, step" in layer.name]
    assert names(viewer) == ["cells", "cells restored", used.name]
    np.testing.assert_array_equal(viewer.layers["cells restored"].data, kept)
    record = used.metadata["napari-dip"]
    assert used.name == f"cells restored, step {record['step']}"
    assert record["stop_reason"] == napari_dip.StopReason.CHOSEN.value
    assert f"You chose step {record['step']}" in widget.band_plot.caption.text()
    again = napari_dip.restore(camera, settings=napari_dip.Settings(**record["settings"]))
    np.testing.assert_array_equal(used.data, again.restored)
    assert not scrubber.use_button.isEnabled()
    assert not np.array_equal(used.data, kept)
    widget.form.advanced["chosen_step"].value = str(record["step"])  # and from the form
    run(widget, qtbot)
    np.testing.assert_array_equal(viewer.layers["cells restored [1]"].data, used.data)


def test_the_slider_counts_to_the_end_of_the_run_even_if_its_last_step_was_not_kept(widget, camera) -> None:
    settings = napari_dip.Settings(**SMALL, step_limit=30, snapshots=20)
    result = napari_dip.restore(camera, settings=settings)
    kept = tuple(each for each in result.moments if each.step < 30)
    scrubber = widget._plot_dock.make().scrubber
    scrubber.offer(dataclasses.replace(result, step=kept[0].step, moments=kept), widget.form.request())
    scrubber.slider.setValue(scrubber.slider.maximum())
    assert scrubber.step_label.text() == "20 of 30"


def test_a_used_moment_brings_its_residual_and_says_what_it_cannot(viewer, widget, qtbot, camera) -> None:
    widget.form.extra_outputs["residual"].value = widget.form.extra_outputs["smoothed"].value = True
    run(widget, qtbot)
    scrub(widget, qtbot, -2)
    press(qtbot, widget.band_plot.scrubber.use_button)
    residual, used = viewer.layers[-2:]
    assert viewer.layers.selection.active.name == used.name
    np.testing.assert_allclose(used.data + residual.data, camera, atol=1e-3)
    step = used.metadata["napari-dip"]["step"]
    assert names(viewer)[-2:] == [f"cells residual, step {step}", f"cells restored, step {step}"]
    assert residual.metadata["napari-dip"]["step"] == step
    message = widget.controls.status.value
    assert f"kept as “{used.name}”. Not included: smoothed" in message
    assert f"set Stop at step, under Advanced, to {step} and press Restore" in message


def test_back_at_the_chosen_step_the_layer_goes(viewer, widget, qtbot) -> None:
    run(widget, qtbot)
    slider = widget.band_plot.scrubber.slider
    chosen = slider.value()
    scrub(widget, qtbot, -1)
    slider.setValue(chosen)
    assert names(viewer) == ["cells", "cells restored"]
    assert not widget.band_plot._plots()[0]._lines["moment"].isVisible()


def test_the_latest_position_wins(viewer, widget, qtbot) -> None:
    run(widget, qtbot)
    scrubber = widget.band_plot.scrubber
    for place in (0, 5, 2, 1, 3):
        scrubber.slider.setValue(place)
    qtbot.waitUntil(scrubber.use_button.isEnabled, timeout=20_000)
    step = scrubber._moments[3].step
    assert viewer.layers["cells moment"].metadata["napari-dip"]["step"] == step
    scrubber.slider.setValue(1)
    scrubber.return_to_chosen()  # while the image is being made
    qtbot.waitUntil(lambda: scrubber._loading is None, timeout=20_000)
    assert names(viewer) == ["cells", "cells restored"]


@pytest.mark.parametrize(
    "what", [*(pytest.param(each, marks=pytest.mark.full) for each in ("layer", "plot", "dock", "viewer")), "new run"]
)
def test_whatever_ends_scrubbing_leaves_nothing_behind(make_napari_viewer, camera, qtbot, what) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(camera, name="cells")
    dock, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
    widget.form.advanced["step_limit"].value = STEPS
    run(widget, qtbot)
    scrubber = widget.band_plot.scrubber
    scrub(widget, qtbot, -2)
    scrubber.slider.setValue(0)  # another image is on its way
    match what:
        case "layer":
            viewer.layers.remove("cells moment")
            assert "chosen" in scrubber.step_label.text()
        case "plot":
            viewer.window.remove_dock_widget(widget.band_plot)
        case "dock":
            viewer.window.remove_dock_widget(dock)
        case "viewer":
            viewer.close()
        case "new run":
            run(widget, qtbot)
    qtbot.wait(500)
    if what == "viewer":
        return
    assert "cells moment" not in viewer.layers
    if what in ("dock", "new run"):
        gc.collect()
        left = [each for each in gc.get_objects() if type(each) is napari_dip.Moment]
        assert len(left) == (0 if what == "dock" else len(scrubber._moments))


def test_a_moment_that_fails_is_said_and_the_slider_returns(viewer, widget, qtbot, monkeypatch) -> None:
    errors = []
    monkeypatch.setattr("napari_dip.plugin.run.scrubber.show_error", errors.append)
    run(widget, qtbot)

    def fail(self):
        raise RuntimeError("CUDA out of memory.")

    monkeypatch.setattr(napari_dip.Moment, "restoration", fail)
    scrubber = widget.band_plot.scrubber
    qtbot.keyClick(scrubber.slider, Qt.Key.Key_Left)
    qtbot.waitUntil(lambda: bool(errors), timeout=20_000)
    assert "ran out of memory" in errors[0]
    assert "chosen" in scrubber.step_label.text()
    assert names(viewer) == ["cells", "cells restored"]


def test_enlarged_moments_lie_over_the_original(viewer, widget, qtbot, camera) -> None:
    widget.form.task.value = "super_resolve"
    run(widget, qtbot)
    scrub(widget, qtbot, -1)
    moment, image = viewer.layers["cells moment"], viewer.layers["cells"]
    assert moment.data.shape == tuple(2 * side for side in camera.shape)
    np.testing.assert_allclose(moment.data_to_world((-0.5, -0.5)), image.data_to_world((-0.5, -0.5)))


def test_enhancing_has_no_moments(widget, qtbot) -> None:
    widget.form.task.value = "enhance"
    run(widget, qtbot)
    assert widget.band_plot.scrubber.isHidden()


def test_the_mouse_reads_every_curve(make_napari_viewer, camera, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(camera, name="cells")
    widget = open_widget(viewer)
    widget.form.advanced["step_limit"].value = STEPS
    run(widget, qtbot)
    widget._plot_dock.show()
    plot = widget.band_plot
    for index, text in ((0, "{0.band_correspondence[4]:.2f}"), (1, "{0.held_out_error:.3g}"), (1, "{0.ratio:.3g}")):
        plot.view_choice.setCurrentIndex(index)
        qtbot.wait(100)
        curves = plot.view.plots[-1]
        report = plot.reports[3]
        place = curves.getViewBox().mapViewToScene(QPointF(report.step + 2, 0.5))
        middle = curves.getViewBox().sceneBoundingRect().center()
        qtbot.mouseMove(curves.viewport(), curves.mapFromScene(QPointF(place.x(), middle.y())))
        qtbot.waitUntil(lambda report=report: f"<b>{report.step}</b>" in plot.legend.text(), timeout=5000)
        assert f"<b>{text.format(report)}</b>" in plot.legend.text()
        assert curves._lines["pointer"].isVisible()
        qtbot.mouseMove(plot.caption)
        qtbot.waitUntil(lambda: f"<b>{plot._chosen_step}</b>" in plot.legend.text(), timeout=5000)


def test_until_the_next_run_reports_the_curves_are_said_to_be_old(widget) -> None:
    dock = widget._plot_dock
    plot = dock.make()
    plot._mark_chosen(20, "Step 20 was chosen: the step limit was reached.")
    for _ in range(2):  # a run that is refused leaves them
        dock.begin()
        assert plot.caption.text() == "The run before this one: step 20 was chosen: the step limit was reached."
    dock.clear(5)
    assert plot.caption.text() == plot.view.introduction


def test_the_axis_takes_the_longest_label_that_is_not_cut_off(widget) -> None:
    (curves,) = widget._plot_dock.make().views[0].plots
    for height, label in ((300, "detail recovered (0-1)"), (150, "recovered (0-1)")):
        curves.resize(400, height)
        curves.resizeEvent(None)
        assert curves._left.label.isVisible()
        assert curves._left.labelText == label
    curves.resize(400, 91)
    curves.resizeEvent(None)
    assert not curves._left.label.isVisible()


def test_the_curves_of_a_network_that_was_given_up_go(widget) -> None:
    plot = widget._plot_dock.make()
    plot.start(5)
    for step in (10, 20, 30, 10, 20):  # another begins
        plot.add(napari_dip.outcome.Report(step, 0.1, None, None, (0.1,) * 5, 1.0, 1.0))
    assert plot.steps == [10, 20]


def test_the_stop_is_marked_in_both_views_and_forgotten_by_the_next_run(widget, qtbot) -> None:
    run(widget, qtbot)
    plot = widget.band_plot
    assert f"Step {plot._chosen_step} was chosen: the step limit was reached." == plot.caption.text()
    for curves in plot._plots():
        assert curves._lines["chosen"].value() == plot._chosen_step
    plot.start(3)
    assert plot.reports == []
    assert not any(curves._lines["chosen"].isVisible() for curves in plot._plots())
    assert len(plot.views[0].curves) == 3


@pytest.mark.parametrize(
    ("suffix", "view"),
    [(".png", 0), (".csv", 0), (".csv", 1),
     *(pytest.param(*each, marks=pytest.mark.full) for each in ((".png", 1), (".svg", 0), (".svg", 1)))],
)  # fmt: skip
def test_the_run_is_exported(widget, qtbot, tmp_path, monkeypatch, view, suffix) -> None:
    notifications = []
    monkeypatch.setattr("napari_dip.plugin.run.export_button.show_info", notifications.append)
    widget._plot_dock.show()
    plot = widget.band_plot
    assert not plot.export_button.isEnabled()
    run(widget, qtbot)
    plot.view_choice.setCurrentIndex(view)
    actions = plot.export_button.menu().actions()
    (next(action for action in actions if suffix[1:].upper() in action.text())).trigger()
    (dialog,) = plot.export_button.findChildren(QFileDialog)
    dialog.selectFile(str(tmp_path / "mine"))  # the suffix comes by itself
    dialog.accept()
    qtbot.waitUntil(lambda: bool(notifications), timeout=30_000)
    (path,) = tmp_path.iterdir()
    assert path.name == f"mine{suffix}"
    match suffix:
        case ".png":
            assert QImage(str(path)).width() > 500
        case ".svg":
            assert "<svg" in path.read_text()
        case ".csv":
            rows = list(csv.DictReader(path.read_text().splitlines()))
            assert [int(row["step"]) for row in rows] == plot.steps
            assert [float(row["band highest"]) for row in rows] == [
                report.band_correspondence[-1] for report in plot.reports
            ]


def test_what_cannot_be_written_is_said(widget, qtbot, tmp_path, monkeypatch) -> None:
    errors = []
    monkeypatch.setattr("napari_dip.plugin.run.export_button.show_error", errors.append)
    run(widget, qtbot)
    (tmp_path / "file").write_text("")
    button = widget.band_plot.export_button
    for name in ("run.jpg", "file/run.csv"):
        button._write(button._drawing(), tmp_path / name)
    qtbot.waitUntil(lambda: len(errors) == 2, timeout=20_000)
    assert any("its name must end in" in each for each in errors)
    assert any("could not be written" in each for each in errors)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_large_images_keep_fewer_moments_and_several_planes_none(viewer) -> None:
    widget = open_widget(viewer)
    widget.form.task.value, kept = "super_resolve", []
    for shape, planes in (((64, 64), "this"), ((4000, 4000), "this"), ((3, 64, 64), "all")):
        widget.form.image.value = viewer.add_image(np.zeros(shape, np.uint8))
        widget.form.stack.planes.value = planes
        kept.append(keep_moments(widget.form.request()).options.settings.snapshots)
    assert kept == [20, 1, 0]
