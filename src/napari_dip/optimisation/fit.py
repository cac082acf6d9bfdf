"""The fit of an untrained network to one measurement: the whole state of a run in one object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..spectrum.band_correspondence import band_correspondence
from ..spectrum.sharpness import blurriness, sharpness


@dataclass(frozen=True, slots=True)
class Measures:
    """What a report reads off the device.

    Attributes
    ----------
    loss : float
        Mean squared error on the fitted pixels, in [0, 1] units.
    held_out_error : float or None
        The same of the averaged output on the held-out pixels.
    blurriness, sharpness, ratio : float
        Of the current output (Eq. 8).
    band_correspondence : tuple of float
        Of the current output against the measurement (Eq. 1), lowest band first.
    """

    loss: float
    held_out_error: float | None
    blurriness: float
    sharpness: float
    ratio: float
    band_correspondence: tuple[float, ...]


class Fit:
    """Weights, optimiser, step, held-out pixels and running mean of one run; its steps and its measures.

    Everything is kept on the device; only ``measure`` reads from it.

    Parameters
    ----------
    network : nn.Module
        ``network(noise, lipschitz_bound)`` maps z to images ``(s, c, H, W)``, at least as large as the measurement.
    noise : Tensor
        z, ``(s, channels, h', w')``.
    operator : callable
        A, from images ``(s, c, h, w)`` to measurements of the same shape as ``target``.
    target : Tensor
        y, ``(1, c, h, w)`` in [0, 1].
    known : Tensor
        ``(1, 1, h, w)`` bool.
    held_out : Tensor
        ``(1, 1, h, w)`` bool, the known pixels that the loss never sees; may be empty.
    learning_rate, averaging : float
        Of Adam; decay per step of the running mean of outputs.
    lipschitz_bound : callable
        λ as a function of the step alone; its value may be None.
    bands : int
        Frequency bands to measure.
    """

    def __init__(
        self,
        network: nn.Module,
        noise: torch.Tensor,
        *,
        operator: Callable[[torch.Tensor], torch.Tensor],
        target: torch.Tensor,
        known: torch.Tensor,
        held_out: torch.Tensor,
        learning_rate: float,
        averaging: float,
        lipschitz_bound: Callable[[int], float | None],
        bands: int,
    ) -> None:
        self.network, self.noise, self.operator = network, noise, operator
        self.target, self.known, self.held_out = target, known, held_out
        self.averaging, self.bands = averaging, bands
        self.lipschitz_bound = lipschitz_bound
        self._fitted = (known & ~held_out).to(target.dtype)
        self._fitted_values = self._fitted.sum() * target.shape[1]
        self._held_out_values = held_out.sum() * target.shape[1]
        self._judged = bool(held_out.any())
        trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.Adam(trainable, lr=learning_rate, foreach=True)
        self.step_count = 0
        self._loss = target.new_zeros(())
        self._output = target.new_zeros(noise.shape[0], *target.shape[1:])  # (s, c, h, w)
        self._mean = torch.zeros_like(self._output)
        self._best = torch.zeros_like(target)
        self._smallest_error, self._best_step = float("inf"), 0

    def step(self) -> None:
        """Do one step of Adam on the mean squared error of the fitted pixels, each run on its own."""
        output = cut_centre(self.network(self.noise, self.lipschitz_bound(self.step_count)), self.target.shape[-2:])
        errors = (self.operator(output) - self.target).square() * self._fitted
        loss = errors.sum() / self._fitted_values  # runs do not share weights: the sum trains each by its own error
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step_count += 1
        self._loss = loss.detach() / output.shape[0]
        self._output = output.detach()
        self._mean.lerp_(self._output, 1 - self.averaging)

    @property
    def averaged_output(self) -> torch.Tensor:
        """The running mean of the outputs over steps (corrected for its start) and runs, ``(1, c, h, w)``."""
        correction = 1 - self.averaging**self.step_count if self.step_count else 1.0
        return self._mean.mean(dim=0, keepdim=True) / correction

    @property
    def estimate(self) -> torch.Tensor:
        """What stopping now would return, ``(1, c, h, w)``.

        The averaged output at the report with the smallest held-out error; without held-out pixels, the present one.
        """
        return self._best if self._best_step else self.averaged_output

    @property
    def estimate_step(self) -> int:
        """The step that the estimate is of."""
        return self._best_step or self.step_count

    def measure(self) -> Measures:
        """Measure the present output, keep the estimate if it is the best so far; one transfer from the device."""
        output = self._output.mean(dim=0, keepdim=True)
        target = torch.where(self.known, self.target, output)  # missing pixels correspond to themselves
        average = self.averaged_output
        error = ((self.operator(average) - self.target).square() * self.held_out).sum() / self._held_out_values
        figures = torch.cat(
            [
                torch.stack([self._loss, error]),
                blurriness(output),
                sharpness(output),
                band_correspondence(output, target, self.bands)[0],
            ]
        )
        loss, held_out_error, blurred, sharp, *bands = figures.tolist()
        if self._judged and held_out_error < self._smallest_error:
            self._smallest_error, self._best_step = held_out_error, self.step_count
            self._best = average.clone()
        return Measures(
            loss=loss,
            held_out_error=held_out_error if self._judged else None,
            blurriness=blurred,
            sharpness=sharp,
            ratio=blurred / max(sharp, 1e-6),
            band_correspondence=tuple(bands),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a run needs to go on as if never interrupted, for ``torch.save``."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "noise": self.noise,
            "held_out": self.held_out,
            "step_count": self.step_count,
            "loss": self._loss,
            "output": self._output,
            "mean": self._mean,
            "best": self._best,
            "smallest_error": self._smallest_error,
            "best_step": self._best_step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state that ``state_dict`` returned, of a fit of the same network and image size."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        with torch.no_grad():
            self.noise = state["noise"].to(self.noise.device)
            self.held_out = state["held_out"].to(self.held_out.device)
            self._fitted = (self.known & ~self.held_out).to(self.target.dtype)
            self._fitted_values = self._fitted.sum() * self.target.shape[1]
            self._held_out_values = self.held_out.sum() * self.target.shape[1]
            self._judged = bool(self.held_out.any())
            self._loss, self._output, self._mean, self._best = (
                state[name].to(self.target.device, copy=True) for name in ("loss", "output", "mean", "best")
            )
        self.step_count, self._best_step = state["step_count"], state["best_step"]
        self._smallest_error = state["smallest_error"]

    def start_from(self, network_state: dict[str, torch.Tensor]) -> None:
        """Begin from the weights of another fit (warm start); optimiser, step and running mean begin anew."""
        self.network.load_state_dict(network_state)


def cut_centre(images: torch.Tensor, size: torch.Size | tuple[int, int]) -> torch.Tensor:
    """Cut ``(s, c, H, W)`` images to the central ``(s, c, *size)``."""
    top, left = ((full - part) // 2 for full, part in zip(images.shape[-2:], size, strict=True))
    return images[..., top : top + size[0], left : left + size[1]]
