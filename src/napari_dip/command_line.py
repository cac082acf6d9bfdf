"""The command line: napari-dip demo, napari-dip restore."""

from __future__ import annotations

import ast
import dataclasses
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from . import Settings
from .image_files import (
    TIFF_SUFFIXES,
    check_folder,
    check_png,
    read_image,
    read_mask,
    read_quantisation_table,
    write_png,
    write_tiff,
    write_whole,
)
from .measurement.task import TASKS, find_task
from .pace import Pace, say_time_left
from .pixel_type import as_dtype
from .settings import PRESETS

if TYPE_CHECKING:
    from .outcome import Restoration

_HELP = """Restore one image with a controlled deep image prior: no training data, no downloaded weights.

An untrained network is fitted to your image; it learns the picture before the noise, and is stopped in between.
"""

app = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False, rich_markup_mode="markdown")

Preset = StrEnum("Preset", {name: name for name in PRESETS})  # type: ignore[misc]
_DEFAULT_PRESET = Preset("default")


TaskName = StrEnum("TaskName", {name: name for name in TASKS})  # type: ignore[misc]
_DEFAULT_TASK = TaskName("denoise")
PixelType = StrEnum("PixelType", {"float32": "float32", "same": "same"})
_FLOAT32 = PixelType("float32")
_FURTHER_OUTPUTS = ("smoothed", "detail_enhanced", "uncertainty", "residual")  # fields of Settings and of Restoration
_SIGNED_OUTPUTS = ("uncertainty", "residual")  # or small: nothing for a PNG
_SECONDS_BETWEEN_REPORTS = 0.2
_WORDS = {"none": None, "true": True, "false": False}


