"""The command line: napari-dip demo, napari-dip restore, napari-dip device."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from . import Settings
from .command_progress import restore_many, restore_one, restore_with_progress, say
from .image_files import check_folder, write_tiff, write_whole
from .many.file_job import FURTHER_OUTPUTS, FileJob, check_names
from .many.folder import find_files, is_many, plan_jobs
from .many.tasks import connect
from .measurement.task import TASKS
from .settings import PRESETS
from .threads import let_waiting_threads_sleep

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
ChannelsChoice = StrEnum("ChannelsChoice", {"apart": "apart", "together": "together"})
_APART = ChannelsChoice("apart")
_WORDS = {"none": None, "true": True, "false": False}


def _say_choices(choices: type[StrEnum]) -> str:
    """Return the names in words, unbroken: as a type they would be cut in mid-word in a narrow terminal."""
    *others, last = choices
    return f"{', '.join(others)} or {last}"


PresetOption = Annotated[Preset, typer.Option(metavar="NAME", help=f"Named settings: {_say_choices(Preset)}.")]
DeviceOption = Annotated[
    str, typer.Option(metavar="NAME", help="auto (a GPU that passes its check, or the CPU) or a torch device name.")
]
SeedOption = Annotated[
    int, typer.Option(metavar="N", help="Seed of everything random; the same seed repeats the result.")
]


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to write the layers and pictures.")] = Path("napari-dip-demo"),
    preset: PresetOption = _DEFAULT_PRESET,
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
        result = restore_with_progress(sample.degraded, None, "denoise", settings)
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
        say(f"Written to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


@app.command(name="device")
def describe_device(device: DeviceOption = "auto") -> None:
    """Say which device a run would use, and check it against the CPU.

    The exit code is 0 if the device that was asked for, or the best that was found, passed; on the CPU there is nothing
    to check.
    """
    from .device_check import choose_proven_device

    with _plain_errors():
        choice = choose_proven_device(device)
    typer.echo(choice.reason)
    if choice.warning:
        raise typer.Exit(1)


@app.command()
def restore(
    image: Annotated[
        str, typer.Argument(metavar="IN", help='TIFF, OME-Zarr, PNG or JPEG; or a folder or "pattern" of them.')
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="TIFF or OME-Zarr (float32, keeps everything) or PNG (rounded); or a folder."
        ),
    ],
    task: Annotated[
        TaskName, typer.Option(metavar="TASK", help=f"What is wrong with the image: {_say_choices(TaskName)}.")
    ] = _DEFAULT_TASK,
    factor: Annotated[
        int | None, typer.Option(metavar="N", help="Super-resolution: how many times larger.", min=2)
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Image file; not 0 = missing pixel. For several, {stem} stands for each one's name."
        ),
    ] = None,
    preset: PresetOption = _DEFAULT_PRESET,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    lipschitz_bound: Annotated[
        float | None,
        typer.Option(metavar="X", help="The bound λ: smaller is smoother. Default: the preset's.", min=0.01),
    ] = None,
    step_limit: Annotated[int | None, typer.Option(metavar="N", help="Never more steps than this.", min=1)] = None,
    keep_known: Annotated[
        bool,
        typer.Option(
            "--keep-known/--no-keep-known",
            help="Inpainting, super-resolution: agree exactly with what is known, or also remove its noise.",
        ),
    ] = True,
    smoothed: Annotated[bool, typer.Option("--smoothed", help="Also write OUT_smoothed.")] = False,
    detail_enhanced: Annotated[bool, typer.Option("--detail-enhanced", help="Also write OUT_detail_enhanced.")] = False,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Also write OUT_uncertainty; four runs.")] = False,
    residual: Annotated[bool, typer.Option("--residual", help="Also write OUT_residual: what was taken away.")] = False,
    detail_amount: Annotated[float | None, typer.Option(metavar="X", help="How strongly details are enhanced.")] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, e.g. network=conv_net; repeatable."),
    ] = None,
    dtype: Annotated[
        PixelType,
        typer.Option(
            metavar="TYPE", help="Of a TIFF: float32, or the same as IN has, rounded and clipped to its range."
        ),
    ] = _FLOAT32,
    bands: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Also draw the frequency-band plot into this PNG.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing output files.")] = False,
    axes: Annotated[
        str | None, typer.Option(help="Of a stack, such as TCYX; by default what the file says.", metavar="LETTERS")
    ] = None,
    channels: Annotated[
        ChannelsChoice,
        typer.Option(metavar="HOW", help="Channels (C) apart, one by one, or together: one network draws them all."),
    ] = _APART,
    memory: Annotated[
        float | None,
        typer.Option(
            metavar="GB", help="Larger images are restored in tiles. Default: most of what is free.", min=0.01
        ),
    ] = None,
    warm_start: Annotated[
        str | None, typer.Option(metavar="AXIS", help="T or Z: planes begin where those before them ended; see docs.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what was interrupted: what is done is kept.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Of several files: .csv or .json. Default: report.csv in OUT.")
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option(
            metavar="END", help="Of several outputs, such as .png. Default: .tif, or as IN if .ome.tif or .zarr."
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a dask cluster that shares the work.")
    ] = None,
) -> None:
    """Restore one image file, a stack, or all files of a folder.

    **Examples**

    napari-dip restore noisy.tif restored.tif

    napari-dip restore scratched.png filled.tif --task inpaint --mask scratches.png

    napari-dip restore cells.tif enhanced.tif --task enhance --detail-amount 1.5

    napari-dip restore small.tif large.tif --task super_resolve --factor 4

    napari-dip restore photo.jpg clean.png --task deblock

    napari-dip restore film.ome.tif restored.ome.tif --channels together

    napari-dip restore "data/*.tif" restored/ --mask "masks/{stem}.png" --resume

    Intensities of a TIFF are those of the input, as float32 unless --dtype same. The record of what was done stands in
    the TIFF's description, or in the metadata of an .ome.tif.
    Ctrl-C stops and writes the best so far; Ctrl-C twice ends without writing. Of a stack, the planes that are done are
    kept for --resume; of several files, the one at work is not written and the others
    are not begun. The exit code is 0 only if all was done.
    """
    with _plain_errors():
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
        job = FileJob(
            Path(image), out, mask=None if mask is None else Path(mask), task=task.value, factor=factor,
            settings=settings, memory=None if memory is None else memory * 1e9, warm_start=warm_start,
            axes=axes, channels=channels.value, same_type=dtype != _FLOAT32, resume=resume,
        )  # fmt: skip
        client = None if scheduler is None else connect(scheduler)
        if is_many(image):
            if bands is not None:
                raise ValueError("--bands draws the plot of one image; leave it out for several.")
            jobs = plan_jobs(find_files(image), out, job, suffix=suffix, mask=mask)
            where = report or out / "report.csv"
            raise typer.Exit(0 if restore_many(jobs, where, overwrite=overwrite, client=client) else 1)
        if report is not None or suffix is not None:
            raise ValueError("--report and --suffix are for several files: give a folder or a pattern.")
        check_names(job)
        existing = [path for path in (*job.outputs.values(), *([bands] if bands else [])) if path.exists()]
        if existing and resume and not bands and len(existing) == len(job.outputs):
            say(f"{out} is there; nothing is left to do.")
            return
        if existing and not (overwrite or resume):
            raise ValueError(f"{existing[0]} exists; choose another name or add --overwrite.")
        for path in (out, bands):
            if path is not None:
                check_folder(path)
        result = restore_one(job, client=client)
        if bands:
            if result is None:
                raise ValueError("--bands draws the plot of one plane; this file has several.")
            _write_band_figure(bands, result)


def main() -> None:
    """Run the command line."""
    let_waiting_threads_sleep()
    app()


def _outputs(result: Restoration) -> dict[str, NDArray[np.float32] | None]:
    return {name: getattr(result, name) for name in ("restored", *FURTHER_OUTPUTS)}


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
