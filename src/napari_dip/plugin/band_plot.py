"""The live frequency-band plot."""

from __future__ import annotations

from collections.abc import Sequence

import pyqtgraph
from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ..spectrum.band_figure import band_colours, band_names


class BandPlot(QWidget):
    """One curve per frequency band over the steps (Eq. 1), the stop marked and explained.

    Parameters
    ----------
    viewer : Viewer
        Whose theme it follows.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._curves: list[pyqtgraph.PlotDataItem] = []
        self.steps: list[int] = []
        self.bands: list[Sequence[float]] = []
        self.caption = QLabel("How much of each frequency band of the image has been learned.")
        self.caption.setWordWrap(True)
        self._plot = pyqtgraph.PlotWidget()
        self._plot.setLabel("bottom", "step")
        self._plot.setLabel("left", "band correspondence")
        self._plot.setYRange(0, 1)
        self._plot.setMinimumHeight(110)
        self._legend = QLabel()  # beside the caption: inside the plot it would cover curves
        self._stop_line = pyqtgraph.InfiniteLine(angle=90, movable=False)
        self._stop_line.hide()
        self._plot.addItem(self._stop_line)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        line = QHBoxLayout()
        line.addWidget(self.caption, stretch=1)
        line.addWidget(self._legend)
        layout.addLayout(line)
        layout.addWidget(self._plot, stretch=1)
        self.follow_theme()
        viewer.events.theme.connect(self.follow_theme)

    def sizeHint(self) -> QSize:
        """Leave most of the window to the image."""
        return QSize(600, 220)

    def start(self, bands: int) -> None:
        """Forget the run before, and get ready for so many curves."""
        self._match_curves(bands)
        self.steps, self.bands = [], []
        self._stop_line.hide()
        for curve in self._curves:
            curve.setData([], [])
        self.caption.setText("How much of each frequency band of the image has been learned, at each step.")

    def add(self, step: int, bands: Sequence[float]) -> None:
        """Add one report: ``(n_bands,)`` in [0, 1], lowest band first."""
        self.show_history([*self.steps, step], [*self.bands, bands])

    def show_history(self, steps: list[int], bands: list[Sequence[float]]) -> None:
        """Show all reports of a run."""
        self.steps, self.bands = steps, bands
        self._match_curves(len(bands[0]))
        for n, curve in enumerate(self._curves):
            curve.setData(steps, [row[n] for row in bands])

    def mark_stop(self, step: int, why: str) -> None:
        """Mark the step that was chosen and say why it stopped."""
        self._stop_line.setPos(step)
        self._stop_line.show()
        self.caption.setText(f"Step {step} was chosen: {why}.")

    def follow_theme(self) -> None:
        """Take the viewer's colours."""
        theme = get_theme(self._viewer.theme)
        text = theme.text.as_hex()
        self._plot.setBackground(theme.background.as_hex())
        for side in ("bottom", "left"):
            axis = self._plot.getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)
        self._stop_line.setPen(pyqtgraph.mkPen(text, style=pyqtgraph.QtCore.Qt.PenStyle.DashLine))

    def forget_viewer(self) -> None:
        """Stop following the theme, before the widget is deleted."""
        self._viewer.events.theme.disconnect(self.follow_theme)

    def _match_curves(self, count: int) -> None:
        if len(self._curves) == count:
            return
        for curve in self._curves:
            self._plot.removeItem(curve)
        colours = band_colours(count)
        self._curves = [self._plot.plot([], [], pen=pyqtgraph.mkPen(colour, width=2)) for colour in colours]
        marks = zip(colours, band_names(count), strict=True)
        self._legend.setText("band: " + " ".join(f'<font color="{colour}">━</font> {name}' for colour, name in marks))
