"""An image corresponds to itself with 1 in every band; blurring takes from the high bands first."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data

from napari_dip.spectrum.band_correspondence import band_correspondence


def plain(image: np.ndarray, target: np.ndarray, bands: int) -> list[float]:
    """The definition, independently: rings around the centre of the shifted spectrum, ratios clipped to [0, 1]."""
    height, width = target.shape
    ratio = np.abs(np.fft.fftshift(np.fft.fft2(image))) / (np.abs(np.fft.fftshift(np.fft.fft2(target))) + 1e-8)
    ratio = np.clip(ratio, 0, 1)
    y, x = np.mgrid[:height, :width]
    radius = np.sqrt((x - width // 2) ** 2 + (y - height // 2) ** 2)
    edges = [width // 2 * n / bands for n in range(1, bands + 1)]
    inner = [-1.0, *edges[:-1]]
    return [float(ratio[(radius > low) & (radius <= high)].mean()) for low, high in zip(inner, edges, strict=True)]


@pytest.mark.parametrize("bands", [1, 5, 7])
def test_agrees_with_the_plain_definition_on_a_square_image(bands: int, device: str) -> None:
    target = data.camera()[100:228, 100:228] / 255
    image = gaussian_filter(target, 1)
    tensors = (torch.from_numpy(each)[None, None].float().to(device) for each in (image, target))
    ours = band_correspondence(*tensors, bands)
    np.testing.assert_allclose(ours[0].cpu(), plain(image, target, bands), atol=1e-4)


@pytest.mark.parametrize("shape", [(32, 32), (31, 47), (64, 20)])
def test_an_image_corresponds_to_itself(shape: tuple[int, int], device: str) -> None:
    image = torch.rand(2, 3, *shape).to(device)
    torch.testing.assert_close(band_correspondence(image, image).cpu(), torch.ones(2, 5), atol=1e-3, rtol=0)


def test_blur_takes_from_the_high_bands_first() -> None:
    target = data.camera()[100:196, 100:228] / 255
    image = gaussian_filter(target, 1.5)
    bands = band_correspondence(torch.from_numpy(image)[None, None], torch.from_numpy(target)[None, None])[0]
    assert bands[0] > bands[1] > bands[2]


def test_rings_of_equal_frequency_on_a_long_image() -> None:
    """A wave of 16/3 pixels lies in the second of four rings, however long the image, and it alone is missed there."""
    for shape in [(64, 64), (64, 160), (160, 64)]:
        wave = torch.cos(2 * torch.pi * torch.arange(shape[1]) * 3 / 16).expand(shape)[None, None]
        others = torch.rand(1, 1, *shape)
        bands = band_correspondence(others, others + wave, bands=4)[0]
        assert bands[1] < 1 - 5e-4
        torch.testing.assert_close(bands[[0, 2, 3]], torch.ones(3), atol=1e-4, rtol=0)
