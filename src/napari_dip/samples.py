"""Sample images with their ground truth, generated here or shipped with scikit-image; nothing is downloaded."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sample:
    """A degraded image, its ground truth, and its missing pixels.

    Attributes
    ----------
    degraded, truth : ndarray
        ``(h, w)``, ``(h, w, 3)`` for colour, ``(t, h, w)`` for a film; the truth of a small image is larger.
    mask : ndarray or None
        ``(h, w)`` bool, True where missing.
    bead : ndarray or None
        ``(k, l)``, an image of a bead through the same microscope, on pixels of their own.
    """

    degraded: np.ndarray
    truth: np.ndarray
    mask: NDArray[np.bool_] | None = None
    bead: np.ndarray | None = None


def noisy_photograph(sigma: float = 25.0, side: int = 256) -> Sample:
    """Return the centre of scikit-image's cameraman, on the 8-bit scale, with Gaussian noise of deviation ``sigma``."""
    truth = _crop_cameraman(side).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, sigma, truth.shape)
    return Sample(np.clip(truth + noise, 0, 255).astype(np.float32), truth)


def noisy_fluorescence(side: int = 256, photons: float = 40.0, seed: int = 0) -> Sample:
    """Return cells and filaments as a camera would see them in little light: Poisson noise, gain, offset, read noise.

    Parameters
    ----------
    side : int
    photons : float
        Expected number at the brightest pixels.

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
    return _photograph(density, photons, random)


def striped_fluorescence(side: int = 256, photons: float = 40.0, seed: int = 0) -> Sample:
    """Return ``noisy_fluorescence`` as seen by a camera that reads each row with an offset of its own.

    The offsets have a deviation of 30, which is 2.5 photons; they are not part of the truth.
    """
    sample = noisy_fluorescence(side, photons, seed)
    rows = np.random.default_rng(seed + 1).normal(0, 30, (side, 1))
    striped = np.clip(np.rint(sample.degraded + rows), 0, 65535).astype(np.uint16)
    return Sample(striped, sample.truth)


def scratched_photograph(side: int = 256) -> Sample:
    """Return the centre of the cameraman with scratches and specks, and the mask that marks them; uint8."""
    from skimage import draw

    truth = _crop_cameraman(side)
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


def jpeg_photograph(side: int = 256, quality: int = 10) -> Sample:
    """Return the centre of the cameraman after JPEG compression at low quality; uint8."""
    from PIL import Image

    truth = _crop_cameraman(side)
    file = io.BytesIO()
    Image.fromarray(truth).save(file, format="JPEG", quality=quality)
    return Sample(np.asarray(Image.open(file)), truth)


def small_photograph(side: int = 64, factor: int = 4) -> Sample:
    """Return scikit-image's cat in grey, ``side`` pixels wide: means over ``factor`` x ``factor`` pixels; uint8."""
    from skimage import color, data
    from skimage.transform import downscale_local_mean

    large = side * factor
    truth = np.rint(255 * color.rgb2gray(data.chelsea()[20 : 20 + large, 80 : 80 + large])).astype(np.uint8)
    return Sample(np.rint(downscale_local_mean(truth, (factor, factor))).astype(np.uint8), truth)


def noisy_histology(side: int = 256, photons: float = 60.0, seed: int = 0) -> Sample:
    """Return a part of scikit-image's immunohistochemistry image as if photographed in little light; RGB, uint8.

    Parameters
    ----------
    side : int
    photons : float
        Expected number per channel where the slide is clear.
    """
    from skimage import data

    truth = data.immunohistochemistry()[120 : 120 + side, 60 : 60 + side]
    counts = np.random.default_rng(seed).poisson(photons * truth / 255.0)
    return Sample(np.clip(np.rint(counts * 255 / photons), 0, 255).astype(np.uint8), truth)


FILAMENT_PIXEL, BEAD_PIXEL = 0.065, 0.05  # micrometres
FILAMENT_OPTICS = (1.3, 525.0)  # numerical aperture, wavelength in nanometres


def blurred_filaments(side: int = 160, photons: float = 300.0, seed: int = 0) -> Sample:
    """Return filaments and beads, blurred by an Airy pattern as by a wide-field microscope, with photon and read noise.

    Parameters
    ----------
    side : int
    photons : float
        Expected number at the brightest pixel, if there were no blur.

    Returns
    -------
    Sample
        uint16 with an offset of 100; the truth, without the blur, is the expected value, float32. The image continues
        beyond its borders, so that light comes in from there.
    """
    from scipy.ndimage import gaussian_filter
    from scipy.signal import fftconvolve

    from .measurement.psf import optical_psf

    random = np.random.default_rng(seed)
    beyond, fine = 25, 3
    wide = side + 2 * beyond
    drawn = np.zeros((wide * fine, wide * fine))
    for _ in range(round(wide / 7)):
        place, angle = random.uniform(0, wide * fine, 2), random.uniform(0, 2 * np.pi)
        bends = np.cumsum(random.normal(0, 0.0006, 2 * wide * fine)) + random.normal(0, 0.003)
        angles = angle + np.cumsum(bends)
        path = place + np.cumsum(np.stack([np.cos(angles), np.sin(angles)], axis=1), axis=0)
        path = path[((path >= 0) & (path < wide * fine)).all(axis=1)].astype(int)
        np.add.at(drawn, tuple(path.T), random.uniform(0.4, 1))
    beads = np.zeros_like(drawn)
    for row, column in random.integers(0, wide * fine, (round(wide / 5), 2)):
        beads[row, column] = random.uniform(6, 20)
    drawn = gaussian_filter(drawn, 1.0) + gaussian_filter(beads, 1.5)
    density = drawn.reshape(wide, fine, wide, fine).mean(axis=(1, 3))
    density /= density.max()
    psf = optical_psf(*FILAMENT_OPTICS, FILAMENT_PIXEL)
    inside = (slice(beyond, -beyond), slice(beyond, -beyond))
    blurred = np.maximum(fftconvolve(density, psf, mode="same"), 0)[inside]
    bead = np.pad(optical_psf(*FILAMENT_OPTICS, BEAD_PIXEL), 3)
    bead = np.roll(bead, (2, -1), (0, 1))
    counts = [random.poisson(photons * 0.02 + each) for each in (photons * blurred, 30_000 * bead)]
    seen, seen_bead = (
        np.clip(np.rint(each * 12.0 + 100 + random.normal(0, 4, each.shape)), 0, 65535).astype(np.uint16)
        for each in counts
    )
    truth = (photons * (0.02 + density[inside]) * 12.0 + 100).astype(np.float32)
    return Sample(seen, truth, bead=seen_bead)


