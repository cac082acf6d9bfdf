"""What is known of a large plane before its tiles are restored: range and noise of the whole, content of each tile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..image_tensor import check_size, find_intensity_range, read_arrays, to_tensor
from ..interruption import Interrupted
from ..measurement.noise import survey_noise
from ..measurement.stripes import Direction, Stripes, find_direction, measure_steps
from ..measurement.task import find_task
from ..measurement.whole_image import WholeImage
from ..request import Hooks, Request
from .axes import Plane
from .image_stack import MaskedStack
from .tiling import Tiling

_BLOCK, _MOST_PIXELS = 128, 1 << 22  # side of a block, and how many pixels are read for the intensity range
_ENOUGH_FOR_NOISE = 1 << 20  # pixels; with more, every second block in each direction is measured, which takes seconds

Place = tuple[slice, slice]


def measure_whole(
    stack: MaskedStack, plane: Plane, request: Request, phase_begun: Callable[[str], None] = lambda words: None
) -> WholeImage:
    """Measure intensity range, noise and stripes of a whole plane; if it is large, from blocks spread evenly over it.

    If the blocks have stripes, all lines are read, but only where they cross the blocks.

    Parameters
    ----------
    stack : MaskedStack
    plane : Plane
    request : Request
    phase_begun : callable
        Called with words once the blocks are read.

    Raises
    ------
    ValueError
        If no pixel is known.
    """
    (height, width), colours = stack.axes.plane_shape[:2], request.colours
    side = math.isqrt(_MOST_PIXELS // _BLOCK**2)
    rows, columns = ([slice(0, length)] for length in (height, width))
    if height * width > _MOST_PIXELS:
        rows, columns = (
            [slice(start, start + _BLOCK) for start in np.unique(np.linspace(0, length - _BLOCK, side).astype(int))]
            if length > _BLOCK
            else [slice(0, length)]
            for length in (height, width)
        )
    parts, masks = [], []
    for row in rows:
        line, mask_line = [], []
        for column in columns:
            part, mask = _read_part(stack, plane, (row, column), colours)
            if len(rows) * len(columns) > 1:  # differences across the edges of blocks are not noise
                mask[[0, -1], :] = mask[:, [0, -1]] = True
            line.append(part)
            mask_line.append(mask)
        parts.append(np.concatenate(line, axis=1))
        masks.append(np.concatenate(mask_line, axis=1))
    phase_begun("Measuring the noise")
    image, mask = np.concatenate(parts), np.concatenate(masks)
    channels, known = _channels_of(image, colours), _known_of(image, mask, colours)
    if not known.any():
        raise ValueError("every pixel is masked or NaN; mark fewer pixels as missing.")
    intensity_range = find_intensity_range(channels[known], colours=colours)
    tensor = to_tensor(image, mask, colours=colours, intensity_range=intensity_range)
    values, measured = tensor.values, tensor.known
    whole = WholeImage(intensity_range, None, correlated=False)
    if not find_task(request.task).noise_is_independent:
        return whole
    noise, correlated = survey_noise(*_take_fewer(values, measured), colours=colours)
    along = None
    if request.settings.remove_stripes and noise is not None:
        along = find_direction(values, measured, noise)
    if along is None:
        return replace(whole, noise=noise, correlated=correlated)
    phase_begun("Measuring the stripes")
    stripes = Stripes.from_steps(_measure_steps(stack, plane, (rows, columns), along, request, intensity_range), along)
    inside = stripes.cut(*(np.concatenate([np.r_[each] for each in lines]) for lines in (rows, columns)))
    even = values - inside.offsets.to(values)
    noise, correlated = survey_noise(*_take_fewer(even, measured), colours=colours)
    return replace(whole, noise=noise, correlated=correlated, stripes=stripes)


def _measure_steps(
    stack: MaskedStack,
    plane: Plane,
    blocks: tuple[list[slice], list[slice]],
    along: Direction,
    request: Request,
    intensity_range: NDArray[np.float64],
) -> torch.Tensor:
    """Return the mean change from each line of a plane to the next, ``(1, c, lines - 1)``, seen where blocks are."""
    axis, colours = ("rows", "columns").index(along), request.colours
    across, length, steps = blocks[1 - axis], stack.axes.plane_shape[axis], []
    for start in range(0, length - 1, _BLOCK):
        lines = slice(start, min(start + _BLOCK + 1, length))
        places = [(lines, each) if axis == 0 else (each, lines) for each in across]
        images, masks = zip(*(_read_part(stack, plane, place, colours) for place in places), strict=True)
        image, mask = (np.concatenate(each, axis=1 - axis) for each in (images, masks))
        tensor = to_tensor(image, mask, colours=colours, intensity_range=intensity_range)
        steps.append(measure_steps(tensor.values, tensor.known, along))
    return torch.cat(steps, dim=-1)


def _take_fewer(values: torch.Tensor, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the noise is measured on: all of an image, ``(1, c, h, w)``, and of its mask, or a quarter of them.

    The quarter is every second block each way, with the edges of the blocks as unknown.
    """
    if known.numel() <= _ENOUGH_FOR_NOISE:
        return values, known
    numbers = [np.arange(length) for length in known.shape[-2:]]
    rows, columns = (number[number // _BLOCK % 2 == 0] for number in numbers)
    inside = [~np.isin(number % _BLOCK, (0, _BLOCK - 1)) for number in (rows, columns)]
    whole_blocks = torch.from_numpy(np.logical_and.outer(*inside))
    return values[:, :, rows][..., columns], known[:, :, rows][..., columns] & whole_blocks


class Survey(NamedTuple):
    """A tile's contrast, and its number of known and missing pixels."""

    place: Place
    contrast: float
    known: int
    missing: int


def survey_tiles(stack: MaskedStack, plane: Plane, tiling: Tiling, colours: bool, hooks: Hooks) -> Iterator[Survey]:
    """Look into every tile of a plane, in order.

    Raises
    ------
    Interrupted
        If the hooks want a stop to end at once, and it comes meanwhile.
    """
    for place in tiling.places():
        if hooks.ends_at_once and hooks.stop_requested():
            raise Interrupted
        yield _survey(stack, plane, place, colours)


def _survey(stack: MaskedStack, plane: Plane, place: Place, colours: bool) -> Survey:
    image, mask = _read_part(stack, plane, place, colours)
    known = _known_of(image, mask, colours)
    if known.any():
        check_size(_channels_of(image, colours)[known])
    some = image[::4, ::4][known[::4, ::4]].astype(np.float64)
    return Survey(place, float(some.std()) if some.size else 0.0, int(known.sum()), int((~known).sum()))


def _read_part(stack: MaskedStack, plane: Plane, place: Place, colours: bool) -> tuple[np.ndarray, NDArray[np.bool_]]:
    """Read a part of the plane and of its mask."""
    part, mask = read_arrays(stack.read(plane, *place), stack.read_mask(plane, *place), colours=colours)
    return part, np.zeros(part.shape[:2], bool) if mask is None else mask.copy()


def _channels_of(image: np.ndarray, colours: bool) -> np.ndarray:
    """Return the channels that have intensities, ``(h, w, c)``: all except alpha."""
    return image[:, :, None] if image.ndim == 2 else image[:, :, :3] if colours else image


def _known_of(image: np.ndarray, mask: NDArray[np.bool_], colours: bool) -> NDArray[np.bool_]:
    known: NDArray[np.bool_] = np.isfinite(_channels_of(image, colours)).all(axis=2) & ~mask
    return known
