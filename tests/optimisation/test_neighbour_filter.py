"""Neighbouring planes help where they show the same, and do no harm where they do not."""

import numpy as np
import pytest
import torch
from skimage import data

from napari_dip.measurement.data_term import DataTerm
from napari_dip.measurement.forward_operator import Identity
from napari_dip.measurement.missing_pixels import choose_held_out
from napari_dip.measurement.neighbouring_planes import NeighbouringPlanes
from napari_dip.measurement.noise import NoiseModel
from napari_dip.optimisation.collaborative_filter import collaborative_filter, follow_blocks, match_blocks
from napari_dip.optimisation.neighbour_partner import NeighbourPartner
from napari_dip.optimisation.neighbours import NeighbourFilter, choose_neighbours
from napari_dip.optimisation.partner import DenoisingPartner
from napari_dip.optimisation.partner_choice import choose_partner

VARIANCE = 0.01
NOISE = NoiseModel(VARIANCE, 0.0, 0.1 * VARIANCE, VARIANCE)


def crops(*corners: tuple[int, int]) -> torch.Tensor:
    """Return parts (64, 56) of the cameraman in [0, 1], ``(p, 1, h, w)``."""
    parts = [data.camera()[row : row + 64, column : column + 56] / 255.0 for row, column in corners]
    return torch.from_numpy(np.stack(parts)).float()[:, None]


def planes_of(truth: torch.Tensor, place: int) -> NeighbouringPlanes:
    noisy = truth + VARIANCE**0.5 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    return NeighbouringPlanes(noisy, torch.ones_like(truth, dtype=torch.bool), place)


def term_of(values: torch.Tensor, known: torch.Tensor) -> DataTerm:
    size = (values.shape[-2], values.shape[-1])
    return DataTerm(operator=Identity(), values=values, known=known, size=size, description="", noise=NOISE)


