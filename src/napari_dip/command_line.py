"""The command line: napari-dip demo, restore, device and info."""

from __future__ import annotations

import ast
import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import numpy as np
import typer
from typer import Argument, Option

from . import Settings
from .command_progress import (
    restore_many,
    restore_one,
    restore_with_progress,
    say,
    say_device,
    say_expected,
    stop_on_signal,
)
from .command_psf import PsfOptions
from .image_files import PNG_KEY, write_tiff
from .many.file_job import FileJob, open_job
from .many.file_plan import PLOT, FileToWrite, check_files, is_plot
from .many.file_restoration import are_outputs_finished
from .many.folder import check_jobs, find_files, is_many, plan_jobs, tell_other_settings
from .many.output_lock import remove_leftovers
from .many.tasks import connect
from .measurement.task import LARGEST_FACTOR, TASKS, find_task
from .outputs import OUTPUTS, list_wanted
from .request import Request
from .settings import PRESETS
from .threads import let_waiting_threads_sleep
from .whole_files import remove_unfinished, write_atomically

if TYPE_CHECKING:
    from .outcome import Restoration

_HELP = """Restore images with a controlled deep image prior: no training data, no downloaded weights.

An untrained network is fitted to your image. It learns the image before the noise, and is stopped in between.
"""

app = typer.Typer(help=_HELP, no_args_is_help=True, add_completion=False, rich_markup_mode="markdown")

Preset = StrEnum("Preset", {name: name for name in PRESETS})  # type: ignore[misc]
_DEFAULT_PRESET = Preset("default")
TaskName = StrEnum("TaskName", {name: name for name in TASKS})  # type: ignore[misc]
_DEFAULT_TASK = TaskName("denoise")
PixelType = StrEnum("PixelType", {"float32": "float32", "same": "same"})
_SAMPLE = {"truth": "truth", "noisy": "degraded"}  # files of the demo, and their fields in the sample
_FLOAT32 = PixelType("float32")
ChannelsChoice = StrEnum("ChannelsChoice", {"apart": "apart", "together": "together"})
_APART = ChannelsChoice("apart")
_CONSTANTS = {"none": None, "true": True, "false": False}


def _list_choices(choices: type[StrEnum]) -> str:
    """Return the names as text for the help: as a type, a narrow terminal would break them in mid-word."""
    *others, last = choices
    return f"{', '.join(others)} or {last}"


PresetOption = Annotated[
    Preset, Option("--preset", metavar="NAME", help=f"Preset of settings: {_list_choices(Preset)}.")
]
DeviceOption = Annotated[
    str,
    Option(
        "--device", metavar="NAME", help="auto (a GPU that passes its check, otherwise the CPU) or a torch device name."
    ),
]
SeedOption = Annotated[int, Option("--seed", metavar="N", help="Random seed; the same seed gives the same result.")]
OverwriteOption = Annotated[bool, Option("--overwrite", help="Replace existing output files.")]


