"""Missing pixels found by cause with real clicks, and masks that lie elsewhere than the image."""

import numpy as np
import pytest
from gestures import open_widget, press
from napari.layers import Image, Labels, Shapes

from napari_dip.plugin.form.mask_finder import KINDS, describe_share
from napari_dip.plugin.layers.source import read_source

PLACEMENT = {
    "scale": (0.5, 0.25), "translate": (3, 4), "rotate": 10, "units": ("um", "um"),
    "affine": [[1, 0.1, 0], [0, 1, 2], [0, 0, 1]],
}  # fmt: skip


@pytest.fixture
def broken(camera) -> np.ndarray:
    """One defect of each kind that the finder knows."""
    image = camera.astype(np.float32)
    image[5:8, 5:8], image[20], image[30, 30], image[40, 3:6] = 1000, 777, 5000, np.nan
    image[44, 10:12] = 0
    return image


def test_causes_are_marked_one_after_the_other_over_the_image(viewer, broken, qtbot) -> None:
    image = viewer.add_image(broken, name="cells", **PLACEMENT)
    widget = open_widget(viewer)
    finder = widget.form.mask_finder
    press(qtbot, finder.fold_button)
    expected = np.zeros(broken.shape, int)
    for name, where in (("lines", np.s_[20]), ("hot", np.s_[30, 30]), ("not finite", np.s_[40, 3:6])):
        finder.kind.value = name
        press(qtbot, finder.find_button)
        expected[where] = KINDS[name].mark
    (layer,) = (each for each in viewer.layers if isinstance(each, Labels))
    np.testing.assert_array_equal(layer.data, expected)
    for corner in ((0, 0), (47, 39)):
        np.testing.assert_allclose(layer.data_to_world(corner), image.data_to_world(corner))
    assert layer.units == image.units
    assert widget.form.mask.value is layer
    assert f"{np.count_nonzero(expected)} pixels" in finder.message.value
    layer.undo()
    assert not (layer.data == KINDS["not finite"].mark).any()
    np.testing.assert_array_equal(widget.form.request().source.mask, layer.data > 0)


def test_a_threshold_is_asked_for_only_where_it_is_used(viewer, broken, qtbot) -> None:
    viewer.add_image(broken, name="cells")
    widget = open_widget(viewer)
    widget.native.window().show()
    finder = widget.form.mask_finder
    assert not finder.find_button.visible
    press(qtbot, finder.fold_button)
    assert not finder.threshold.visible
    finder.kind.value, finder.threshold.value = "above", 900
    assert finder.threshold.visible
    press(qtbot, finder.find_button)
    np.testing.assert_array_equal(viewer.layers["cells missing"].data > 0, broken > 900)
    for entered, suggested in ((900, 900), (finder._suggested, 0.5)):  # what the user entered stays
        finder.threshold.value = entered
        widget.form.image.value = viewer.add_image(broken, contrast_limits=(0, 0.5))
        assert finder.threshold.value == suggested


def test_nothing_found_makes_no_layer_and_says_so(viewer, camera, qtbot) -> None:
    widget = open_widget(viewer)
    finder = widget.form.mask_finder
    press(qtbot, finder.fold_button)
    press(qtbot, finder.find_button)
    assert "no image" in finder.message.value
    viewer.add_image(np.clip(camera, 1, 254))
    finder.kind.value = "zero"
    press(qtbot, finder.find_button)
    assert finder.message.value == "No pixels found for “Zero”."
    assert len(viewer.layers) == 1


def test_another_image_or_a_removed_layer_begins_anew(viewer, broken, qtbot) -> None:
    viewer.add_image(broken, name="one")
    viewer.add_image(broken, name="other")
    _, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Find missing pixels")
    widget.finder.kind.value = "lines"
    for image in ("one", "other"):
        widget.image.value = viewer.layers[image]
        press(qtbot, widget.finder.find_button)
    assert {"one missing", "other missing"} <= {layer.name for layer in viewer.layers}
    viewer.layers.remove("other missing")
    press(qtbot, widget.finder.find_button)
    assert "other missing" in viewer.layers


@pytest.mark.parametrize(
    ("count", "size", "words"),
    [(1, 100, "1 pixel (1.0%) is"), (5, 10_000, "5 pixels (less than 0.1%) are"), (50, 100, "50 pixels (50%) are")],
)
def test_shares_in_words(count, size, words) -> None:
    assert describe_share(count, size) == words


def test_a_mask_in_other_units_marks_the_same_place(camera) -> None:
    image = Image(camera, scale=(0.5, 0.5), units=("um", "um"))
    marks = np.zeros((24, 20), int)
    marks[4:6, 7] = 1  # pixels twice as large, in nanometres
    labels = Labels(marks, scale=(1000, 1000), translate=(250, 250), units=("nm", "nm"))
    expected = np.zeros(camera.shape, bool)
    expected[8:12, 14:16] = True
    np.testing.assert_array_equal(read_source(image, labels).mask, expected)


def test_shapes_mark_what_they_cover_whatever_the_geometry(camera) -> None:
    image = Image(camera, **PLACEMENT)
    corners = np.array([image.data_to_world(each) for each in ((9.6, 4.6), (9.6, 12.4), (20.4, 12.4), (20.4, 4.6))])
    shapes = Shapes([corners], shape_type="polygon", units=("um", "um"))
    expected = np.zeros(camera.shape, bool)
    expected[10:21, 5:13] = True
    np.testing.assert_array_equal(read_source(image, shapes).mask, expected)


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (Shapes(), "has no shapes"),
        (Shapes([[(900, 900), (900, 950), (950, 950)]], shape_type="polygon"), "no shape of the mask"),
        (Labels(np.ones((8, 8), int), translate=(900, 0)), "beside the image"),
        (Labels(np.zeros((48, 40), int)), "paint over"),
        (Labels(np.ones((2, 48, 40), int)), "on the pixel grid of"),
        (Labels(np.ones((48, 40), int), units=("s", "s")), "cannot be converted"),
    ],
)
def test_masks_that_cannot_be_used_are_named(camera, mask, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_source(Image(camera, units=("um", "um")), mask)
