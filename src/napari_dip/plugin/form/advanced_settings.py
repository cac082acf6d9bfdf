"""The folded part of the form: all other settings, what each does to the image, and which preset set it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, LineEdit, SpinBox
from magicgui.widgets.bases import ValueWidget

from ...settings import Settings, find_bounds


class Choice(NamedTuple):
    """How the form shows one field of ``Settings``; its bounds come from ``Settings``."""

    label: str
    meaning: str
    widget: Callable[..., ValueWidget]
    options: dict[str, Any]


def _words(*choices: tuple[str, str]) -> dict[str, Any]:
    return {"choices": list(choices)}


CHOICES = {
    "lipschitz_bound": Choice(
        "Lipschitz bound λ",
        "How fine a detail the network can draw. Smaller is smoother and safer (1.0); larger keeps more detail and "
        "more noise (2.2). auto: starts small and grows as long as held-out pixels gain. none: no control.",
        LineEdit, {},
    ),
    "step_limit": Choice("Maximum steps", "A run usually stops by itself much earlier.", SpinBox, {}),
    "stopping": Choice(
        "Stopping rule", "Estimated error: stops when it no longer falls. Pixels that the fit never sees show the "
        "error; where the noise is known, all pixels do.\n"
        "Paper's ratio: stops when blurriness / sharpness levels off.\nMaximum steps: runs to the end.", ComboBox,
        _words(("Estimated error", "auto"), ("Paper's ratio", "ratio"), ("Maximum steps", "fixed")),
    ),
    "chosen_step": Choice("Stop at step", "Ends at this step and returns its image, whatever the stopping rule says; "
                          "this repeats a moment that you chose. none: the rule decides.", LineEdit, {}),
    "partner": Choice(
        "Help from classical filters", "Collaborative filters and a Wiener filter help to remove noise, and similar "
        "blocks to fill in missing pixels, as far as held-out pixels gain. Off: the network alone, as in the paper.",
        CheckBox, {"text": ""},
    ),
    "remove_stripes": Choice(
        "Remove stripes", "Takes out what whole rows or columns share, as from a camera's readout or a flickering "
        "laser line, before denoising; only if it is stronger than chance explains.", CheckBox, {"text": ""},
    ),
    "runs": Choice("Networks to average", "Trains several networks side by side and averages them: less of what each "
                   "one invents, but more time.", SpinBox, {}),
    "network": Choice(
        "Network", "The Decoder is smooth and fast. The Encoder-Decoder is the network of the original deep image "
        "prior. The ConvNet has no upsampling and learns fine detail, and noise, sooner.", ComboBox,
        _words(("Decoder", "decoder"), ("Encoder-Decoder", "encoder_decoder"), ("ConvNet", "conv_net")),
    ),
    "normalisation": Choice(
        "Normalisation", "Mean only keeps the bound λ. Batch normalisation undoes it: the network goes on to fit the "
        "noise.", ComboBox, _words(("Mean only", "lipschitz"), ("Batch", "batch")),
    ),
    "upsampling": Choice(
        "Upsampling", "How the network enlarges. Bilinear is smooth; nearest gives harder edges; for Gaussian, σ sets "
        "the smoothness.", ComboBox,
        _words(("Bilinear", "bilinear"), ("Nearest", "nearest"), ("Gaussian", "gaussian")),
    ),
    "gaussian_sigma": Choice(
        "Gaussian σ", "For Gaussian upsampling, in pixels of the smaller image. Larger is smoother and slower; 0 shows "
        "a grid.", FloatSpinBox, {"step": 0.1},
    ),
    "gaussian_kernel_size": Choice("Gaussian kernel", "Its side in pixels, odd; at least 4σ + 1.", SpinBox, {}),
    "width": Choice("Network width", "Channels in every layer. More channels draw finer detail and take longer. auto: "
                    "64, or 32 where filters do much of the work.", LineEdit, {}),
    "levels": Choice("Levels", "How many times the network doubles the size. More levels bridge wider holes. auto: 5, "
                     "or as many as the widest hole needs.", LineEdit, {}),
    "convolutions_per_level": Choice("Convolutions / level", "More draw finer detail and take longer.", SpinBox, {}),
    "optimiser": Choice(
        "Optimiser", "Muon needs a third of the steps, and its networks always start. Adam is what the published code "
        "uses.", ComboBox, _words(("Muon", "muon"), ("Adam", "adam")),
    ),
    "learning_rate": Choice("Learning rate", "Larger is faster, until it fails. auto: 0.02, or 0.01 for a JPEG and to "
                            "enlarge; for Adam 0.004.", LineEdit, {}),
    "averaging": Choice("Output averaging", "Weight of the past in the running mean of the network's outputs: 0.98 "
                        "averages about 50 steps, 0 none. auto: 0.98, or 0.9 to remove noise.", LineEdit, {}),
    "input_noise": Choice("Input noise", "Noise added to the network's input at every step. Slower, but without "
                          "control less noise is fitted (0.03 in the original deep image prior).", FloatSpinBox,
                          {"step": 0.01}),
    "weight_noise": Choice("Weight noise", "Langevin dynamics (2 in its authors' code): the result is the mean of many "
                           "samples and comes with an uncertainty. Takes thousands of steps.", FloatSpinBox,
                           {"step": 0.5}),
    "burn_in": Choice("Burn-in", "Steps before the first sample of the Langevin dynamics.", SpinBox, {}),
    "bands": Choice("Frequency bands", "Number of curves in the plot. The result stays the same.", SpinBox, {}),
    "seed": Choice("Seed", "The same seed gives the same result.", SpinBox, {}),
    "device": Choice("Device", "auto, cpu, cuda, cuda:1, mps … The result stays the same up to rounding.", LineEdit,
                     {}),
}  # fmt: skip
_DECIMALS = 4
_SHOWN_FOR_GAUSSIAN = ("gaussian_sigma", "gaussian_kernel_size")
_WHOLE_OR_AUTO = ("levels", "width")
_NUMBER_OR_AUTO = ("lipschitz_bound", "learning_rate", "averaging")
_WORDS = {"auto": "auto", "none": None}


class AdvancedSettings(Container):
    """One field for each of ``CHOICES``. A preset sets them all; the user's changes override it."""

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
        """Set every field to the preset's value, except seed and device, which stay the user's."""
        kept = {own: self[own].value for own in ("seed", "device")} if self._preset_label else {}
        self._preset, self._preset_label = preset, label
        for field in self._fields():
            field.value = kept.get(field.name, _as_shown(getattr(self._preset, field.name), field))
        self.explain()

    def show_settings(self, settings: Settings) -> None:
        """Set every field to the value in these settings, as if the user had typed it."""
        for field in self._fields():
            field.value = _as_shown(getattr(settings, field.name), field)

    def settings(self) -> Settings:
        """Return the preset with the user's changes.

        Raises
        ------
        ValueError
            If a field holds a value that cannot be used.
        """
        changed = {
            field.name: _as_setting(field.value, field)
            for field in self._fields()
            if field.value != _as_shown(getattr(self._preset, field.name), field)
        }
        if changed.get("stopping") == "auto":  # which needs held-out pixels; the rivals' presets hold none out
            changed["held_out"] = "auto"
        return dataclasses.replace(self._preset, **changed)

    def explain(self) -> None:
        """Say in each tooltip who set the value, and hide fields that have no effect."""
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
    """Give a field the bounds of the setting that it is named after."""
    bounds = find_bounds(field.name)
    if isinstance(field, FloatSpinBox):
        field.native.setDecimals(_DECIMALS)  # first: Qt rounds the bounds to this many
    else:
        field.step = bounds.step
    # magicgui compares floats, and the largest seed rounds up to the number after it
    field.min, field.max = bounds.least, type(field.value)(float(bounds.most))


def _as_shown(value: Any, field: Any) -> Any:
    """Return a setting's value as its field shows it."""
    if isinstance(field, LineEdit):
        return "none" if value is None else str(value)
    return round(value, _DECIMALS) if isinstance(field, FloatSpinBox) else value


def _as_setting(value: Any, field: Any) -> Any:
    """Return the setting's value from what its field shows."""
    if field.name not in ("chosen_step", *_NUMBER_OR_AUTO, *_WHOLE_OR_AUTO):
        return value.strip() or "auto" if isinstance(value, str) else value
    text = value.strip().lower() or ("none" if field.name == "chosen_step" else "auto")
    if text in _WORDS:
        return _WORDS[text]
    try:
        return float(text) if field.name in _NUMBER_OR_AUTO else int(text)
    except ValueError:
        instead = "none" if field.name == "chosen_step" else "auto"
        raise ValueError(f'{field.label} is "{value}"; enter a number or {instead}.') from None
