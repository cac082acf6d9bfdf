"""Open, start, stop and close over and over: nothing is left behind, whatever was closed when."""

import gc
import os
import threading
import weakref

import numpy as np
import psutil
import pytest
import torch
from gestures import stop, wait_for_workers

CYCLES, WARM_UP = 50, 15

SMALL = {"width": 8, "levels": 3, "partner": False}  # without filters, so that a cycle takes a second

# Bytes a cycle; one run of this size that stays takes more than 1 MB. Over 150 cycles the growth was 64 kB each, and
# ended; over 50 it was 100 to 270 kB, as the allocator had it.
MOST_GROWTH = 0.5e6


def settle(qtbot) -> None:
    wait_for_workers(qtbot)
    qtbot.wait(100)  # what is queued to be deleted
    gc.collect()


@pytest.mark.full
@pytest.mark.timeout(900)
def test_fifty_runs_leave_nothing_behind(quiet, notifications, make_napari_viewer, qtbot, camera) -> None:
    viewer = make_napari_viewer(show=True)  # napari's own notifications, instead of this list, take a megabyte each
    image = viewer.add_image(camera, name="cells")
    process = psutil.Process()
    memory, handles, threads, device_memory = [], [], [], []
    left: list[weakref.ref] = []
    for cycle in range(CYCLES):
        dock, widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
        widget.form.advanced["step_limit"].value = 100_000
        widget.start()
        qtbot.waitUntil(lambda: "cells preview" in viewer.layers, timeout=60_000)
        qtbot.waitUntil(lambda widget=widget: widget.band_plot is not None, timeout=60_000)
        if cycle % 3 == 0:  # else it is closed in mid-run
            stop(widget, qtbot)
        left += [weakref.ref(each) for each in (widget, widget.band_plot, widget.form, viewer.layers[-1])]
        viewer.window.remove_dock_widget(dock)
        wait_for_workers(qtbot)
        qtbot.waitUntil(lambda: "cells restored" in viewer.layers, timeout=60_000)
        for layer in list(viewer.layers):
            if layer is not image:
                viewer.layers.remove(layer)
        del dock, widget
        layer = None
        settle(qtbot)
        memory.append(process.memory_info().rss)
        handles.append(process.num_fds() if os.name == "posix" else 0)
        threads.append(threading.active_count())
        device_memory.append(torch.cuda.memory_allocated() if torch.cuda.is_available() else 0)
    cycles = np.arange(CYCLES - WARM_UP)
    growth = np.polyfit(cycles, memory[WARM_UP:], 1)[0]
    print(f"growth {growth / 1e3:.0f} kB a cycle; {memory[0] / 1e6:.0f}, {memory[WARM_UP] / 1e6:.0f} … "
          f"{memory[-1] / 1e6:.0f} MB; handles {handles}; threads {threads}")  # fmt: skip

    def alive() -> list[str]:
        gc.collect()
        return [f"{n}: {type(each()).__name__}" for n, each in enumerate(left) if each() is not None]

    def nothing_is_alive() -> None:
        assert alive() == []

    qtbot.waitUntil(nothing_is_alive, timeout=20_000)  # the last one may still have an event to come
    assert max(threads[WARM_UP:]) <= threads[WARM_UP]
    assert max(handles[WARM_UP:]) <= handles[WARM_UP]
    assert device_memory[-1] <= device_memory[WARM_UP]
    assert growth < MOST_GROWTH
