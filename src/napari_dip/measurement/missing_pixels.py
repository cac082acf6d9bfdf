"""Which pixels are left out of the fit, to judge it."""

from __future__ import annotations

import torch


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
