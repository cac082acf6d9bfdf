"""What the package says of itself on its web page: README.md with absolute addresses, and links to the project.

hatchling runs this when it builds; tests and `.ci/docs_site.py` use its functions. Both the links and the pictures need
the repository's address, which stands in one place: `repository`, in pyproject.toml.
"""

from typing import Any
from urllib.parse import urlsplit

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
    """Return the replacements that make README's links lead to the files of the release; none without an address.

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
        {"pattern": rf"(!\[[^\]]*\])\({_RELATIVE}\)", "replacement": rf"\1({picture}/\2)"},
        {"pattern": rf"\]\({_RELATIVE}\)", "replacement": rf"]({page}/\1)"},
    ]


def list_urls(repository: str) -> dict[str, str]:
    """Return the links of the package's page, under the names that the napari hub knows."""
    if not repository:
        return {"User Support": _FORUM}
    return {
        "Homepage": repository,
        "Documentation": find_docs_site(repository),
        "Source Code": repository,
        "Bug Tracker": f"{repository}/issues",
        "User Support": _FORUM,
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
    }


def find_docs_site(repository: str) -> str:
    """Return where `.github/workflows/docs.yml` publishes the docs of a repository on GitHub."""
    owner, name = urlsplit(repository).path.strip("/").split("/")
    return f"https://{owner.lower()}.github.io/{name}/"
