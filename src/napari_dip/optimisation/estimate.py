"""The estimate that a fit would return if it stopped now: judged at every report, and the best is kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..spectrum.band_correspondence import band_correspondence
from ..spectrum.sharpness import blurriness, sharpness
from .fit import Fit
from .partner import Partner
from .snapshots import Snapshot


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
        Mean data term of the present estimate on the held-out entries, which it has not seen; None if there are none.
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


class Estimate:
    """Judges a fit at every report, and keeps the averaged outputs of the moment with the smallest held-out error.

    Without held-out entries the estimate is of the present moment. Under Langevin dynamics it is the mean of the
    posterior's samples, once there is one.

    Parameters
    ----------
    fit : Fit
    bands : int
        Frequency bands to measure.
    partner : Partner or None
        What makes more of the averaged output.
    uncertainty : bool
        Whether to keep the deviation of the estimate; of two or more runs.
    keep_network : bool
        Whether to keep the weights of the best moment, for a warm start.
    """

    def __init__(
        self,
        fit: Fit,
        *,
        bands: int,
        partner: Partner | None = None,
        uncertainty: bool = False,
        keep_network: bool = False,
    ) -> None:
        self.fit = fit
        self._bands, self._partner = bands, partner
        self._wants_uncertainty, self._keeps_network = uncertainty, keep_network
        self._has_held_out = bool(fit.held_out.any())
        values, known = fit.data_term.values, fit.data_term.known.expand_as(fit.data_term.values)
        self._held_out_values = fit.held_out.sum() * values.shape[1]
        self._deviation_of_values = values[known].std().clamp_min(torch.finfo(values.dtype).tiny)
        self._best = torch.zeros_like(fit.outputs)
        self._best_step, self._smallest_error = 0, float("inf")
        self._best_network: dict[str, torch.Tensor] | None = None
        self._helped: tuple[int, torch.Tensor, torch.Tensor] | None = None  # step, estimate, variance
        self._judged: tuple[int, torch.Tensor] | None = None  # step, estimate as it was judged

    @property
    def image(self) -> torch.Tensor:
        """What stopping now would return, ``(1, c, H, W)``; the partner may take a while."""
        if self.fit.posterior.count:
            return self.fit.posterior.mean.mean(dim=0, keepdim=True)
        return self._image_and_variance()[0]

    @property
    def quick_image(self) -> torch.Tensor:
        """What is near to it, ``(1, c, H, W)``: the estimate as it was judged at its report, free of cost."""
        if self.fit.posterior.count or self._judged is None or self._judged[0] != self.step:
            return self.image
        return self._judged[1]

    @property
    def step(self) -> int:
        """The step that the estimate is of."""
        return self.fit.step_count if self.fit.posterior.count else self._best_step or self.fit.step_count

    @property
    def deviation(self) -> torch.Tensor | None:
        """The standard deviation of the estimate, ``(1, c, H, W)``; None if nothing tells it.

        Under Langevin dynamics, that of all runs' samples, once there are two of each. Else, if it was asked for, the
        root of the variance of one run (how much the result owes to chance), that of the noise that the partner lets
        pass, and the square of the partner's bias.
        """
        posterior = self.fit.posterior
        if posterior.count >= 2:
            within = posterior.variance.mean(dim=0, keepdim=True)
            return (within + posterior.mean.var(dim=0, keepdim=True, correction=0)).sqrt()
        if not self._wants_uncertainty:
            return None
        return self._image_and_variance()[1].sqrt()

    @property
    def has_partner(self) -> bool:
        """Whether a partner makes more of the averaged output."""
        return self._partner is not None

    @property
    def is_kept(self) -> bool:
        """Whether there is a best moment, which later steps cannot spoil."""
        return bool(self._best_step)

    @property
    def network(self) -> dict[str, torch.Tensor]:
        """The weights at the step that the estimate is of, if they are kept; else the present ones."""
        return self._best_network or self.fit.copy_network()

    @property
    def lambda_step(self) -> int:
        """The step of λ's schedule that the estimate is of."""
        return self.fit.lambda_step(self.step)

    def measure(self) -> Measures:
        """Measure the present output, and keep the present moment if it is the best so far.

        One transfer from the device; a partner that completes missing pixels waits for it a few times more.
        """
        fit, data_term = self.fit, self.fit.data_term
        output = fit.outputs.mean(dim=0, keepdim=True)
        seen, measured = data_term.compare(output)
        average = _mean_over_runs(fit.averaged_outputs)
        estimate = average if self._partner is None else self._partner.judge(average)
        error, prior_error = self._held_out_error(estimate), self._held_out_error(average)
        discrepancy = data_term.discrepancy(estimate)
        figures = torch.cat(
            [
                torch.stack(
                    [
                        fit.loss,
                        fit.outputs.flatten(1).std(dim=1).min() / self._deviation_of_values,
                        error,
                        prior_error,
                        error if discrepancy is None else discrepancy,
                    ]
                ),
                blurriness(output),
                sharpness(output),
                band_correspondence(seen, measured, self._bands)[0],
            ]
        )
        loss, spread, held_out_error, prior_held_out_error, beside_truth, blurred, sharp, *bands = figures.tolist()
        if self._has_held_out and held_out_error < self._smallest_error:
            self._smallest_error, self._judged = held_out_error, (fit.step_count, estimate)
            self._keep_present()
            if self._keeps_network:
                self._best_network = fit.copy_network()
        return Measures(
            loss=loss,
            spread=spread,
            held_out_error=held_out_error if self._has_held_out else None,
            prior_error=prior_held_out_error if self._has_held_out else None,
            discrepancy=None if discrepancy is None else beside_truth,
            blurriness=blurred,
            sharpness=sharp,
            ratio=blurred / max(sharp, 1e-6),
            band_correspondence=tuple(bands),
        )

    def choose_present(self) -> None:
        """Make the present moment the estimate, whatever was better before."""
        self._keep_present()

    def take_snapshot(self) -> Snapshot:
        """Return the present moment: what would be the estimate if it were chosen."""
        if self.fit.posterior.count:
            return self._snapshot_of(self.fit.step_count, self.image, None)
        return self._snapshot_of(self.fit.step_count, _mean_over_runs(self.fit.averaged_outputs), self._partner)

    def take_snapshot_of_best(self) -> Snapshot:
        """Return the moment that the estimate is of."""
        if self.fit.posterior.count or not self._best_step:
            return self.take_snapshot()
        return self._snapshot_of(self._best_step, _mean_over_runs(self._best), self._partner)

    def _snapshot_of(self, step: int, output: torch.Tensor, partner: Partner | None) -> Snapshot:
        return Snapshot(step, output.cpu(), self.fit.noise.device, partner)

    def _keep_present(self) -> None:
        self._best, self._best_step = self.fit.averaged_outputs, self.fit.step_count

    def _image_and_variance(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the chosen averaged outputs make of the image, and its variance, both ``(1, c, H, W)``."""
        if self._helped is None or self._helped[0] != self.step:  # it takes a while: not before somebody asks
            outputs = self._best if self._best_step else self.fit.averaged_outputs
            image, variance = self._help(_mean_over_runs(outputs))
            if self._wants_uncertainty and outputs.shape[0] > 1:
                images = torch.cat([self._help(each[None], quick=True)[0] for each in outputs])
                variance = variance + images.var(dim=0, keepdim=True)
            self._helped = self.step, image, variance
        return self._helped[1:]

    def _help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the partner makes of an output, and the variance of the noise in it, both ``(1, c, H, W)``."""
        if self._partner is None:
            return output, torch.zeros_like(output)
        image, variance = self._partner.help(output, quick=quick)
        return image, variance.expand_as(image)

    def _held_out_error(self, image: torch.Tensor) -> torch.Tensor:
        """Return the mean data term of the held-out entries, ``()``; 0 if there are none."""
        return (self.fit.data_term.errors(image) * self.fit.held_out).sum() / self._held_out_values.clamp_min(1)


def _mean_over_runs(outputs: torch.Tensor) -> torch.Tensor:
    return outputs.mean(dim=0, keepdim=True)
