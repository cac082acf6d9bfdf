"""What a user does with a Restore form, and what it leaves behind."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt, QThreadPool

from napari_dip.plugin.restore_widget import RestoreWidget


def open_widget(viewer, layer=None, planes: str | None = None) -> RestoreWidget:
    """Open the Restore form, and choose a layer and which planes of it."""
    _, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
    if layer is not None:
        widget.form.image.value = layer
    if planes is not None:
        widget.form.stack.planes.value = planes
    return widget


def press(qtbot, button) -> None:
    qtbot.mouseClick(getattr(button, "native", button), Qt.MouseButton.LeftButton)


def finish(widget, qtbot) -> None:
    qtbot.waitUntil(lambda: not widget.running, timeout=240_000)


def run(widget, qtbot) -> None:
    """Press Restore, and wait for the end of the run."""
    press(qtbot, widget.controls.restore_button)
    assert widget.running, widget.controls.status.value
    finish(widget, qtbot)


def stop(widget, qtbot) -> None:
    """Press Stop and keep, and wait for the end of the run."""
    press(qtbot, widget.controls.stop_button)
    finish(widget, qtbot)


def wait_for_workers(qtbot) -> None:
    """Wait until nothing is done beside the window."""
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=60_000)


def names(viewer) -> list[str]:
    return [layer.name for layer in viewer.layers]


def texts(choice) -> list[str]:
    """What a combo box offers."""
    return [choice.native.itemText(number) for number in range(choice.native.count())]


def assert_lies_over(layer, image, first=None) -> None:
    """Assert that a layer's first and last pixels lie where an image has them, from its first pixel on, or another."""
    last = np.array(layer.data.shape[: layer.ndim]) - 1
    first = np.zeros(layer.ndim) if first is None else np.array(first)
    for pixel in (np.zeros(layer.ndim), last):
        np.testing.assert_allclose(layer.data_to_world(pixel), image.data_to_world(first + pixel), atol=1e-9)
    assert layer.units == image.units
