"""What the record of a layer is good for, with real clicks: a script, the form filled, a file that keeps it."""

import contextlib
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from gestures import open_widget, press, run
from magicgui.widgets import FloatSpinBox, SpinBox
from qtpy.QtWidgets import QApplication, QFileDialog

import napari_dip
from napari_dip.image_files import read_image, write_tiff
from napari_dip.plugin.form.advanced_settings import CHOICES
from napari_dip.plugin.form.restore_form import COMPARISONS, QUALITIES
from napari_dip.settings import find_bounds

CHANGES = {
    "lipschitz_bound": 1.7, "step_limit": 20, "width": 8, "levels": 2, "seed": 5, "device": "cpu", "bands": 4,
    "patience": 90, "residual": True, "detail_amount": 2.0,
}  # fmt: skip


@pytest.fixture
def widget(viewer):
    return open_widget(viewer)


@pytest.fixture(scope="module")
def settings() -> napari_dip.Settings:
    return dataclasses.replace(napari_dip.Settings(), **CHANGES)


@pytest.fixture(scope="module")
def result(camera, settings) -> napari_dip.Restoration:
    return napari_dip.restore(camera, task="super_resolve", factor=2, settings=settings)


@pytest.fixture
def restored(result) -> dict:
    """What a layer of a result is made of: pixels, metadata."""
    pixels, clipped = napari_dip.as_dtype(result.restored, np.uint8)
    record = result.record.of_output("restored", pixels, clipped, layer="cells")
    return {"data": pixels, "metadata": {"napari-dip": record.as_dict()}}


def test_without_a_result_there_is_nothing_to_do(viewer, widget, camera) -> None:
    viewer.add_image(camera)
    tools = widget.record_tools
    assert not any(each.enabled for each in (tools.copy_button, tools.load_button, tools.save_button))


@pytest.mark.full  # tests/test_record.py does the same without a window
def test_a_run_is_repeated_by_the_script_in_the_clipboard(viewer, widget, qtbot, tmp_path, camera) -> None:
    write_tiff(tmp_path / "cells.tif", camera)
    viewer.open(tmp_path / "cells.tif", plugin="napari")
    advanced = widget.form.advanced
    advanced["width"].value, advanced["levels"].value, advanced["device"].value = "8", "2", "cpu"
    advanced["step_limit"].value = 20
    run(widget, qtbot)
    press(qtbot, widget.record_tools.copy_button)
    assert "Copied a script" in widget.controls.status.value
    script = QApplication.clipboard().text() + "import numpy\nnumpy.save('out.npy', restored)\n"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), viewer.layers["cells restored"].data)
    write_tiff(tmp_path / "cells.tif", camera[::-1])  # the file has changed since
    press(qtbot, widget.record_tools.copy_button)
    assert "or has changed" in widget.controls.status.value
    assert str(tmp_path) not in QApplication.clipboard().text()


def test_settings_fill_the_whole_form(viewer, widget, qtbot, tmp_path, restored, result, settings) -> None:
    layer = viewer.add_image(restored["data"], name="large", metadata=restored["metadata"])
    for suffix in (".ome.tif", ".tif"):
        widget.record_tools.save(tmp_path / f"large{suffix}")
    for suffix in (None, ".ome.tif", ".tif"):
        if suffix is not None:  # as opened again, in another session
            viewer.layers.clear()
            (layer,) = viewer.open(tmp_path / f"large{suffix}", plugin="napari")
            assert "napari-dip" not in layer.metadata
        press(qtbot, widget.record_tools.load_button)
        assert widget.form.settings() == settings, suffix
        assert (widget.form.task.value, widget.form.factor.value) == ("super_resolve", 2)
        assert widget.form.original_type.value
        assert layer.name in widget.controls.status.value
        other = dataclasses.replace(result.record, task="denoise", parameters={}, settings=napari_dip.Settings())
        widget.form.show_record(other, "another")
        assert widget.form.settings() != settings


def test_named_settings_are_recognised(widget, restored) -> None:
    record = napari_dip.Record.from_dict(restored["metadata"]["napari-dip"])
    for _, quality in (*QUALITIES, *COMPARISONS):
        named = dataclasses.replace(napari_dip.Settings.preset(quality), seed=3, snapshots=20)
        widget.form.show_record(dataclasses.replace(record, settings=named), "it")
        assert (widget.form.comparison.value or widget.form.quality.value) == quality
        assert dataclasses.replace(widget.form.settings(), snapshots=20) == named


