"""The commands, as a user types them."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from skimage import io
from terminal import QUICK, contents, run
from typer.models import OptionInfo

import napari_dip
from napari_dip.command_line import demo, describe_device, restore
from napari_dip.command_psf import PsfOptions
from napari_dip.image_files import read_image
from napari_dip.many.file_plan import FileToWrite, check_files
from napari_dip.many.image_stack import Stack
from napari_dip.many.stack_files import read_stack_record, write_stack
from napari_dip.measurement.psf import full_widths, gaussian_psf, optical_psf
from napari_dip.samples import BEAD_PIXEL, FILAMENT_OPTICS, FILAMENT_PIXEL, blurred_filaments

FAST = ["--preset", "fast", "--step-limit", "10", "--device", "cpu", "--set", "width=8", "--set", "levels=2"]


@pytest.fixture
def noisy(tmp_path, camera):
    io.imsave(tmp_path / "in.png", camera, check_contrast=False)
    return tmp_path / "in.png"


def test_restore_writes_tiff_with_its_record(noisy, tmp_path) -> None:
    done = run("restore", noisy, tmp_path / "out.tif", *FAST, "--smoothed", "--bands", tmp_path / "bands.png")
    assert done.exit_code == 0, done.output
    assert tifffile.imread(tmp_path / "out.tif").dtype == np.float32
    assert (tmp_path / "out_smoothed.tif").exists()
    assert io.imread(tmp_path / "bands.png").ndim == 3
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert json.loads(file.pages[0].description)["settings"]["step_limit"] == 10


def test_inpainting_by_mask_file(noisy, tmp_path, camera) -> None:
    mask = np.zeros(camera.shape, np.uint8)
    mask[10:14] = 255
    io.imsave(tmp_path / "mask.png", mask, check_contrast=False)
    done = run("restore", noisy, tmp_path / "out.png", "--task", "inpaint", "--mask", tmp_path / "mask.png", *FAST)
    assert done.exit_code == 0, done.output
    filled = io.imread(tmp_path / "out.png")
    np.testing.assert_array_equal(filled[mask == 0], camera[mask == 0])


def test_enhance_writes_the_enhanced_image(noisy, tmp_path, camera) -> None:
    done = run("restore", noisy, tmp_path / "out.tif", "--task", "enhance", *FAST, "--detail-amount", "0")
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), camera, atol=1e-3)


def test_enhancing_has_no_uncertainty(noisy, tmp_path, camera, small_settings) -> None:
    """The network draws nothing there; in a script it is None, in the terminal a sentence."""
    done = run("restore", noisy, tmp_path / "out.tif", "--task", "enhance", *FAST, "--uncertainty")
    assert done.exit_code == 1
    assert "the task enhance has no uncertainty; leave out --uncertainty." in done.output
    assert not (tmp_path / "out.tif").exists()
    image = camera.astype(np.float32)
    image[3, 4] = np.nan
    settings = dataclasses.replace(small_settings, step_limit=10, smoothed_steps=10, uncertainty=True)
    result = napari_dip.restore(image, task="enhance", settings=settings)
    assert result.uncertainty is None
    assert result.detail_enhanced is not None


def test_super_resolution_and_any_setting(noisy, tmp_path, camera) -> None:
    done = run("restore", noisy, tmp_path / "large.tif", "--task", "super_resolve", "--factor", 2, *FAST,
               "--set", "network=conv_net")  # fmt: skip
    assert done.exit_code == 0, done.output
    with tifffile.TiffFile(tmp_path / "large.tif") as file:
        assert file.asarray().shape == (2 * camera.shape[0], 2 * camera.shape[1])
        settings = json.loads(file.pages[0].description)["settings"]
    assert (settings["network"], settings["width"]) == ("conv_net", 8)


def test_residual_and_uncertainty_are_tiffs_even_beside_a_png(noisy, tmp_path) -> None:
    done = run(
        "restore", str(noisy), str(tmp_path / "out.png"), "--residual", "--uncertainty", "--step-limit", "10",
        "--set", "width=8", "--set", "levels=2",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    image = read_image(noisy).astype(float)
    np.testing.assert_allclose(
        read_image(tmp_path / "out.png") + read_image(tmp_path / "out_residual.tif"), image, atol=0.51
    )
    assert read_image(tmp_path / "out_uncertainty.tif").min() > 0


def test_deblocking_reads_the_table_from_the_file(tmp_path, camera) -> None:
    Image.fromarray(camera).save(tmp_path / "in.jpg", quality=20)
    done = run("restore", tmp_path / "in.jpg", tmp_path / "out.tif", "--task", "deblock", *FAST)
    assert done.exit_code == 0, done.output
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert "(given)" in json.loads(file.pages[0].description)["compared"]


def test_the_table_is_read_for_a_stack_of_one_plane_too(tmp_path, camera) -> None:
    Image.fromarray(camera).save(tmp_path / "in.jpg", quality=20)
    done = run("restore", tmp_path / "in.jpg", tmp_path / "out.zarr", "--task", "deblock", *FAST)
    assert done.exit_code == 0, done.output
    assert "(given)" in read_stack_record(tmp_path / "out.zarr")["compared"]


def test_nothing_is_overwritten_without_the_option(noisy, tmp_path) -> None:
    (tmp_path / "out.tif").write_text("precious")
    done = run("restore", noisy, tmp_path / "out.tif", *FAST)
    assert done.exit_code == 1
    assert "--overwrite" in done.output
    assert (tmp_path / "out.tif").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.png", "out.tif"], "does not exist"),
        (["in.png", "out.jpg"], "end OUT in .tif or .png"),
        (["in.png", "out.tif", "--task", "inpaint"], "nothing is marked as missing"),
        (["in.png", "out.tif", "--device", "cuda:99"], "cannot be used here"),
        (["in.png", "out.tif", "--set", "averaging=foo"], "averaging is 'foo'"),
        (["in.png", "out.tif", "--set", "seed=-3"], "seed is -3"),
        (["in.png", "in.png/out.tif"], "cannot be created"),
    ],
)
def test_mistakes_get_one_sentence_and_no_file(noisy, tmp_path, monkeypatch, arguments, sentence) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("restore", *arguments)
    assert done.exit_code == 1
    assert sentence in done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.glob("out*"))


def test_a_missing_argument_is_reported() -> None:
    done = run("restore")
    assert done.exit_code == 2
    assert "Missing argument" in done.output


def test_help_has_examples() -> None:
    assert "Examples" in run("restore", "--help").output
    assert "--mask" in run("restore", "--help").output


def run_here(folder: Path, line: str):
    """Run a command in a folder with many kinds of files, none of them written by napari-dip."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run("restore", *line.split(), *QUICK)


