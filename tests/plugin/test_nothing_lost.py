"""What a run makes is of the right image, in its place, under its name, and kept whatever is closed."""

import numpy as np
import pytest
import tifffile
from gestures import assert_lies_over, finish, names, open_widget, stop, wait_for_workers

import napari_dip
from napari_dip.plugin.layers.source import read_source
from napari_dip.plugin.restore_widget import RestoreWidget

SIDE = 24
ENDLESS = 100_000  # steps, of a run that is stopped

SMALL = {
    "width": 8, "levels": 2, "device": "cpu", "partner": False, "step_limit": 20, "held_out": 0, "stopping": "fixed"
}  # fmt: skip


@pytest.fixture
def film() -> np.ndarray:
    """A (3, 24, 24) film."""
    return np.random.default_rng(0).normal(np.array([10, 20, 30])[:, None, None], 3, (3, SIDE, SIDE)).astype("float32")


def begin(widget, qtbot, viewer, preview: str) -> None:
    """Start a run that does not end by itself, and wait for its preview."""
    widget.form.advanced["step_limit"].value, widget.form.advanced["stopping"].value = ENDLESS, "fixed"
    widget.start()
    qtbot.waitUntil(lambda: preview in viewer.layers, timeout=60_000)


# ---------------------------------------------------------------- while a run goes on


def test_a_result_is_named_and_placed_as_its_image_is_at_the_end(viewer, qtbot, film) -> None:
    """Renamed, and calibrated, in mid-run; and its old name given to another."""
    control, treated = viewer.add_image(film[0], name="control"), viewer.add_image(film[1], name="treated")
    widget = open_widget(viewer)
    begin(widget, qtbot, viewer, "treated preview")
    treated.name = "after the drug"
    control.name = "treated"
    treated.scale, treated.translate, treated.rotate, treated.units = (0.5, 0.25), (3, 4), 30, ("um", "um")
    treated.affine = [[1, 0.1, 0], [0, 1, 2], [0, 0, 1]]
    viewer.layers["treated preview"].visible = False
    stop(widget, qtbot)
    assert names(viewer) == ["treated", "after the drug", "after the drug restored"]
    restored = viewer.layers[-1]
    assert restored.visible
    assert_lies_over(restored, treated)
    record = napari_dip.Record.from_dict(restored.metadata["napari-dip"])
    assert record.given.layer == "after the drug"
    assert "new pixels" not in widget.controls.status.value


def test_an_image_that_is_changed_or_removed_in_mid_run_is_restored_as_it_was(viewer, qtbot, film) -> None:
    widget = open_widget(viewer)
    widget.form.extra_outputs["residual"].value = True
    for change in ("same shape", "crop", "removed"):
        viewer.layers.clear()
        image = viewer.add_image(film[0], name="cells", scale=(2, 2))
        begin(widget, qtbot, viewer, "cells preview")
        if change == "same shape":
            image.data = film[2]
        elif change == "crop":
            image.data, image.translate = film[0][4:, 6:], (8, 12)
        else:
            viewer.layers.remove(image)
        stop(widget, qtbot)
        restored, residual = viewer.layers["cells restored"], viewer.layers["cells residual"]
        np.testing.assert_allclose(restored.data + residual.data, film[0], atol=1e-3)
        for layer in (restored, residual):
            np.testing.assert_allclose(layer.data_to_world((5, 5)), (10, 10))
        mentioned = "“cells” got new pixels during the run" in widget.controls.status.value
        assert mentioned == (change != "removed")


