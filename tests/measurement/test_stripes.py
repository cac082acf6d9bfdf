"""Offsets of rows or columns are found, taken out, and told apart from what an image has of its own."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data

import napari_dip
from napari_dip.measurement.neighbouring_planes import NeighbouringPlanes
from napari_dip.measurement.noise import ChannelNoise, NoiseModel, estimate_channel_noise, estimate_noise
from napari_dip.measurement.stripes import Stripes, find_stripes, measure_stripes
from napari_dip.samples import striped_fluorescence

DEVIATION, NOISE = 0.05, 0.06


def make_image(seed: int = 0, *, noise: float = NOISE) -> torch.Tensor:
    photograph = data.camera()[60:188, 150:278] / 255.0
    noisy = photograph + noise * np.random.default_rng(seed).normal(size=photograph.shape)
    return torch.from_numpy(noisy)[None, None].float()


def draw_offsets(seed: int = 1, lines: int = 128) -> torch.Tensor:
    return DEVIATION * torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 1, lines, 1))).float()


def find(values: torch.Tensor, known: torch.Tensor | None = None) -> Stripes | None:
    known = torch.ones_like(values[:, :1], dtype=torch.bool) if known is None else known
    noise = estimate_noise(values, known)
    assert noise is not None
    return find_stripes(values, known, noise)


@pytest.mark.parametrize("along", ["rows", "columns"])
def test_stripes_are_found_and_most_of_them_measured(along) -> None:
    offsets = draw_offsets()
    values = make_image() + offsets
    found = find(values if along == "rows" else values.mT)
    assert found is not None
    assert found.along == along
    measured = found.offsets if along == "rows" else found.offsets.mT
    left = offsets - measured
    assert float((left - left.mean()).square().mean()) < 0.3 * DEVIATION**2
    assert found.deviation == pytest.approx(DEVIATION, rel=0.2)


@pytest.mark.parametrize("image", ["photograph", "brick", "correlated noise", "nearly clean"])
def test_images_without_stripes_have_none(image) -> None:
    random = np.random.default_rng(2)
    brick = torch.from_numpy(data.brick()[:128, :128] / 255.0 + NOISE * random.normal(size=(128, 128)))[None, None]
    blurred = gaussian_filter(random.normal(size=(128, 128)), 1.0)
    smooth = torch.from_numpy(0.5 + NOISE * blurred / blurred.std())[None, None]
    of = {
        "photograph": make_image(), "brick": brick.float(), "correlated noise": smooth.float(),
        "nearly clean": make_image(noise=0.004),
    }  # fmt: skip
    assert find(of[image]) is None


def test_small_images_are_left_alone() -> None:
    values = make_image()[..., :31] + draw_offsets()
    assert (
        find_stripes(values, torch.ones_like(values, dtype=torch.bool), NoiseModel(NOISE**2, 0, 1e-6, NOISE**2)) is None
    )


def test_missing_pixels_say_nothing() -> None:
    values = make_image() + draw_offsets()
    known = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(0)) > 0.02
    known[:, :, 40:44] = False
    one, other = (measure_stripes(torch.where(known, values, value), known, "rows") for value in (0.0, 7.0))
    assert one.offsets.equal(other.offsets)
    assert find(torch.where(known, values, 0.0), known) is not None


def test_each_channel_has_offsets_of_its_own() -> None:
    values = torch.cat([make_image() + draw_offsets(), make_image(3) + draw_offsets(4)], dim=1)
    known = torch.ones_like(values[:, :1], dtype=torch.bool)
    noise = estimate_channel_noise(values, known)
    assert isinstance(noise, ChannelNoise)
    found = find_stripes(values, known, noise)
    assert found is not None
    for channel in (0, 1):
        alone = measure_stripes(values[:, channel : channel + 1], known, "rows")
        torch.testing.assert_close(found.offsets[:, channel : channel + 1], alone.offsets)


def test_neighbouring_planes_lose_their_own_stripes() -> None:
    values = torch.cat([make_image(n) + draw_offsets(n) for n in range(3)])
    planes = NeighbouringPlanes(values, torch.ones_like(values, dtype=torch.bool), 1)
    cleared = planes.without(measure_stripes(values, planes.known, "rows"))
    torch.testing.assert_close(
        cleared.values[2:], values[2:] - measure_stripes(values[2:], planes.known[2:], "rows").offsets
    )
    assert cleared.place == 1


def test_a_striped_image_is_restored_and_the_note_says_so() -> None:
    sample = striped_fluorescence(side=96)
    settings = napari_dip.Settings(device="cpu", width=8, levels=2, step_limit=10, residual=True)
    result = napari_dip.restore(sample.degraded, settings=settings)
    kept = napari_dip.restore(sample.degraded, settings=dataclasses.replace(settings, remove_stripes=False))
    errors = [float(np.mean((each.restored - sample.truth) ** 2)) for each in (result, kept)]
    assert errors[0] < 0.5 * errors[1]
    assert "Stripes along rows were taken out first" in result.note
    assert "Stripes" not in kept.note
    # what was removed is the difference, stripes included
    np.testing.assert_allclose(result.residual, sample.degraded - result.restored, atol=0.1)
