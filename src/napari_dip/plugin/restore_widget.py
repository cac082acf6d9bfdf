"""The form and the worker: form -> frozen settings -> one call -> layers."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FloatSpinBox,
    Label,
    ProgressBar,
    PushButton,
    SpinBox,
    create_widget,
)
from napari.layers import Image, Labels
from napari.qt.threading import FunctionWorker, GeneratorWorker, create_worker
from napari.utils.notifications import show_error, show_info
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QComboBox, QFrame, QScrollArea, QSizePolicy, QWidget

from ..measurement.task import TASKS, find_task
from ..pace import Pace, say_duration, say_time_left
from ..settings import Settings
from .advanced_settings import AdvancedSettings
from .layers import Source, add_over, read_source

if TYPE_CHECKING:
    from ..restoration import Progress, Restoration
    from .band_plot import BandPlot

_PAUSE, _RESUME = "Pause", "Resume"
_FOLDED, _UNFOLDED = "Advanced ▸", "Advanced ▾"
_SECONDS_BETWEEN_PREVIEWS = 0.2  # napari has no back-pressure: more would queue up
_QUALITIES = [("Fast", "fast"), ("Balanced", "default"), ("Best", "best"), ("As published", "published"),
              ("As in the paper", "paper"), ("Rival: deep image prior (no control)", "deep_image_prior"),
              ("Rival: deep decoder (few weights)", "deep_decoder"), ("Rival: Langevin", "gp_dip")]  # fmt: skip


class RestorationFailed(Exception):
    """What the engine could not do, in a sentence. No RuntimeError: napari's worker would swallow it."""


