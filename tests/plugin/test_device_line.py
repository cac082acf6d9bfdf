"""The form's device line: which device computes, and what became of one that is wrong."""

import numpy as np
import pretend_device
import pytest
from gestures import finish, open_widget

from napari_dip.device_check import forget_verdicts

pytestmark = pytest.mark.skipif(not pretend_device.is_available(), reason="this torch takes no device in Python")

SMALL = {"width": 8, "levels": 2, "step_limit": 20, "partner": False, "precision": "float32"}


@pytest.fixture(autouse=True)
def wrong_device():
    """torch offers a device whose padding is wrong, and nobody has checked it."""
    forget_verdicts()
    with pretend_device.offer(), pretend_device.make_wrong("aten::reflection_pad2d"):
        yield
    forget_verdicts()


def line_of(widget) -> str:
    return widget.controls.device_line.value


def test_auto_says_why_the_cpu_is_used_and_so_does_the_result(
    quiet, make_napari_viewer, qtbot, camera, screenshots
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1380, 960)
    viewer.add_image(camera, name="cells")
    widget = open_widget(viewer)
    qtbot.waitUntil(lambda: "Checking" not in line_of(widget), timeout=120_000)
    assert line_of(widget).startswith("CPU (")
    for message in (line_of(widget), widget.controls.device_line.tooltip):
        assert "Accelerator (pretend) does not compute what the CPU does" in message
    assert "The CPU is used instead" in widget.controls.device_line.tooltip
    qtbot.waitUntil(lambda: widget.band_plot is not None, timeout=120_000)
    widget.start()
    finish(widget, qtbot)
    record = viewer.layers["cells restored"].metadata["napari-dip"]
    assert record["used"]["device"] == "cpu"
    assert np.isfinite(viewer.layers["cells restored"].data).all()
    for message in (record["device"], record["note"], widget.controls.status.value):
        assert "The CPU is used instead" in message
    qtbot.wait(300)
    viewer.screenshot(str(screenshots / "auto_device_failed.png"), canvas_only=False)


def test_a_device_that_was_named_is_refused(make_napari_viewer, qtbot, camera, screenshots, errors) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1380, 960)
    viewer.add_image(camera, name="cells")
    widget = open_widget(viewer)
    widget.form.advanced["device"].value = pretend_device.NAME
    qtbot.waitUntil(lambda: "is refused" in line_of(widget), timeout=120_000)
    qtbot.waitUntil(lambda: widget.band_plot is not None, timeout=120_000)
    widget.start()
    finish(widget, qtbot)
    assert [layer.name for layer in viewer.layers] == ["cells"]
    (sentence,) = errors
    assert sentence.startswith('Device "pretend" is refused: ')
    assert widget.controls.status.value == sentence
    qtbot.wait(300)
    viewer.screenshot(str(screenshots / "named_device_refused.png"), canvas_only=False)
