"""What the package says of itself on its web page: README.md with absolute addresses, and links to the project.

README.md is written for a copy of the repository; the page of a release says how to install the release.

hatchling runs this when it builds. Links and pictures need the repository's address, which stands in one place:
`repository`, in pyproject.toml.
"""

import importlib.util
from pathlib import Path
from typing import Any

from hatch_fancy_pypi_readme import hooks
from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = r"(?![a-z]+:|#)([^)\s]+)"  # the target of a link that is neither an address nor within the page
_FORUM = "https://forum.image.sc/tag/napari"


class PackageMetadata(MetadataHookInterface):
    """Fills in what pyproject.toml calls dynamic: readme and urls."""

    def update(self, metadata: dict[str, Any]) -> None:
        repository = self.config["repository"]
        readme = {
            "content-type": "text/markdown",
            "fragments": [{"path": "README.md"}],
            "substitutions": make_substitutions(repository, metadata["version"]),
        }
        hooks.FancyReadmeMetadataHook(self.root, readme).update(metadata)
        metadata["urls"] = list_urls(repository)


def make_substitutions(repository: str, version: str) -> list[dict[str, str]]:
    """Return the replacements that make README.md the page of a release; none without an address.

    Parameters
    ----------
    repository : str
        ``https://github.com/OWNER/NAME``, or empty.
    version : str
        Its tag is ``v`` and this.
    """
    if not repository:
        return []
    picture, page = f"{repository}/raw/v{version}", f"{repository}/blob/v{version}"
    return [
        {"pattern": r"In a copy of this repository, in ", "replacement": "In "},
        {"pattern": r" in a copy of this repository", "replacement": ""},
        {"pattern": r'pip install "\.\[', "replacement": 'pip install "napari-dip['},
        {"pattern": r"pip install \.(?=[`\s])", "replacement": "pip install napari-dip"},
        {"pattern": rf"(!\[[^\]]*\])\({_RELATIVE}\)", "replacement": rf"\1({picture}/\2)"},
        {"pattern": rf"\]\({_RELATIVE}\)", "replacement": rf"]({page}/\1)"},
    ]


def list_urls(repository: str) -> dict[str, str]:
    """Return the links of the package's page, under the names that the napari hub knows."""
    if not repository:
        return {"User Support": _FORUM}
    return {
        "Homepage": repository,
        "Documentation": _find_docs_site(repository),
        "Source Code": repository,
        "Bug Tracker": f"{repository}/issues",
        "User Support": _FORUM,
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
    }


def _find_docs_site(repository: str) -> str:
    """Ask docs_site.py, which lies beside this file and in no package."""
    spec = importlib.util.spec_from_file_location("docs_site", Path(__file__).with_name("docs_site.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.find_docs_site(repository))
