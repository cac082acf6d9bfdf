"""Loads torch in the background and finds the device: form and first run begin at once."""

from __future__ import annotations

from collections.abc import Callable

from ..words import capitalise
from .worker import Job


class Engine:
    """Looks for the device that was chosen, and then loads what a run needs.

    Parameters
    ----------
    device : callable
        Returns the device that the user chose.
    on_device : callable
        Called with a short and a long description of the device that will be used.
    on_loaded : callable
        Called once, when a run could start without waiting.
    on_failure : callable
        Called with a sentence if torch, or a library that it needs, cannot be loaded.
    """

    def __init__(
        self,
        device: Callable[[], str],
        *,
        on_device: Callable[[str, str], None],
        on_loaded: Callable[[], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._device, self._on_device = device, on_device
        self._on_loaded, self._on_failure = on_loaded, on_failure
        self._loading = self._closed = False

    def look_for_device(self, event: object = None) -> None:
        """Begin."""
        Job(_describe_device, self._device(), on_result=self._show_device, on_error=self._fail).start()

    def close(self) -> None:
        """Say no more, because the form closes."""
        self._closed = True

    def _show_device(self, described: tuple[str, str, str]) -> None:
        if self._closed:
            return
        device, text, tooltip = described
        if device == self._device():  # answers may arrive out of order
            self._on_device(text, tooltip)
        if not self._loading:
            self._loading = True
            Job(_load, on_result=self._be_ready, on_error=self._fail).start()

    def _be_ready(self, nothing: None) -> None:
        if not self._closed:
            self._on_loaded()

    def _fail(self, error: Exception) -> None:
        if not self._closed:
            self._on_failure(f"torch, or a library that it needs, cannot be loaded: {error}")


def _describe_device(device: str) -> tuple[str, str, str]:
    """Return the requested device, and a short and a long description of the one that will be used."""
    from ...device_check import choose_proven_device

    try:
        choice = choose_proven_device(device)
    except ValueError as error:
        sentence = capitalise(str(error))
        return device, sentence, sentence
    words = choice.reason.partition(":")[0]
    if choice.warning:
        words = f"{words}: {choice.warning.partition(':')[0]}. (Hover here for details.)"
    return device, words, choice.reason


def _load() -> None:
    """Import what the first run and its plot need."""
    import pyqtgraph  # noqa: F401

    from ... import restoration  # noqa: F401
    from ...device import load_late_parts

    load_late_parts()
