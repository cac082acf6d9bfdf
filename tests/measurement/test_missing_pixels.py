"""Holes are measured by the largest disc in them; held-out pixels are known ones."""

import torch

from napari_dip.measurement.missing_pixels import choose_held_out, fill_smoothly, widest_hole


def test_the_widest_hole() -> None:
    known = torch.ones(1, 1, 40, 60, dtype=torch.bool)
    assert widest_hole(known) == 0
    known[..., 5, :] = False
    known[..., ::3, ::3] = False
    assert widest_hole(known) <= 4  # lines and points are narrow
    known[..., 10:30, 20:50] = False
    assert 18 <= widest_hole(known) <= 22


def test_the_border_ends_a_hole() -> None:
    known = torch.ones(1, 1, 40, 40, dtype=torch.bool)
    known[..., :10] = False
    assert abs(widest_hole(known) - 10) <= 1


def test_held_out_pixels_are_known_and_as_many_as_asked(device: str) -> None:
    known = (torch.rand(1, 1, 30, 30, generator=torch.Generator().manual_seed(0)) < 0.7).to(device)
    held_out = choose_held_out(known, 0.05, torch.Generator().manual_seed(0))
    assert int(held_out.sum()) == round(0.05 * int(known.sum()))
    assert not (held_out & ~known).any()
    assert choose_held_out(known, 0.0, torch.Generator()).sum() == 0


def test_squares_lie_in_what_is_known_and_apart() -> None:
    known = torch.ones(1, 1, 60, 50, dtype=torch.bool)
    known[..., 20:40, 10:40] = False
    held_out = choose_held_out(known, 0.1, torch.Generator().manual_seed(0), side=8)
    assert not (held_out & ~known).any()
    assert int(held_out.sum()) == 64 * round(0.1 * int(known.sum()) / 64)
    crowded = choose_held_out(known[..., :20, :], 0.5, torch.Generator().manual_seed(0), side=8)
    assert 0 < int(crowded.sum()) <= 512  # as many as found room
    cramped = choose_held_out(known[..., :20, :], 0.1, torch.Generator().manual_seed(0), side=32)
    assert int(cramped.sum()) in (64, 128, 256)  # halved until it fits


def test_filling_continues_what_is_known_smoothly(device: str) -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 37), torch.linspace(0, 1, 50), indexing="ij")
    plane = (0.3 * rows + 0.7 * columns)[None, None].to(device)
    scattered = (torch.rand((1, 1, 37, 50), generator=torch.Generator().manual_seed(0)) < 0.3).to(device)
    square = torch.ones_like(scattered)
    square[..., 10:26, 12:40] = False
    for known in (scattered, square):
        filled = fill_smoothly(torch.where(known, plane, 9.0), known)
        assert filled[known].equal(plane[known])
        assert (filled - plane).abs().max() < 0.06
    one = torch.zeros_like(square)
    one[..., 3, 4] = True
    torch.testing.assert_close(fill_smoothly(plane, one), plane[..., 3:4, 4:5].expand_as(plane))
