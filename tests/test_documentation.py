"""What README and docs tell to type does what they say: every Python block and every command of ours is run.

Images of the names that the pages use are made here, small; commands get few steps and the pages stay as they are.
"""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data, io
from terminal import run

import napari_dip
from napari_dip.image_files import read_image
from napari_dip.samples import (
    blurred_filaments,
    moving_cells,
    noisy_fluorescence,
    scratched_photograph,
    small_photograph,
)

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FEW_STEPS = ["--set", "step_limit=10", "--set", "smoothed_steps=10"]
_ELSEWHERE = ("pip install", "python tests/benchmark/", ".ci/run", "git clone")  # .ci/run and test_benchmark_scripts


def _blocks() -> list:
    return [
        pytest.param(code, id=f"{page.name}-{number}")
        for page in PAGES
        for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S))
    ]


def _commands() -> list:
    found = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
        for line in re.findall(r"^    (\S.*)$", text, re.M):
            for part in line.split("&&"):
                if part.strip().startswith("napari-dip "):
                    found.append(pytest.param(shlex.split(part)[1:], id=f"{page.name}: {part.strip()}"))
    return found


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with the images that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    noisy, scratched = noisy_fluorescence(side=48).degraded, scratched_photograph(side=48)
    assert scratched.mask is not None
    for name in ("noisy.tif", "cells.tif"):
        io.imsave(name, noisy, check_contrast=False)
    io.imsave("small.tif", small_photograph(side=24).degraded, check_contrast=False)
    filaments = blurred_filaments(side=48)
    for name, image in (("filaments.tif", filaments.degraded), ("bead.tif", filaments.bead)):
        io.imsave(name, image, check_contrast=False)
    io.imsave("scratched.png", scratched.degraded, check_contrast=False)
    io.imsave("scratches.png", scratched.mask.astype(np.uint8) * 255, check_contrast=False)
    Image.fromarray(data.camera()[:64, :64]).save("photo.jpg", quality=10)
    tifffile.imwrite("film.ome.tif", moving_cells(frames=2, side=32).degraded, ome=True, metadata={"axes": "TYX"})
    for name in ("data", "masks"):
        (tmp_path / name).mkdir()
    for name in ("one", "two"):
        io.imsave(f"data/{name}.tif", noisy, check_contrast=False)
        io.imsave(f"masks/{name}.png", scratched.mask.astype(np.uint8) * 255, check_contrast=False)
    return tmp_path


@pytest.fixture(scope="module")
def scheduler(kept_environment):
    """The address of a cluster of one process."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.mark.full
@pytest.mark.parametrize("code", _blocks())
def test_python_blocks_run(code: str) -> None:
    exec(compile(code, "block", "exec"), {"__name__": "__main__"})


@pytest.mark.full
@pytest.mark.parametrize("words", _commands())
def test_commands_run(words: list[str], folder: Path, request) -> None:
    files = [word for word in words[1:] if re.search(r"^[^*{]+\.(tif|png|jpg|csv)$", word)]
    words = [request.getfixturevalue("scheduler") if word.startswith("tcp://") else word for word in words]
    takes_settings = words[0] == "restore" and "--help" not in words
    done = run(*words, *(FEW_STEPS if takes_settings else []))
    assert done.exit_code == 0, done.output
    for name in files:
        assert (folder / name).stat().st_size, name
        if not name.endswith((".csv", ".ome.tif")):
            assert read_image(folder / name).size, name
    if "restored/" in words:
        assert {each.stem for each in (folder / "restored").iterdir()} >= {"one", "two"}


def test_the_pages_name_what_is_there() -> None:
    """Links and pictures lead somewhere, and no command line of another kind slips in untested."""
    assert _blocks()
    assert _commands()
    for page in PAGES:
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#\s]+)\)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links {target}"
        for line in re.findall(r"^    ((?:napari-dip|python|pip|git|\.ci/)\S* .*|\.ci/run.*)$", text, re.M):
            for part in line.split("&&"):
                assert part.strip().startswith(("napari-dip ", *_ELSEWHERE)), f"{page.name}: {part}"


def test_every_public_name_is_documented() -> None:
    documented = re.findall(r"^::: napari_dip\.(\w+)$", (ROOT / "docs" / "api.md").read_text(), re.M)
    assert set(documented) == {*napari_dip.__all__, "samples"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_docs_site_shows_lists_as_github_does(page: Path) -> None:
    """Python-Markdown, which makes the site, takes what lies in a list item to be there only if it is indented by 4."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for found in re.findall(r"\n\n( {1,3}\S.*)|^( {1,3}(?:[-*]|\d+\.) .*)", text, re.M):
        pytest.fail(f"indent this by 4 spaces, after an empty line: {''.join(found).strip()}")
    for above, item in re.findall(r"^(\S.*)\n((?:[-*]|1\.) .*)", text, re.M):
        assert re.match(r"[-*] |\d+\. ", above), f"put an empty line before the list: {item}"
