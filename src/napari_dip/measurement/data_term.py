"""The data term d(A(x), y): what a degraded image tells about the image that is sought, as the fit sees it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy.typing import NDArray

from .forward_operator import BLOCK, BlockCosines, Downsampling, ForwardOperator, Identity
from .jpeg import estimate_quantisation_table
from .task import Task


@dataclass(frozen=True, slots=True)
class DataTerm:
    """Squared error between A(x) and y on the pixels of y that were measured.

    Attributes
    ----------
    operator : ForwardOperator
        A, from images ``(s, c, H, W)`` to ``(s, c, h, w)``.
    values : Tensor
        y, ``(1, c, h, w)``, the degraded image brought to [0, 1].
    known : Tensor
        ``(1, 1, h, w)`` bool, the pixels of y that were measured.
    size : (int, int)
        (H, W), of the image that is sought.
    description : str
        What is compared with what, in words.
    """

    operator: ForwardOperator
    values: torch.Tensor
    known: torch.Tensor
    size: tuple[int, int]
    description: str

    @property
    def by_pixel(self) -> bool:
        """Whether each error is one pixel's, so that pixels can be held out."""
        return True

    @property
    def judged(self) -> torch.Tensor:
        """Which errors count, ``(1, 1, h, w)`` bool: those of the known pixels."""
        return self.known

    def errors(self, image: torch.Tensor) -> torch.Tensor:
        """Return the squared error of each pixel of y, ``(s, c, h, w)``, for images ``(s, c, H, W)``."""
        return (self.operator(image) - self.values).square()

    def compare(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return A(x) and y, ``(s, c, h, w)``, what is missing of y taken from A(x): for measures of the known."""
        seen = self.operator(image)
        return seen, torch.where(self.known, self.values, seen)

    def impose(self, estimate: torch.Tensor) -> torch.Tensor:
        """Return the image nearest to the estimate, ``(1, c, H, W)``, that what is known for certain allows."""
        return estimate

    def discrepancy(self, estimate: torch.Tensor) -> torch.Tensor | None:
        """Return how large the errors are beside those that the truth would have, ``()``; None if nobody knows."""
        return None


@dataclass(frozen=True, slots=True)
class QuantisedDataTerm(DataTerm):
    """Squared error between the cosine coefficients of a JPEG and those of x, in units of their quantisation steps.

    What is known of each coefficient is a cell of one step, its error thus spread over that step: in these units all
    errors are alike. The cells are convex and hold the original, so that the nearest image within them is never farther
    from it than the estimate was.

    Attributes
    ----------
    middles, half_widths : Tensor
        ``(1, 1, h // 8 * 8, w // 8 * 8)``: the coefficients of y and half of their steps, in units of y.
    """

    middles: torch.Tensor
    half_widths: torch.Tensor

    @property
    def by_pixel(self) -> bool:
        """No: each coefficient is of all pixels of its block."""
        return False

    @property
    def judged(self) -> torch.Tensor:
        """Which errors count: those of all coefficients, the shape of ``middles``."""
        return torch.ones_like(self.middles, dtype=torch.bool)

    def errors(self, image: torch.Tensor) -> torch.Tensor:
        """Return the squared error of each coefficient in half steps, scaled to the mean step's intensities."""
        return (self._in_half_steps(image) * self.half_widths.mean()).square()

    def impose(self, estimate: torch.Tensor) -> torch.Tensor:
        """Return the nearest image within the cells; pixels beyond whole blocks stay as they are."""
        inside = BlockCosines()(estimate).clamp(self.middles - self.half_widths, self.middles + self.half_widths)
        height, width = inside.shape[-2:]
        projected = estimate.clone()
        projected[..., :height, :width] = BlockCosines.invert(inside)
        return projected

    def discrepancy(self, estimate: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the coefficients that were not quantised to zero, beside a uniform error's.

        Those quantised to zero say little: they were mostly far smaller than their step.
        """
        coded = self.middles.abs() > self.half_widths
        squares = self._in_half_steps(estimate).square()
        return 3 * torch.where(coded, squares, 0.0).sum() / coded.sum().clamp_min(1)  # a uniform error has 1/3

    def _in_half_steps(self, image: torch.Tensor) -> torch.Tensor:
        return (BlockCosines()(image) - self.middles) / self.half_widths


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
    pixels = DataTerm(Identity(), values, known, size, "squared error of the pixels")
    if not (task.knows_quantisation and everything and values.shape[1] == 1):
        return pixels
    table, source = quantisation_table, "given"
    if table is None:
        table, source = estimate_quantisation_table((offset + scale * values[0, 0]).cpu().numpy()), "estimated"
    if table is None:
        return pixels
    middles = BlockCosines()(values)
    down, across = (side // BLOCK for side in middles.shape[-2:])
    return QuantisedDataTerm(
        operator=pixels.operator,
        values=values,
        known=known,
        size=size,
        description=f"squared error of the JPEG's coefficients in quantisation steps ({source}), held to their cells",
        middles=middles,
        half_widths=torch.from_numpy(table / 2 / scale).to(values).repeat(down, across)[None, None],
    )
