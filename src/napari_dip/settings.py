"""Every choice of a restoration, in one frozen object, and its named presets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

PRESETS = ("default", "fast", "best", "published", "paper", "deep_image_prior")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to restore. The defaults are what measured best when the user touches nothing.

    Attributes
    ----------
    seed : int
        Seed of everything random: initial weights, network input, held-out pixels.
    device : str
        ``"auto"`` (CUDA, then MPS, then CPU) or a torch device name.
    precision : {"auto", "bfloat16", "float32"}
        Arithmetic of the convolutions; means, loss and optimiser are float32 always.
    width : int
        Channels of every hidden layer.
    levels : int
        Number of x2 upsamplings; the network input has 1 / 2**levels of the image's side.
    convolutions_per_level : int
        3x3 convolutions after each upsampling.
    stem_convolutions : int
        3x3 convolutions before the first upsampling.
    input_kind : {"fourier", "uniform"}
        The fixed random input z: sines and cosines of random phases (published implementation)
        or uniform noise in [0, 0.1] (paper).
    input_channels : int
        Depth of z.
    runs : int
        Independent networks (seeds) trained side by side; their mean is the estimate.
    normalisation : {"lipschitz", "batch"}
        Mean-only normalisation (Eq. 5) or batch normalisation (no control, Eq. 4).
    lipschitz_bound : float, "auto" or None
        λ of Eq. 5: the spectral norm that no hidden convolution exceeds. ``"auto"`` starts hard and
        relaxes with the steps while the held-out pixels watch; None leaves the norms free.
    upsampling : {"bilinear", "gaussian", "nearest"}
        The interpolation after each x2 expansion.
    gaussian_sigma : float
        σ of Eq. 6, in pixels of the smaller image; used by ``upsampling="gaussian"``.
    learning_rate : float
        Of Adam.
    averaging : float
        Decay per step of the running mean of the outputs, 0 for none.
    held_out : float
        Share of the known pixels that the fit never sees and that judge it.
    stopping : {"auto", "ratio", "fixed"}
        ``"auto"``: the held-out error no longer falls; ``"ratio"``: the blur/sharpness ratio no longer
        changes (Eq. 8); ``"fixed"``: run to ``step_limit``.
    patience : int
        Steps without a smaller held-out error after which ``"auto"`` stops.
    ratio_window, ratio_threshold : int, float
        n (in steps) and ε of Eq. 8.
    step_limit : int
        Never more steps than this.
    report_every : int
        Steps between two reports; measures and stopping rules run at reports only.
    bands : int
        Number of frequency bands of Eq. 1.
    keep_known : bool
        Inpainting: return the known pixels as given (True) or as the network draws them (False).
    smoothed, detail_enhanced : bool
        Whether to make these outputs too.
    smoothed_lipschitz_bound : float
        The small λ that the smoothed image is held to.
    smoothed_steps : int
        Steps of the fit that makes the smoothed image.
    detail_amount : float
        How much of (restored - smoothed) is added to make the detail-enhanced image.
    """

    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    width: int = 64
    levels: int = 5
    convolutions_per_level: int = 2
    stem_convolutions: int = 2
    input_kind: Literal["fourier", "uniform"] = "fourier"
    input_channels: int = 32
    runs: int = 1
    normalisation: Literal["lipschitz", "batch"] = "lipschitz"
    lipschitz_bound: float | Literal["auto"] | None = "auto"
    upsampling: Literal["bilinear", "gaussian", "nearest"] = "bilinear"
    gaussian_sigma: float = 0.5
    learning_rate: float = 0.003
    averaging: float = 0.98
    held_out: float = 0.05
    stopping: Literal["auto", "ratio", "fixed"] = "auto"
    patience: int = 300
    ratio_window: int = 100
    ratio_threshold: float = 0.01
    step_limit: int = 3000
    report_every: int = 10
    bands: int = 5
    keep_known: bool = True
    smoothed: bool = False
    detail_enhanced: bool = False
    smoothed_lipschitz_bound: float = 1.0
    smoothed_steps: int = 300
    detail_amount: float = 1.0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("precision", ("auto", "bfloat16", "float32")),
            ("input_kind", ("fourier", "uniform")),
            ("normalisation", ("lipschitz", "batch")),
            ("upsampling", ("bilinear", "gaussian", "nearest")),
            ("stopping", ("auto", "ratio", "fixed")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(allowed)}.")
        for name in (
            "width", "levels", "convolutions_per_level", "stem_convolutions", "runs", "step_limit",
            "report_every", "bands", "smoothed_steps", "patience", "ratio_window",
        ):  # fmt: skip
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; give a whole number of at least 1.")
        for name in ("learning_rate", "smoothed_lipschitz_bound", "ratio_threshold"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)!r}; give a number above 0.")
        if self.input_channels < 2 or self.input_channels % 2:
            raise ValueError(f"input_channels is {self.input_channels!r}; give an even number of at least 2.")
        if not 0 <= self.averaging < 1:
            raise ValueError(f"averaging is {self.averaging!r}; give a number from 0 up to, but below, 1.")
        if not 0 <= self.held_out <= 0.5:
            raise ValueError(f"held_out is {self.held_out!r}; give a share from 0 to 0.5.")
        if self.gaussian_sigma < 0:
            raise ValueError(f"gaussian_sigma is {self.gaussian_sigma!r}; give 0 or more.")
        if self.stopping == "auto" and self.held_out == 0:
            raise ValueError('stopping="auto" watches held-out pixels; give held_out above 0, or another stopping.')
        bound = self.lipschitz_bound
        if isinstance(bound, str):
            if bound != "auto":
                raise ValueError(f'lipschitz_bound is {bound!r}; give a number above 0, "auto" or None.')
        elif bound is not None and not bound > 0:
            raise ValueError(f'lipschitz_bound is {bound!r}; give a number above 0, "auto" or None.')

    @classmethod
    def preset(cls, name: str) -> Settings:
        """Return the settings known by a name.

        Parameters
        ----------
        name : str
            ``"default"``; ``"fast"`` (a narrower network, larger steps); ``"best"`` (four networks averaged);
            ``"published"`` (the authors' code as it denoises: width 128, λ = 1.4, learning rate 0.001, 10,000 steps, no
            automatic stop); ``"paper"`` (one convolution per level, Gaussian upsampling, λ = 2, ratio stop);
            ``"deep_image_prior"`` (no control: batch normalisation, no bound, 3,000 steps).

        Raises
        ------
        ValueError
            If there is no such preset.
        """
        default = cls()
        authors: dict[str, Any] = {
            "width": 128,
            "learning_rate": 0.001,
            "averaging": 0.0,
            "held_out": 0.0,
            "stopping": "fixed",
            "step_limit": 10_000,
        }
        match name:
            case "default":
                return default
            case "fast":
                return replace(default, width=32, learning_rate=0.005, patience=150)
            case "best":
                return replace(default, runs=4)
            case "published":
                return replace(default, **authors, lipschitz_bound=1.4)
            case "paper":
                return replace(
                    default, **{**authors, "stopping": "ratio"}, lipschitz_bound=2.0,
                    convolutions_per_level=1, stem_convolutions=1, input_kind="uniform", upsampling="gaussian",
                )  # fmt: skip
            case "deep_image_prior":
                return replace(default, **{**authors, "step_limit": 3000}, lipschitz_bound=None, normalisation="batch")
        raise ValueError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
