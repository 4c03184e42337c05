"""What pages and slides have in common: title, formulas as MathML, pictures, links to other notebooks."""

import base64
import re
from pathlib import Path

import nbtools
from latex2mathml.converter import convert as latex_to_mathml
from nbformat import NotebookNode

# Code (left alone), then displayed and inline formulas; a dollar before a digit is money.
FORMULA = re.compile(
    r"(?P<code>^```.*?^```|`[^`\n]+`)"
    r"|\$\$(?P<display>.+?)\$\$"
    r"|(?<![\\$\w])\$(?!\s)(?P<inline>[^$\n]+?)(?<!\s)\$(?!\d)",
    re.DOTALL | re.MULTILINE,
)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def with_mathml(text: str) -> str:
    """Return Markdown with its formulas as MathML, which a browser draws by itself."""

    def replace(match: re.Match[str]) -> str:
        if match["code"]:
            return match["code"]
        if match["display"]:
            return latex_to_mathml(match["display"].strip(), display="block")
        return latex_to_mathml(match["inline"])

    return FORMULA.sub(replace, text)


def heading(notebook: NotebookNode, default: str) -> str:
    """Return the notebook's first heading."""
    found = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE) if notebook.cells else None
    return found[1].strip() if found else default


def headings(text: str) -> list[str]:
    """Return the headings of a Markdown text, of any level; a comment in code is none."""
    return HEADING.findall(FENCE.sub("", text))


def picture_data(file: Path) -> str:
    """Return an SVG file as an address that holds it whole.

    Raises:
        NotebookProblem: there is no such file.
    """
    if not file.is_file():
        raise nbtools.NotebookProblem(f"a text shows {file.name}, which is not in {file.parent}")
    return f"data:image/svg+xml;base64,{base64.b64encode(file.read_bytes()).decode()}"


def with_pictures(page: str, folder: Path) -> str:
    """Return HTML that carries within it the SVG files of the course's folder that it shows.

    nbconvert's ``embed_images`` parses each piece of HTML in the Markdown on its own, and so closes a
    ``<details>`` before what is folded in it.

    Raises:
        NotebookProblem: there is no such file.
    """
    shown = re.compile(r'(<img\b[^>]*\bsrc=")(?!\w+:)([^"]+\.svg)"')
    return shown.sub(lambda match: f'{match[1]}{picture_data(folder / match[2])}"', page)


def linked_to_pages(page: str) -> str:
    """Return HTML in which what linked to a notebook of the course links to that notebook's page."""
    return re.sub(r'href="(?!https?:)([^"]+)\.ipynb', r'href="\1.html', page)
