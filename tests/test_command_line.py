"""The commands, as a user types them."""

import json

import numpy as np
import pytest
import tifffile
from skimage import io
from typer.testing import CliRunner

from napari_dip.command_line import app
from napari_dip.image_files import read_image

QUICK = ["--preset", "fast", "--step-limit", "10", "--device", "cpu"]


def run(*arguments: object):
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def noisy(tmp_path, camera):
    io.imsave(tmp_path / "in.png", camera, check_contrast=False)
    return tmp_path / "in.png"


def test_restore_writes_tiff_with_its_record(noisy, tmp_path) -> None:
    done = run("restore", noisy, tmp_path / "out.tif", *QUICK, "--smoothed", "--bands", tmp_path / "bands.png")
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
    done = run("restore", noisy, tmp_path / "out.png", "--task", "inpaint", "--mask", tmp_path / "mask.png", *QUICK)
    assert done.exit_code == 0, done.output
    filled = io.imread(tmp_path / "out.png")
    np.testing.assert_array_equal(filled[mask == 0], camera[mask == 0])


def test_enhance_writes_the_enhanced_image(noisy, tmp_path, camera) -> None:
    done = run("restore", noisy, tmp_path / "out.tif", "--task", "enhance", *QUICK, "--detail-amount", "0")
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), camera, atol=1e-3)


def test_super_resolution_and_any_setting(noisy, tmp_path, camera) -> None:
    done = run("restore", noisy, tmp_path / "large.tif", "--task", "super_resolve", "--factor", 2, *QUICK,
               "--set", "network=conv_net", "--set", "width=8", "--set", "levels=2")  # fmt: skip
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
    io.imsave(tmp_path / "in.jpg", camera, quality=20, check_contrast=False)
    done = run("restore", tmp_path / "in.jpg", tmp_path / "out.tif", "--task", "deblock", *QUICK)
    assert done.exit_code == 0, done.output
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert "(given)" in json.loads(file.pages[0].description)["compared"]


def test_nothing_is_overwritten_unasked(noisy, tmp_path) -> None:
    (tmp_path / "out.tif").write_text("precious")
    done = run("restore", noisy, tmp_path / "out.tif", *QUICK)
    assert done.exit_code == 1
    assert "--overwrite" in done.output
    assert (tmp_path / "out.tif").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.png", "out.tif"], "no file"),
        (["in.png", "out.jpg"], "end it in .tif or .png"),
        (["in.png", "out.tif", "--task", "inpaint"], "nothing is marked as missing"),
        (["in.png", "out.tif", "--device", "cuda:99"], "cannot be used here"),
        (["in.png", "out.tif", "--set", "averaging=foo"], "averaging is 'foo'"),
        (["in.png", "out.tif", "--set", "seed=-3"], "seed is -3"),
        (["in.png", "in.png/out.tif"], "cannot be made"),
    ],
)
def test_mistakes_get_one_sentence_and_no_file(noisy, tmp_path, monkeypatch, arguments, sentence) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("restore", *arguments)
    assert done.exit_code == 1
    assert sentence in done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.glob("out*"))


def test_a_missing_argument_is_told() -> None:
    done = run("restore")
    assert done.exit_code == 2
    assert "Missing argument" in done.output


def test_help_teaches() -> None:
    assert "Examples" in run("restore", "--help").output
    assert "--mask" in run("restore", "--help").output
