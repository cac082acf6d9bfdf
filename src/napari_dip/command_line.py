"""The command line: napari-dip demo, napari-dip restore, napari-dip device."""

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
from numpy.typing import NDArray
from typer import Argument, Option

from . import Settings
from .command_progress import restore_many, restore_one, restore_with_progress, say, say_device, stop_on_signal
from .image_files import PNG_KEY, write_tiff
from .many.file_job import FileJob, open_job
from .many.file_plan import PLOT, FileToWrite, check_files, is_plot
from .many.file_restoration import are_outputs_there
from .many.folder import check_jobs, find_files, is_many, plan_jobs
from .many.output_lock import remove_leftovers
from .many.tasks import connect
from .measurement.task import LARGEST_FACTOR, TASKS, find_task
from .outputs import list_wanted
from .request import Request
from .settings import PRESETS
from .threads import let_waiting_threads_sleep
from .whole_files import remove_unfinished, write_whole

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
_SAMPLE = {"truth": "truth", "noisy": "degraded"}  # files of the demo, and the fields of its sample
_FLOAT32 = PixelType("float32")
ChannelsChoice = StrEnum("ChannelsChoice", {"apart": "apart", "together": "together"})
_APART = ChannelsChoice("apart")
_WORDS = {"none": None, "true": True, "false": False}


def _say_choices(choices: type[StrEnum]) -> str:
    """Return the names in words, unbroken: as a type they would be cut in mid-word in a narrow terminal."""
    *others, last = choices
    return f"{', '.join(others)} or {last}"


PresetOption = Annotated[Preset, Option("--preset", metavar="NAME", help=f"Named settings: {_say_choices(Preset)}.")]
DeviceOption = Annotated[
    str,
    Option("--device", metavar="NAME", help="auto (a GPU that passes its check, or the CPU) or a torch device name."),
]
SeedOption = Annotated[
    int, Option("--seed", metavar="N", help="Seed of everything random; the same seed repeats the result.")
]
OverwriteOption = Annotated[bool, Option("--overwrite", help="Replace existing output files.")]


