"""The plot's dock below the image: made in advance, and opened by the first report of a run or by a button."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from napari.viewer import Viewer
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from ...settings import Settings

if TYPE_CHECKING:
    from .band_plot import BandPlot

_MS_UNTIL_LAID_OUT = 50
_ROOM = 850  # pixels: in a lower window the dock would leave too little of image and form


class PlotDock:
    """Holds at most one plot. Its dock opens by itself once, if the window is high enough, and else by a button.

    Parameters
    ----------
    viewer : Viewer
    beside : QWidget
        Any widget of the viewer's window.
    say : callable
        Called with a message for the user.
    on_shown : callable
        Called with whether the dock is open, whenever that changes.
    """

    def __init__(
        self, viewer: Viewer, beside: QWidget, say: Callable[[str], None], on_shown: Callable[[bool], None]
    ) -> None:
        self._viewer, self._beside, self._say, self._on_shown = viewer, beside, say, on_shown
        self._wanted = self._was_shown = self._outdated = False
        self._dock: QDockWidget | None = None
        self.plot: BandPlot | None = None

    def make(self) -> BandPlot:
        """Return the plot, and create it if necessary; it may not be docked yet."""
        if self.plot is None:
            from .band_plot import BandPlot  # only now, because pyqtgraph takes the Qt binding that it finds

            self.plot = BandPlot(self._viewer)
            self.plot.start(Settings().bands)
            self.plot.scrubber.message.connect(self._say)
            self.plot.destroyed.connect(self._on_destroyed)
        return self.plot

    def prepare(self) -> None:
        """Make the plot and its dock, hidden: to show it takes less time than to make it during a run."""
        self.make()
        self._make_dock().hide()

    def begin(self) -> None:
        """Let the run's first report open the dock; until then, the curves are the run's before: this one may fail."""
        self._wanted = self._outdated = True
        if self.plot is not None:
            self.plot.mark_as_old()

    def clear(self, bands: int) -> None:
        """Clear the plot of the run before, once per run: this one has passed all checks."""
        outdated, self._outdated = self._outdated, False
        if outdated and self.plot is not None:
            self.plot.start(bands)

    @property
    def is_open(self) -> bool:
        """Whether the dock is there and not hidden."""
        docked = self._dock is not None and self.plot is not None and self.plot.parent() is not None
        return docked and not self._dock.isHidden()  # type: ignore[union-attr]

    def open(self) -> None:
        """Show the dock at a run's first report if there is room; later reports do not, in case the user closes it."""
        plot = self.make()
        wanted, self._wanted = self._wanted, False
        if plot.parent() is None:  # new, or closed by the user, which only takes it out of its dock
            self._was_shown = False
        window = find_window(self._beside)
        # a dock that was shown and is hidden now was hidden by the user
        if wanted and not self._was_shown and window is not None and window.height() >= _ROOM:
            self.show()

    def show(self, shown: bool = True) -> None:
        """Show the dock, or hide it."""
        dock = self._make_dock() if shown else self._dock
        if dock is not None and shown == dock.isHidden():
            with _kept_in_view(self._viewer, self._beside):
                dock.setVisible(shown)
        self._was_shown = True

    def _make_dock(self) -> QDockWidget:
        plot = self.make()
        if self._dock is None or plot.parent() is None:
            self._dock = self._viewer.window.add_dock_widget(plot, name="Frequency bands", area="bottom")
            self._dock.visibilityChanged.connect(self._on_visibility)
        return self._dock

    def _on_visibility(self, visible: bool) -> None:
        self._on_shown(visible)

    def close(self) -> None:
        """Remove the plot, but later, because another dock or the window may be closing right now."""
        if self.plot is not None:
            self.plot.forget_viewer()
            QTimer.singleShot(0, self._remove)

    def _on_destroyed(self) -> None:
        self.plot = self._dock = None

    def _remove(self) -> None:
        plot, self.plot, self._dock = self.plot, None, None
        with contextlib.suppress(RuntimeError, AttributeError, LookupError):  # the window may have closed
            if plot is not None:
                if plot.parent() is not None:
                    self._viewer.window.remove_dock_widget(plot)
                plot.deleteLater()


def find_window(docked: QWidget) -> QMainWindow | None:
    """Return the main window of a docked or floating widget."""
    window: QObject | None = docked
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parent()
    return window


@contextlib.contextmanager
def _kept_in_view(viewer: Viewer, docked: QWidget) -> Iterator[None]:
    """Zoom out by as much as the canvas shrinks when a dock opens, so that the same region stays in view.

    When the dock closes, zoom in again.
    """
    window = find_window(docked)
    canvas = None if window is None else window.centralWidget()
    before = 0 if canvas is None else canvas.height()
    yield

    def follow() -> None:
        with contextlib.suppress(RuntimeError):  # closed in the meantime
            if canvas is not None and canvas.isVisible() and 0 < canvas.height() != before > 0:
                getattr(viewer, "scene", viewer).camera.zoom *= canvas.height() / before  # napari 0.9 moved it

    QTimer.singleShot(_MS_UNTIL_LAID_OUT, follow)