@pytest.fixture
def strangers(tmp_path, camera):
    return write_files(tmp_path, camera)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory, camera):
    """The same files for all tests that assert that nothing of them has changed."""
    return write_files(tmp_path_factory.mktemp("untouched"), camera)


def write_files(tmp_path: Path, camera: np.ndarray) -> Path:
    image = camera[:16, :20]
    tifffile.imwrite(tmp_path / "in.tif", image)
    tifffile.imwrite(tmp_path / "mine.tif", image)
    tifffile.imwrite(tmp_path / "theirs_residual.tif", image)
    io.imsave(tmp_path / "mine.png", image, check_contrast=False)
    io.imsave(tmp_path / "mask.png", (np.eye(16, 20) * 255).astype(np.uint8), check_contrast=False)
    (tmp_path / "folder.tif").mkdir()
    with suppress(OSError, AttributeError):  # not on every system
        (tmp_path / "hard.tif").hardlink_to(tmp_path / "in.tif")
        (tmp_path / "link.tif").symlink_to("in.tif")
        (tmp_path / "dangling.tif").symlink_to("nowhere.tif")
        os.mkfifo(tmp_path / "fifo.tif")
    write_stack(tmp_path / "in.zarr", [image, image], (2, 16, 20), np.uint8, Stack(None, "TYX"), "TYX")
    write_stack(tmp_path / "in.zarr/inner.zarr", [image, image], (2, 16, 20), np.uint8, Stack(None, "TYX"), "TYX")
    (tmp_path / "my.zarr").mkdir()
    (tmp_path / "my.zarr" / "thesis.txt").write_text("ten years")
    zarr.create_array(tmp_path / "plain.zarr", shape=(4, 4), dtype="u1")[:] = 7
    for name in ("a.tif", "a_residual.tif"):
        (tmp_path / "data").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "data" / name, image)
    write_image_in_two_files(tmp_path, image)
    (tmp_path / "report.csv").write_text("name,grade\nme,A\n")
    (tmp_path / "report.json").write_text('["me"]')
    return tmp_path


