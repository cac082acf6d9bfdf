"""The partner helps where the held-out pixels say so, and sees nothing of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from devices import assert_same
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_dip.measurement.data_term import data_term_of
from napari_dip.measurement.noise import NoiseModel, survey_noise
from napari_dip.measurement.task import find_task
from napari_dip.optimisation.completing_partner import CompletingPartner
from napari_dip.optimisation.partner import DenoisingPartner, Partner
from napari_dip.optimisation.partner_choice import choose_partner

DEVIATION = 0.1


@pytest.fixture
def noisy(device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The truth, the noisy image and the held-out pixels."""
    truth = torch.from_numpy(data.astronaut()[60:124, 180:250] / 255.0).float().permute(2, 0, 1)[None]
    generator = torch.Generator().manual_seed(0)
    held_out = torch.rand((1, 1, 64, 70), generator=generator) < 0.05
    values = truth + DEVIATION * torch.randn(truth.shape, generator=generator)
    return truth.to(device), values.to(device), held_out.to(device)


def partner_of(values: torch.Tensor, held_out: torch.Tensor, missing: torch.Tensor | None = None) -> DenoisingPartner:
    fitted = ~held_out if missing is None else ~held_out & ~missing
    return DenoisingPartner(values, fitted, held_out, NoiseModel(DEVIATION**2, 0.0, 1e-6, DEVIATION**2))


def helped_by(partner: Partner | None, output: torch.Tensor) -> torch.Tensor:
    assert partner is not None
    image, _ = partner.help(output)
    return image


def mean_square(image: torch.Tensor) -> float:
    return float(image.square().mean())


def test_a_poor_prior_is_helped_and_a_perfect_one_is_left(noisy) -> None:
    truth, values, held_out = noisy
    partner = partner_of(values, held_out)
    blurred = torch.nn.functional.avg_pool2d(truth, 7, 1, 3)
    assert mean_square(helped_by(partner, blurred) - truth) < 0.5 * mean_square(blurred - truth)
    assert mean_square(helped_by(partner, truth) - truth) < 0.05 * DEVIATION**2


def test_what_is_held_out_only_weighs(noisy) -> None:
    """Other held-out pixels change the shares, nothing that a judged filter sees; the result sees them, too."""
    _, values, held_out = noisy
    partner, other = (partner_of(each, held_out) for each in (values, torch.where(held_out, 7.0, values)))
    pilot = torch.full_like(values, 0.5)
    assert_same(other._first_of_trial, partner._first_of_trial)
    one, other_one = (
        each._filter(pilot, each._trial.values, each._trial.seen, each._noise, 4)[0] for each in (partner, other)
    )
    assert_same(other_one, one)
    assert not other._first_of_known.equal(partner._first_of_known)


def test_seeing_all_pixels_is_better(noisy) -> None:
    truth, values, held_out = noisy
    partner = partner_of(values, held_out)
    blurred = torch.nn.functional.avg_pool2d(truth, 5, 1, 2)
    assert mean_square(helped_by(partner, blurred) - truth) < mean_square(partner.judge(blurred).image - truth)


def estimate_error(partner: DenoisingPartner, output: torch.Tensor) -> float:
    """The mean squared error of what is judged, without that of the noise."""
    judgement = partner.judge(output)
    assert judgement.errors is not None
    assert judgement.judges is not None
    return float(judgement.errors.sum() / judgement.judges.sum()) - DEVIATION**2


