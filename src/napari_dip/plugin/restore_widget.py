"""The dock: form -> request -> run -> layers, with the plot below the image."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from magicgui.widgets import Container, Label, ProgressBar, PushButton
from napari.layers import Layer
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QMainWindow, QWidget

from ..pace import say_duration, say_time_left
from ..settings import Settings
from .form import RestoreForm
from .layers import Source, find_region
from .narrow_form import ScrollingForm, pair, wrap
from .outputs import say_pixel_type
from .preview_layer import PreviewLayer, add_result
from .record_tools import RecordTools
from .run import OutOfMemory, Request, Run, restore_in_worker
from .scrubber import keep_moments
from .smaller_way_button import SmallerWayButton
from .stack_run import PlaneReport, StackReport, restore_stack_in_worker
from .stack_source import StackSource
from .stack_view import StackView
from .worker import Job

if TYPE_CHECKING:
    from ..many.axes import Plane
    from ..outcome import Progress, Restoration
    from .band_plot import BandPlot

_PAUSE, _RESUME = "Pause", "Resume"
_MS_UNTIL_LAID_OUT = 50
_MS_AFTER_PREVIEW = 50  # until the figures follow the image: drawing both at once would hold the window


class RestoreWidget(Container):
    """Restore an Image layer with a controlled deep image prior.

    Parameters
    ----------
    napari_viewer : Viewer
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(labels=False)
        self._viewer = napari_viewer
        self._run: Run | None = None
        self._closed = self._loading = False
        self._preview = PreviewLayer(napari_viewer)
        self._stack_view = StackView(napari_viewer, self._preview)
        self._plane: Plane | None = None  # of a stack, the one whose curves are drawn
        self._concluded: Plane | None = None  # and the last one that has ended: later reports of it come too late
        self._selected: Layer | None = None  # before the run
        self.band_plot: BandPlot | None = None
        self.form = RestoreForm(napari_viewer)
        self.form.advanced["device"].changed.connect(self._look_for_device)
        self._build_controls()
        self._show_running(False)
        self._watcher = _ClosingWatcher(self.close_run)
        self.native.installEventFilter(self._watcher)
        self.native.destroyed.connect(self._watcher.on_closed)
        self._look_for_device()

    def _build_controls(self) -> None:
        self.device_line = Label(name="device_line", value="checking the device …")
        self.restore_button = PushButton(name="restore_button", text="Restore", tooltip="Start.")
        self.restore_button.changed.connect(self.start)
        self.region_button = PushButton(
            name="region_button",
            text="Preview region",
            tooltip="Try the settings in seconds, on what is in view (its middle of at most 192 x 192 pixels), or on a "
            "rectangle: draw it in a Shapes layer and leave that layer selected.",
        )
        self.region_button.changed.connect(self.start_on_region)
        self.stop_button = PushButton(
            name="stop_button", text="Stop and keep", tooltip="End now, with the best restoration so far."
        )
        self.stop_button.changed.connect(self.stop_and_keep)
        self.pause_button = PushButton(
            name="pause_button", text=_PAUSE, tooltip="Leave the processor to others for a while; nothing is lost."
        )
        self.pause_button.changed.connect(self.pause_or_resume)
        self.progress = ProgressBar(name="progress", label="", value=0, visible=False, tooltip="Steps.")
        self.status = Label(name="status", value="")
        for text in (self.device_line, self.status):
            wrap(text.native)
        rows = [pair(self.restore_button, self.region_button), pair(self.pause_button, self.stop_button)]
        self.record_tools = RecordTools(self._viewer, on_load=self.form.show_record, say=self._say)
        self.smaller_way_button = SmallerWayButton(lambda request: self._start(lambda: request))
        self.extend([
            self.form, self.device_line, *rows, self.progress, self.status, self.smaller_way_button, self.record_tools,
        ])  # fmt: skip
        # magicgui scrolls only what has no parent: a child of the form, but seen through a scroll area
        self.native.layout().insertWidget(0, ScrollingForm(self.form.native))
        self.native.setMinimumWidth(300)

    def _show_running(self, running: bool) -> None:
        self.restore_button.enabled = self.region_button.enabled = not running
        self.stop_button.enabled = self.pause_button.enabled = running
        self.pause_button.text = _PAUSE
        self.progress.visible = running

    # ---------------------------------------------------------------- device

    def _look_for_device(self) -> None:
        """Load torch and choose the device in the background; say which."""
        Job(_describe_device, self.form.device, on_result=self._on_device, on_error=self._on_no_engine).start()

    def _on_device(self, described: tuple[str, str]) -> None:
        if self._closed:
            return
        device, sentence = described
        if device == self.form.device:  # answers may come in another order
            self.device_line.value = self.device_line.tooltip = sentence
        if not self._loading:
            self._loading = True
            Job(_load_engine, on_result=self._make_plot, on_error=self._on_no_engine).start()

    def _on_no_engine(self, error: Exception) -> None:
        if not self._closed:
            self._say_problem(f"torch or what it needs cannot be loaded: {error}")

    # ------------------------------------------------------------------- run

    @property
    def running(self) -> bool:
        """Whether a restoration is running."""
        return self._run is not None

    def start(self) -> None:
        """Check the form and start restoring; what is wrong is said, and nothing changes."""
        self._start(self.form.request)

    def start_on_region(self) -> None:
        """Restore what is in view, or the selected Shapes layer's last shape, to try the settings."""
        active = self._viewer.layers.selection.active
        self._start(lambda: self.form.request(region=lambda image: find_region(image, active)))

    def _start(self, make_request: Callable[[], Request]) -> None:
        if self.running:
            return
        try:
            request = keep_moments(make_request())
        except (ValueError, TypeError) as error:
            self._say_problem(str(error))
            return
        self._preview.begin()
        self._plane = self._concluded = None
        self._selected = self._viewer.layers.selection.active
        self.smaller_way_button.withdraw()
        self._show_running(True)
        self.device_line.value = self.device_line.value.partition(":")[0]  # the tooltip has the reason still
        self.status.value = "starting …"
        self._open_plot().start(request.settings.bands)
        self.progress.max, self.progress.value = request.settings.step_limit, 0
        stack = isinstance(request.source, StackSource)
        self._run = Run(
            request,
            on_progress=self._on_stack_report if stack else self._on_progress,
            on_result=self._on_stack_end if stack else self._on_result,
            on_error=self._on_error,
            on_finished=self._on_finished,
            work=restore_stack_in_worker if stack else restore_in_worker,
            arguments=(self._stack_view.begin(request),) if stack else (),
        )
        self._run.start()

    def stop_and_keep(self) -> None:
        """End the run with the best so far."""
        if self._run is not None:
            self._run.stop()
            self.status.value = "stopping, and keeping the best so far …"

    def pause_or_resume(self) -> None:
        """Hold the run after the present steps, or let it go on."""
        if self._run is None or self._run.stopping:
            return
        if self._run.paused:
            self._run.resume()
            self.pause_button.text, self.status.value = _PAUSE, "going on …"
        else:
            self._run.pause()
            self.pause_button.text, self.status.value = _RESUME, "pausing …"

    def _on_progress(self, progress: Progress) -> None:
        if self._closed or self._run is None:
            return
        source = self._run.request.source
        assert isinstance(source, Source)
        factor = progress.estimate.shape[0] // source.image.shape[0]
        self._preview.show(source.name, source.appearance, source.spread(progress.estimate), factor)
        QTimer.singleShot(_MS_AFTER_PREVIEW, lambda: self._show_figures(progress))

    def _show_figures(self, progress: Progress) -> None:
        if self._closed or self._run is None:
            return
        if progress.stage == self._run.main_stage:
            self._open_plot().add(progress.report)
        self.progress.max, self.progress.value = progress.step_limit, progress.step
        if not self._run.stopping:
            done = f"{progress.stage}: step {progress.step} of at most {progress.step_limit}"
            left = "paused" if self._run.paused else say_time_left(progress.seconds_left)
            self.status.value = ", ".join(filter(None, (done, f"{say_duration(self._run.seconds)} so far", left)))

    def _on_stack_report(self, report: StackReport) -> None:
        if self._closed or self._run is None:
            return
        self._stack_view.show(report)
        if not isinstance(report, PlaneReport):
            return
        if report.result is None:
            QTimer.singleShot(_MS_AFTER_PREVIEW, lambda: self._show_stack_figures(report))
        else:
            self.record_tools.refresh()
            self._show_stack_figures(report)
            self._concluded = report.plane

    def _show_stack_figures(self, report: PlaneReport) -> None:
        if self._closed or self._run is None or report.plane == self._concluded:
            return
        plot, progress = self._open_plot(), report.progress
        if report.plane != self._plane:
            self._plane = report.plane
            plot.start(self._run.request.settings.bands)
        if report.result is not None:
            plot.show_result(report.result, self._run.request)
            plot.caption.setText(f"{self._stack_view.name_plane(report)}: {plot.caption.text()}")
        elif progress.stage == self._run.main_stage:
            plot.add(progress.report)
        done = 1.0 if report.result is not None else progress.step / progress.step_limit
        self.progress.max, self.progress.value = 100 * report.count, round(100 * (report.number - 1 + done))
        if not self._run.stopping:
            self.status.value = self._stack_view.describe(report, self._run.seconds, self._run.paused)

    def _on_stack_end(self, nothing: None) -> None:
        if not self._closed and self._run is not None:
            sentence = self._stack_view.conclude(self._run.seconds)
            (self._say_problem if self._stack_view.failures else self._say)(sentence)
            self.record_tools.refresh()

    def _on_result(self, result: Restoration) -> None:
        if self._closed or self._run is None:
            return
        source = self._run.request.source
        assert isinstance(source, Source)
        images = add_result(self._viewer, self._preview, source, result, self._run.request.original_type)
        self.record_tools.refresh()
        self._open_plot().show_result(result, self._run.request)
        self.status.value = (
            f"Done: step {result.step} was chosen; {result.stop_reason.value} ({result.record.seconds:.0f} s). "
            f"{result.note} {say_pixel_type(images)}".strip()
        )
        if not images:
            show_info("It was stopped before anything could be kept.")

    def _on_error(self, error: Exception) -> None:
        if self._closed:
            return
        self._preview.remove()
        if self._selected in self._viewer.layers:
            self._viewer.layers.selection.active = self._selected
        sentence = str(error) or type(error).__name__
        if isinstance(error, OutOfMemory) and self._run is not None:
            sentence = f"{sentence} {self.smaller_way_button.offer(self._run.request)}"
        if self._run is not None and isinstance(self._run.request.source, StackSource):
            sentence = f"{sentence} {self._stack_view.fail()}".strip()
        self._say_problem(sentence)

    def _on_finished(self) -> None:
        self._run = None
        if not self._closed:
            self._show_running(False)

    def _say(self, sentence: str) -> None:
        self.status.value = sentence

    def _say_problem(self, sentence: str) -> None:
        sentence = sentence[:1].upper() + sentence[1:]
        self.status.value = sentence
        show_error(sentence)

    def _make_plot(self, loaded: object = None) -> None:
        if self.band_plot is None and not self._closed:
            from .band_plot import BandPlot  # pyqtgraph only after the Qt binding is chosen

            self.band_plot = BandPlot(self._viewer)
            self.band_plot.start(Settings().bands)
            self.band_plot.destroyed.connect(self._on_plot_destroyed)

    def _open_plot(self) -> BandPlot:
        """Return the plot, docked at the bottom; a closed one is opened anew."""
        self._make_plot()
        assert self.band_plot is not None
        if self.band_plot.parent() is None:  # new, or closed by the user: napari then only takes it out of its dock
            with _kept_in_view(self._viewer, self.native):
                self._viewer.window.add_dock_widget(self.band_plot, name="Frequency bands", area="bottom")
        return self.band_plot

    def _on_plot_destroyed(self) -> None:
        self.band_plot = None

    # --------------------------------------------------------------- closing

    def close_run(self) -> None:
        """Stop quietly when the dock or the viewer closes; preview and plot go, too. Nothing is touched after this."""
        if self._closed:
            return
        self._closed = True
        if self._run is not None:
            self._run.abandon()
        with contextlib.suppress(RuntimeError):  # Qt may have deleted these already
            self.record_tools.forget_viewer()
            if self.band_plot is not None:
                self.band_plot.forget_viewer()
            self.form.stack.forget_viewer()
            self._preview.remove()
            QTimer.singleShot(0, self._remove_plot)  # not amid the closing of another dock, or of the window

    def _remove_plot(self) -> None:
        plot, self.band_plot = self.band_plot, None
        with contextlib.suppress(RuntimeError, AttributeError, LookupError):  # a window closes with its docks
            if plot is not None:
                if plot.parent() is not None:
                    self._viewer.window.remove_dock_widget(plot)
                plot.deleteLater()


