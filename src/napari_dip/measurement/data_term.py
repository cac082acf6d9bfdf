"""The data term d(A(x), y): what a degraded image tells about the image that is sought, as the fit sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .forward_operator import BLOCK, BlockCosines, Downsampling, ForwardOperator, Identity
from .jpeg import (
    FINEST_STEP,
    estimate_quantisation_table,
    nearest_lattice,
    quantised_coefficients,
    tile_table,
)
from .missing_pixels import blur
from .noise import ChannelNoise, NoiseModel, estimate_channel_noise, estimate_noise, is_correlated
from .whole_image import WholeImage

if TYPE_CHECKING:
    from .task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
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
    noise : NoiseModel, ChannelNoise or None
        Of y, where it can be told.
    correlation_side : int
        Side of the squares within which the pixels' errors are correlated.
    """

    operator: ForwardOperator
    values: torch.Tensor
    known: torch.Tensor
    size: tuple[int, int]
    description: str
    noise: NoiseModel | ChannelNoise | None = None
    correlation_side: int = 1

    @property
    def by_pixel(self) -> bool:
        """Whether each error is one pixel's, so that pixels can be held out."""
        return True

    @property
    def is_direct(self) -> bool:
        """Whether the pixels of the image were measured themselves: A is the identity, and errors are by pixel."""
        return self.by_pixel and isinstance(self.operator, Identity)

    @property
    def judged(self) -> torch.Tensor:
        """Which errors count, ``(1, 1, h, w)`` bool: those of the known pixels."""
        return self.known

    def errors(self, image: torch.Tensor) -> torch.Tensor:
        """Return the squared error of each pixel of y, ``(s, c, h, w)``, for images ``(s, c, H, W)``."""
        return (self.operator(image) - self.values).square()

    def errors_of_blur(self, weight: torch.Tensor, sigma: float) -> torch.Tensor:
        """Return the squared errors that a Gaussian blur of y would have, in the shape of ``judged`` and c channels.

        Parameters
        ----------
        weight : Tensor
            The shape of ``judged``: which entries the blur sees.
        sigma : float
            In pixels of y.
        """
        return (blur(self.values, weight, sigma) - self.values).square()

    def compare(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return A(x) and y, ``(s, c, h, w)``, what is missing of y taken from A(x): for measures of the known."""
        seen = self.operator(image)
        return seen, torch.where(self.known, self.values, seen)

    def residual(self, image: torch.Tensor) -> torch.Tensor:
        """Return y - A(x), ``(s, c, h, w)``, 0 where y is missing."""
        return torch.where(self.known, self.values - self.operator(image), 0.0)

    def impose(self, estimate: torch.Tensor) -> torch.Tensor:
        """Return the image nearest to the estimate, ``(1, c, H, W)``, of which y would be measured.

        (Where some of y is missing and A mixes pixels, an image near to that.)
        """
        return estimate + self.operator.pseudo_invert(self.residual(estimate))

    def discrepancy(self, estimate: torch.Tensor) -> torch.Tensor | None:
        """Return how large the errors are beside those that the truth would have, ``()``; None if nobody knows."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisedDataTerm(DataTerm):
    """Squared error between the cosine coefficients of a JPEG and those of x, in units of their quantisation steps.

    What is known of each coefficient is a cell of one step, its error thus spread over that step: in these units all
    errors are alike. The cells are convex and hold the original, so that the nearest image within them is never farther
    from it than the estimate was. Of blocks that touch black or white this is not known: the decoder clipped them.

    Attributes
    ----------
    middles, half_widths : Tensor
        ``(1, 1, h // 8 * 8, w // 8 * 8)``: the coefficients of y, as they were before pixels were rounded, and half of
        their steps, in units of y.
    certain : Tensor
        The same shape, bool: where the original is known to lie in the cell.
    """

    middles: torch.Tensor
    half_widths: torch.Tensor
    certain: torch.Tensor

    @property
    def by_pixel(self) -> bool:
        """No: each coefficient is of all pixels of its block."""
        return False

    @property
    def judged(self) -> torch.Tensor:
        """Which errors count: those of all coefficients, the shape of ``middles``."""
        return torch.ones_like(self.middles, dtype=torch.bool)

    @property
    def coded(self) -> torch.Tensor:
        """Which coefficients are known and were not quantised to zero, bool of the shape of ``middles``."""
        return self.certain & (self.middles.abs() > self.half_widths)

    def errors(self, image: torch.Tensor) -> torch.Tensor:
        """Return the squared error of each coefficient in half steps, scaled to the mean step's intensities."""
        return (self._in_half_steps(image) * self.half_widths.mean()).square()

    def errors_of_blur(self, weight: torch.Tensor, sigma: float) -> torch.Tensor:
        """Return the same of each coefficient; the blur sees every pixel."""
        return self.errors(blur(self.values, torch.ones_like(self.values), sigma))

    def impose(self, estimate: torch.Tensor) -> torch.Tensor:
        """Return the nearest image within the cells; pixels beyond whole blocks stay as they are."""
        coefficients = BlockCosines()(estimate)
        inside = coefficients.clamp(self.middles - self.half_widths, self.middles + self.half_widths)
        inside = torch.where(self.certain, inside, coefficients)
        height, width = inside.shape[-2:]
        projected = estimate.clone()
        projected[..., :height, :width] = BlockCosines().invert(inside)
        return projected

    def discrepancy(self, estimate: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the coefficients that were not quantised to zero, beside a uniform error's.

        Those quantised to zero say little: they were mostly far smaller than their step.
        """
        coded = self.coded
        squares = self._in_half_steps(estimate).square()
        return 3 * torch.where(coded, squares, 0.0).sum() / coded.sum().clamp_min(1)  # a uniform error has 1/3

    def _in_half_steps(self, image: torch.Tensor) -> torch.Tensor:
        return (BlockCosines()(image) - self.middles) / self.half_widths


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A degraded image, and what is known of it: what data terms are built of.

    Attributes
    ----------
    values : Tensor
        ``(1, c, h, w)``, the degraded image brought to [0, 1].
    known : Tensor
        ``(1, 1, h, w)`` bool.
    parameters : mapping
        Those of the task, by name.
    block : int
        As ``Task`` has it.
    noise : NoiseModel, ChannelNoise or None
        Where it may be estimated as independent from pixel to pixel.
    is_correlated : bool
        Whether the noise is not.
    scale, offset : float
        intensity = offset + scale * value.
    """

    values: torch.Tensor
    known: torch.Tensor
    parameters: Mapping[str, Any]
    block: int = 1
    noise: NoiseModel | ChannelNoise | None = None
    is_correlated: bool = False
    scale: float = 1.0
    offset: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.values.shape[2], self.values.shape[3]


def data_term_of(
    task: Task,
    values: torch.Tensor,
    known: torch.Tensor,
    *,
    scale: float = 1.0,
    offset: float = 0.0,
    colours: bool = True,
    whole: WholeImage | None = None,
    **parameters: Any,
) -> DataTerm:
    """Return what a degraded image tells about the image that the task seeks.

    Parameters
    ----------
    task : Task
    values, known, scale, offset
        As ``Measured`` has them.
    colours : bool
        Whether channels are colours of one light, whose noise is alike.
    whole : WholeImage, optional
        What is known of the image that this is a part of; else its noise is estimated from itself.
    **parameters
        Those of the task.
    """
    noise: NoiseModel | ChannelNoise | None = None
    correlated = False
    if task.noise_is_independent:
        correlated = is_correlated(values, known) if whole is None else whole.correlated
        if whole is not None:
            noise = whole.noise
        elif not correlated:
            noise = estimate_noise(values, known) if colours else estimate_channel_noise(values, known)
    return task.build_data_term(
        Measured(
            values=values, known=known, parameters=parameters, block=task.block, noise=noise,
            is_correlated=correlated, scale=scale, offset=offset,
        )
    )  # fmt: skip


def measure_pixels(measured: Measured) -> DataTerm:
    """Return the data term of an image whose pixels were measured themselves."""
    return DataTerm(
        operator=Identity(),
        values=measured.values,
        known=measured.known,
        size=measured.size,
        description="squared error of the pixels",
        noise=measured.noise,
        correlation_side=BLOCK if measured.is_correlated else measured.block,
    )


def measure_small_image(measured: Measured) -> DataTerm:
    """Return the data term of the small image of a large one: ``factor`` times as many rows and columns."""
    (height, width), factor = measured.size, measured.parameters["factor"]
    return DataTerm(
        operator=Downsampling.by(factor, measured.size, measured.values.device),
        values=measured.values,
        known=measured.known,
        size=(height * factor, width * factor),
        description=f"squared error of the pixels after Lanczos downsampling by {factor}",
    )


def measure_jpeg(measured: Measured) -> DataTerm:
    """Return the data term of a grey JPEG, by its quantisation; where that cannot be told, that of its pixels.

    The parameter ``quantisation_table``, ``(8, 8)``, is estimated from the pixels if it is not given.
    """
    values, known, scale = measured.values, measured.known, measured.scale
    pixels = measure_pixels(measured)
    if not bool(known.all()) or values.shape[1] != 1:
        return pixels
    image = (measured.offset + scale * values).round()
    table, source = measured.parameters.get("quantisation_table"), "given"
    if table is None:
        table, source = estimate_quantisation_table(image[0, 0].cpu().numpy()), "estimated"
    if table is None or np.median(table) <= FINEST_STEP:
        return pixels
    steps = tile_table(table, image)
    lattice, certain = nearest_lattice(image, steps)
    quantised = QuantisedDataTerm(
        operator=pixels.operator,
        values=values,
        known=known,
        size=measured.size,
        description=f"squared error of the JPEG's coefficients in quantisation steps ({source}), held to their cells",
        middles=BlockCosines()(values) + (lattice - quantised_coefficients(image)) / scale,
        half_widths=steps / 2 / scale,
        certain=certain,
    )
    return quantised if bool(quantised.coded.any()) else pixels