def moving_cells(frames: int = 8, side: int = 128, photons: float = 25.0, seed: int = 0) -> Sample:
    """Return a short film of cells that drift and change shape, with Poisson and read noise.

    Parameters
    ----------
    frames, side : int
    photons : float
        Expected number at the brightest pixels.

    Returns
    -------
    Sample
        ``(t, h, w)``, uint16 with an offset of 100; the truth is the expected value, float32.
    """
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    places, speeds = random.uniform(0.15, 0.85, (7, 2)), random.normal(0, 0.012, (7, 2))
    radii, phases, brightness = random.uniform(0.05, 0.1, 7), random.uniform(0, 2 * np.pi, 7), random.uniform(0.5, 1, 7)
    density = np.zeros((frames, side, side))
    for frame in range(frames):
        for number in range(7):
            row, column = places[number] + frame * speeds[number]
            angle = np.arctan2(rows - row, columns - column)
            edge = radii[number] * (1 + 0.2 * np.sin(3 * angle + phases[number] + 0.4 * frame))
            distance = np.hypot(rows - row, columns - column)
            body = 1 / (1 + np.exp((distance - edge) * 120))
            nucleus = 0.6 * np.exp(-((distance / (0.4 * radii[number])) ** 2))
            density[frame] = np.maximum(density[frame], brightness[number] * body * (0.4 + nucleus))
        density[frame] = gaussian_filter(density[frame], 1.0)  # the microscope's blur
    return _photograph(density, photons, random)


NUCLEI_PIXEL, NUCLEI_STEP = 0.2, 0.5  # micrometres, of the pixels and between planes


def nuclei_stack(planes: int = 9, side: int = 96, photons: float = 20.0, seed: int = 0) -> Sample:
    """Return a z-stack of nuclei with spots, blurred more along z than across, with Poisson and read noise.

    Parameters
    ----------
    planes, side : int
    photons : float
        Expected number at the brightest pixels.
    seed : int

    Returns
    -------
    Sample
        ``(z, h, w)``, uint16 with an offset of 100; the truth is the expected value, float32.
    """
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    depths = (np.arange(planes) - planes // 2)[:, None, None] * NUCLEI_STEP
    rows, columns = np.mgrid[:side, :side] * NUCLEI_PIXEL
    wide = side * NUCLEI_PIXEL
    density = np.zeros((planes, side, side))
    for row, column in random.uniform(0.1 * wide, 0.9 * wide, (8, 2)):
        radius, depth = random.uniform(1.6, 2.6), random.uniform(-1, 1)
        distance = np.sqrt((rows - row) ** 2 + (columns - column) ** 2 + (1.2 * (depths - depth)) ** 2)
        body = 0.35 / (1 + np.exp((distance - radius) * 8))
        for away, angle, below in random.uniform((0, 0, -1), (0.8 * radius, 2 * np.pi, 1), (6, 3)):  # spots
            across = (rows - row - away * np.sin(angle)) ** 2 + (columns - column - away * np.cos(angle)) ** 2
            body += 0.8 * np.exp(-(across + (depths - depth - below) ** 2) / (2 * 0.3**2)) * (distance < radius)
        density = np.maximum(density, body)
    density = gaussian_filter(density, (0.8 / NUCLEI_STEP / 2, 0.12 / NUCLEI_PIXEL, 0.12 / NUCLEI_PIXEL))  # the optics
    return _photograph(density, photons, random)


def _crop_cameraman(side: int) -> NDArray[np.uint8]:
    """Return the centre of scikit-image's cameraman, uint8."""
    from skimage import data

    camera: NDArray[np.uint8] = data.camera()
    return camera[60 : 60 + side, 130 : 130 + side]


def _photograph(density: NDArray[np.float64], photons: float, random: np.random.Generator) -> Sample:
    """Return a density on a faint background as a camera sees it, uint16, with its truth in the same units, float32."""
    expected = photons * (0.03 + 0.97 * density / density.max())
    gain, offset, read_noise = 12.0, 100.0, 4.0
    counts = random.poisson(expected) * gain + offset + random.normal(0, read_noise, expected.shape)
    return Sample(np.clip(np.rint(counts), 0, 65535).astype(np.uint16), (expected * gain + offset).astype(np.float32))