@app.command()
def demo(
    folder: Annotated[Path, Argument(help="Folder for the images and plots.")] = Path("napari-dip-demo"),
    preset: PresetOption = _DEFAULT_PRESET,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Add noise to a photograph that comes with scikit-image, restore it, and compare it with the original."""
    from skimage.metrics import peak_signal_noise_ratio

    from .samples import noisy_photograph

    with _plain_errors():
        settings = dataclasses.replace(
            Settings.preset(preset.value), seed=seed, device=device, smoothed=True, detail_enhanced=True
        )
        request = Request("denoise", settings)
        images = [*_SAMPLE, *(kind.name for kind in list_wanted(find_task(request.task), settings))]
        files = {name: folder / f"{name}.tif" for name in images}
        plots = {name: folder / f"{name}.png" for name in ("frequency_bands", "before_after")}
        remove_unfinished([folder])
        check_files(
            [], [FileToWrite(path, f"the file {path.name}") for path in (files | plots).values()], overwrite=overwrite
        )
        sample = noisy_photograph(side=128)
        say_device(settings)
        with stop_on_signal() as stop:
            result = restore_with_progress(sample.degraded, request, stop)
            record = result.record.as_dict()
            written = []
            for name, path in files.items():
                image = getattr(sample, _SAMPLE[name]) if name in _SAMPLE else getattr(result, name)
                if image is not None:
                    write_tiff(path, image.astype(np.float32), record)
                    written.append(path.name)
            _write_band_figure(plots["frequency_bands"], result)
            _write_before_after(plots["before_after"], sample.degraded, result.restored, sample.truth)
            before, after = (
                peak_signal_noise_ratio(sample.truth, image, data_range=255)
                for image in (sample.degraded, result.restored)
            )
            say(f"PSNR before: {before:.2f} dB, after: {after:.2f} dB (higher is better)")
            say(f"Written to {folder}: {', '.join(sorted([*written, *(path.name for path in plots.values())]))}")
            if len(written) < len(files):
                raise typer.Exit(stop.exit_code)


@app.command(name="device")
def describe_device(device: DeviceOption = "auto") -> None:
    """Show which device a run would use, and check it against the CPU.

    The exit code is 0 if that device (the one you name, or the best one) passes. The CPU needs no check.
    """
    from .device_check import choose_proven_device

    with _plain_errors():
        choice = choose_proven_device(device)
    say(choice.reason)
    if choice.warning:
        raise typer.Exit(1)


@app.command(name="info")
def describe_installation() -> None:
    """Show versions, device, its check and memory: paste this into a report of a fault."""
    from .system_report import describe_system

    say(describe_system())


@app.command()
def restore(
    image: Annotated[
        str, Argument(metavar="IN", help='Image (TIFF, OME-Zarr, PNG or JPEG), folder, or quoted "pattern".')
    ],
    out: Annotated[
        Path,
        Argument(metavar="OUT", help="TIFF, OME-Zarr or PNG (rounded) to write. For several images, a folder."),
    ],
    task: Annotated[
        TaskName, Option("--task", metavar="TASK", help=f"What to do: {_list_choices(TaskName)}.")
    ] = _DEFAULT_TASK,
    factor: Annotated[
        int | None,
        Option("--factor", metavar="N", help="Enlargement, for super_resolve.", min=2, max=LARGEST_FACTOR),
    ] = None,
    mask: Annotated[
        str | None,
        Option(
            "--mask",
            metavar="PATH",
            help="Image that is not 0 where pixels are missing. For several images, {stem} is each image's name.",
        ),
    ] = None,
    psf: Annotated[
        Path | None,
        Option(
            "--psf", metavar="PATH", help="For deconvolve: image of one bead, or of the PSF; scaled to IN's pixels."
        ),
    ] = None,
    na: Annotated[
        float | None, Option("--na", metavar="X", help="For deconvolve: the objective's numerical aperture.")
    ] = None,
    wavelength: Annotated[
        float | None, Option("--wavelength", metavar="NM", help="With --na: wavelength of the light seen, in nm.")
    ] = None,
    pixel_size: Annotated[
        float | None,
        Option("--pixel-size", metavar="UM", help="For --na and --psf: IN's pixel size in µm. Default: from the file."),
    ] = None,
    pinhole: Annotated[
        float | None, Option("--pinhole", metavar="X", help="Confocal, with --na: the pinhole in Airy units.")
    ] = None,
    excitation: Annotated[
        float | None, Option("--excitation", metavar="NM", help="With --pinhole: wavelength of the laser, in nm.")
    ] = None,
    psf_sigma: Annotated[
        float | None, Option("--psf-sigma", metavar="PIXELS", help="For deconvolve: a Gaussian PSF of this deviation.")
    ] = None,
    preset: PresetOption = _DEFAULT_PRESET,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    lipschitz_bound: Annotated[
        float | None,
        Option(
            "--lipschitz-bound", metavar="X", help="Lipschitz bound λ; smaller is smoother. Default: preset.", min=0.01
        ),
    ] = None,
    step_limit: Annotated[
        int | None, Option("--step-limit", metavar="N", help="Maximum steps. Default: preset.", min=1)
    ] = None,
    keep_known: Annotated[
        bool,
        Option(
            "--keep-known/--no-keep-known",
            help="For inpaint and super_resolve: match the known pixels exactly, or remove their noise too.",
        ),
    ] = True,
    smoothed: Annotated[bool, Option("--smoothed", help="Also write OUT_smoothed.")] = False,
    detail_enhanced: Annotated[bool, Option("--detail-enhanced", help="Also write OUT_detail_enhanced.")] = False,
    uncertainty: Annotated[
        bool,
        Option(
            "--uncertainty", help="Also write OUT_uncertainty: how far four runs differ and filters err. Takes longer."
        ),
    ] = False,
    residual: Annotated[bool, Option("--residual", help="Also write OUT_residual: what was removed.")] = False,
    detail_amount: Annotated[
        float | None, Option("--detail-amount", metavar="X", help="How strongly to enhance details. Default: preset.")
    ] = None,
    change: Annotated[
        list[str] | None,
        Option("--set", metavar="NAME=VALUE", help="Any other setting, such as network=conv_net. Can be repeated."),
    ] = None,
    dtype: Annotated[
        PixelType,
        Option(
            "--dtype",
            metavar="TYPE",
            help="Pixel type of TIFF and OME-Zarr: float32, or the same as IN (rounded and clipped).",
        ),
    ] = _FLOAT32,
    bands: Annotated[
        Path | None, Option("--bands", metavar="PATH", help="Also save the frequency-band plot, as PNG.")
    ] = None,
    overwrite: OverwriteOption = False,
    axes: Annotated[
        str | None, Option("--axes", metavar="LETTERS", help="Axes of a stack, such as TCYX. Default: from the file.")
    ] = None,
    channels: Annotated[
        ChannelsChoice,
        Option(
            "--channels", metavar="MODE", help="Restore channels (C) apart, one by one, or together with one network."
        ),
    ] = _APART,
    memory: Annotated[
        float | None,
        Option(
            "--memory",
            metavar="GB",
            help="Memory budget; larger images are restored in tiles. Default: most of the free memory.",
            min=0.01,
        ),
    ] = None,
    warm_start: Annotated[
        str | None,
        Option("--warm-start", metavar="AXIS", help="T or Z: start each plane from the network of the one before."),
    ] = None,
    neighbours: Annotated[
        str,
        Option(
            "--neighbours",
            metavar="AXIS",
            help="Planes help those beside them (noise, missing pixels): along auto (T, Z, only axis), T … or none.",
        ),
    ] = "auto",
    resume: Annotated[
        bool, Option("--resume", help="Continue an interrupted run; finished files and planes are kept.")
    ] = False,
    report: Annotated[
        Path | None,
        Option("--report", metavar="PATH", help="For several images: .csv or .json. Default: report.csv in OUT."),
    ] = None,
    suffix: Annotated[
        str | None,
        Option(
            "--suffix",
            metavar="SUFFIX",
            help="For several images: output suffix, such as .png. Default: .tif, or as IN if .ome.tif or .zarr.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None, Option("--scheduler", metavar="ADDRESS", help="Dask scheduler of a cluster that shares the work.")
    ] = None,
) -> None:
    """Restore an image, a stack, or all images in a folder.

    **Examples**

    napari-dip restore noisy.tif restored.tif

    napari-dip restore scratched.png filled.tif --task inpaint --mask scratches.png

    napari-dip restore cells.tif enhanced.tif --task enhance --detail-amount 1.5

    napari-dip restore small.tif large.tif --task super_resolve --factor 4

    napari-dip restore photo.jpg clean.png --task deblock

    napari-dip restore cells.tif sharp.tif --task deconvolve --na 1.4 --wavelength 525 --pixel-size 0.065

    napari-dip restore cells.tif sharp.tif --task deconvolve --psf bead.tif

    napari-dip restore film.ome.tif restored.ome.tif --channels together

    napari-dip restore "data/*.tif" restored/ --mask "masks/{stem}.png" --resume

    A TIFF or OME-Zarr keeps the intensity units of the input, as float32 unless you add --dtype same. Every image
    written carries a record of the run (in a TIFF, as its description).

    Ctrl-C (or SIGTERM, which clusters send) stops and writes the best result so far; a second one ends at once. For a
    stack, finished planes are kept for --resume. For several images, the current one is not written and no more are
    started.

    The exit code is 0 if every file you asked for was written, 2 if the command line is invalid, 130 (or 143) if Ctrl-C
    (or SIGTERM) left something out, and 1 otherwise.

    No input is ever written to, and nothing is overwritten without --overwrite. --resume keeps and redoes only files
    that napari-dip wrote.
    """
    with _plain_errors():
        if not image:  # an unset shell variable; as a path it would mean this folder
            raise ValueError("IN is empty; give a file, a folder or a pattern.")
        named: dict[str, Any] = {
            "seed": seed, "device": device, "keep_known": keep_known, "smoothed": smoothed,
            "detail_enhanced": detail_enhanced, "uncertainty": uncertainty, "residual": residual,
            "lipschitz_bound": lipschitz_bound, "step_limit": step_limit, "detail_amount": detail_amount,
        }  # fmt: skip
        changes = {name: value for name, value in named.items() if value is not None}
        changes |= dict(map(_read_change, change or ()))
        settings = dataclasses.replace(Settings.preset(preset.value), **changes)
        said = PsfOptions(
            file=psf, numerical_aperture=na, wavelength=wavelength, pixel_size=pixel_size, pinhole=pinhole,
            excitation=excitation, sigma=psf_sigma,
        )  # fmt: skip
        parameters = find_task(task.value).read_parameters({"factor": factor, "psf": said.make_psf(image)})
        if uncertainty and OUTPUTS["uncertainty"] not in list_wanted(find_task(task.value), settings):
            raise ValueError(f"the task {task.value} has no uncertainty; leave out --uncertainty.")
        job = FileJob(
            Path(image), out, None if mask is None else Path(mask), Request(task.value, settings, parameters),
            memory=None if memory is None else memory * 1e9, warm_start=warm_start, axes=axes, channels=channels.value,
            neighbours=None if neighbours.lower() == "none" else neighbours, same_type=dtype != _FLOAT32, resume=resume,
        )  # fmt: skip
        if is_many(image):
            if bands is not None:
                raise ValueError("--bands works for a single image only; leave it out.")
            jobs = plan_jobs(find_files(image), out, job, suffix=suffix, mask=mask)
            report = report or out / "report.csv"
            check_jobs(jobs, report, overwrite=overwrite)
            client = None if scheduler is None else connect(scheduler)
            with stop_on_signal() as stop:
                if not restore_many(jobs, report, stop, overwrite=overwrite, client=client):
                    raise typer.Exit(stop.exit_code)
            return
        if not out.name:
            raise ValueError("OUT is the current folder; give a file name.")
        if report is not None or suffix is not None:
            raise ValueError("--report and --suffix are for several images: give a folder or a pattern.")
        if bands is not None and bands.suffix.lower() != ".png":
            raise ValueError(f"--bands {bands.name} is not a PNG; end the name in .png.")
        files = [*job.files_to_write, *([] if bands is None else [FileToWrite(bands, "the plot", is_plot)])]
        remove_leftovers(file.path for file in files)
        check_files(job.files_to_read, files, overwrite=overwrite, resume=resume)
        if resume and not overwrite and are_outputs_finished(job) and (bands is None or bands.exists()):
            other = tell_other_settings(job)
            say(f"{out} is {other}" if other else f"{out} is finished; nothing is left to do.")
            return
        opened = open_job(job)
        opened.check_outputs()
        if bands is not None and opened.axes.count > 1:
            raise ValueError("--bands works for a single plane only, and this file has several; leave it out.")
        client = None if scheduler is None else connect(scheduler)
        for folder in {file.path.parent for file in files}:
            folder.mkdir(parents=True, exist_ok=True)
        if client is None:
            say_device(settings)
            say_expected(opened)
        with stop_on_signal() as stop:
            outcome, result = restore_one(job, stop, overwrite=overwrite, client=client)
            if bands is not None:
                if result is None:
                    raise ValueError(
                        "--bands cannot draw the plot, because an earlier run finished the plane; add --overwrite."
                    )
                _write_band_figure(bands, result)
            if outcome.left_out:
                raise typer.Exit(stop.exit_code)


def main() -> None:
    """Run the command line."""
    let_waiting_threads_sleep()
    app()


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn errors into one line on stderr and exit code 1."""
    try:
        yield
    except typer.Exit:
        raise
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror.lower()}." if error.filename and error.strerror else error, error)
    except (ValueError, TypeError, FloatingPointError) as error:
        _fail(error, error)
    except MemoryError as error:
        _fail("not enough memory; use --preset fast, a smaller --memory or a smaller image.", error)
    except RuntimeError as error:
        from .device import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        _fail("the device ran out of memory; use --preset fast, --device cpu or a smaller image.", error)


