"""What notebooks and README say of the public repository's address, which is one setting in pyproject.toml.

A notebook that is opened on the web finds no package beside it. The cell before its set-up cell installs it
from the repository, and does nothing where the package is there. While the setting is empty there is nothing
to install from: the cell says what to do, and the README shows no badge. tools/sync.py puts both in place.
"""

import re
import tomllib

import nbtools

README = nbtools.ROOT / "README.md"
SETTINGS = nbtools.ROOT / "pyproject.toml"

# In a source, the install cell; and the head of the set-up cell, if that imports the package.
_CELL = re.compile(rf'^# %% tags=\["{nbtools.INSTALL}"\].*?(?=^# %%)', re.DOTALL | re.MULTILINE)
_SETUP = re.compile(r'^# %% tags=\["setup"\](?=(?:(?!^# %%).)*simclr_edu)', re.DOTALL | re.MULTILINE)
_BADGES = re.compile(r"(?<=<!-- badges: made by tools/sync.py -->\n).*?(?=<!-- end -->)", re.DOTALL)

_START = """\
# %% tags=["install"] slideshow={"slide_type": "skip"}
# Where the package is installed, as it is after `make lab`, this cell does nothing.
import importlib.util

if importlib.util.find_spec("simclr_edu") is None:
"""
_SAY = """\
    print("The package simclr_edu is missing: run `pip install .` in the course's folder, then begin anew.")

"""
_DO = """\
    import subprocess
    import sys

    package = "git+{address}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)

"""


def repository() -> str:
    """Return the setting: the address of the public repository, or an empty text.

    Raises:
        NotebookProblem: it is no address, or ends with a slash.
    """
    address = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))["tool"]["simclr_edu"]["repository"]
    if address and not re.fullmatch(r"https://[\w.-]+(/[\w.-]+)+", address):
        raise nbtools.NotebookProblem(
            f"repository in pyproject.toml is {address!r}; wanted is https://github.com/OWNER/NAME or ''"
        )
    return address


def install_cell(address: str) -> str:
    """Return the cell that installs the package where it is missing, or says so, as py:percent text."""
    return _START + (_DO.format(address=address) if address else _SAY)


def with_install_cell(source: str, address: str) -> str:
    """Return a source with the install cell before its set-up cell, if that imports the package."""
    return _SETUP.sub(lambda head: install_cell(address) + head[0], _CELL.sub("", source), count=1)


def badges(address: str) -> str:
    """Return the README's badges, open in Colab and in Binder; none for an address that is not at GitHub."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", address)
    if not found:
        return ""
    first = f"https://colab.research.google.com/github/{found[1]}/blob/main/notebooks/00_start_here.ipynb"
    lab = f"https://mybinder.org/v2/gh/{found[1]}/main?urlpath=lab/tree/notebooks"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({first})\n"
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({lab})\n"
    )


def with_badges(readme: str, address: str) -> str:
    """Return the README's text with the badges between their marks.

    Raises:
        NotebookProblem: the marks are missing.
    """
    if not _BADGES.search(readme):
        raise nbtools.NotebookProblem(
            "README.md has no '<!-- badges: made by tools/sync.py -->' and '<!-- end -->'"
        )
    return _BADGES.sub(lambda _: badges(address), readme, count=1)
