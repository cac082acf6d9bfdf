"""The plot's dock below the image: created in advance, opened by a run's first report."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from napari.viewer import Viewer
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QMainWindow, QWidget

from ...settings import Settings

if TYPE_CHECKING:
    from .band_plot import BandPlot

_MS_UNTIL_LAID_OUT = 50


class PlotDock:
    """Holds at most one plot; if the user closes its dock, the next run opens it again.

    Parameters
    ----------
    viewer : Viewer
    beside : QWidget
        Any widget of the viewer's window.
    say : callable
        Called with a message for the user.
    """

    def __init__(self, viewer: Viewer, beside: QWidget, say: Callable[[str], None]) -> None:
        self._viewer, self._beside, self._say = viewer, beside, say
        self._wanted = False
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

    def begin(self) -> None:
        """Let the run's first report open the dock; the run may fail before it."""
        self._wanted = True

    def open(self) -> BandPlot:
        """Return the plot; a run's first report docks it, later ones do not, in case the user has closed it."""
        plot = self.make()
        wanted, self._wanted = self._wanted, False
        if wanted and plot.parent() is None:  # new, or closed by the user, which only takes it out of its dock
            with _kept_in_view(self._viewer, self._beside):
                self._viewer.window.add_dock_widget(plot, name="Frequency bands", area="bottom")
        return plot

    def close(self) -> None:
        """Remove the plot, but later, because another dock or the window may be closing right now."""
        if self.plot is not None:
            self.plot.forget_viewer()
            QTimer.singleShot(0, self._remove)

    def _on_destroyed(self) -> None:
        self.plot = None

    def _remove(self) -> None:
        plot, self.plot = self.plot, None
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
    """Zoom out by as much as the canvas shrinks when a dock opens, so that the same region stays in view."""
    window = find_window(docked)
    canvas = None if window is None else window.centralWidget()
    before = 0 if canvas is None else canvas.height()
    yield

    def zoom_out() -> None:
        with contextlib.suppress(RuntimeError):  # closed in the meantime
            if canvas is not None and canvas.isVisible() and 0 < canvas.height() < before:
                getattr(viewer, "scene", viewer).camera.zoom *= canvas.height() / before  # napari 0.9 moved it

    QTimer.singleShot(_MS_UNTIL_LAID_OUT, zoom_out)
