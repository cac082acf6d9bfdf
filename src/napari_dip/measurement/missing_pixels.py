"""Which pixels are missing, how wide their holes are, and which are left out of the fit to judge it."""

from __future__ import annotations

import torch
from scipy import ndimage


def choose_held_out(known: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Choose some of the known pixels at random.

    Parameters
    ----------
    known : Tensor
        ``(1, 1, h, w)`` bool.
    share : float
        Of the known pixels, in [0, 0.5]; at least one pixel unless it is 0.
    generator : torch.Generator
        On the CPU, so that a seed chooses the same pixels on every device.

    Returns
    -------
    Tensor
        ``(1, 1, h, w)`` bool on the device of ``known``, True where held out.
    """
    places = known.flatten().nonzero()[:, 0].cpu()
    number = max(1, round(share * len(places))) if share > 0 else 0
    chosen = places[torch.randperm(len(places), generator=generator)[:number]]
    held_out = torch.zeros(known.numel(), dtype=torch.bool)
    held_out[chosen] = True
    return held_out.reshape(known.shape).to(known.device)


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
