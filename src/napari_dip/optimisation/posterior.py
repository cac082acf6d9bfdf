"""Samples of the posterior, drawn by Langevin dynamics: their mean is the estimate, their spread its uncertainty."""

from __future__ import annotations

import torch


class PosteriorSamples:
    """Takes one sample at a time and keeps only their mean and variance (Welford 1962).

    Parameters
    ----------
    like : Tensor
        ``(s, c, H, W)``, with the shape, type and device of a sample; each of the s runs has its own samples.

    Attributes
    ----------
    count : int
        Number of samples so far.
    mean : Tensor
        ``(s, c, H, W)``.

    References
    ----------
    Welford: Note on a method for calculating corrected sums of squares and products, Technometrics 4, 1962.
    Cheng, Gadelha, Maji and Sheldon: A Bayesian perspective on the deep image prior, CVPR 2019.
    """

    def __init__(self, like: torch.Tensor) -> None:
        self.count = 0
        self.mean = torch.zeros_like(like)
        self._squares = torch.zeros_like(like)

    def add(self, sample: torch.Tensor) -> None:
        """Take a sample, ``(s, c, H, W)``."""
        self.count += 1
        before = sample - self.mean
        self.mean = self.mean + before / self.count
        self._squares = self._squares + before * (sample - self.mean)

    @property
    def variance(self) -> torch.Tensor:
        """The variance of each run's samples, ``(s, c, H, W)``; needs at least two."""
        return self._squares / (self.count - 1)
