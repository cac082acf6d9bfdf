"""The folded part of the form: every further setting, what it does to the picture, and which preset set it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, LineEdit, SpinBox
from magicgui.widgets.bases import ValueWidget

from ...settings import Settings, find_bounds


class Choice(NamedTuple):
    """One field of ``Settings`` as the form shows it; the numbers that it takes are those of ``Settings``."""

    label: str
    meaning: str
    widget: Callable[..., ValueWidget]
    options: dict[str, Any]


def _words(*choices: tuple[str, str]) -> dict[str, Any]:
    return {"choices": list(choices)}


CHOICES = {
    "lipschitz_bound": Choice(
        "Lipschitz bound λ",
        "How fine the network may draw. Smaller is smoother and safer (1.0), larger keeps more detail and more noise "
        "(2.2). auto: starts small and grows while the held-out pixels gain; none: no control.",
        LineEdit, {},
    ),
    "step_limit": Choice("Steps at most", "Usually it stops by itself much earlier.", SpinBox, {}),
    "stopping": Choice(
        "Stop by", "Pixels that the fit never sees and that judge it; or the paper's ratio of blurriness to sharpness; "
        "or at the step limit only.", ComboBox,
        _words(("held-out pixels", "auto"), ("paper's ratio", "ratio"), ("step limit", "fixed")),
    ),
    "chosen_step": Choice("Step chosen by hand", "Ends at this step and returns its picture, whatever the rule says: "
                          "it repeats a moment that was used. none: the rule decides.", LineEdit, {}),
    "partner": Choice(
        "Classical partners", "Non-local means and a Wiener filter help to remove noise, as far as the held-out pixels "
        "gain. Off: the network alone, as in the paper.", CheckBox, {"text": ""},
    ),
    "runs": Choice("Networks averaged", "Several networks, trained side by side and averaged: less of each one's "
                   "invention, more time.", SpinBox, {}),
    "network": Choice(
        "Network", "The Decoder is smooth and fast; the Encoder-Decoder is that of the original deep image prior; the "
        "ConvNet has no upsampling and takes up fine detail, and noise, sooner.", ComboBox,
        _words(("Decoder", "decoder"), ("Encoder-Decoder", "encoder_decoder"), ("ConvNet", "conv_net")),
    ),
    "normalisation": Choice(
        "Normalisation", "Mean only keeps the bound λ; batch normalisation undoes it: the network goes on to fit the "
        "noise.", ComboBox, _words(("mean only", "lipschitz"), ("batch", "batch")),
    ),
    "upsampling": Choice(
        "Upsampling", "How the network enlarges. Bilinear is smooth; nearest gives harder edges; the Gaussian's σ sets "
        "the smoothness.", ComboBox,
        _words(("bilinear", "bilinear"), ("nearest", "nearest"), ("Gaussian", "gaussian")),
    ),
    "gaussian_sigma": Choice(
        "Gaussian σ", "Of the Gaussian upsampling, in pixels of the smaller image: larger is smoother and slower, 0 "
        "shows a grid.", FloatSpinBox, {"step": 0.1},
    ),
    "gaussian_kernel_size": Choice("Gaussian kernel", "Its side in pixels, odd; at least 4σ + 1.", SpinBox, {}),
    "width": Choice("Channels", "Of every layer. More draw finer detail and take longer. auto: 64, and 32 where noise "
                    "is removed.", LineEdit, {}),
    "levels": Choice("Levels", "Number of enlargements by two. More levels bridge wider holes. auto: 5, or as many as "
                     "the widest hole needs.", LineEdit, {}),
    "convolutions_per_level": Choice("Convolutions a level", "More draw finer detail and take longer.", SpinBox, {}),
    "optimiser": Choice(
        "Optimiser", "Muon needs a third of the steps, and its networks always start; Adam is that of the published "
        "code.", ComboBox, _words(("Muon", "muon"), ("Adam", "adam")),
    ),
    "learning_rate": Choice("Learning rate", "Size of the steps: larger is faster, until it fails. auto: 0.02, half "
                            "of it for a JPEG and to enlarge; 0.004 for Adam.", LineEdit, {}),
    "averaging": Choice("Output averaging", "Weight of the past in the running mean of the pictures: 0.98 averages "
                        "about 50 steps, 0 shows each as it is.", FloatSpinBox, {"step": 0.01}),
    "input_noise": Choice("Input noise", "Shakes the network's input at every step: slower, and less noise is fitted "
                          "without control (0.03 in the original deep image prior).", FloatSpinBox,
                          {"step": 0.01}),
    "weight_noise": Choice("Weight noise", "Langevin dynamics (2 in its authors' code): the picture is the mean of "
                           "many samples and comes with an uncertainty; takes thousands of steps.", FloatSpinBox,
                           {"step": 0.5}),
    "burn_in": Choice("Burn-in", "Steps before the first of these samples.", SpinBox, {}),
    "bands": Choice("Frequency bands", "Curves in the plot; the picture stays the same.", SpinBox, {}),
    "seed": Choice("Seed", "The same seed repeats the picture.", SpinBox, {}),
    "device": Choice("Device", "auto, cpu, cuda, cuda:1, mps … The picture stays the same up to rounding.", LineEdit,
                     {}),
}  # fmt: skip
_DECIMALS = 4
_SHOWN_FOR_GAUSSIAN = ("gaussian_sigma", "gaussian_kernel_size")
_WHOLE_OR_AUTO = ("levels", "width")
_NUMBER_OR_AUTO = ("lipschitz_bound", "learning_rate")
_WORDS = {"auto": "auto", "none": None}


class AdvancedSettings(Container):
    """One field for each of ``CHOICES``. A preset sets them all; what the user changes afterwards counts."""

    def __init__(self) -> None:
        super().__init__(name="advanced")
        for name, choice in CHOICES.items():
            field = choice.widget(name=name, label=choice.label, **choice.options)
            if isinstance(field, FloatSpinBox | SpinBox):
                set_bounds(field)
            self.append(field)
            field.changed.connect(self.explain)
        self._preset, self._preset_label = Settings(), ""

    def show_preset(self, preset: Settings, label: str) -> None:
        """Set every field to the preset's value, but seed and device, which are the user's own."""
        kept = {own: self[own].value for own in ("seed", "device")} if self._preset_label else {}
        self._preset, self._preset_label = preset, label
        for field in self._fields():
            field.value = kept.get(field.name, _as_shown(getattr(self._preset, field.name), field))
        self.explain()

    def show_settings(self, settings: Settings) -> None:
        """Set every field to what these settings hold, as if the user had typed them."""
        for field in self._fields():
            field.value = _as_shown(getattr(settings, field.name), field)

    def settings(self) -> Settings:
        """Return the preset with what the user changed.

        Raises
        ------
        ValueError
            If a field holds what cannot be used.
        """
        changed = {
            field.name: _as_setting(field.value, field)
            for field in self._fields()
            if field.value != _as_shown(getattr(self._preset, field.name), field)
        }
        if changed.get("stopping") == "auto":  # which needs pixels to watch; the rivals' presets hold none out
            changed["held_out"] = "auto"
        return dataclasses.replace(self._preset, **changed)

    def explain(self) -> None:
        """Say in each tooltip who set the value, and hide what has no effect."""
        for field in self._fields():
            preset = _as_shown(getattr(self._preset, field.name), field)
            setter = f'Set by "{self._preset_label}".' if field.value == preset else (
                f'Changed by you; "{self._preset_label}" has {preset}.')  # fmt: skip
            field.tooltip = f"{CHOICES[field.name].meaning}\n{setter}"
        for name in _SHOWN_FOR_GAUSSIAN:
            self[name].visible = self.visible and self["upsampling"].value == "gaussian"
        self["burn_in"].visible = self.visible and self["weight_noise"].value > 0

    def _fields(self) -> list[Any]:
        return list(self)


def set_bounds(field: FloatSpinBox | SpinBox) -> None:
    """Let a field named after one of ``Settings`` take the numbers that this one does."""
    bounds = find_bounds(field.name)
    if isinstance(field, FloatSpinBox):
        field.native.setDecimals(_DECIMALS)  # first, since Qt rounds the bounds to them
    else:
        field.step = bounds.step
    # magicgui compares floats: the largest seed, as one, is the number after it
    field.min, field.max = bounds.least, type(field.value)(float(bounds.most))


def _as_shown(value: Any, field: Any) -> Any:
    """Return a setting as its field shows it."""
    if isinstance(field, LineEdit):
        return "none" if value is None else str(value)
    return round(value, _DECIMALS) if isinstance(field, FloatSpinBox) else value


def _as_setting(value: Any, field: Any) -> Any:
    """Return what a field shows as a setting."""
    if field.name not in ("chosen_step", *_NUMBER_OR_AUTO, *_WHOLE_OR_AUTO):
        return value.strip() or "auto" if isinstance(value, str) else value
    text = value.strip().lower() or ("none" if field.name == "chosen_step" else "auto")
    if text in _WORDS:
        return _WORDS[text]
    try:
        return float(text) if field.name in _NUMBER_OR_AUTO else int(text)
    except ValueError:
        instead = "none" if field.name == "chosen_step" else "auto"
        raise ValueError(f'{field.label} is "{value}"; give a number, or {instead}.') from None
