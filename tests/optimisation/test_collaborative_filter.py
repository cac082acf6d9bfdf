"""Blocks that look alike are found, and filtered together by the spectrum of the pilot."""

import pytest
import torch
from skimage import data

from napari_dip.optimisation.collaborative_filter import collaborative_filter, haar, match_blocks

SIZES = [(16, 33), (40, 31), (64, 70)]


def random_image(height: int, width: int, channels: int = 3, device: str = "cpu") -> torch.Tensor:
    return torch.rand((1, channels, height, width), generator=torch.Generator().manual_seed(0)).to(device)


def filtered(pilot: torch.Tensor, noisy: torch.Tensor, variance: float) -> tuple[torch.Tensor, torch.Tensor]:
    groups = match_blocks(pilot, 8, 3, 6, 16)
    return collaborative_filter(pilot, noisy, torch.full_like(pilot, variance), groups, 8, 3)


@pytest.mark.parametrize("length", [1, 2, 32])
def test_the_wavelet_is_orthonormal(length: int) -> None:
    torch.testing.assert_close(haar(length) @ haar(length).T, torch.eye(length))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_without_noise_the_image_stays_and_no_variance_is_left(height: int, width: int, device: str) -> None:
    image = random_image(height, width, device=device)
    kept, left = filtered(image, image, 1e-12)
    torch.testing.assert_close(kept, image, atol=1e-4, rtol=0)
    assert left.shape == image[:, :1].shape
    assert left.max() <= 1.001e-12


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_group_begins_with_its_reference_and_has_no_block_twice(height: int, width: int) -> None:
    groups = match_blocks(random_image(height, width), 8, 8, 6, 16)
    assert groups[0, 0] == 0
    assert all(len(group.unique()) == len(group) for group in groups)


def test_a_small_image_has_smaller_groups(device: str) -> None:
    groups = match_blocks(random_image(8, 10, device=device), 8, 2, 12, 64)
    assert groups.shape == (2, 2)
    assert groups.max() < 3


def test_the_period_of_a_pattern_is_found(device: str) -> None:
    tile = random_image(10, 10, device=device)
    groups = match_blocks(tile.tile(1, 1, 4, 4), 6, 2, 10, 4)
    across = 40 - 6 + 1
    rows, columns = groups // across, groups % across
    assert ((rows - rows[:, :1]) % 10 == 0).all()
    assert ((columns - columns[:, :1]) % 10 == 0).all()


def test_a_clean_pilot_takes_most_of_the_noise_away_and_the_variance_says_how_much() -> None:
    truth = torch.from_numpy(data.camera()[60:140, 180:250] / 255.0).float()[None, None]
    noisy = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    image, left = filtered(truth, noisy, 0.01)
    error = (image - truth).square().mean()
    assert error < 0.15 * 0.01
    assert 0.2 < left.mean() / error < 5


def test_mirrored_images_are_filtered_alike() -> None:
    pilot, noisy = random_image(41, 41, 1), random_image(41, 41, 1) + 0.1
    image, _ = filtered(pilot, noisy, 0.01)
    turned, _ = filtered(pilot.mT, noisy.mT, 0.01)
    assert (turned.mT - image).abs().max() < 0.1 * image.std()
