"""The data term d(A(x), y): what a degraded image tells about the image that is sought, as the fit sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from .forward_operator import BLOCK, BlockCosines, Downsampling, ForwardOperator, Identity
from .jpeg import estimate_quantisation_table
from .task import Task


@dataclass(frozen=True, slots=True)
class DataTerm:
    """Squared error between A(x) and y on the entries of y that were measured, and what is known for certain.

    Attributes
    ----------
    operator : ForwardOperator
        A, from images ``(s, c, H, W)`` to ``(s, c, h, w)``.
    values : Tensor
        y, ``(1, c, h, w)``, the degraded image brought to [0, 1].
    known : Tensor
        ``(1, 1, h, w)`` bool, the entries of y that were measured.
    size : (int, int)
        (H, W), of the image that is sought.
    cells : QuantisationCells or None
        Where the image must lie for certain, if it was a JPEG.
    description : str
        What is compared with what, in words.
    """

    operator: ForwardOperator
    values: torch.Tensor
    known: torch.Tensor
    size: tuple[int, int]
    description: str
    cells: QuantisationCells | None = field(default=None)

    def errors(self, image: torch.Tensor) -> torch.Tensor:
        """Return the squared error of each entry of y, ``(s, c, h, w)``, for images ``(s, c, H, W)``."""
        return (self.operator(image) - self.values).square()

    def compare(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return A(x) and y, ``(s, c, h, w)``, what is missing of y taken from A(x): for measures of the known."""
        seen = self.operator(image)
        return seen, torch.where(self.known, self.values, seen)

    def impose(self, estimate: torch.Tensor) -> torch.Tensor:
        """Return the image nearest to the estimate, ``(1, c, H, W)``, that what is known for certain allows."""
        return estimate if self.cells is None else self.cells.project(estimate)


@dataclass(frozen=True, slots=True)
class QuantisationCells:
    """The cells in which JPEG's quantisation left the cosine coefficients of the original.

    The cells are convex and hold the original, so the nearest image within them is never farther from it.

    Attributes
    ----------
    middles, half_widths : Tensor
        ``(1, 1, h // 8 * 8, w // 8 * 8)`` and broadcast to it, in units of the image brought to [0, 1].
    """

    middles: torch.Tensor
    half_widths: torch.Tensor

    @classmethod
    def of(cls, values: torch.Tensor, table: NDArray, scale: float) -> QuantisationCells:
        """Return the cells of a grey JPEG.

        Parameters
        ----------
        values : Tensor
            ``(1, 1, h, w)``, its pixels.
        table : array
            ``(8, 8)`` quantisation steps in intensities, vertical frequency first.
        scale : float
            Intensities per unit of ``values``.
        """
        middles = BlockCosines()(values)
        down, across = (side // BLOCK for side in middles.shape[-2:])
        return cls(middles, torch.from_numpy(table / 2 / scale).to(values).repeat(down, across))

    def project(self, image: torch.Tensor) -> torch.Tensor:
        """Return the nearest image within the cells, ``(1, 1, h, w)``; pixels beyond whole blocks stay as they are."""
        coefficients = BlockCosines()(image)
        inside = coefficients.clamp(self.middles - self.half_widths, self.middles + self.half_widths)
        height, width = inside.shape[-2:]
        projected = image.clone()
        projected[..., :height, :width] = BlockCosines.invert(inside)
        return projected


def data_term_of(
    task: Task,
    values: torch.Tensor,
    known: torch.Tensor,
    *,
    factor: int | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
    quantisation_table: NDArray | None = None,
) -> DataTerm:
    """Return what a degraded image tells about the image that the task seeks.

    Parameters
    ----------
    task : Task
    values : Tensor
        ``(1, c, h, w)``, the degraded image brought to [0, 1].
    known : Tensor
        ``(1, 1, h, w)`` bool.
    factor : int, optional
        Of super-resolution.
    scale, offset : float
        intensity = offset + scale * value; for JPEG, which quantises intensities.
    quantisation_table : array, optional
        ``(8, 8)`` steps of a grey JPEG; estimated from the pixels if None.
    """
    size = (values.shape[2], values.shape[3])
    everything = bool(known.all())
    if factor is not None:
        return DataTerm(
            Downsampling.by(factor, size, values.device),
            values,
            known,
            (size[0] * factor, size[1] * factor),
            f"squared error of the pixels after Lanczos downsampling by {factor}",
        )
    cells, description = None, "squared error of the pixels"
    if task.knows_quantisation and everything and values.shape[1] == 1:
        table, source = quantisation_table, "given"
        if table is None:
            table = estimate_quantisation_table((offset + scale * values[0, 0]).cpu().numpy())
            source = "estimated from the pixels"
        if table is not None:
            cells = QuantisationCells.of(values, np.asarray(table), scale)
            description += f"; the estimate is held to the JPEG's quantisation cells ({source})"
    return DataTerm(Identity(), values, known, size, description, cells)
