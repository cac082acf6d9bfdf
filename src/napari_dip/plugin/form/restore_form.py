"""The form: the user's choices, as one request."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, Label, PushButton, SpinBox
from napari.layers import Image, Labels, Shapes
from napari.viewer import Viewer

from ...measurement.task import TASKS, find_task
from ...outputs import FURTHER_OUTPUTS, OUTPUTS
from ...record import Record
from ...request import Request
from ...settings import Settings
from ..layers.layer_axes import count_dimensions, find_layer_axes
from ..layers.source import read_source
from ..preferences import read_preferences
from ..request import LayerRequest, Plan
from ..words import capitalise
from .advanced_settings import CHOICES, AdvancedSettings, set_bounds
from .layer_choice import LayerChoice, choose_image
from .mask_finder import MaskFinder
from .narrow_form import LabelAligner, let_shrink, pair, wrap
from .psf_form import PsfForm
from .stack_form import StackForm

_FOLDED, _UNFOLDED = "Advanced ▸", "Advanced ▾"
QUALITIES = [("Fast", "fast"), ("Balanced", "default"), ("Best", "best")]
COMPARISONS = [("As published", "published"), ("As in the paper", "paper"),
               ("Deep image prior (no control)", "deep_image_prior"), ("Deep decoder (few weights)", "deep_decoder"),
               ("Langevin dynamics", "gp_dip")]  # fmt: skip
_SAVE_AS = "Save as {}, like the original"
_NONE = ""
_LOADED = "loaded"  # the quality that stands for a loaded record
_OUTPUT_FIELDS = ("keep_known", "smoothed_lipschitz_bound", "detail_amount")  # of Settings, beside the extra outputs


class RestoreForm(Container):
    """Image, task, mask, quality and outputs; all other settings are folded below.

    Parameters
    ----------
    viewer : Viewer
        The viewer whose layers are offered.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(name="form", labels=False)
        defaults, preferences = Settings(), read_preferences()
        self._loaded: tuple[Settings, str] | None = None
        self.image = choose_image(viewer, "The image to restore: grey or RGB. A stack is restored plane by plane.")
        self.stack = StackForm(viewer, self.image)
        self.task = ComboBox(
            name="task", label="Task", choices=[(task.label, task.name) for task in TASKS.values()], value="denoise",
            tooltip="What is wrong with the image.",
        )  # fmt: skip
        self.mask = LayerChoice(
            viewer, (Labels, Shapes), follows_selection=False, name="mask", label="Missing pixels",
            tooltip="A Labels or Shapes layer that covers what is missing or broken. It may have any position "
            "and scale: it is mapped onto the image's pixels.",
        )  # fmt: skip
        self.mask_finder = MaskFinder(viewer, lambda: self.image.value, self._choose_mask, self.stack.this_plane)
        self.factor = SpinBox(name="factor", label="Factor", value=2, min=2, max=16,
                              tooltip="How many times more rows and columns the result has.")  # fmt: skip
        self.psf = PsfForm(viewer, self.image, self.stack.count_channels)
        self.stack.together.changed.connect(self.psf.show_psf)
        # what some tasks take beside image and mask
        self.parameters: dict[str, Any] = {field.name: field for field in (self.factor, self.psf)}
        self.missing_label = SpinBox(
            name="missing_label", label="Label (0 = all)", value=0, min=0, max=2**31 - 1,
            tooltip="Which label marks missing pixels; 0 means every label.",
        )  # fmt: skip
        self.quality = ComboBox(name="quality", label="Quality", choices=self._qualities, value=preferences.quality,
                                tooltip="How long to try. Best averages four networks: that helps to enlarge and to "
                                "fill in wide holes, but hardly to remove noise.")  # fmt: skip
        self.comparison = ComboBox(
            name="comparison", label="For comparison", choices=[("–", _NONE), *COMPARISONS], value=_NONE,
            tooltip="In place of the quality: the settings of the paper, of the code published with it, and of other "
            "methods. To compare results, not to get the best one.",
        )  # fmt: skip
        self.extra_outputs_label = Label(name="extra_outputs_label", label="", value="Extra outputs:")
        self.extra_outputs = {
            name: CheckBox(name=name, text=capitalise(OUTPUTS[name].label), value=False, tooltip=OUTPUTS[name].shows)
            for name in FURTHER_OUTPUTS
        }
        self.original_type = CheckBox(
            name="original_type", text=_SAVE_AS.format("integers"), value=False,
            tooltip="On: results are rounded and clipped to the original's pixel type, such as uint16; a note "
            "says how many were clipped. Off: float32, without loss. Residual and uncertainty are always float32.",
        )  # fmt: skip
        self.keep_known = CheckBox(
            name="keep_known", text="Keep good pixels unchanged", value=defaults.keep_known,
            tooltip="On: pixels that are not missing stay as they are, and an enlarged image shrinks back to the "
            "original. Off: the network draws all pixels, which also removes noise.",
        )  # fmt: skip
        self.smoothed_lipschitz_bound = FloatSpinBox(
            name="smoothed_lipschitz_bound", label="Smoothness", value=defaults.smoothed_lipschitz_bound,
            step=0.1,
            tooltip="Of the smoothed image: its Lipschitz bound λ. A smaller number is smoother, so more counts as "
            "detail.",
        )  # fmt: skip
        self.detail_amount = FloatSpinBox(
            name="detail_amount", label="Detail amount", value=defaults.detail_amount, step=0.25,
            tooltip="How strongly to enhance details; 0 for not at all.",
        )  # fmt: skip
        for field in (self.smoothed_lipschitz_bound, self.detail_amount):
            set_bounds(field)
        self.advanced = AdvancedSettings()
        self.advanced.margins = (0, 0, 0, 0)
        self.advanced_shown = PushButton(name="advanced_shown", text=_FOLDED, tooltip="All other settings.")
        self.advanced_shown.changed.connect(lambda: self._show_advanced(self.advanced_shown.text == _FOLDED))
        image_row: Container = Container(name="image_row")
        fields: Container = Container(name="fields")
        quality: Container = Container(name="quality_row")
        outputs: Container = Container(name="outputs", labels=False)
        amounts: Container = Container(name="amounts")
        # filled only now, because magicgui aligns the labels of widgets that are added to a container
        image_row.append(self.image)
        fields.extend([self.task, self.factor, self.mask, self.missing_label])
        quality.append(self.quality)
        comparison: Container = Container(name="comparison_row")
        comparison.append(self.comparison)
        comparison.margins = (0, 0, 0, 0)
        self._comparison_row = comparison
        boxes = list(self.extra_outputs.values())
        pairs = [pair(*boxes[n : n + 2]) for n in range(0, len(boxes), 2)]
        # rows to hide as a whole: hidden fields alone would leave a gap
        self._extra_rows, self._amounts = [self.extra_outputs_label, *pairs], amounts
        outputs.extend([*self._extra_rows, self.original_type, self.keep_known])
        amounts.extend([self.smoothed_lipschitz_bound, self.detail_amount])
        labelled = [image_row, self.stack, fields, self.psf.rows, self.mask_finder.fields, quality, amounts]
        for container in (self, *labelled, outputs):
            container.margins = (0, 0, 0, 0)
        let_shrink([*(field for container in labelled for field in container), self.comparison, *self.advanced])
        self.image_note, self.mask_note = Label(name="image_note", value=""), Label(name="mask_note", value="")
        self.extend([
            image_row, self.image_note, self.stack, fields, self.psf, self.mask_note, self.mask_finder, quality,
            outputs, amounts, self.advanced_shown, comparison, self.advanced,
        ])  # fmt: skip
        for note in (self.image_note, self.mask_note):
            wrap(note.native)
        self.image.on_lost = self.mask.on_lost = self._show_lost_layers
        self.image.changed.connect(self._show_lost_layers)
        self._show_lost_layers()
        self.native.layout().addStretch()
        LabelAligner(self.native, [labelled, [comparison, self.advanced]])
        self.task.changed.connect(self._choose_only_mask)
        for choice in (self.task, self.mask, *boxes):
            choice.changed.connect(self._show_task)
        self.quality.changed.connect(self._show_preset)
        self.comparison.changed.connect(self._show_preset)
        self.image.changed.connect(self._show_type)
        self.image.changed.connect(self.mask_finder.follow_image)
        self._show_preset()
        if preferences.device != defaults.device:
            self.advanced["device"].value = preferences.device
        self._show_task()
        self._show_type()

    def _qualities(self, widget: object = None) -> list[tuple[str, str]]:
        """Return the named settings, followed by those of a loaded record."""
        return [*QUALITIES, *([(f"As in “{self._loaded[1]}”", _LOADED)] if self._loaded else [])]

    def _show_preset(self) -> None:
        name = self.comparison.value or self.quality.value
        label = next(label for label, quality in (*self._qualities(), *COMPARISONS) if quality == name)
        self.quality.enabled = not self.comparison.value
        preset = self._loaded[0] if name == _LOADED and self._loaded else Settings.preset(name)
        self.advanced.show_preset(preset, label)

    def _show_type(self) -> None:
        """Name the original's pixel type; hide the box for float32, which results have by default."""
        image = self.image.value
        self.original_type.visible = image is None or image.dtype != "float32"
        self.original_type.text = _SAVE_AS.format("integers" if image is None else image.dtype)

    def _choose_mask(self, layer: Labels) -> None:
        self.mask.value = layer

    def _show_lost_layers(self, *_: object) -> None:
        """Say that a layer chosen by hand was removed, and what happens now, until another one is chosen."""
        then = "Image follows the selected layer again." if self.image.value is not None else "There is no other image."
        for choice, note, means in (
            (self.image, self.image_note, then),
            (self.mask, self.mask_note, "Now no pixels are marked as missing."),
        ):
            note.value = f"“{choice.lost_name}” was removed. {means}" if choice.lost_name else ""
            note.visible = bool(choice.lost_name)

    def forget_lost_layers(self) -> None:
        """Clear the notes about removed layers: the user has gone on without them."""
        for choice in (self.image, self.mask):
            choice.forget_lost()

    def forget_viewer(self) -> None:
        """Disconnect from the viewer."""
        for part in (self.image, self.mask, self.stack, self.psf):
            part.forget_viewer()

    def show_record(self, record: Record, name: str) -> str:
        """Fill the form from the record of a layer with this name; return a message about it.

        Settings that the form does not show are kept, too: those of a named quality if one has them, else a quality of
        their own.
        """
        settings, task = record.settings, find_task(record.task)
        if record.factor is not None and record.factor > self.factor.max:
            raise ValueError(f"it enlarges {record.factor} times, and the form allows at most {self.factor.max}.")
        self.task.value = task.name
        for parameter, field in self.parameters.items():
            if parameter in record.parameters:
                field.value = record.parameters[parameter]
        quality = _find_quality(settings)
        self._loaded = None if quality else (settings, name)
        self.quality.reset_choices()
        compares = any(quality == name for _, name in COMPARISONS)
        self.comparison.value = quality if compares else _NONE
        if not compares:
            self.quality.value = quality or _LOADED
        self._show_preset()  # again, even if the name is the same
        self.advanced.show_settings(settings)
        for of, field in self._output_fields().items():
            field.value = getattr(settings, of)
        self.original_type.value = record.output.dtype != "float32"
        left = ""
        if record.given is not None and record.given.mask is not None:
            left = " That run had a mask: choose its layer under Missing pixels."
        return f"The form now has the settings of “{name}”.{left}"

    def _output_fields(self) -> dict[str, Any]:
        """Return the fields about outputs by their names in ``Settings``."""
        return self.extra_outputs | {name: getattr(self, name) for name in _OUTPUT_FIELDS}

    def _choose_only_mask(self) -> None:
        """Choose the mask if the task needs one and there is only one candidate."""
        layers = [layer for layer in self.mask.choices if layer is not None]
        if find_task(self.task.value).needs_mask and self.mask.value is None and len(layers) == 1:
            self.mask.value = layers[0]

    def _show_task(self) -> None:
        """Show only the fields that the chosen task uses."""
        task = find_task(self.task.value)
        self.missing_label.visible = isinstance(self.mask.value, Labels)
        self.keep_known.visible = task.keeps_known
        self.stack.show_task(task)
        for row in self._extra_rows:
            row.visible = task.removes_noise
        enhances = self.extra_outputs["detail_enhanced"].value or not task.removes_noise
        smooths = enhances or self.extra_outputs["smoothed"].value
        self._amounts.visible = self.smoothed_lipschitz_bound.visible = smooths
        self.detail_amount.visible = enhances
        for name, field in self.parameters.items():
            field.visible = task.takes(name)
        self._show_advanced(self.advanced_shown.text == _UNFOLDED)

    def _show_advanced(self, shown: bool) -> None:
        self.advanced.visible = shown
        self._comparison_row.visible = shown or bool(self.comparison.value)
        self.advanced.explain()
        self.stack.show_all(shown)
        self.advanced_shown.text = _UNFOLDED if shown else _FOLDED

    def settings(self) -> Settings:
        """Return the form's settings.

        Raises
        ------
        ValueError
            If a field holds a value that cannot be used.
        """
        return dataclasses.replace(
            self.advanced.settings(), **{name: field.value for name, field in self._output_fields().items()}
        )

    def read_options(self) -> Request:
        """Return how to restore each plane.

        Raises
        ------
        ValueError
            If a field holds a value that cannot be used.
        """
        task = find_task(self.task.value)
        parameters = {name: field.value for name, field in self.parameters.items() if task.takes(name)}
        return Request(task.name, self.settings(), parameters)

    def request(self, region: Callable[[Image], tuple[slice, slice]] | None = None) -> LayerRequest:
        """Return what the form asks for; the worker reads the pixels.

        Parameters
        ----------
        region : callable, optional
            Finds the rows and columns of this plane to restore; by default all rows and columns of all chosen planes.

        Raises
        ------
        ValueError, TypeError
            With a message for the user.
        """
        image, stack = self.image.value, self.stack
        task = find_task(self.task.value)
        neighbours = stack.neighbour_axes() if task.takes_neighbours else None
        source = read_source(
            image, self.mask.value, self.missing_label.value, layer_axes=stack.axes(),
            selection=stack.selection() if region is None else stack.this_plane(),
            with_neighbours=neighbours is not None,
        )  # fmt: skip
        if region is not None:
            source = source.cut(region(image))
        return LayerRequest(
            source, self.read_options(), self.original_type.value,
            read_preferences().previews_per_second, None if source.is_single else stack.warm_start_axis(), neighbours,
        )  # fmt: skip

    def plan(self) -> Plan | None:
        """Return what the form asks for, without looking at pixels or marks; None if there is no image.

        Raises
        ------
        ValueError, TypeError
            If a field holds a value that cannot be used.
        """
        image, stack = self.image.value, self.stack
        if image is None or count_dimensions(image) < 2:
            return None
        axes = (stack.axes() or find_layer_axes(image)).axes
        part = axes.part(stack.selection())[0] if stack.applies else axes
        options = dataclasses.replace(self.read_options(), colours=not axes.takes_channels_together)
        helped = find_task(options.task).takes_neighbours and stack.has_neighbours
        return Plan(options, axes.plane_shape, part.count, helped and stack.neighbour_axes() is not None)

    @property
    def device(self) -> str:
        """The device that the user chose."""
        return self.advanced["device"].value.strip() or "auto"


def _find_quality(settings: Settings) -> str | None:
    """Return the quality with the same hidden settings and the most shown ones in common; None if there is none."""
    shown = {*CHOICES, *FURTHER_OUTPUTS, *_OUTPUT_FIELDS}
    found, most = None, -1
    for _, name in (*QUALITIES, *COMPARISONS):
        preset = Settings.preset(name)
        alike = [field.name for field in dataclasses.fields(Settings)
                 if getattr(preset, field.name) == getattr(settings, field.name)]  # fmt: skip
        hidden = {field.name for field in dataclasses.fields(Settings)} - shown - {"snapshots"}
        if hidden <= set(alike) and len(alike) > most:
            found, most = name, len(alike)
    return found
