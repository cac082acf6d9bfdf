"""Muon's step has the spectral norm of its rate, in all directions alike; kernels and runs never mix."""

import pytest
import torch

from napari_dip.optimisation.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16), (1, 9)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(5, *shape, generator=generator) * torch.tensor([1e-12, 1e-3, 1.0, 1e3, 1e9])[:, None, None]
    near = orthogonalise(matrices)
    assert near.shape == matrices.shape
    values = torch.linalg.svdvals(near)
    assert values.max() < 1.3
    if shape[0] != shape[1]:  # of a square matrix the smallest may be next to nothing, and stay small
        assert values.min() > 0.6


def test_it_turns_nothing() -> None:
    """The singular vectors stay: for a matrix U S Vᵀ the result goes along with U Vᵀ."""
    matrix = torch.randn(8, 72, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    near = orthogonalise(matrix[None])[0]
    assert (near * (left @ right)).sum() / near.norm() / 8**0.5 > 0.97


def test_zeros_stay() -> None:
    assert orthogonalise(torch.zeros(2, 4, 6)).equal(torch.zeros(2, 4, 6))


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e4])
def test_a_step_has_the_spectral_norm_of_the_rate(size: float) -> None:
    """However small or large the gradient: that is why a constant output leaves its plateau at once."""
    kernel = torch.nn.Parameter(torch.zeros(1, 8, 8, 3, 3))
    kernel.grad = size * torch.randn(kernel.shape, generator=torch.Generator().manual_seed(0))
    Muon([kernel], learning_rate=0.02).step()
    norm = torch.linalg.svdvals(kernel.detach().flatten(2))[0, 0]
    assert 0.7 * 0.02 < norm < 1.3 * 0.02


def test_kernels_and_runs_never_mix() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 8, 4, 3, 3), (3, 8, 8, 3, 3), (3, 8, 8, 3, 3)]
    gradients = [torch.randn(shape, generator=generator) for shape in shapes]
    together = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for kernel, gradient in zip(together, gradients, strict=True):
        kernel.grad = gradient
    Muon(together, learning_rate=0.1).step()
    for kernel, gradient in zip(together, gradients, strict=True):
        for run in range(3):
            alone = torch.nn.Parameter(torch.zeros(1, *kernel.shape[1:]))
            alone.grad = gradient[run : run + 1]
            Muon([alone], learning_rate=0.1).step()
            torch.testing.assert_close(alone[0], kernel[run])


def test_momentum_outlasts_a_gradient_that_turns() -> None:
    kernel = torch.nn.Parameter(torch.zeros(1, 1, 1, 1, 1))
    optimiser = Muon([kernel], learning_rate=0.1, momentum=0.9)
    for sign in (1.0, 1.0, 1.0, -0.5):
        kernel.grad = torch.full_like(kernel, sign)
        before = kernel.item()
        optimiser.step()
    assert kernel.item() < before  # still along the first gradients
    assert kernel.grad is not None


def test_a_kernel_without_a_gradient_stays() -> None:
    still, moved = (torch.nn.Parameter(torch.ones(1, 2, 2, 1, 1)) for _ in range(2))
    moved.grad = torch.randn(moved.shape)
    Muon([still, moved], learning_rate=0.1).step()
    assert still.equal(torch.ones_like(still))
    assert not moved.equal(torch.ones_like(moved))