def _fail(sentence: object, error: Exception) -> NoReturn:
    say(f"napari-dip: {' '.join(str(sentence).split())}", err=True)
    raise typer.Exit(1) from error


def _read_change(text: str) -> tuple[str, Any]:
    """Return the field of ``Settings`` and the value in NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or name not in {field.name for field in dataclasses.fields(Settings)}:
        raise ValueError(
            f"--set {text} is not a setting; give NAME=VALUE, with a field of napari_dip.Settings such as width."
        )
    if value.lower() in _CONSTANTS:
        return name, _CONSTANTS[value.lower()]
    try:
        with warnings.catch_warnings(action="ignore"):  # Python warns of odd syntax
            return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return name, value  # plain text


def _write_band_figure(path: Path, result: Restoration) -> None:
    from .spectrum.band_figure import draw_bands

    figure = draw_bands(
        [report.step for report in result.history],
        [report.band_correspondence for report in result.history],
        chosen_step=result.step,
        caption=f"Stopped: {result.stop_reason.value}",
    )
    write_atomically(path, lambda hidden: figure.savefig(hidden, dpi=150, metadata={PNG_KEY: PLOT}))


def _write_before_after(path: Path, before: np.ndarray, after: np.ndarray, truth: np.ndarray) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.9), layout="constrained")
    for axes, (title, image) in zip(
        figure.subplots(1, 3), (("noisy", before), ("restored", after), ("truth", truth)), strict=True
    ):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(title)
        axes.axis("off")
    write_atomically(path, lambda hidden: figure.savefig(hidden, dpi=150))
