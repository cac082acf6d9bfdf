"""Which pixels are missing, how wide their holes are, and which are left out of the fit to judge it."""

from __future__ import annotations

import torch
from scipy import ndimage


def choose_held_out(known: torch.Tensor, share: float, generator: torch.Generator, side: int = 1) -> torch.Tensor:
    """Choose some of the known pixels at random, one by one or in squares.

    Parameters
    ----------
    known : Tensor
        ``(1, 1, h, w)`` bool.
    share : float
        Of the known pixels, in [0, 0.5]; at least one pixel or square unless it is 0.
    generator : torch.Generator
        On the CPU, so that a seed chooses the same pixels on every device.
    side : int
        Of the squares, in pixels. Squares lie wholly in what is known and do not overlap; where there is no room for
        as many as asked, there are fewer.

    Returns
    -------
    Tensor
        ``(1, 1, h, w)`` bool on the device of ``known``, True where held out.
    """
    free = known[0, 0].cpu()
    held_out = torch.zeros_like(free)
    wanted = max(1, round(share * int(free.sum()) / side**2)) if share > 0 else 0
    if side == 1:
        places = free.flatten().nonzero()[:, 0]
        held_out.view(-1)[places[torch.randperm(len(places), generator=generator)[:wanted]]] = True
    elif wanted:
        # where a square fits: its top left corner
        corners = free.unfold(0, side, 1).unfold(1, side, 1).all(dim=-1).all(dim=-1).nonzero()
        for row, column in corners[torch.randperm(len(corners), generator=generator)].tolist():
            square = held_out[row : row + side, column : column + side]
            if not square.any():
                square.fill_(True)
                wanted -= 1
                if not wanted:
                    break
    return held_out[None, None].to(known.device)


def widest_hole(known: torch.Tensor) -> float:
    """Return the diameter of the largest disc of missing pixels, in pixels; 0 if none is missing.

    Parameters
    ----------
    known : Tensor
        ``(1, 1, h, w)`` bool.
    """
    missing = ~known[0, 0].cpu().numpy()
    if missing.all() or not missing.any():
        return 0.0 if not missing.any() else float(min(missing.shape))
    return 2.0 * float(ndimage.distance_transform_edt(missing).max())
