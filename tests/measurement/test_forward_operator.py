"""Downsampling is Pillow's; block cosines are orthonormal and those of JPEG."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn
from scipy.signal import convolve2d

from napari_dip.measurement.forward_operator import BlockCosines, Blur, Downsampling
from napari_dip.measurement.psf import gaussian_psf


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_downsampling_agrees_with_pillow(camera, factor: int) -> None:
    height, width = (side // factor for side in camera.shape)
    cut = camera[: height * factor, : width * factor]
    ours = Downsampling.by(factor, (height, width))(torch.from_numpy(cut / 255).float()[None, None])[0, 0].numpy()
    theirs = Image.fromarray((cut / 255).astype(np.float32)).resize((width, height), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=1e-5)
    whole = Image.fromarray(cut).resize((width, height), Image.Resampling.LANCZOS)  # 8 bits: clipped and rounded
    assert np.sqrt(np.mean((np.clip(ours, 0, 1) - np.asarray(whole) / 255) ** 2)) < 1 / 255


def test_downsampling_keeps_constants_and_has_a_gradient(device: str) -> None:
    image = torch.full((2, 3, 24, 40), 0.3, requires_grad=True, device=device)
    small = Downsampling.by(4, (6, 10), device)(image)
    torch.testing.assert_close(small.cpu(), torch.full((2, 3, 6, 10), 0.3))
    small.sum().backward()
    torch.testing.assert_close(image.grad.sum().cpu(), torch.tensor(2 * 3 * 60.0))


def test_block_cosines_are_those_of_jpeg(camera) -> None:
    image = torch.from_numpy(camera).float()[None, None]
    coefficients = BlockCosines()(image)[0, 0]
    for row, column in ((0, 0), (8, 16), (40, 32)):
        expected = dctn(camera[row : row + 8, column : column + 8].astype(float), norm="ortho")
        np.testing.assert_allclose(coefficients[row : row + 8, column : column + 8], expected, atol=1e-2)


def test_block_cosines_can_be_undone(camera, device: str) -> None:
    image = torch.from_numpy(camera[:44, :39]).float()[None, None].to(device)
    coefficients = BlockCosines()(image)
    assert coefficients.shape == (1, 1, 40, 32)
    torch.testing.assert_close(BlockCosines().invert(coefficients), image[..., :40, :32], atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(5, 3), (3, 7, 2)])
def test_a_blur_is_the_convolution_within_its_surroundings(shape: tuple[int, ...], device: str) -> None:
    rng = np.random.default_rng(0)
    psf = rng.random(shape)
    blur = Blur.by(psf, (18, 23), device)
    wide = rng.random((2, 18 + shape[0] - 1, 23 + shape[1] - 1))
    ours = blur(torch.from_numpy(wide).float().to(device)[None])[0].cpu().numpy()
    kernels = np.broadcast_to(np.atleast_3d(psf), (*shape[:2], 2)).transpose(2, 0, 1)
    theirs = [convolve2d(part, kernel, mode="valid") for part, kernel in zip(wide, kernels, strict=True)]
    np.testing.assert_allclose(ours, np.stack(theirs), rtol=1e-4, atol=1e-4)


def test_the_transpose_of_a_blur_is_its_transpose() -> None:
    rng = torch.Generator().manual_seed(0)
    blur = Blur.by(np.random.default_rng(0).random((5, 9)), (20, 17))
    wide, seen = torch.rand(1, 1, 24, 25, generator=rng), torch.rand(1, 1, 20, 17, generator=rng)
    torch.testing.assert_close((blur(wide) * seen).sum(), (wide * blur.transpose(seen)).sum(), rtol=1e-4, atol=0)


def test_a_regularised_inverse_undoes_a_blur_that_hides_nothing(device: str) -> None:
    truth = torch.zeros(1, 1, 40, 44, device=device)
    truth[..., 15, 20], truth[..., 22, 18] = 1.0, 2.0
    operator = Blur.by(gaussian_psf(0.6), (40 - 2 * 3, 44 - 2 * 3), device)
    assert operator.margin == (3, 3)
    found = operator.invert(operator(truth), operator.inverse(1e-8))
    torch.testing.assert_close(found, truth, atol=2e-3, rtol=0)
    gentle = operator.invert(operator(truth), operator.inverse(0.1))
    assert 0.3 < float(gentle.max()) < 1.9  # noise would grow less, and detail is lost
