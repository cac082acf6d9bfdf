"""A user's hands and eyes: real clicks and keys in a real window, and ears for every warning."""

from __future__ import annotations

import dataclasses
import gc
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from magicgui.widgets import ComboBox
from napari.utils.notifications import NotificationSeverity, notification_manager
from npe2 import PluginManifest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt, QtMsgType, qInstallMessageHandler
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QLineEdit, QScrollArea, QWidget

import napari_dip
from napari_dip.device import load_late_parts

_LEFT = Qt.MouseButton.LeftButton
_NO_FAULTS = (  # of Qt and of the display, about themselves; each whole message, so that nothing else hides behind them
    r"This plugin does not support propagateSizeHints\(\)",  # the offscreen platform
    r"QStandardPaths: .*XDG_RUNTIME_DIR.*",  # a machine without a login session
    r"This plugin does not support raise\(\)",
)


@pytest.fixture(autouse=True, scope="session")
def manifests_are_read_once() -> Iterator[None]:
    """napari reads every plugin's manifest for every viewer, in YAML: a tenth of a short test's time."""
    found = list(PluginManifest.discover())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", lambda paths=(): iter(found))
        yield


@pytest.fixture(autouse=True)
def libraries_are_not_searched(request) -> Iterator[None]:
    """After the first viewer, leave out of collection what the libraries have made: napari collects all at each end."""
    yield
    if not gc.get_freeze_count() and "make_napari_viewer" in request.fixturenames:
        load_late_parts()
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def small_network(request, monkeypatch) -> None:
    """The form's presets with what SMALL of a module changes: a small network and few steps, so that a run is short."""
    changes = getattr(request.module, "SMALL", {})
    preset = napari_dip.Settings.preset

    def small(name: str) -> napari_dip.Settings:
        found = preset(name)
        wanted = {key: value for key, value in changes.items() if key != "step_limit" or found.weight_noise == 0}
        return dataclasses.replace(found, **wanted)  # Langevin dynamics takes thousands of steps

    monkeypatch.setattr(napari_dip.Settings, "preset", staticmethod(small))


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    """A viewer as a plugin sees it."""
    return make_napari_viewer_proxy()


@pytest.fixture
def errors(monkeypatch) -> list[str]:
    """What the form shows as an error."""
    sentences: list[str] = []
    monkeypatch.setattr("napari_dip.plugin.restore_widget.show_error", sentences.append)
    return sentences


@pytest.fixture
def notifications(monkeypatch) -> list[str]:
    """What the form shows as a notification."""
    sentences: list[str] = []
    monkeypatch.setattr("napari_dip.plugin.restore_widget.show_info", sentences.append)
    return sentences


@pytest.fixture
def quiet() -> Iterator[list[str]]:
    """Hear what Qt and napari complain about, until everything is closed; fail if there was anything.

    napari's worker turns the Python warnings of its thread into notifications, so that they are heard, too.
    """
    heard: list[str] = []

    def hear_qt(kind: QtMsgType, context: object, text: str | None) -> None:
        loud = kind not in (QtMsgType.QtDebugMsg, QtMsgType.QtInfoMsg)
        if loud and not any(re.fullmatch(each, text or "") for each in _NO_FAULTS):
            heard.append(f"Qt: {text}")

    def hear_napari(notification: object) -> None:
        if NotificationSeverity(notification.severity) >= NotificationSeverity.WARNING:
            heard.append(f"napari: {notification.message}")

    before = qInstallMessageHandler(hear_qt)
    notification_manager.notification_ready.connect(hear_napari)
    yield heard
    notification_manager.notification_ready.disconnect(hear_napari)
    qInstallMessageHandler(before)
    assert heard == []