def write_image_in_two_files(folder, image) -> None:
    names = ("part1.ome.tif", "part2.ome.tif")
    planes = "".join(
        f'<TiffData FirstT="{n}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{n}</UUID></TiffData>'
        for n, name in enumerate(names)
    )
    for n, name in enumerate(names):
        text = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{n}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="20" SizeY="16" SizeC="1" SizeZ="1" '
            f'SizeT="2"><Channel ID="Channel:0:0"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(folder / name, image, description=text, metadata=None)


REFUSED = [
    ("in.tif in.tif --overwrite", "would be overwritten as"),
    ("in.tif link.tif --overwrite", "would be overwritten as"),
    ("in.tif hard.tif --overwrite", "would be overwritten as"),
    ("link.tif in.tif --overwrite", "would be overwritten as"),
    ("in.zarr in.zarr --overwrite", "would be overwritten as"),
    ("in.zarr in.zarr/out.zarr", "would be inside in.zarr"),
    ("in.zarr/inner.zarr in.zarr --overwrite", "would be inside in.zarr"),
    ("in.tif mask.png --mask mask.png --task inpaint --overwrite", "would be overwritten as"),
    ("in.tif out.tif --mask in.tif --task inpaint", "give two different files"),
    ("in.tif out.tif --bands mask.png --mask mask.png --task inpaint --overwrite", "would be overwritten as"),
    ("mine.png out.tif --bands mine.png --overwrite", "would be overwritten as"),
    ("mine.png out.png --bands out.png", "would both be written to out.png"),
    ("mine.png out.png --bands out.png/plot.png", "would be inside out.png"),
    ("in.tif out.tif --bands mask.png", "mask.png exists"),
    ("in.tif out.tif --bands plot.jpg", "end the name in .png"),
    ("in.tif mine.tif", "mine.tif exists"),
    ("in.tif mine.tif --resume", "mine.tif exists and is not the restored image of in.tif"),
    ("in.tif mine.png --resume", "mine.png exists and is not"),
    ("in.tif in.zarr --resume", "in.zarr exists and is not"),
    ("in.tif theirs.tif --residual", "theirs_residual.tif exists"),
    ("in.tif theirs.tif --residual --resume", "theirs_residual.tif exists and is not the residual"),
    ("in.tif theirs.tif --bands mask.png --resume", "mask.png exists and is not the plot"),
    ("in.tif my.zarr --overwrite", "not an OME-Zarr"),
    ("in.tif plain.zarr --overwrite", "not an OME-Zarr"),
    ("in.tif folder.tif --overwrite", "is a folder"),
    ("in.tif fifo.tif --overwrite", "is a pipe"),
    ("in.tif dangling.tif", "dangling.tif exists"),
    ("part1.ome.tif part2.ome.tif --overwrite", "holds a part of part1.ome.tif"),
    ("in.tif .", "give a file name"),
    ("in.tif in.tif/out.tif", "cannot be created"),
    ("in.tif /proc/out.tif", "cannot be written to"),
    (f"in.tif {'n' * 250}.tif --residual", "too long"),
    (f"in.tif {'n' * 300}/out.tif", "too long"),
    ("in.zarr out.zarr --bands plot.png", "single plane"),
    ("data out --residual", "out/a_residual.tif"),
    ("data data", "would be overwritten as"),
    ("data out --report mask.png/report.csv", "cannot be created"),
    ("data out --report report.csv", "report.csv exists"),
    ("data out --report report.csv --resume", "report.csv exists and is not the report"),
    ("data out --report report.json --resume", "report.json exists and is not the report"),
    ("data folder.tif/a.tif/b.zarr --report folder.tif --overwrite", "end the name in .csv"),
    ("data out --mask data/a.tif --task inpaint", "give two different files"),
    ("data/*l.tif data", "would be overwritten as"),
]  # fmt: skip


def test_an_empty_name_does_not_mean_the_current_folder(strangers) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(strangers)
        refused = run("restore", "", "out.tif", *QUICK)
    assert refused.exit_code == 1
    assert "IN is empty" in refused.output


