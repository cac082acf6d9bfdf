"""The form: what the user chooses, as one request."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, PushButton, SpinBox, create_widget
from napari.layers import Image, Labels
from qtpy.QtWidgets import QComboBox

from ..measurement.task import TASKS, find_task
from ..settings import Settings
from .advanced_settings import AdvancedSettings
from .layers import read_source
from .run import Request

_FOLDED, _UNFOLDED = "Advanced ▸", "Advanced ▾"
QUALITIES = [("Fast", "fast"), ("Balanced", "default"), ("Best", "best"), ("As published", "published"),
              ("As in the paper", "paper"), ("Rival: deep image prior (no control)", "deep_image_prior"),
              ("Rival: deep decoder (few weights)", "deep_decoder"), ("Rival: Langevin", "gp_dip")]  # fmt: skip


class RestoreForm(Container):
    """Image, task, mask, quality and outputs; every further setting folded below."""

    def __init__(self) -> None:
        super().__init__(name="form", labels=False)
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
        self.quality = ComboBox(name="quality", label="Quality", choices=QUALITIES, value="default",
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
        self.advanced_shown = PushButton(name="advanced_shown", text=_FOLDED, tooltip="Every further setting.")
        self.advanced_shown.changed.connect(lambda: self._show_advanced(self.advanced_shown.text == _FOLDED))
        fields: Container = Container(name="fields")
        fields.extend([  # after its making: magicgui then aligns the labels
            self.image, self.task, self.factor, self.mask, self.missing_label, self.quality, self.smoothed,
            self.detail_enhanced, self.residual, self.uncertainty, self.keep_known, self.smoothed_lipschitz_bound,
            self.detail_amount,
        ])  # fmt: skip
        fields.margins = self.margins = (0, 0, 0, 0)
        for field in (*fields, *self.advanced):
            if isinstance(field, ComboBox):  # a long entry must not widen the dock
                field.native.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
                field.native.setMinimumContentsLength(8)
        self.extend([fields, self.advanced_shown, self.advanced])
        self.native.layout().addStretch()
        for field in (self.task, self.mask, self.smoothed, self.detail_enhanced):
            field.changed.connect(self._show_task)
        self.quality.changed.connect(self._show_preset)
        self._show_preset()
        self._show_task()

    def _show_preset(self) -> None:
        label = next(label for label, name in QUALITIES if name == self.quality.value)
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

    def request(self, region: Callable[[Image], tuple[slice, slice]] | None = None) -> Request:
        """Return what the form asks for, with a copy of the layers' pixels.

        Parameters
        ----------
        region : callable, optional
            Finds the rows and columns of an image that are wanted; all by default.

        Raises
        ------
        ValueError, TypeError
            In a sentence for the user.
        """
        source = read_source(self.image.value, self.mask.value, self.missing_label.value)
        if region is not None:
            source = source.cut(region(self.image.value))
        factor = self.factor.value if find_task(self.task.value).needs_factor else None
        return Request(source, self.task.value, factor, self.settings())

    @property
    def device(self) -> str:
        """The device that is asked for."""
        return self.advanced["device"].value.strip() or "auto"


def _choose_layer(name: str, label: str, annotation: Any, **options: Any) -> Any:
    """Return a choice of the viewer's layers of a type; napari keeps it up to date."""
    return create_widget(name=name, label=label, annotation=annotation, options=options)
