"""Check a device before a run relies on it: a small fit takes a few steps there and on the CPU.

On CUDA one operation once wrote wrong values without an error: the network learned nothing, and filters hid it.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from dataclasses import dataclass
from typing import Literal, cast

import torch

from .device import (
    DeviceChoice,
    NotEnoughMemory,
    Precision,
    choose_device,
    describe_choice,
    is_out_of_memory,
    name_device,
)
from .settings import Settings

_Precision = Literal["bfloat16", "float32"]

_SIZE = (32, 48)  # pixels; rows and columns differ, so that a mix-up of the two is seen
_STEPS = 3
_RUNS = (1, 2)  # several runs use grouped convolutions, one run does not
_SETTINGS = Settings(
    width=32, levels=2, stem_convolutions=1, input_channels=8, lipschitz_bound=1.4, learning_rate=0.003, averaging=0.0,
    held_out=0.05, held_out_side=1, partner=False,
)  # fmt: skip
_ADVICE = "Update torch and the graphics driver; if that does not help, please report it."
_ADVICE_ON_MEMORY = "Close other programs that use it."


@dataclass(frozen=True, slots=True)
class Differences:
    """How far a device's results are from the CPU's: the largest difference of all steps, relative to the CPU's value.

    Attributes
    ----------
    output : float
        In the image's structure: root mean square, without the mean.
    loss : float
    measures : float
        In blurriness and sharpness; in the band correspondences, absolute.
    gradient : float
        In a layer's gradient: root mean square.
    gradient_size : float
        In the length of a layer's gradient along the CPU's. Rounding has no preferred direction, so it nearly cancels.
    update : float
        In a layer's change in one step: root mean square.
    """

    output: float
    loss: float
    measures: float
    gradient: float
    gradient_size: float
    update: float


_NAMES = {
    "output": "the outputs", "loss": "the losses", "measures": "the measures of the output",
    "gradient": "the gradients", "gradient_size": "the sizes of the gradients", "update": "the updates of the weights",
}  # fmt: skip
# What rounding explains, with a margin; docs/devices.md has the measured values. In float32 a GPU may multiply in TF32
# (10 bits of 23), which is the host's choice. Where rounding moves a feature across the kink of the leaky ReLU, its
# gradient changes entirely: gradients differ by the root of the share of such features, but hardly in size. The
# optimiser divides by a gradient's size and so amplifies rounding in the smallest gradients.
TOLERATED: dict[_Precision, Differences] = {
    "float32": Differences(output=0.03, loss=0.02, measures=0.03, gradient=0.2, gradient_size=0.03, update=0.75),
    "bfloat16": Differences(output=0.15, loss=0.05, measures=0.1, gradient=0.5, gradient_size=0.2, update=1.0),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found.

    Attributes
    ----------
    agrees : bool
    sentence : str
        For the user.
    short_of_memory : bool
        Whether the check could not run, because the device had too little memory free.
    """

    agrees: bool
    sentence: str
    short_of_memory: bool = False


def choose_proven_device(device: str = "auto", precision: Precision = "auto") -> DeviceChoice:
    """Choose a device as ``choose_device`` does, but only one that computes what the CPU computes.

    The first call for a device checks it, which takes a moment; the verdict is kept for the process.

    Parameters
    ----------
    device : str
        ``"auto"``, which becomes the CPU if the best device fails its check, or a torch device name.
    precision : {"auto", "bfloat16", "float32"}

    Raises
    ------
    ValueError
        If a named device does not exist here, or fails its check.
    """
    choice = choose_device(device, precision)
    if torch.device(choice.device).type == "cpu":
        return choice
    verdict = check_device(choice.device, choice.precision)
    if verdict.agrees:
        return dataclasses.replace(choice, reason=f"{choice.reason} {verdict.sentence}")
    advice = _ADVICE_ON_MEMORY if verdict.short_of_memory else _ADVICE
    if device != "auto":
        kind = NotEnoughMemory if verdict.short_of_memory else ValueError
        raise kind(f'device "{device}" is refused: {verdict.sentence} Use "auto" or "cpu". {advice}')
    warning = f"{verdict.sentence} The CPU is used instead: the result is right, only slower. {advice}"
    return describe_choice("cpu", precision, warning, warning)


