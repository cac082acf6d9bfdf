"""The box "Neighbouring planes help": when it is there, and that a single plane gets the help it gets in its stack."""

import numpy as np
import pytest
import tifffile
from gestures import names, open_widget, press, run
from qtpy.QtWidgets import QApplication

import napari_dip
from napari_dip.samples import moving_cells

SMALL = {"width": 8, "levels": 2, "device": "cpu", "step_limit": 10}


@pytest.fixture(scope="module")
def still() -> np.ndarray:
    """Six frames (48, 48) of the same cells in fresh noise."""
    truth = moving_cells(frames=1, side=48).truth[0]
    return np.random.default_rng(0).poisson(np.stack([truth] * 6)).astype(np.float32)


def set_small(widget) -> None:
    for name, value in SMALL.items():
        widget.form.advanced[name].value = value
    widget.form.advanced["partner"].value = True


def test_the_box_is_there_where_neighbours_can_help(viewer, qtbot, still) -> None:
    film = viewer.add_image(still, name="film", axis_labels=("t", "y", "x"))
    named = viewer.add_image(still[:3], name="named", axis_labels=("a", "y", "x"))
    flat = viewer.add_image(still[0], name="image")
    widget = open_widget(viewer, film)
    box = widget.form.stack.neighbours
    assert not box.native.isHidden()
    assert box.value
    widget.form.task.value = "deblock"
    assert box.native.isHidden()
    widget.form.task.value = "denoise"
    assert not box.native.isHidden()
    widget.form.image.value = named
    assert box.native.isHidden()
    widget.form.image.value = flat
    assert widget.form.stack.native.isHidden()
    assert widget.form.request().neighbours is None


def test_without_names_five_planes_are_time_or_depth_and_fewer_may_be_channels(viewer, qtbot, still) -> None:
    plain = viewer.add_image(still, name="unnamed")
    few = viewer.add_image(still[:3], name="perhaps channels")
    widget = open_widget(viewer, plain)
    box = widget.form.stack.neighbours
    assert not box.native.isHidden()
    assert widget.form.request().source.array.shape[0] == 5
    widget.form.image.value = few
    assert box.native.isHidden()
    assert widget.form.request().source.array.shape[0] == 1


@pytest.mark.parametrize(
    ("names_of_axes", "letter"),
    [({"axis_labels": ("t", "y", "x")}, "T"), pytest.param({}, "Q", marks=pytest.mark.full)],
)
def test_this_plane_gets_the_help_of_its_neighbours(
    viewer, qtbot, still, names_of_axes, letter, tmp_path, monkeypatch
) -> None:
    film = viewer.add_image(still, name="film", **names_of_axes)
    viewer.dims.set_current_step(0, 4)
    widget = open_widget(viewer, film)
    set_small(widget)
    source = widget.form.request().source
    assert source.is_single
    assert source.array.shape[0] == 5
    run(widget, qtbot)
    (name,) = [each for each in names(viewer) if each.endswith("restored")]
    settings = widget.form.settings()
    (expected,) = napari_dip.restore_stack(still, f"{letter}YX", planes={letter: 4}, settings=settings)
    assert expected.result.record.neighbours == 4
    assert expected.result.record.given.along == letter
    np.testing.assert_array_equal(np.squeeze(viewer.layers[name].data), expected.result.restored)
    assert "4 neighbouring planes helped." in widget.controls.status.value
    press(qtbot, widget.record_tools.copy_button)
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("film.tif", still, metadata={"axes": f"{letter}YX"}, photometric="minisblack")
    scope: dict = {}
    exec(compile(QApplication.clipboard().text(), "script", "exec"), scope)
    np.testing.assert_array_equal(scope["restored"], viewer.layers[name].data)
    viewer.layers.remove(name)
    widget.form.stack.neighbours.value = False
    run(widget, qtbot)
    (name,) = [each for each in names(viewer) if each.endswith("restored")]
    alone = napari_dip.restore(still[4], settings=settings)
    np.testing.assert_array_equal(np.squeeze(viewer.layers[name].data), alone.restored)