@pytest.mark.parametrize(("line", "sentence"), REFUSED)
def test_no_file_of_the_users_is_overwritten(untouched, line, sentence) -> None:
    for name in ("link.tif", "hard.tif", "dangling.tif", "fifo.tif", "/proc"):
        if name in line and not os.path.lexists(untouched / name):
            pytest.skip(f"there is no {name} on this system")
    if sys.platform == "win32" and "nnn" in line:
        pytest.skip("too long a name is another error")
    before = contents(untouched)
    done = run_here(untouched, line)
    assert done.exit_code == 1, done.output
    assert sentence in " ".join(done.output.split())
    assert done.output.count("\n") == 1
    assert contents(untouched) == before


def test_names_that_differ_only_in_case_clash_if_the_disk_ignores_case(strangers) -> None:
    one, other = (FileToWrite(strangers / "new" / name, f"the output {name}") for name in ("a.tif", "A.tif"))
    if (strangers / "IN.TIF").exists():
        with pytest.raises(ValueError, match="would both be written to"):
            check_files([], [one, other])
    else:
        check_files([], [one, other])
    assert not (strangers / "new").exists()


def test_the_error_names_both_outputs_of_one_name(strangers) -> None:
    told = run_here(strangers, "data out --residual").output
    assert "the residual of data/a.tif" in told
    assert "the restored image of data/a_residual.tif" in told


@pytest.mark.parametrize("out", ["out.tif", "out.png", "out.ome.tif", "out.zarr"])
def test_our_own_outputs_are_kept_continued_or_replaced(strangers, out) -> None:
    line = f"in.tif {out} --residual"
    assert run_here(strangers, line).exit_code == 0
    before = contents(strangers)
    refused = run_here(strangers, line)
    assert refused.exit_code == 1
    assert "--resume" in refused.output
    kept = run_here(strangers, f"{line} --resume")
    assert "nothing is left" in kept.output, kept.output
    assert contents(strangers) == before
    anew = run_here(strangers, f"{line} --overwrite --seed 5")
    assert anew.exit_code == 0, anew.output
    assert contents(strangers).keys() == before.keys()
    assert contents(strangers) != before
    left = strangers / ("out_residual.tif" if out.endswith("png") else out.replace("out", "out_residual"))
    shutil.rmtree(left) if left.is_dir() else left.unlink()
    again = run_here(strangers, f"{line} --resume --seed 5")
    assert again.exit_code == 0, again.output
    assert left.exists()


@pytest.mark.parametrize("out", ["out.tif", "out.ome.tif", "out.zarr"])
def test_our_own_stack_is_kept(strangers, out) -> None:
    assert run_here(strangers, f"in.zarr {out}").exit_code == 0
    before = contents(strangers)
    kept = run_here(strangers, f"in.zarr {out} --resume")
    assert "nothing is left" in kept.output, kept.output
    assert contents(strangers) == before


def test_our_own_plot_is_kept(strangers) -> None:
    line = "in.tif out.tif --bands plot.png"
    assert run_here(strangers, line).exit_code == 0
    before = contents(strangers)
    assert "nothing is left" in run_here(strangers, f"{line} --resume").output
    assert contents(strangers) == before


def test_one_output_is_not_taken_for_another(strangers) -> None:
    assert run_here(strangers, "in.tif out_residual.tif").exit_code == 0
    refused = run_here(strangers, "in.tif out.tif --residual --resume")
    assert refused.exit_code == 1
    assert "not the residual" in refused.output


def test_the_demo_replaces_only_when_told_to(tmp_path) -> None:
    (tmp_path / "noisy.tif").write_text("precious")
    (tmp_path / "other.txt").write_text("precious")
    refused = run("demo", tmp_path)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.output
    assert sorted(contents(tmp_path)) == ["noisy.tif", "other.txt"]
    assert "precious" in (tmp_path / "noisy.tif").read_text()


@pytest.mark.full
def test_the_demo_writes_what_it_says(tmp_path) -> None:
    (tmp_path / "noisy.tif").write_text("precious")
    (tmp_path / "other.txt").write_text("precious")
    done = run("demo", tmp_path, "--preset", "fast", "--device", "cpu", "--overwrite")
    assert done.exit_code == 0, done.output
    written = {"truth.tif", "noisy.tif", "restored.tif", "smoothed.tif", "detail_enhanced.tif"}
    assert set(contents(tmp_path)) == written | {"frequency_bands.png", "before_after.png", "other.txt"}
    assert "other.txt" not in done.output


