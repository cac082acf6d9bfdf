"""Views of a run: curves over its steps, with important steps marked and values read under the mouse."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pyqtgraph
from qtpy.QtCore import QEvent, QPointF, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QWidget

from ...spectrum.band_figure import ERROR_CURVES, RATIO_CURVE, band_colours, band_names

if TYPE_CHECKING:
    from ...outcome import Report


_FEWEST_STEPS = 10  # on the axis, so that no tick lies between two steps
_LOWEST = 90  # pixels: minimum height of a plot
_BELOW = 6  # pixels below the axis label, because pyqtgraph lets it stick out
_BANDS = "How much of each frequency band of the image, from coarse to fine, has been recovered at each step."
_LOSS = "The error on fitted and on held-out pixels, and the ratio of blurriness to sharpness in the network's output."


class Curve(NamedTuple):
    """A curve's name and colour, the function that reads its value from a report, and the format of that value."""

    name: str
    colour: str
    value: Callable[[Report], float | None]
    form: str


class _LogarithmicAxis(pyqtgraph.AxisItem):
    """Labels only 1, 2 and 5 times powers of ten, so that labels do not overlap; all if that leaves too few."""

    def logTickStrings(self, values: Sequence[float], scale: float, spacing: float | None) -> list[str]:
        texts = super().logTickStrings(values, scale, spacing)
        kept = [
            text if round(10 ** (value % 1)) in (1, 2, 5, 10) else "" for value, text in zip(values, texts, strict=True)
        ]
        return kept if sum(map(bool, kept)) > 1 else texts


class CurvePlot(pyqtgraph.PlotWidget):
    """Curves over the steps of a run.

    Parameters
    ----------
    *labels : str
        For the vertical axis: the first that fits its height is shown.
    unit_range : bool
        Whether the values lie in [0, 1].
    logarithmic : bool
    """

    pointed = Signal(object)  # the step under the mouse, or None
    _left: pyqtgraph.AxisItem | None = None  # until __init__ is done: pyqtgraph resizes the widget before that

    def __init__(self, *labels: str, unit_range: bool = False, logarithmic: bool = False) -> None:
        super().__init__(axisItems={"left": _LogarithmicAxis("left")} if logarithmic else None)
        self._items: list[pyqtgraph.PlotDataItem] = []
        self._left, self._labels = self.getAxis("left"), labels
        self.curves: list[Curve] = []
        self.setLabel("bottom", "step")
        self.setLabel("left", labels[0])
        self.plotItem.layout.setContentsMargins(1, 1, 1, _BELOW)
        self.getAxis("left").enableAutoSIPrefix(False)
        self.getAxis("bottom").enableAutoSIPrefix(False)
        if unit_range:
            self.setYRange(0, 1)
            self.getAxis("left").setTicks([[(0, "0"), (0.5, "0.5"), (1, "1")], []])
        self.setLogMode(y=logarithmic)
        self.setMouseEnabled(x=False, y=False)  # zooming could lose the curves; the CSV table has all values
        self.hideButtons()
        self.setLimits(xMin=0, minXRange=_FEWEST_STEPS)  # else the first report lies between steps below 0
        self.setMenuEnabled(False)  # its export fails
        self.setMinimumHeight(_LOWEST)
        self._lines = {name: pyqtgraph.InfiniteLine(angle=90) for name in ("chosen", "moment", "pointer")}
        for line in self._lines.values():
            line.hide()
            self.addItem(line, ignoreBounds=True)
        self.scene().sigMouseMoved.connect(self._point)

    def set_curves(self, curves: Sequence[Curve]) -> None:
        """Prepare these curves, without values."""
        for item in self._items:
            self.removeItem(item)
        self.curves = list(curves)
        self._items = [self.plot([], [], pen=pyqtgraph.mkPen(curve.colour, width=2)) for curve in curves]

    def show_reports(self, reports: Sequence[Report]) -> None:
        """Draw the curves from these reports."""
        steps = [report.step for report in reports]
        for item, curve in zip(self._items, self.curves, strict=True):
            values = (curve.value(report) for report in reports)
            item.setData(steps, [math.nan if value is None else value for value in values], connect="finite")

    def mark(self, name: str, step: int | None) -> None:
        """Move the line "chosen", "moment" or "pointer" to a step, or hide it."""
        self._lines[name].setVisible(step is not None)
        if step is not None:
            self._lines[name].setPos(step)

    def set_colours(self, background: str, text: str) -> None:
        """Set background and text colours."""
        self.setBackground(background)
        for side in ("bottom", "left"):
            self.getAxis(side).setPen(text)
            self.getAxis(side).setTextPen(text)
        styles = Qt.PenStyle.DashLine, Qt.PenStyle.SolidLine, Qt.PenStyle.DotLine
        for line, style in zip(self._lines.values(), styles, strict=True):
            line.setPen(pyqtgraph.mkPen(text, style=style))

    def resizeEvent(self, event: QEvent | None) -> None:
        """Label the vertical axis as far as the label is not cut off."""
        super().resizeEvent(event)
        axis = self._left
        if axis is None:
            return
        measure = self.fontMetrics().horizontalAdvance
        room = self.height() - self.getAxis("bottom").height() - 2 * _BELOW  # it is centred beside the curves
        text = next((each for each in self._labels if measure(each) < room), "")
        if text and axis.labelText != text:
            axis.setLabel(text)
        if axis.label.isVisible() != bool(text):
            axis.showLabel(bool(text))

    def leaveEvent(self, event: QEvent) -> None:
        """Point at nothing once the mouse has left."""
        super().leaveEvent(event)
        self.pointed.emit(None)

    def _point(self, place: QPointF) -> None:
        inside = self.getViewBox().sceneBoundingRect().contains(place)
        self.pointed.emit(self.getViewBox().mapSceneToView(place).x() if inside else None)


