"""Which layer is restored: the one that was chosen, whatever it is called and wherever it lies."""

import numpy as np
import pytest
from gestures import finish, open_widget, texts
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_dip.plugin.form.mask_finder import MaskFinderWidget

SIDE = 24

SMALL = {"width": 8, "levels": 2, "device": "cpu", "partner": False, "step_limit": 20}


@pytest.fixture
def pixels() -> np.ndarray:
    """A (3, 24, 24) stack: three images to be told apart."""
    return np.random.default_rng(0).normal(np.array([10, 20, 30])[:, None, None], 1, (3, SIDE, SIDE)).astype("float32")


@pytest.fixture
def two(viewer, pixels) -> tuple:
    """The layers "control" and "treated", of which the second one is selected."""
    return viewer.add_image(pixels[0], name="control"), viewer.add_image(pixels[1], name="treated")


def choose(qtbot, choice, text: str) -> None:
    """Pick an entry with the keyboard, as a user does; also the one that is shown already."""
    native = choice.native
    row = native.findText(text)
    assert row >= 0, texts(choice)
    native.setCurrentIndex(row)
    native.activated.emit(row)


def shown(choice) -> str:
    return choice.native.currentText()


def pixels_to_restore(widget) -> np.ndarray:
    """The pixels that Restore would take now."""
    return widget.form.request().source.image


def test_an_image_chosen_by_hand_stays_chosen_whatever_happens_to_the_layers(viewer, qtbot, two, pixels) -> None:
    control, treated = two
    widget = open_widget(viewer)
    choose(qtbot, widget.form.image, "treated")
    _, finder = viewer.window.add_plugin_dock_widget("napari-dip", "Find missing pixels")
    assert isinstance(finder, MaskFinderWidget)
    choose(qtbot, finder.image, "treated")

    def rename() -> None:
        treated.name = "after the drug"

    def swap_names() -> None:
        treated.name = "other"
        control.name = "treated"
        treated.name = "control"

    def take_a_name() -> None:
        treated.name = "treated"  # which napari numbers
        assert treated.name == "treated [1]"

    def add_another() -> None:
        viewer.add_image(pixels[2], name="treated")
        viewer.layers.move(2, 0)

    def replace_pixels() -> None:
        treated.data = pixels[2]

    def hide() -> None:
        treated.visible = False

    def remove_another() -> None:
        viewer.layers.remove(control)

    def reorder() -> None:
        viewer.layers.move(1, 0)

    for change in (rename, swap_names, take_a_name, reorder, add_another, replace_pixels, hide, remove_another):
        change()
        viewer.layers.selection.active = viewer.layers[0]
        assert widget.form.image.value == treated
        assert finder.image.value == treated
        assert shown(widget.form.image) == treated.name
        assert texts(widget.form.image) == [layer.name for layer in viewer.layers]
        np.testing.assert_array_equal(pixels_to_restore(widget), treated.data)


def test_until_then_the_image_is_the_selected_layer(viewer, qtbot, two, pixels) -> None:
    control, treated = two
    widget = open_widget(viewer)
    assert widget.form.image.value == treated
    viewer.layers.selection.active = control
    assert widget.form.image.value == control
    control.name = "before"
    assert widget.form.image.value == control
    labels = viewer.add_labels(np.zeros((SIDE, SIDE), int))  # selected, and no image
    assert widget.form.image.value == control
    viewer.layers.remove(labels)
    truth = viewer.add_image(pixels[2], name="truth", visible=False)
    assert widget.form.image.value == control
    truth.visible = True
    assert widget.form.image.value == truth
    viewer.layers.selection.active = treated
    choose(qtbot, widget.form.image, "treated")  # what is shown already, but by hand
    viewer.layers.selection.active = control
    assert widget.form.image.value == treated


def test_a_result_is_not_followed_but_can_be_chosen(viewer, qtbot, two) -> None:
    """Restore twice restores the same image twice, and not its own result."""
    treated = two[1]
    widget = open_widget(viewer)
    for _ in range(2):
        widget.start()
        finish(widget, qtbot)
        assert widget.form.image.value == treated
    restored = viewer.layers["treated restored"]
    viewer.layers.selection.active = restored
    assert widget.form.image.value == treated
    assert "treated restored [1]" in viewer.layers
    choose(qtbot, widget.form.image, "treated restored")
    assert widget.form.image.value == restored
    viewer.layers.remove(restored)
    assert not widget.form.image_note.native.isHidden()
    widget.start()  # without it, then
    assert widget.form.image_note.native.isHidden()
    finish(widget, qtbot)