class RestoreWidget(Container):
    """Restore an Image layer with a controlled deep image prior.

    Parameters
    ----------
    napari_viewer : Viewer
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(labels=False)
        self._viewer = napari_viewer
        self._worker: GeneratorWorker | None = None
        self._stop, self._may_go_on = threading.Event(), threading.Event()
        self._closed = self._loading = False
        self._source: Source | None = None
        self._running_task = ""
        self._preview: Image | None = None
        self._started = 0.0
        self.band_plot: BandPlot | None = None
        self._build_form()
        self._show_task()
        self._show_running(False)
        self._watcher = _ClosingWatcher(self.close_run)
        self.native.installEventFilter(self._watcher)
        self.native.destroyed.connect(self._watcher.on_closed)
        self._look_for_device()

    # ------------------------------------------------------------------ form

    def _build_form(self) -> None:
        defaults = Settings()
        self.image = _choose_layer("image", "Image", Image, tooltip="The image to restore: one plane, grey or RGB.")
        self.task = ComboBox(
            name="task", label="Task", choices=[(task.label, task.name) for task in TASKS.values()], value="denoise",
            tooltip="What is wrong with the image.",
        )  # fmt: skip
        self.mask = _choose_layer(
            "mask", "Missing pixels", Labels | None, nullable=True,
            tooltip="A Labels layer painted over what is missing or broken.",
        )  # fmt: skip
        self.factor = SpinBox(name="factor", label="Times larger", value=2, min=2, max=16,
                              tooltip="How many times more rows and columns.")  # fmt: skip
        self.missing_label = SpinBox(
            name="missing_label", label="Label", value=0, min=0, max=2**31 - 1,
            tooltip="The label that means missing; 0 = all labels.",
        )  # fmt: skip
        self.quality = ComboBox(name="quality", label="Quality", choices=_QUALITIES, value="default",
                                tooltip="Named settings: faster, or better.")  # fmt: skip
        self.smoothed = CheckBox(
            name="smoothed", text="also smoothed", value=False,
            tooltip="A strongly smoothed image: the prior held to a small Lipschitz bound (x_s in the paper).",
        )  # fmt: skip
        self.detail_enhanced = CheckBox(
            name="detail_enhanced", text="also detail-enhanced", value=False,
            tooltip="The restored image plus what the smoothed one lacks of it.",
        )  # fmt: skip
        self.uncertainty = CheckBox(
            name="uncertainty", text="also uncertainty", value=False,
            tooltip="How uncertain each pixel is: four runs instead of one, and their spread. Takes longer.",
        )  # fmt: skip
        self.residual = CheckBox(
            name="residual", text="also residual", value=False,
            tooltip="What was taken away. Look for structure in it: there the restoration went too far.",
        )  # fmt: skip
        self.keep_known = CheckBox(
            name="keep_known", text="agree with the known pixels", value=defaults.keep_known,
            tooltip="On: known pixels stay as they are, and an enlarged image shrinks to the original. "
            "Off: all is drawn by the network, which also removes noise.",
        )  # fmt: skip
        self.smoothed_lipschitz_bound = FloatSpinBox(
            name="smoothed_lipschitz_bound", label="Smoothed λ", value=defaults.smoothed_lipschitz_bound,
            min=0.1, max=5, step=0.1,
            tooltip="The bound of the smoothed image: smaller is smoother, and more counts as detail.",
        )  # fmt: skip
        self.detail_amount = FloatSpinBox(
            name="detail_amount", label="Detail amount", value=defaults.detail_amount, min=0, max=10, step=0.25,
            tooltip="How strongly details are enhanced; 0 = not at all.",
        )  # fmt: skip
        self.advanced = AdvancedSettings()
        self.advanced.margins = (0, 0, 0, 0)
        self.advanced["device"].changed.connect(self._look_for_device)
        self.advanced_shown = PushButton(name="advanced_shown", text=_FOLDED, tooltip="Every further setting.")
        self.advanced_shown.changed.connect(lambda: self._show_advanced(self.advanced_shown.text == _FOLDED))
        self.device_line = Label(name="device_line", value="checking the device …")
        self.restore_button = PushButton(name="restore_button", text="Restore", tooltip="Start.")
        self.restore_button.changed.connect(self.start)
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
            text.native.setWordWrap(True)
            text.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        form: Container = Container(name="form")
        form.extend([  # after its making: magicgui then aligns the labels
            self.image, self.task, self.factor, self.mask, self.missing_label, self.quality, self.smoothed,
            self.detail_enhanced, self.residual, self.uncertainty, self.keep_known, self.smoothed_lipschitz_bound,
            self.detail_amount,
        ])  # fmt: skip
        form.margins = (0, 0, 0, 0)
        for field in (*form, *self.advanced):
            if isinstance(field, ComboBox):  # a long entry must not widen the dock
                field.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
                field.native.setMinimumContentsLength(8)
        fields: Container = Container(name="fields", labels=False, widgets=[form, self.advanced_shown, self.advanced])
        fields.margins = (0, 0, 0, 0)
        fields.native.layout().addStretch()
        buttons: Container = Container(
            name="buttons", layout="horizontal", labels=False, widgets=[self.pause_button, self.stop_button]
        )
        buttons.margins = (0, 0, 0, 0)
        self.extend([fields, self.device_line, self.restore_button, buttons, self.progress, self.status])
        # magicgui scrolls only what has no parent: a child of the form, but seen through a scroll area
        self.native.layout().insertWidget(0, _scrolling(fields.native))
        self.native.setMinimumWidth(300)
        self.task.changed.connect(self._show_task)
        self.mask.changed.connect(self._show_task)
        self.smoothed.changed.connect(self._show_task)
        self.detail_enhanced.changed.connect(self._show_task)
        self.quality.changed.connect(self._show_preset)
        self._show_preset()

    def _show_preset(self) -> None:
        label = next(label for label, name in _QUALITIES if name == self.quality.value)
        self.advanced.show_preset(self.quality.value, label)

    def _show_task(self) -> None:
        """Show only what the chosen task uses."""
        task = find_task(self.task.value)
        self.missing_label.visible = self.mask.value is not None
        self.keep_known.visible = task.keeps_known
        for output in (self.smoothed, self.detail_enhanced, self.residual, self.uncertainty):
            output.visible = task.removes_noise
        self.detail_amount.visible = self.detail_enhanced.value or not task.removes_noise
        self.smoothed_lipschitz_bound.visible = self.detail_amount.visible or self.smoothed.value
        self.factor.visible = task.needs_factor
        self._show_advanced(self.advanced_shown.text == _UNFOLDED)

    def _show_advanced(self, shown: bool) -> None:
        self.advanced.visible = shown
        self.advanced.explain()
        self.advanced_shown.text = _UNFOLDED if shown else _FOLDED

    def _show_running(self, running: bool) -> None:
        self.restore_button.enabled = not running
        self.stop_button.enabled = self.pause_button.enabled = running
        self.pause_button.text = _PAUSE
        self.progress.visible = running

    def settings(self) -> Settings:
        """Return the form as settings.

        Raises
        ------
        ValueError
            If a field holds what cannot be used.
        """
        return dataclasses.replace(
            self.advanced.settings(),
            smoothed=self.smoothed.value,
            detail_enhanced=self.detail_enhanced.value,
            residual=self.residual.value,
            uncertainty=self.uncertainty.value,
            keep_known=self.keep_known.value,
            smoothed_lipschitz_bound=self.smoothed_lipschitz_bound.value,
            detail_amount=self.detail_amount.value,
        )

    # ---------------------------------------------------------------- device

    def _look_for_device(self) -> None:
        """Load torch and choose the device in the background; say which."""
        device = self._device_field()
        worker: FunctionWorker = create_worker(_describe_device, device, _ignore_errors=True)
        worker.returned.connect(lambda sentence: self._on_device(device, sentence))
        worker.start()

    def _on_device(self, device: str, sentence: str) -> None:
        if self._closed:
            return
        if device == self._device_field():  # answers may come in another order
            self.device_line.value = sentence
        if not self._loading:
            self._loading = True
            worker: FunctionWorker = create_worker(_load_engine, _ignore_errors=True)
            worker.returned.connect(self._make_plot)
            worker.start()

    def _device_field(self) -> str:
        return self.advanced["device"].value.strip() or "auto"

    # ------------------------------------------------------------------- run

    @property
    def running(self) -> bool:
        """Whether a restoration is running."""
        return self._worker is not None

    def start(self) -> None:
        """Check the form and start restoring; what is wrong is said, and nothing changes."""
        if self.running:
            return
        try:
            source = read_source(self.image.value, self.mask.value, self.missing_label.value)
            settings = self.settings()
        except (ValueError, TypeError) as error:
            self._say_problem(str(error))
            return
        self._source, self._preview, self._running_task = source, None, self.task.value
        self._stop.clear()
        self._may_go_on.set()
        self._started = time.perf_counter()
        self._show_running(True)
        self.status.value = "starting …"
        self._open_plot().start(settings.bands)
        self.progress.max, self.progress.value = settings.step_limit, 0
        self._worker = create_worker(
            _restore_in_worker,
            source,
            self._running_task,
            self._asked_factor(),
            settings,
            self._stop,
            self._may_go_on,
            _ignore_errors=True,
        )
        self._worker.yielded.connect(self._on_progress)
        self._worker.returned.connect(self._on_result)
        self._worker.errored.connect(self._on_error)
        self._worker.finished.connect(self._on_finished)
        self._worker.start()

    def _asked_factor(self) -> int | None:
        return self.factor.value if find_task(self.task.value).needs_factor else None

    def stop_and_keep(self) -> None:
        """End the run with the best so far."""
        if self.running:
            self._stop.set()
            self._may_go_on.set()
            self.status.value = "stopping, and keeping the best so far …"

    def pause_or_resume(self) -> None:
        """Hold the run after the present steps, or let it go on."""
        if not self.running or self._stop.is_set():
            return
        if self._may_go_on.is_set():
            self._may_go_on.clear()
            self.pause_button.text, self.status.value = _RESUME, "pausing …"
        else:
            self._may_go_on.set()
            self.pause_button.text, self.status.value = _PAUSE, "going on …"

    def _on_progress(self, progress: Progress) -> None:
        if self._closed or not self.running or self._source is None:
            return
        self._show_preview(progress)
        QTimer.singleShot(50, lambda: self._show_figures(progress))  # let the window draw the image first

    def _show_figures(self, progress: Progress) -> None:
        if self._closed or not self.running:
            return
        if progress.stage == ("restoring" if find_task(self._running_task).removes_noise else "smoothing"):
            self._open_plot().add(progress.step, progress.band_correspondence.tolist())
        self.progress.max, self.progress.value = progress.step_limit, progress.step
        if not self._stop.is_set():
            so_far = say_duration(time.perf_counter() - self._started)
            left = say_time_left(progress.seconds_left) if self._may_go_on.is_set() else "paused"
            self.status.value = ", ".join(
                filter(None, (f"{progress.stage}: step {progress.step} of at most {progress.step_limit}", so_far, left))
            )

    def _show_preview(self, progress: Progress) -> None:
        assert self._source is not None
        if self._preview is None:
            self._preview = add_over(self._viewer, self._source, progress.estimate, "preview", {})
        elif self._preview in self._viewer.layers:  # the user may have removed it
            self._preview.data = progress.estimate

    def _on_result(self, result: Restoration) -> None:
        if self._closed or self._source is None:
            return
        metadata = {"napari-dip": result.record.as_dict()}
        task = find_task(result.record.task)
        outputs = {
            "smoothed": result.smoothed,
            "detail-enhanced": result.detail_enhanced,
            "restored": result.restored if task.removes_noise else None,
        }
        for suffix, data in (("uncertainty", result.uncertainty), ("residual", result.residual)):
            if data is not None:
                add_over(self._viewer, self._source, data, suffix, metadata, own_contrast=True)
        made = [(suffix, data) for suffix, data in outputs.items() if data is not None]
        for suffix, data in made[:-1]:
            add_over(self._viewer, self._source, data, suffix, metadata)
        if made:
            self._keep_preview(*made[-1], metadata)
        else:
            self._remove_preview()
        plot = self._open_plot()
        plot.show_history([each.step for each in result.history], [each.band_correspondence for each in result.history])
        plot.mark_stop(result.step, result.stop_reason.value)
        self.status.value = (
            f"Done: step {result.step} was chosen; {result.stop_reason.value} ({result.record.seconds:.0f} s). "
            f"{result.note}".strip()
        )
        if not made:
            show_info("It was stopped before anything could be kept.")

    def _on_error(self, error: Exception) -> None:
        if not self._closed:
            self._remove_preview()
            self._say_problem(str(error) or type(error).__name__)

    def _on_finished(self) -> None:
        self._worker = None
        if self._closed:
            return
        self._show_running(False)

    def _keep_preview(self, suffix: str, data: NDArray, metadata: dict[str, Any]) -> None:
        """Make the preview the result, on top of all others: a layer less to add, and another to remove."""
        assert self._source is not None
        layers, preview = self._viewer.layers, self._preview
        if preview is None or preview not in layers:
            add_over(self._viewer, self._source, data, suffix, metadata)
            return
        preview.data, preview.metadata = data, metadata
        preview.name = f"{self._source.name} {suffix}"  # napari numbers it if there is one
        if layers[-1] is not preview:
            layers.move(layers.index(preview), len(layers))
        self._preview = None

    def _remove_preview(self) -> None:
        if self._preview is not None and self._preview in self._viewer.layers:
            self._viewer.layers.remove(self._preview)
        self._preview = None

    def _say_problem(self, sentence: str) -> None:
        sentence = sentence[:1].upper() + sentence[1:]
        self.status.value = sentence
        show_error(sentence)

    def _make_plot(self) -> None:
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
            self._viewer.window.add_dock_widget(self.band_plot, name="Frequency bands", area="bottom")
        return self.band_plot

    def _on_plot_destroyed(self) -> None:
        self.band_plot = None

    # --------------------------------------------------------------- closing

    def close_run(self) -> None:
        """Stop quietly when the dock or the viewer closes; nothing is touched after this."""
        if self._closed:
            return
        self._closed = True
        self._stop.set()
        self._may_go_on.set()
        if self._worker is not None:
            self._worker.quit()
        with contextlib.suppress(RuntimeError):  # Qt may have deleted these already
            if self.band_plot is not None:
                self.band_plot.forget_viewer()


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


def _scrolling(content: QWidget) -> QScrollArea:
    """Return the content in an area that scrolls up and down where the window is too low for it."""
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
    area.setWidget(content)
    return area


def _choose_layer(name: str, label: str, annotation: Any, **options: Any) -> Any:
    """Return a choice of the viewer's layers of a type; napari keeps it up to date."""
    return create_widget(name=name, label=label, annotation=annotation, options=options)