@app.command()
def demo(
    folder: Annotated[Path, Argument(help="Where to write the layers and pictures.")] = Path("napari-dip-demo"),
    preset: PresetOption = _DEFAULT_PRESET,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Add noise to a photograph that scikit-image ships, restore it, and say how well that went."""
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
    """Say which device a run would use, and check it against the CPU.

    The exit code is 0 if the device that was asked for, or the best that was found, passed; on the CPU there is nothing
    to check.
    """
    from .device_check import choose_proven_device

    with _plain_errors():
        choice = choose_proven_device(device)
    say(choice.reason)
    if choice.warning:
        raise typer.Exit(1)


@app.command()
def restore(
    image: Annotated[
        str, Argument(metavar="IN", help='TIFF, OME-Zarr, PNG or JPEG; or a folder or "pattern" of them.')
    ],
    out: Annotated[
        Path,
        Argument(metavar="OUT", help="TIFF or OME-Zarr (float32, keeps everything) or PNG (rounded); or a folder."),
    ],
    task: Annotated[
        TaskName, Option("--task", metavar="TASK", help=f"What is wrong with the image: {_say_choices(TaskName)}.")
    ] = _DEFAULT_TASK,
    factor: Annotated[
        int | None,
        Option("--factor", metavar="N", help="Super-resolution: how many times larger.", min=2, max=LARGEST_FACTOR),
    ] = None,
    mask: Annotated[
        str | None,
        Option(
            "--mask",
            metavar="PATH",
            help="Image file; not 0 = missing pixel. For several, {stem} stands for each one's name.",
        ),
    ] = None,
    preset: PresetOption = _DEFAULT_PRESET,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    lipschitz_bound: Annotated[
        float | None,
        Option(
            "--lipschitz-bound", metavar="X", help="The bound λ: smaller is smoother. Default: the preset's.", min=0.01
        ),
    ] = None,
    step_limit: Annotated[
        int | None, Option("--step-limit", metavar="N", help="Never more steps than this.", min=1)
    ] = None,
    keep_known: Annotated[
        bool,
        Option(
            "--keep-known/--no-keep-known",
            help="Inpainting, super-resolution: agree exactly with what is known, or also remove its noise.",
        ),
    ] = True,
    smoothed: Annotated[bool, Option("--smoothed", help="Also write OUT_smoothed.")] = False,
    detail_enhanced: Annotated[bool, Option("--detail-enhanced", help="Also write OUT_detail_enhanced.")] = False,
    uncertainty: Annotated[bool, Option("--uncertainty", help="Also write OUT_uncertainty; four runs.")] = False,
    residual: Annotated[bool, Option("--residual", help="Also write OUT_residual: what was taken away.")] = False,
    detail_amount: Annotated[
        float | None, Option("--detail-amount", metavar="X", help="How strongly details are enhanced.")
    ] = None,
    change: Annotated[
        list[str] | None,
        Option("--set", metavar="NAME=VALUE", help="Any other setting, e.g. network=conv_net; repeatable."),
    ] = None,
    dtype: Annotated[
        PixelType,
        Option(
            "--dtype",
            metavar="TYPE",
            help="Of a TIFF: float32, or the same as IN has, rounded and clipped to its range.",
        ),
    ] = _FLOAT32,
    bands: Annotated[
        Path | None, Option("--bands", metavar="PATH", help="Also draw the frequency-band plot into this PNG.")
    ] = None,
    overwrite: OverwriteOption = False,
    axes: Annotated[
        str | None, Option("--axes", help="Of a stack, such as TCYX; by default what the file says.", metavar="LETTERS")
    ] = None,
    channels: Annotated[
        ChannelsChoice,
        Option(
            "--channels", metavar="HOW", help="Channels (C) apart, one by one, or together: one network draws them all."
        ),
    ] = _APART,
    memory: Annotated[
        float | None,
        Option(
            "--memory",
            metavar="GB",
            help="Larger images are restored in tiles. Default: most of what is free.",
            min=0.01,
        ),
    ] = None,
    warm_start: Annotated[
        str | None,
        Option("--warm-start", metavar="AXIS", help="T or Z: planes begin where those before them ended; see docs."),
    ] = None,
    resume: Annotated[bool, Option("--resume", help="Go on with what was interrupted: what is done is kept.")] = False,
    report: Annotated[
        Path | None,
        Option("--report", metavar="PATH", help="Of several files: .csv or .json. Default: report.csv in OUT."),
    ] = None,
    suffix: Annotated[
        str | None,
        Option(
            "--suffix",
            metavar="END",
            help="Of several outputs, such as .png. Default: .tif, or as IN if .ome.tif or .zarr.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None, Option("--scheduler", metavar="ADDRESS", help="Of a dask cluster that shares the work.")
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
    Ctrl-C (or SIGTERM, as a cluster sends it) stops and writes the best so far; twice, it ends without writing. Of a
    stack, the planes that are done are kept for --resume; of several files, the one at work is not written and the
    others are not begun.

    The exit code is 0 only if every file that was asked for was written, 2 if the command cannot be understood, 130 (or
    143) if Ctrl-C (or SIGTERM) left something out, and 1 otherwise.

    No input is ever written to, and nothing that exists is replaced without --overwrite. --resume keeps or redoes only
    what napari-dip wrote.
    """
    with _plain_errors():
        if not image:  # of a shell variable that is not set; as a path it would mean this folder
            raise ValueError("IN is empty; give a file, a folder or a pattern.")
        named: dict[str, Any] = {
            "seed": seed, "device": device, "keep_known": keep_known, "smoothed": smoothed,
            "detail_enhanced": detail_enhanced, "uncertainty": uncertainty, "residual": residual,
            "lipschitz_bound": lipschitz_bound, "step_limit": step_limit, "detail_amount": detail_amount,
        }  # fmt: skip
        changes = {name: value for name, value in named.items() if value is not None}
        changes |= dict(map(_read_change, change or ()))
        settings = dataclasses.replace(Settings.preset(preset.value), **changes)
        parameters = find_task(task.value).read_parameters({"factor": factor})
        job = FileJob(
            Path(image), out, None if mask is None else Path(mask), Request(task.value, settings, parameters),
            memory=None if memory is None else memory * 1e9, warm_start=warm_start, axes=axes, channels=channels.value,
            same_type=dtype != _FLOAT32, resume=resume,
        )  # fmt: skip
        if is_many(image):
            if bands is not None:
                raise ValueError("--bands draws the plot of one image; leave it out for several.")
            jobs = plan_jobs(find_files(image), out, job, suffix=suffix, mask=mask)
            report = report or out / "report.csv"
            check_jobs(jobs, report, overwrite=overwrite)
            client = None if scheduler is None else connect(scheduler)
            with stop_on_signal() as stop:
                if not restore_many(jobs, report, stop, overwrite=overwrite, client=client):
                    raise typer.Exit(stop.exit_code)
            return
        if not out.name:
            raise ValueError("OUT is this folder; give the name of a file.")
        if report is not None or suffix is not None:
            raise ValueError("--report and --suffix are for several files: give a folder or a pattern.")
        if bands is not None and bands.suffix.lower() != ".png":
            raise ValueError(f"--bands is {bands.name!r}; end it in .png.")
        files = [*job.files_to_write, *([] if bands is None else [FileToWrite(bands, "the plot", is_plot)])]
        remove_leftovers(file.path for file in files)
        check_files(job.files_to_read, files, overwrite=overwrite, resume=resume)
        if resume and not overwrite and are_outputs_there(job) and (bands is None or bands.exists()):
            say(f"{out} is there; nothing is left to do.")
            return
        opened = open_job(job)
        opened.check_outputs()
        if bands is not None and opened.axes.count > 1:
            raise ValueError("--bands draws the plot of one plane; this file has several.")
        client = None if scheduler is None else connect(scheduler)
        for folder in {file.path.parent for file in files}:
            folder.mkdir(parents=True, exist_ok=True)
        if client is None:
            say_device(settings)
        with stop_on_signal() as stop:
            outcome, result = restore_one(job, stop, overwrite=overwrite, client=client)
            if bands is not None:
                if result is None:
                    raise ValueError(
                        "--bands was not drawn: the plane was done by an earlier run; add --overwrite to do it again."
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
    """Turn the sentences of the engine into one line on stderr and exit code 1."""
    try:
        yield
    except typer.Exit:
        raise
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror.lower()}." if error.filename and error.strerror else error, error)
    except (ValueError, TypeError, FloatingPointError) as error:
        _fail(error, error)
    except MemoryError as error:
        _fail("there is not enough memory; use --preset fast, a smaller --memory or a smaller image.", error)
    except RuntimeError as error:
        from .device import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        _fail("the device ran out of memory; use --preset fast, --device cpu or a smaller image.", error)


def _fail(sentence: object, error: Exception) -> NoReturn:
    say(f"napari-dip: {' '.join(str(sentence).split())}", err=True)
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
        with warnings.catch_warnings(action="ignore"):  # of Python, about the syntax
            return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return name, value  # a word


def _write_band_figure(path: Path, result: Restoration) -> None:
    from .spectrum.band_figure import draw_bands

    figure = draw_bands(
        [report.step for report in result.history],
        [report.band_correspondence for report in result.history],
        chosen_step=result.step,
        caption=f"Stopped: {result.stop_reason.value}",
    )
    write_whole(path, lambda beside: figure.savefig(beside, dpi=150, metadata={PNG_KEY: PLOT}))


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
