"""What is missing in one plane and known in the next is filled in from there, and unrelated planes change nothing."""

import dataclasses

import numpy as np
import pytest
import tifffile
import torch
from films import write_film
from skimage import data

import napari_dip
from napari_dip.many.axes import find_axes
from napari_dip.many.file_job import FileJob
from napari_dip.many.file_restoration import restore_file
from napari_dip.many.image_stack import MaskedStack
from napari_dip.many.stack import restore_planes
from napari_dip.many.tiling import Tiling
from napari_dip.measurement.data_term import DataTerm
from napari_dip.measurement.forward_operator import Identity
from napari_dip.measurement.missing_pixels import fill_smoothly
from napari_dip.measurement.neighbouring_planes import NeighbouringPlanes
from napari_dip.optimisation.group_fill_partner import GroupFillPartner
from napari_dip.optimisation.neighbour_fill import fill_from_neighbours
from napari_dip.optimisation.neighbour_fill_partner import NeighbourFillPartner, _open
from napari_dip.optimisation.partner_choice import choose_partner
from napari_dip.request import NO_REPORTS, Hooks, Request

SIDE = 72
PLACES = {
    "still": [(60, 160)] * 5,
    "moving": [(60 + n, 160 + 2 * n) for n in range(5)],
    "unrelated": [(300, 20), (10, 200), (60, 160), (400, 300), (250, 380)],
}


def film(kind: str) -> torch.Tensor:
    """Return five parts (SIDE, SIDE) of the cameraman in [0, 1], ``(p, 1, h, w)``."""
    parts = [data.camera()[row : row + SIDE, column : column + SIDE] / 255.0 for row, column in PLACES[kind]]
    return torch.from_numpy(np.stack(parts)).float()[:, None]


def holes_of(planes: int) -> torch.Tensor:
    """Return which pixels are known, ``(p, 1, h, w)``: in each plane, squares are missing elsewhere."""
    known = torch.ones((planes, 1, SIDE, SIDE), dtype=torch.bool)
    for plane in range(planes):
        for row, column in ((10, 8), (16, 60), (52, 30), (60, 72)):
            at = (row + 13 * plane) % (SIDE - 12), (column + 29 * plane) % (SIDE - 12)
            known[plane, 0, at[0] : at[0] + 10, at[1] : at[1] + 10] = False
    return known


def planes_of(truth: torch.Tensor, known: torch.Tensor) -> NeighbouringPlanes:
    noise = 0.005 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    return NeighbouringPlanes(torch.where(known, truth + noise, 0.0), known, 2)


def error(image: torch.Tensor, truth: torch.Tensor, where: torch.Tensor) -> float:
    return float((image - truth).square()[where].mean())


@pytest.mark.parametrize(("kind", "most"), [("still", 0.05), ("moving", 0.2)])
def test_a_hole_is_filled_with_what_the_next_planes_show(kind, most, device) -> None:
    truth, known = film(kind).to(device), holes_of(5).to(device)
    truth = truth * torch.tensor([1.0, 0.9, 0.8, 0.7, 0.6], device=device)[:, None, None, None]  # it bleaches
    own, missing = truth[2][None], ~known[2][None]
    planes = planes_of(truth.cpu(), known.cpu()).to(device)
    found = fill_from_neighbours(planes, ~missing)
    smooth = fill_smoothly(planes.values[2][None], ~missing)
    assert found.errors[missing].isfinite().all()
    assert error(found.image, own, missing) < most * error(smooth, own, missing)


def test_a_size_that_is_no_multiple_of_the_cells_and_colours() -> None:
    truth = film("still")[..., :67, :53].expand(-1, 3, -1, -1) * torch.tensor([1.0, 0.5, 0.25])[:, None, None]
    known = holes_of(5)[..., :67, :53]
    found = fill_from_neighbours(planes_of(truth, known), known[2][None])
    assert found.image.shape == (1, 3, 67, 53)
    missing = ~known[2][None]
    assert found.errors[missing].isfinite().float().mean() > 0.8
    shown = (missing & found.errors.isfinite()).expand(-1, 3, -1, -1)
    assert error(found.image, truth[2][None], shown) < 1e-3


def test_what_no_plane_knows_is_not_made_up() -> None:
    known = torch.ones((5, 1, SIDE, SIDE), dtype=torch.bool)
    known[..., 30:60, 30:60] = False
    found = fill_from_neighbours(planes_of(film("still"), known), known[2][None])
    assert found.errors[..., 40:50, 40:50].isinf().all()
    assert found.image.isfinite().all()


def partner_of(
    kind: str, known: torch.Tensor, held_out: torch.Tensor
) -> tuple[NeighbourFillPartner, NeighbouringPlanes]:
    planes = planes_of(film(kind), known)
    values, own_known = planes.values[2][None], known[2][None]
    term = DataTerm(operator=Identity(), values=values, known=own_known, size=(SIDE, SIDE), description="")
    partner = choose_partner(term, held_out, planes, keeps_known=True)
    assert isinstance(partner, NeighbourFillPartner)
    assert isinstance(choose_partner(term, held_out, keeps_known=True), GroupFillPartner)
    return partner, planes


def squares(known: torch.Tensor) -> torch.Tensor:
    """Hold out squares in the size of the holes."""
    held_out = torch.zeros_like(known[2][None])
    for row in range(2, SIDE - 10, 22):
        for column in range(4, SIDE - 10, 22):
            square = (..., slice(row, row + 10), slice(column, column + 10))
            if known[2][None][square].all():
                held_out[square] = True
    return held_out


