"""Any command line gives a result or an error message, writes only the named files, and changes no existing file."""

import itertools
import os
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import io
from terminal import contents, run

from napari_dip import Settings
from napari_dip.many.image_stack import Stack
from napari_dip.many.stack_files import write_stack

TINY = {"partner": "false", "width": "4", "levels": "1", "input_channels": "4", "smoothed_steps": "2", "runs": "1"}
FURTHER = ("", "_smoothed", "_detail_enhanced", "_uncertainty", "_residual")


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A folder of small images and of the user's other files."""
    folder = tmp_path_factory.mktemp("template") / "work"
    (folder / "data").mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 255, (16, 20)).astype(np.uint8)
    for name in ("in.tif", "mine.tif", "theirs_residual.tif", "data/a.tif", "data/a_residual.tif"):
        tifffile.imwrite(folder / name, image)
    tifffile.imwrite(folder / "float.tif", image.astype(np.float32))
    io.imsave(folder / "in.png", image, check_contrast=False)
    io.imsave(folder / "data/b.jpg", image, check_contrast=False)
    io.imsave(folder / "mask.png", (np.eye(16, 20) * 255).astype(np.uint8), check_contrast=False)
    write_stack(folder / "in.zarr", [image, image], (2, 16, 20), np.uint8, Stack(None, "TYX"), "TYX")
    (folder / "broken.tif").write_text("no image")
    (folder / "my.zarr").mkdir()
    (folder / "my.zarr" / "thesis.txt").write_text("ten years")
    (folder / "folder.tif").mkdir()
    (folder / "link.tif").symlink_to("in.tif")
    (folder / "report.csv").write_text("name,grade\nme,A\n")
    # run once first: torch and others set variables when they are loaded
    first = run("restore", folder / "in.tif", folder.parent / "first.zarr", *quick({}))
    assert first.exit_code == 0, first.output
    return folder


def quick(given: dict[str, str]) -> list[str]:
    """Return options that make a run short, whatever precedes them."""
    device = [] if "--device" in given else ["--device", "cpu"]
    return [*device, "--step-limit", "4", *(word for each in TINY.items() for word in ("--set", "=".join(each)))]


INPUTS = ["in.tif", "float.tif", "in.png", "in.zarr", "data", "data/*", "data/*.tif", "link.tif"]
HOSTILE_INPUTS = [
    "none.tif",
    "broken.tif",
    "folder.tif",
    "my.zarr",
    "mask.png",
    "report.csv",
    "",
    ".",
    "[",
    "*",
    "a\0.tif",
]
OUTPUTS = ["out.tif", "out.png", "out.ome.tif", "out.zarr", "out", "sub/out.tif", "theirs.tif"]
HOSTILE_OUTPUTS = [  # no NUL: no argument of a process can hold one
    "in.tif", "link.tif", "mine.tif", "in.png", "in.zarr", "in.zarr/out.tif", "my.zarr", "folder.tif", "in.tif/out.tif",
    "data", "mask.png", "", ".", "..", "/dev/null", "/dev/full", "/proc/out.tif", "out.jpg", "n" * 300 + ".tif",
    "n" * 250 + ".tif", "\udcff\n.tif", "[red].zarr", ".tif", "report.csv",
]  # fmt: skip
NUMBERS = ["0", "1", "2", "3", "-1", "0.5", "1e308", "inf", "nan", "9" * 25, "x", "", "None", "[1]", "{}", "True", "'"]
PATHS = [*OUTPUTS, *HOSTILE_OUTPUTS, "plot.png", "rows.csv", "rows.json", "mask.png", "{stem}.png", "data/a.tif"]
VALUES = {
    "--task": ["denoise", "deblock", "inpaint", "super_resolve", "enhance", "deconvolve", "x"],
    "--factor": NUMBERS, "--mask": PATHS, "--preset": ["fast", "best", "paper", "gp_dip", "x"], "--seed": NUMBERS,
    "--lipschitz-bound": NUMBERS, "--detail-amount": NUMBERS, "--dtype": ["float32", "same", "int8"], "--bands": PATHS,
    "--axes": ["YX", "TYX", "CYX", "YXS", "QQ", "", "é", "yx", "TYXTYX"], "--channels": ["apart", "together", "x"],
    "--memory": NUMBERS, "--warm-start": ["T", "Z", "Y", "", "é"], "--report": PATHS,
    "--suffix": [".png", ".tif", ".zarr", ".ome.tif", "x", "", "/../../out.tif"],
    "--device": ["cpu", "cuda:99", "x", "meta", ""],
}  # fmt: skip
FLAGS = ["--no-keep-known", "--smoothed", "--detail-enhanced", "--uncertainty", "--residual", "--overwrite", "--resume"]