def test_every_option_names_itself_explicitly() -> None:
    """Some versions of typer turn an unnamed option into --TASK."""
    for command in (restore, demo, describe_device):
        for hint in get_type_hints(command, include_extras=True).values():
            for told in getattr(hint, "__metadata__", ()):
                if isinstance(told, OptionInfo):
                    assert any(str(name).startswith("--") for name in (told.default, *(told.param_decls or ()))), hint


has_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that can be handled")


@pytest.fixture
def default_signals():
    """If the tests run in the background, Ctrl-C may be ignored, and a command respects that."""
    numbers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def signal_once_at_work(number: int, times: int = 1) -> threading.Thread:
    """Send this process a signal as soon as a command handles it."""
    before = signal.getsignal(number)

    def send() -> None:
        end = time.monotonic() + 60
        while signal.getsignal(number) is before and time.monotonic() < end:
            time.sleep(0.005)
        for _ in range(times):
            if signal.getsignal(number) is not before:
                os.kill(os.getpid(), number)
                time.sleep(0.02)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


LONG = [*QUICK, "--step-limit", "100000", "--set", "stopping=fixed"]


@has_signals
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_and_keeps(strangers, default_signals, number, code) -> None:
    """A stopped run fails only if a requested output is missing."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    for name, further, expected in (("a.tif", [], 0), ("b.tif", ["--smoothed"], code)):
        thread = signal_once_at_work(number)
        done = run("restore", strangers / "in.tif", strangers / name, *LONG, *further)
        thread.join()
        assert done.exit_code == expected, done.output
        assert tifffile.imread(strangers / name).shape == (16, 20)
    assert "smoothed was not computed" in done.output
    assert not (strangers / "b_smoothed.tif").exists()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@has_signals
@pytest.mark.parametrize("source", ["data", "in.zarr"])
def test_a_signal_ends_a_folder_with_its_exit_code(strangers, default_signals, source) -> None:
    (strangers / "data/a_residual.tif").unlink()
    out = strangers / ("out.zarr" if source.endswith("zarr") else "out")
    thread = signal_once_at_work(signal.SIGTERM)
    done = run("restore", strangers / source, out, *LONG)
    thread.join()
    assert done.exit_code == 143, done.output
    assert "stopped" in done.output
    assert not (out / "a.tif").exists()


@has_signals
def test_a_second_signal_ends_at_once(strangers, default_signals) -> None:
    thread = signal_once_at_work(signal.SIGTERM, times=2)
    before = contents(strangers)
    done = run("restore", strangers / "in.tif", strangers / "out.tif", *LONG, "--smoothed", "--set", "width=64")
    thread.join()
    assert done.exit_code == 143, done.output
    assert contents(strangers) == before


@has_signals
@pytest.mark.full
@pytest.mark.parametrize("times", [1, 2])
def test_a_process_ends_on_sigterm(strangers, times) -> None:
    """As with Slurm: a separate process, which reports by its exit code."""
    arguments = ["restore", str(strangers / "in.tif"), str(strangers / "out.tif"), *LONG, "--smoothed"]
    process = subprocess.Popen([sys.executable, "-c", "from napari_dip.command_line import main; main()", *arguments],
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stderr is not None
    process.stderr.readline()  # the device line, then the run starts
    time.sleep(3)
    for _ in range(times):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.005)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert (strangers / "out.tif").exists() or times == 2
    assert not [path for path in strangers.iterdir() if path.name.startswith(".")]


def test_a_single_file_on_a_full_disk(strangers) -> None:
    resource = pytest.importorskip("resource")
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = contents(strangers)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    try:
        done = run_here(strangers, "in.tif out.tif")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    assert done.exit_code == 1
    assert "out.tif could not be written: the disk is full" in done.output
    assert contents(strangers) == before


@pytest.mark.parametrize(
    "change", ["width=" + "(" * 500, "width={[]: 1}", "width=\\d", "width=1" + "0" * 5000, "=", ""]
)
def test_any_bad_setting_gets_an_error_message(strangers, change) -> None:
    done = run("restore", strangers / "in.tif", strangers / "out.tif", "--set", change)
    assert done.exit_code == 1, done.output
    assert done.output.startswith("napari-dip: ")


def test_deconvolution_takes_its_psf_from_a_bead_the_optics_or_a_width(tmp_path) -> None:
    sample = blurred_filaments(side=48)
    assert sample.bead is not None
    image, bead = tmp_path / "in.ome.tif", tmp_path / "bead.ome.tif"
    for path, pixels, side in ((image, sample.degraded, FILAMENT_PIXEL), (bead, sample.bead, BEAD_PIXEL)):
        metadata = {"axes": "YX", "PhysicalSizeX": side, "PhysicalSizeY": side}
        tifffile.imwrite(path, pixels, ome=True, metadata=metadata)
    few = ["--task", "deconvolve", *FAST, "--step-limit", "2"]
    kinds = {
        "bead": ["--psf", bead],
        "optics": ["--na", "1.3", "--wavelength", "525"],
        "confocal": ["--na", "1.3", "--wavelength", "525", "--pinhole", "1", "--excitation", "488"],
        "gaussian": ["--psf-sigma", "1.4"],
    }
    widths = {}
    for name, options in kinds.items():
        done = run("restore", image, tmp_path / f"{name}.tif", *few, *options)
        assert done.exit_code == 0, done.output
        record = read_stack_record(tmp_path / f"{name}.tif")
        assert record is not None
        widths[name] = full_widths(np.array(record["parameters"]["psf"]))[0]
    told = full_widths(optical_psf(*FILAMENT_OPTICS, FILAMENT_PIXEL))[0]
    assert widths["optics"] == pytest.approx(told, rel=1e-3)
    assert widths["bead"] == pytest.approx(told, rel=0.05)  # on the image's pixels, which both files tell
    assert widths["confocal"] < 0.95 * told
    assert widths["gaussian"] == pytest.approx(2.355 * 1.4, rel=0.05)


def test_channels_of_a_bead_are_psfs_of_the_channels(tmp_path) -> None:
    channels = [blurred_filaments(side=32, seed=seed) for seed in (0, 1)]
    image, bead = tmp_path / "in.ome.tif", tmp_path / "bead.ome.tif"
    tifffile.imwrite(image, np.stack([each.degraded for each in channels]), ome=True, metadata={"axes": "CYX"})
    beads = np.stack([gaussian_psf(sigma)[:9, :9] for sigma in (0.95, 1.3)]).astype(np.float32)
    tifffile.imwrite(bead, np.pad(beads, ((0, 0), (3, 3), (3, 3))), ome=True, metadata={"axes": "CYX"})
    few = ["--task", "deconvolve", "--psf", bead, *FAST, "--step-limit", "2"]
    done = run("restore", image, tmp_path / "out.tif", *few, "--channels", "together")
    assert done.exit_code == 0, done.output
    record = read_stack_record(tmp_path / "out.tif")
    assert record is not None
    psf = np.array(record["parameters"]["psf"])
    assert psf.shape[2] == 2
    widths = [full_widths(psf[..., channel])[0] for channel in (0, 1)]
    assert widths[1] > 1.2 * widths[0]
    apart = run("restore", image, tmp_path / "apart.tif", *few)
    assert apart.exit_code == 1
    assert "channels are restored together" in " ".join(apart.output.split())

    colours = np.pad(np.stack([*beads, beads[1]], axis=2) / beads.max() * 200, ((3, 3), (3, 3), (0, 0)))
    tifffile.imwrite(bead, colours.astype(np.uint8), photometric="rgb")  # the bead in colour
    psf = PsfOptions(file=bead).make_psf(str(image))
    assert psf is not None
    assert full_widths(psf[..., 1])[0] > 1.2 * full_widths(psf[..., 0])[0]
    tifffile.imwrite(bead, np.stack([beads[0]] * 5), ome=True, metadata={"axes": "ZYX"})
    deep = run("restore", image, tmp_path / "deep.tif", *few)
    assert deep.exit_code == 1
    assert "PSF with depth cannot be used" in " ".join(deep.output.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "deconvolve"], "needs a psf"),
        (["--task", "deconvolve", "--na", "1.4"], "also needs --wavelength"),
        (["--task", "deconvolve", "--na", "1.4", "--wavelength", "525"], "add --pixel-size"),
        (["--task", "deconvolve", "--psf-sigma", "2", "--na", "1.4"], "give only one"),
        (["--task", "deconvolve", "--pinhole", "1"], "add --na and --wavelength"),
        (["--psf-sigma", "2"], "psf is for deconvolution"),
    ],
)
def test_a_psf_that_is_not_clear_is_refused_in_a_sentence(noisy, tmp_path, options, words) -> None:
    done = run("restore", noisy, tmp_path / "out.tif", *options)
    assert done.exit_code == 1
    assert words in " ".join(done.output.split())
    assert not (tmp_path / "out.tif").exists()