DeviceOption = Annotated[str, typer.Option(help="auto (CUDA, then MPS, then CPU) or a torch device name.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything random; the same seed repeats the result.")]


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to write the layers and pictures.")] = Path("napari-dip-demo"),
    preset: Annotated[Preset, typer.Option(help="Named settings.")] = _DEFAULT_PRESET,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
) -> None:
    """Add noise to a photograph that scikit-image ships, restore it, and say how well that went."""
    from skimage.metrics import peak_signal_noise_ratio

    from .samples import noisy_photograph

    with _plain_errors():
        sample = noisy_photograph(side=128)
        settings = dataclasses.replace(
            Settings.preset(preset.value), seed=seed, device=device, smoothed=True, detail_enhanced=True
        )
        result = _restore_with_progress(sample.degraded, None, "denoise", settings)
        layers = {"truth": sample.truth, "noisy": sample.degraded} | _outputs(result)
        record = result.record.as_dict()
        for name, image in layers.items():
            if image is not None:
                write_tiff(folder / f"{name}.tif", image.astype(np.float32), record)
        _write_band_figure(folder / "frequency_bands.png", result)
        _write_before_after(folder / "before_after.png", sample.degraded, result.restored, sample.truth)
        before, after = (
            peak_signal_noise_ratio(sample.truth, image, data_range=255) for image in (sample.degraded, result.restored)
        )
        typer.echo(f"PSNR before: {before:.2f} dB, after: {after:.2f} dB (higher is better)")
        typer.echo(f"Written to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


@app.command()
def restore(
    image: Annotated[Path, typer.Argument(metavar="IN", help="TIFF, PNG or JPEG, one plane, grey or RGB.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="TIFF (float32, keeps everything) or PNG (rounded).")],
    task: Annotated[TaskName, typer.Option(help="What is wrong with the image.")] = _DEFAULT_TASK,
    factor: Annotated[int | None, typer.Option(help="Super-resolution: how many times larger.", min=2)] = None,
    mask: Annotated[Path | None, typer.Option(help="Image file; not 0 = missing pixel.")] = None,
    preset: Annotated[Preset, typer.Option(help="Named settings.")] = _DEFAULT_PRESET,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    lipschitz_bound: Annotated[
        float | None, typer.Option(help="The bound λ: smaller is smoother. Default: the preset's.", min=0.01)
    ] = None,
    step_limit: Annotated[int | None, typer.Option(help="Never more steps than this.", min=1)] = None,
    keep_known: Annotated[
        bool,
        typer.Option(help="Inpainting, super-resolution: agree exactly with what is known, or also remove its noise."),
    ] = True,
    smoothed: Annotated[bool, typer.Option("--smoothed", help="Also write OUT_smoothed.")] = False,
    detail_enhanced: Annotated[bool, typer.Option("--detail-enhanced", help="Also write OUT_detail_enhanced.")] = False,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Also write OUT_uncertainty; four runs.")] = False,
    residual: Annotated[bool, typer.Option("--residual", help="Also write OUT_residual: what was taken away.")] = False,
    detail_amount: Annotated[float | None, typer.Option(help="How strongly details are enhanced.")] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, e.g. network=conv_net; repeatable."),
    ] = None,
    dtype: Annotated[
        PixelType, typer.Option(help="Of a TIFF: float32, or the same as IN has, rounded and clipped to its range.")
    ] = _FLOAT32,
    bands: Annotated[Path | None, typer.Option(help="Also draw the frequency-band plot into this PNG.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing output files.")] = False,
) -> None:
    """Restore one image file.

    **Examples**

    napari-dip restore noisy.tif restored.tif

    napari-dip restore scratched.png filled.tif --task inpaint --mask scratches.png

    napari-dip restore cells.tif enhanced.tif --task enhance --detail-amount 1.5

    napari-dip restore small.tif large.tif --task super_resolve --factor 4

    napari-dip restore photo.jpg clean.png --task deblock

    Intensities of a TIFF are those of the input, as float32 unless --dtype same. The record of what was done stands in
    the TIFF's description, or in the metadata of an .ome.tif.
    Ctrl-C stops and writes the best so far; Ctrl-C twice ends without writing.
    """
    with _plain_errors():
        picture = read_image(image)
        is_png = out.suffix.lower() == ".png"
        if not is_png and out.suffix.lower() not in TIFF_SUFFIXES:
            raise ValueError(f"OUT is {out.name}; end it in .tif or .png.")
        if is_png:
            check_png(picture)
        changes: dict[str, Any] = {
            name: value
            for name, value in (
                ("lipschitz_bound", lipschitz_bound),
                ("step_limit", step_limit),
                ("detail_amount", detail_amount),
            )
            if value is not None
        } | dict(_read_change(each) for each in change or ())
        options: dict[str, Any] = {
            "seed": seed, "device": device, "keep_known": keep_known, "smoothed": smoothed,
            "detail_enhanced": detail_enhanced, "uncertainty": uncertainty, "residual": residual,
        }  # fmt: skip
        settings = dataclasses.replace(Settings.preset(preset.value), **options | changes)
        wanted = ["restored" if find_task(task.value).removes_noise else "detail_enhanced"]
        wanted += [name for name in _FURTHER_OUTPUTS if getattr(settings, name)]
        paths = {name: out if n == 0 else _beside(out, name) for n, name in enumerate(dict.fromkeys(wanted))}
        existing = [path for path in (*paths.values(), *([bands] if bands else [])) if path.exists()]
        if existing and not overwrite:
            raise ValueError(f"{existing[0]} exists; choose another name or add --overwrite.")
        for path in (out, bands):
            if path is not None:
                check_folder(path)
        table = read_quantisation_table(image) if find_task(task.value).knows_quantisation else None
        result = _restore_with_progress(
            picture, None if mask is None else read_mask(mask), task.value, settings, factor, table
        )
        outputs = _outputs(result)
        for name, path in paths.items():
            layer = outputs[name]
            if layer is None:
                typer.echo(f"{name} was not made, because the run was stopped before it.", err=True)
            elif path.suffix.lower() == ".png":
                write_png(path, layer, picture.dtype)
            else:
                keep = dtype == _FLOAT32 or name in _SIGNED_OUTPUTS
                pixels, clipped = as_dtype(layer, np.float32 if keep else picture.dtype)
                if clipped:
                    typer.echo(f"{name}: {clipped} pixels were clipped to the range of {pixels.dtype}.", err=True)
                record = result.record.of_output(name, pixels, clipped, path=str(image.resolve()), layer=image.name)
                write_tiff(path, pixels, record.as_dict())
        if bands:
            _write_band_figure(bands, result)


def main() -> None:
    """Run the command line."""
    app()


def _outputs(result: Restoration) -> dict[str, NDArray[np.float32] | None]:
    return {name: getattr(result, name) for name in ("restored", *_FURTHER_OUTPUTS)}


def _beside(out: Path, name: str) -> Path:
    suffix = ".tif" if name in _SIGNED_OUTPUTS else out.suffix
    return out.with_name(f"{out.stem}_{name}{suffix}")


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn the sentences of the engine into one line on stderr and exit code 1."""
    try:
        yield
    except (ValueError, TypeError, FloatingPointError, OSError) as error:
        typer.echo(f"napari-dip: {error}", err=True)
        raise typer.Exit(1) from error
    except RuntimeError as error:
        from .device import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        typer.echo(
            "napari-dip: the device ran out of memory; use --preset fast, --device cpu or a smaller image.", err=True
        )
        raise typer.Exit(1) from error


def _read_change(text: str) -> tuple[str, Any]:
    """Return the field of ``Settings`` and the value that NAME=VALUE names."""
    name, equals, value = text.partition("=")
    if not equals or name not in {field.name for field in dataclasses.fields(Settings)}:
        raise ValueError(
            f"--set {text}: give NAME=VALUE, NAME a field of napari_dip.Settings such as network or width."
        )
    if value.lower() in _WORDS:
        return name, _WORDS[value.lower()]
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value  # a word


def _restore_with_progress(
    image: NDArray,
    mask: NDArray | None,
    task: str,
    settings: Settings,
    factor: int | None = None,
    quantisation_table: NDArray | None = None,
) -> Restoration:
    """Restore with a progress bar on stderr; Ctrl-C stops and keeps."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as ProgressBar

    from .device import choose_device
    from .restoration import restore_steps

    typer.echo(choose_device(settings.device, settings.precision).reason, err=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps at most"),
        TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    with _stop_on_interrupt() as stop, ProgressBar(*columns, console=Console(stderr=True)) as bar:
        bars, pace = {}, Pace(_SECONDS_BETWEEN_REPORTS)
        steps = restore_steps(
            image, mask, task, factor, settings, quantisation_table=quantisation_table, stop_requested=stop.is_set,
            report_wanted=pace.is_due, quick_estimates=True,
        )  # fmt: skip
        for progress in steps:
            pace.made()
            if progress.stage not in bars:
                bars[progress.stage] = bar.add_task(progress.stage, total=progress.step_limit, left="")
            bar.update(bars[progress.stage], completed=progress.step, left=say_time_left(progress.seconds_left))
    result = progress.result
    assert result is not None
    seconds = result.record.seconds
    typer.echo(f"Compared: {result.record.compared}.", err=True)
    if result.note:
        typer.echo(result.note, err=True)
    typer.echo(
        f"Step {result.step} of {result.record.stop_step} was chosen: {result.stop_reason.value} ({seconds:.0f} s)."
    )
    return result


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    stop = threading.Event()

    def interrupt(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print("\nstopping, and keeping the best so far ...", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield stop
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _write_band_figure(path: Path, result: Restoration) -> None:
    from .spectrum.band_figure import draw_bands

    figure = draw_bands(
        [report.step for report in result.history],
        [report.band_correspondence for report in result.history],
        chosen_step=result.step,
        caption=f"Stopped: {result.stop_reason.value}",
    )
    write_whole(path, lambda beside: figure.savefig(beside, dpi=150))


def _write_before_after(path: Path, before: NDArray, after: NDArray, truth: NDArray) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.9), layout="constrained")
    for axes, (title, image) in zip(
        figure.subplots(1, 3), (("noisy", before), ("restored", after), ("truth", truth)), strict=True
    ):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(title)
        axes.axis("off")
    write_whole(path, lambda beside: figure.savefig(beside, dpi=150))
