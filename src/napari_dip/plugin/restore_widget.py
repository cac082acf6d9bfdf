"""The dock: form -> request -> run -> layers, with the plot below the image."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container
from napari.layers import Layer
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QMainWindow

from .form.help_page import show_help
from .form.narrow_form import ScrollingForm
from .form.restore_form import RestoreForm
from .layers.region import find_region
from .request import LayerRequest, Plan
from .run.closing import DockWatcher, WindowWatcher
from .run.engine import Engine
from .run.expectation import Expectation
from .run.failures import OutOfMemory
from .run.files_run import FilesRun
from .run.plot_dock import PlotDock, find_window
from .run.record_tools import RecordTools
from .run.restoring import RunReport
from .run.result_tools import ResultTools
from .run.run import Run
from .run.run_controls import RunControls
from .run.run_view import RunView
from .run.run_words import RunState
from .run.scrubber import keep_moments
from .run.smaller_way_button import SmallerWayButton
from .run.turns import Turns
from .words import capitalise, set_lines

if TYPE_CHECKING:
    from .run.band_plot import BandPlot

_MS_BEFORE_PHASE = 200  # what takes less is not worth a sentence
_BEFORE_CHECKS = ("Reading", "Measuring")  # phases; a run may still be refused after them
_MS_BETWEEN = 50  # between image, status, dock and curves: drawing them all at once would block the window


class RestoreWidget(Container):
    """Restore an Image layer with a controlled deep image prior."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(labels=False)
        self._viewer = napari_viewer
        self._run: Run | None = None
        self._closed = False
        self._problem = ""  # the last problem shown
        self._phase = ""  # what the run does until its next report
        self._view = RunView(napari_viewer)
        self._turns = Turns()  # reports and endings, in order
        self._selected: Layer | None = None  # when the run started
        self._window: QMainWindow | None = None  # that the run started in
        self._window_watcher = WindowWatcher()
        self.form = RestoreForm(napari_viewer)
        self.controls = RunControls(
            start=self.start, start_on_region=self.start_on_region, start_on_files=self.start_on_files,
            pause_or_resume=self.pause_or_resume, stop=self.stop_and_keep, cancel=self.cancel,
            help_wanted=self._show_help,
        )  # fmt: skip
        self.files = FilesRun(self.controls)
        self.engine = Engine(
            lambda: self.form.device, on_device=self.controls.show_device, on_loaded=self._get_ready,
            on_failure=self._say_problem,
        )  # fmt: skip
        self.form.advanced["device"].changed.connect(self.engine.look_for_device)
        self.expectation = Expectation(self._plan, self.controls.expect)
        self.result_tools = ResultTools(
            napari_viewer, show_curves=lambda shown: self._plot_dock.show(shown), show_details=self.controls.unfold
        )
        self.record_tools = RecordTools(self._viewer, on_load=self.form.show_record, say=self.controls.say)
        self.smaller_way_button = SmallerWayButton(lambda request: self._start(lambda: request))
        self.extend([
            self.form, self.controls, self.smaller_way_button, self.result_tools, self.controls.details,
            self.record_tools,
        ])  # fmt: skip
        # magicgui scrolls only top-level widgets; the form stays a child here and is shown in a scroll area
        scrolling = ScrollingForm(self.form.native)
        self.native.layout().insertWidget(0, scrolling)
        unfold = self.form.advanced_shown
        unfold.changed.connect(lambda: scrolling.bring_to_top(unfold.native) if self.form.advanced.visible else None)
        for follow in (self._forget_problem, self.expectation.refresh):
            self.form.changed.connect(follow)
        self.form.image.changed.connect(self._show_image)
        self._show_image()
        for follow in (self._forget_problem, self.expectation.refresh):  # a command may have added a result
            napari_viewer.layers.events.inserted.connect(follow)
        napari_viewer.layers.events.removed.connect(self.expectation.refresh)  # maybe a result that is not complete
        stop = QShortcut(QKeySequence(Qt.Key.Key_Escape), self.native, self.stop_and_keep)
        stop.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        self.native.setMinimumWidth(300)
        self._plot_dock = PlotDock(napari_viewer, self.native, self.controls.say, self._on_plot_shown)
        self._watcher = DockWatcher(self.native, self.close_dock, self.close_run)
        self.engine.look_for_device()

    @property
    def band_plot(self) -> BandPlot | None:
        """The plot below the image, once it exists."""
        return self._plot_dock.plot

    def _on_plot_shown(self, shown: bool) -> None:
        if not self._closed:
            self.result_tools.show_curves(shown)

    def _show_image(self, image: object = None) -> None:
        self.expectation.refresh()
        some = self.form.image.value is not None
        self.controls.show_image(some)
        if not some:
            self.result_tools.offer_details(False)

    def _show_help(self) -> None:
        show_help(self.native)

    def _say(self, sentence: str, details: str = "") -> None:
        self.controls.say(sentence, details)
        self.result_tools.offer_details(bool(details))

    def _plan(self) -> Plan | None:
        """Return what Restore would do; of a stack that was stopped, only what is left."""
        plan = self.form.plan()
        if plan is None or plan.planes == 1 or not self._view.has_unfinished:
            return plan
        try:
            done = self._view.count_finished(keep_moments(self.form.request()))
        except (ValueError, TypeError, OSError):  # Restore says what is wrong
            return plan
        return dataclasses.replace(plan, planes=plan.planes - done, continues=done > 0)

    def _get_ready(self) -> None:
        self._plot_dock.prepare()
        self.expectation.get_ready()

    # ------------------------------------------------------------------- run

    @property
    def running(self) -> bool:
        """Whether a restoration is running."""
        return self._run is not None or self.files.running

    def start(self) -> None:
        """Check the form and start restoring; if something is wrong, show what, and change nothing."""
        self._start(self.form.request)

    def start_on_region(self) -> None:
        """Try the settings on the region in view, or on the last shape of the selected Shapes layer."""
        active = self._viewer.layers.selection.active
        if active is not None and active == self.form.mask.value:
            active = None  # its shapes mark missing pixels, not a region
        self._start(lambda: self.form.request(region=lambda image: find_region(image, active)))

    def start_on_files(self) -> None:
        """Restore the images of a folder with the form's task and settings."""
        if self.running:
            return
        try:
            options = self.form.read_options()
        except ValueError as error:
            self._say_problem(str(error))
            return
        self.result_tools.withdraw()
        self.files.ask_and_start(options, self.form.original_type.value, self.native)

    def _start(self, make_request: Callable[[], LayerRequest]) -> None:
        if self.running:
            return
        try:
            request = keep_moments(make_request())
        except (ValueError, TypeError, OSError) as error:  # OSError: a lazy layer reads its file only now
            self._say_problem(str(error))
            return
        self.form.forget_lost_layers()
        self._window = find_window(self.native)
        self._selected = self._viewer.layers.selection.active
        self.smaller_way_button.withdraw()
        self.result_tools.withdraw()
        self.controls.show_running(True)
        self.controls.show_state(RunState(0, 1, "Starting …", "", ""))
        self._say("Starting …")
        self._plot_dock.begin()
        self._run = Run(
            request, self._view.begin(request), on_report=self._later(self._on_report), on_phase=self._on_phase,
            on_end=self._later(self._on_end), on_error=self._later(self._on_error),
            on_finished=self._later(self._on_finished),
        )  # fmt: skip
        self._run.start()

    def _later(self, do: Callable[..., None]) -> Callable[..., None]:
        """Return what does this in its turn: after a finished plane, several things are waiting for theirs."""
        return lambda *told: self._turns.take(functools.partial(do, *told))

    def stop_and_keep(self) -> None:
        """End the run and keep the best result so far."""
        if self.files.running:
            self.files.stop()
            self.controls.say("Stopping; finished files stay …")
            self.controls.stopping()
        if self._run is not None:
            self._run.stop()
            self.controls.say("Stopping; keeping the best result so far …")
            self.controls.stopping()

    def cancel(self) -> None:
        """End the run without a result; planes and files that are finished stay."""
        if self.files.running:
            self.stop_and_keep()
        if self._run is not None:
            self._run.abandon()
            self.controls.say("Cancelling …")
            self.controls.cancelling()

    def pause_or_resume(self) -> None:
        """Pause the run after the current steps, or resume it."""
        if self._run is None or self._run.stopping:
            return
        if self._run.paused:
            self._run.resume()
            self.controls.say("Resuming …")
        else:
            self._run.pause()
            self.controls.say("Pausing …")
        self.controls.show_paused(self._run.paused)

    def _on_report(self, report: RunReport) -> None:
        run = self._run
        if run is None or run.abandoned or not self._can_show_layers:
            return
        if report.progress is not None:
            self._phase = ""
        over = self._view.show(report, run)
        if self._closed or report.progress is None:
            return
        follow_up = [
            functools.partial(self._if_still, run, follow, report)
            for follow in (self._say_progress, self._open_plot, self._draw_curves)
        ]
        if over:
            self._turns.take(*follow_up, self.record_tools.refresh)
            return
        for number, follow in enumerate(follow_up, start=1):
            QTimer.singleShot(number * _MS_BETWEEN, follow)

    def _on_phase(self, words: str) -> None:
        self._phase, run = words, self._run
        if run is not None and not self._closed:
            if not words.startswith(_BEFORE_CHECKS):
                self._plot_dock.clear(run.request.options.settings.bands)
            QTimer.singleShot(_MS_BEFORE_PHASE, functools.partial(self._if_still, run, self._say_phase, words))

    def _say_phase(self, words: str, run: Run) -> None:
        if words == self._phase and not run.stopping:
            self.controls.show_phase(words)

    def _if_still(self, run: Run, follow: Callable[[Any, Run], None], told: RunReport | str) -> None:
        if not self._closed and self._run is run:
            follow(told, run)

    def _say_progress(self, report: RunReport, run: Run) -> None:
        state = self._view.describe(report, run)
        if state is not None:
            self.controls.show_state(state)
            if not run.stopping:
                self.controls.say("Paused." if run.paused else state.stage)

    def _open_plot(self, report: RunReport, run: Run) -> None:
        self._plot_dock.open()

    def _draw_curves(self, report: RunReport, run: Run) -> None:
        self._view.show_curves(report, run, self._plot_dock.make())

    def _on_end(self, nothing: None) -> None:
        run = self._run
        if run is None or run.abandoned or not self._can_show_layers:
            return
        summary = self._view.conclude(run)
        if self._closed:
            kept = " and ".join(f"“{name}”" for name in self._view.kept)
            show_info(f"Form closed. Kept: {kept}." if kept else "Form closed before there was a result to keep.")
            return
        if self._view.failures:
            self._say_problem(summary.sentence)
        else:
            self._say(summary.sentence, summary.details)
        if self._view.last is not None:
            self.result_tools.offer(self._view.last)
        self.record_tools.refresh()

    def _on_error(self, error: Exception) -> None:
        if not self._can_show_layers:
            return
        if self._closed:
            show_error(f"{capitalise(str(error) or type(error).__name__)} {self._view.fail()}".strip())
            return
        if self._selected in self._viewer.layers:
            self._viewer.layers.selection.active = self._selected
        sentence = str(error) or type(error).__name__
        if isinstance(error, OutOfMemory) and self._run is not None:
            sentence = f"{sentence} {self.smaller_way_button.offer(self._run.request)}"
        self._say_problem(f"{sentence} {self._view.fail()}".strip())

    def _on_finished(self) -> None:
        run, self._run, self._window = self._run, None, None  # keeping the window would keep it alive after it closes
        if self._closed:
            return
        self.controls.show_running(False)
        self.expectation.refresh()
        if run is not None and run.abandoned and not run.window_closes:
            self.controls.say(self._view.cancel())
            if self._selected in self._viewer.layers:
                self._viewer.layers.selection.active = self._selected
            if self._view.last is not None:
                self.result_tools.offer(self._view.last)

    def _forget_problem(self, event: object = None) -> None:
        """Clear the last problem once something has changed."""
        if not self._closed and self._problem and self.controls.status.value == self._problem:
            self._problem = ""
            self.controls.say("")

    def _say_problem(self, sentence: str) -> None:
        self._problem = set_lines(capitalise(sentence))
        self._say(self._problem)
        show_error(self._problem)

    # --------------------------------------------------------------- closing

    @property
    def _can_show_layers(self) -> bool:
        """Whether the viewer still exists; the form itself may have been closed."""
        return not self._closed or self._window_watcher.still_exists(self._window)

    def close_dock(self) -> None:
        """Remove form and plot when the dock closes, and end the run; its best result so far becomes a layer."""
        self.files.close()
        if self._run is None:
            self.close_run()
            return
        if not self._closed:
            self._run.stop()
            self._closed = True
            self._turns.hurry()
            if self._window is not None:
                self._window_watcher.watch(self._window)
            self._forget_viewer()

    def close_run(self) -> None:
        """Stop without a result when the viewer closes, and remove preview and plot; touch nothing after that."""
        self.files.close()
        if self._run is not None:
            self._run.abandon()
        self._window = None
        if not self._closed:
            self._closed = True
            with contextlib.suppress(RuntimeError):
                self._view.preview.remove()
            self._forget_viewer()
        self._turns.hurry()

    def _forget_viewer(self) -> None:
        self.engine.close()
        self.expectation.close()
        with contextlib.suppress(RuntimeError):  # Qt may have deleted these already
            self.record_tools.forget_viewer()
            self.result_tools.forget_viewer()
            self.form.forget_viewer()
            for follow in (self._forget_problem, self.expectation.refresh):
                self._viewer.layers.events.inserted.disconnect(follow)
            self._viewer.layers.events.removed.disconnect(self.expectation.refresh)
            self._plot_dock.close()
