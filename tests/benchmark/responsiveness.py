"""How long a user of the window waits: for the package, the widget, the first preview, and for the window to answer.

    xvfb-run -a -s "-screen 0 1400x1000x24" python tests/benchmark/responsiveness.py [--size 256]

A timer in the window's own thread rings every 5 ms; the longest time between two rings is how long the window was held.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable

_IMPORTS = {
    "import napari_dip": "import napari_dip",
    "python alone": "pass",
}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=20, help="how long to watch the run")
    arguments = parser.parse_args()
    took = {name: min(seconds_of(code) for _ in range(5)) for name, code in _IMPORTS.items()}
    print(f"import napari_dip: {took['import napari_dip'] - took['python alone']:.2f} s")
    watch_window(arguments.size, arguments.seconds)


def seconds_of(code: str) -> float:
    """Return how long a fresh interpreter takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def live(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the window live for a while, or until something has happened."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop, end = QEventLoop(), time.perf_counter() + seconds
    poll = QTimer()
    poll.setInterval(5)
    poll.timeout.connect(lambda: loop.quit() if until() or time.perf_counter() > end else None)
    poll.start()
    loop.exec()


def watch_window(size: int, seconds: float) -> None:
    """Open napari and the widget, restore, stop; print waits and the longest holds."""
    import napari
    import numpy as np
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication
    from skimage import data

    viewer = napari.Viewer()
    viewer.window.resize(1380, 960)
    rings: list[float] = []

    truth = data.camera()[:size, :size].astype(float)
    viewer.add_image(np.clip(truth + np.random.default_rng(0).normal(0, 25, truth.shape), 0, 255), name="noisy")
    live(2)
    start = time.perf_counter()
    _, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
    QApplication.processEvents()
    print(f"the widget opens in {time.perf_counter() - start:.2f} s")
    live(20, lambda: "Checking" not in widget.controls.device_line.value)
    print(f"the device is known after {time.perf_counter() - start:.2f} s: {widget.controls.device_line.value}")
    live(1)

    timer = QTimer()
    timer.setInterval(5)
    timer.timeout.connect(lambda: rings.append(time.perf_counter()))
    timer.start()
    live(3)
    report("the window at rest", rings)
    rings.clear()
    start = time.perf_counter()
    widget.controls.restore_button.native.click()
    live(60, lambda: "preview" in str([layer.name for layer in viewer.layers]))
    print(f"the first preview comes {time.perf_counter() - start:.2f} s after Restore")
    report("until then the window", rings)
    rings.clear()
    live(seconds, lambda: not widget.running)
    report("while it runs the window", rings)
    rings.clear()
    stopped = time.perf_counter()
    widget.stop_and_keep()
    live(60, lambda: not widget.running)
    print(f"stop and keep takes {time.perf_counter() - stopped:.2f} s: {widget.controls.status.value}")
    report("while it stops the window", rings)
    viewer.close()


def report(what: str, rings: list[float]) -> None:
    """Print the longest waits between rings."""
    gaps = sorted((later - earlier for earlier, later in itertools.pairwise(rings)), reverse=True)
    if gaps:
        worst = ", ".join(f"{1000 * gap:.0f}" for gap in gaps[:5])
        held = sum(gap > 0.05 for gap in gaps)
        print(f"{what} was held for at most {worst} ms; {held} of {len(gaps)} times longer than 50 ms")


if __name__ == "__main__":
    main()
