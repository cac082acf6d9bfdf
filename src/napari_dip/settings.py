"""All settings of a restoration in one frozen object, and the named presets."""

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
    """How to restore an image. The defaults measured best for a user who changes nothing.

    Attributes
    ----------
    seed : int
        Seed for everything random: initial weights, network input, held-out pixels.
    device : str
        ``"auto"`` (CUDA, then MPS, then another accelerator, then CPU) or a torch device name. The device is first
        checked against the CPU. If it fails, ``"auto"`` uses the CPU instead; a named device is refused.
    precision : {"auto", "bfloat16", "float32"}
        Arithmetic of the convolutions; means, loss and optimiser always use float32.
    network : {"decoder", "encoder_decoder", "conv_net"}
        Which network of Fig. 2.
    width : int or "auto"
        Channels of every hidden layer. ``"auto"`` is 64, but 32 where partners help to remove noise, or similar blocks
        to fill in narrow gaps: there 32, with all of the patience in the second case, measured as good in less time.
    levels : int or "auto"
        Number of x2 upsamplings; the sides of the Decoder's input are the image's divided by 2**levels. ``"auto"`` is
        5, or more if a hole is so wide that a whole pixel of the input would lie within it.
    convolutions_per_level : int
        Convolutions after each upsampling.
    stem_convolutions : int
        Convolutions before the first upsampling (Decoder, ConvNet); may be 0.
    skip_channels : int
        Channels that the Encoder-Decoder's skip connections carry at each level; 0 for none.
    kernel_size : int
        Side of the convolution kernels, odd; 1 for the deep decoder.
    input_kind : {"fourier", "uniform"}
        The fixed random input z: sines and cosines of random phases (published implementation)
        or uniform noise in [0, 0.1] (paper).
    input_channels : int
        Channels of z.
    runs : int
        Independent networks (seeds) trained side by side; their mean is the estimate.
    normalisation : {"lipschitz", "batch"}
        Mean-only normalisation (Eq. 5) or batch normalisation (no control, Eq. 4).
    lipschitz_bound : float, "auto" or None
        λ of Eq. 5: no hidden convolution has a larger spectral norm. ``"auto"`` starts tight and is relaxed a little at
        every step, while the held-out pixels judge; None leaves the norms free.
    upsampling : {"bilinear", "gaussian", "nearest"}
        The interpolation after each x2 expansion.
    gaussian_sigma : float
        σ of Eq. 6, in pixels of the smaller image; 0 for a bed of nails. Used by ``upsampling="gaussian"``.
    gaussian_kernel_size : int
        Side of the Gaussian's kernel in pixels of the larger image, odd.
    optimiser : {"muon", "adam"}
        What updates the convolution kernels: Muon, whose steps have a spectral norm of about the learning rate, or
        Adam (published implementation). Adam always updates biases and head.
    learning_rate : float or "auto"
        For the kernels. Muon's is in the units of λ; Adam, beside it, uses a fifth of it for the rest. ``"auto"``: 0.02
        for Muon (0.01 if the image's own pixels were not measured: JPEG, super-resolution); 0.004 for Adam.
    momentum : float
        For Muon.
    second_moment_decay : float
        β2 of Adam. With 0.99, instead of its authors' 0.999, steps shrink at once when gradients grow: the loss does
        not spike, and the fit does not collapse as λ rises.
    input_noise : float
        Standard deviation of the fresh noise added to z at every step (Ulyanov et al. denoise with 1/30); 0 for none.
    weight_noise : float
        Standard deviation, in learning rates, of the noise added to the convolution kernels after every step:
        stochastic gradient Langevin dynamics (Cheng et al.); 0 for none. Above 0, the estimate is the mean of the
        posterior's samples.
    weight_decay : float
        For the weights that Adam updates: the Gaussian prior that Langevin dynamics assumes.
    burn_in : int
        Steps before the first sample of the posterior; samples are 50 steps apart.
    averaging : float or "auto"
        Decay per step of the running mean of the outputs; 0 for no averaging. ``"auto"``: 0.98, but 0.9 where partners
        help to remove noise: there the network is at its best within 50 steps, and an older mean lags behind.
    partner : bool
        Whether classical methods help, as far as that lowers the error on held-out pixels. For denoising: filters that
        use the network's output as their pilot. For inpainting: the residual of the known pixels is continued smoothly
        between them, and where these are kept, similar blocks of the image complete one another.
    remove_stripes : bool
        Whether offsets that whole rows or columns share, as from a camera's readout, are taken out before an image is
        denoised or deconvolved, if they are stronger than chance explains.
    held_out : float or "auto"
        Share of the known pixels that the fit never sees and that judge it. ``"auto"``: 0.05 for single pixels, 0.15
        for squares. A JPEG is judged by its quantisation instead.
    held_out_side : int or "auto"
        Side of the squares in which pixels are held out, smaller where there is no room. ``"auto"``: 1, single pixels;
        with wide holes, 0.8 of their width, so that held-out pixels are as hard to guess as missing ones.
    stopping : {"auto", "ratio", "fixed"}
        ``"auto"``: stop when the held-out error no longer falls (for a JPEG: when its quantisation explains the
        remaining error); ``"ratio"``: when the blurriness/sharpness ratio no longer changes (Eq. 8); ``"fixed"``: run
        to ``step_limit``.
    patience : int
        ``"auto"`` stops after this many steps without a smaller held-out error; where similar blocks fill in pixels and
        single pixels are held out, without a significant gain; where partners help to remove noise, after 0.4 of it
        without a significant gain. Where a blur is taken out, a gain must also be a fifth of the error above the noise.
    wait_for_prior : bool
        Whether ``"auto"`` also waits for the error of the network alone, which partners may outdo at first. Without
        effect where only a significant gain counts.
    ratio_window, ratio_threshold : int, float
        n (in steps) and ε of Eq. 8.
    step_limit : int
        Maximum steps; for the task "enhance" also those of the smoothing that it consists of.
    chosen_step : int or None
        End at this step and return its estimate, whatever the held-out pixels say. This repeats a moment that someone
        chose.
    snapshots : int
        Maximum number of evenly spaced moments to keep besides the chosen step (``Restoration.moments``), to look at
        after the run; 0 for none.
    report_every : int
        Steps between two reports; the run is measured, and may stop, only at reports. Where partners help, there is one
        after the first step, too.
    bands : int
        Number of frequency bands of Eq. 1.
    keep_known : bool
        For inpainting and super-resolution. True: the result keeps the known pixels, or shrinks to the small image.
        False: the network draws them too, which is better if they are noisy.
    smoothed, detail_enhanced : bool
        Whether to return these outputs too.
    uncertainty : bool
        Whether to estimate the uncertainty of each pixel; takes four runs unless ``runs`` says otherwise.
        The task "enhance" has none.
    residual : bool
        Whether to return what was removed.
    smoothed_lipschitz_bound : float
        The small λ of the smoothed image.
    smoothed_steps : int
        Steps of the fit that yields the smoothed image.
    detail_amount : float
        The detail-enhanced image is restored + ``detail_amount`` * (restored - smoothed).
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
    averaging: Annotated[float | Literal["auto"], _Decay] = "auto"
    partner: bool = True
    remove_stripes: bool = True
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
                f"report_every is {self.report_every}, longer than the ratio_window of {self.ratio_window} steps, and "
                "the ratio is measured only at reports; give a smaller report_every."
            )
        if self.stopping == "auto" and self.held_out == 0:
            raise ValueError('stopping="auto" needs held-out pixels; give held_out above 0, or another stopping rule.')
        if self.weight_noise and self.step_limit < self.burn_in + _STEPS_FOR_TWO_SAMPLES:
            raise ValueError(
                f"Langevin dynamics draws its samples after the burn_in of {self.burn_in} steps, 50 steps apart, and a "
                f"step_limit of {self.step_limit} allows fewer than two; give a larger step_limit or a smaller burn_in."
            )

    @property
    def networks(self) -> int:
        """How many networks are trained: ``runs``, but four for an uncertainty if ``runs`` is 1."""
        return _RUNS_FOR_UNCERTAINTY if self.uncertainty and self.runs == 1 else self.runs

    def choose_width(self, *, partner: bool) -> int:
        """Return the width in channels; ``"auto"`` is narrower where a partner does much of the work."""
        if self.width != "auto":
            return self.width
        return _WIDTH_WITH_PARTNER if partner else _WIDTH

    def expect_width(self, task: Task) -> int:
        """Return the width in channels that a task usually takes: wide holes take more where it is ``"auto"``."""
        fills_gaps = task.needs_mask and self.keeps_known(task)
        return self.choose_width(partner=self.partner and (task.noise_is_independent or fills_gaps))

    def keeps_known(self, task: Task) -> bool:
        """Return whether the result must agree with the known pixels: if asked for, and where a run only smooths."""
        return (task.keeps_known and self.keep_known) or not task.removes_noise

    def for_task(self, task: Task) -> Settings:
        """Return the settings for a task: a run that only smooths needs one narrow network."""
        if task.removes_noise:
            return self
        return replace(self, width=self.choose_width(partner=True), uncertainty=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings stored in a record; missing ones take their defaults.

        Raises
        ------
        ValueError
            If a setting is unknown to this version, or a value is invalid.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"{show(values)} cannot be read as settings; give a name and a value for each.")
        unknown = [name for name in values if name not in _RULES]
        if unknown:
            raise ValueError(f"there is no setting {show(unknown[0], quoted=False)} in this version of napari-dip.")
        return cls(**values)

    @classmethod
    def preset(cls, name: str) -> Settings:
        """Return a named set of settings.

        Parameters
        ----------
        name : str
            ``"default"``; ``"fast"`` (a narrower network, less patience); ``"best"`` (four networks
            averaged).
            From Shi et al. 2022: ``"published"`` (the authors' code for denoising: width 128, λ = 1.4, learning rate
            0.001, 10,000 steps, no automatic stop); ``"paper"`` (one convolution per level, Gaussian upsampling, λ = 2,
            ratio stop).
            Rival methods: ``"deep_image_prior"`` (Ulyanov et al. 2018: Encoder-Decoder, batch normalisation, no bound,
            input noise, output averaging, 3,000 steps); ``"deep_decoder"`` (Heckel and Hand 2019: 1x1 convolutions, few
            weights); ``"gp_dip"`` (Cheng et al. 2019: the network of Ulyanov et al. trained by Langevin dynamics; the
            posterior's mean is the estimate, its standard deviation the uncertainty).

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
            "remove_stripes": False,
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
    """The settings that depend on the measurement, with every "auto" resolved to a number.

    Attributes
    ----------
    levels, width, runs, held_out, held_out_side, learning_rate, averaging
        As in ``Settings``.
    """

    levels: int
    width: int
    runs: int
    held_out: float
    held_out_side: int
    learning_rate: float
    averaging: float

    def put_into(self, settings: Settings) -> Settings:
        """Return the settings with these numbers."""
        return replace(settings, **asdict(self))


def find_bounds(name: str) -> Bounds:
    """Return the bounds of a numeric field of ``Settings``.

    Raises
    ------
    KeyError
        If the field takes no numbers.
    """
    bounds = _RULES[name].bounds
    if bounds is None:
        raise KeyError(f"{name} takes no numbers")
    return bounds


_RULES = read_rules(Settings)
