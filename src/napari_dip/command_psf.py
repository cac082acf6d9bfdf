"""The point spread function of the command line: from a file, the optics or a width."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .many.folder import is_many
from .many.image_stack import Stack
from .many.stack_files import open_stack
from .measurement.psf import gaussian_psf, join_psfs, optical_psf, psf_of_bead

_MICROMETRES = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}


@dataclass(frozen=True, slots=True, kw_only=True)
class PsfOptions:
    """What the user said about the PSF; None for what was not said.

    Attributes
    ----------
    file : Path or None
        An image of a bead, or of the PSF; its channels (C) or colours, if it has several, are those of the image.
    numerical_aperture, wavelength, pinhole, excitation
        As ``optical_psf`` takes them.
    pixel_size : float or None
        Of the image, in micrometres.
    sigma : float or None
        Of a Gaussian, in pixels.
    """

    file: Path | None = None
    numerical_aperture: float | None = None
    wavelength: float | None = None
    pinhole: float | None = None
    excitation: float | None = None
    pixel_size: float | None = None
    sigma: float | None = None

    def make_psf(self, image: str) -> NDArray[np.float64] | None:
        """Return the PSF in pixels of the image; None if nothing was said about it.

        Parameters
        ----------
        image : str
            The image's path, whose file may say how large a pixel is, or a folder or pattern.

        Raises
        ------
        ValueError
            If the options contradict one another, one is missing, or the file shows no bead.
        """
        optics = {"--na": self.numerical_aperture, "--wavelength": self.wavelength}
        confocal = {"--pinhole": self.pinhole, "--excitation": self.excitation}
        sources = [self.file, self.sigma, next((each for each in optics.values() if each is not None), None)]
        count = sum(each is not None for each in sources)
        if count > 1:
            raise ValueError(
                "the PSF comes from --psf, from --na and --wavelength, or from --psf-sigma: give only one."
            )
        if self.sigma is not None:
            return gaussian_psf(self.sigma)
        if self.file is not None:
            return self._read_bead(self.file, image)
        if not count:
            said = next((name for name, value in confocal.items() if value is not None), None)
            if said is not None:
                raise ValueError(f"{said} belongs to a PSF from the optics; add --na and --wavelength.")
            return None
        missing = [name for name, value in optics.items() if value is None]
        if self.numerical_aperture is None or self.wavelength is None:
            raise ValueError(f"a PSF from the optics also needs {missing[0]}.")
        pixel_size = self._find_pixel_size(image)
        if pixel_size is None:
            raise ValueError(
                "a PSF from the optics needs the pixel size, which IN does not say; add --pixel-size, in µm."
            )
        return optical_psf(
            self.numerical_aperture, self.wavelength, pixel_size, pinhole=self.pinhole, excitation=self.excitation
        )

    def _read_bead(self, path: Path, image: str) -> NDArray[np.float64]:
        """Return the PSF of the bead in a file, or one for each channel; in pixels of the image."""
        opened = open_stack(path)
        bead = np.asarray(opened.array[...])
        own, of_image = _size_in_micrometres(opened), self._find_pixel_size(image)
        zoom = 1.0 if own is None or of_image is None else own / of_image
        letters = opened.axes or ""
        several = [number for number, letter in enumerate(letters) if letter in "CS" and bead.shape[number] > 1]
        if not several:
            return psf_of_bead(np.squeeze(bead), (zoom, zoom))
        beads = np.moveaxis(bead, several[0], 0)
        if letters[several[0]] == "S":
            beads = beads[:3]  # without transparency
        return join_psfs([psf_of_bead(np.squeeze(each), (zoom, zoom)) for each in beads])

    def _find_pixel_size(self, image: str) -> float | None:
        """Return the image's pixel size in micrometres: as the user said, or else as its file says."""
        if self.pixel_size is not None or is_many(image):
            return self.pixel_size
        return _size_in_micrometres(open_stack(Path(image)))


def _size_in_micrometres(stack: Stack) -> float | None:
    """Return the size of a stack's square pixels; None if it is not known."""
    sizes = [
        stack.distances[letter][0] * _MICROMETRES[stack.distances[letter][1]]
        for letter in "YX"
        if letter in stack.distances and stack.distances[letter][1] in _MICROMETRES
    ]
    return sizes[0] if len(sizes) == 2 and np.isclose(sizes[0], sizes[1], rtol=0.01) and sizes[0] > 0 else None
