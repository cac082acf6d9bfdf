"""Closing the window as a user does, in a process of its own: it ends, and says nothing."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys, warnings
import napari
from qtpy.QtCore import QTimer
from skimage import data

viewer = napari.Viewer()
viewer.add_image(data.camera()[80:144, 200:264], name="cells")
_, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
widget.form.advanced["width"].value, widget.form.advanced["levels"].value = "8", "3"
widget.form.advanced["device"].value = "cpu"
if "scrubbing" in sys.argv:
    widget.form.advanced["step_limit"].value = 60

def look():
    if "scrubbing" in sys.argv:
        plot = widget.band_plot
        ready = not widget.running and plot is not None and not plot.scrubber.isHidden()
        if ready and "cells moment" not in viewer.layers:
            slider = plot.scrubber.slider
            slider.setValue(slider.maximum() if slider.value() == 0 else 0)
            return
        ready = ready and "cells moment" in viewer.layers
    else:
        ready = "cells preview" in viewer.layers
    if ready:
        timer.stop()
        widget.native.window().close()

timer = QTimer()
timer.timeout.connect(look)
timer.start(100)
widget.start()
napari.run()
"""


@pytest.mark.full
@pytest.mark.parametrize("when", ["running", "scrubbing"])
def test_closing_the_window_is_quiet(when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, when], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr.replace("DeprecationWarning", "").replace("PydanticDeprecated", "")


AT_ONCE = """
import sys
import napari
from skimage import data

viewer = napari.Viewer(show=False)
viewer.add_image(data.camera()[80:144, 200:264], name="cells")
_, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
if "running" in sys.argv:
    widget.start()
if "closed" in sys.argv:
    viewer.close()
"""


@pytest.mark.parametrize(
    "ending",
    [pytest.param("closed", marks=pytest.mark.full), pytest.param("running", marks=pytest.mark.full), "closed running"],
)
def test_a_process_may_end_at_once(ending: str) -> None:
    """Without an event loop, while torch is still being loaded, or a run begins."""
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, *ending.split()], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