def check_device(device: str, precision: _Precision = "float32") -> Verdict:
    """Return whether an existing device agrees with the CPU, as far as its precision allows; never raises.

    Parameters
    ----------
    device : str
        A torch device name.
    precision : {"bfloat16", "float32"}
        Of the runs to come. float32 is always checked; bfloat16 is checked too, more coarsely.
    """
    with _checking:  # if several threads ask at once, one does the check
        try:
            verdict = _check_once(_name_fully(device), "float32")
            return _check_once(_name_fully(device), precision) if verdict.agrees else verdict
        except NotEnoughMemory:  # this verdict is not kept: there may be memory later
            sentence = f"{name_device(device)} has too little memory free for a short check."
            return Verdict(False, sentence, short_of_memory=True)


def measure_differences(device: str, precision: _Precision = "float32") -> Differences:
    """Return how far a device differs from the CPU (in float32) in a few steps of a small fit.

    Every step starts from the CPU's state, so that rounding does not add up from step to step.

    Parameters
    ----------
    device : str
        A torch device name.
    precision : {"bfloat16", "float32"}
        Of the convolutions on that device.

    Raises
    ------
    Exception
        Whatever the device raises.
    """
    choice = describe_choice(device, precision, "")
    found = []
    for runs in _RUNS if precision == "float32" else _RUNS[:1]:
        reference = _steps_on_cpu(runs)
        taken = _take_steps(choice, runs, reference)
        found += [_compare(step, other) for step, other in zip(taken, reference, strict=True)]
    rows = torch.tensor([dataclasses.astuple(each) for each in found])
    return Differences(*rows.amax(dim=0).tolist())  # NaN if any is NaN


def forget_verdicts() -> None:
    """Check every device again before its next use: the fault may have been fixed."""
    with _checking:
        _check_once.cache_clear()


_checking = threading.Lock()


@functools.cache
def _check_once(device: str, precision: _Precision) -> Verdict:
    """Return the verdict on a device; raise NotEnoughMemory if the check could not run."""
    try:
        differences = measure_differences(device, precision)
    except Exception as error:  # of any kind: a run would meet it too
        if is_out_of_memory(error):
            raise NotEnoughMemory from error
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        return Verdict(False, f"{name_device(device)} failed a short check: {first_line}.")
    tolerated = TOLERATED[precision]
    excess = {name: getattr(differences, name) / getattr(tolerated, name) for name in _NAMES}
    wrong = {name: share for name, share in excess.items() if not share <= 1}  # NaN counts as wrong
    if not wrong:
        return Verdict(True, "It agrees with the CPU.")
    worst = max(wrong, key=lambda name: float("inf") if wrong[name] != wrong[name] else wrong[name])
    amount = getattr(differences, worst)
    fault = "are NaN" if amount != amount else f"differ by {amount:.1%}"
    check = "a short check in bfloat16" if precision == "bfloat16" else "a short check"
    return Verdict(
        False, f"{name_device(device)} does not compute what the CPU does: in {check}, {_NAMES[worst]} {fault}."
    )


