"""Every choice of a restoration, in one frozen object, and its named presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from .setting_rules import Bounds, read_rules, show

if TYPE_CHECKING:
    from .measurement.task import Task

PRESETS = ("default", "fast", "best", "published", "paper", "deep_image_prior", "deep_decoder", "gp_dip")

_STEPS_FOR_TWO_SAMPLES = 100
_RUNS_FOR_UNCERTAINTY = 4
_WIDTH, _WIDTH_WITH_PARTNER = 64, 32  # of width="auto"

_Count = Annotated[int, Bounds(1, 1_000_000)]  # of steps
_Lambda = Bounds(0.01, 100)
_Decay = Bounds(0, 0.9999)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to restore. The defaults are what measured best when the user touches nothing.

    Attributes
    ----------
    seed : int
        Seed of everything random: initial weights, network input, held-out pixels.
    device : str
        ``"auto"`` (CUDA, then MPS, then another accelerator, then CPU) or a torch device name. It is first
        checked against the CPU: one that fails is left for the CPU (``"auto"``) or refused.
    precision : {"auto", "bfloat16", "float32"}
        Arithmetic of the convolutions; means, loss and optimiser are float32 always.
    network : {"decoder", "encoder_decoder", "conv_net"}
        Which of the networks of Fig. 2.
    width : int or "auto"
        Channels of every hidden layer. ``"auto"`` is 64, and 32 where noise is removed with a partner's help: there it
        measured as good in half the time.
    levels : int or "auto"
        Number of x2 upsamplings; the Decoder's input has 1 / 2**levels of the image's side. ``"auto"`` is 5, and more
        where a hole is so wide that one pixel of the input would lie wholly within it.
    convolutions_per_level : int
        Convolutions after each upsampling.
    stem_convolutions : int
        Convolutions before the first upsampling (Decoder, ConvNet); may be 0.
    skip_channels : int
        Channels that the Encoder-Decoder carries across each level; 0 for none.
    kernel_size : int
        Side of the convolution kernels, odd; 1 for the deep decoder.
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
        σ of Eq. 6, in pixels of the smaller image, 0 for a bed of nails; used by ``upsampling="gaussian"``.
    gaussian_kernel_size : int
        Side of its kernel in pixels of the larger image, odd.
    optimiser : {"muon", "adam"}
        What updates the convolution kernels: Muon, whose steps have a spectral norm of about the learning rate, or
        Adam (published implementation). Biases and head are Adam's always.
    learning_rate : float or "auto"
        Of the kernels. Muon's is in the units of λ, and Adam's for the rest a fifth of it. ``"auto"``: 0.02 for Muon
        (0.01 where the pixels were not measured themselves: JPEG, super-resolution); 0.004 for Adam.
    momentum : float
        Of Muon.
    second_moment_decay : float
        β2 of Adam. At 0.99, instead of its authors' 0.999, steps shrink at once when gradients grow: the loss does not
        spike, and the fit does not collapse as λ rises.
    input_noise : float
        Deviation of the noise added to z anew at every step (Ulyanov et al.: 1/30 to denoise); 0 for none.
    weight_noise : float
        Deviation, in learning rates, of the noise added to the convolution kernels after every step: stochastic
        gradient Langevin dynamics (Cheng et al.); 0 for none. Above 0 the estimate is the mean of the posterior's
        samples.
    weight_decay : float
        Of Adam, for all that it updates: the Gaussian prior on the weights that Langevin dynamics presumes.
    burn_in : int
        Steps before the first sample of the posterior; 50 steps lie between two samples.
    averaging : float
        Decay per step of the running mean of the outputs, 0 for none.
    partner : bool
        Whether classical methods help, as far as the held-out pixels say that they do. To denoise: non-local means and
        an empirical Wiener filter whose pilot is the prior's output. To inpaint: what the fit leaves of the known
        pixels is continued between them.
    held_out : float or "auto"
        Share of the known pixels that the fit never sees and that judge it. ``"auto"``: 0.05, of squares 0.15. A JPEG
        is judged by its quantisation instead.
    held_out_side : int or "auto"
        They are left out in squares of that side, or smaller where there is no room. ``"auto"``: single pixels; beside
        wide holes squares of 0.8 of their width, so that what judges the fit is as hard to guess as what is missing.
    stopping : {"auto", "ratio", "fixed"}
        ``"auto"``: the held-out error no longer falls (of a JPEG: its quantisation explains what is left);
        ``"ratio"``: the blur/sharpness ratio no longer changes (Eq. 8); ``"fixed"``: run to ``step_limit``.
    patience : int
        Steps without a smaller held-out error after which ``"auto"`` stops.
    wait_for_prior : bool
        Whether it waits for the error of the prior alone, too, which partners may outdo at first.
    ratio_window, ratio_threshold : int, float
        n (in steps) and ε of Eq. 8.
    step_limit : int
        Never more steps than this.
    chosen_step : int or None
        End at this step and return its estimate, whatever the held-out pixels say: it repeats a moment that was chosen
        by hand.
    snapshots : int
        How many moments of the run are kept at most, to be looked at when it is over (``Restoration.moments``): evenly
        spaced, and the step that was chosen; 0 for none.
    report_every : int
        Steps between two reports; measures and stopping rules run at reports only.
    bands : int
        Number of frequency bands of Eq. 1.
    keep_known : bool
        Inpainting and super-resolution: return the known pixels as given, and a large image that shrinks to the small
        one (True); or both as the network draws them (False), which is better where they are noisy.
    smoothed, detail_enhanced : bool
        Whether to make these outputs too.
    uncertainty : bool
        Whether to tell how uncertain each pixel is; takes four runs unless ``runs`` says otherwise.
    residual : bool
        Whether to return what was taken away.
    smoothed_lipschitz_bound : float
        The small λ that the smoothed image is held to.
    smoothed_steps : int
        Steps of the fit that makes the smoothed image.
    detail_amount : float
        How much of (restored - smoothed) is added to make the detail-enhanced image.
    """

    seed: Annotated[int, Bounds(0, 2**64 - 1)] = 0  # what torch's generators take
    device: str = "auto"
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    network: Literal["decoder", "encoder_decoder", "conv_net"] = "decoder"
    width: Annotated[int | Literal["auto"], Bounds(1, 1024)] = "auto"
    levels: Annotated[int | Literal["auto"], Bounds(1, 10)] = "auto"
    convolutions_per_level: Annotated[int, Bounds(1, 16)] = 2
    stem_convolutions: Annotated[int, Bounds(0, 16)] = 2
    skip_channels: Annotated[int, Bounds(0, 1024)] = 0
    kernel_size: Annotated[int, Bounds(1, 15, step=2)] = 3
    input_kind: Literal["fourier", "uniform"] = "fourier"
    input_channels: Annotated[int, Bounds(2, 1024, step=2)] = 32
    runs: Annotated[int, Bounds(1, 64)] = 1
    normalisation: Literal["lipschitz", "batch"] = "lipschitz"
    lipschitz_bound: Annotated[float | Literal["auto"] | None, _Lambda] = "auto"
    upsampling: Literal["bilinear", "gaussian", "nearest"] = "bilinear"
    gaussian_sigma: Annotated[float, Bounds(0, 10)] = 0.5
    gaussian_kernel_size: Annotated[int, Bounds(1, 41, step=2)] = 5
    optimiser: Literal["muon", "adam"] = "muon"
    learning_rate: Annotated[float | Literal["auto"], Bounds(1e-7, 10)] = "auto"
    momentum: Annotated[float, _Decay] = 0.95
    second_moment_decay: Annotated[float, Bounds(0.001, 0.9999)] = 0.99
    input_noise: Annotated[float, Bounds(0, 10)] = 0.0
    weight_noise: Annotated[float, Bounds(0, 100)] = 0.0
    weight_decay: Annotated[float, Bounds(0, 1)] = 0.0
    burn_in: Annotated[int, Bounds(0, 1_000_000)] = 0
    averaging: Annotated[float, _Decay] = 0.98
    partner: bool = True
    held_out: Annotated[float | Literal["auto"], Bounds(0, 0.5)] = "auto"
    held_out_side: Annotated[int | Literal["auto"], Bounds(1, 1_000_000)] = "auto"
    stopping: Literal["auto", "ratio", "fixed"] = "auto"
    patience: _Count = 100
    wait_for_prior: bool = True
    ratio_window: _Count = 100
    ratio_threshold: Annotated[float, Bounds(1e-9, 100)] = 0.01
    step_limit: _Count = 1000
    chosen_step: Annotated[int | None, Bounds(1, 1_000_000)] = None
    snapshots: Annotated[int, Bounds(0, 1000)] = 0
    report_every: _Count = 10
    bands: Annotated[int, Bounds(1, 50)] = 5
    keep_known: bool = True
    smoothed: bool = False
    detail_enhanced: bool = False
    uncertainty: bool = False
    residual: bool = False
    smoothed_lipschitz_bound: Annotated[float, _Lambda] = 1.0
    smoothed_steps: _Count = 150
    detail_amount: Annotated[float, Bounds(0, 100)] = 1.0

    def __post_init__(self) -> None:
        for name, rule in _RULES.items():
            object.__setattr__(self, name, rule.check(name, getattr(self, name)))
        if self.chosen_step is not None and self.chosen_step > self.step_limit:
            raise ValueError(
                f"chosen_step is {self.chosen_step}, beyond the step_limit of {self.step_limit}; give a smaller step."
            )
        if self.stopping == "ratio" and self.report_every > self.ratio_window:
            raise ValueError(
                f"report_every is {self.report_every}, more than the ratio_window of {self.ratio_window} steps: "
                "the ratio is taken at reports, give a smaller report_every."
            )
        if self.stopping == "auto" and self.held_out == 0:
            raise ValueError('stopping="auto" watches held-out pixels; give held_out above 0, or another stopping.')
        if self.weight_noise and self.step_limit < self.burn_in + _STEPS_FOR_TWO_SAMPLES:
            raise ValueError(
                f"Langevin dynamics draws its samples after the burn_in of {self.burn_in} steps, 50 steps apart; with "
                f"a step_limit of {self.step_limit} there are not two: give more steps or a smaller burn_in."
            )

    @property
    def networks(self) -> int:
        """How many networks are trained: ``runs``, or four for an uncertainty, which one alone cannot tell."""
        return _RUNS_FOR_UNCERTAINTY if self.uncertainty and self.runs == 1 else self.runs

    def width_where(self, *, helped: bool) -> int:
        """Return the channels; ``"auto"`` is narrower where a partner helps to denoise."""
        if self.width != "auto":
            return self.width
        return _WIDTH_WITH_PARTNER if helped else _WIDTH

    def for_task(self, task: Task) -> Settings:
        """Return the settings with which a task is done: a run that only smooths is as smooth with a narrow network."""
        return self if task.removes_noise else replace(self, width=self.width_where(helped=True))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings that a record holds; what it does not mention has its default.

        Raises
        ------
        ValueError
            If it holds a setting that this version does not know, or a value that cannot be used.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"{show(values)} are no settings; give the name and the value of each.")
        unknown = [name for name in values if name not in _RULES]
        if unknown:
            raise ValueError(f"there is no setting {show(unknown[0], quoted=False)} in this version of napari-dip.")
        return cls(**values)

    @classmethod
    def preset(cls, name: str) -> Settings:
        """Return the settings known by a name.

        Parameters
        ----------
        name : str
            ``"default"``; ``"fast"`` (a narrower network, less patience); ``"best"`` (four networks
            averaged).
            Of Shi et al. 2022: ``"published"`` (the authors' code as it denoises: width 128, λ = 1.4, learning rate
            0.001, 10,000 steps, no automatic stop); ``"paper"`` (one convolution per level, Gaussian upsampling, λ = 2,
            ratio stop).
            The rivals: ``"deep_image_prior"`` (Ulyanov et al. 2018: Encoder-Decoder, batch normalisation, no bound,
            input noise, output averaging, 3,000 steps); ``"deep_decoder"`` (Heckel and Hand 2019: 1x1 convolutions, few
            weights); ``"gp_dip"`` (Cheng et al. 2019: the network of Ulyanov et al. by Langevin dynamics; the mean of
            the posterior is the estimate, its deviation the uncertainty).

        Raises
        ------
        ValueError
            If there is no such preset.
        """
        default = cls()
        authors: dict[str, Any] = {
            "width": 128,
            "levels": 5,
            "optimiser": "adam",
            "learning_rate": 0.001,
            "second_moment_decay": 0.999,
            "averaging": 0.0,
            "partner": False,
            "held_out": 0.0,
            "stopping": "fixed",
            "step_limit": 10_000,
        }
        uncontrolled: dict[str, Any] = authors | {
            "lipschitz_bound": None,
            "normalisation": "batch",
            "convolutions_per_level": 1,
            "input_kind": "uniform",
            "learning_rate": 0.01,
        }
        ulyanov: dict[str, Any] = uncontrolled | {
            "network": "encoder_decoder",
            "skip_channels": 4,
            "input_noise": 1 / 30,
            "averaging": 0.99,
            "step_limit": 3000,
        }
        match name:
            case "default":
                return default
            case "fast":
                return replace(default, width=32, patience=50, wait_for_prior=False, step_limit=300)
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
                return replace(default, **ulyanov)
            case "deep_decoder":
                alone = {"kernel_size": 1, "stem_convolutions": 0, "input_channels": 128, "step_limit": 3000}
                return replace(default, **uncontrolled | alone)
            case "gp_dip":
                langevin = {"weight_noise": 2.0, "weight_decay": 5e-8, "burn_in": 7000, "step_limit": 20_000}
                return replace(default, **ulyanov | langevin)
        raise ValueError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What every "auto" of some settings becomes that depends on the measurement.

    Attributes
    ----------
    levels, width, runs, held_out, held_out_side, learning_rate
        As ``Settings`` has them, in numbers.
    """

    levels: int
    width: int
    runs: int
    held_out: float
    held_out_side: int
    learning_rate: float

    def put_into(self, settings: Settings) -> Settings:
        """Return the settings with these numbers."""
        return replace(settings, **asdict(self))


def find_bounds(name: str) -> Bounds:
    """Return the numbers that a field of ``Settings`` takes.

    Raises
    ------
    KeyError
        If it takes no numbers.
    """
    bounds = _RULES[name].bounds
    if bounds is None:
        raise KeyError(f"{name} takes no numbers")
    return bounds


_RULES = read_rules(Settings)
