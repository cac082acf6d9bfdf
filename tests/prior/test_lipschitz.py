"""The bound is kept, the norms are right, and batch normalisation undoes what mean-only keeps."""

import pytest
import torch
from devices import draw

from napari_dip.prior.convolution import convolve_and_centre
from napari_dip.prior.lipschitz import batch_normalise, bound_kernels, exact_spectral_norms, spectral_norms


@pytest.mark.parametrize("bound", [0.5, 1.4, 100.0])
def test_no_bounded_kernel_exceeds_the_bound(bound: float, device: str) -> None:
    kernels = draw(4, 16, 8, 3, 3, device=device)
    norms = exact_spectral_norms(kernels)
    bounded = bound_kernels(kernels, norms, bound)
    assert (exact_spectral_norms(bounded) <= bound * (1 + 1e-5)).all()
    untouched = norms <= bound
    assert bounded[untouched].equal(kernels[untouched])


def test_power_iteration_agrees_with_the_svd_from_a_cold_start(device: str) -> None:
    kernels = draw(6, 32, 32, 3, 3, device=device)
    norms, _ = spectral_norms(kernels, draw(6, 32, seed=1, device=device), iterations=20)
    torch.testing.assert_close(norms, exact_spectral_norms(kernels), rtol=1e-4, atol=0)


def test_the_norm_has_no_gradient() -> None:
    kernel = draw(1, 4, 4, 3, 3).requires_grad_()
    norms, _ = spectral_norms(kernel, draw(1, 4, seed=1))
    assert not norms.requires_grad


def test_mean_only_keeps_the_scale_and_batch_forgets_it(device: str) -> None:
    features, kernel = draw(1, 3, 8, 8, device=device), draw(1, 4, 3, 3, 3, device=device)
    zero, one = torch.zeros(1, 4, device=device), torch.ones(1, 3, device=device)
    centred = convolve_and_centre(features, kernel, zero)
    torch.testing.assert_close(convolve_and_centre(5 * features, kernel, zero), 5 * centred)
    torch.testing.assert_close(
        batch_normalise(5 * features, one, zero[:, :3]),
        batch_normalise(features, one, zero[:, :3]),
        rtol=1e-3,
        atol=1e-4,
    )
