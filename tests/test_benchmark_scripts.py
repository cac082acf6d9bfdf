"""The scripts that repeat the paper, and the one for a borrowed GPU, run to their end; a part that fails stops none."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from skimage import data, io

FOLDER = Path(__file__).parent / "benchmark"


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, str(FOLDER / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
def test_the_tables_are_printed_and_resumed(tmp_path) -> None:
    io.imsave(tmp_path / "camera.png", data.camera()[60:188, 130:258], check_contrast=False)
    results = tmp_path / "results.jsonl"
    arguments = (
        "--data",
        tmp_path,
        "--table",
        "super_resolve",
        "--size",
        128,
        "--preset",
        "fast",
        "--results",
        results,
    )
    first = run("paper.py", *arguments)
    assert "in the paper: ours 27.50" in first
    lines = results.read_text().splitlines()
    assert len(lines) == 2
    results.write_text(lines[0] + "\n" + lines[1][:20])  # as if interrupted while writing
    again = run("paper.py", *arguments)
    assert again.splitlines()[-3:-1] == first.splitlines()[-3:-1]
    assert "1 of 2 to do" in again


@pytest.mark.full
def test_the_ablation_is_printed(tmp_path) -> None:
    for folder, name in (("denoise", "camera"), ("microscopy", "a_raw"), ("microscopy", "a_truth")):
        (tmp_path / folder).mkdir(exist_ok=True)
        io.imsave(tmp_path / folder / f"{name}.png", data.camera()[60:124, 130:194], check_contrast=False)
    arguments = ("--data", tmp_path, "--variant", "width 16", "--results", tmp_path / "results.jsonl")
    printed = run("ablation.py", *arguments)
    assert printed.count("width 16") == 2
    assert "0 of 2 to do" in run("ablation.py", *arguments)


@pytest.mark.full
def test_rivals_are_beside_ours(tmp_path) -> None:
    for name in ("microscopy/a_raw", "microscopy/a_truth", "microscopy/a_n2v", "inpaint/boat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        io.imsave(tmp_path / f"{name}.tif", data.camera()[60:188, 130:258], check_contrast=False)
    printed = run("rivals.py", tmp_path, "--set", "microscopy", "--only-rivals")
    assert printed.count("| a |") == 1  # the truth and the rival's result are no images to restore
    assert "| Noise2Void |" in printed
    row = run("rivals.py", tmp_path, "--set", "missing", "--preset", "fast").splitlines()[-1].split("|")
    degraded, ours, _, _, biharmonic = (float(each) for each in row[2:-1])
    assert ours > degraded + 10
    assert biharmonic > degraded + 10


@pytest.mark.full
def test_the_sliders_have_their_pictures(tmp_path) -> None:
    printed = run("before_after.py", tmp_path, "--only", "denoise", "--preset", "fast", "--side", 64)
    assert "dB after" in printed
    assert {each.name for each in tmp_path.iterdir()} == {"denoise_before.png", "denoise_after.png"}


@pytest.mark.full
@pytest.mark.parametrize("figure", [3, 4, 5, 6, 7, 16])
def test_the_figures_are_drawn(tmp_path, figure: int) -> None:
    run("figures.py", tmp_path, "--size", 64, "--width", 8, "--steps", 30, "--figure", figure)
    assert (tmp_path / f"figure_{figure}_camera.png").stat().st_size > 10_000


@pytest.mark.full
def test_deconvolution_is_measured_and_drawn(tmp_path) -> None:
    printed = run("deconvolution.py", tmp_path, "--quick", "--photons", 300)
    assert printed.count("PSF ") == 4
    assert all((tmp_path / f"{name}.png").exists() for name in ("deconvolve", "deconvolve_wrong_psf"))


@pytest.mark.full
def test_what_neighbours_are_worth_is_printed() -> None:
    lines = run("neighbours.py", "--stack", "still", "--side", 64, "--plane", 2, "--step-limit", 10).splitlines()
    assert [line.split()[1] for line in lines] == ["noise", "noise", "scratches", "scratches", "discs", "discs"]
    assert all("neighbours none" in alone and "0 of 1 planes helped" in alone for alone in lines[::2])
    assert all("neighbours auto" in helped and "1 of 1 planes helped" in helped for helped in lines[1::2])
    assert "6 planes: " in run("neighbours.py", "--memory", 6)


def run_on_gpu(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(FOLDER / "gpu.sh"), *map(str, arguments)]
    one_thread = {"OMP_NUM_THREADS": "1"}  # with more, they wait for one another on a busy machine, for so small images
    environment = os.environ | {"PYTHON": sys.executable} | one_thread | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=environment)


def test_a_borrowed_gpu_is_asked_for_in_a_sentence(tmp_path) -> None:
    for arguments, sentence in (
        ((), "say where the tables go"),
        ((tmp_path, "--fast"), "there is no option --fast"),
        ((tmp_path, "--parts", "check,chess"), "there is no part chess"),
        ((tmp_path, "--seconds", "soon"), "takes a whole number"),
        ((tmp_path, tmp_path / "nowhere"), "no folder for the judge"),
    ):
        done = run_on_gpu(*arguments)
        assert done.returncode == 2
        assert sentence in done.stderr


@pytest.mark.full
def test_a_part_that_hangs_or_fails_stops_none(tmp_path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(
        "#!/bin/sh\n"
        'case "$*" in *gpu_check*) exec sleep 100 ;; *gpu_profile*) echo it broke >&2; exit 3 ;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    interpreter.chmod(0o755)
    arguments = ("--device", "cpu", "--quick", "--parts", "check,tests,profile")
    done = run_on_gpu(tmp_path / "out", *arguments, PYTHON=str(interpreter))
    assert done.returncode == 1
    assert "2 parts failed" in done.stderr
    tables = (tmp_path / "out" / "tables.md").read_text()
    assert "| check | **not finished in 30 s** |" in tables
    assert "| tests | passed |" in tables
    assert "**failed**: it broke" in tables
    assert tables in done.stdout


@pytest.mark.full
def test_all_that_a_borrowed_gpu_is_asked(tmp_path) -> None:
    judge = tmp_path / "judge"
    judge.mkdir()  # without cases: the last part fails
    done = run_on_gpu(tmp_path, judge, "--device", "cpu", "--quick", "--seconds", "900")
    tables = (tmp_path / "tables.md").read_text()
    assert tables.count("| passed |") == 5, done.stdout + done.stderr
    assert "**failed**: there is no cases.py" in tables
    assert done.returncode == 1


def test_a_trace_is_read(monkeypatch) -> None:
    """As torch's profiler writes it: overlapping kernels are busy once, and the wait after the steps is not theirs."""
    monkeypatch.syspath_prepend(str(FOLDER))
    events = [
        {"ph": "X", "cat": cat, "name": name, "ts": begin, "dur": end - begin}
        for cat, name, begin, end in (
            ("user_annotation", "steps of a fit", 100.0, 200.0),
            ("gpu_user_annotation", "steps of a fit", 120.0, 900.0),
            ("cuda_runtime", "cudaLaunchKernel", 50.0, 51.0),
            ("cuda_runtime", "cudaLaunchKernel", 110.0, 111.0),
            ("cuda_driver", "cuLaunchKernelEx", 120.0, 121.0),
            ("cuda_runtime", "cudaMemcpyAsync", 130.0, 131.0),
            ("cuda_runtime", "cudaStreamSynchronize", 140.0, 160.0),
            ("cuda_runtime", "cudaDeviceSynchronize", 210.0, 900.0),
            ("kernel", "convolution", 120.0, 320.0),
            ("kernel", "addition", 220.0, 420.0),
            ("gpu_memcpy", "Memcpy DtoH", 500.0, 600.0),
            ("cpu_op", "aten::add", 110.0, 112.0),
        )
    ]
    events.append({"ph": "M", "name": "process_name", "args": {"name": "python"}})
    read = importlib.import_module("gpu_profile").read_trace(events, steps=2)
    assert read == {"launches": 1.0, "kernels": 1.5, "busy": 0.2, "synchronisations": 0.5}


@pytest.mark.full
def test_the_busy_machine_is_measured() -> None:
    printed = run("busy_machine.py", "--steps", 2, "--side", 32)
    assert [line.split("|")[1].strip() for line in printed.splitlines()[2:]] == ["as it comes", "GOMP_SPINCOUNT=300000"]


@pytest.mark.full
def test_killed_runs_are_resumed_and_equal_those_that_nobody_killed() -> None:
    assert "3 kills hit, 3 resumes, 0 runs differ" in run("kills.py", "--kills", 3, "--kinds", "stack")
