"""What the built package says of itself: the README, and the addresses that the package index shows.

Both follow from one setting, ``repository`` in pyproject.toml: relative links of the README lead there.
While it is empty, there is nothing to link to, so they become plain words, and the package names no address.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# A link or picture of Markdown whose target is neither an address nor a place on the same page.
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?![a-z]+:|#)(?P<target>[^)\s]+)\)")


def readme(text: str, repository: str) -> str:
    """Return the README for readers elsewhere: relative links lead to the repository, or become words."""

    def replaced(link: re.Match[str]) -> str:
        if not repository:
            return link["text"]
        kind = "raw" if link["picture"] else "blob"
        return f"{link['picture']}[{link['text']}]({repository}/{kind}/main/{link['target']})"

    return LINK.sub(replaced, text)


def urls(repository: str) -> dict[str, str]:
    """Return the addresses that the package index shows; none while there is no public repository."""
    if not repository:
        return {}
    return {
        "Repository": repository,
        "Issues": f"{repository}/issues",
        "Changes": f"{repository}/blob/main/CHANGELOG.md",
    }


class Metadata(MetadataHookInterface):
    """hatchling's hook: fills in the fields that pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set ``readme`` and ``urls`` from README.md and the setting."""
        root = Path(self.root)
        settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        repository = settings["tool"]["simclr_edu"]["repository"]
        text = (root / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": readme(text, repository)}
        metadata["urls"] = urls(repository)
