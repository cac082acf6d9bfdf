"""What the package, the napari hub and a release need: they agree with one another, and a poor release is refused."""

import importlib.util
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from npe2 import PluginManifest
from PIL import Image

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = "https://github.com/a-lab/napari-dip"
RELATIVE = r"\]\((?![a-z]+:|#)"


def load(name: str) -> ModuleType:
    """Import a script of .ci."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def describe(address: str, monkeypatch) -> dict:
    """Return the metadata that a build with this repository address gets."""
    monkeypatch.chdir(ROOT)  # hatchling builds there
    metadata = {"name": PROJECT["name"], "version": "1.2.3"}
    load("package_metadata").PackageMetadata(str(ROOT), {"repository": address}).update(metadata)
    return metadata


def test_with_an_address_the_readme_becomes_the_page_of_a_release(monkeypatch) -> None:
    metadata = describe(ADDRESS, monkeypatch)
    text = metadata["readme"]["text"]
    assert not re.search(RELATIVE, text)
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert pictures
    for picture in pictures:
        assert picture.startswith(f"{ADDRESS}/raw/v1.2.3/")
        assert (ROOT / picture.removeprefix(f"{ADDRESS}/raw/v1.2.3/")).exists()
    assert f"]({ADDRESS}/blob/v1.2.3/docs/" in text
    assert 'pip install "napari-dip[all]"' in text
    assert metadata["urls"]["Documentation"] == "https://a-lab.github.io/napari-dip/"


def test_without_an_address_the_readme_stays_as_it_is(monkeypatch) -> None:
    metadata = describe("", monkeypatch)
    assert metadata["readme"]["text"] == (ROOT / "README.md").read_text(encoding="utf-8")
    assert list(metadata["urls"]) == ["User Support"]


@pytest.fixture
def make_wheel(tmp_path, monkeypatch):
    """Make a wheel that holds nothing but its metadata."""

    def make(address: str) -> Path:
        metadata = describe(address, monkeypatch)
        links = "".join(f"Project-URL: {name}, {url}\n" for name, url in metadata["urls"].items())
        text = f"Metadata-Version: 2.4\nName: napari-dip\nVersion: 1.2.3\n{links}\n{metadata['readme']['text']}"
        path = tmp_path / "napari_dip-1.2.3-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as files:
            files.writestr("napari_dip-1.2.3.dist-info/METADATA", text)
        return path

    return make


DATED = "## [Unreleased]\n\n## [1.2.3] - 2027-01-31\n"


def test_a_release_with_all_it_needs_is_let_through(make_wheel) -> None:
    assert load("check_release").list_faults(make_wheel(ADDRESS), "v1.2.3", DATED) == []


@pytest.mark.parametrize(
    ("address", "tag", "changelog", "says"),
    [
        ("", "v1.2.3", DATED, ["set repository in", "links that lead nowhere", "how to install a copy"]),
        (ADDRESS, "v1.2.4", DATED, ["The tag is v1.2.4"]),
        (ADDRESS, "v1.2.3", "## [Unreleased]\n", ["CHANGELOG.md has no section"]),
        (ADDRESS, "v1.2.3", "## [1.2.3] - soon\n", ["CHANGELOG.md has no section"]),
    ],
)
def test_a_release_that_lacks_something_is_refused(make_wheel, address, tag, changelog, says) -> None:
    faults = load("check_release").list_faults(make_wheel(address), tag, changelog)
    assert len(faults) == len(says)
    for fault, words in zip(faults, says, strict=True):
        assert words in fault


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    recipe = yaml.safe_load((ROOT / ".conda" / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["context"]["version"] == PROJECT["version"]
    names = {"matplotlib": "matplotlib-base", "napari": "napari-base", "torch": "pytorch"}
    wanted = set()
    for requirement in PROJECT["dependencies"]:
        name, version = requirement.split(" ", 1)
        wanted.add(f"{names.get(name, name)} {version}")
    listed = {each for each in recipe["requirements"]["run"] if not each.startswith("python ")}
    assert listed == wanted


def test_the_manifest_has_an_icon_that_the_hub_can_show() -> None:
    manifest = PluginManifest.from_file(ROOT / "napari.yaml")
    assert [str(each) for each in manifest.categories] == ["Image Processing"]
    package, name = str(manifest.icon).split(":")
    with Image.open(ROOT / "src" / package / name) as icon:
        assert icon.width == icon.height >= 128


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert headings[0] == "[Unreleased]"
