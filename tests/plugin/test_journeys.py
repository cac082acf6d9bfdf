"""Ten jobs as a user does them: in a real window, with clicks and keys, each with a screenshot, none with a warning.

JOURNEY_SCREENSHOTS=folder keeps the screenshots.
"""

import itertools

import numpy as np
import pytest
from gestures import wait_for_workers
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QPushButton
from skimage.draw import line

import napari_dip
from napari_dip.samples import moving_cells, noisy_fluorescence, noisy_photograph, small_photograph

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings(
        "error",
        "ignore::pydantic.warnings.PydanticDeprecatedSince20",  # napari and npe2 use pydantic so; we do not use it
    ),
]

SIDE = 96
ENDLESS = 100_000  # steps, of a run that is stopped by hand


def test_denoise(hands) -> None:
    noisy = noisy_fluorescence(side=SIDE).degraded
    image = hands.viewer.add_image(noisy, name="cells", scale=(0.1, 0.1), units=("um", "um"))
    hands.viewer.reset_view()
    hands.choose(hands.form.task, "Remove noise")
    hands.choose(hands.form.quality, "Fast")
    hands.tick(hands.form.extra_outputs["residual"])
    hands.make_network_small(steps=120)
    hands.press(hands.widget.controls.restore_button)
    hands.finish()
    hands.look("denoise")

    assert hands.names() == ["cells", "cells residual", "cells restored"]
    restored = hands.viewer.layers["cells restored"]
    np.testing.assert_allclose(restored.scale, image.scale)
    np.testing.assert_array_equal(image.data, noisy)
    assert restored.data.std() < noisy.std()
    assert hands.widget.controls.status.value.startswith("Finished")


def test_inpaint_from_painted_labels(hands, qtbot) -> None:
    scratched = noisy_photograph(side=SIDE).truth.copy()
    scratches = [[(20, 10), (20, 80)], [(50, 20), (80, 60), (80, 80)]]  # row, column
    for scratch in scratches:
        for start, end in itertools.pairwise(scratch):
            rows, columns = line(*start, *end)
            for shift in (-1, 0, 1):
                scratched[rows + shift, columns] = 255
    hands.viewer.add_image(scratched, name="photograph")
    hands.viewer.reset_view()
    window = hands.viewer.window._qt_viewer
    hands.press(window.layerButtons.newLabelsButton)
    labels = hands.viewer.layers[-1]
    hands.press(window.controls.widgets[labels].paint_button)
    qtbot.wait(300)
    for scratch in scratches:
        hands.stroke(scratch)
    painted = np.asarray(labels.data) > 0
    assert painted[20, 15:75].all()
    assert painted[line(50, 20, 80, 60)].all()
    hands.choose(hands.form.image, "photograph")
    hands.choose_by_keys(hands.form.task, "Fill in missing pixels")
    hands.choose(hands.form.mask, labels.name)
    hands.make_network_small(steps=120)
    hands.look("inpaint_painted")
    hands.press(hands.widget.controls.restore_button)
    hands.finish()
    labels.visible = False
    hands.look("inpaint")

    restored = hands.viewer.layers["photograph restored"].data
    np.testing.assert_array_equal(restored[~painted], scratched[~painted])
    assert not np.array_equal(restored[painted], scratched[painted])


def test_enhance(hands) -> None:
    truth = noisy_photograph(side=SIDE).truth
    hands.viewer.add_image(truth, name="photograph")
    hands.viewer.reset_view()
    hands.choose(hands.form.task, "Enhance detail")
    hands.type_into(hands.form.detail_amount, "1.5")
    hands.make_network_small(steps=120)
    hands.press(hands.widget.controls.restore_button)
    hands.finish()
    hands.look("enhance")

    assert hands.names() == ["photograph", "photograph smoothed", "photograph detail-enhanced"]
    enhanced, smoothed = (hands.viewer.layers[name].data for name in hands.names()[:0:-1])
    np.testing.assert_allclose(enhanced, truth + 1.5 * (truth - smoothed), atol=0.02)


