"""The scripts that repeat the paper run to their end and go on where they were interrupted."""

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
    arguments = ("--data", tmp_path, "--variant", "width 32", "--results", tmp_path / "results.jsonl")
    printed = run("ablation.py", *arguments)
    assert printed.count("width 32") == 2
    assert "0 of 2 to do" in run("ablation.py", *arguments)


@pytest.mark.full
@pytest.mark.parametrize("figure", [3, 4, 5, 6, 7, 16])
def test_the_figures_are_drawn(tmp_path, figure: int) -> None:
    run("figures.py", tmp_path, "--size", 64, "--width", 8, "--steps", 30, "--figure", figure)
    assert (tmp_path / f"figure_{figure}_camera.png").stat().st_size > 10_000


@pytest.mark.full
def test_the_busy_machine_is_measured() -> None:
    printed = run("busy_machine.py", "--steps", 2, "--side", 32)
    assert [line.split("|")[1].strip() for line in printed.splitlines()[2:]] == ["as it comes", "GOMP_SPINCOUNT=300000"]
