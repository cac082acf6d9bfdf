"""Make the pictures of docs/ from the real window, so that they stay true.

xvfb-run -a -s "-screen 0 1400x1000x24" python tests/benchmark/screenshots.py [FOLDER] [--only denoise enlarge]
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import napari
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

WIDTH, COLOURS = 1000, 256  # of a picture: readable on a page, and small in a repository
MOST_BYTES = 250_000


class Window:
    """A viewer with the Restore form, and what a user does with it."""

    def __init__(self, steps: int | None = None) -> None:
        self._steps = steps
        self.viewer = napari.Viewer()
        self.viewer.window.resize(1240, 900)
        _, self.widget = self.viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
        self.form = self.widget.form
        self.wait(until=lambda: self.widget.band_plot is not None)
        self.widget._plot_dock.show()

    def wait(self, seconds: float = 0.5, until: Callable[[], bool] | None = None) -> None:
        """Let the window live for a while, or until something has happened."""
        end = time.perf_counter() + (600 if until else seconds)
        while time.perf_counter() < end and not (until and until()):
            QApplication.processEvents()
            time.sleep(0.01)

    def open(self, sample: str, name: str) -> None:
        """Open a sample of the plugin, leave its truth out, and choose its image."""
        self.viewer.layers.clear()
        self.viewer.open_sample("napari-dip", sample)
        for layer in list(self.viewer.layers):
            if "truth" in layer.name:
                self.viewer.layers.remove(layer)
        self.form.image.value = self.viewer.layers[name]

    def press(self, button: QWidget) -> None:
        """Click on it."""
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def restore(self) -> None:
        """Press Restore and wait for the result."""
        if self._steps is not None:
            self.form.advanced["step_limit"].value = self._steps
        self.press(self.widget.controls.restore_button.native)
        self.wait()
        self.wait(until=lambda: not self.widget.running)

    def show_beside(self) -> None:
        """Show the layers side by side, the first on the left."""
        grid = self.grid
        grid.enabled, grid.stride, grid.shape = True, 1, (1, sum(layer.visible for layer in self.viewer.layers))
        self.viewer.reset_view()

    def look(self, path: Path) -> None:
        """Save what the window shows, in few colours."""
        self.viewer.status = "Ready"  # as after the mouse has moved: napari goes on naming a layer that is gone
        self.wait(1)
        picture = Image.fromarray(self.viewer.screenshot(canvas_only=False)).convert("RGB")
        small = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
        for colours in (COLOURS, COLOURS // 2, COLOURS // 4):
            written = io.BytesIO()
            # of the widest cover, so that thin curves keep their colours beside the many greys; then each in its middle
            small.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1).save(written, "PNG", optimize=True)
            if written.tell() <= MOST_BYTES:
                break
        path.write_bytes(written.getvalue())
        print(path, written.tell() // 1000, "kB;", self.widget.controls.status.value, flush=True)
        self.grid.enabled = False

    @property
    def grid(self):
        """Of the canvas; napari 0.9 moved it."""
        return getattr(self.viewer, "canvas", self.viewer).grid


def denoise(window: Window, folder: Path) -> None:
    """Noise removed; and another moment of the same run."""
    window.open("noisy_fluorescence", "fluorescence noisy")
    window.form.task.value = "denoise"
    window.restore()
    window.show_beside()
    window.look(folder / "denoise.png")
    scrubber = window.widget.band_plot.scrubber
    slider = scrubber.slider
    slider.setFocus()
    key = Qt.Key.Key_Left if slider.value() > 0 else Qt.Key.Key_Right
    QTest.keyClick(slider, key)
    window.wait(until=scrubber.use_button.isEnabled)
    window.viewer.reset_view()
    window.look(folder / "moments.png")


def inpaint(window: Window, folder: Path) -> None:
    """Scratches marked in a Labels layer, and filled in."""
    window.open("scratched_photograph", "photograph scratched")
    window.form.task.value, window.form.mask.value = "inpaint", window.viewer.layers["scratches"]
    window.viewer.reset_view()
    window.look(folder / "inpaint_marked.png")
    window.restore()
    window.viewer.layers["scratches"].visible = False
    window.viewer.reset_view()
    window.look(folder / "inpaint.png")
    window.form.mask.value = None


def jpeg(window: Window, folder: Path) -> None:
    """The blocks of a poor JPEG taken away."""
    window.open("jpeg_photograph", "JPEG")
    window.form.task.value = "deblock"
    window.restore()
    window.show_beside()
    window.look(folder / "jpeg.png")


def enlarge(window: Window, folder: Path) -> None:
    """A small image four times larger."""
    window.open("small_photograph", "small")
    window.form.task.value, window.form.factor.value = "super_resolve", 4
    window.restore()
    window.show_beside()
    window.look(folder / "enlarge.png")


def enhance(window: Window, folder: Path) -> None:
    """Details made stronger: the truth of the fluorescence sample, which has no noise."""
    window.viewer.layers.clear()
    window.viewer.open_sample("napari-dip", "noisy_fluorescence")
    window.viewer.layers.remove("fluorescence noisy")
    image = window.viewer.layers["fluorescence truth"]
    image.visible, window.form.image.value = True, image
    window.form.task.value = "enhance"
    window.restore()
    window.viewer.layers.remove("fluorescence truth smoothed")
    window.show_beside()
    window.look(folder / "enhance.png")


def stack(window: Window, folder: Path) -> None:
    """A z-stack that fills in plane by plane, in mid-run, with the curves of the plane in work."""
    window.open("nuclei_stack", "nuclei noisy")
    window.form.task.value, window.form.stack.planes.value = "denoise", "all"
    window.viewer.dims.set_current_step(0, 4)
    window.press(window.widget.controls.restore_button.native)
    status = window.widget.controls.status
    window.wait(until=lambda: status.value.startswith("Restoring z 5; 5 of"))
    window.wait(until=lambda: 30 <= max(window.widget.band_plot.steps, default=0) <= 50)  # before its network stops
    window.viewer.layers["nuclei noisy preview"].visible = False
    window.show_beside()
    window.look(folder / "stack.png")
    window.widget.stop_and_keep()
    window.wait(until=lambda: not window.widget.running)


PICTURES = {each.__name__: each for each in (denoise, inpaint, jpeg, enlarge, enhance, stack)}


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/images"))
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=list(PICTURES))
    parser.add_argument("--steps", type=int, help="at most, on a slow machine; the pictures then say so")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        window = Window(arguments.steps)  # nothing is left from the task before
        PICTURES[name](window, arguments.folder)
        window.viewer.close()


if __name__ == "__main__":
    main()
