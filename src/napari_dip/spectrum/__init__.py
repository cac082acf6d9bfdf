"""What we observe: which frequency bands have been learned, how blurry and how sharp the image is. Pure functions."""

from __future__ import annotations

import torch

_GREY = (0.2989, 0.5870, 0.1140)


def to_grey(image: torch.Tensor) -> torch.Tensor:
    """Return ``(s, c, h, w)`` images as ``(s, h, w)``: 0.2989 R + 0.5870 G + 0.1140 B for RGB, otherwise the mean."""
    if image.shape[1] != len(_GREY):
        return image[:, 0] if image.shape[1] == 1 else image.mean(dim=1)
    grey: torch.Tensor = torch.tensordot(image, image.new_tensor(_GREY), dims=([1], [0]))
    return grey
