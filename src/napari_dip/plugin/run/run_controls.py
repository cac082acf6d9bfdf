"""Buttons that start, pause and stop a run, and the progress below them."""

from __future__ import annotations

from collections.abc import Callable

from magicgui.widgets import Container, Label, ProgressBar, PushButton

from ..form.narrow_form import pair, wrap
from .run_words import RunState

_PAUSE, _RESUME = "Pause", "Resume"


class RunControls(Container):
    """Device, buttons, progress and a message.

    Text that changes with every report goes into the bar: changing a label's text lays out the whole dock, which
    blocks the window for some 20 ms.

    Parameters
    ----------
    start, start_on_region, pause_or_resume, stop : callable
        The buttons' actions.
    """

    def __init__(
        self,
        *,
        start: Callable[[], None],
        start_on_region: Callable[[], None],
        pause_or_resume: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        super().__init__(name="controls", labels=False)
        self.margins = (0, 0, 0, 0)
        self.device_line = Label(name="device_line", value="Checking the device …")
        self.restore_button = PushButton(name="restore_button", text="Restore", tooltip="Start.")
        self.region_button = PushButton(
            name="region_button",
            text="Preview region",
            tooltip="Try the settings on the region in view (its middle, at most 192 x 192 pixels), or on a "
            "rectangle: draw it in a Shapes layer and keep that layer selected.",
        )
        self.pause_button = PushButton(
            name="pause_button", text=_PAUSE, tooltip="Free the processor for a while; nothing is lost."
        )
        self.stop_button = PushButton(
            name="stop_button", text="Stop and keep", tooltip="End now and keep the best result so far."
        )
        pressed = (start, start_on_region, pause_or_resume, stop)
        buttons = (self.restore_button, self.region_button, self.pause_button, self.stop_button)
        for button, action in zip(buttons, pressed, strict=True):
            button.changed.connect(action)
        self.progress = ProgressBar(name="progress", label="", value=0, visible=False)
        self.status = Label(name="status", value="")
        for text in (self.device_line, self.status):
            wrap(text.native)
        self.extend([
            self.device_line, pair(*buttons[:2]), pair(*buttons[2:]), self.progress, self.status,
        ])  # fmt: skip
        self.show_running(False)

    def show_running(self, running: bool) -> None:
        """Enable the buttons that make sense now."""
        self.restore_button.enabled = self.region_button.enabled = not running
        self.stop_button.enabled = self.pause_button.enabled = running
        self.show_paused(False)
        self.progress.visible = running

    def show_paused(self, paused: bool) -> None:
        """Show Pause or Resume."""
        self.pause_button.text = _RESUME if paused else _PAUSE

    def show_state(self, state: RunState) -> None:
        """Show a run's progress: a short text in the bar, all of it in the tooltip."""
        self.progress.max, self.progress.value = state.total, state.done
        self.progress.native.setFormat(state.text)
        self.progress.tooltip = state.tooltip

    def show_phase(self, words: str) -> None:
        """Show what a run does between its reports; the bar stays where it is."""
        self.progress.native.setFormat(words.partition(",")[0])
        self.say(f"{words} …")

    def say(self, sentence: str) -> None:
        """Show a message below the bar, unless it is there already."""
        if self.status.value != sentence:
            self.status.value = sentence

    def show_device(self, text: str, tooltip: str) -> None:
        """Show which device is used, with details in the tooltip."""
        self.device_line.value, self.device_line.tooltip = text, tooltip
