"""Sample images with their truth: made here or shipped with scikit-image, nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sample:
    """A degraded image, its truth, and what is missing.

    Attributes
    ----------
    degraded, truth : ndarray
        ``(h, w)``.
    mask : ndarray or None
        ``(h, w)`` bool, True where missing.
    """

    degraded: NDArray
    truth: NDArray
    mask: NDArray[np.bool_] | None = None


def noisy_photograph(sigma: float = 25.0, side: int = 256) -> Sample:
    """Return the centre of scikit-image's cameraman, 8-bit scale, with Gaussian noise of deviation ``sigma``."""
    from skimage import data

    image = data.camera().astype(np.float32)
    top, left = 60, 130  # the photographer
    truth = image[top : top + side, left : left + side]
    noise = np.random.default_rng(0).normal(0, sigma, truth.shape)
    return Sample(np.clip(truth + noise, 0, 255).astype(np.float32), truth)


def noisy_fluorescence(side: int = 256, photons: float = 40.0, seed: int = 0) -> Sample:
    """Return cells and spots as a camera would see them: Poisson noise of few photons, gain, offset, read noise.

    Parameters
    ----------
    side : int
    photons : float
        Expected number at the brightest places.

    Returns
    -------
    Sample
        uint16 with an offset of 100; the truth is the expected value, float32.
    """
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    density = np.zeros((side, side))
    for _ in range(9):
        row, column = random.uniform(0.05, 0.95, 2)
        radius = random.uniform(0.05, 0.11)
        distance = np.hypot(rows - row, (columns - column) * random.uniform(0.8, 1.25))
        body = 1 / (1 + np.exp((distance - radius) * 120))
        texture = gaussian_filter(random.normal(size=(side, side)), 2.5)
        density = np.maximum(density, body * np.clip(0.5 + 1.2 * texture / texture.std() * 0.25, 0.1, 1))
    for _ in range(14):  # filaments
        start, angle = random.uniform(0, 1, 2), random.uniform(0, np.pi)
        across = (rows - start[0]) * np.cos(angle) - (columns - start[1]) * np.sin(angle)
        bend = 0.03 * np.sin(12 * ((rows - start[0]) * np.sin(angle) + (columns - start[1]) * np.cos(angle)))
        density += 0.25 * np.exp(-(((across + bend) * side / 1.5) ** 2))
    density = gaussian_filter(density, 1.1)  # the microscope's blur
    expected = 0.03 + 0.97 * density / density.max()
    gain, offset, read_noise = 12.0, 100.0, 4.0
    counts = random.poisson(photons * expected) * gain + offset + random.normal(0, read_noise, expected.shape)
    return Sample(
        np.clip(np.rint(counts), 0, 65535).astype(np.uint16), (photons * expected * gain + offset).astype(np.float32)
    )


def scratched_photograph(side: int = 256) -> Sample:
    """Return the centre of the cameraman with scratches and specks, and the mask that marks them; uint8."""
    from skimage import data, draw

    truth = data.camera()[60 : 60 + side, 130 : 130 + side]
    random = np.random.default_rng(1)
    mask = np.zeros((side, side), dtype=bool)
    for _ in range(9):
        ends = random.integers(0, side, 4)
        line = draw.line(*ends)
        for shift in (-1, 0, 1):
            mask[np.clip(line[0] + shift, 0, side - 1), line[1]] = True
    for row, column in random.integers(10, side - 10, (14, 2)):
        mask[draw.disk((row, column), random.uniform(2, 5), shape=mask.shape)] = True
    degraded = truth.copy()
    degraded[mask] = 255
    return Sample(degraded, truth, mask)
