"""The fit of an untrained network to one measurement: its weights, its optimisers, and its running mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from ..measurement.data_term import DataTerm
from .posterior import PosteriorSamples
from .step_graph import StepGraph

_STEPS_BETWEEN_SAMPLES = 50  # of the posterior, from Cheng et al.
_COARSE_BLUR = 16.0  # pixels; any network that learns at all does better (docs/tuning.md)


class Fit:
    """Trains a network on the entries of a measurement that are not held out.

    Everything stays on the device, and a step never waits for it. On a GPU that can, steps are replayed from a graph:
    ``loss`` and ``outputs`` then lie in the same memory after every step, so keep copies.

    Parameters
    ----------
    network : nn.Module
        ``network(noise, lipschitz_bound)`` maps z to images ``(s, c, H, W)``, at least as large as the measurement.
    noise : Tensor
        z, ``(s, channels, h', w')``.
    data_term : DataTerm
        A, y, and which of its pixels are known.
    held_out : Tensor
        bool in the shape of ``data_term.judged``, the entries that the loss never sees; may be all False.
    optimisers : sequence of Optimizer
        Each updates its own part of the network's parameters.
    averaging : float
        Decay per step of the running mean of outputs.
    lipschitz_bound : callable
        λ as a function of the step alone; its value may be None.
    input_noise : float
        Standard deviation of the noise added to z at every step.
    weight_noise : float
        Standard deviation, in learning rates, of the noise added to the kernels after every step (Langevin dynamics).
    burn_in : int
        Steps before the first sample of the posterior.
    seed : int
        For both kinds of noise.

    Attributes
    ----------
    step_count : int
    loss : Tensor
        ``()``, of the last step: the mean data term of the fitted entries, with intensities in [0, 1].
    outputs : Tensor
        ``(s, c, H, W)``, each run's output at the last step.
    posterior : PosteriorSamples
        Empty without Langevin dynamics.
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
        input_noise: float = 0.0,
        weight_noise: float = 0.0,
        burn_in: int = 0,
        seed: int = 0,
    ) -> None:
        self.network, self.noise = network, noise
        self.data_term, self.held_out = data_term, held_out
        self.optimisers, self.averaging = list(optimisers), averaging
        self.input_noise, self.weight_noise, self.burn_in = input_noise, weight_noise, burn_in
        self.step_count = 0
        self.loss = noise.new_zeros(())
        self.outputs = noise.new_zeros(noise.shape[0], data_term.values.shape[1], *data_term.size)
        self.posterior = PosteriorSamples(self.outputs)
        self._mean = torch.zeros_like(self.outputs)
        self._fitted = (data_term.judged & ~held_out).to(data_term.values.dtype)
        self._fitted_values = self._fitted.sum() * data_term.values.shape[1]
        self._lipschitz_bound, self._first_lambda_step = lipschitz_bound, 0
        self._generator = _make_generator(noise.device).manual_seed(seed)
        self._bound = noise.new_zeros(())  # λ, on the device
        self._graph = StepGraph(noise.device, is_constant=not (input_noise or weight_noise))

    def step(self) -> None:
        """Take one step down the mean data term of the fitted entries, each run on its own."""
        if (bound := self.lipschitz_bound(self.step_count)) is not None:
            self._bound.fill_(bound)
        self._graph.run(self._advance)  # not kept there: a fit that fails must be freed at once
        self.step_count += 1
        if self.weight_noise:
            self._diffuse()

    def _advance(self) -> None:
        """Do a step's work on the device; λ is there, and nothing else changes from step to step."""
        noise = self.noise
        if self.input_noise:
            noise = noise + self.input_noise * self._draw(noise)
        bound = None if self.lipschitz_bound(0) is None else self._bound
        outputs = cut_centre(self.network(noise, bound), self.data_term.size)
        # runs do not share weights, so the sum over runs trains each by its own error
        loss = self._mean_of_fitted(self.data_term.errors(outputs))
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        self.loss = loss.detach() / self.runs
        self.outputs = outputs.detach()
        self._mean.lerp_(self.outputs, 1 - self.averaging)

    @property
    def runs(self) -> int:
        """How many networks are fitted side by side."""
        return len(self.noise)

    @property
    def averaged_outputs(self) -> torch.Tensor:
        """The running mean of each run's outputs, corrected for its start, ``(s, c, H, W)``."""
        return self._mean / (1 - self.averaging**self.step_count if self.step_count else 1.0)

    def lipschitz_bound(self, step: int) -> float | None:
        """Return λ at a step of this run; after a warm start its schedule continues where it was."""
        return self._lipschitz_bound(self.lambda_step(step))

    def lambda_step(self, step: int) -> int:
        """Return the step of λ's schedule at a step of this run."""
        return self._first_lambda_step + step

    def start_from(self, network_state: Mapping[str, torch.Tensor], lambda_step: int = 0) -> None:
        """Start from the weights of another fit (warm start); optimiser, step count and running mean start afresh.

        Parameters
        ----------
        network_state : mapping
        lambda_step : int
            Where λ's schedule starts: a tight bound would undo what weights learned under a looser one.

        Raises
        ------
        ValueError
            If that fit's network was another one.
        """
        try:
            self.network.load_state_dict(network_state)
        except RuntimeError as error:
            raise ValueError(
                "the network to start from has another width or number of levels than this image needs; leave out "
                "start, or restore both with the same width and levels."
            ) from error
        self._first_lambda_step = lambda_step

    def copy_network(self) -> dict[str, torch.Tensor]:
        """Return a copy of the current weights."""
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def measure_blur(self) -> float:
        """Return the loss of a coarse blur of the fitted pixels; a network that learns nothing has a larger loss."""
        return float(self._mean_of_fitted(self.data_term.errors_of_blur(self._fitted, _COARSE_BLUR)))

    def _mean_of_fitted(self, errors: torch.Tensor) -> torch.Tensor:
        return (errors * self._fitted).sum() / self._fitted_values

    @torch.no_grad()
    def _diffuse(self) -> None:
        """Add noise to the kernels, and take a sample of the posterior after the burn-in."""
        for group in (group for optimiser in self.optimisers for group in optimiser.param_groups):
            for weights in group["params"]:
                if weights.ndim == 5:  # kernels only, as in Cheng et al.
                    weights.add_(self._draw(weights), alpha=self.weight_noise * group["lr"])
        if self.step_count > self.burn_in and self.step_count % _STEPS_BETWEEN_SAMPLES == 0:
            self.posterior.add(self.outputs)

    def _draw(self, like: torch.Tensor) -> torch.Tensor:
        device = self._generator.device
        return torch.randn(like.shape, generator=self._generator, device=device, dtype=like.dtype).to(like.device)


def _make_generator(device: torch.device) -> torch.Generator:
    """Return a generator on the device, or on the CPU if the device draws no random numbers."""
    try:
        return torch.Generator(device)
    except RuntimeError:
        return torch.Generator()


def cut_centre(images: torch.Tensor, size: torch.Size | tuple[int, int]) -> torch.Tensor:
    """Cut ``(s, c, H, W)`` images to the central ``(s, c, *size)``."""
    top, left = ((full - part) // 2 for full, part in zip(images.shape[-2:], size, strict=True))
    return images[..., top : top + size[0], left : left + size[1]]