def error(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float((image - truth).square().mean())


STILL = [(100, 200)] * 5
MOVING = [(100, 200 + 2 * n) for n in range(5)]
UNRELATED = [(100, 200), (300, 20), (10, 400), (420, 300), (200, 100)]


@pytest.mark.parametrize("place", [0, 2, 4])
def test_nearest_planes(place: int) -> None:
    planes = planes_of(crops(*STILL), place)
    for count in (1, 3, 5):
        around = planes.nearest(count)
        assert len(around.values) == count
        torch.testing.assert_close(around.values[around.place], planes.values[place])


def test_blocks_are_followed(device: str) -> None:
    truth = crops(*MOVING[:3]).to(device)
    paths = follow_blocks(truth, 1, 8, 4, 4, 1e-6).reshape(3, 57, 49)
    places = torch.arange(57 * 49).reshape(57, 49).to(device)
    inner = (slice(10, -10), slice(10, -10))
    torch.testing.assert_close(paths[1], places)
    # the view moves to the right, so what it shows moves to the left
    assert (paths[0] - places == 2)[inner].float().mean() > 0.95
    assert (paths[2] - places == -2)[inner].float().mean() > 0.95


def test_where_nothing_is_seen_blocks_stay() -> None:
    flat = torch.rand((3, 1, 32, 32), generator=torch.Generator().manual_seed(0)) * 1e-3
    paths = follow_blocks(flat, 0, 8, 4, 4, 1.0)
    torch.testing.assert_close(paths, paths[:1].expand_as(paths))


def test_one_plane_and_several_equal_planes_are_filtered_alike(device: str) -> None:
    truth = crops(STILL[0]).to(device)
    noisy = truth + 0.1
    variance = torch.full_like(truth, VARIANCE)
    alone, _ = collaborative_filter(truth, noisy, 3 * variance, match_blocks(truth, 8, 4, 6, 16), 8, 4)
    three = truth.expand(3, -1, -1, -1)
    groups = match_blocks(truth, 8, 4, 6, 16)
    assert (match_blocks(three, 8, 4, 6, 16) == groups).float().mean() > 0.99  # but for rounding
    # the mean of equal planes has a third of the noise's variance
    together, left = collaborative_filter(three, noisy.expand_as(three), 9 * variance.expand_as(three), groups, 8, 4)
    torch.testing.assert_close(together, alone.expand_as(together), atol=1e-5, rtol=1e-4)
    assert left.shape == (3, 1, 64, 56)


def test_without_a_pilot_noise_becomes_zero() -> None:
    noise = torch.randn((3, 1, 48, 48), generator=torch.Generator().manual_seed(0))
    groups = match_blocks(torch.zeros_like(noise), 4, 2, 6, 16)
    smooth, _ = collaborative_filter(None, noise, torch.ones_like(noise), groups, 4, 2)
    assert smooth.square().mean() < 0.15
    assert smooth.isfinite().all()


@pytest.mark.parametrize(("corners", "most"), [(STILL, 0.6), (MOVING, 0.85)])
def test_neighbours_that_show_the_same_are_used(corners, most) -> None:
    truth = crops(*corners)
    planes = planes_of(truth, 2)
    everything = planes.known[2][None]
    chosen = choose_neighbours(planes, everything, NOISE)
    assert chosen is not None
    own = truth[2][None]
    helped, _ = chosen.denoise(planes.values[2][None], everything)
    alone, _ = NeighbourFilter(planes.nearest(1), NOISE).denoise(planes.values[2][None], everything)
    assert error(helped, own) < most * error(alone, own)


def test_unrelated_planes_change_nothing() -> None:
    truth = crops(*UNRELATED)
    planes = planes_of(truth, 0)
    values, known = planes.values[0][None], planes.known[0][None]
    assert choose_neighbours(planes, known, NOISE) is None
    held_out = choose_held_out(known, 0.05, torch.Generator().manual_seed(0))
    output = truth[0][None] + 0.05
    with_planes, without = (choose_partner(term_of(values, known), held_out, each) for each in (planes, None))
    assert isinstance(with_planes, DenoisingPartner)
    torch.testing.assert_close(with_planes.help(output)[0], without.help(output)[0], rtol=0, atol=0)


def test_brightness_may_change_from_plane_to_plane() -> None:
    truth = crops(*STILL) * torch.tensor([1.0, 0.9, 0.8, 0.7, 0.6])[:, None, None, None]
    planes = planes_of(truth, 2)
    everything = planes.known[2][None]
    chosen = choose_neighbours(planes, everything, NOISE)
    assert chosen is not None
    image, _ = chosen.denoise(planes.values[2][None], everything)
    assert abs(float((image - truth[2]).mean())) < 0.005
    assert error(image, truth[2][None]) < 0.15 * VARIANCE


def test_held_out_pixels_have_no_influence_on_what_they_judge() -> None:
    planes = planes_of(crops(*STILL), 2)
    values, known = planes.values[2][None], planes.known[2][None]
    held_out = choose_held_out(known, 0.05, torch.Generator().manual_seed(0))
    changed = torch.where(held_out, values + 0.5, values)
    output = values * 0
    judged = []
    for own in (values, changed):
        around = NeighbouringPlanes(torch.cat([planes.values[:2], own, planes.values[3:]]), planes.known, 2)
        partner = choose_partner(term_of(own, known), held_out, around)
        assert isinstance(partner, NeighbourPartner)
        assert partner.neighbours == 4
        judged.append(partner._first)
        assert partner.judge(output).image.isfinite().all()
    torch.testing.assert_close(*judged, rtol=0, atol=0)


def test_missing_pixels_of_any_plane_do_no_harm() -> None:
    truth = crops(*STILL)
    planes = planes_of(truth, 2)
    known = planes.known.clone()
    known[1, :, 10:20, 10:20] = False
    known[2, :, 30:34, 30:34] = False
    values = torch.where(known, planes.values, 0.0)
    around = NeighbouringPlanes(values, known, 2)
    image, left = NeighbourFilter(around, NOISE).denoise(values[2][None], known[2][None])
    assert error(image, truth[2][None]) < 0.25 * VARIANCE
    assert left.isfinite().all()


def test_a_wanted_plane_is_the_same_as_among_all() -> None:
    planes = planes_of(crops(*MOVING[:3]), 1)
    variance = torch.full_like(planes.values, VARIANCE)
    groups, paths = match_blocks(planes.values, 8, 4, 6, 16), follow_blocks(planes.values, 1, 8, 4, 4, 1e-3)
    every, only = (
        collaborative_filter(planes.values, planes.values, variance, groups, 8, 4, paths=paths, wanted=wanted)
        for wanted in (None, 1)
    )
    for one, other in zip(every, only, strict=True):
        torch.testing.assert_close(one[1:2], other)
