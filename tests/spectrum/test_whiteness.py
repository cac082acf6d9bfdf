import pytest
import torch
from devices import draw

from napari_dip.spectrum.whiteness import neighbour_correlation


def everything(image: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(image[:, :1], dtype=torch.bool)


@pytest.mark.parametrize("channels", [1, 3])
def test_white_noise_is_white_whatever_its_mean_and_strength(channels: int, device: str) -> None:
    image = draw(1, channels, 90, 110, device=device)
    for residual in (image, 40 + 3 * image):
        down, across = neighbour_correlation(residual, everything(residual))
        assert abs(down) < 0.03
        assert abs(across) < 0.03


def test_blur_and_sharpening_show_and_in_their_direction() -> None:
    image = draw(1, 1, 90, 110)
    across_blurred = (image[..., 1:] + image[..., :-1]) / 2
    down, across = neighbour_correlation(across_blurred, everything(across_blurred))
    assert across == pytest.approx(0.5, abs=0.03)
    assert down == pytest.approx(0, abs=0.03)
    differences = image[..., 1:, :] - image[..., :-1, :]
    down, _ = neighbour_correlation(differences, everything(differences))
    assert down == pytest.approx(-0.5, abs=0.03)


def test_what_is_missing_does_not_count_and_nothing_is_uncorrelated() -> None:
    image = draw(1, 1, 90, 110)
    known = everything(image)
    known[..., 20:40, 30:60] = False
    spoilt = torch.where(known, image, 1e6)
    for value, expected in zip(neighbour_correlation(spoilt, known), neighbour_correlation(image, known), strict=True):
        assert value == expected
    assert neighbour_correlation(torch.zeros_like(image), known) == (0, 0)