@pytest.mark.parametrize(("kind", "helps"), [("still", True), ("moving", True), ("unrelated", False)])
def test_neighbours_are_used_as_far_as_held_out_squares_allow(kind, helps) -> None:
    known = holes_of(5)
    held_out = squares(known)
    partner, planes = partner_of(kind, known, held_out)
    truth, missing = film(kind)[2][None], ~known[2][None]
    output = fill_smoothly(planes.values[2][None], known[2][None] & ~held_out)
    alone, _ = GroupFillPartner(planes.values[2][None], known[2][None] & ~held_out, held_out).help(output)
    image, _ = partner.help(output)
    if helps:
        assert partner.neighbours == 4
        assert error(image, truth, missing) < 0.4 * error(alone, truth, missing)
        assert error(partner.judge(output).image, truth, held_out) < 0.4 * error(output, truth, held_out)
    else:
        assert error(image, truth, missing) < 1.01 * error(alone, truth, missing)


def test_held_out_pixels_have_no_influence_on_what_they_judge() -> None:
    known = holes_of(5)
    held_out = squares(known)
    planes = planes_of(film("still"), known)
    own, fitted = planes.values[2][None], known[2][None] & ~held_out
    fills = []
    for values in (own, torch.where(held_out, own + 0.5, own)):
        changed = NeighbouringPlanes(torch.cat([planes.values[:2], values, planes.values[3:]]), known, 2)
        partner = NeighbourFillPartner(values, fitted, held_out, changed, GroupFillPartner(values, fitted, held_out))
        fills.append(partner._fill)
    torch.testing.assert_close(*fills, rtol=0, atol=0)


def test_narrow_holes_are_told_from_wide_ones() -> None:
    missing = torch.zeros((1, 1, 40, 50), dtype=torch.bool)
    missing[..., 5, :] = True  # a scratch
    missing[..., 10:14, 20:24] = True
    missing[..., 36:, :4] = True  # in a corner
    wide = missing.clone()
    wide[..., 5, :] = False
    assert _open(missing, 4).equal(wide)
    assert _open(missing, 1).equal(missing)
    assert not _open(missing, 5).any()


def test_neighbours_help_to_fill_in_a_stack(small_settings) -> None:
    truth, known = film("still").numpy()[:, 0], holes_of(5).numpy()[:, 0]
    stack = np.where(known, truth, np.nan)
    settings = dataclasses.replace(small_settings, step_limit=30)
    results = {}
    for neighbours in ("auto", None):
        (done,) = napari_dip.restore_stack(
            stack, "TYX", None, "inpaint", settings=settings, planes={"T": 2}, neighbours=neighbours
        )
        results[neighbours] = done.result
    helped, alone = (np.mean((each.restored - truth[2])[~known[2]] ** 2) for each in results.values())
    assert helped < 0.2 * alone
    assert results["auto"].record.neighbours == 4
    assert results["auto"].note.startswith("4 neighbouring planes helped.")
    np.testing.assert_array_equal(results["auto"].restored[known[2]], truth[2][known[2]])


@pytest.mark.full
def test_neighbours_help_in_colours_too(small_settings) -> None:
    parts = [data.astronaut()[60 : 60 + SIDE, 160 : 160 + SIDE] / 255.0] * 5
    truth, known = np.stack(parts).astype(np.float32), holes_of(5).numpy()[:, 0]
    settings = dataclasses.replace(small_settings, step_limit=30)
    errors = []
    for neighbours in ("auto", None):
        (done,) = napari_dip.restore_stack(
            truth, "TYXS", ~known, "inpaint", settings=settings, planes={"T": 2}, neighbours=neighbours
        )
        errors.append(np.mean((done.result.restored - truth[2])[~known[2]] ** 2))
    assert errors[0] < 0.2 * errors[1]


@pytest.mark.full
def test_neighbours_help_in_tiles_too(small_settings) -> None:
    truth, known = film("still").numpy()[:, 0], holes_of(5).numpy()[:, 0]
    axes = find_axes(truth.shape, "TYX")
    (plane,) = axes.planes({"T": 2})
    request = Request("inpaint", dataclasses.replace(small_settings, step_limit=30))
    errors = []
    for along in ("T", None):
        stack = MaskedStack(truth, axes, ~known, along)
        tiling = Tiling((SIDE, SIDE), (64, 64), 16)
        *_, last = restore_planes(stack, [plane], request, NO_REPORTS, tiling=tiling, networks=None, client=None)
        errors.append(np.mean((last.result.restored - truth[2])[~known[2]] ** 2))
    assert errors[0] < 0.2 * errors[1]


@pytest.mark.full
def test_an_interrupted_film_goes_on_as_if_nothing_had_happened(small_settings, tmp_path) -> None:
    truth, known = film("still").numpy()[:, 0], holes_of(5).numpy()[:, 0]
    write_film(tmp_path / "film.ome.tif", truth)
    write_film(tmp_path / "holes.ome.tif", (~known).astype(np.uint8))
    request = Request("inpaint", dataclasses.replace(small_settings, step_limit=20))
    whole, resumed = (
        FileJob(tmp_path / "film.ome.tif", tmp_path / name, tmp_path / "holes.ome.tif", request, resume=True)
        for name in ("whole.ome.tif", "resumed.ome.tif")
    )
    outcome = restore_file(whole)
    assert outcome.helped == 5
    places: list[int] = []

    def watch(progress) -> None:
        if progress.result is not None:
            places.append(progress.plane.place["T"])

    with pytest.raises(InterruptedError, match="kept"):
        restore_file(resumed, watch=watch, hooks=Hooks(lambda: len(places) >= 2))
    restore_file(resumed, watch=watch)
    assert places == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(tifffile.imread(resumed.out), tifffile.imread(whole.out))
