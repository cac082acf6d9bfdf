"""Classical methods as partners of the network. Held-out pixels decide how much of each to use, so none does harm."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch

from ..measurement.missing_pixels import fill_smoothly
from ..measurement.noise import ChannelNoise, NoiseModel
from .collaborative_filter import collaborative_filter, match_blocks
from .first_estimate import estimate_first
from .wiener_filter import wiener_filter

_SPLIT = 0.5  # t, of the noise that is added where noise is correlated
_BLOCK_SIDES = (8, 16)  # of the Wiener filter; one for texture, one for smooth images
_SHIFTS, _SHIFTS_OF_RESULT = 4, 8  # of its blocks, along each side; more is better and slower
# Passes of the collaborative filter, measured in docs/tuning.md: large blocks tolerate more noise, small blocks
# find more similar ones.
_PASSES = ((8, 4, 12, 64), (4, 2, 12, 32))  # side, stride, reach, count


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """A partner's quick opinion of an output.

    Attributes
    ----------
    image : Tensor
        ``(1, c, H, W)``, the output improved without seeing held-out pixels, which can then judge it.
    errors : Tensor or None
        ``(1, 1, H, W)``: its squared error, noise included, at each pixel that can judge it; 0 elsewhere. None if these
        pixels cannot tell a gain from chance.
    judges : Tensor or None
        ``(1, 1, H, W)`` bool: which pixels can.
    """

    image: torch.Tensor
    errors: torch.Tensor | None = None
    judges: torch.Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """The degraded image as filters are tried on it, and what judges their results: its noise is independent of that.

    Attributes
    ----------
    values : Tensor
        ``(1, c, h, w)``, what the filters see.
    seen : Tensor
        ``(1, 1, h, w)`` bool, where.
    noise : NoiseModel or ChannelNoise
        Of the values.
    added : Tensor or None
        ``(1, c, h, w)``, noise that was added to the degraded image.
    target : Tensor
        ``(1, c, h, w)``, what the results are compared with.
    judges : Tensor
        ``(1, 1, h, w)`` bool, where.
    """

    values: torch.Tensor
    seen: torch.Tensor
    noise: NoiseModel | ChannelNoise
    added: torch.Tensor | None
    target: torch.Tensor
    judges: torch.Tensor


class Partner(Protocol):
    """Improves the network's output with its own knowledge of the degraded image."""

    @property
    def neighbours(self) -> int:
        """How many neighbouring planes help."""
        return 0

    @property
    def is_prepared(self) -> bool:
        """Whether it has made all that it judges with; until then it judges as well as it can."""
        return True

    def prepare(self) -> None:
        """Do what takes a while, and what a first judgement can do without: then there soon is something to show."""
        return

    @abstractmethod
    def judge(self, output: torch.Tensor) -> Judgement:
        """Improve the network's output, ``(1, c, H, W)``, quickly, and estimate how good that is."""
        ...

    @abstractmethod
    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Improve the output as far as possible with all known pixels; return it and an estimate of its squared error.

        With ``quick``, return something close to that sooner.
        """
        ...


class DenoisingPartner(Partner):
    """Denoises with collaborative filtering, and with filters that use the network's output as their pilot.

    The network's output p and a first estimate n are blended to m = n + a (p - n). A Wiener filter with pilot m
    turns the degraded image into w, and m + b (w - m) is the image that is judged. The final result gets more: passes
    of a collaborative filter, with the result so far as pilot, of whose change a share is taken. The final result
    applies the filters to all known pixels.

    All shares, in [0, 1], are those with the smallest squared error when the filters are tried on a version of the
    image that leaves something to judge them. If the noise is white, the held-out pixels judge, which the filters do
    not see. If it is correlated, neighbours would give single pixels away, and no filter can fill in large squares. So
    noise n like the image's own is drawn, the filters see y + t n, and y - n / t judges: its noise is independent of
    theirs.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``, the degraded image.
    fitted, held_out : Tensor
        ``(1, 1, h, w)`` bool: the pixels that the filters may always see, and those that judge them. Pixels that are
        neither are missing: there the result is p plus a smooth continuation of what the filters change around them.
        (The step is chosen on known pixels, where the filters may do well long before p alone does.)
    noise : NoiseModel or ChannelNoise

    References
    ----------
    y + t n and y - n / t: Oliveira, Lei and Tibshirani: Unbiased risk estimation in the normal means problem via
    coupled bootstrap techniques, 2021.
    """

    def __init__(
        self,
        values: torch.Tensor,
        fitted: torch.Tensor,
        held_out: torch.Tensor,
        noise: NoiseModel | ChannelNoise,
    ) -> None:
        self._values, self._fitted, self._held_out, self._noise = values, fitted, held_out, noise
        self._known = fitted | held_out
        self._is_complete = bool(self._known.all())
        self._first_of_known = estimate_first(values, self._known, noise)
        self._trial = self._split_noise() if noise.correlation else self._hide_pixels()
        self._first_of_trial = estimate_first(self._trial.values, self._trial.seen, self._trial.noise)

    def _hide_pixels(self) -> _Trial:
        return _Trial(self._values, self._fitted, self._noise, None, self._values, self._held_out)

    def _split_noise(self) -> _Trial:
        correlation = self._noise.correlation
        assert correlation is not None
        # the same on every device and in every run
        white = torch.randn(self._values.shape, generator=torch.Generator().manual_seed(0))
        drawn = correlation.correlate(white).to(self._values) * self._noise.variance(self._first_of_known).sqrt()
        added, target = _SPLIT * drawn, self._values - drawn / _SPLIT
        noise = self._noise.times(1 + _SPLIT**2)
        return _Trial(self._values + added, self._known, noise, added, target, self._known)

    @property
    def first_estimate(self) -> torch.Tensor:
        """What filters make of all known pixels without the network, ``(1, c, h, w)``."""
        return self._first_of_known

    def judge(self, output: torch.Tensor) -> Judgement:
        """Blend first estimate, network and Wiener filter as they are tried, and measure the error of the blend."""
        trial = self._trial
        image, _, _ = self._blend(output)
        errors = (image - trial.target).square()
        if trial.added is not None:  # the target has that much more noise than the degraded image
            errors = errors - (trial.added / _SPLIT**2).square()
        return Judgement(image, errors.mean(dim=1, keepdim=True) * trial.judges, trial.judges)

    def _own_share(self, output: torch.Tensor) -> torch.Tensor:
        """Return the share of a pixel's own noise that the network has learned, ``()``.

        A linear smoother's residual at a pixel is 1 minus that share, times the residual if the pixel is held out.
        """
        squares = (output - self._values).square()
        seen, unseen = (_mean_where(each, squares) for each in (self._fitted, self._held_out))
        return (1 - (seen / unseen).sqrt()).clamp(0, 1)

    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the image from all known pixels, and its squared error.

        The error is the variance of the noise that the filters let through, plus the square of their bias. With
        ``quick``, the collaborative filter and the bias are left out.
        """
        trial = self._trial
        judged, first, second = self._blend(output)
        blend = self._complete(torch.lerp(self._first_of_known, output, first), output)
        filtered, variance = self._filter(blend, self._values, self._known, self._noise, _SHIFTS_OF_RESULT)
        image, variance = torch.lerp(blend, filtered, second), second * variance
        for side, stride, reach, count in () if quick else _PASSES:
            if min(image.shape[-2:]) < side:
                continue
            groups = match_blocks(judged, side, stride, reach, count)
            shape = groups, side, stride
            filtered, _ = self._filter_groups(judged, trial.values, trial.seen, trial.noise, *shape)
            share = self._share(judged, filtered)
            judged = torch.lerp(judged, filtered, share)
            filtered, left_over = self._filter_groups(image, self._values, self._known, self._noise, *shape)
            image, variance = torch.lerp(image, filtered, share), torch.lerp(variance, left_over, share)
        image = self._complete(image, output)
        return image, variance if quick else variance + squared_bias(image, self._noise)

    def _blend(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the image to judge, and the two shares."""
        trial = self._trial
        seen = output if trial.added is None else output + self._own_share(output) * trial.added
        first = self._share(self._first_of_trial, seen)
        blend = self._complete(torch.lerp(self._first_of_trial, seen, first), output)
        filtered, _ = self._filter(blend, trial.values, trial.seen, trial.noise, _SHIFTS)
        second = self._share(blend, filtered)
        return self._complete(torch.lerp(blend, filtered, second), output), first, second

    def _complete(self, image: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        return image if self._is_complete else complete(image, output, self._known)

    def _filter_groups(
        self,
        pilot: torch.Tensor,
        values: torch.Tensor,
        seen: torch.Tensor,
        noise: NoiseModel | ChannelNoise,
        groups: torch.Tensor,
        side: int,
        stride: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one pass of the collaborative filter, and its variance."""
        noisy, spectrum = torch.where(seen, values, pilot), self._spectrum(side)
        return collaborative_filter(pilot, noisy, noise.variance(pilot), groups, side, stride, spectrum=spectrum)

    def _filter(
        self,
        pilot: torch.Tensor,
        values: torch.Tensor,
        seen: torch.Tensor,
        noise: NoiseModel | ChannelNoise,
        shifts: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean of the Wiener filters of all block sizes, and the mean of their variances."""
        noisy, variance = torch.where(seen, values, pilot), noise.variance(pilot)
        sides = [side for side in _BLOCK_SIDES if 2 * side <= min(pilot.shape[-2:])]
        filtered = [wiener_filter(pilot, noisy, variance, side, shifts, self._spectrum(side)) for side in sides]
        images, variances = zip(*filtered, strict=True)
        return torch.stack(images).mean(dim=0), torch.stack(variances).mean(dim=0)

    def _spectrum(self, side: int) -> torch.Tensor | None:
        """Return the noise variance of each coefficient of a block, ``(side, side)``; None if the noise is white."""
        correlation = self._noise.correlation
        return None if correlation is None else correlation.spectrum(side)

    def _share(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Return how far to go from one image towards another."""
        return best_share(other - one, self._trial.target - one, self._trial.judges)


def complete(image: torch.Tensor, output: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return the image where pixels are known, and elsewhere the output plus a continuation of the difference.

    Parameters
    ----------
    image, output : Tensor
        ``(1, c, h, w)``.
    known : Tensor
        ``(1, 1, h, w)`` bool.
    """
    return torch.where(known, image, output + fill_smoothly((image - output) * known, known))


def squared_bias(image: torch.Tensor, noise: NoiseModel | ChannelNoise) -> torch.Tensor:
    """Return the square of the bias of the filters that made an image, ``(1, 1, h, w)``.

    What a filter removes from the result, it will have removed from the truth.

    Parameters
    ----------
    image : Tensor
        ``(1, c, h, w)``.
    noise : NoiseModel or ChannelNoise
        That the filters removed.

    References
    ----------
    Tukey: Exploratory Data Analysis, 1977 (twicing).
    """
    side = _BLOCK_SIDES[0]
    if 2 * side > min(image.shape[-2:]):
        return torch.zeros_like(image[:, :1])
    spectrum = None if noise.correlation is None else noise.correlation.spectrum(side)
    again, _ = wiener_filter(image, image, noise.variance(image), side, _SHIFTS, spectrum)
    return (again - image).square().mean(dim=1, keepdim=True)


def _mean_where(places: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return the mean of ``(1, c, h, w)`` values over some pixels, ``()``."""
    return (values.mean(dim=1, keepdim=True) * places).sum() / places.sum()


def best_share(change: torch.Tensor, error: torch.Tensor, judged: torch.Tensor) -> torch.Tensor:
    """Return the share of a change, ``()`` in [0, 1], that reduces an error most where it is judged.

    Parameters
    ----------
    change, error : Tensor
        ``(1, c, h, w)``.
    judged : Tensor
        ``(1, 1, h, w)`` bool.
    """
    change = torch.where(judged, change, 0.0)
    share = (change * error).sum() / change.square().sum().clamp_min(torch.finfo(change.dtype).tiny)
    return share.clamp(0, 1)
