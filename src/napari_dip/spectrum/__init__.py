"""What we observe: which frequency bands were learned, how blurred and how sharp the image is. Pure functions."""

from __future__ import annotations

import torch

_GREY = (0.2989, 0.5870, 0.1140)


def to_grey(image: torch.Tensor) -> torch.Tensor:
    """Return ``(s, 1 or 3, h, w)`` images as ``(s, h, w)``, with 0.2989 R + 0.5870 G + 0.1140 B."""
    if image.shape[1] == 1:
        return image[:, 0]
    return torch.tensordot(image, image.new_tensor(_GREY), dims=([1], [0]))
