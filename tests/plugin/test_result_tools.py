"""The line below a result: before and after by turns, and the residual with one click."""

import numpy as np
import pytest
from gestures import names, open_widget, press, run
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDialog, QPushButton, QTextBrowser

from napari_dip import Record

SMALL = {"width": 8, "levels": 2, "device": "cpu", "partner": False, "step_limit": 20, "stopping": "fixed"}
SIDE = 32


@pytest.fixture
def noisy() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 20, (3, SIDE, SIDE)).astype("float32")


def visible(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible]


def text_of(viewer):
    """The word in the corner of the canvas."""
    canvas = getattr(viewer, "canvas", None)
    return viewer.text_overlay if canvas is None else canvas.overlays.text


def test_compare_shows_both_by_turns_and_leaves_the_view_as_it_was(viewer, qtbot, noisy) -> None:
    viewer.add_image(noisy[0], name="cells")
    other = viewer.add_image(noisy[1], name="other")
    widget = open_widget(viewer, viewer.layers["cells"])
    tools = widget.result_tools
    assert not tools.compare_button.enabled
    run(widget, qtbot)
    other.opacity = 0.5
    text_of(viewer).text = "mine"
    before = visible(viewer)
    press(qtbot, tools.compare_button)
    assert visible(viewer) == ["cells"]
    assert (text_of(viewer).text, text_of(viewer).visible) == ("before", True)
    qtbot.waitUntil(lambda: visible(viewer) == ["cells restored"], timeout=5_000)
    assert text_of(viewer).text == "after"
    qtbot.waitUntil(lambda: visible(viewer) == ["cells"], timeout=5_000)
    press(qtbot, tools.compare_button)
    assert visible(viewer) == before
    assert (text_of(viewer).text, text_of(viewer).visible) == ("mine", False)
    press(qtbot, tools.compare_button)
    viewer.layers.remove("cells restored")
    assert not tools.compare_button.native.isChecked()
    assert not tools.compare_button.enabled
    assert visible(viewer) == ["cells", "other"]


def test_a_new_run_ends_the_comparison(viewer, qtbot, noisy) -> None:
    viewer.add_image(noisy[0], name="cells")
    widget = open_widget(viewer)
    run(widget, qtbot)
    press(qtbot, widget.result_tools.compare_button)
    run(widget, qtbot)
    assert visible(viewer) == ["cells", "cells restored", "cells restored [1]"]
    assert not widget.result_tools.compare_button.native.isChecked()


@pytest.mark.parametrize("planes", ["this", "all"])
def test_a_residual_that_nobody_asked_for_is_made_from_the_result(viewer, qtbot, noisy, planes) -> None:
    noisy[0, 3, 4] = np.nan
    image = viewer.add_image(noisy, name="film", scale=(1, 2, 2))
    marks = np.zeros(noisy.shape[1:], int)
    marks[8:10, 8:10] = 1
    viewer.dims.set_current_step(0, 0)
    widget = open_widget(viewer, image, planes)
    widget.form.mask.value = viewer.add_labels(marks, name="marks", scale=(2, 2))
    run(widget, qtbot)
    restored = viewer.layers[-1]
    kept = restored.data.copy()
    tools = widget.result_tools
    for _ in range(2):  # a second click, while it is being made, changes nothing
        press(qtbot, tools.residual_button)
        assert tools.residual_button.enabled  # so that it keeps the focus
        assert tools.residual_button.native.isChecked()
    qtbot.waitUntil(lambda: "residual" in viewer.layers[-1].name and not tools._making, timeout=20_000)
    residual = viewer.layers[-1]
    count = len(noisy) if planes == "all" else 1
    missing = np.isnan(noisy[:count]) | (marks > 0)
    np.testing.assert_array_equal(np.isnan(residual.data), missing)
    np.testing.assert_allclose((residual.data + kept)[~missing], noisy[:count][~missing], atol=1e-3)
    assert tuple(residual.scale) == (1, 2, 2)
    record = Record.from_dict(residual.metadata["napari-dip"])
    assert (record.output.name, record.settings.residual) == ("residual", True)
    assert residual.visible
    press(qtbot, tools.residual_button)
    assert not residual.visible
    assert len(viewer.layers) == 4


