"""Bring notebooks and their py:percent sources together, and both up to date with the repository's address.

python tools/sync.py [NAME ...]                   sources -> notebooks, outputs kept where code is unchanged
python tools/sync.py --from-notebooks [NAME ...]  notebooks -> sources, after editing in JupyterLab
python tools/sync.py --check [NAME ...]           change nothing; fail when a pair differs
"""

import sys
from pathlib import Path

import address
import nbtools


def to_notebook(path: Path) -> bool:
    """Write the notebook from its source, with the install cell; return whether the file changed."""
    source = nbtools.source_path(path)
    if not source.exists():
        raise nbtools.NotebookProblem(f"{path.name} has no source {source.name}; --from-notebooks makes it")
    before = source.read_text(encoding="utf-8")
    after = address.with_install_cell(before, address.repository())
    if after != before:
        source.write_text(after, encoding="utf-8", newline="\n")
    fresh = nbtools.read_source(source)
    if path.exists():
        fresh = nbtools.merge_outputs(fresh, nbtools.read_notebook(path))
    return nbtools.write_notebook(nbtools.normalise(fresh), path)


def to_source(path: Path) -> bool:
    """Write the source from its notebook, normalise the notebook; return whether either changed."""
    source = nbtools.source_path(path)
    if not path.exists():
        raise nbtools.NotebookProblem(f"{source.name} has no notebook yet; leave out --from-notebooks")
    notebook = nbtools.normalise(nbtools.read_notebook(path))
    before = source.read_text(encoding="utf-8") if source.exists() else None
    nbtools.write_source(notebook, source)
    changed = nbtools.write_notebook(notebook, path)
    return changed or source.read_text(encoding="utf-8") != before


def difference(path: Path) -> str | None:
    """Say in one sentence what `make sync` would change in a pair, or return None."""
    source = nbtools.source_path(path)
    if source.exists():
        text = source.read_text(encoding="utf-8")
        if text != address.with_install_cell(text, address.repository()):
            return f"{source.name}: its install cell is not as the setting in pyproject.toml makes it"
    return nbtools.difference(path)


def sync_readme(*, check: bool) -> str | None:
    """Bring the README's badges up to date, or with ``check`` only say that they are not."""
    before = address.README.read_text(encoding="utf-8")
    after = address.with_badges(before, address.repository())
    if before == after:
        return None
    if check:
        return "README.md: its badges are not as the setting in pyproject.toml makes them"
    address.README.write_text(after, encoding="utf-8", newline="\n")
    return "README.md: written"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a pair differs."""
    parser = nbtools.command_line(__doc__)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--from-notebooks", action="store_true", help="write the sources from the notebooks")
    way.add_argument("--check", action="store_true", help="change nothing, fail when a pair differs")
    options = parser.parse_args(arguments)
    try:
        paths = nbtools.notebook_paths(options.names, options.folder.resolve())
        readme = sync_readme(check=options.check) if options.folder.resolve() == nbtools.NOTEBOOKS else None
        if options.check:
            differences = [d for d in [*map(difference, paths), readme] if d]
            print("\n".join(differences) or f"{len(paths)} notebooks agree with their sources")
            return 1 if differences else 0
        write = to_source if options.from_notebooks else to_notebook
        for path in paths:
            print(f"{path.stem}: {'written' if write(path) else 'unchanged'}")
        if readme:
            print(readme)
    except nbtools.NotebookProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