def _name_fully(device: str) -> str:
    """Return a device's name with its number, because "cuda" and "cuda:0" may be the same."""
    return str(torch.empty(0, device=device).device)


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of a fit of s runs, copied to the CPU.

    Attributes
    ----------
    start : dict
        The network's state before the step.
    output : Tensor
        ``(1, c, h, w)``.
    loss : float
    measures : tuple of float
        Blurriness, sharpness, and the correspondence of each band.
    gradients, updates : list of Tensor
        ``(s, n)`` for each layer's kernels, then for all biases together.
    """

    start: dict[str, torch.Tensor]
    output: torch.Tensor
    loss: float
    measures: tuple[float, ...]
    gradients: list[torch.Tensor]
    updates: list[torch.Tensor]


@functools.cache
def _steps_on_cpu(runs: int) -> list[_Step]:
    return _take_steps(describe_choice("cpu", "float32", ""), runs)


def _take_steps(choice: DeviceChoice, runs: int, reference: list[_Step] | None = None) -> list[_Step]:
    """Take a few steps of a small fit on a device; each starts from the reference's state, if there is one."""
    from .fit_plan import build_estimate, build_fit  # here, because choosing a CPU does not need the engine
    from .measurement.data_term import data_term_of
    from .measurement.task import find_task

    values, known = (each.to(choice.device) for each in _draw_scene())
    data_term = data_term_of(find_task("denoise"), values, known)
    settings = dataclasses.replace(_SETTINGS, runs=runs)
    fit = build_fit(settings, choice, data_term)
    estimate = build_estimate(settings, fit)
    steps = []
    for number in range(_STEPS):
        if reference is not None:
            fit.start_from(reference[number].start)
        start = {name: value.detach().cpu().clone() for name, value in fit.network.state_dict().items()}
        fit.step()
        weights = {name: each for name, each in fit.network.named_parameters() if each.requires_grad}
        gradients = {name: cast("torch.Tensor", each.grad).cpu() for name, each in weights.items()}
        updates = {name: each.detach().cpu() - start[name] for name, each in weights.items()}
        seen = estimate.measure()
        measures = (seen.blurriness, seen.sharpness, *seen.band_correspondence)
        output = fit.averaged_outputs.mean(dim=0, keepdim=True).cpu()
        steps.append(_Step(start, output, seen.loss, measures, _group_by_layer(gradients), _group_by_layer(updates)))
    return steps


def _draw_scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Return waves and a disc with noise, ``(1, 1, h, w)`` in [0, 1], and which pixels are known."""
    rows, columns = (torch.linspace(0, 1, side, dtype=torch.float32) for side in _SIZE)
    distance = (rows[:, None] - 0.4).square() + (columns - 0.6).square()
    picture = 0.45 + 0.2 * torch.sin(9 * rows[:, None] + 5 * columns) + 0.2 * (distance < 0.05)
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    known = torch.ones(1, 1, *_SIZE, dtype=torch.bool)
    known[..., 8:16, 20:24] = False
    return (picture + 0.03 * noise).clamp(0, 1)[None, None], known


def _group_by_layer(tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return one ``(s, n)`` tensor per kernel, and a last one for all biases, because one layer has too few."""
    kernels = [each.flatten(1) for each in tensors.values() if each.ndim == 5]
    biases = [each.flatten(1) for each in tensors.values() if each.ndim < 5]
    return [*kernels, torch.cat(biases, dim=1)]


def _compare(step: _Step, reference: _Step) -> Differences:
    structure = reference.output - reference.output.mean()
    blurriness_and_sharpness, bands = slice(0, 2), slice(2, None)
    seen, expected = torch.tensor(step.measures), torch.tensor(reference.measures)
    pairs = list(zip(step.gradients, reference.gradients, strict=True))
    sizes = [((one * other).sum(dim=1) / _square(other) - 1).abs().amax() for one, other in pairs]
    return Differences(
        output=float((_square(step.output - reference.output) / _square(structure)).sqrt().amax()),
        loss=abs(step.loss / reference.loss - 1),
        measures=max(
            float((seen / expected - 1)[blurriness_and_sharpness].abs().amax()),
            float((seen - expected)[bands].abs().amax()),
        ),
        gradient=_largest_error(step.gradients, reference.gradients),
        gradient_size=float(torch.stack(sizes).amax()),
        update=_largest_error(step.updates, reference.updates),
    )


def _largest_error(tensors: list[torch.Tensor], references: list[torch.Tensor]) -> float:
    errors = [
        (_square(one - other) / _square(other)).sqrt().amax() for one, other in zip(tensors, references, strict=True)
    ]
    return float(torch.stack(errors).amax())


def _square(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of squares of each run, ``(s,)``."""
    return tensor.flatten(1).square().sum(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
