"""A folder restored from the form: with its task and settings, into another folder, stopped and gone on with."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from gestures import open_widget, press
from qtpy.QtWidgets import QFileDialog

from napari_dip.many.past_runs import recall_runs
from napari_dip.plugin.run.file_words import shorten_paths

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
    assert " 1 failed; flat.tif: all known pixels" in status
    assert widget.controls.status.tooltip == f"Images: {source}\nResults: {results}"
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
    assert widget.controls.status.value == "“raw” has no images; choose a folder with TIFF, PNG, JPEG or OME-Zarr."


def test_a_file_is_named_once_without_its_folder(viewer, qtbot, folders) -> None:
    source, results = folders
    (source / "flat.tif").unlink()
    (source / "damaged.tif").write_bytes(b"no image")
    widget = open_widget(viewer)
    press(qtbot, widget.controls.files_button)
    finish(widget, qtbot)
    status = widget.controls.status.value
    assert " 1 failed; damaged.tif cannot be read as an image: " in status
    assert status.count("damaged.tif") == 1
    assert source.parent.name not in status
    assert str(results) in widget.controls.status.tooltip
    widget.controls.say("something else")
    assert not widget.controls.status.tooltip


def test_a_result_of_someone_else_is_kept(viewer, qtbot, folders, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr("napari_dip.plugin.run.files_run.show_error", shown.append)
    source, results = folders
    (results / "a.tif").write_bytes((source / "a.tif").read_bytes())
    widget = open_widget(viewer)
    press(qtbot, widget.controls.files_button)
    finish(widget, qtbot)
    sentence = (
        "a.tif exists and is not the restored image of a.tif written by napari-dip; choose another folder for the "
        "results."
    )
    assert shown == [widget.controls.status.value] == [sentence]


def test_the_folder_of_the_images_is_not_that_of_the_results(viewer, qtbot, folders, monkeypatch) -> None:
    monkeypatch.setattr("napari_dip.plugin.run.files_run.show_error", lambda sentence: None)
    source, _ = folders
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(source))
    widget = open_widget(viewer)
    press(qtbot, widget.controls.files_button)
    assert not widget.running
    assert widget.controls.status.value == "The results need a folder of their own, apart from the images."
    assert sorted(each.name for each in source.iterdir()) == ["a.tif", "b.tif", "flat.tif"]


def test_only_a_whole_folder_is_shortened() -> None:
    folders = Path("/data/raw"), Path("/data/raw/results")
    said = shorten_paths("/data/raw/results/a.tif and /data/raw/a.tif are not in /data/raw2/b.tif.", folders)
    assert said == "a.tif and a.tif are not in /data/raw2/b.tif."
    assert shorten_paths("/data/raw has no images", folders) == "“raw” has no images"
    assert shorten_paths("(/data/raw/results)", folders) == "(“results”)"
