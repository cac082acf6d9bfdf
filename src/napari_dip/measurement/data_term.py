"""The data term d(A(x), y): how well an image x explains the degraded image y."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from .forward_operator import BLOCK, BlockCosines, Blur, Downsampling, ForwardOperator, Identity, InvertibleOperator
from .jpeg import (
    FINEST_STEP,
    estimate_quantisation_table,
    nearest_lattice,
    quantised_coefficients,
    tile_table,
)
from .missing_pixels import blur
from .noise import ChannelNoise, NoiseModel, survey_noise
from .stripes import Stripes, find_stripes
from .whole_image import WholeImage

if TYPE_CHECKING:
    from .task import Task

_MOST_HEADROOM = 4.0  # more makes the network slow; points may be dimmed more (docs/deconvolve.md)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataTerm:
    """Squared error between A(x) and y on the pixels of y that were measured.

    Attributes
    ----------
    operator : ForwardOperator
        A, from images ``(s, c, H, W)`` to ``(s, c, h, w)``.
    values : Tensor
        y, ``(1, c, h, w)``, the degraded image scaled to [0, 1].
    known : Tensor
        ``(1, 1, h, w)`` bool, the pixels of y that were measured.
    size : (int, int)
        (H, W) of x.
    description : str
        The comparison in words.
    noise : NoiseModel, ChannelNoise or None
        The noise of y, if it can be estimated.
    correlation_side : int
        Side of the squares within which the pixels' errors are correlated.
    stripes : Stripes or None
        What was taken out of y beforehand.
    """

    operator: ForwardOperator
    values: torch.Tensor
    known: torch.Tensor
    size: tuple[int, int]
    description: str
    noise: NoiseModel | ChannelNoise | None = None
    correlation_side: int = 1
    stripes: Stripes | None = None

    @property
    def by_pixel(self) -> bool:
        """Whether each error belongs to one pixel, so that pixels can be held out."""
        return True

    @property
    def is_direct(self) -> bool:
        """Whether the pixels of x were measured directly: A is the identity, and errors are by pixel."""
        return self.by_pixel and isinstance(self.operator, Identity)

    @property
    def is_learned_slowly(self) -> bool:
        """Whether the network goes on learning for long, while its partner's image hardly depends on the step."""
        return False

    @property
    def headroom(self) -> float:
        """How many times brighter than y the image x may be."""
        return 1.0

    @property
    def judged(self) -> torch.Tensor:
        """Which errors count, ``(1, 1, h, w)`` bool: those of known pixels."""
        return self.known

    def errors(self, image: torch.Tensor) -> torch.Tensor:
        """Return the squared error of each pixel of y, ``(s, c, h, w)``, for images ``(s, c, H, W)``."""
        return (self.operator(image) - self.values).square()

    def errors_of_blur(self, weight: torch.Tensor, sigma: float) -> torch.Tensor:
        """Return the squared errors of a Gaussian blur of y, in the shape of ``judged`` with c channels.

        Parameters
        ----------
        weight : Tensor
            In the shape of ``judged``: which entries the blur sees.
        sigma : float
            In pixels of y.
        """
        return (blur(self.values, weight, sigma) - self.values).square()

    def compare(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return A(x), and y with missing pixels copied from A(x), both ``(s, c, h, w)``, for measures to compare."""
        seen = self.operator(image)
        return seen, torch.where(self.known, self.values, seen)

    def residual(self, image: torch.Tensor) -> torch.Tensor:
        """Return y - A(x), ``(s, c, h, w)``, 0 where y is missing."""
        return torch.where(self.known, self.values - self.operator(image), 0.0)

    def put_stripes_back(self, residual: torch.Tensor) -> torch.Tensor:
        """Return a residual, ``(s, c, h, w)``, with the stripes that were taken out of y: they were removed, too."""
        return residual if self.stripes is None else torch.where(self.known, residual + self.stripes.offsets, 0.0)

    def impose(self, estimate: torch.Tensor) -> torch.Tensor:
        """Return the image nearest to the estimate, ``(1, c, H, W)``, that A maps to y.

        (If pixels of y are missing and A mixes pixels, the result is only close to that.)
        """
        return estimate + cast("InvertibleOperator", self.operator).pseudo_invert(self.residual(estimate))

    def cut_to_view(self, image: torch.Tensor) -> torch.Tensor:
        """Return what the degraded image shows of x, ``(s, c, H, W)``: all of it, unless x has surroundings."""
        return image

    def discrepancy(self, estimate: torch.Tensor) -> torch.Tensor | None:
        """Return how large the errors are relative to the truth's errors, ``()``; None if those are unknown."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlurredDataTerm(DataTerm):
    """Squared error of the pixels of an image that a point spread function has blurred."""

    operator: Blur

    @property
    def is_learned_slowly(self) -> bool:
        """Yes: what the blur hides is learned late."""
        return True

    @property
    def headroom(self) -> float:
        """How many times brighter than y the image x may be: a blur dims what is small."""
        return min(self.operator.dimming, _MOST_HEADROOM)

    def cut_to_view(self, image: torch.Tensor) -> torch.Tensor:
        """Return x without its surroundings, ``(s, c, h, w)``."""
        return self.operator.cut(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantisedDataTerm(DataTerm):
    """Squared error between the cosine coefficients of a JPEG and those of x, in units of their quantisation steps.

    Each coefficient is known to lie in a cell one step wide, so in these units all errors are alike. The cells are
    convex and contain the original, so moving an estimate to the nearest image within them never takes it farther from
    the original. This does not hold for blocks that touch black or white, because the decoder clipped them.

    Attributes
    ----------
    middles, half_widths : Tensor
        ``(1, 1, h // 8 * 8, w // 8 * 8)``: the coefficients of y before its pixels were rounded, and half of their
        steps, in units of y.
    certain : Tensor
        The same shape, bool: where the original is known to lie in the cell.
    """

    middles: torch.Tensor
    half_widths: torch.Tensor
    certain: torch.Tensor

    @property
    def by_pixel(self) -> bool:
        """No: each coefficient depends on all pixels of its block."""
        return False

    @property
    def judged(self) -> torch.Tensor:
        """Which errors count: those of all coefficients, in the shape of ``middles``."""
        return torch.ones_like(self.middles, dtype=torch.bool)

    @property
    def coded(self) -> torch.Tensor:
        """Which coefficients are certain and were not quantised to zero, bool in the shape of ``middles``."""
        return self.certain & (self.middles.abs() > self.half_widths)

    def errors(self, image: torch.Tensor) -> torch.Tensor:
        """Return the squared error of each coefficient in half steps, scaled to the mean step's intensities."""
        return (self._in_half_steps(image) * self.half_widths.mean()).square()

    def errors_of_blur(self, weight: torch.Tensor, sigma: float) -> torch.Tensor:
        """Return the squared error of each coefficient of a blur that sees every pixel."""
        return self.errors(blur(self.values, torch.ones_like(self.values), sigma))

    def impose(self, estimate: torch.Tensor) -> torch.Tensor:
        """Return the nearest image within the cells; pixels beyond the last whole block stay as they are."""
        coefficients = BlockCosines()(estimate)
        inside = coefficients.clamp(self.middles - self.half_widths, self.middles + self.half_widths)
        inside = torch.where(self.certain, inside, coefficients)
        height, width = inside.shape[-2:]
        projected = estimate.clone()
        projected[..., :height, :width] = BlockCosines().invert(inside)
        return projected

    def discrepancy(self, estimate: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the coefficients not quantised to zero, relative to a uniform error's.

        Those quantised to zero say little, because most were far smaller than their step.
        """
        coded = self.coded
        squares = self._in_half_steps(estimate).square()
        return 3 * torch.where(coded, squares, 0.0).sum() / coded.sum().clamp_min(1)  # a uniform error has 1/3

    def _in_half_steps(self, image: torch.Tensor) -> torch.Tensor:
        return (BlockCosines()(image) - self.middles) / self.half_widths


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A degraded image and what is known about it, to build a data term from.

    Attributes
    ----------
    values : Tensor
        ``(1, c, h, w)``, the degraded image scaled to [0, 1].
    known : Tensor
        ``(1, 1, h, w)`` bool.
    parameters : mapping
        The task's own, by name.
    block : int
        As in ``Task``.
    noise : NoiseModel, ChannelNoise or None
        None if it could not be estimated.
    is_correlated : bool
        Whether the noise of neighbouring pixels is correlated.
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
    remove_stripes: bool = False,
    **parameters: Any,
) -> DataTerm:
    """Build a task's data term for a degraded image.

    Parameters
    ----------
    task : Task
    values, known, scale, offset
        As in ``Measured``.
    colours : bool
        Whether the channels are colours (RGB), which share one noise.
    whole : WholeImage, optional
        If the image is a tile: what is known about the whole image. Otherwise noise and stripes are measured here.
    remove_stripes : bool
        Whether stripes are taken out first, if the task's noise is independent from pixel to pixel otherwise.
    **parameters
        The task's own.
    """
    noise: NoiseModel | ChannelNoise | None = None
    correlated, stripes = False, None
    if task.noise_is_independent and whole is not None:
        noise, correlated, stripes = whole.noise, whole.correlated, whole.stripes
    elif task.noise_is_independent:
        noise, correlated = survey_noise(values, known, colours=colours)
        stripes = find_stripes(values, known, noise) if remove_stripes and noise is not None else None
    if stripes is not None:
        stripes = stripes.to(values)
        values = values - stripes.offsets
        if whole is None:  # brightness, and what neighbours share, are told better without stripes
            noise, correlated = survey_noise(values, known, colours=colours)
    data_term = task.build_data_term(
        Measured(
            values=values, known=known, parameters=parameters, block=task.block, noise=noise,
            is_correlated=correlated, scale=scale, offset=offset,
        )
    )  # fmt: skip
    return data_term if stripes is None else replace(data_term, stripes=stripes)


def measure_pixels(measured: Measured) -> DataTerm:
    """Return the data term of an image whose pixels were measured directly."""
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
    """Return the data term of a small image of a large x, with ``factor`` times as many rows and columns."""
    (height, width), factor = measured.size, measured.parameters["factor"]
    return DataTerm(
        operator=Downsampling.by(factor, measured.size, measured.values.device),
        values=measured.values,
        known=measured.known,
        size=(height * factor, width * factor),
        description=f"squared error of the pixels after Lanczos downsampling by {factor}",
    )


def measure_blurred_image(measured: Measured) -> DataTerm:
    """Return the data term of an image blurred by a point spread function, whose surroundings are free."""
    psf, channels = measured.parameters["psf"], measured.values.shape[1]
    if psf.ndim == 3 and psf.shape[2] not in (1, channels):
        raise ValueError(
            f"psf has {psf.shape[2]} channels, along its last axis, and the image has {channels}; give (k, l), or one "
            "PSF for each channel of an image whose channels are restored together. A PSF with depth, for a z-stack in "
            "3-D, is not supported: give its plane in focus, and each plane is restored by itself."
        )
    if any(side > 2 * length for side, length in zip(psf.shape, measured.size, strict=False)):
        raise ValueError(
            f"psf reaches over {psf.shape[0]} x {psf.shape[1]} pixels, over twice the image's {measured.size[0]} x "
            f"{measured.size[1]}; cut the PSF to the part around its peak, or restore a larger image."
        )
    operator = Blur.by(psf / psf.sum(axis=(0, 1)), measured.size, measured.values.device)
    (height, width), (beyond_rows, beyond_columns) = measured.size, operator.margin
    return BlurredDataTerm(
        operator=operator,
        values=measured.values,
        known=measured.known,
        size=(height + 2 * beyond_rows, width + 2 * beyond_columns),
        description=f"squared error of the pixels after blurring by a PSF of {psf.shape[0]} x {psf.shape[1]} pixels",
        noise=measured.noise,
        correlation_side=BLOCK if measured.is_correlated else measured.block,
    )


def measure_jpeg(measured: Measured) -> DataTerm:
    """Return the data term of a grey JPEG by its quantisation; if that cannot be estimated, by its pixels.

    The parameter ``quantisation_table``, ``(8, 8)``, is estimated from the pixels by default.
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
