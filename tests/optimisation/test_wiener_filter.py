"""The Wiener filter keeps what its pilot shows above the noise."""

import numpy as np
import pytest
import torch

from napari_dip.optimisation.wiener_filter import wiener_filter


@pytest.mark.parametrize(("height", "width", "side"), [(16, 33, 8), (40, 32, 16), (47, 65, 16), (64, 64, 8)])
def test_the_wiener_filter_shrinks_by_the_noise(height: int, width: int, side: int) -> None:
    image = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(0))
    nothing, everything = torch.full_like(image, 1e-12), torch.full_like(image, 1e6)
    kept, left = wiener_filter(image, image, nothing, side, 4)
    torch.testing.assert_close(kept, image, atol=1e-4, rtol=0)
    assert left.shape == image[:, :1].shape
    assert left.max() <= 1.001e-12
    flat, _ = wiener_filter(image, image, everything, side, 4)
    assert flat.std() < 0.6 * image.std()  # what is left are the means of the blocks, and each channel's share in them
    np.testing.assert_allclose(flat[0].mean(dim=0).mean(), image.mean(), atol=0.03)


def test_each_coefficient_has_its_own_noise() -> None:
    """Where the spectrum says that there is none, everything is kept."""
    image = torch.rand((1, 1, 40, 40), generator=torch.Generator().manual_seed(0))
    noise = torch.full_like(image, 1e6)
    silent = torch.full((8, 8), 1e-18)
    kept, _ = wiener_filter(image, image, noise, 8, 4, silent)
    torch.testing.assert_close(kept, image, atol=1e-4, rtol=0)
    silent[1:, :] = 1.0  # noise along columns alone
    flat, _ = wiener_filter(image, image, noise, 8, 4, silent)
    assert flat.diff(dim=2).std() < 0.5 * flat.diff(dim=3).std()
