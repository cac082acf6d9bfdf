"""Draw the paper's Figures 3-7 and 16 from our own runs, one PNG each.

    python tests/benchmark/figures.py OUT [--image FILE] [--figure 3|4|5|6|7|16] [--size N] [--width N] [--steps N]

Without --image it is the cameraman that scikit-image ships. Every finished run is kept under OUT/runs; started again,
the script goes on where it ended. Without a GPU: --size 128 --width 64 --steps 1500, about a minute a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from degradations import Case, compressed, holed, noisy, read
from matplotlib.figure import Figure
from rich.progress import track
from skimage import data, io

import napari_dip
from napari_dip.optimisation.estimate import Measures
from napari_dip.optimisation.stopping import RatioRule
from napari_dip.spectrum.band_figure import band_colours, band_names

DEGRADED = [
    ("noise, σ = 25", noisy, 25), ("noise, σ = 50", noisy, 50), ("JPEG, quality 10", compressed, 10),
    ("JPEG, quality 20", compressed, 20), ("hole, 0.1", holed, 0.1), ("hole, 0.25", holed, 0.25),
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Panel:
    """One run, and what is drawn of it."""

    title: str
    settings: napari_dip.Settings
    degradation: Callable[[Path, int | None, float], Case] = noisy
    level: float = 25


def panels(figure: int, base: argparse.Namespace) -> list[Panel]:
    """The runs of one figure."""

    def preset(name: str, **changes: object) -> napari_dip.Settings:
        settings = napari_dip.Settings.preset(name)
        return dataclasses.replace(
            settings, width=base.width, step_limit=base.steps, stopping="fixed", device=base.device, **changes
        )

    plain = {"input_noise": 0.0, "averaging": 0.0, "skip_channels": 0, "learning_rate": 0.001}
    match figure:
        case 3:
            return [Panel(title, preset("deep_image_prior", **plain), degradation, level)
                    for title, degradation, level in DEGRADED]  # fmt: skip
        case 4:
            return [Panel(title, preset("deep_image_prior", **plain, network=network))
                    for title, network in (("Decoder", "decoder"), ("ConvNet", "conv_net"))]  # fmt: skip
        case 5:
            return [
                Panel("no bound (batch normalisation)", preset("paper", lipschitz_bound=None, normalisation="batch")),
                *(Panel(f"λ = {bound:g}", preset("paper", lipschitz_bound=bound)) for bound in (1.0, 2.0, 3.0)),
            ]
        case 6:
            return [Panel(f"σ = {sigma:g}", preset("paper", gaussian_sigma=sigma)) for sigma in (0.0, 0.5, 1.0)]
        case 7:
            return [Panel(title, preset("published", lipschitz_bound=1.2), degradation, level)
                    for title, degradation, level in DEGRADED]  # fmt: skip
    raise ValueError(figure)


def run(panel: Panel, image: Path, base: argparse.Namespace, folder: Path) -> dict[str, list]:
    """The curves of one run, taken from the folder if it is there."""
    settings = "".join(f"{name}={value}," for name, value in dataclasses.asdict(panel.settings).items())
    key = f"{image.stem} {base.size} {panel.degradation.__name__} {panel.level:g} {settings}"
    path = folder / f"{abs(hash_text(key)):016x}.json"
    if path.exists():
        return json.loads(path.read_text())
    case = panel.degradation(image, base.size, panel.level)
    # the paper's data term is the squared error everywhere
    task = "denoise" if case.task == "deblock" else case.task
    curves: dict[str, list] = {"step": [], "bands": [], "psnr": [], "ratio": []}
    for progress in napari_dip.restore_steps(
        case.degraded.astype(np.float32), case.mask, task, case.factor, panel.settings
    ):
        curves["step"].append(progress.step)
        curves["bands"].append(progress.band_correspondence.tolist())
        curves["psnr"].append(case.score(progress.estimate))
        curves["ratio"].append(progress.ratio)
    curves["key"] = [key]
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(curves))
    return curves


def hash_text(text: str) -> int:
    """A number that stays the same from one start of Python to the next."""
    import hashlib

    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)


def ratio_stop(curves: dict[str, list], threshold: float) -> int | None:
    """The step at which the paper's rule would have stopped (n = 100)."""
    rule = RatioRule(100, threshold)
    for step, ratio in zip(curves["step"], curves["ratio"], strict=True):
        measures = Measures(
            loss=0, spread=1, held_out_error=None, prior_error=None, discrepancy=None, blurriness=0, sharpness=0,
            ratio=ratio, band_correspondence=(),
        )  # fmt: skip
        if rule.update(step, measures) is not None:
            return step
    return None