@pytest.mark.parametrize("suffix", [".ome.tif", ".tif"])
def test_saving_keeps_pixels_record_and_pixel_size(viewer, widget, tmp_path, restored, suffix) -> None:
    viewer.add_image(
        restored["data"], metadata=restored["metadata"], scale=(0.25, 0.5), units=("um", "um"), name="large"
    )
    path = tmp_path / f"large{suffix}"
    widget.record_tools.save(path)
    np.testing.assert_array_equal(read_image(path), restored["data"])
    assert "with its record" in widget.controls.status.value
    with tifffile.TiffFile(path) as file:
        if suffix == ".tif":
            tags = file.pages[0].tags
            (wide, of_wide), (high, of_high) = tags["XResolution"].value, tags["YResolution"].value
            np.testing.assert_allclose([of_wide / wide, of_high / high], [0.5e-4, 0.25e-4])  # cm
        else:
            pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
            assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]) == (0.5, 0.25)
            assert pixels["PhysicalSizeXUnit"] == "µm"


def test_a_name_that_gets_its_suffix_here_replaces_nothing(viewer, widget, tmp_path, restored) -> None:
    """The dialog asks only about the name as it was typed."""
    (tmp_path / "large.ome.tif").write_text("precious")
    viewer.add_image(restored["data"], name="large", metadata=restored["metadata"])
    widget.record_tools.save(tmp_path / "large")
    assert "large.ome.tif already exists" in widget.controls.status.value
    assert (tmp_path / "large.ome.tif").read_text() == "precious"
    widget.record_tools.save(tmp_path / "large.ome.tif")
    assert "with its record" in widget.controls.status.value


def test_a_reopened_result_is_copied_and_saved_with_its_record(viewer, widget, qtbot, tmp_path, restored) -> None:
    viewer.add_image(restored["data"], name="large", metadata=restored["metadata"])
    widget.record_tools.save(tmp_path / "large")  # gets a suffix
    viewer.layers.clear()
    viewer.open(tmp_path / "large.ome.tif", plugin="napari")
    press(qtbot, widget.record_tools.copy_button)
    assert "factor=2" in QApplication.clipboard().text()
    widget.record_tools.save(tmp_path / "again.tif")
    viewer.layers.clear()
    viewer.open(tmp_path / "again.tif", plugin="napari")
    press(qtbot, widget.record_tools.load_button)
    assert widget.form.factor.value == 2


def test_saving_asks_for_a_name(viewer, widget, qtbot, tmp_path, restored, monkeypatch) -> None:
    viewer.add_image(restored["data"], name="large", metadata=restored["metadata"])
    answers = ["", str(tmp_path / "none" / "a.tif"), str(tmp_path / "a.tif")]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *arguments: (answers.pop(0), ""))
    (tmp_path / "none").write_text("a file, not a folder")
    for message in ("", "was not saved", "Saved as a.tif"):
        press(qtbot, widget.record_tools.save_button)
        assert message in widget.controls.status.value
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.tif", "none"]


def test_what_has_no_record_is_said(viewer, widget, qtbot, tmp_path, camera) -> None:
    write_tiff(tmp_path / "plain.tif", camera)
    viewer.open(tmp_path / "plain.tif", plugin="napari")
    before = widget.form.settings()
    press(qtbot, widget.record_tools.load_button)
    assert widget.controls.status.value.startswith("No record found")
    viewer.add_image(camera, metadata={"napari-dip": {"task": "denoise"}})
    press(qtbot, widget.record_tools.load_button)
    assert "cannot be loaded" in widget.controls.status.value
    assert widget.form.settings() == before


def test_napari_saves_with_the_record(viewer, widget, qtbot, tmp_path, restored) -> None:
    layer = viewer.add_image(restored["data"], name="large", metadata=restored["metadata"])
    layer.save(str(tmp_path / "large.ome.tif"), plugin="napari-dip")
    viewer.layers.clear()
    viewer.open(tmp_path / "large.ome.tif", plugin="napari")
    press(qtbot, widget.record_tools.load_button)
    assert widget.form.factor.value == 2


