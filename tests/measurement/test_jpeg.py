"""JPEG: the table is found in the pixels, and the original lies in the cells."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from napari_dip.image_tensor import to_tensor
from napari_dip.measurement.data_term import data_term_of
from napari_dip.measurement.jpeg import estimate_quantisation_table
from napari_dip.measurement.task import find_task


def compress(image: np.ndarray, quality: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the decoded pixels and the quantisation table."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    decoded = Image.open(buffer)
    return np.asarray(decoded), np.reshape(decoded.quantization[0], (8, 8)).astype(float)


@pytest.mark.parametrize("quality", [10, 20, 30, 50])
def test_the_table_is_found_in_the_pixels(quality: int) -> None:
    decoded, table = compress(data.camera()[100:356, 100:356], quality)
    found = estimate_quantisation_table(decoded)
    assert found is not None
    assert np.abs(np.log(found[:4, :4] / table[:4, :4])).max() < 0.05
    assert np.median(np.abs(np.log(found / table))) < 0.05


def test_what_was_no_jpeg_or_was_changed_since_has_no_table() -> None:
    image = data.camera()[100:228, 100:228]
    assert estimate_quantisation_table(image) is None
    decoded, _ = compress(image, 20)
    assert estimate_quantisation_table(decoded[3:, 5:]) is None
    noisy = decoded + np.random.default_rng(0).normal(0, 5, decoded.shape)
    assert estimate_quantisation_table(noisy) is None


def test_the_nearest_image_within_the_cells_is_no_farther_from_the_original() -> None:
    original = data.camera()[100:164, 100:156]
    decoded, table = compress(original, 10)
    degraded = to_tensor(decoded)
    term = data_term_of(
        find_task("deblock"), degraded.values, degraded.known,
        scale=degraded.scale.item(), offset=degraded.offset.item(),
        quantisation_table=table,
    )  # fmt: skip
    assert "given" in term.description
    truth = torch.from_numpy((original - degraded.offset.item()) / degraded.scale.item()).float()[None, None]
    for deviation in (0.02, 0.1, 0.5):
        estimate = truth + deviation * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
        imposed = term.impose(estimate)
        assert (imposed - truth).square().sum() < (estimate - truth).square().sum()
        torch.testing.assert_close(term.impose(imposed), imposed, atol=1e-5, rtol=0)
    torch.testing.assert_close(term.impose(truth), truth, atol=0.02, rtol=0)  # but for the rounding of the pixels


def test_pixels_beyond_whole_blocks_stay() -> None:
    decoded, table = compress(data.camera()[100:161, 100:151], 10)
    degraded = to_tensor(decoded)
    term = data_term_of(find_task("deblock"), degraded.values, degraded.known, scale=degraded.scale.item(),
                        quantisation_table=table)  # fmt: skip
    estimate = torch.rand(1, 1, 61, 51)
    imposed = term.impose(estimate)
    assert imposed[..., 56:, :].equal(estimate[..., 56:, :])
    assert imposed[..., 48:].equal(estimate[..., 48:])


def test_colour_and_masks_fall_back_to_the_pixels(astronaut, camera) -> None:
    colour = to_tensor(astronaut)
    holed = to_tensor(camera, camera < 20)
    for degraded in (colour, holed):
        term = data_term_of(find_task("deblock"), degraded.values, degraded.known)
        assert term.by_pixel


def test_errors_are_in_quantisation_steps_and_vanish_at_the_jpeg() -> None:
    original = data.camera()[100:164, 100:164]
    decoded, table = compress(original, 10)
    degraded = to_tensor(decoded)
    term = data_term_of(
        find_task("deblock"), degraded.values, degraded.known,
        scale=degraded.scale.item(), offset=degraded.offset.item(),
        quantisation_table=table,
    )  # fmt: skip
    assert term.errors(degraded.values).max() < 1e-3  # the rounding of the pixels
    truth = torch.from_numpy((original - degraded.offset.item()) / degraded.scale.item()).float()[None, None]
    assert 0.7 < float(term.discrepancy(truth)) < 1.3  # the quantisation error is spread over the step
    assert float(term.discrepancy(degraded.values)) < 1e-2


def test_the_cells_hold_the_original_also_where_pixels_were_clipped() -> None:
    bright = np.clip(1.8 * data.camera()[60:188, 180:308].astype(float) - 60, 0, 255).astype(np.uint8)
    spots = np.zeros((128, 128), np.uint8)
    spots[::9, ::11] = 255
    for original in (spots, bright, data.camera()[100:228, 100:228]):
        for quality in (30, 90):
            decoded, table = compress(original, quality)
            degraded = to_tensor(decoded)
            term = data_term_of(
                find_task("deblock"), degraded.values, degraded.known,
        scale=degraded.scale.item(), offset=degraded.offset.item(),
                quantisation_table=table,
            )  # fmt: skip
            if term.by_pixel:  # nothing is left that was not clipped
                continue
            truth = torch.from_numpy((original - degraded.offset.item()) / degraded.scale.item()).float()[None, None]
            moved = (term.impose(truth) - truth) * degraded.scale.item()
            assert moved.square().mean().sqrt() < 0.3
            assert 0.5 < float(term.discrepancy(truth)) < 1.5


def test_a_table_too_fine_to_tell_anything_is_not_used() -> None:
    decoded, table = compress(data.camera()[100:228, 100:228], 98)
    degraded = to_tensor(decoded)
    term = data_term_of(find_task("deblock"), degraded.values, degraded.known, quantisation_table=table)
    assert term.by_pixel
    assert term.correlation_side == 8