def mostly(usual: list[str], odd: list[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(usual), st.sampled_from(usual), st.sampled_from(odd))


OPTION = st.one_of(
    st.sampled_from(FLAGS).map(lambda flag: [flag]),
    st.sampled_from([[name, value] for name, values in VALUES.items() for value in values]),
    st.tuples(st.sampled_from(sorted(Settings.__dataclass_fields__)), st.one_of(st.sampled_from(NUMBERS), st.text()))
    .filter(lambda each: each[0] not in ("step_limit", "device", *TINY))
    .map(lambda each: ["--set", f"{each[0]}={each[1]}"]),
    st.text(max_size=12).map(lambda text: ["--set", text]),
)  # fmt: skip


def state() -> list[object]:
    """The state of this process that a command must not change (except Python's random numbers, which rich uses)."""
    umask = os.umask(0)
    os.umask(umask)
    return [
        signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), dict(os.environ), Path.cwd(), umask,
        torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_rng_state().tolist(),
        np.geterr(), np.random.get_state()[1].tolist(), list(warnings.filters),  # noqa: NPY002
    ]  # fmt: skip


def may_be_made(path: Path, folder: Path, named: list[str]) -> bool:
    """Return whether a path is a named file, one of its extra outputs, or a folder above or inside it."""
    for name in named:
        try:
            wanted = Path(os.path.realpath(folder / name))
        except ValueError:
            continue
        for suffix in (".ome.tif", ".zarr", ".tif", ".png"):
            if wanted.name.endswith(suffix):
                stem = wanted.name[: -len(suffix)]
                names = {f"{stem}{each}{ending}" for each in FURTHER for ending in (suffix, ".tif")} | {wanted.name}
                break
        else:
            names = {wanted.name}
        for each in names:
            of = wanted.with_name(each)
            if path == of or path in of.parents or of in path.parents:
                return True
    return False


@pytest.mark.skipif(sys.platform == "win32", reason="names that are devices there, or none")
@given(
    source=mostly(INPUTS, HOSTILE_INPUTS), out=mostly(OUTPUTS, HOSTILE_OUTPUTS), options=st.lists(OPTION, max_size=4)
)  # fmt: skip
def test_any_command_line(template, source, out, options) -> None:
    words = [word for option in options for word in option]
    given = dict(itertools.pairwise([*words, ""]))
    with tempfile.TemporaryDirectory() as around, pytest.MonkeyPatch.context() as patch:
        folder = Path(around).resolve() / "work"
        shutil.copytree(template, folder, symlinks=True)
        patch.chdir(folder)
        before, was = contents(folder.parent), state()
        done = run("restore", source, out, *words, *quick(given))
        told = f"{source!r} {out!r} {words}\n{done.output}"
        assert done.exception is None or isinstance(done.exception, SystemExit), told
        assert done.exit_code in (0, 1, 2), told
        assert "Traceback" not in done.output, told
        if done.exit_code == 1:
            assert "napari-dip: " in done.output or "failed" in done.output, told
        assert state() == was, told
        after = contents(folder.parent)
        named = [out, given.get("--bands", ""), given.get("--report", "")]
        for name in before.keys() | after.keys():
            path = folder.parent / name
            if before.get(name) == after.get(name):
                continue
            assert may_be_made(path, folder, named), f"{path} was changed by {told}"
            assert name not in before or "--overwrite" in words, f"{path} was written over by {told}"
            assert path.name not in (Path(source).name, Path(given.get("--mask", "")).name), f"{path}: {told}"
        if out == "..":  # the output is outside the folder
            return
        assert not [name for name in after if Path(name).name.startswith(".napari")], told
