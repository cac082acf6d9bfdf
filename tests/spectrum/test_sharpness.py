"""The measures agree with plain computations of their definitions, and bear flat images."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, uniform_filter1d
from skimage import data

from napari_dip.spectrum.sharpness import blur_sharpness_ratio, blurriness, sharpness


def plain_blurriness(image: np.ndarray) -> float:
    shares = []
    for axis in (0, 1):
        mean = uniform_filter1d(image, 9, axis=axis, mode="constant")
        cut = tuple(slice(5, n - 4) for n in image.shape)
        of_image, of_mean = (np.abs(np.diff(each[cut], axis=axis)) for each in (image, mean))
        inner = tuple(slice(0, -1) if n == axis else slice(1, -1) for n in (0, 1))
        of_image, of_mean = of_image[inner], of_mean[inner]
        shares.append(np.minimum(of_image, of_mean).sum() / of_image.sum())
    return max(shares)


def plain_sharpness(image: np.ndarray) -> float:
    height, width = image.shape
    strongest = []
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            window = image[row - 1 : row + 2, column - 1 : column + 2].flatten()
            strongest.append((np.delete(window, 4) - window[4]).max())
    ranked = np.sort(strongest)[::-1]
    rank = np.arange(2, 1001)
    return float(np.sqrt(np.mean((ranked[2:1001] * np.exp(-0.01 * rank)) ** 2)))


@pytest.mark.parametrize("sigma", [0, 0.7, 2])
def test_agrees_with_the_definitions(sigma: float, device: str) -> None:
    image = gaussian_filter(data.camera()[100:190, 100:228] / 255, sigma)
    tensor = torch.from_numpy(image)[None, None].float().to(device)
    assert float(blurriness(tensor)) == pytest.approx(plain_blurriness(image), abs=1e-3)
    assert float(sharpness(tensor)) == pytest.approx(plain_sharpness(image), rel=0.01)


def test_blur_raises_the_ratio() -> None:
    image = data.camera()[100:196, 100:228] / 255
    images = torch.from_numpy(np.stack([gaussian_filter(image, sigma) for sigma in (0, 1, 2)]))[:, None]
    ratios = blur_sharpness_ratio(images)
    assert ratios[0] < ratios[1] < ratios[2]


def test_flat_and_small_images_are_finite() -> None:
    for image in (torch.full((1, 3, 16, 16), 0.5), torch.rand(1, 1, 16, 16)):
        assert torch.isfinite(blur_sharpness_ratio(image)).all()
    assert float(blurriness(torch.full((1, 1, 16, 16), 0.5))) == 1
    assert float(sharpness(torch.full((1, 1, 16, 16), 0.5))) == 0


@pytest.mark.parametrize("value", [-40.0, 0.0, 1.0, 300.0])
def test_hot_and_dead_pixels_do_not_decide(value: float, device: str) -> None:
    image = torch.from_numpy(gaussian_filter(data.camera()[100:228, 100:228] / 255, 1)).float()[None, None].to(device)
    spotted = image.clone()
    at = (image - value).abs().argmax()
    spotted.view(-1)[at] = value  # where it stands out
    for measure in (blurriness, sharpness):
        torch.testing.assert_close(measure(spotted), measure(image), rtol=0.02, atol=0)
