"""A film as a microscope writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile


def write_film(path: Path, film: np.ndarray, **how: object) -> None:
    """Write a (t, h, w) stack as TIFF; as OME-TIFF, it says what its axes are."""
    tifffile.imwrite(path, film, metadata={"axes": "TYX"}, photometric="minisblack", **how)
