"""The loop that one would write after the paper and its published code, to measure ours against.

float32, autograd throughout, every kernel's spectral norm by SVD at every step, and every measure computed from a numpy
copy of the output at every step. The network is the one of the preset "published".
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

_GREY_BANDS, _BOX, _STRONGEST = 5, 9, 1000


class PlainLoop:
    """Fits the published network to an image in [0, 1].

    Parameters
    ----------
    image : ndarray
        ``(h, w)`` or ``(h, w, c)``, h and w multiples of 32; of colours, their mean is measured.
    seed : int
    width : int
        Channels.
    bound : float
        λ.
    """

    def __init__(self, image: NDArray, seed: int = 0, width: int = 128, bound: float = 1.4) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.colours = np.atleast_3d(image)
        self.image, self.bound = self.colours.mean(axis=-1), bound
        self.target = torch.from_numpy(self.colours).float().permute(2, 0, 1)[None]
        channels = self.colours.shape[-1]
        phase = 2 * math.pi * torch.rand(1, 16, image.shape[0] // 32, image.shape[1] // 32, generator=generator)
        self.z = torch.cat([phase.sin(), phase.cos()], dim=1)
        self.kernels = nn.ParameterList(
            torch.empty(width, 32 if n == 0 else width, 3, 3).uniform_(-1, 1, generator=generator)
            * math.sqrt(6 / (9 * (32 if n == 0 else width)))
            for n in range(12)
        )
        self.biases = nn.ParameterList(torch.zeros(width) for _ in range(12))
        self.head = nn.Parameter(
            torch.empty(channels, width, 1, 1).uniform_(-1, 1, generator=generator) / math.sqrt(width)
        )
        self.head_bias = nn.Parameter(torch.zeros(channels))
        self.optimiser = torch.optim.Adam([*self.kernels, *self.biases, self.head, self.head_bias], lr=0.001)
        self.measures: dict[str, object] = {}

    def step(self) -> NDArray:
        """Do one step, measure it, and return the output, of the image's shape."""
        features = self.z
        for n, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            if n >= 2 and n % 2 == 0:
                features = functional.interpolate(features, scale_factor=2, mode="bilinear")
            norm = torch.linalg.svd(kernel.detach().flatten(1)).S[0]
            kernel = kernel / torch.clamp(norm / self.bound, min=1.0)
            features = functional.conv2d(functional.pad(features, (1, 1, 1, 1), mode="reflect"), kernel)
            features = features - features.mean(dim=(2, 3), keepdim=True) + bias[:, None, None]
            features = functional.leaky_relu(features, 0.01)
        output = torch.sigmoid(functional.conv2d(features, self.head, self.head_bias))
        loss = functional.mse_loss(output, self.target)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        colours = output.detach()[0].permute(1, 2, 0).numpy().astype(np.float64)
        array = colours.mean(axis=-1)
        blurred, sharp = blurriness(array), sharpness(array)
        self.measures = {
            "loss": loss.item(),
            "bands": bands(array, self.image),
            "blurriness": blurred,
            "sharpness": sharp,
            "ratio": blurred / sharp,
        }
        return colours if colours.shape[-1] > 1 else array


def bands(image: NDArray, target: NDArray) -> list[float]:
    """Return the mean ratio of Fourier magnitudes in five rings."""
    magnitude, reference = (np.abs(np.fft.fftshift(np.fft.fft2(each))) for each in (image, target))
    ratio = np.clip(magnitude / (reference + 1e-8), 0, 1)
    rows, columns = np.indices(image.shape)
    radius = np.hypot(rows - image.shape[0] // 2, columns - image.shape[1] // 2) / (image.shape[1] // 2)
    edges = np.linspace(0, 1, _GREY_BANDS + 1)
    rings = [(radius > low) & (radius <= high) for low, high in itertools.pairwise(edges)]
    rings[0] |= radius == 0
    return [float(ratio[ring].mean()) for ring in rings]


def blurriness(image: NDArray) -> float:
    """Return the share of the neighbour differences that a mean over nine pixels leaves, of the blurrier direction."""
    shares = []
    for each in (image, image.T):
        mean = np.lib.stride_tricks.sliding_window_view(each, _BOX, axis=1).mean(axis=-1)
        change = np.abs(np.diff(each[5:-5, 4:-4], axis=1))[:, 1:-1]
        change_of_mean = np.abs(np.diff(mean[5:-5], axis=1))[:, 1:-1]
        shares.append(np.minimum(change, change_of_mean).sum() / change.sum())
    return float(max(shares))


def sharpness(image: NDArray) -> float:
    """Return the weighted strength of the strongest local differences."""
    centre = image[1:-1, 1:-1]
    height, width = centre.shape
    differences = [
        image[row : row + height, column : column + width] - centre
        for row in range(3)
        for column in range(3)
        if (row, column) != (1, 1)
    ]
    ranked = np.sort(np.max(differences, axis=0).ravel())[::-1][2 : _STRONGEST + 1]
    return float(np.sqrt(np.mean((ranked * np.exp(-0.01 * np.arange(2, len(ranked) + 2))) ** 2)))
