"""A folder restored from the form: with its task and settings, into another folder, stopped and gone on with."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from gestures import open_widget, press
from qtpy.QtWidgets import QFileDialog

from napari_dip.many.past_runs import recall_runs

SMALL = {"width": 8, "levels": 2, "device": "cpu", "partner": False, "step_limit": 20, "stopping": "fixed"}


@pytest.fixture
def folders(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """A folder with three images, one of which cannot be restored; and an empty one. The dialogs answer with these."""
    source, results = tmp_path / "raw", tmp_path / "restored"
    source.mkdir()
    results.mkdir()
    noise = np.random.default_rng(0).normal(100, 20, (2, 32, 32))
    for name, pixels in (("a", noise[0]), ("b", noise[1]), ("flat", np.zeros((32, 32)))):
        tifffile.imwrite(source / f"{name}.tif", pixels.astype("uint8"))

    def answer(parent, title: str, *_) -> str:
        return str(results if "results" in title else source)

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", answer)
    return source, results


def finish(widget, qtbot) -> None:
    qtbot.waitUntil(lambda: not widget.running, timeout=120_000)


def test_a_folder_is_restored_as_the_form_says(viewer, qtbot, folders) -> None:
    source, results = folders
    widget = open_widget(viewer)
    widget.form.original_type.value = True
    press(qtbot, widget.controls.files_button)
    assert widget.controls.stop_button.enabled
    assert not widget.controls.pause_button.enabled
    finish(widget, qtbot)
    expected = "3 files to restore. Time: the first one will tell. Memory: 0.2 GB."
    assert widget.controls.progress.tooltip == expected
    assert len(recall_runs()) == 2  # so that the next estimate knows more
    status = widget.controls.status.value
    assert status.startswith("Finished: 2 of 3 files are restored in “restored”; see report.csv there.")
    assert " 1 failed; flat.tif: " in status
    for name in "ab":
        restored = tifffile.imread(results / f"{name}.tif")
        assert restored.dtype == "uint8"
        assert restored.std() < tifffile.imread(source / f"{name}.tif").std()
    assert (results / "report.csv").exists()
    assert len(viewer.layers) == 0


def test_a_stopped_folder_is_gone_on_with(viewer, qtbot, folders, monkeypatch) -> None:
    _, results = folders
    monkeypatch.setitem(SMALL, "step_limit", 100_000)
    widget = open_widget(viewer)
    press(qtbot, widget.controls.files_button)
    qtbot.waitUntil(lambda: "Restoring a.tif" in widget.controls.status.value, timeout=60_000)
    press(qtbot, widget.controls.stop_button)
    finish(widget, qtbot)
    assert widget.controls.status.value.startswith("Stopped: 0 of 3 files are restored")
    assert not list(results.glob("*.tif"))
    widget.form.advanced["step_limit"].value = 20
    press(qtbot, widget.controls.files_button)
    finish(widget, qtbot)
    assert widget.controls.status.value.startswith("Finished: 2 of 3")
    assert "there before" not in widget.controls.status.value
    widget.form.advanced["step_limit"].value = 10
    press(qtbot, widget.controls.files_button)
    finish(widget, qtbot)
    assert " 2 of them were there before, made with other settings; " in widget.controls.status.value


def test_an_empty_folder_is_said(viewer, qtbot, folders, monkeypatch) -> None:
    monkeypatch.setattr("napari_dip.plugin.run.files_run.show_error", lambda sentence: None)
    for path in folders[0].iterdir():
        path.unlink()
    widget = open_widget(viewer)
    press(qtbot, widget.controls.files_button)
    finish(widget, qtbot)
    assert "has no images" in widget.controls.status.value
