"""How long a user of the window waits with a large image: for the first report, and for Stop; and how long it is held.

    xvfb-run -a -s "-screen 0 1400x1000x24" python tests/benchmark/large_window.py [--only numpy] [--stops 5]

2048 x 2048 pixels in numpy, 8000 x 8000 in dask (its chunks take a while to compute, as those of a file do). A timer in
the window's own thread rings every 5 ms; the longest time between two rings is how long the window was held. What
napari itself takes to add a layer or to take new data, and to draw it for the first time, is measured apart.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
import psutil
from qtpy.QtCore import QTimer
from responsiveness import live
from skimage import data

WAITS = (0.05, 0.5, 2.0, 6.0, 15.0, 40.0, 90.0)  # seconds from Restore to Stop, at least; a random half more


class Window:
    """A viewer with the Restore form, and a watch on its thread."""

    def __init__(self) -> None:
        self.viewer = napari.Viewer()
        self.viewer.window.resize(1380, 960)
        _, self.widget = self.viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
        self.rings: list[tuple[float, float]] = []  # the time, and the processor time of the window's thread
        self.added: list[tuple[float, float]] = []  # when napari began to add, take or first draw data, and the end
        self._to_draw = False  # whether there are data that it has not drawn yet
        self._watch_napari()
        self._timer = QTimer()
        self._timer.setInterval(5)
        self._timer.timeout.connect(lambda: self.rings.append((time.perf_counter(), time.thread_time())))
        live(60, lambda: self.widget.band_plot is not None)
        live(1)
        self._timer.start()

    def longest_hold(self) -> tuple[float, float, float]:
        """Return the longest holds since the last call in ms.

        Without what napari does itself, and with it; and the processor time of the first, napari's own included.
        """
        worst = worst_of_all = busy = 0.0
        for (before, used_before), (after, used_after) in itertools.pairwise(self.rings):
            worst_of_all = max(worst_of_all, after - before)
            napari_took = sum(max(0.0, min(end, after) - max(start, before)) for start, end in self.added)
            if after - before - napari_took > worst:
                worst, busy = after - before - napari_took, used_after - used_before
        self.rings.clear()
        self.added.clear()
        return 1000 * worst, 1000 * worst_of_all, 1000 * busy

    def _watch_napari(self) -> None:
        """Note when napari adds a layer, takes new data, or draws them for the first time."""
        insert, change = napari.components.LayerList.insert, napari.layers.Image.data.fset
        canvas = self.viewer.window._qt_viewer.canvas._scene_canvas
        draw = canvas.on_draw

        def note(work: Callable[..., object], drawing: bool) -> Callable[..., object]:
            def noted(*arguments, **named):
                start = time.perf_counter()
                result = work(*arguments, **named)
                if self._to_draw or not drawing:
                    self.added.append((start, time.perf_counter()))
                self._to_draw = not drawing
                return result

            return noted

        napari.components.LayerList.insert = note(insert, False)
        napari.layers.Image.data = napari.layers.Image.data.setter(note(change, False))
        canvas.events.draw.disconnect(draw)
        canvas.events.draw.connect(note(draw, True))


def make_image(side: int) -> np.ndarray:
    """Return a large noisy photograph, uint16."""
    photograph = data.camera().astype(np.float32)
    random_numbers = np.random.default_rng(0)
    image = np.empty((side, side), np.uint16)
    for row in range(0, side, 512):
        part = np.tile(photograph, (1, -(-side // 512)))[: side - row, :side]
        image[row : row + 512] = np.clip(100 + 10 * (part + random_numbers.normal(0, 15, part.shape)), 0, 65535)
    return image


def make_dask(side: int):
    """Return the same as a dask array whose chunks take 0.1 s each."""
    import dask.array

    image = make_image(side)

    def read(block: np.ndarray) -> np.ndarray:
        time.sleep(0.1)
        return block.copy()

    return dask.array.from_array(image, chunks=1000).map_blocks(read, dtype=image.dtype)


def measure(name: str, pixels: object, stops: int, steps: int | None, screenshots: Path | None) -> None:
    """Print the figures of one image."""
    window = Window()
    viewer, widget, controls = window.viewer, window.widget, window.widget.controls
    layer = viewer.add_image(pixels, name=name, contrast_limits=(0, 3000))
    live(5)
    widget.form.image.value = layer
    if steps is not None:
        widget.form.advanced["step_limit"].value = steps
    live(3)
    print(f"{name}: at rest the window is held for at most {window.longest_hold()[0]:.0f} ms")
    for number, least in enumerate(WAITS[:stops]):
        pressed = time.perf_counter()
        controls.restore_button.native.click()
        live(60, lambda: widget.running and not controls.status.value.startswith("Starting"))
        first, words = time.perf_counter() - pressed, controls.status.value
        live(least * random.uniform(1, 1.5) - first)
        doing = controls.status.value
        held, held_in_all, busy = window.longest_hold()
        if screenshots is not None:
            live(0.2)
            viewer.screenshot(str(screenshots / f"{name}_{number}.png"), canvas_only=False)
            window.longest_hold()
        waited, stopped = time.perf_counter() - pressed, time.perf_counter()
        controls.stop_button.native.click()
        live(60, lambda: not widget.running)
        ended = time.perf_counter() - stopped
        live(0.5)
        by_napari = sum(end - start for start, end in window.added)
        held_at_end, held_at_end_in_all, busy_at_end = window.longest_hold()
        print(
            f"{name}: first report {first:.2f} s ({words}); Stop after {waited:.1f} s ({doing}): ended in {ended:.2f} "
            f"s, of which napari {by_napari:.2f}; longest hold {held:.0f} ms ({busy:.0f} of processor time; "
            f"{held_in_all:.0f} with napari's own), at the end {held_at_end:.0f} ({busy_at_end:.0f}; "
            f"{held_at_end_in_all:.0f}). {controls.status.value}",
            flush=True,
        )
        for each in [each for each in viewer.layers if each is not layer and each.name != name]:
            viewer.layers.remove(each)
        live(1)
        window.longest_hold()
    viewer.close()


def main() -> None:
    """Print the figures, and how busy the machine is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("numpy", "dask"))
    parser.add_argument("--stops", type=int, default=len(WAITS), help="how many runs to stop, each later than the last")
    parser.add_argument("--steps", type=int, help="at most, to reach later tiles soon")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of Stop")
    parser.add_argument("--screenshots", type=Path, help="a folder for pictures of the window before each Stop")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    print(f"load {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores")
    for kind, side, make in (("numpy", 2048, make_image), ("dask", 8000, make_dask)):
        if arguments.only in (None, kind):
            measure(f"{kind} {side}²", make(side), arguments.stops, arguments.steps, arguments.screenshots)
    print(f"load {psutil.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
