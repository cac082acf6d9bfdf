"""The estimate that a fit would return if it stopped now; it is judged at every report, and the best is kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..spectrum.band_correspondence import band_correspondence
from ..spectrum.sharpness import blurriness, sharpness
from .fit import Fit
from .partner import Judgement, Partner
from .snapshots import Snapshot

_EARLY = 50  # steps until which the network usually is at its best beside filters (docs/tuning.md)
# Of the network's own error above the noise, where it learns slowly: smaller gains take long, and the estimate, of
# which the network is a small share, gains nothing (docs/deconvolve.md).
_LEAST_GAIN = 0.2


@dataclass(frozen=True, slots=True)
class Measures:
    """The figures of one report, read from the device.

    Attributes
    ----------
    loss : float
        Mean data term of the fitted entries, with intensities in [0, 1].
    spread : float
        Standard deviation of the current output over the image, relative to the degraded image's; the smallest of
        several runs. 0 for a constant output: the network has not started to learn.
    held_out_error : float or None
        Mean data term of the current estimate on the held-out entries, which it has not seen; None if there are none.
    prior_error : float or None
        The same for the averaged output alone, without the partner's help.
    discrepancy : float or None
        How large the current estimate's errors are relative to the truth's errors; None if those are unknown.
    blurriness, sharpness, ratio : float
        Of the current output (Eq. 8).
    band_correspondence : tuple of float
        Of the current output against the degraded image (Eq. 1), lowest band first.
    is_better : bool or None
        Whether the current step is better than the one kept before by more than chance; None where that cannot be
        told: the smallest held-out error counts there.
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
    is_better: bool | None = None


