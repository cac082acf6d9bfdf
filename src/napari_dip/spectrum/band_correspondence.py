"""Frequency-band correspondence: how much of the target's content an image has in each band (Eq. 1)."""

from __future__ import annotations

import functools

import torch

from . import to_grey

_TINY = 1e-8


def band_correspondence(image: torch.Tensor, target: torch.Tensor, bands: int = 5) -> torch.Tensor:
    """Return the mean ratio of Fourier magnitudes, image over target, in rings of equal width.

    Each ratio is clipped to [0, 1] (as published), so 1 in every band means that the image has all that the target has.
    The outermost ring ends at half the sampling frequency; the corners of the spectrum beyond it are left out. On
    square images the rings are the published ones.

    Parameters
    ----------
    image, target : Tensor
        ``(s, c, h, w)`` and ``(s or 1, c, h, w)``, in [0, 1].
    bands : int
        Number of rings, lowest frequencies first.

    Returns
    -------
    Tensor
        ``(s, bands)`` in [0, 1].
    """
    magnitude = torch.fft.fft2(to_grey(image).float()).abs()  # (s, h, w)
    reference = torch.fft.fft2(to_grey(target).float()).abs()
    ratio = (magnitude / (reference + _TINY)).clamp(0, 1)
    ring, counts = _rings(image.shape[-2], image.shape[-1], bands, str(image.device))
    sums: torch.Tensor = ratio.new_zeros(ratio.shape[0], bands + 1).index_add_(1, ring, ratio.flatten(1))
    return sums[:, :bands] / counts


@functools.lru_cache(maxsize=8)
def _rings(height: int, width: int, bands: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ring of each frequency of an unshifted FFT, ``(h * w,)``, ``bands`` in the corners; and ring sizes."""
    rows = torch.fft.fftfreq(height, dtype=torch.float64)[:, None] * height / (height // 2)
    columns = torch.fft.fftfreq(width, dtype=torch.float64)[None, :] * width / (width // 2)
    radius = torch.hypot(rows, columns) * bands  # ring n holds n < radius <= n + 1; radius 0 belongs to ring 0
    ring = (torch.ceil(radius - 1e-9).clamp(min=1, max=bands + 1) - 1).long().flatten()
    counts = torch.bincount(ring, minlength=bands + 1)[:bands].clamp_min(1)
    return ring.to(device), counts.to(device)