def test_marks_painted_in_mid_run_do_not_count(viewer, qtbot, film) -> None:
    viewer.add_image(film, name="film", axis_labels=("t", "y", "x"))
    marks = np.zeros(film.shape, np.uint8)
    marks[:, 4:8, 4:8] = 1
    labels = viewer.add_labels(marks, name="broken")
    widget = open_widget(viewer)
    widget.form.stack.planes.value, widget.form.task.value, widget.form.mask.value = "all", "inpaint", labels
    request = widget.form.request()
    labels.data[:] = 1  # as a brush does, in place
    np.testing.assert_array_equal(request.source.mask[1], (np.indices((SIDE, SIDE)) // 4 == 1).all(axis=0))


def test_a_hidden_preview_becomes_a_visible_result(viewer, qtbot, film) -> None:
    image = viewer.add_image(film, name="film", axis_labels=("t", "y", "x"))
    widget = open_widget(viewer)
    widget.form.stack.planes.value = "all"
    begin(widget, qtbot, viewer, "film preview")
    viewer.layers["film preview"].visible = False
    image.name = "movie"
    stop(widget, qtbot)
    assert names(viewer) == ["movie", "movie (t 0) stopped early"]
    assert viewer.layers[-1].visible


@pytest.mark.full
def test_what_was_stopped_early_is_called_so_whatever_is_finished_later(viewer, qtbot, film) -> None:
    viewer.add_image(film, name="film", axis_labels=("t", "y", "x"))
    widget = open_widget(viewer)
    widget.form.stack.planes.value = "all"
    widget.form.advanced["step_limit"].value = 200
    widget.start()
    qtbot.waitUntil(lambda: "film restored" in viewer.layers and "film preview" in viewer.layers, timeout=60_000)
    stop(widget, qtbot)
    widget.start()
    finish(widget, qtbot)
    assert widget.controls.status.value.startswith("Finished: 3 planes")
    assert np.isfinite(viewer.layers["film restored"].data).all()
    assert not any("unfinished" in name for name in names(viewer))


# ---------------------------------------------------------------- closing


def test_closing_the_form_in_mid_run_keeps_the_best_so_far(make_napari_viewer, qtbot, film, notifications) -> None:
    viewer = make_napari_viewer(show=True)
    image = viewer.add_image(film[0], name="cells", scale=(0.5, 0.5))
    dock, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
    begin(widget, qtbot, viewer, "cells preview")
    viewer.layers["cells preview"].visible = False
    widget.pause_or_resume()
    dock.destroyOnClose()  # its cross
    qtbot.waitUntil(lambda: names(viewer) == ["cells", "cells restored"], timeout=60_000)
    wait_for_workers(qtbot)
    restored = viewer.layers[-1]
    assert restored.visible
    assert_lies_over(restored, image)
    record = napari_dip.Record.from_dict(restored.metadata["napari-dip"])
    assert record.stop_reason == napari_dip.StopReason.USER.value
    assert "Form closed. Kept: “cells restored”." in " ".join(notifications)
    dock, again = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")  # and the form opens anew
    assert again is not widget
    assert again.form.image.value is image
    again.start()
    finish(again, qtbot)
    assert "cells restored [1]" in viewer.layers


@pytest.mark.full
def test_closing_the_form_keeps_the_planes_that_are_done(viewer, qtbot, film, notifications) -> None:
    viewer.add_image(film, name="film", axis_labels=("t", "y", "x"))
    dock, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
    widget.form.stack.planes.value = "all"
    widget.form.advanced["step_limit"].value = 400
    widget.start()
    qtbot.waitUntil(lambda: "film restored" in viewer.layers and "film preview" in viewer.layers, timeout=60_000)
    viewer.window.remove_dock_widget(dock)
    wait_for_workers(qtbot)
    qtbot.waitUntil(lambda: "film preview" not in viewer.layers, timeout=60_000)
    done = np.isfinite(viewer.layers["film restored"].data).all(axis=(1, 2))
    assert 1 <= done.sum() <= 3
    assert "film restored" in " ".join(notifications)
    assert all(name in ("film", "film restored") or name.endswith(") stopped early") for name in names(viewer))


def test_closing_the_form_and_then_the_viewer_ends_all(make_napari_viewer, qtbot, film) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(film[0], name="cells")
    dock, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
    begin(widget, qtbot, viewer, "cells preview")
    viewer.window.remove_dock_widget(dock)
    viewer.close()
    wait_for_workers(qtbot)
    qtbot.wait(200)
    assert not widget.running


# ---------------------------------------------------------------- the size of a pixel


def write(path, pixels, **metadata) -> None:
    tifffile.imwrite(path, pixels, metadata=metadata, photometric="minisblack")


def size_in(path) -> tuple:
    """Height and width of a pixel in an OME-TIFF, with their units."""
    with tifffile.TiffFile(path) as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    return tuple(pixels.get(name) for name in (
        "PhysicalSizeY", "PhysicalSizeYUnit", "PhysicalSizeX", "PhysicalSizeXUnit"
    ))  # fmt: skip


SIZE = {"PhysicalSizeY": 0.2, "PhysicalSizeYUnit": "µm", "PhysicalSizeX": 100, "PhysicalSizeXUnit": "nm"}
UNKNOWN = (None, None, None, None)


def test_the_pixel_size_of_the_file_goes_with_the_result(viewer, qtbot, film, tmp_path) -> None:
    write(tmp_path / "cells.ome.tif", film[0], axes="YX", **SIZE)
    (image,) = viewer.open(tmp_path / "cells.ome.tif", plugin="napari")
    assert tuple(image.scale) == (1, 1)
    widget = open_widget(viewer)
    widget.start()
    finish(widget, qtbot)
    restored = viewer.layers[-1]
    assert_lies_over(restored, image)
    assert "The pixel size, 0.2 x 0.1 µm, comes from the file." in widget.controls.details.value
    widget.record_tools.save(tmp_path / "restored.ome.tif")
    assert "unknown" not in widget.controls.status.value
    assert size_in(tmp_path / "restored.ome.tif") == pytest.approx((0.2, "µm", 0.1, "µm"))

    widget.form.task.value, widget.form.factor.value = "super_resolve", 2
    widget.start()
    finish(widget, qtbot)
    viewer.layers[-1].save(str(tmp_path / "large.ome.tif"), plugin="napari-dip")
    assert size_in(tmp_path / "large.ome.tif") == pytest.approx((0.1, "µm", 0.05, "µm"))

    restored.scale = (3, 3)  # the user's word from now on, in units that nobody knows
    viewer.layers.selection.active = restored
    widget.record_tools.save(tmp_path / "scaled.ome.tif")
    assert "Its pixel size is unknown" in widget.controls.status.value
    assert size_in(tmp_path / "scaled.ome.tif") == UNKNOWN
    restored.scale, restored.units = (3, 2), ("um", "um")
    widget.record_tools.save(tmp_path / "units.ome.tif")
    assert size_in(tmp_path / "units.ome.tif") == pytest.approx((3, "µm", 2, "µm"))

    (again,) = viewer.open(tmp_path / "restored.ome.tif", plugin="napari")  # saved once more, it still has it
    viewer.layers.selection.active = again
    widget.record_tools.save(tmp_path / "again.ome.tif")
    assert size_in(tmp_path / "again.ome.tif") == pytest.approx((0.2, "µm", 0.1, "µm"))


def test_the_pixel_size_of_the_file_is_that_of_the_whole_file_only(viewer, film, tmp_path) -> None:
    write(tmp_path / "film.ome.tif", film, axes="TYX", **SIZE, TimeIncrement=2)
    key = "napari-dip pixel size"

    def size() -> tuple | None:
        found = read_source(layer).metadata.get(key)
        return found and (found["height"], found["width"], found["unit"])

    (layer,) = viewer.open(tmp_path / "film.ome.tif", plugin="napari")
    assert size() == pytest.approx((0.2, 0.1, "µm"))
    assert read_source(layer).metadata[key]["distances"] == {"T": (2, "s")}
    layer.scale = (1, 1, 3)  # anisotropic, by hand
    assert size() is None
    layer.scale = (1, 1, 1)
    layer.units = ("s", "um", "um")
    assert size() is None
    layer.units = ("pixel",) * 3
    assert size() == pytest.approx((0.2, 0.1, "µm"))
    layer.data = film[:, 4:, 4:]  # of a crop nobody knows
    assert size() is None
    tifffile.imwrite(tmp_path / "j.tif", film, imagej=True, resolution=(4, 2), metadata={"axes": "TYX", "unit": "um"})
    (layer,) = viewer.open(tmp_path / "j.tif", plugin="napari")
    assert size() == pytest.approx((0.5, 0.25, "µm"))
    write(tmp_path / "none.ome.tif", film[0], axes="YX")
    (layer,) = viewer.open(tmp_path / "none.ome.tif", plugin="napari")
    assert size() is None


# ---------------------------------------------------------------- other views of a stack


def test_this_plane_is_refused_where_the_viewer_shows_none(viewer, qtbot, film) -> None:
    viewer.add_image(film, name="film", axis_labels=("t", "y", "x"))
    widget = open_widget(viewer)
    viewer.dims.set_current_step(0, 2)
    for order, ndisplay, words in (((1, 0, 2), 2, "along t"), ((0, 1, 2), 3, "in 3D")):
        viewer.dims.order, viewer.dims.ndisplay = order, ndisplay
        with pytest.raises(ValueError, match=words):
            widget.form.request()
    viewer.dims.ndisplay, viewer.dims.order = 2, (0, 2, 1)  # the same plane, seen from behind
    np.testing.assert_array_equal(widget.form.request().source.image, film[2])
    widget.form.stack.planes.value = "all"
    viewer.dims.ndisplay = 3
    assert widget.form.request().source.part.count == 3


def test_a_flat_image_is_the_same_in_every_view(viewer, film) -> None:
    viewer.add_image(film, name="film", visible=False)
    image = viewer.add_image(film[0], name="cells")
    colours = viewer.add_image(np.stack([film[1]] * 3, axis=-1) / 100, name="colours", rgb=True)
    widget = open_widget(viewer)
    for order, ndisplay in (((1, 0, 2), 2), ((0, 2, 1), 2), ((0, 1, 2), 3)):
        viewer.dims.order, viewer.dims.ndisplay = order, ndisplay
        for layer in (image, colours):
            viewer.layers.selection.active = layer
            np.testing.assert_array_equal(widget.form.request().source.image, layer.data)


# ---------------------------------------------------------------- more than one of us


@pytest.mark.full
def test_two_forms_in_one_viewer_and_two_viewers_do_not_mix(make_napari_viewer, qtbot, film) -> None:
    one, other = make_napari_viewer(), make_napari_viewer()
    first, second = one.add_image(film[0], name="cells"), one.add_image(film[1], name="cells too")
    elsewhere = other.add_image(film[2], name="cells")
    widgets = RestoreWidget(one), RestoreWidget(one), RestoreWidget(other)
    for number, (viewer, widget) in enumerate(zip((one, one, other), widgets, strict=True)):
        viewer.window.add_dock_widget(widget, name=f"form {number}")
        widget.form.extra_outputs["residual"].value = True
    widgets[0].form.image.value, widgets[1].form.image.value = first, second
    assert widgets[2].form.image.value is elsewhere
    assert [widget.form.image.native.count() for widget in widgets] == [2, 2, 1]
    for widget in widgets:
        widget.start()
    for widget in widgets:
        finish(widget, qtbot)
    for viewer, image in ((one, first), (one, second), (other, elsewhere)):
        restored, residual = (viewer.layers[f"{image.name} {each}"] for each in ("restored", "residual"))
        np.testing.assert_allclose(restored.data + residual.data, image.data, atol=1e-3)
    assert len(one.layers) == 6
    assert len(other.layers) == 3