def test_what_was_chosen_and_is_removed_is_said(viewer, qtbot, two, pixels) -> None:
    control, treated = two
    widget = open_widget(viewer)
    note = widget.form.image_note
    viewer.layers.remove(viewer.add_image(pixels[2]))  # which was only followed
    assert widget.form.image.value == treated
    assert note.native.isHidden()
    choose(qtbot, widget.form.image, "treated")
    viewer.layers.remove(treated)
    again = viewer.add_image(pixels[2], name="treated")  # another one of that name
    viewer.layers.selection.active = control
    assert widget.form.image.value == control
    assert note.value == "“treated” was removed. Image follows the selected layer again."
    assert not note.native.isHidden()
    viewer.layers.selection.active = again
    assert widget.form.image.value == again
    choose(qtbot, widget.form.image, "treated")
    assert note.native.isHidden()
    viewer.layers.clear()
    assert widget.form.image.value is None
    assert note.value == "“treated” was removed. There is no other image."
    with pytest.raises(ValueError, match="there is no image"):
        widget.form.request()
    following = viewer.add_image(pixels[1], name="next")
    assert widget.form.image.value == following


def test_a_mask_stays_chosen_when_it_is_renamed_and_its_removal_is_said(viewer, qtbot, two) -> None:
    masks = []
    for number, name in enumerate(("dust", "scratches")):
        marks = np.zeros((SIDE, SIDE), int)
        marks[5 + number, 5:9] = 1
        masks.append(viewer.add_labels(marks, name=name))
    dust, scratches = masks
    widget = open_widget(viewer)
    assert widget.form.mask.value is None  # a selected layer of labels need not be a mask
    choose(qtbot, widget.form.mask, "scratches")
    scratches.name = "broken"
    viewer.layers.move(viewer.layers.index(scratches), 0)
    assert widget.form.mask.value == scratches
    assert texts(widget.form.mask) == ["-----", "broken", "dust"]
    np.testing.assert_array_equal(widget.form.request().source.mask, scratches.data > 0)
    viewer.layers.remove(scratches)
    assert widget.form.mask.value is None
    assert shown(widget.form.mask) == "-----"
    assert widget.form.mask_note.value == "“broken” was removed. Now no pixels are marked as missing."
    assert widget.form.request().source.mask is None
    choose(qtbot, widget.form.mask, "dust")
    assert widget.form.mask_note.native.isHidden()
    assert widget.form.mask.value == dust


def test_the_wheel_scrolls_the_form_and_changes_nothing(make_napari_viewer, qtbot, pixels) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(pixels[0], name="control")
    treated = viewer.add_image(pixels[1], name="treated")
    widget = open_widget(viewer)
    before = widget.form.settings()
    fields = [widget.form.image, widget.form.task, widget.form.quality, widget.form.factor, *widget.form.advanced]
    for field in fields:
        native = field.native
        middle = QPointF(native.width() / 2, native.height() / 2)
        for turn in (120, -120):
            QApplication.sendEvent(native, QWheelEvent(
                middle, QPointF(native.mapToGlobal(middle.toPoint())), QPoint(), QPoint(0, turn),
                Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
            ))  # fmt: skip
            assert widget.form.image.value == treated
            assert (widget.form.task.value, widget.form.quality.value) == ("denoise", "default")
            assert (widget.form.factor.value, widget.form.settings()) == (2, before)


def test_the_shapes_that_mark_what_is_missing_are_no_region(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    image = viewer.add_image(np.random.default_rng(0).normal(10, 1, (48, 40)).astype("float32"), name="cells")
    corners = np.array([(4, 4), (4, 25), (25, 25), (25, 4)])
    shapes = viewer.add_shapes([corners], shape_type="polygon", name="broken")
    widget = open_widget(viewer)
    viewer.reset_view()
    # all of the image is on view, whatever room the docks take from the canvas; napari 0.9 moved the camera
    getattr(viewer, "scene", viewer).camera.zoom /= 2
    qtbot.wait(100)
    for mask, shape in ((None, (22, 22)), (shapes, image.data.shape)):
        widget.form.mask.value = mask
        viewer.layers.selection.active = shapes
        widget.start_on_region()
        finish(widget, qtbot)
        assert viewer.layers[-1].data.shape == shape