def test_enlarge(hands) -> None:
    small = small_photograph(side=48).degraded
    hands.viewer.add_image(small, name="small")
    hands.viewer.reset_view()
    hands.choose_by_keys(hands.form.task, "Enlarge")
    hands.type_into(hands.form.factor, "3")
    hands.make_network_small(steps=120)
    hands.press(hands.widget.controls.restore_button)
    hands.finish()
    hands.look("enlarge")

    large = hands.viewer.layers["small restored"]
    assert large.data.shape == (144, 144)
    for end, outwards in ((0, -0.5), (1, 0.5)):  # from the centres of pixels to their edges
        edges = [layer.extent.world[end] + outwards * layer.scale for layer in hands.viewer.layers]
        np.testing.assert_allclose(edges[0], edges[1])


def test_preview_region_then_whole(hands, qtbot) -> None:
    noisy = noisy_fluorescence(side=SIDE).degraded
    hands.viewer.add_image(noisy, name="cells")
    hands.viewer.reset_view()
    hands.camera.zoom *= 2
    qtbot.wait(300)
    hands.choose(hands.form.quality, "Fast")
    hands.make_network_small(steps=120)
    hands.press(hands.widget.controls.region_button)
    hands.finish()
    hands.look("region")
    region = hands.viewer.layers["cells region restored"]
    assert max(region.data.shape) < SIDE
    hands.choose(hands.form.image, "cells")
    hands.press(hands.widget.controls.restore_button)
    hands.finish()
    hands.viewer.reset_view()
    hands.look("region_then_whole")

    assert hands.names() == ["cells", "cells region restored", "cells restored"]
    assert hands.viewer.layers["cells restored"].data.shape == noisy.shape


def test_stop_and_keep_then_use_another_moment(hands, qtbot) -> None:
    noisy = noisy_photograph(side=SIDE).degraded
    hands.viewer.add_image(noisy, name="photograph")
    hands.viewer.reset_view()
    hands.make_network_small(steps=ENDLESS)
    hands.widget.form.advanced["stopping"].value = "fixed"  # it would stop by itself before anyone could
    hands.press(hands.widget.controls.restore_button)
    hands.wait_until(lambda: len(hands.widget.band_plot.steps) > 5)
    hands.look("stop_running")
    hands.press(hands.widget.controls.stop_button)
    hands.finish()
    kept = hands.viewer.layers["photograph restored"]
    scrubber = hands.widget.band_plot.scrubber
    hands.wait_until(scrubber.isVisible)
    scrubber.slider.setFocus()
    away = Qt.Key.Key_Left if scrubber.slider.value() > 0 else Qt.Key.Key_Right
    qtbot.keyClick(scrubber.slider, away)
    hands.wait_until(scrubber.use_button.isEnabled)
    hands.look("stop_scrubbed")
    hands.press(scrubber.use_button)
    hands.look("stop_used")

    used = hands.viewer.layers[-1]
    assert hands.names() == ["photograph", "photograph restored", used.name]
    assert used.name == f"photograph restored, step {used.metadata['napari-dip']['step']}"
    assert kept.metadata["napari-dip"]["stop_reason"] == napari_dip.StopReason.USER.value
    assert used.metadata["napari-dip"]["stop_reason"] == napari_dip.StopReason.CHOSEN.value
    assert used.metadata["napari-dip"]["step"] != kept.metadata["napari-dip"]["step"]


