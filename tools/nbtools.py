"""What the notebook tools share: where notebooks lie, how they are paired, cleaned and written.

A notebook is kept twice: ``notebooks/source/NN_name.py`` (py:percent text, what a person edits) and
``notebooks/NN_name.ipynb`` (the same cells with the outputs of a real run). Everything that varies from
machine to machine without carrying meaning is left out of the second, so that a diff shows what changed.
"""

import argparse
import copy
import hashlib
import re
import sys
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"

PERCENT = {"extension": ".py", "format_name": "percent"}
# Notebook metadata is the same for all: no interpreter version, no tool version, no widget state.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
    # jupyterlab-rise: the theme that asks no font of a network, and slides that start at the top.
    "rise": {"center": False, "theme": "white", "transition": "none"},
}
# Cell metadata that means something to a reader; the rest (timestamps, fold state, trust) is dropped.
CELL_METADATA = ("tags", "slideshow", "jupyter", "editable", "deletable")
INSTALL = "install"  # tag of the cell that installs the package where a notebook is opened without it
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_TEXT = "[interactive: run this cell in JupyterLab to use it]"
# Folders that exist on somebody's machine and mean nothing on another one.
MACHINE_PATH = re.compile(
    r"(?<![\w./:-])(?:/(?:work|root|tmp|home|Users|opt|private|farm|mnt)/|[A-Za-z]:\\Users\\)"
)


class NotebookProblem(Exception):
    """Something that a person must mend in a notebook; the message is one sentence."""


def command_line(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all notebook tools take."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 02 or 02_nt_xent; none means all")
    parser.add_argument("--folder", type=Path, default=NOTEBOOKS, help="where the notebooks lie")
    return parser


def notebook_paths(names: Iterable[str] = (), folder: Path = NOTEBOOKS) -> list[Path]:
    """Return the notebooks of ``folder`` in reading order, or those that ``names`` picks.

    A name is ``02``, ``02_nt_xent``, ``notebooks/02_nt_xent.ipynb`` or ``notebooks/source/02_nt_xent.py``.
    A notebook counts when its source or its ``.ipynb`` exists.

    Raises:
        NotebookProblem: there is no notebook at all, or a name fits none or several.
    """
    stems = {p.stem for p in folder.glob("[0-9]*.ipynb")} | {p.stem for p in folder.glob("source/[0-9]*.py")}
    if not stems:
        raise NotebookProblem(f"there is no notebook in {folder}")
    chosen = []
    for name in names:
        wanted = Path(name).stem if name.endswith((".py", ".ipynb")) else Path(name).name
        found = [wanted] if wanted in stems else [s for s in stems if s.startswith(wanted + "_")]
        if len(found) != 1:
            raise NotebookProblem(f"{name!r} must name one notebook of {', '.join(sorted(stems))}")
        chosen += found
    return [folder / f"{stem}.ipynb" for stem in chosen or sorted(stems)]


def source_path(notebook: Path) -> Path:
    """Return the py:percent file that belongs to a notebook."""
    return notebook.parent / "source" / f"{notebook.stem}.py"


def read_source(path: Path) -> NotebookNode:
    """Read a py:percent file as a notebook without outputs."""
    import jupytext  # here, not above: the course itself runs from the notebooks and does without it

    return normalise(jupytext.reads(path.read_text(encoding="utf-8"), fmt=PERCENT))


def read_notebook(path: Path) -> NotebookNode:
    """Read an ``.ipynb`` file in the current notebook format.

    Raises:
        NotebookProblem: there is no such file.
    """
    if not path.exists():
        raise NotebookProblem(f"there is no {path.name}; make it with tools/sync.py")
    return nbformat.read(path, as_version=4)


def write_source(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook's cells as py:percent text, without a header."""
    import jupytext

    bare = normalise(copy.deepcopy(notebook))
    bare.metadata = nbformat.from_dict({"jupytext": {"notebook_metadata_filter": "-all"}})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(jupytext.writes(bare, fmt=PERCENT), encoding="utf-8", newline="\n")


def as_text(notebook: NotebookNode) -> str:
    """Return the text of a normalised notebook's file."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def write_notebook(notebook: NotebookNode, path: Path) -> bool:
    """Write a normalised notebook; return whether the file changed."""
    text = as_text(notebook)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8", newline="\n")
    return True


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Bring a notebook into the one form in which it is saved (in place) and return it.

    Fixed notebook metadata, cell metadata that matters only, cell ids that follow from the cell's text (so
    that an inserted cell changes no other cell's id), consecutive streams merged, widgets replaced by a line
    of text.
    """
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(METADATA)
    seen: dict[str, int] = defaultdict(int)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: cell.metadata[k] for k in CELL_METADATA if k in cell.metadata})
        cell.source = cell.source.rstrip("\n")
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
        seen[digest] += 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            cell.outputs = [_normal_output(output) for output in _merge_streams(cell.outputs)]
    return notebook