@pytest.mark.parametrize("kernel", [3, 7, 15])
def test_the_error_is_known_without_the_truth(noisy, kernel: int) -> None:
    """Of what network and filters make together, to a fifth of the noise."""
    truth, values, held_out = noisy
    partner = partner_of(values, held_out)
    output = torch.nn.functional.avg_pool2d(truth, kernel, 1, kernel // 2)
    image, _ = partner.help(output, quick=True)
    assert abs(estimate_error(partner, output) - mean_square(image - truth)) < 0.2 * DEVIATION**2


def test_the_truth_is_the_better_output(noisy) -> None:
    truth, values, held_out = noisy
    partner = partner_of(values, held_out)
    constant = truth.mean() * torch.ones_like(truth)
    assert estimate_error(partner, truth) < estimate_error(partner, constant) - 0.1 * DEVIATION**2


def test_missing_pixels_say_nothing_about_the_error(noisy) -> None:
    truth, values, held_out = noisy
    missing = torch.zeros_like(held_out)
    missing[..., 20:30, 20:30] = True
    held_out = held_out & ~missing
    one, other = (partner_of(torch.where(missing, value, values), held_out, missing) for value in (0.0, 9.0))
    errors = one.judge(truth).errors
    assert errors is not None
    assert not errors[missing].any()
    assert estimate_error(one, truth) == pytest.approx(estimate_error(other, truth), rel=1e-3)


def test_missing_pixels_continue_what_the_filters_change(noisy) -> None:
    truth, values, held_out = noisy
    missing = torch.zeros_like(held_out)
    missing[..., 20:30, 20:30] = missing[..., 50, :] = True
    held_out = held_out & ~missing
    poor = truth + 0.3  # as early in a run: the filters put right what is known
    helped, again = (
        helped_by(partner_of(torch.where(missing, value, values), held_out, missing), poor) for value in (0.0, 9.0)
    )
    assert_same(helped, again)  # what is missing has no say
    assert torch.where(missing, helped - truth, 0.0).abs().max() < 0.15


def hole(known: torch.Tensor) -> torch.Tensor:
    known = known.clone()
    known[..., 20:34, 24:40] = False
    return known


def ramp(like: torch.Tensor) -> torch.Tensor:
    return 0.1 * torch.linspace(-1, 1, like.shape[-1], device=like.device).expand_as(like) + 0.05


def test_what_is_smoothly_wrong_is_put_right_in_the_hole(noisy) -> None:
    truth, _, held_out = noisy
    known = hole(torch.ones_like(held_out))
    data_term = data_term_of(find_task("inpaint"), truth, known)
    partner = choose_partner(data_term, held_out & known, keeps_known=False)
    assert isinstance(partner, CompletingPartner)
    helped = helped_by(partner, truth + ramp(truth))
    wrong = torch.where(known, 0.0, helped - truth)
    assert wrong.square().sum() < 0.05 * torch.where(known, 0.0, ramp(truth)).square().sum()
    fitted = known & ~held_out
    torch.testing.assert_close(helped[..., fitted[0, 0]], (truth + ramp(truth))[..., fitted[0, 0]])


def test_noise_is_not_agreed_with(noisy) -> None:
    truth, values, held_out = noisy
    known = hole(torch.ones_like(held_out))
    partner = choose_partner(data_term_of(find_task("inpaint"), values, known), held_out & known)
    assert partner is not None
    change = helped_by(partner, truth) - truth
    assert change.square().mean().sqrt() < 0.2 * DEVIATION


def test_without_held_out_pixels_or_anything_to_tell_there_is_no_partner(noisy) -> None:
    truth, _, held_out = noisy
    everything = torch.ones_like(held_out)
    for task, judged in (("denoise", torch.zeros_like(held_out)), ("deblock", held_out), ("inpaint", held_out)):
        assert choose_partner(data_term_of(find_task(task), truth, everything), judged) is None


@pytest.fixture
def correlated(device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, NoiseModel]:
    """The truth, the image with correlated noise, the held-out squares and the noise."""
    truth = torch.from_numpy(data.camera()[100:196, 100:196] / 255.0).float()[None, None]
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(96, 96)), 0.8)
    values = truth + DEVIATION * torch.from_numpy(noise / noise.std()).float()
    held_out = torch.zeros(1, 1, 96, 96, dtype=torch.bool)
    held_out[..., 16:24, 8:16] = held_out[..., 64:72, 40:48] = True
    model, _ = survey_noise(values, torch.ones_like(held_out), colours=True)
    assert isinstance(model, NoiseModel)
    return truth.to(device), values.to(device), held_out.to(device), model


def test_correlated_noise_is_filtered_by_its_spectrum(correlated) -> None:
    truth, values, held_out, noise = correlated
    constant = truth.mean() * torch.ones_like(truth)
    known, white = (
        DenoisingPartner(values, ~held_out, held_out, each) for each in (noise, replace(noise, correlation=None))
    )
    assert mean_square(helped_by(known, constant) - truth) < 0.75 * mean_square(helped_by(white, constant) - truth)
    assert mean_square(helped_by(known, constant) - truth) < 0.4 * DEVIATION**2


def test_correlated_noise_that_the_network_has_learned_is_no_gain(correlated) -> None:
    """Squares are held out: the network guesses them from far away, and noise that it has learned shows by that."""
    truth, values, held_out, noise = correlated
    partner = DenoisingPartner(values, ~held_out, held_out, noise)
    overfitted = torch.where(held_out, truth.mean(), values)
    assert estimate_error(partner, overfitted) > estimate_error(partner, truth)
    assert mean_square(helped_by(partner, overfitted) - truth) < 0.6 * DEVIATION**2


def test_what_judges_correlated_noise_is_independent_of_what_is_filtered(correlated) -> None:
    truth, values, held_out, noise = correlated
    trial = DenoisingPartner(values, ~held_out, held_out, noise)._trial
    one, other = trial.values - truth, trial.target - truth
    assert abs(float((one * other).mean())) < 0.15 * DEVIATION**2
    assert mean_square(one) == pytest.approx(1.25 * DEVIATION**2, rel=0.2)


def test_the_error_under_correlated_noise_includes_the_noise(correlated) -> None:
    truth, values, held_out, noise = correlated
    judgement = DenoisingPartner(values, ~held_out, held_out, noise).judge(truth)
    assert judgement.errors is not None
    assert float(judgement.errors.mean()) == pytest.approx(mean_square(values - truth), rel=0.3)
