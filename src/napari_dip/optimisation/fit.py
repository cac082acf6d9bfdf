"""The fit of an untrained network to one measurement: the whole state of a run in one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..measurement.data_term import DataTerm
from ..spectrum.band_correspondence import band_correspondence
from ..spectrum.sharpness import blurriness, sharpness
from .partner import choose_partner
from .posterior import PosteriorSamples
from .snapshots import Snapshot

_STEPS_BETWEEN_SAMPLES = 50  # of the posterior, as Cheng et al. take them
_COARSE_BLUR = 16.0  # pixels; any network that learns at all does better (docs/benchmarks.md)


@dataclass(frozen=True, slots=True)
class Measures:
    """What a report reads off the device.

    Attributes
    ----------
    loss : float
        Mean data term of the fitted entries, of intensities in [0, 1].
    spread : float
        Standard deviation of the current output over the image, beside that of the degraded image; of several runs,
        the smallest. 0 for a constant: a network that has not started.
    held_out_error : float or None
        The same of the present estimate on the held-out entries, which it has not seen.
    prior_error : float or None
        The same without the partner's help: of the averaged output alone.
    discrepancy : float or None
        How large the present estimate's errors are beside those that the truth would have; None if nobody knows.
    blurriness, sharpness, ratio : float
        Of the current output (Eq. 8).
    band_correspondence : tuple of float
        Of the current output against the degraded image (Eq. 1), lowest band first.
    """

    loss: float
    spread: float
    held_out_error: float | None
    prior_error: float | None
    discrepancy: float | None
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
    data_term : DataTerm
        A, y, and what is known of it.
    held_out : Tensor
        bool of the shape of ``data_term.judged``, the entries that the loss never sees; may be all False.
    optimisers : sequence of Optimizer
        Each updates its share of the network's parameters.
    averaging : float
        Decay per step of the running mean of outputs.
    input_noise : float
        Deviation of the noise added to z at every step.
    weight_noise : float
        Deviation, in learning rates, of the noise added to the kernels after every step (Langevin dynamics).
    burn_in : int
        Steps before the first sample of the posterior that Langevin dynamics draws from.
    seed : int
        Of the two kinds of noise.
    lipschitz_bound : callable
        λ as a function of the step alone; its value may be None.
    bands : int
        Frequency bands to measure.
    partner : bool
        Whether classical methods help the averaged output, where pixels are held out to weigh them.
    uncertainty : bool
        Whether to keep the deviation of the estimate; of two or more runs.
    """

    def __init__(
        self,
        network: nn.Module,
        noise: torch.Tensor,
        *,
        data_term: DataTerm,
        held_out: torch.Tensor,
        optimisers: Sequence[torch.optim.Optimizer],
        averaging: float,
        lipschitz_bound: Callable[[int], float | None],
        bands: int,
        input_noise: float = 0.0,
        weight_noise: float = 0.0,
        burn_in: int = 0,
        seed: int = 0,
        partner: bool = False,
        uncertainty: bool = False,
    ) -> None:
        self.network, self.noise, self.data_term = network, noise, data_term
        self.averaging, self.bands = averaging, bands
        self.input_noise, self.weight_noise, self.burn_in = input_noise, weight_noise, burn_in
        self._generator = _make_generator(noise.device).manual_seed(seed)
        self._lipschitz_bound = lipschitz_bound
        self._wants_partner, self._wants_uncertainty = partner, uncertainty
        self._hold_out(held_out)
        self.optimisers = list(optimisers)
        self.step_count = 0
        self._loss = noise.new_zeros(())
        self._output = noise.new_zeros(noise.shape[0], data_term.values.shape[1], *data_term.size)  # (s, c, H, W)
        self._mean = torch.zeros_like(self._output)
        self._best = torch.zeros_like(self._output)
        self._helped: tuple[int, torch.Tensor, torch.Tensor] | None = None  # step, estimate, variance
        self._judged_image: tuple[int, torch.Tensor] | None = None
        self._smallest_error, self._best_step = float("inf"), 0
        self.keeps_network = False
        self._best_network: dict[str, torch.Tensor] | None = None
        self._first_lambda_step = 0
        self._posterior = PosteriorSamples(self._output)
        known = data_term.known.expand_as(data_term.values)
        self._deviation_of_values = data_term.values[known].std().clamp_min(torch.finfo(noise.dtype).tiny)

    def step(self) -> None:
        """Do one step on the mean data term of the fitted entries, each run on its own."""
        noise = self.noise
        if self.input_noise:
            noise = noise + self.input_noise * self._draw(noise)
        output = cut_centre(self.network(noise, self.lipschitz_bound(self.step_count)), self.data_term.size)
        # runs do not share weights: the sum over them trains each by its own error
        errors = self.data_term.errors(output)
        loss = (errors * self._fitted).sum() / self._fitted_values
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        self.step_count += 1
        self._loss = loss.detach() / output.shape[0]
        self._output = output.detach()
        self._mean.lerp_(self._output, 1 - self.averaging)
        if self.weight_noise:
            self._diffuse()

    def lipschitz_bound(self, step: int) -> float | None:
        """Return λ at a step of this run; after a warm start the schedule goes on from where it was."""
        return self._lipschitz_bound(self._first_lambda_step + step)

    @property
    def runs(self) -> int:
        """How many networks are fitted side by side."""
        return len(self.noise)

    @property
    def averaged_output(self) -> torch.Tensor:
        """The running mean of the outputs over steps (corrected for its start) and runs, ``(1, c, H, W)``."""
        return self._averaged_outputs().mean(dim=0, keepdim=True)

    def _averaged_outputs(self) -> torch.Tensor:
        """Return the same of each run, ``(s, c, H, W)``."""
        return self._mean / (1 - self.averaging**self.step_count if self.step_count else 1.0)

    @property
    def estimate(self) -> torch.Tensor:
        """What stopping now would return, ``(1, c, H, W)``.

        The averaged output, helped by the partner, at the report with the smallest held-out error; without held-out
        pixels, the present one.
        Under Langevin dynamics the mean of the posterior's samples, once there is one.
        """
        if self._posterior.count:
            return self._posterior.mean.mean(dim=0, keepdim=True)
        return self._estimate_and_variance()[0]

    @property
    def quick_estimate(self) -> torch.Tensor:
        """What is near to the estimate, ``(1, c, H, W)``: the image that was judged at its report, free of cost."""
        step = self.estimate_step
        if self._posterior.count or self._judged_image is None or self._judged_image[0] != step:
            return self.estimate
        return self._judged_image[1]

    @property
    def has_partner(self) -> bool:
        """Whether a partner makes more of the averaged output."""
        return self._partner is not None

    @property
    def keeps_best(self) -> bool:
        """Whether an estimate was kept that later steps cannot spoil."""
        return bool(self._best_step)

    @property
    def deviation(self) -> torch.Tensor | None:
        """The standard deviation of the estimate, ``(1, c, H, W)``; None if nothing tells it.

        Under Langevin dynamics, that of all runs' samples, once there are two of each. Else, if it was asked for, the
        root of the variance of one run (how much the result owes to chance), that of the noise that the partner lets
        pass, and the square of the partner's bias.
        """
        if self._posterior.count >= 2:
            within = self._posterior.variance.mean(dim=0, keepdim=True)
            return (within + self._posterior.mean.var(dim=0, keepdim=True, correction=0)).sqrt()
        if not self._wants_uncertainty:
            return None
        return self._estimate_and_variance()[1].sqrt()

    @property
    def estimate_step(self) -> int:
        """The step that the estimate is of."""
        return self.step_count if self._posterior.count else self._best_step or self.step_count

    def measure(self) -> Measures:
        """Measure the present output, keep the estimate if it is the best so far.

        One transfer from the device; a partner that completes missing pixels waits for it a few times more.
        """
        output = self._output.mean(dim=0, keepdim=True)
        seen, measured = self.data_term.compare(output)
        average = self.averaged_output
        estimate = average if self._partner is None else self._partner.judge(average)
        error, prior_error = self._held_out_error(estimate), self._held_out_error(average)
        discrepancy = self.data_term.discrepancy(estimate)
        figures = torch.cat(
            [
                torch.stack(
                    [
                        self._loss,
                        self._output.flatten(1).std(dim=1).min() / self._deviation_of_values,
                        error,
                        prior_error,
                        error if discrepancy is None else discrepancy,
                    ]
                ),
                blurriness(output),
                sharpness(output),
                band_correspondence(seen, measured, self.bands)[0],
            ]
        )
        loss, spread, held_out_error, prior_held_out_error, beside_truth, blurred, sharp, *bands = figures.tolist()
        if self._judged and held_out_error < self._smallest_error:
            self._smallest_error, self._best_step = held_out_error, self.step_count
            self._best = self._averaged_outputs()
            self._judged_image = self.step_count, estimate
            if self.keeps_network:
                self._best_network = self._copy_network()
        return Measures(
            loss=loss,
            spread=spread,
            held_out_error=held_out_error if self._judged else None,
            prior_error=prior_held_out_error if self._judged else None,
            discrepancy=None if discrepancy is None else beside_truth,
            blurriness=blurred,
            sharpness=sharp,
            ratio=blurred / max(sharp, 1e-6),
            band_correspondence=tuple(bands),
        )

    def choose_present(self) -> None:
        """Make the present moment the estimate, whatever was better before."""
        self._best, self._best_step = self._averaged_outputs(), self.step_count

    def take_snapshot(self) -> Snapshot:
        """Return the present moment: what would be the estimate if it were chosen."""
        if self._posterior.count:
            return Snapshot(self.step_count, self.estimate.cpu(), self.noise.device, None)
        return Snapshot(self.step_count, self.averaged_output.cpu(), self.noise.device, self._partner)

    def take_snapshot_of_estimate(self) -> Snapshot:
        """Return the moment that the estimate is of."""
        if self._posterior.count or not self._best_step:
            return self.take_snapshot()
        output = self._best.mean(dim=0, keepdim=True)
        return Snapshot(self._best_step, output.cpu(), self.noise.device, self._partner)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a run needs to go on as if never interrupted, for ``torch.save``."""
        return {
            "network": self.network.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "noise": self.noise,
            "held_out": self.held_out,
            "step_count": self.step_count,
            "first_lambda_step": self._first_lambda_step,
            "loss": self._loss,
            "output": self._output,
            "mean": self._mean,
            "best": self._best,
            "smallest_error": self._smallest_error,
            "best_step": self._best_step,
            "posterior": self._posterior.state_dict(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state that ``state_dict`` returned, of a fit of the same network and image size."""
        self.network.load_state_dict(state["network"])
        for optimiser, own in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(own)
        with torch.no_grad():
            self.noise = state["noise"].to(self.noise.device)
            self._hold_out(state["held_out"].to(self.held_out.device))
            self._loss, self._output, self._mean, self._best = (
                state[name].to(self.noise.device, copy=True) for name in ("loss", "output", "mean", "best")
            )
            self._helped = self._judged_image = None
        self.step_count, self._best_step = state["step_count"], state["best_step"]
        self._smallest_error = state["smallest_error"]
        self._first_lambda_step = state.get("first_lambda_step", 0)
        self._best_network = None
        self._posterior.load_state_dict(state["posterior"])
        self._generator.set_state(state["generator"].cpu())

    @torch.no_grad()
    def _diffuse(self) -> None:
        """Add noise to the kernels, and take a sample of the posterior after the burn-in."""
        for group in (group for optimiser in self.optimisers for group in optimiser.param_groups):
            for weights in group["params"]:
                if weights.ndim == 5:  # kernels only, as Cheng et al. do it
                    weights.add_(self._draw(weights), alpha=self.weight_noise * group["lr"])
        if self.step_count > self.burn_in and self.step_count % _STEPS_BETWEEN_SAMPLES == 0:
            self._posterior.add(self._output)

    def _estimate_and_variance(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the chosen averaged outputs make of the image, and its variance, both ``(1, c, H, W)``."""
        step = self.estimate_step
        if self._helped is None or self._helped[0] != step:  # it takes a while: not before somebody asks
            outputs = self._estimated_outputs()
            estimate, variance = self._help(outputs.mean(dim=0, keepdim=True))
            if self._wants_uncertainty and outputs.shape[0] > 1:
                estimates = torch.cat([self._help(each[None], quick=True)[0] for each in outputs])
                variance = variance + estimates.var(dim=0, keepdim=True)
            self._helped = step, estimate, variance
        return self._helped[1:]

    def _estimated_outputs(self) -> torch.Tensor:
        """Return the averaged outputs of each run, ``(s, c, H, W)``, that the estimate is made of."""
        return self._best if self._best_step else self._averaged_outputs()

    def _help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the partner makes of an output, and the variance of the noise in it, both ``(1, c, H, W)``."""
        if self._partner is None:
            return output, torch.zeros_like(output)
        estimate, variance = self._partner.help(output, quick=quick)
        return estimate, variance.expand_as(estimate)

    def measure_blur(self) -> float:
        """Return the loss that a coarse blur of the fitted pixels would have: what learns nothing has more."""
        errors = self.data_term.errors_of_blur(self._fitted, _COARSE_BLUR)
        return float((errors * self._fitted).sum() / self._fitted_values)

    def _held_out_error(self, image: torch.Tensor) -> torch.Tensor:
        """Return the mean data term of the held-out entries, ``()``; 0 if there are none."""
        return (self.data_term.errors(image) * self.held_out).sum() / self._held_out_values.clamp_min(1)

    def _draw(self, like: torch.Tensor) -> torch.Tensor:
        device = self._generator.device
        return torch.randn(like.shape, generator=self._generator, device=device, dtype=like.dtype).to(like.device)

    def _hold_out(self, held_out: torch.Tensor) -> None:
        channels = self.data_term.values.shape[1]
        self.held_out = held_out
        self._fitted = (self.data_term.judged & ~held_out).to(self.data_term.values.dtype)
        self._fitted_values = self._fitted.sum() * channels
        self._held_out_values = held_out.sum() * channels
        self._judged = bool(held_out.any())
        self._partner = choose_partner(self.data_term, held_out) if self._wants_partner else None

    @property
    def network_of_estimate(self) -> dict[str, torch.Tensor]:
        """The weights at the step that the estimate is of, if ``keeps_network``; else the present ones."""
        return self._best_network or self._copy_network()

    @property
    def lambda_step_of_estimate(self) -> int:
        """The step of the schedule of λ that the estimate is of."""
        return self._first_lambda_step + self.estimate_step

    def start_from(self, network_state: Mapping[str, torch.Tensor], lambda_step: int = 0) -> None:
        """Begin from the weights of another fit (warm start); optimiser, step and running mean begin anew.

        Parameters
        ----------
        network_state : mapping
        lambda_step : int
            Where the schedule of λ begins: a hard bound on weights that have outgrown it would undo what they learned.
        """
        self.network.load_state_dict(network_state)
        self._first_lambda_step = lambda_step

    def _copy_network(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}


def _make_generator(device: torch.device) -> torch.Generator:
    """Return a generator on the device, or on the CPU where a device draws no random numbers."""
    try:
        return torch.Generator(device)
    except RuntimeError:
        return torch.Generator()


def cut_centre(images: torch.Tensor, size: torch.Size | tuple[int, int]) -> torch.Tensor:
    """Cut ``(s, c, H, W)`` images to the central ``(s, c, *size)``."""
    top, left = ((full - part) // 2 for full, part in zip(images.shape[-2:], size, strict=True))
    return images[..., top : top + size[0], left : left + size[1]]