STRANGERS = {
    "deep": '{"settings": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "deeper": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "nan": '{"settings": {"width": NaN}, "task": "denoise"}',
    "digits": '{"settings": {"width": ' + "9" * 5000 + '}, "task": "denoise"}',
    "infinity": '{"settings": {"width": 8}, "task": "denoise", "factor": Infinity}',
    "bytes": b'{"settings": {"device": "\xff\xfe"}}',
    "lists": '{"settings": [], "given": 3}',
}


def test_a_strangers_description_gets_a_sentence(viewer, widget, qtbot, tmp_path, camera) -> None:
    QApplication.clipboard().setText("mine")
    before = widget.form.settings()
    for name, text in STRANGERS.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", camera, description=text, metadata=None)
        viewer.open(tmp_path / f"{name}.tif", plugin="napari")
        for button in (widget.record_tools.load_button, widget.record_tools.copy_button):
            widget.controls.say("")
            press(qtbot, button)
            message = widget.controls.status.value
            assert message.startswith("No record found") or "cannot be" in message, name
            assert message.endswith(".")
            assert message.isprintable()
            assert len(message) < 500
    assert QApplication.clipboard().text() == "mine"
    assert widget.form.settings() == before


def copy_with_path(viewer, widget, qtbot, restored: dict, path: str) -> str:
    """Copy the script of a record that names another path; return the script."""
    record = restored["metadata"]["napari-dip"]
    changed = {**record, "given": {**record["given"], "path": path}}
    viewer.add_image(restored["data"], name="large", metadata={"napari-dip": changed})
    press(qtbot, widget.record_tools.copy_button)
    return QApplication.clipboard().text()


def test_a_path_that_leads_nowhere_is_left_out_of_the_script(viewer, widget, qtbot, restored) -> None:
    for path in ("a" * 5000 + ".tif", "/no/such\x1b[31m.tif", "\u202efit.txt"):
        script = copy_with_path(viewer, widget, qtbot, restored, path)
        assert "or has changed" in widget.controls.status.value
        assert f"{path!a}" not in script


def test_no_other_machine_is_asked_because_a_record_names_it(viewer, widget, qtbot, restored) -> None:
    """Windows would greet it with the user's name; the script, which shows the path, is the user's to run."""
    for path in ("\\\\server\\share\\a.tif", "//server/share/a.tif", "\\\\?\\UNC\\server\\a.tif"):
        script = copy_with_path(viewer, widget, qtbot, restored, path)
        assert "from another machine" in widget.controls.status.value
        assert f"read_image(Path({path!a}))" in script


def test_what_the_form_cannot_show_leaves_it_as_it_is(viewer, widget, qtbot, restored) -> None:
    record = restored["metadata"]["napari-dip"]
    viewer.add_image(restored["data"], name="large", metadata={"napari-dip": {**record, "parameters": {"factor": 20}}})
    before = widget.form.settings(), widget.form.task.value
    press(qtbot, widget.record_tools.load_button)
    assert "enlarges 20 times" in widget.controls.status.value
    assert (widget.form.settings(), widget.form.task.value) == before


def test_whatever_settings_can_be_the_form_can_show(widget) -> None:
    others = {"stopping": "fixed", "step_limit": 10**6, "burn_in": 0, "device": "cpu"}
    for edge in ("least", "most"):
        ends = {}
        for field in dataclasses.fields(napari_dip.Settings):
            with contextlib.suppress(KeyError):
                ends[field.name] = getattr(find_bounds(field.name), edge)
        settings = napari_dip.Settings(**ends | others)
        widget.form.advanced.show_settings(settings)
        shown = widget.form.advanced.settings()
        for name in CHOICES:
            assert getattr(shown, name) == getattr(settings, name), name


def test_the_form_takes_no_more_than_settings_do(widget) -> None:
    fields = [*widget.form.advanced, widget.form.smoothed_lipschitz_bound, widget.form.detail_amount]
    ranged = [field for field in fields if isinstance(field, SpinBox | FloatSpinBox)]
    assert len(ranged) > 10
    for field in ranged:
        bounds = find_bounds(field.name)
        assert (field.min, field.max) == (bounds.least, pytest.approx(bounds.most, rel=1e-15))
        assert field.native.maximum() == field.max
