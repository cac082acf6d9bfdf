"""What is measured once on a whole image, so that all its tiles are restored alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .noise import ChannelNoise, NoiseModel


@dataclass(frozen=True, slots=True, eq=False)
class WholeImage:
    """What the tiles of an image share.

    Attributes
    ----------
    intensity_range : ndarray
        ``(2, 1)``, or ``(2, c)`` for channels that are not colours: the intensities that become 0 and 1.
    noise : NoiseModel, ChannelNoise or None
        Of the values in [0, 1]; None if it could not be estimated.
    correlated : bool
        Whether the noise of neighbouring pixels is correlated.
    """

    intensity_range: NDArray[np.float64]
    noise: NoiseModel | ChannelNoise | None
    correlated: bool
