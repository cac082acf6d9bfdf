"""What is measured once on a whole image, so that all its tiles are restored alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .noise import ChannelNoise, NoiseModel
from .stripes import Stripes


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
    stripes : Stripes or None
        Of all its rows or columns, if there are any and they are to be removed; of the values in [0, 1].
    """

    intensity_range: NDArray[np.float64]
    noise: NoiseModel | ChannelNoise | None
    correlated: bool
    stripes: Stripes | None = None

    def cut(self, rows: slice, columns: slice) -> WholeImage:
        """Return what is known of a tile."""
        return self if self.stripes is None else replace(self, stripes=self.stripes.cut(rows, columns))
