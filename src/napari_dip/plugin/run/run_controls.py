"""What starts, pauses and stops a run, and says how far it is."""

from __future__ import annotations

from collections.abc import Callable

from magicgui.widgets import Container, Label, ProgressBar, PushButton

from ..form.narrow_form import pair, wrap
from .run_words import RunState

_PAUSE, _RESUME = "Pause", "Resume"


class RunControls(Container):
    """Device, buttons, progress and a sentence.

    What changes with every report is written into the bar: a new text in a label lays out the whole dock, which holds
    the window for some 20 ms.

    Parameters
    ----------
    start, start_on_region, pause_or_resume, stop : callable
        What the buttons do.
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
        self.device_line = Label(name="device_line", value="checking the device …")
        self.restore_button = PushButton(name="restore_button", text="Restore", tooltip="Start.")
        self.region_button = PushButton(
            name="region_button",
            text="Preview region",
            tooltip="Try the settings sooner, on what is in view (its middle of at most 192 x 192 pixels), or on a "
            "rectangle: draw it in a Shapes layer and leave that layer selected.",
        )
        self.pause_button = PushButton(
            name="pause_button", text=_PAUSE, tooltip="Leave the processor to others for a while; nothing is lost."
        )
        self.stop_button = PushButton(
            name="stop_button", text="Stop and keep", tooltip="End now, with the best restoration so far."
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
        """Offer what can be done now."""
        self.restore_button.enabled = self.region_button.enabled = not running
        self.stop_button.enabled = self.pause_button.enabled = running
        self.show_paused(False)
        self.progress.visible = running

    def show_paused(self, paused: bool) -> None:
        """Offer to pause, or to go on."""
        self.pause_button.text = _RESUME if paused else _PAUSE

    def show_state(self, state: RunState) -> None:
        """Show how far a run is: in the bar its words, and all for whoever points at it."""
        self.progress.max, self.progress.value = state.of, state.done
        self.progress.native.setFormat(state.words)
        self.progress.tooltip = state.more

    def say(self, sentence: str) -> None:
        """Say something below the bar; the same again costs nothing."""
        if self.status.value != sentence:
            self.status.value = sentence

    def describe_device(self, words: str, more: str) -> None:
        """Say which device computes, and more for whoever points at it."""
        self.device_line.value, self.device_line.tooltip = words, more
