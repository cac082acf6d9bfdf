"""The line below a result: compare it with the original, see what was removed, how the run went, and its figures."""

from __future__ import annotations

from collections.abc import Callable

from magicgui.widgets import Container, PushButton
from napari.layers import Image
from napari.utils.notifications import show_error
from napari.viewer import Viewer

from ..layers.outputs import OutputImage
from ..layers.result_layers import ResultLayers
from ..words import capitalise
from .comparison import Comparison
from .worker import Job

_FOLDED, _UNFOLDED = "Details ▸", "Details ▾"


class ResultTools(Container):
    """Toggles for the last result; those that make no sense are disabled.

    Parameters
    ----------
    viewer : Viewer
    show_curves, show_details : callable
        Called with whether to show the dock with the curves, and the details of the message.
    """

    def __init__(
        self, viewer: Viewer, *, show_curves: Callable[[bool], None], show_details: Callable[[bool], None]
    ) -> None:
        super().__init__(name="result_tools", layout="horizontal", labels=False)
        self._viewer, self._show_details = viewer, show_details
        self._layers: ResultLayers | None = None
        self._making = False  # a residual
        self.compare_button = PushButton(
            name="compare_button", text="Compare", tooltip="Show the original and the result by turns, in place.",
        )  # fmt: skip
        self.residual_button = PushButton(
            name="residual_button", text="Residual",
            tooltip="Show what was removed. If you see structure in it, too much was removed.",
        )  # fmt: skip
        self.curves_button = PushButton(
            name="curves_button", text="Curves",
            tooltip="Show how the run went, below the image, and choose another moment of it.",
        )  # fmt: skip
        self.details_button = PushButton(
            name="details_button", text=_FOLDED, tooltip="Figures of the run, and what else there is to know."
        )
        buttons = (self.compare_button, self.residual_button, self.curves_button, self.details_button)
        for button in buttons:
            button.native.setCheckable(True)
            button.native.setMinimumWidth(40)
        self.margins = (0, 0, 0, 0)
        self.extend(buttons)
        self.comparison = Comparison(viewer, lambda: self._check(self.compare_button, False))
        self.compare_button.changed.connect(self._compare)
        self.residual_button.changed.connect(self._toggle_residual)
        self.curves_button.changed.connect(lambda: show_curves(self.curves_button.native.isChecked()))
        self.details_button.changed.connect(self._toggle_details)
        self._watched = viewer.layers.events.inserted, viewer.layers.events.removed
        for event in self._watched:
            event.connect(self.refresh)
        self.offer_details(False)
        self.refresh()

    def offer(self, layers: ResultLayers) -> None:
        """Offer to look at a result."""
        self._layers = layers
        self.refresh()

    def withdraw(self) -> None:
        """Forget the result, because another run starts or the form closes."""
        self.comparison.end()
        self._layers = None
        self.refresh()

    def forget_viewer(self) -> None:
        """Disconnect from the viewer."""
        self.withdraw()
        for event in self._watched:
            event.disconnect(self.refresh)

    def refresh(self, event: object = None) -> None:
        """Enable what makes sense with the layers that are left."""
        layers = self._layers
        if layers is not None and not layers.is_shown:
            layers = self._layers = None  # and with it the pixels
        self.compare_button.enabled = layers is not None and layers.original is not None
        self.residual_button.enabled = layers is not None and layers.can_have_residual
        shown = layers is not None and (self._making if layers.residual is None else layers.residual.visible)
        self._check(self.residual_button, shown)

    def offer_details(self, some: bool) -> None:
        """Enable the fold for details."""
        self.details_button.enabled = some

    def show_curves(self, shown: bool) -> None:
        """Show whether the curves are shown."""
        self._check(self.curves_button, shown)

    def _compare(self) -> None:
        layers = self._layers
        main, original = (None, None) if layers is None else (layers.main, layers.original)
        if self.compare_button.native.isChecked() and main is not None and original is not None:
            self.comparison.begin(original, main)
        else:
            self.comparison.end()

    def _toggle_residual(self) -> None:
        layers = self._layers
        if layers is None:
            return
        self.comparison.end()
        if layers.residual is not None:
            self._show_residual(layers.residual, not layers.residual.visible)
            return
        if not self._making:
            self._making = True  # the button stays enabled, so that it keeps the focus
            Job(
                layers.subtract(), on_result=lambda output: self._on_residual(layers, output),
                on_error=self._on_error, on_finished=self._on_made,
            ).start()  # fmt: skip
        self.refresh()

    def _show_residual(self, layer: Image, shown: bool) -> None:
        """Show the residual on top of all layers, or hide it; the selection stays the same."""
        layers, selected = self._viewer.layers, self._viewer.layers.selection.active
        layer.visible = shown
        if shown and layers[-1] != layer:
            layers.move(layers.index(layer), len(layers))
            layers.selection.active = selected
        self._check(self.residual_button, shown)

    def _on_residual(self, layers: ResultLayers, output: OutputImage) -> None:
        if layers is self._layers and layers.is_shown:
            self._show_residual(layers.add_residual(output), True)

    def _on_error(self, error: Exception) -> None:
        show_error(f"The residual cannot be shown: {capitalise(str(error))}")

    def _on_made(self) -> None:
        self._making = False
        self.refresh()

    def _toggle_details(self) -> None:
        unfolded = self.details_button.native.isChecked()
        self.details_button.text = _UNFOLDED if unfolded else _FOLDED
        self._show_details(unfolded)

    def _check(self, button: PushButton, checked: bool) -> None:
        """Show a toggle as on or off, without acting on it."""
        native = button.native
        blocked = native.blockSignals(True)
        native.setChecked(checked)
        native.blockSignals(blocked)