def test_a_film_then_the_rest_of_it(hands, qtbot) -> None:
    film = moving_cells(frames=4, side=64).degraded
    hands.viewer.add_image(film, name="film", axis_labels=("t", "y", "x"))
    hands.viewer.reset_view()
    hands.choose(hands.form.stack.planes, "All planes")
    hands.choose(hands.form.quality, "Fast")
    hands.make_network_small(steps=400)
    hands.press(hands.widget.controls.restore_button)
    hands.viewer.dims.set_current_step(0, 1)
    hands.wait_until(lambda: "; 1 of 4 planes" in hands.widget.controls.status.value)
    hands.look("film_running")
    hands.press(hands.widget.controls.stop_button)
    hands.finish()
    hands.look("film_stopped")
    (layer,) = [each for each in hands.viewer.layers if each.name == "film restored"]
    done = np.isfinite(layer.data).all(axis=(1, 2))
    assert 1 <= done.sum() < 4
    assert done.tolist() == sorted(done, reverse=True)
    hands.press(hands.widget.controls.restore_button)
    hands.finish()
    hands.look("film_done")
    assert np.isfinite(layer.data).all()
    assert hands.viewer.dims.current_step[0] == 1
    assert hands.widget.controls.status.value.startswith("Finished: 4 planes")


def test_close_in_mid_run(hands, qtbot) -> None:
    hands.viewer.add_image(noisy_fluorescence(side=SIDE).degraded, name="cells")
    hands.viewer.reset_view()
    hands.make_network_small(steps=ENDLESS)
    hands.widget.form.advanced["stopping"].value = "fixed"
    hands.press(hands.widget.controls.restore_button)
    hands.wait_until(lambda: "cells preview" in hands.viewer.layers)
    hands.look("close_running")
    (close_button,) = (
        button for button in hands.dock.titleBarWidget().findChildren(QPushButton) if "close" in button.toolTip()
    )
    hands.press(close_button)
    wait_for_workers(qtbot)
    hands.wait_until(lambda: hands.names() == ["cells", "cells restored"])
    qtbot.wait(300)
    hands.look("close_closed")


def test_the_first_minute(hands, qtbot) -> None:
    """Nothing is open yet; then a sample is, and Restore is all that is pressed."""
    controls = hands.widget.controls
    assert not controls.restore_button.enabled
    hands.look("first_empty")
    hands.press(controls.help_button)
    (page,) = hands.widget.native.findChildren(QDialog)
    assert page.isVisible()
    page.close()
    hands.viewer.open_sample("napari-dip", "noisy_fluorescence")
    noisy = next(layer for layer in hands.viewer.layers if "truth" not in layer.name)
    hands.viewer.layers.selection.active = noisy
    hands.make_network_small(steps=60)
    controls.restore_button.native.setFocus()
    qtbot.keyClick(controls.restore_button.native, Qt.Key.Key_Space)
    hands.finish()
    hands.look("first_done")
    assert controls.status.value.startswith("Finished")
    assert hands.viewer.layers[-1].name == f"{noisy.name} restored"


def test_look_at_a_result_in_a_small_window(hands, qtbot) -> None:
    hands.viewer.window.resize(1000, 700)
    hands.viewer.add_image(noisy_fluorescence(side=SIDE).degraded, name="cells")
    hands.viewer.reset_view()
    hands.make_network_small(steps=60)
    hands.press(hands.widget.controls.restore_button)
    hands.finish()
    qtbot.wait(300)
    window = hands.viewer.window._qt_window
    assert (window.width(), window.height()) == (1000, 700)
    tools = hands.widget.result_tools
    assert not tools.curves_button.native.isChecked()  # they would leave too little of the image
    hands.look("small_done")
    hands.press(tools.compare_button)
    hands.look("small_before")
    hands.wait_until(lambda: hands.viewer.layers["cells restored"].visible)
    hands.look("small_after")
    hands.press(tools.compare_button)
    hands.press(tools.residual_button)
    hands.wait_until(lambda: "cells residual" in hands.viewer.layers and tools.residual_button.enabled)
    hands.look("small_residual")
    hands.press(tools.residual_button)
    assert not hands.viewer.layers["cells residual"].visible
    hands.press(tools.details_button)
    hands.look("small_details")
    assert hands.widget.controls.details.value.startswith("Chosen: step ")
    hands.press(tools.curves_button)
    hands.look("small_curves")
    assert hands.widget.band_plot.isVisible()
    assert window.height() == 700
