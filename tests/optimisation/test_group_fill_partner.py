"""Blocks that look alike fill in what is missing near known pixels; elsewhere, and where it is better, the network."""

import pytest
import torch
from devices import assert_same
from skimage import data

import napari_dip
from napari_dip import Settings
from napari_dip.fit_plan import resolve_settings
from napari_dip.measurement.data_term import DataTerm
from napari_dip.measurement.forward_operator import Identity
from napari_dip.measurement.missing_pixels import choose_held_out, fill_smoothly
from napari_dip.measurement.task import find_task
from napari_dip.optimisation import group_fill
from napari_dip.optimisation.completing_partner import CompletingPartner
from napari_dip.optimisation.group_fill import fill_by_groups
from napari_dip.optimisation.group_fill_partner import GroupFillPartner
from napari_dip.optimisation.partner_choice import choose_partner

STRENGTHS = torch.logspace(-1, -2.3, 15).tolist()


def half_missing(device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """A wall of bricks, ``(1, 1, 64, 64)``, and which of its pixels are known."""
    truth = torch.from_numpy(data.brick()[100:164, 100:164] / 255.0).float()[None, None]
    known = torch.rand((1, 1, 64, 64), generator=torch.Generator().manual_seed(0)) < 0.5
    return truth.to(device), known.to(device)


def hold_out(known: torch.Tensor, share: float = 0.05, side: int = 1) -> torch.Tensor:
    return choose_held_out(known, share, torch.Generator().manual_seed(0), side)


def error(image: torch.Tensor, truth: torch.Tensor, where: torch.Tensor) -> float:
    return float((image - truth).square()[where].mean())


def fill(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    *_, image = fill_by_groups(fill_smoothly(torch.where(known, values, 0.0), known), values, known, STRENGTHS)
    return image


def test_blocks_that_look_alike_complete_one_another(device: str) -> None:
    truth, known = half_missing(device)
    image = fill(truth, known)
    smooth = fill_smoothly(torch.where(known, truth, 0.0), known)
    assert error(image, truth, ~known) < 0.8 * error(smooth, truth, ~known)
    assert torch.equal(image[known], truth[known])


def test_passes_that_begin_beyond_the_last_result_arrive_sooner(monkeypatch) -> None:
    truth = torch.from_numpy(data.astronaut()[300:364, 340:404].mean(axis=2) / 255).float()[None, None]
    _, known = half_missing()
    smooth = fill_smoothly(torch.where(known, truth, 0.0), known)
    strengths = (error(smooth, truth, ~known) ** 0.5 * torch.logspace(0.2, -1.1, 8)).tolist()
    errors = []
    for beyond in (group_fill._BEYOND, 0.0):
        monkeypatch.setattr(group_fill, "_BEYOND", beyond)
        *_, image = fill_by_groups(smooth, truth, known, strengths)
        errors.append(error(image, truth, ~known))
    assert errors[0] < 0.8 * errors[1]


def test_what_is_missing_has_no_say(device: str) -> None:
    truth, known = half_missing(device)
    assert_same(fill(truth, known), fill(torch.where(known, truth, 9.0), known))


def test_the_result_is_better_than_either_fill() -> None:
    truth, known = half_missing()
    held_out = hold_out(known)
    partner = GroupFillPartner(torch.where(known, truth, 0.0), known & ~held_out, held_out)
    blurred = torch.nn.functional.avg_pool2d(truth, 3, 1, 1)  # as a network draws it early on
    image, _ = partner.help(blurred)
    quick, _ = partner.help(blurred, quick=True)
    for other in (blurred, quick, fill(truth, known)):
        assert error(image, truth, ~known) <= 1.02 * error(other, truth, ~known)
    perfect, _ = partner.help(truth)
    assert error(perfect, truth, ~known) < 0.1 * error(image, truth, ~known)


def test_the_error_is_foretold_and_is_none_where_pixels_are_known(device: str) -> None:
    truth, known = half_missing(device)
    held_out = hold_out(known, 0.15)
    partner = GroupFillPartner(torch.where(known, truth, 0.0), known & ~held_out, held_out)
    image, variance = partner.help(torch.nn.functional.avg_pool2d(truth, 3, 1, 1))
    assert not variance[known].any()
    assert 0.5 < error(image, truth, ~known) / float(variance[~known].mean()) < 1.5


def test_what_a_smooth_fill_meets_exactly_stays() -> None:
    """A tile of the background: there is no error that passes could remove."""
    values, known = torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64, dtype=torch.bool)
    known[..., 20:44, 20:44] = False
    held_out = hold_out(known, 0.15, 12)
    partner = GroupFillPartner(values, known & ~held_out, held_out)
    image, variance = partner.help(torch.full_like(values, 0.2))
    assert image.isfinite().all()
    assert variance.isfinite().all()


def test_a_fill_that_is_no_better_is_not_taken() -> None:
    """Pixels that have nothing to do with one another: every block looks like every other."""
    values = torch.rand((1, 1, 48, 48), generator=torch.Generator().manual_seed(0))
    known = values < 0.5
    held_out = hold_out(known)
    partner = GroupFillPartner(values, known & ~held_out, held_out)
    image, _ = partner.help(torch.full_like(values, 0.25))  # the mean of the known pixels, which is the best guess
    assert float((image - 0.25)[~known].square().mean()) < 0.1 * float(values[known].var())


def test_the_middle_of_a_wide_hole_is_the_networks() -> None:
    truth, known = half_missing()
    known = torch.ones_like(known)
    known[..., 20:44, 20:44] = False
    held_out = hold_out(known, 0.15, 12)
    partner = GroupFillPartner(torch.where(known, truth, 0.0), known & ~held_out, held_out)
    image, _ = partner.help(truth)
    middle = (slice(None), slice(None), slice(29, 35), slice(29, 35))
    torch.testing.assert_close(image[middle], truth[middle])


def test_where_known_pixels_are_not_kept_the_network_has_to_learn_them(device: str) -> None:
    truth, known = half_missing(device)
    term = DataTerm(operator=Identity(), values=truth, known=known, size=(64, 64), description="")
    for keeps_known, kind in ((True, GroupFillPartner), (False, CompletingPartner)):
        assert isinstance(choose_partner(term, hold_out(known), keeps_known=keeps_known), kind)


@pytest.mark.parametrize(
    ("task", "keep_known", "kept"), [("inpaint", True, True), ("inpaint", False, False), ("denoise", True, False)]
)
def test_the_task_says_whether_known_pixels_are_kept(task: str, keep_known: bool, kept: bool, monkeypatch) -> None:
    told = []

    def choose(*arguments, keeps_known: bool) -> None:
        told.append(keeps_known)

    monkeypatch.setattr(napari_dip.fit_plan, "choose_partner", choose)
    settings = napari_dip.Settings(width=8, levels=2, step_limit=1, keep_known=keep_known, device="cpu")
    truth, known = half_missing()
    napari_dip.restore(truth[0, 0].numpy(), ~known[0, 0].numpy(), task=task, settings=settings)
    assert told == [kept]


@pytest.mark.parametrize(("side", "judges"), [(1, True), (8, False)])
def test_only_single_pixels_tell_a_gain_from_chance(side: int, judges: bool) -> None:
    truth, _ = half_missing()
    known = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    known[..., 3:60:9, :] = False
    held_out = hold_out(known, side=side)
    partner = GroupFillPartner(truth, known & ~held_out, held_out)
    assert not partner.is_prepared
    assert partner.judge(truth).errors is None
    partner.prepare()
    judgement = partner.judge(truth)
    assert (judgement.errors is not None) == judges
    if judgement.errors is not None:
        assert not judgement.errors[~held_out].any()


def test_what_is_held_out_does_not_reach_what_it_judges() -> None:
    """It chooses shares and passes, but is nowhere seen in the image."""
    truth, known = half_missing()
    held_out = hold_out(known)
    partner = GroupFillPartner(torch.where(held_out, 9.0, truth), known & ~held_out, held_out)
    assert partner.judge(truth).image.max() < 1.2


def test_a_narrow_network_serves_gaps_that_blocks_fill() -> None:
    truth, known = half_missing()
    hole = torch.ones_like(known)
    hole[..., 20:44, 20:44] = False
    narrow, wide = Settings().choose_width(partner=True), Settings().choose_width(partner=False)
    for missing, keeps_known, partner, width in (
        (known, True, True, narrow),
        (known, False, True, wide),
        (known, True, False, wide),
        (hole, True, True, wide),
        (torch.ones_like(known), True, True, wide),
    ):
        term = DataTerm(operator=Identity(), values=truth, known=missing, size=(64, 64), description="")
        settings = Settings(partner=partner)
        assert resolve_settings(settings, term, keeps_known=keeps_known).width == width
    inpaint = find_task("inpaint")
    assert Settings().expect_width(inpaint) == narrow
    for changes in ({"keep_known": False}, {"partner": False}):
        assert Settings(**changes).expect_width(inpaint) == wide
    assert Settings().expect_width(find_task("deblock")) == wide