class Estimate:
    """Judges a fit at every report, and keeps the averaged outputs of the best step.

    That is the step with the smallest held-out error. Where a partner can tell a gain from chance, or the network
    learns slowly, one step replaces another only if the gain is larger than its own standard error. In the second case
    its own error counts, because its partner's image hardly depends on the step, and a fifth of what it has above the
    noise must be gained; what is kept is the mean of the best step's outputs and of all later ones that are not worse
    by more than the standard error. Without held-out entries, the estimate is that of the current step. With Langevin
    dynamics, it is the mean of the posterior's samples, as soon as there is one.

    Parameters
    ----------
    fit : Fit
    bands : int
        Number of frequency bands to measure.
    partner : Partner or None
        Improves the averaged output.
    uncertainty : bool
        Whether to compute the standard deviation of the estimate, from two or more runs.
    keep_network : bool
        Whether to keep the weights of the best step, for a warm start.
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
        self._helped: tuple[int, torch.Tensor, torch.Tensor | None] | None = None  # step, estimate, variance if known
        self._judged: tuple[int, torch.Tensor, torch.Tensor] | None = None  # step, judged estimate, its outputs
        self._kept_errors: torch.Tensor | None = None  # of each pixel at the kept step, to tell gains from chance
        self._averaged_steps = 1  # that the kept outputs are the mean of
        self._best_alone = self._best  # without the later steps that were as good
        self._error_of_truth = self._measure_noise()

    @property
    def image(self) -> torch.Tensor:
        """What stopping now would return, ``(1, c, H, W)``; the partner may take a while."""
        if self.fit.posterior.count:
            return self.fit.posterior.mean.mean(dim=0, keepdim=True)
        return self._image_and_variance()[0]

    @property
    def quick_image(self) -> torch.Tensor:
        """An image close to that, ``(1, c, H, W)``: the estimate that was judged at its report, at no cost."""
        if self.fit.posterior.count or self._judged is None or self._judged[0] != self.step:
            return self.image
        return self._judged[1]

    @property
    def step(self) -> int:
        """The step of the estimate."""
        return self.fit.step_count if self.fit.posterior.count else self._best_step or self.fit.step_count

    @property
    def deviation(self) -> torch.Tensor | None:
        """The standard deviation of the estimate, ``(1, c, H, W)``; None if it is unknown.

        With Langevin dynamics, that of all runs' samples, as soon as each run has two. Otherwise, if requested, the
        root of a sum: the variance between runs (how much the result owes to chance), the variance of the noise that
        the partner lets through, and the square of the partner's bias.
        """
        posterior = self.fit.posterior
        if posterior.count >= 2:
            within = posterior.variance.mean(dim=0, keepdim=True)
            return (within + posterior.mean.var(dim=0, keepdim=True, correction=0)).sqrt()
        if not self._wants_uncertainty:
            return None
        variance = self._image_and_variance()[1]
        return None if variance is None else variance.sqrt()

    @property
    def has_partner(self) -> bool:
        """Whether a partner improves the averaged output."""
        return self._partner is not None

    @property
    def is_prepared(self) -> bool:
        """Whether the partner is prepared; if not, it judges as well as it can."""
        return self._partner is None or self._partner.is_prepared

    def prepare(self) -> float:
        """Prepare the partner, which may take a while, and let it judge the kept step again; return its held-out error.

        Otherwise the steps that follow would have an advantage.
        """
        assert self._partner is not None
        self._partner.prepare()
        judgement = self._partner.judge(_mean_over_runs(self._best))
        error = self._held_out_error(judgement.image)
        if judgement.errors is not None and judgement.judges is not None:
            error = judgement.errors.sum() / judgement.judges.sum()
        self._smallest_error, self._kept_errors = float(error), judgement.errors
        self._judged = self._best_step, judgement.image, self._best
        return self._smallest_error

    @property
    def neighbours(self) -> int:
        """How many neighbouring planes help."""
        return 0 if self._partner is None else self._partner.neighbours

    @property
    def is_kept(self) -> bool:
        """Whether a best step is kept, which later steps cannot spoil."""
        return bool(self._best_step)

    @property
    def network(self) -> dict[str, torch.Tensor]:
        """The weights at the step of the estimate, if they are kept; otherwise the current weights."""
        return self._best_network or self.fit.copy_network()

    @property
    def lambda_step(self) -> int:
        """The step of λ's schedule at the estimate."""
        return self.fit.lambda_step(self.step)

    def measure(self) -> Measures:
        """Measure the current output, and keep the current step if it is the best so far.

        This waits for the device once; a partner that fills in missing pixels waits a few times more.
        """
        fit, data_term = self.fit, self.fit.data_term
        output = fit.outputs.mean(dim=0, keepdim=True)
        seen, measured = data_term.compare(output)
        average = _mean_over_runs(fit.averaged_outputs)
        judgement = Judgement(average) if self._partner is None else self._partner.judge(average)
        estimate = judgement.image
        error, prior_error = self._held_out_error(estimate), self._held_out_error(average)
        gain = deviation_of_gain = torch.zeros_like(error)
        errors, judges = judgement.errors, judgement.judges
        learns_slowly = data_term.is_learned_slowly and errors is None and self._has_held_out
        if errors is not None and judges is not None:
            error = errors.sum() / judges.sum()
        elif learns_slowly:
            judges = fit.held_out
            errors = (data_term.errors(average) * judges).mean(dim=1, keepdim=True)
        if errors is not None and judges is not None:
            gain, deviation_of_gain = self._compare_to_kept(errors, judges)
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
                        gain,
                        deviation_of_gain,
                    ]
                ),
                blurriness(output),
                sharpness(output),
                band_correspondence(seen, measured, self._bands)[0],
            ]
        )
        loss, spread, held_out_error, prior_held_out_error, discrepancy_value, *rest = figures.tolist()
        gained, by_chance, blurred, sharp, *bands = rest
        choosing = prior_held_out_error if learns_slowly else held_out_error
        if errors is None:
            is_better = self._has_held_out and choosing < self._smallest_error
        else:  # early on the network gets the benefit of the doubt, later the kept step does
            least = -by_chance if fit.step_count <= _EARLY else by_chance
            if learns_slowly and fit.step_count > _EARLY:
                least = max(least, _LEAST_GAIN * (self._smallest_error - self._error_of_truth))
            is_better = not self._best_step or gained > least
        if is_better:
            self._smallest_error, self._kept_errors = choosing, errors
            self._keep_present()
            self._judged = self._best_step, estimate, self._best
            if self._keeps_network:
                self._best_network = fit.copy_network()
        elif learns_slowly and gained > -by_chance:
            self._average_present()
        return Measures(
            loss=loss,
            spread=spread,
            held_out_error=held_out_error if self._has_held_out else None,
            prior_error=prior_held_out_error if self._has_held_out else None,
            discrepancy=None if discrepancy is None else discrepancy_value,
            blurriness=blurred,
            sharpness=sharp,
            ratio=blurred / max(sharp, 1e-6),
            band_correspondence=tuple(bands),
            is_better=None if errors is None else is_better,
        )

    def choose_present(self) -> None:
        """Make the current step the estimate, even if an earlier one was better."""
        self._keep_present()

    def keep_judged(self) -> None:
        """Make the image that was judged the estimate, because there is no time for more filters; no deviation."""
        if self._judged is not None:
            self._best_step, image, self._best = self._judged
            self._helped = self._best_step, image, None

    def take_snapshot(self) -> Snapshot:
        """Return a snapshot of the current step: what the estimate would be if this step were chosen."""
        if self.fit.posterior.count:
            return self._snapshot_of(self.fit.step_count, self.image, None)
        return self._snapshot_of(self.fit.step_count, _mean_over_runs(self.fit.averaged_outputs), self._partner)

    def take_snapshot_of_best(self) -> Snapshot:
        """Return a snapshot of the estimate's step alone, which is what a run to that step returns."""
        if self.fit.posterior.count or not self._best_step:
            return self.take_snapshot()
        return self._snapshot_of(self._best_step, _mean_over_runs(self._best_alone), self._partner)

    def _snapshot_of(self, step: int, output: torch.Tensor, partner: Partner | None) -> Snapshot:
        return Snapshot(step, output.cpu(), self.fit.noise.device, partner)

    def _keep_present(self) -> None:
        self._best, self._best_step, self._averaged_steps = self.fit.averaged_outputs, self.fit.step_count, 1
        self._best_alone = self._best

    def _measure_noise(self) -> float:
        """Return the held-out error of the truth, where the network learns slowly; infinite if the noise is unknown."""
        data_term, held_out = self.fit.data_term, self.fit.held_out
        if not data_term.is_learned_slowly or data_term.noise is None or not self._has_held_out:
            return float("inf")
        return float((data_term.noise.variance(data_term.values) * held_out).sum() / self._held_out_values)

    def _average_present(self) -> None:
        """Take the current outputs into the mean of those that are as good as the best: their faults differ."""
        self._averaged_steps += 1
        self._best = torch.lerp(self._best, self.fit.averaged_outputs, 1 / self._averaged_steps)
        self._helped = None

    def _image_and_variance(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the image from the best averaged outputs, and its variance if known, both ``(1, c, H, W)``."""
        if self._helped is None or self._helped[0] != self.step:  # computed on request, because it takes a while
            outputs = self._best if self._best_step else self.fit.averaged_outputs
            image, variance = self._help(_mean_over_runs(outputs))
            if self._wants_uncertainty and outputs.shape[0] > 1:
                images = torch.cat([self._help(each[None], quick=True)[0] for each in outputs])
                variance = variance + images.var(dim=0, keepdim=True)
            self._helped = self.step, image, variance
        return self._helped[1:]

    def _help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return an output improved by the partner, and its variance, both ``(1, c, H, W)``."""
        if self._partner is None:
            return output, torch.zeros_like(output)
        image, variance = self._partner.help(output, quick=quick)
        return image, variance.expand_as(image)

    def _compare_to_kept(self, errors: torch.Tensor, judges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return how much smaller these errors are on average than those of the kept step, and its standard error."""
        gains = torch.zeros_like(errors) if self._kept_errors is None else self._kept_errors - errors
        count = judges.sum()
        gain = gains.sum() / count
        return gain, ((gains - gain) * judges).square().sum().sqrt() / count

    def _held_out_error(self, image: torch.Tensor) -> torch.Tensor:
        """Return the mean data term of the held-out entries, ``()``; 0 if there are none."""
        return (self.fit.data_term.errors(image) * self.fit.held_out).sum() / self._held_out_values.clamp_min(1)


def _mean_over_runs(outputs: torch.Tensor) -> torch.Tensor:
    return outputs.mean(dim=0, keepdim=True)
