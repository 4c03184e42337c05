"""Execute notebooks in place, in reading order, and save their outputs.

python tools/run_notebooks.py [NAME ...] [--home DIR] [--fresh]

Each notebook is first brought up to date with its source, then run from top to bottom in a fresh kernel, in a
home folder of its own: it finds the rows of the results table that earlier notebooks left in --home, neither
later ones nor a run of the learner's own, so its outputs are the same whichever notebooks ran before.
One that raises, writes to the error stream or shows a path of this machine is left as it was, and the command
fails.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import kernels
import nbtools

RESULTS = "results.json"


def results_in(home: Path) -> dict[str, dict]:
    """The rows of the results table in ``home``."""
    path = home / RESULTS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def run_one(path: Path, home: Path) -> float:
    """Execute one notebook from its source and save it; return the seconds it took.

    Its rows are added to the results table in ``home``.

    Raises:
        NotebookProblem: it has no source, fails, or its outputs hold what must not be saved.
    """
    source = nbtools.source_path(path)
    if not source.exists():
        raise nbtools.NotebookProblem(f"it has no source {source.name}; sync.py --from-notebooks makes it")
    notebook = nbtools.read_source(source)
    stored = results_in(home)
    with tempfile.TemporaryDirectory() as folder:
        before = {name: row for name, row in stored.items() if row["notebook"] < path.stem[:2]}
        (Path(folder) / RESULTS).write_text(json.dumps(before), encoding="utf-8")
        seconds = kernels.execute(notebook, home=Path(folder), folder=path.parent)
        rows = results_in(Path(folder))
    problems = nbtools.output_problems(nbtools.normalise(notebook))
    if problems:
        raise nbtools.NotebookProblem("; ".join(problems))
    nbtools.write_notebook(notebook, path)
    home.mkdir(parents=True, exist_ok=True)
    table = json.dumps(stored | rows, indent=1, ensure_ascii=False)
    (home / RESULTS).write_text(table, encoding="utf-8")
    return seconds


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a notebook failed."""
    parser = nbtools.command_line(__doc__)
    default_home = Path(os.environ.get("SIMCLR_EDU_HOME", nbtools.ROOT / "build" / "notebooks"))
    parser.add_argument("--home", type=Path, default=default_home, help="where the results table is kept")
    parser.add_argument("--fresh", action="store_true", help="empty that folder first; needs --home")
    options = parser.parse_args(arguments)
    if options.fresh:
        if options.home == default_home:
            parser.error("--fresh needs --home DIR: it deletes that folder")
        shutil.rmtree(options.home, ignore_errors=True)
    try:
        paths = nbtools.notebook_paths(options.names, options.folder.resolve())
    except nbtools.NotebookProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    failed, total = [], 0.0
    for path in paths:
        print(f"{path.stem} ...", flush=True)
        try:
            seconds = run_one(path, options.home)
        except nbtools.NotebookProblem as problem:
            failed.append(path.stem)
            print(f"{path.stem}: {problem}", file=sys.stderr, flush=True)
        else:
            total += seconds
            megabytes = path.stat().st_size / 1e6
            warning = " (a notebook may take 180 s)" if seconds > 180 else ""
            print(f"{path.stem}: {seconds:.0f} s, {megabytes:.2f} MB{warning}")
    print(f"{len(paths) - len(failed)} of {len(paths)} notebooks executed in {total:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