class Hands:
    """Clicks and keys on a Restore form in a window that is shown.

    Parameters
    ----------
    qtbot
    viewer
    folder : Path
        Where ``look`` leaves its screenshots.
    """

    def __init__(self, qtbot, viewer, folder: Path) -> None:
        self._qtbot, self.viewer, self._folder = qtbot, viewer, folder
        viewer.window.resize(1380, 960)
        self.dock, self.widget = viewer.window.add_plugin_dock_widget("napari-dip", "Restore")
        self.form = self.widget.form
        self.wait_until(lambda: self.widget.band_plot is not None)  # torch is loaded

    @property
    def camera(self):
        return getattr(self.viewer, "scene", self.viewer).camera  # napari 0.9 moved it

    def wait_until(self, happened: Callable[[], bool], seconds: float = 90) -> None:
        self._qtbot.waitUntil(happened, timeout=int(1000 * seconds))

    def press(self, button) -> None:
        """Click in the middle of a button, as far as it can be seen and is enabled."""
        native = getattr(button, "native", button)
        self._bring_into_view(native)
        assert native.isVisible(), button
        assert native.isEnabled(), button
        self._qtbot.mouseClick(native, _LEFT)

    def tick(self, box) -> None:
        """Click on a check box's mark, where it is; its middle may lie beside the text."""
        self._bring_into_view(box.native)
        self._qtbot.mouseClick(box.native, _LEFT, pos=QPoint(9, box.native.height() // 2))
        assert box.value

    def choose(self, combo: ComboBox, text: str) -> None:
        """Open a combo box with the mouse and click on the entry with that text."""
        native = combo.native
        self._bring_into_view(native)
        assert native.isVisible(), combo
        row = native.findText(text)
        assert row >= 0, f"{text} is not among {[native.itemText(n) for n in range(native.count())]}"
        native.showPopup()
        view = native.view()
        self._qtbot.waitUntil(view.isVisible)
        view.scrollTo(native.model().index(row, native.modelColumn()))
        place = view.visualRect(native.model().index(row, native.modelColumn())).center()
        self._qtbot.mouseClick(view.viewport(), _LEFT, pos=place)
        self._qtbot.waitUntil(lambda: native.currentText() == text)

    def choose_by_keys(self, combo: ComboBox, text: str) -> None:
        """Reach an entry with the arrow keys."""
        native = combo.native
        self._bring_into_view(native)
        native.setFocus()
        self._qtbot.keyClick(native, Qt.Key.Key_Home)
        for _ in range(native.count()):
            if native.currentText() == text:
                return
            self._qtbot.keyClick(native, Qt.Key.Key_Down)
        raise AssertionError(f"{text} is not among {[native.itemText(n) for n in range(native.count())]}")

    def type_into(self, field, text: str) -> None:
        """Replace what a line or a number field holds."""
        native = field.native
        self._bring_into_view(native)
        assert native.isVisible(), field
        line = native if isinstance(native, QLineEdit) else native.findChild(QLineEdit)
        assert line is not None
        line.setFocus()
        line.selectAll()
        self._qtbot.keyClicks(line, text)
        self._qtbot.keyClick(line, Qt.Key.Key_Return)
        if isinstance(native, QAbstractSpinBox):
            assert float(native.value()) == float(text)

    def make_network_small(self, steps: int) -> None:
        """Unfold Advanced, type what makes a run take seconds, and fold it again: as a user could."""
        self.press(self.form.advanced_shown)
        self.type_into(self.form.advanced["width"], "8")
        self.type_into(self.form.advanced["levels"], "3")
        self.type_into(self.form.advanced["device"], "cpu")
        self.type_into(self.form.advanced["step_limit"], str(steps))
        self.press(self.form.advanced_shown)

    def stroke(self, corners: list[tuple[float, float]]) -> None:
        """Draw with the mouse over the canvas, through these rows and columns of the world."""
        canvas = self.viewer.window._qt_viewer.canvas
        native, camera = canvas.native, self.camera
        middle = np.array([native.height(), native.width()]) / 2

        def place(corner: tuple[float, float]) -> QPoint:
            row, column = middle + (np.array(corner) - camera.center[-2:]) * camera.zoom
            return QPoint(round(column), round(row))

        self._qtbot.mouseMove(native, place(corners[0]))
        self._qtbot.mousePress(native, _LEFT, pos=place(corners[0]))
        for corner in [each for each in corners[1:] for _ in range(2)]:  # a busy machine may swallow one
            self._qtbot.wait(50)  # vispy leaves out moves in quick succession
            inside, on_screen = QPointF(place(corner)), QPointF(native.mapToGlobal(place(corner)))
            # qtbot moves with no button held, which draws nothing
            move = QMouseEvent(
                QEvent.Type.MouseMove, inside, on_screen, Qt.MouseButton.NoButton, _LEFT, Qt.KeyboardModifier.NoModifier
            )
            QApplication.sendEvent(native, move)
        self._qtbot.wait(50)
        self._qtbot.mouseRelease(native, _LEFT, pos=place(corners[-1]))

    def finish(self) -> None:
        self.wait_until(lambda: not self.widget.running)

    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]

    def look(self, name: str) -> None:
        """Leave a screenshot of the whole window."""
        self._qtbot.wait(300)
        path = self._folder / f"{name}.png"
        self.viewer.screenshot(str(path), canvas_only=False)
        assert path.stat().st_size > 10_000

    def _bring_into_view(self, native: QWidget) -> None:
        parent = native.parentWidget()
        while parent is not None and not isinstance(parent, QScrollArea):
            parent = parent.parentWidget()
        if parent is not None:
            parent.ensureWidgetVisible(native)
            self._qtbot.wait(10)


@pytest.fixture
def screenshots(tmp_path) -> Path:
    """Where screenshots go: the folder that JOURNEY_SCREENSHOTS names, or else pytest's own."""
    folder = Path(os.environ.get("JOURNEY_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def hands(quiet, make_napari_viewer, qtbot, screenshots) -> Hands:
    """A viewer whose window is shown, with the Restore form open beside it."""
    return Hands(qtbot, make_napari_viewer(show=True), screenshots)