class _ClosingWatcher(QObject):
    """Calls back when the watched widget leaves its dock, or is destroyed with its window."""

    def __init__(self, on_closed: Callable[[], None]) -> None:
        super().__init__()
        self.on_closed = on_closed

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Watch for the parent that goes."""
        if event.type() == QEvent.Type.ParentChange and watched.parent() is None:
            self.on_closed()
        return False


@contextlib.contextmanager
def _kept_in_view(viewer: Viewer, docked: QWidget) -> Iterator[None]:
    """Keep in view what is in view while a dock takes height from the canvas of a docked widget's window."""
    window: QObject | None = docked
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parent()
    canvas = None if window is None else window.centralWidget()
    before = 0 if canvas is None else canvas.height()
    yield

    def zoom_out() -> None:
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            if canvas is not None and canvas.isVisible() and 0 < canvas.height() < before:
                getattr(viewer, "scene", viewer).camera.zoom *= canvas.height() / before  # napari 0.9 moved it

    QTimer.singleShot(_MS_UNTIL_LAID_OUT, zoom_out)


def _describe_device(device: str) -> tuple[str, str]:
    """Return the device that was asked for, and in a sentence what will be used."""
    from ..device import choose_device

    try:
        return device, choose_device(device).reason
    except ValueError as error:
        return device, str(error)


def _load_engine() -> None:
    """Import what the first run needs, and what it draws with."""
    import pyqtgraph  # noqa: F401

    from .. import restoration  # noqa: F401
    from ..device import load_late_parts

    load_late_parts()
