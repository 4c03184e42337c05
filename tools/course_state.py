"""What of the course has been run: one file, so that a run that was stopped goes on where it stopped."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbtools
from nbformat import NotebookNode

PACKAGE = nbtools.ROOT / "simclr_edu"


@dataclass
class Entry:
    """A notebook that was run: what it was, how long it took, and what went wrong, if anything did."""

    key: str
    seconds: float
    problem: str = ""


@dataclass
class State:
    """The notebooks that were run with one state of the package and one profile."""

    stamp: str
    entries: dict[str, Entry] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all."""
        write_whole(path, json.dumps(asdict(self), indent=1, ensure_ascii=False))

    def is_done(self, name: str, key: str) -> bool:
        """Whether the notebook ran to its end, and is the same."""
        entry = self.entries.get(name)
        return entry is not None and entry.key == key and not entry.problem


def load(path: Path) -> State | None:
    """Read a state; None if there is none, or nothing that can be read as one."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return State(stored["stamp"], {name: Entry(**entry) for name, entry in stored["entries"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def stamp(package: Path = PACKAGE) -> str:
    """Return what tells apart two states of the package (its version, its code) and two profiles."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\n".encode() + path.read_bytes())
    from simclr_edu import __version__

    profile = os.environ.get("SIMCLR_EDU_PROFILE") or "laptop"
    return f"simclr_edu {__version__}, code {digest.hexdigest()[:16]}, profile {profile}"


def key(notebook: NotebookNode) -> str:
    """Return what tells apart two notebooks: the texts of their cells, not the outputs."""
    cells = [[cell.cell_type, cell.source] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:16]


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever reads it sees the old one or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8", newline="\n")
    new.replace(path)


def set_aside(home: Path) -> Path | None:
    """Move the results and the course's own run in ``home`` into a folder beside them; return it, if any.

    A course begins with an empty table of results, and nobody's results are deleted for it.
    """
    found = [path for path in (home / "results.json", home / "runs" / "simclr") if path.exists()]
    if not found:
        return None
    numbers = (int(path.name) for path in (home / "earlier").glob("[0-9]*") if path.name.isdigit())
    folder = home / "earlier" / str(max(numbers, default=0) + 1)
    for path in found:
        target = folder / path.relative_to(home)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    return folder
