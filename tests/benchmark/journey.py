"""Drive the main job in a real window and save a screenshot of each step, to be looked at.

xvfb-run -a -s "-screen 0 1400x1000x24" python tests/benchmark/journey.py FOLDER
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication


def wait(seconds: float) -> None:
    """Let the window live."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def main() -> None:
    """Denoise the fluorescence sample to its end; paint a mask, fill it in, stop and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer()
    viewer.window.resize(1380, 960)

    def look(name: str) -> None:
        wait(0.5)
        viewer.screenshot(str(folder / f"{name}.png"), canvas_only=False)
        print(name, [layer.name for layer in viewer.layers], widget.status.value, flush=True)

    def press(button: object) -> None:
        QTest.mouseClick(button.native, Qt.MouseButton.LeftButton)

    viewer.open_sample("napari-dip", "noisy_fluorescence")
    _, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
    widget.form.image.value = viewer.layers["fluorescence noisy"]
    widget._open_plot()
    wait(4)
    viewer.reset_view()
    look("1_denoise_before")
    press(widget.restore_button)
    wait(15)
    look("2_denoise_running")
    while widget.running:
        wait(0.2)
    look("3_denoise_done")
    viewer.layers.clear()

    viewer.open_sample("napari-dip", "scratched_photograph")
    viewer.layers.remove("scratches")
    image = viewer.layers["photograph scratched"]
    labels = viewer.add_labels(np.zeros(image.data.shape, np.uint8), name="painted")
    labels.brush_size = 4
    for row, column in np.argwhere(image.data == 255)[::3]:
        labels.paint((row, column), 1, refresh=False)
    labels.refresh()
    viewer.reset_view()
    widget.form.image.value, widget.form.mask.value, widget.form.task.value = image, labels, "inpaint"
    look("4_inpaint_painted")
    press(widget.restore_button)
    wait(30)
    look("5_inpaint_running")
    press(widget.stop_button)
    while widget.running:
        wait(0.2)
    labels.visible = False
    look("6_inpaint_kept")
    widget.form.mask.value, labels.data = labels, np.zeros_like(labels.data)
    press(widget.restore_button)
    wait(0.5)
    look("7_mistake")
    viewer.close()


if __name__ == "__main__":
    main()
