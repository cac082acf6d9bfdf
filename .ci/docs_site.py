"""mkdocs runs this before it builds the docs site, which so learns its own and the repository's address."""

import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent


def on_config(config: Any) -> None:
    """Set the addresses, if the repository has one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    repository = project["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    if repository:
        config.repo_url, config.site_url = repository, find_docs_site(repository)


def find_docs_site(repository: str) -> str:
    """Return where `.github/workflows/docs.yml` publishes the docs of a repository on GitHub."""
    owner, name = urlsplit(repository).path.strip("/").split("/")
    return f"https://{owner.lower()}.github.io/{name}/"