def test_a_residual_that_was_asked_for_arrives_hidden_and_comes_to_the_top(viewer, qtbot, noisy) -> None:
    viewer.add_image(noisy[0], name="cells")
    widget = open_widget(viewer)
    widget.form.extra_outputs["residual"].value = True
    run(widget, qtbot)
    assert visible(viewer) == ["cells", "cells restored"]
    press(qtbot, widget.result_tools.residual_button)
    assert names(viewer) == ["cells", "cells restored", "cells residual"]
    assert viewer.layers["cells residual"].visible


def test_an_enlarged_image_has_no_residual_unless_asked_for(viewer, qtbot, noisy) -> None:
    viewer.add_image(noisy[0], name="cells")
    widget = open_widget(viewer)
    widget.form.task.value = "super_resolve"
    run(widget, qtbot)
    assert widget.result_tools.compare_button.enabled
    assert not widget.result_tools.residual_button.enabled


def test_details_are_folded_away(viewer, qtbot, noisy) -> None:
    viewer.add_image(noisy[0], name="cells")
    widget = open_widget(viewer)
    widget.native.window().show()
    controls, button = widget.controls, widget.result_tools.details_button
    run(widget, qtbot)
    assert "Chosen" not in controls.status.value
    assert not controls.details.visible
    press(qtbot, button)
    assert controls.details.visible
    assert controls.details.value.startswith("Chosen: step ")
    press(qtbot, button)
    assert not controls.details.visible


# ---------------------------------------------------------------- the other buttons and keys


def begin(widget, qtbot, viewer, preview: str) -> None:
    """Start a run that does not end by itself, and wait for its preview."""
    widget.form.advanced["step_limit"].value = 100_000
    press(qtbot, widget.controls.restore_button)
    qtbot.waitUntil(lambda: preview in viewer.layers, timeout=60_000)


def test_cancel_leaves_no_layer(viewer, qtbot, noisy) -> None:
    image = viewer.add_image(noisy, name="film")
    widget = open_widget(viewer, image, "all")
    begin(widget, qtbot, viewer, "film preview")
    press(qtbot, widget.controls.cancel_button)
    qtbot.waitUntil(lambda: not widget.running, timeout=60_000)
    assert names(viewer) == ["film"]
    assert widget.controls.status.value == "Cancelled."
    assert viewer.layers.selection.active == image
    assert widget.controls.restore_button.enabled
    assert not widget.controls.cancel_button.enabled


def test_space_stops_what_it_started_and_escape_too(make_napari_viewer, qtbot, noisy) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(noisy[0], name="cells")
    widget = open_widget(viewer)
    qtbot.waitUntil(lambda: widget.band_plot is not None, timeout=60_000)
    viewer.window._qt_window.activateWindow()
    controls = widget.controls
    widget.form.advanced["step_limit"].value = 100_000
    for key in (Qt.Key.Key_Space, Qt.Key.Key_Escape):
        controls.restore_button.native.setFocus()
        qtbot.waitUntil(controls.restore_button.native.hasFocus)
        qtbot.keyClick(controls.restore_button.native, Qt.Key.Key_Space)
        qtbot.waitUntil(lambda: "cells preview" in viewer.layers, timeout=60_000)
        assert controls.stop_button.native.hasFocus()
        qtbot.keyClick(controls.stop_button.native, key)
        assert not controls.cancel_button.native.hasFocus()  # a second Space would throw the result away
        qtbot.waitUntil(lambda: not widget.running, timeout=60_000)
        assert controls.restore_button.native.hasFocus()
    assert names(viewer) == ["cells", "cells restored", "cells restored [1]"]


def test_restore_waits_for_an_image(viewer, noisy) -> None:
    widget = open_widget(viewer)
    controls = widget.controls
    assert not controls.restore_button.enabled
    assert not controls.region_button.enabled
    assert controls.status.value.startswith("Open an image first")
    viewer.add_image(noisy[0])
    assert controls.restore_button.enabled
    assert controls.status.value == ""
    viewer.layers.clear()
    assert not controls.restore_button.enabled


def test_help_opens_beside_the_form(viewer, qtbot) -> None:
    widget = open_widget(viewer)
    press(qtbot, widget.controls.help_button)
    (dialog,) = widget.native.findChildren(QDialog)
    assert "Compare" in dialog.findChild(QTextBrowser).toPlainText()
    button = dialog.findChild(QPushButton)
    press(qtbot, button)
    qtbot.waitUntil(lambda: button.text() == "Copied", timeout=60_000)
    assert "torch: " in QApplication.clipboard().text()
    dialog.close()