def _merge_streams(outputs: Iterable[NotebookNode]) -> Iterator[NotebookNode]:
    last = None
    for output in outputs:
        if last is not None and output.get("name") == last.get("name") and output.output_type == "stream":
            last.text += output.text
            continue
        if last is not None:
            yield last
        last = output
    if last is not None:
        yield last


def _normal_output(output: NotebookNode) -> NotebookNode:
    if WIDGET_VIEW in output.get("data", {}):
        # Without a kernel a widget's view is an error box; the static twin beside it is what teaches.
        output.data = nbformat.from_dict({"text/plain": WIDGET_TEXT})
    if "metadata" in output:
        output.metadata.pop("needs_background", None)
    return output


def to_read(notebook: NotebookNode) -> NotebookNode:
    """Return a copy for a page, without the install cell: without a kernel there is nothing to install."""
    shown = copy.deepcopy(notebook)
    shown.cells = [cell for cell in shown.cells if INSTALL not in cell.metadata.get("tags", [])]
    return shown


def cell_key(cell: NotebookNode) -> tuple[str, str, str]:
    """Return what must agree between a notebook and its source: kind, text and metadata of a cell."""
    return cell.cell_type, cell.source, repr(sorted(cell.metadata.items()))


def merge_outputs(fresh: NotebookNode, saved: NotebookNode) -> NotebookNode:
    """Give each code cell of ``fresh`` the outputs of the cell of ``saved`` that has the same text.

    A cell whose text changed gets none: an output that its code did not print would be a lie. That rules
    out ``jupytext --update``: jupytext 1.19 (``jupytext.combine``) takes two cells for the same when they
    differ in spaces, quotes, commas and round brackets only, or when the old one ends like the new one, and
    hands what is left out by position. So ``area(2)`` would show what ``area(1)`` printed, and ``print(12)``
    the output of ``print(1, 2)``.
    """
    by_text: dict[str, deque[NotebookNode]] = defaultdict(deque)
    for cell in saved.cells:
        if cell.cell_type == "code":
            by_text[cell.source].append(cell)
    for cell in fresh.cells:
        if cell.cell_type == "code" and by_text[cell.source]:
            old = by_text[cell.source].popleft()
            cell.outputs, cell.execution_count = old.outputs, old.execution_count
    return fresh


def difference(notebook: Path) -> str | None:
    """Say in one sentence how a notebook and its source differ, or return None when they agree."""
    source = source_path(notebook)
    if not source.exists():
        return f"{notebook.name} has no source {source.name}"
    if not notebook.exists():
        return f"{source.name} has no notebook {notebook.name}"
    wanted, found = read_source(source), read_notebook(notebook)
    for number, (a, b) in enumerate(zip(wanted.cells, found.cells, strict=False)):
        if cell_key(a) != cell_key(b):
            parts = ("kind", "text", "metadata")
            part = next(n for n, x, y in zip(parts, cell_key(a), cell_key(b), strict=True) if x != y)
            return f"{notebook.name}: cell {number} has another {part} than in {source.name}"
    if len(wanted.cells) != len(found.cells):
        return f"{notebook.name} has {len(found.cells)} cells, {source.name} has {len(wanted.cells)}"
    clean = normalise(copy.deepcopy(found))
    if clean != found:
        return f"{notebook.name} carries metadata, ids or outputs that are not saved; synchronise it"
    return None


def output_texts(notebook: NotebookNode) -> Iterator[tuple[int, str]]:
    """Yield every text among a notebook's outputs, with the number of its cell; pictures are left out."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                yield number, output.text
            elif output.output_type == "error":
                yield number, "\n".join([output.ename, output.evalue, *output.traceback])
            else:
                yield from (
                    (number, text)
                    for kind, text in output.get("data", {}).items()
                    if isinstance(text, str) and not (kind.startswith("image/") and kind != "image/svg+xml")
                )


def output_problems(notebook: NotebookNode) -> list[str]:
    """Return what must not be among saved outputs: errors, the error stream, paths of a machine."""
    problems = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                problems.append(f"cell {number} raised {output.ename}: {output.evalue}")
            elif output.output_type == "stream" and output.name == "stderr":
                problems.append(f"cell {number} wrote to the error stream: {output.text.strip()[:300]}")
    here = {str(ROOT), str(Path.home()), sys.prefix}
    for number, text in output_texts(notebook):
        for line in text.splitlines():
            if MACHINE_PATH.search(line) or any(path in line for path in here):
                problems.append(f"cell {number} shows a path of this machine: {line.strip()[:300]}")
                break
    return problems
