"""Run the whole course and leave it as web pages: python tools/course.py [NAME ...] [--fresh]

Every notebook is executed in reading order. What has run stays: a call that was stopped, at whatever
moment, goes on with the next one, and what failed or has changed since is run again. --fresh, or a change
of the package or the profile, begins anew. A notebook is never given up for being slow. One that fails
stands in the index with its saved outputs, and the exit status says so.

Results go to the home folder, where the notebooks keep them however they are opened; those of before are
moved into `earlier` there when a course begins. The executed notebooks and their pages go to build/course,
or, where the folder of the course may not be written, to `course` in the home folder; the saved notebooks
stay as they are. The last thing printed is the results table. No network is used, and the pages load
nothing from one.
"""

import copy
import html
import os
import re
import shutil
import sys
import time
from pathlib import Path

import course_state
import kernels
import nbtools
from markup import heading, linked_to_pages, with_mathml, with_pictures
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from progress import Progress, in_words

BUILD = nbtools.ROOT / "build" / "course"
INTERRUPTED = 130  # what shells report of a program that Ctrl-C ended
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What the names of the rows that the finished table must have begin with.
ROWS = ("raw pixels", "random encoder", "crop only", "simclr")

# Notebook pages without the scripts that the standard template loads from the network, and with readable
# lines.
PAGE = """\
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_css -%}{{ super() }}
<style>
body.jp-Notebook { max-width: 1060px; margin: 0 auto; --jp-content-font-size1: 16px }
details > :not(summary) { margin-left: 1.1em }
.jp-RenderedHTMLCommon table, .jp-RenderedHTMLCommon caption { margin-left: 0; text-align: left }
math { font-size: 1.1em }
mfrac > * { padding: .14em .18em }
</style>
{%- endblock -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
"""
INDEX = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>SimCLR, built step by step</title>
<style>body {{ font: 1.1rem/1.6 sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem }}
pre {{ background: #f4f4f4; padding: 1rem; overflow-x: auto; line-height: 1.35 }}
.failed {{ color: #a40000 }}</style></head>
<body>
<h1>SimCLR, built step by step</h1>
<p>{state}</p>
<ol start="0">
{items}
</ol>
<h2>The results of this run</h2>
<pre>{table}</pre>
</body>
</html>
"""
BANNER = """\
<div style="border: 2px solid #a40000; padding: .5em 1em">
<p><b>This notebook did not run to its end on this machine.</b> The outputs below came with it.</p>
<details><summary>{summary}</summary><pre>{problem}</pre></details>
</div>"""


def page(notebook: NotebookNode, title: str, folder: Path = nbtools.NOTEBOOKS) -> str:
    """Return an executed notebook as one self-contained HTML page; its pictures lie in ``folder``."""
    shown = nbtools.to_read(notebook)
    shown.metadata["title"] = title
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = with_mathml(cell.source)
    body, _ = HTMLExporter(raw_template=PAGE).from_notebook_node(shown)
    return linked_to_pages(with_pictures(body, folder))


def last_line(problem: str) -> str:
    """Return the line of a problem that says what it is, the last one."""
    return next((line.strip() for line in reversed(problem.splitlines()) if line.strip()), "it failed")


def failed_page(notebook: NotebookNode, title: str, problem: str, folder: Path = nbtools.NOTEBOOKS) -> str:
    """Return the page of a notebook that failed: a banner that says so, then the saved outputs."""
    shown = copy.deepcopy(notebook)
    text = BANNER.format(summary=html.escape(last_line(problem)), problem=html.escape(problem))
    shown.cells.insert(0, new_markdown_cell(text))
    return page(shown, title, folder)


class Course:
    """A run of the course: its notebooks, where it leaves them, and what of it is done."""

    def __init__(self, folder: Path, build: Path, home: Path) -> None:
        self.folder, self.build, self.home, self.file = folder, build, home, build / "state.json"
        self.paths = nbtools.notebook_paths(folder=folder)
        self.state = course_state.load(self.file)

    def begin(self, fresh: bool) -> None:
        """Go on with what there is, or begin anew if asked to, or if it is of another package or profile."""
        now = course_state.stamp()
        if self.state is not None and self.state.stamp == now and not fresh:
            return
        if self.state is not None and self.state.stamp != now:
            print(f"Begins anew: what has run was {self.state.stamp}, this is {now}.")
        if (earlier := course_state.set_aside(self.home)) is not None:
            print(f"The results of before are in {earlier}.")
        shutil.rmtree(self.build / "html", ignore_errors=True)
        for executed in self.build.glob("*.ipynb"):
            executed.unlink()
        self.state = course_state.State(now)
        self.state.save(self.file)

    def run(self, chosen: list[Path]) -> None:
        """Execute and render those of the chosen notebooks that are not done; write the index after each."""
        pictures = self.folder / "figures"
        if pictures.is_dir():  # beside the executed notebooks, which show them
            shutil.copytree(pictures, self.build / "figures", dirs_exist_ok=True)
        notebooks = {path.stem: nbtools.read_notebook(path) for path in chosen}
        keys = {name: course_state.key(notebook) for name, notebook in notebooks.items()}
        entries = self.state.entries
        done = {
            name for name, key in keys.items() if self.state.is_done(name, key) and self.page(name).exists()
        }
        progress = Progress(list(notebooks), {name: entries[name].seconds for name in done})
        if done:
            print(f"Kept from before: {', '.join(sorted(done))}.")
        self.write_index()
        for path in chosen:
            name = path.stem
            if name in done:
                continue
            entries.pop(name, None)
            progress.begin(name)
            seconds, problem = self.run_one(path, notebooks[name], progress)
            entries[name] = course_state.Entry(keys[name], seconds, problem)
            self.state.save(self.file)
            self.write_index()
            if problem:
                progress.end(f"FAILED after {in_words(seconds)}: {last_line(problem)}")
            else:
                progress.end(f"{seconds:.0f} s", seconds)

    def run_one(self, path: Path, saved: NotebookNode, progress: Progress) -> tuple[float, str]:
        """Execute a notebook and write its page; return its seconds and what went wrong, if anything."""
        title, notebook = heading(saved, path.stem), copy.deepcopy(saved)
        started, problem = time.perf_counter(), ""
        try:
            seconds = kernels.execute(notebook, home=self.home, folder=path.parent, tell=progress.tell)
        except nbtools.NotebookProblem as error:
            seconds, problem = time.perf_counter() - started, COLOURS.sub("", str(error))
        if problem:
            text = failed_page(saved, title, problem, path.parent)
        else:
            whole = nbtools.normalise(notebook)
            course_state.write_whole(self.build / path.name, nbtools.as_text(whole))
            text = page(whole, title, path.parent)
        course_state.write_whole(self.page(path.stem), text)
        return seconds, problem

    def page(self, name: str) -> Path:
        """Return where the page of a notebook lies."""
        return self.build / "html" / f"{name}.html"

    def failed(self) -> dict[str, str]:
        """Return what failed, and the line that says why."""
        return {name: last_line(e.problem) for name, e in sorted(self.state.entries.items()) if e.problem}

    def write_index(self) -> Path:
        """Write the index of all notebooks, those that failed and those still to be run too; return where."""
        items = []
        for path in self.paths:
            name, entry = path.stem, self.state.entries.get(path.stem)
            title = html.escape(heading(nbtools.read_notebook(path), name))
            if entry is None:
                items.append(f"<li>{title} (not run yet)</li>")
            elif entry.problem:
                why = html.escape(last_line(entry.problem))
                items.append(
                    f'<li><a href="{name}.html">{title}</a> '
                    f'<span class="failed">(failed, shown with its saved outputs: {why})</span></li>'
                )
            else:
                items.append(f'<li><a href="{name}.html">{title}</a> ({entry.seconds:.0f} s)</li>')
        done = sum(not entry.problem for entry in self.state.entries.values())
        state = f"{done} of {len(self.paths)} notebooks ran to their end on this machine."
        text = INDEX.format(state=state, items="\n".join(items), table=html.escape(table()))
        index = self.build / "html" / "index.html"
        course_state.write_whole(index, text)
        return index


def table() -> str:
    """Return the table of results, or why there is none."""
    from simclr_edu.course import results  # after the home folder is set

    try:
        return str(results.table())
    except (ValueError, OSError) as error:
        return str(error)


def missing_rows() -> list[str]:
    """Return the rows that the finished table must have and has not."""
    from simclr_edu.course import results

    try:
        names = [name.lower().replace("-", " ") for name in results.rows()]
    except (ValueError, OSError):
        names = []
    return [row for row in ROWS if not any(name.startswith(row) for name in names)]


def folders() -> tuple[Path, Path]:
    """Return where pages go, and the home folder.

    Raises:
        HomeError: the home folder may not be written.
    """
    from simclr_edu.home import may_be_made, writable_home

    home = writable_home()
    os.environ["SIMCLR_EDU_HOME"] = str(home.resolve())
    user = os.path.expanduser("~")
    if not (os.path.isdir(user) and may_be_made(Path(user))):
        # Jupyter, IPython and matplotlib keep files of their own in the user's home, and need one.
        (home / "user").mkdir(exist_ok=True)
        os.environ["HOME"] = str(home.resolve() / "user")
    return (BUILD if may_be_made(BUILD) else home / "course"), home


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, 1 when the course did not end with its results, 130 for Ctrl-C."""
    parser = nbtools.command_line(__doc__)
    parser.add_argument("--fresh", action="store_true", help="begin anew; results of before are kept apart")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    from simclr_edu._locks import FolderInUseError, one_writer

    try:
        chosen = nbtools.notebook_paths(options.names, options.folder.resolve())
        build, home = folders()
        # One course at a time keeps its results in a home folder, whatever folder it is called from.
        (home / "course").mkdir(exist_ok=True)
        with one_writer(home / "course"):
            course = Course(options.folder.resolve(), build, home)
            course.begin(options.fresh)
            course.run(chosen)
    except KeyboardInterrupt:
        print("\nInterrupted: the next call goes on with this notebook.", file=sys.stderr)
        return INTERRUPTED
    except (nbtools.NotebookProblem, FolderInUseError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f"{len(chosen)} notebooks, {(time.perf_counter() - started) / 60:.1f} minutes")
    print(f"Open {course.write_index()} in a browser. Results and runs are in {home}.\n\n{table()}")
    if failed := course.failed():
        reasons = "; ".join(f"{name} ({why})" for name, why in failed.items())
        print(f"{len(failed)} of {len(course.paths)} notebooks failed: {reasons}. The next call tries again.")
        return 1
    if not options.names and (missing := missing_rows()):
        print(f"the results table lacks a row for {', '.join(missing)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