def draw(number: int, runs: list[tuple[Panel, dict[str, list]]], path: Path) -> None:
    """One column per run: the bands, under them the PSNR; Figure 7 has the ratio in between."""
    names = ["bands", "ratio", "psnr"] if number == 7 else ["bands", "psnr"]
    figure = Figure(figsize=(3.4 * len(runs), 2.6 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), len(runs), squeeze=False, sharex=True)
    for column, (panel, curves) in enumerate(runs):
        steps, psnr = curves["step"], np.asarray(curves["psnr"])
        best = int(np.argmax(psnr))
        stop = ratio_stop(curves, 0.01) if number == 7 else None
        for row, name in enumerate(names):
            axes = grid[row, column]
            if name == "bands":
                bands = np.asarray(curves["bands"])
                for n, (label, colour) in enumerate(
                    zip(band_names(bands.shape[1]), band_colours(bands.shape[1]), strict=True)
                ):
                    axes.plot(steps, bands[:, n], color=colour, label=label)
                axes.set(ylim=(0, 1.02), title=panel.title)
            else:
                axes.plot(steps, curves[name], color="0.2")
                axes.margins(y=0.1)
                axes.set_yscale("log" if name == "ratio" else "linear")
            axes.axvline(steps[best], color="tab:green", linestyle=":", label="best PSNR")
            if number == 7:  # beyond the end where it never stopped
                axes.axvline(stop or np.nan, color="tab:red", linestyle="--", label="ratio stop")
            if column == 0:
                axes.set_ylabel(
                    {"bands": "band correspondence", "ratio": "blur / sharpness", "psnr": "PSNR (dB)"}[name]
                )
            if name == "psnr":
                text = f"best {psnr[best]:.2f} at {steps[best]}\nlast {psnr[-1]:.2f} at {steps[-1]}"
                if number == 7:
                    at = "never stops" if stop is None else f"stop {psnr[steps.index(stop)]:.2f} at {stop}"
                    text += f"\n{at}"
                behind = {"facecolor": "white", "alpha": 0.8, "linewidth": 0}
                place = {"transform": axes.transAxes, "ha": "right", "va": "bottom", "fontsize": "small"}
                axes.text(0.97, 0.05, text, bbox=behind, **place)
                axes.set_xlabel("step")
                bottom = np.percentile(psnr, 5) - 1
                axes.set_ylim(bottom, psnr.max() + 0.8)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=110)


def draw_enhancement(image: Path, base: argparse.Namespace, path: Path) -> None:
    """Figure 16: the detail-enhanced image over the smoothed one, for three bounds."""
    original = read(image, base.size).astype(np.float32)
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    grid = figure.subplots(2, 4)
    shown = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"}
    for axes in grid.flat:
        axes.axis("off")
    grid[0, 0].imshow(original.astype(np.uint8) if original.ndim == 3 else original, **shown)
    grid[0, 0].set_title("original")
    for column, bound in enumerate((1.0, 2.0, 3.0), start=1):
        settings = dataclasses.replace(
            napari_dip.Settings.preset("paper"), width=base.width, device=base.device, smoothed_lipschitz_bound=bound,
            smoothed_steps=base.steps,
        )  # fmt: skip
        result = napari_dip.restore(original, task="enhance", settings=settings)
        for row, layer in enumerate((result.detail_enhanced, result.smoothed)):
            clipped = np.clip(layer, 0, 255)
            grid[row, column].imshow(clipped.astype(np.uint8) if clipped.ndim == 3 else clipped, **shown)
        left = float(np.sqrt(np.mean((result.smoothed - original) ** 2)))
        grid[0, column].set_title(f"enhanced, λ = {bound:g}")
        grid[1, column].set_title(f"smoothed: {left:.1f} rms taken away")
        print(f"figure 16, λ = {bound:g}: the smoothed image differs from the original by {left:.2f} rms")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Draw the figures that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--figure", type=int, choices=(3, 4, 5, 6, 7, 16), help="default: all")
    parser.add_argument("--size", type=int, help="side of a central crop; default: the whole image")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--device", default="auto")
    base = parser.parse_args()
    base.out.mkdir(parents=True, exist_ok=True)
    image = base.image
    if image is None:
        image = base.out / "camera.png"
        io.imsave(image, data.camera()[60:316, 130:386], check_contrast=False)
    for number in (3, 4, 5, 6, 7, 16) if base.figure is None else (base.figure,):
        path = base.out / f"figure_{number}_{image.stem}.png"
        if number == 16:
            draw_enhancement(image, base, path)
            continue
        runs = [
            (panel, run(panel, image, base, base.out / "runs"))
            for panel in track(panels(number, base), description=f"figure {number}")
        ]
        draw(number, runs, path)
        for panel, curves in runs:
            best = int(np.argmax(curves["psnr"]))
            print(
                f"figure {number}, {panel.title}: best {curves['psnr'][best]:.2f} dB at step {curves['step'][best]}, "
                f"last {curves['psnr'][-1]:.2f}; bands at the best {np.round(curves['bands'][best], 2).tolist()}, "
                f"at the end {np.round(curves['bands'][-1], 2).tolist()}; ratio stop {ratio_stop(curves, 0.01)}"
            )


if __name__ == "__main__":
    main()
