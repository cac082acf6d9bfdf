"""Buttons that start, pause and stop a run, and the progress below them."""

from __future__ import annotations

import re
from collections.abc import Callable

from magicgui.widgets import Container, Label, ProgressBar, PushButton

from ..form.narrow_form import pair, wrap
from ..words import set_lines
from .run_words import RunState

_PAUSE, _RESUME = "Pause", "Resume"
_NO_IMAGE = "Open an image first; or File ▸ Open Sample ▸ Deep Image Prior."
_HELP_WIDTH = 60  # pixels


class RunControls(Container):
    """Device, buttons, progress and a message.

    Text that changes with every report goes into the bar: changing a label's text lays out the whole dock, which
    blocks the window for some 20 ms.

    Parameters
    ----------
    start, start_on_region, start_on_files, pause_or_resume, stop, cancel, help_wanted : callable
        The buttons' actions.
    """

    def __init__(
        self,
        *,
        start: Callable[[], None],
        start_on_region: Callable[[], None],
        start_on_files: Callable[[], None],
        pause_or_resume: Callable[[], None],
        stop: Callable[[], None],
        cancel: Callable[[], None],
        help_wanted: Callable[[], None],
    ) -> None:
        super().__init__(name="controls", labels=False)
        self.margins = (0, 0, 0, 0)
        self.device_line = Label(name="device_line", value="Checking the device …")
        self.expectation = Label(name="expectation", value="", visible=False)
        self.expectation.tooltip = "An estimate from earlier runs on this device. If there is none, try Preview region."
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
        self.cancel_button = PushButton(
            name="cancel_button", text="Cancel", tooltip="End now without a result; finished planes of a stack stay."
        )
        self.help_button = PushButton(name="help_button", text="Help", tooltip="How it works, on one page.")
        self.help_button.native.setMaximumWidth(_HELP_WIDTH)
        self.files_button = PushButton(
            name="files_button", text="Files …",
            tooltip="Restore all images in a folder, with this task and these settings, into another folder.",
        )  # fmt: skip
        pressed = (start, start_on_region, start_on_files, pause_or_resume, stop, cancel, help_wanted)
        buttons = (
            self.restore_button, self.region_button, self.files_button,
            self.pause_button, self.stop_button, self.cancel_button, self.help_button,
        )  # fmt: skip
        for button, action in zip(buttons, pressed, strict=True):
            button.changed.connect(action)
        self.progress = ProgressBar(name="progress", label="", value=0, visible=False)
        self.status = Label(name="status", value="")
        self.details = Label(name="details", value="", visible=False)
        self._has_image, self._running, self._unfolded = True, False, False
        self._focus_waits = False  # until Restore can have it again
        for text in (self.device_line, self.expectation, self.status, self.details):
            wrap(text.native)
        top = pair(self.device_line, self.help_button)
        self.extend([top, self.expectation, pair(*buttons[:3]), pair(*buttons[3:6]), self.progress, self.status])
        self.show_running(False)

    def show_running(self, running: bool, *, can_pause: bool = True) -> None:
        """Enable the buttons that make sense now; the focus goes with them, so that Space stops what it started."""
        had_focus = [each for each in (self.restore_button, self.region_button) if each.native.hasFocus()]
        self._set_focus_aside()
        self._running = running
        for button in self._while_running:
            button.enabled = running
        self.pause_button.enabled = running and can_pause
        if running and had_focus:
            self.stop_button.native.setFocus()
        self._enable_start()
        if self._focus_waits and not running:
            if self.native.hasFocus():
                again = self.restore_button if self.restore_button.enabled else self.files_button
                again.native.setFocus()
            self._focus_waits = False
        self.show_paused(False)
        self.progress.visible = running
        self._show_expectation()

    def show_image(self, some: bool) -> None:
        """Enable Restore only if there is an image."""
        self._has_image = some
        self._enable_start()
        if some == (self.status.value == _NO_IMAGE):
            self.say("" if some else _NO_IMAGE, "")

    def stopping(self) -> None:
        """Leave only the button that ends without a result, and not in focus: a second Space would throw it away."""
        self._set_focus_aside()
        self.stop_button.enabled = self.pause_button.enabled = False

    def cancelling(self) -> None:
        """Leave none of the buttons that end the run."""
        self.stopping()
        self.cancel_button.enabled = False

    def _set_focus_aside(self) -> None:
        """Take the focus from a button that will be disabled: Qt would give it to the next one."""
        if any(each.native.hasFocus() for each in self._while_running):
            self.native.setFocus()
            self._focus_waits = True

    @property
    def _while_running(self) -> tuple[PushButton, ...]:
        return self.pause_button, self.stop_button, self.cancel_button

    def _enable_start(self) -> None:
        for button in (self.restore_button, self.region_button):
            button.enabled = self._has_image and not self._running
        self.files_button.enabled = not self._running

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
        self.progress.native.setFormat(re.split("[,;]", words)[0])
        self.say(f"{words} …")

    def say(self, sentence: str, details: str | None = None, *, tooltip: str = "") -> None:
        """Show a message below the bar, unless it is there already; details, if given, replace those before."""
        sentence = set_lines(sentence)
        if self.status.value != sentence:
            self.status.value = sentence
        if (self.status.tooltip or "") != tooltip:
            self.status.tooltip = tooltip
        if details is not None and self.details.value != details:
            self.details.value = details
            self.unfold(self._unfolded)

    def unfold(self, unfolded: bool) -> None:
        """Show the details of the message, if it has any."""
        self._unfolded = unfolded
        self.details.visible = unfolded and bool(self.details.value)

    def expect(self, words: str) -> None:
        """Show what a run will take, until one begins."""
        words = set_lines(words)
        if self.expectation.value != words:
            self.expectation.value = words
        self._show_expectation()

    def _show_expectation(self) -> None:
        self.expectation.visible = bool(self.expectation.value) and not self._running

    def show_device(self, text: str, tooltip: str) -> None:
        """Show which device is used, with details in the tooltip."""
        self.device_line.value, self.device_line.tooltip = text, tooltip
