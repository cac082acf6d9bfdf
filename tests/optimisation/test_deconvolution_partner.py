"""The partner that takes out a blur: it beats its parts, knows how far it errs, and repeats itself."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_dip.device import choose_device
from napari_dip.fit_plan import build_estimate, build_fit
from napari_dip.measurement.data_term import DataTerm, data_term_of
from napari_dip.measurement.forward_operator import cosines
from napari_dip.measurement.noise_correlation import block_spectrum
from napari_dip.measurement.psf import gaussian_psf
from napari_dip.measurement.task import find_task
from napari_dip.optimisation.deconvolution_partner import DeconvolvingPartner, deconvolve, deconvolve_stepwise
from napari_dip.settings import Settings


def blurred_spots(side: int = 64, photons: float = 50.0) -> tuple[DataTerm, torch.Tensor, torch.Tensor]:
    """Return a measurement, the truth with its surroundings, and what a network might have learned of it."""
    random = np.random.default_rng(0)
    psf = gaussian_psf(1.5)
    beyond = psf.shape[0] // 2
    spots = np.zeros((side + 2 * beyond,) * 2)
    for row, column in random.integers(0, len(spots), (60, 2)):
        spots[row, column] += random.uniform(0.3, 1)
    spots = gaussian_filter(spots, 1.2)
    truth = torch.tensor(spots / spots.max(), dtype=torch.float32)[None, None] + 0.05
    nothing = torch.ones(1, 1, side, side, dtype=torch.bool)
    task = find_task("deconvolve")
    operator = data_term_of(task, torch.rand(1, 1, side, side), nothing, psf=psf).operator
    seen = random.poisson(photons * operator(truth).clamp_min(0).numpy()) / photons
    data_term = data_term_of(task, torch.tensor(seen, dtype=torch.float32), nothing, psf=psf)
    learned = torch.tensor(gaussian_filter(truth.numpy(), (0, 0, 1, 1)))
    return data_term, truth, learned


def partner_of(data_term: DataTerm) -> DeconvolvingPartner:
    held_out = torch.zeros_like(data_term.known)
    held_out[..., ::5, ::4] = True
    return DeconvolvingPartner(data_term, data_term.known & ~held_out, held_out)


@pytest.fixture(scope="module")
def helped():
    data_term, truth, learned = blurred_spots()
    partner = partner_of(data_term)
    image, variance = partner.help(learned)
    return data_term, truth, learned, partner, image, variance


def error(image: torch.Tensor, truth: torch.Tensor, data_term: DataTerm) -> float:
    return float(data_term.cut_to_view(image - truth).square().mean())


def test_it_beats_richardson_lucy_on_the_noisy_image_and_its_own_quick_answer(helped) -> None:
    data_term, truth, learned, partner, image, _ = helped
    noisy = min(
        error(each, truth, data_term)
        for each in deconvolve_stepwise(data_term.values, data_term.operator, (5, 10, 20, 40, 80))
    )
    quick, _ = partner.help(learned, quick=True)
    assert error(image, truth, data_term) < 0.8 * noisy
    assert error(image, truth, data_term) < error(quick, truth, data_term)


def test_its_variance_is_large_where_it_errs(helped) -> None:
    data_term, truth, _, _, image, variance = helped
    assert variance.shape == (1, 1, *truth.shape[2:])
    squares = data_term.cut_to_view((image - truth).square())
    likely = data_term.cut_to_view(variance)
    high = likely > likely.quantile(0.8)
    assert float(squares[high].mean()) > 2 * float(squares[~high].mean())


def test_it_repeats_itself(helped) -> None:
    _, _, learned, partner, image, variance = helped
    again = partner.help(learned)
    assert torch.equal(again[0], image)
    assert torch.equal(again[1], variance)


def test_a_network_that_has_learned_nothing_gets_no_share(helped) -> None:
    data_term, truth, _, partner, _, _ = helped
    constant = torch.full_like(truth, float(data_term.values.mean()))
    assert float(partner._share_of_network(constant)) == 0
    assert 0.1 < float(partner._share_of_network(truth)) <= 0.15


def test_the_filters_know_how_strong_noise_is_after_the_inverse(helped) -> None:
    """In each coefficient of a block, white noise has the variance that the filters are told."""
    data_term, _, _, partner, _, _ = helped
    operator = data_term.operator
    inverse, side = operator.inverse(0.01), 8
    told = partner._spectrum(inverse, side)
    size = operator.fft_size
    white = torch.randn(60, 1, *size, generator=torch.Generator().manual_seed(0))
    noise = torch.fft.irfft2(torch.fft.rfft2(white) * inverse, size)
    rows, columns = (length // side * side for length in size)
    blocks = noise[..., :rows, :columns].unfold(2, side, side).unfold(3, side, side)
    transform = cosines(side)
    found = (transform @ blocks @ transform.T).square().mean(dim=(0, 1, 2, 3))
    torch.testing.assert_close(found, told, rtol=0.15, atol=0.02 * float(told.max()))


def test_white_noise_has_a_flat_spectrum() -> None:
    covariance = np.zeros((15, 15))
    covariance[7, 7] = 2.0
    torch.testing.assert_close(block_spectrum(covariance), torch.full((8, 8), 2.0))


def test_steps_are_those_of_one_run() -> None:
    data_term, _, _ = blurred_spots(side=24)
    some = list(deconvolve_stepwise(data_term.values, data_term.operator, (3, 8)))
    assert len(some) == 2
    for image, iterations in zip(some, (3, 8), strict=True):
        assert torch.equal(image, deconvolve(data_term.values, data_term.operator, iterations))


def test_the_kept_image_is_the_mean_of_the_best_step_and_of_later_ones_that_are_as_good() -> None:
    data_term, truth, _ = blurred_spots(photons=20.0)
    settings = Settings(width=8, levels=2, device="cpu")
    fit = build_fit(settings, choose_device("cpu"), data_term)
    estimate = build_estimate(settings, fit)

    def errors_of(image: torch.Tensor) -> np.ndarray:
        return data_term.errors(image)[fit.held_out].double().numpy()

    of_truth = errors_of(truth)
    chance = of_truth.std() / np.sqrt(len(of_truth))
    assert estimate._error_of_truth == pytest.approx(of_truth.mean(), abs=3 * chance)
    alike: list[torch.Tensor] = []
    kept, best, lengths = np.array([]), 0, set()
    for step in range(1, 121):
        fit.step()
        if step % 10:
            continue
        errors, measures = errors_of(fit.averaged_outputs), estimate.measure()
        assert measures.prior_error == pytest.approx(errors.mean(), rel=1e-4)
        if measures.is_better:
            if step > 50:
                gain, chance = kept - errors, (kept - errors).std() / np.sqrt(len(errors))
                assert gain.mean() > max(chance, 0.19 * (kept.mean() - estimate._error_of_truth))
            kept, best, alike = errors, step, [fit.averaged_outputs]
        elif kept.mean() - errors.mean() > -(kept - errors).std() / np.sqrt(len(errors)):
            alike.append(fit.averaged_outputs)
        lengths.add(len(alike))
        assert estimate.step == best
        torch.testing.assert_close(estimate._best, torch.stack(alike).mean(dim=0))
    assert len(lengths) > 1  # else nothing was averaged