class CurveView(QWidget):
    """One or more plots side by side with a common step axis.

    Parameters
    ----------
    title, introduction : str
        What the view shows: a short name, and a sentence.
    plots : sequence of CurvePlot
    """

    pointed = Signal(object)

    def __init__(self, title: str, introduction: str, plots: Sequence[CurvePlot]) -> None:
        super().__init__()
        self.title, self.introduction, self.plots = title, introduction, plots
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for plot in plots:
            layout.addWidget(plot, stretch=1)
            plot.pointed.connect(self.pointed)
            if plot is not plots[0]:
                plot.setXLink(plots[0])

    @property
    def curves(self) -> list[Curve]:
        """The curves of all plots, in order."""
        return [curve for plot in self.plots for curve in plot.curves]


def make_band_view() -> CurveView:
    """Return the view of frequency bands, which gets its curves later."""
    return CurveView(
        "Frequency bands", _BANDS, [CurvePlot("detail recovered (0-1)", "recovered (0-1)", unit_range=True)]
    )


def make_loss_view() -> CurveView:
    """Return the view of loss and held-out error beside the blurriness / sharpness ratio."""
    errors, ratio = CurvePlot("error", logarithmic=True), CurvePlot("ratio", logarithmic=True)
    errors.set_curves([
        Curve(name, colour, operator.attrgetter(field), ".3g") for field, (name, colour) in ERROR_CURVES.items()
    ])  # fmt: skip
    ratio.set_curves([Curve(*RATIO_CURVE, operator.attrgetter("ratio"), ".3g")])
    return CurveView("Loss and ratio", _LOSS, [errors, ratio])


def band_curves(bands: int) -> list[Curve]:
    """Return a curve for each frequency band, lowest first."""
    return [
        Curve(name, colour, lambda report, n=n: report.band_correspondence[n], ".2f")  # type: ignore[misc]
        for n, (name, colour) in enumerate(zip(band_names(bands), band_colours(bands), strict=True))
    ]
