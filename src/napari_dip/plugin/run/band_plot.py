"""The dock below the image: the run's curves, why it stopped, and a slider through its moments."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QSize
from qtpy.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from ..form.narrow_form import wrap
from ..request import LayerRequest
from ..words import capitalise
from .curve_plots import CurveView, band_curves, make_band_view, make_loss_view
from .export_button import ExportButton, RunDrawing
from .scrubber import Scrubber

if TYPE_CHECKING:
    from ...outcome import Report, Restoration

_OLD = "The run before this one: "


class BandPlot(QScrollArea):
    """Frequency bands (Eq. 1), loss and ratio (Eq. 8) over the steps, with the stop marked and explained.

    Parameters
    ----------
    viewer : Viewer
        The plot follows this viewer's theme.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.reports: list[Report] = []
        self._chosen_step: int | None = None
        self._moment_step: int | None = None
        self._why = self._outcome = ""
        self.views = (make_band_view(), make_loss_view())
        self.caption, self.legend = QLabel(), QLabel()
        for text in (self.caption, self.legend):  # let long texts wrap instead of widening the dock
            wrap(text)
        self.view_choice = QComboBox()
        self.view_choice.setToolTip("Which curves to show.")
        self._stack = QStackedWidget()
        self._stack.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)  # the height that is left
        for view in self.views:
            self.view_choice.addItem(view.title)
            self._stack.addWidget(view)
            view.pointed.connect(self._point)
        self.view_choice.currentIndexChanged.connect(self._show_view)
        self.export_button = ExportButton(self._drawing)
        self.scrubber = Scrubber(viewer)
        self.scrubber.moment_shown.connect(self._mark_moment)
        self.scrubber.moment_used.connect(self._mark_used)
        self._lay_out()
        self.follow_theme()
        viewer.events.theme.connect(self.follow_theme)

    def _lay_out(self) -> None:
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        content = QWidget()
        self.setWidget(content)
        layout = QVBoxLayout(content)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        line = QHBoxLayout()
        line.addWidget(self.view_choice)
        line.addWidget(self.caption, stretch=1)
        line.addWidget(self.export_button)
        layout.addLayout(line)
        layout.addWidget(self.legend)
        layout.addWidget(self._stack, stretch=1)
        layout.addWidget(self.scrubber)

    def sizeHint(self) -> QSize:
        """Leave most of the window to the image."""
        return QSize(600, 240)

    def minimumSizeHint(self) -> QSize:
        """Leave room for the curves even in a window 700 pixels high; the rest can be scrolled."""
        return QSize(200, 150)

    @property
    def steps(self) -> list[int]:
        """The steps of the reports that are drawn."""
        return [report.step for report in self.reports]

    @property
    def view(self) -> CurveView:
        """The current view."""
        return self.views[self._stack.currentIndex()]

    def start(self, bands: int) -> None:
        """Clear the previous run, and prepare this number of bands."""
        self.scrubber.clear()
        self._chosen_step, self._why, self._outcome = None, "", ""
        for plot in self._plots():
            plot.mark("chosen", None)
            plot.mark("pointer", None)
        self._match_bands(bands)
        self.show_reports([])
        self._caption()

    def mark_as_old(self) -> None:
        """Say that the curves are not those of the run that has just begun."""
        if self._outcome and not self._outcome.startswith(_OLD):
            self._outcome = f"{_OLD}{self._outcome[:1].lower()}{self._outcome[1:]}"
            self._caption()

    def add(self, report: Report) -> None:
        """Add one report; if the run has started over with a new network, drop the reports of the old one."""
        self.show_reports([*(each for each in self.reports if each.step < report.step), report])

    def show_reports(self, reports: list[Report]) -> None:
        """Draw these reports."""
        self.reports = reports
        if reports:
            self._match_bands(len(reports[0].band_correspondence))
        for plot in self._plots():
            plot.show_reports(reports)
        self.export_button.setEnabled(bool(reports))
        self._read()

    def show_result(self, result: Restoration, request: LayerRequest, plane: str = "") -> None:
        """Draw the whole run, explain its stop (naming the plane, if one of several), and offer its moments."""
        self.show_reports(list(result.history))
        chosen = f"step {result.step} was chosen: {result.stop_reason.value}."
        self._mark_chosen(result.step, f"{plane}: {chosen}" if plane else capitalise(chosen))
        self._why = result.stop_reason.value
        self.scrubber.offer(result, request)

    def follow_theme(self) -> None:
        """Use the viewer's colours."""
        theme = get_theme(self._viewer.theme)
        for plot in self._plots():
            plot.set_colours(theme.background.as_hex(), theme.text.as_hex())

    def forget_viewer(self) -> None:
        """Disconnect from the viewer, before the widget is deleted."""
        self._viewer.events.theme.disconnect(self.follow_theme)
        self.scrubber.forget_viewer()

    def changeEvent(self, event: QEvent) -> None:
        """Return the slider to the chosen step when the dock closes: napari then takes this widget out of it."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.scrubber.return_to_chosen()

    def _plots(self) -> list:
        return [plot for view in self.views for plot in view.plots]

    def _match_bands(self, count: int) -> None:
        (plot,) = self.views[0].plots
        if len(plot.curves) != count:
            plot.set_curves(band_curves(count))

    def _show_view(self, index: int) -> None:
        self._stack.setCurrentIndex(index)
        self._caption()
        self._point(None)

    def _caption(self) -> None:
        self.caption.setText(self._outcome or self.view.introduction)

    def _mark_chosen(self, step: int, sentence: str) -> None:
        self._chosen_step = step
        for plot in self._plots():
            plot.mark("chosen", step)
        self._outcome = sentence
        self._caption()
        self._read()

    def _mark_moment(self, step: int | None) -> None:
        self._moment_step = step
        for plot in self._plots():
            plot.mark("moment", step)
        self._read()

    def _mark_used(self, step: int, step_of_run: int) -> None:
        self._mark_chosen(step, f"You chose step {step}; the run itself had chosen step {step_of_run}: {self._why}.")

    def _point(self, place: float | None) -> None:
        """Point at the report nearest to a position on the step axis; None if the mouse is elsewhere."""
        step = None
        if place is not None and self.reports:
            step = self.reports[self._nearest(place)].step
        for plot in self._plots():
            plot.mark("pointer", step)
        self._read(step)

    def _read(self, step: int | None = None) -> None:
        """Show the curves' names, and their values under the mouse, or else at the moment that is shown."""
        step = next((each for each in (step, self._moment_step, self._chosen_step) if each is not None), None)
        report = self.reports[-1 if step is None else self._nearest(step)] if self.reports else None
        entries = []
        for curve in self.view.curves:
            value = None if report is None else curve.value(report)
            if report is not None and value is None:
                continue  # this run does not have this curve
            words = [*curve.name.split(), *([] if value is None else [f"<b>{value:{curve.form}}</b>"])]
            # &nbsp; keeps an entry on one line
            entries.append("&nbsp;".join([f'<font color="{curve.colour}">━</font>', *words]))
        beginning = "" if report is None else f"step <b>{report.step}</b>: &nbsp;"
        self.legend.setText(beginning + "&nbsp; ".join(entries))

    def _nearest(self, place: float) -> int:
        steps = self.steps
        after = min(bisect.bisect_left(steps, place), len(steps) - 1)
        before = max(after - 1, 0)
        return before if place - steps[before] < steps[after] - place else after

    def _drawing(self) -> RunDrawing:
        return RunDrawing(self.view is self.views[0], tuple(self.reports), self._chosen_step, self.caption.text())
