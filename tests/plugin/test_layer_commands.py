"""Commands of the palette: the selected layers are restored one after the other, without the form."""

import numpy as np
import pytest
from gestures import names
from napari.layers import Image
from napari.utils import cancelable_progress
from npe2 import PluginManager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_dip.plugin import commands
from napari_dip.request import Request

SMALL = {"width": 8, "levels": 2, "device": "cpu", "partner": False, "step_limit": 20, "stopping": "fixed"}
SIDE = 32
ENDLESS = 100_000  # steps, of a run that is stopped


@pytest.fixture
def noisy() -> list[np.ndarray]:
    return [np.random.default_rng(seed).normal(100, 20, (SIDE, SIDE)).astype("float32") for seed in range(3)]


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """What the commands say, problems included."""
    sentences: list[str] = []
    for name in ("show_info", "show_error"):
        monkeypatch.setattr(f"napari_dip.plugin.commands.{name}", sentences.append)
    return sentences


@pytest.fixture
def window(make_napari_viewer, quiet):
    """A viewer whose window is shown."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1000, 700)
    return viewer


def finish(qtbot) -> None:
    qtbot.waitUntil(lambda: not commands._queues, timeout=120_000)


def type_command(viewer, qtbot, text: str) -> None:
    """Open the palette, type, and press Return."""
    if not hasattr(viewer.window, "_toggle_command_palette"):
        pytest.skip("this napari has no command palette")
    viewer.window._toggle_command_palette()
    palette = viewer.window._qt_window._command_palette
    qtbot.keyClicks(palette._line, text)
    assert palette._list.can_execute()
    qtbot.keyClick(palette._line, Qt.Key.Key_Return)


def test_three_selected_layers_by_the_palette(window, qtbot, noisy, told, monkeypatch) -> None:
    for name, pixels in zip("abc", noisy, strict=True):
        window.add_image(pixels, name=name, scale=(2, 3))
    window.add_labels(np.ones((SIDE, SIDE), int), name="cells")
    window.layers.selection = {window.layers[name] for name in "abc"}
    shown: list[str] = []  # in the activity dock, when each bar is made

    def make_bar(**options):
        bar = cancelable_progress(**options)
        shown.extend(label.text() for label in activity.findChildren(QLabel) if options["desc"] in label.text())
        return bar

    activity = window.window._qt_window._activity_dialog
    monkeypatch.setattr(commands, "cancelable_progress", make_bar)
    type_command(window, qtbot, "Denoise selected layers, fast")  # no bracket: napari fails at one while it is typed
    finish(qtbot)
    assert names(window) == ["a", "b", "c", "cells", "a restored", "b restored", "c restored"]
    for name, pixels in zip("abc", noisy, strict=True):
        restored = window.layers[f"{name} restored"]
        assert restored.data.std() < pixels.std()
        np.testing.assert_array_equal(window.layers[name].data, pixels)
        np.testing.assert_allclose(restored.scale, (2, 3))
        assert restored.metadata["napari-dip"]["task"] == "denoise"
    assert [sentence.partition(":")[0] for sentence in told] == ["“a”", "“b”", "“c”"]
    assert [text.rstrip(": ") for text in shown] == ["“a”, 2 more", "“b”, 1 more", "“c”"]


def test_all_planes_of_a_stack_and_what_goes_wrong_stops_nothing(viewer, qtbot, noisy, told) -> None:
    viewer.add_image(np.zeros((SIDE, SIDE)), name="empty")
    viewer.add_image(np.stack(noisy[:2]), name="film")
    viewer.layers.selection = set(viewer.layers)
    commands.denoise_selected_layers(viewer)
    finish(qtbot)
    assert names(viewer) == ["empty", "film", "film restored"]
    assert np.isfinite(viewer.layers["film restored"].data).all()
    assert [sentence.partition(":")[0] for sentence in told] == ["“empty”", "“film”"]
    assert "same intensity" in told[0]


@pytest.mark.parametrize(("task", "neighbours"), [("denoise", "auto"), ("inpaint", "auto"), ("deblock", None)])
def test_neighbouring_planes_help_where_they_can(noisy, task: str, neighbours: str | None) -> None:
    film = commands.Order(Image(np.stack(noisy)), Request(task))
    assert film.make_request().neighbours == neighbours
    single = commands.Order(Image(noisy[0]), Request(task))
    assert single.make_request().neighbours is None


def test_missing_pixels_are_those_of_the_only_or_the_selected_labels(viewer, qtbot, noisy, told) -> None:
    image = viewer.add_image(noisy[0], name="cells")
    marks = np.zeros((SIDE, SIDE), int)
    marks[8:12] = 1
    one = viewer.add_labels(marks, name="one")
    for select in ([image], [image, one]):
        viewer.layers.selection = set(select)
        commands.fill_missing_pixels(viewer)
        finish(qtbot)
        filled = viewer.layers[-1]
        np.testing.assert_array_equal(filled.data[marks == 0], noisy[0][marks == 0])
        assert not np.array_equal(filled.data[marks == 1], noisy[0][marks == 1])
        viewer.add_labels(marks[::-1].copy(), name="other")  # now there is no telling which, unless one is selected
    viewer.layers.selection = {image}
    commands.fill_missing_pixels(viewer)
    finish(qtbot)
    assert "Nothing is marked as missing" in told[-1]


def test_cancelling_in_the_activity_dock_leaves_nothing(viewer, qtbot, noisy, told, monkeypatch) -> None:
    viewer.add_image(noisy[0], name="a")
    viewer.add_image(noisy[1], name="b")
    viewer.layers.selection = set(viewer.layers)
    monkeypatch.setitem(SMALL, "step_limit", ENDLESS)
    commands.denoise_selected_layers(viewer)
    (queue,) = commands._queues
    queue._run.pause()  # after its first steps
    qtbot.waitUntil(lambda: "a preview" in viewer.layers, timeout=60_000)
    queue._bar.cancel()
    queue._run.resume()
    finish(qtbot)
    assert names(viewer) == ["a", "b"]
    assert told == ["Cancelled."]


def test_closing_the_window_ends_the_queue(quiet, make_napari_viewer, qtbot, noisy, monkeypatch) -> None:
    monkeypatch.setitem(SMALL, "step_limit", ENDLESS)
    viewer = make_napari_viewer()
    viewer.add_image(noisy[0], name="a")
    commands.denoise_selected_layers(viewer)
    qtbot.waitUntil(lambda: "a preview" in viewer.layers, timeout=60_000)
    viewer.close()
    finish(qtbot)


def test_the_palette_offers_what_makes_sense() -> None:
    manifest = PluginManager.instance().get_manifest("napari-dip")
    offered = {each.id: str(each.enablement) for each in manifest.contributions.commands if each.enablement}
    ours = {f"napari-dip.{name}" for name in ("denoise_layers", "denoise_layers_fast", "fill_missing_pixels")}
    assert {name for name, when in offered.items() if "num_selected_image_layers" in when} == ours
    assert offered["napari-dip.write_image"] == "False"  # it needs a path