def _describe_device(device: str) -> str:
    from ..device import choose_device

    try:
        return choose_device(device).reason
    except ValueError as error:
        return str(error)


def _load_engine() -> None:
    """Import what the first run needs, and what it draws with."""
    import pyqtgraph  # noqa: F401

    from .. import restoration  # noqa: F401
    from ..device import load_late_parts

    load_late_parts()


def _restore_in_worker(
    source: Source, task: str, factor: int | None, settings: Settings, stop: threading.Event, may_go_on: threading.Event
) -> Generator[Progress, None, Restoration]:
    """Run the engine in napari's worker: previews by the clock, errors that the worker does not swallow."""
    from ..restoration import restore_steps

    try:
        table = source.quantisation_table if find_task(task).knows_quantisation else None
        pace = Pace(_SECONDS_BETWEEN_PREVIEWS)
        steps = restore_steps(
            source.image, source.mask, task, factor, settings, quantisation_table=table, stop_requested=stop.is_set,
            report_wanted=lambda: pace.is_due() or not may_go_on.is_set(),
        )  # fmt: skip
        for progress in steps:
            pace.made()
            if progress.result is not None:
                return progress.result
            yield progress
            may_go_on.wait()
    except RuntimeError as error:  # torch's own, out of memory included
        raise RestorationFailed(_explain(error)) from error
    raise RestorationFailed("the run ended without a result.")


def _explain(error: RuntimeError) -> str:
    text = str(error)
    if "out of memory" in text.lower() or "can't allocate" in text.lower():
        return "the device ran out of memory; choose Fast, the device cpu, or a smaller image."
    return f"the restoration failed: {text.splitlines()[0] if text else type(error).__name__}"
