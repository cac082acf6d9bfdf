"""Upsampling by two: Gaussian (Eq. 6), bilinear, nearest. The smoother, the stronger the bias to low frequencies."""

from __future__ import annotations

import torch
from torch.nn import functional

KERNEL_SIZE = 5


def gaussian_kernel(sigma: float, size: int = KERNEL_SIZE) -> torch.Tensor:
    """Return the Gaussian of Eq. 6, sampled on the enlarged grid.

    Parameters
    ----------
    sigma : float
        σ in pixels of the *smaller* image (distances on the enlarged grid count half, as published); 0 is the
        bed of nails.
    size : int
        Odd side of the kernel; at least 4σ + 1, to contain most of the Gaussian.

    Returns
    -------
    Tensor
        ``(size, size)`` float32 with sum 1.
    """
    distance = (torch.arange(size, dtype=torch.float64) - size // 2) / 2
    line = (distance == 0).double() if sigma == 0 else torch.exp(-(distance**2) / (2 * sigma**2))
    kernel = line[:, None] * line[None, :]
    return (kernel / kernel.sum()).float()


def phase_gains(kernel: torch.Tensor) -> torch.Tensor:
    """Return the brightness that Gaussian upsampling gives a constant 1, at the four large pixels of each small one.

    After the bed of nails, each large pixel sees only every other weight of the kernel. If these parts differ, a
    constant comes out as a checkerboard, with mean 1 and a ripple that the kernel implies.

    Parameters
    ----------
    kernel : Tensor
        ``(k, k)`` with sum 1.

    Returns
    -------
    Tensor
        ``(2, 2)``: even and odd rows, even and odd columns of the large image; mean 1.
    """
    reach = kernel.shape[-1] // 2
    # at even pixels the centre weight meets a nail, at odd pixels its neighbours do
    return torch.stack([
        torch.stack([4 * kernel[(reach + row) % 2 :: 2, (reach + column) % 2 :: 2].sum() for column in range(2)])
        for row in range(2)
    ])  # fmt: skip


def upsample(features: torch.Tensor, kind: str, kernel: torch.Tensor | None = None) -> torch.Tensor:
    """Enlarge by two along both sides.

    Parameters
    ----------
    features : Tensor
        ``(s, c, h, w)``.
    kind : {"bilinear", "gaussian", "nearest"}
    kernel : Tensor, optional
        ``(k, k)`` with sum 1, for ``"gaussian"``.

    Returns
    -------
    Tensor
        ``(s, c, 2h, 2w)``. The Gaussian keeps the mean of a constant (``phase_gains`` gives the ripple) and multiplies
        the mean square of white noise by 4 Σ G².
    """
    if kind != "gaussian":
        large = functional.interpolate(features, scale_factor=2, mode=kind)
        if large.requires_grad and large.is_cpu and not large.is_contiguous():
            # torch would change the layout of a gradient that is a part of a larger tensor
            large.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        return large
    if kernel is None:
        raise ValueError("Gaussian upsampling needs its kernel; give gaussian_kernel(sigma).")
    channels, reach = features.shape[1], kernel.shape[-1] // 2
    # The bed of nails puts three zeros beside each pixel, so a kernel of sum 1 would quarter the brightness: times 4.
    weight = (4 * kernel).to(features.dtype).expand(channels, 1, *kernel.shape)
    return functional.conv_transpose2d(features, weight, stride=2, padding=reach, output_padding=1, groups=channels)
