"""Run the whole course and leave it as web pages: python tools/course.py [NAME ...]

Every notebook is executed in reading order, in a home folder that starts empty, so the results are those of
this run. The executed notebooks and their pages go to build/course; the saved notebooks stay as they
are. The last thing printed is the results table. No network is used, and the pages load nothing from one.
"""

import copy
import html
import os
import shutil
import sys
import time
from pathlib import Path

import nbtools
from markup import heading, linked_to_pages, with_mathml, with_pictures
from nbconvert import HTMLExporter
from nbformat import NotebookNode

BUILD = nbtools.ROOT / "build" / "course"
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
pre {{ background: #f4f4f4; padding: 1rem; overflow-x: auto; line-height: 1.35 }}</style></head>
<body>
<h1>SimCLR, built step by step</h1>
<ol start="0">
{items}
</ol>
<h2>The results of this run</h2>
<pre>{table}</pre>
</body>
</html>
"""


def page(notebook: NotebookNode, title: str, folder: Path = nbtools.NOTEBOOKS) -> str:
    """Return an executed notebook as one self-contained HTML page; its pictures lie in ``folder``."""
    shown = copy.deepcopy(notebook)
    shown.metadata["title"] = title
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = with_mathml(cell.source)
    body, _ = HTMLExporter(raw_template=PAGE).from_notebook_node(shown)
    return linked_to_pages(with_pictures(body, folder))


def run_course(paths: list[Path]) -> list[str]:
    """Execute and render the notebooks; return the index's items.

    Raises:
        NotebookProblem: a notebook is not there, raised an error or ran out of time.
    """
    items = []
    for number, path in enumerate(paths, start=1):
        print(f"[{number}/{len(paths)}] {path.stem} ...", end=" ", flush=True)
        notebook = nbtools.read_notebook(path)
        try:
            seconds = nbtools.execute(notebook, home=BUILD / "home", folder=path.parent)
        except nbtools.NotebookProblem as problem:
            raise nbtools.NotebookProblem(f"{path.name} failed: {problem}") from problem
        nbtools.write_notebook(nbtools.normalise(notebook), BUILD / path.name)
        title = heading(notebook, path.stem)
        (BUILD / "html" / f"{path.stem}.html").write_text(
            page(notebook, title, path.parent), encoding="utf-8"
        )
        items.append(f'<li><a href="{path.stem}.html">{html.escape(title)}</a> ({seconds:.0f} s)</li>')
        print(f"{seconds:.0f} s", flush=True)
    return items


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when the course did not end with its results."""
    parser = nbtools.command_line(__doc__)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    try:
        paths = nbtools.notebook_paths(options.names, options.folder.resolve())
        shutil.rmtree(BUILD, ignore_errors=True)
        (BUILD / "html").mkdir(parents=True)
        if (
            pictures := options.folder / "figures"
        ).is_dir():  # beside the executed notebooks, which show them
            shutil.copytree(pictures, BUILD / "figures")
        items = run_course(paths)
    except nbtools.NotebookProblem as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    os.environ["SIMCLR_EDU_HOME"] = str(BUILD / "home")
    from simclr_edu.course import results  # after the home folder is set

    table = str(results.table())
    index = BUILD / "html" / "index.html"
    index.write_text(INDEX.format(items="\n".join(items), table=html.escape(table)), encoding="utf-8")
    print(f"{len(paths)} notebooks in {(time.perf_counter() - started) / 60:.1f} minutes")
    print(f"Open {index} in a browser.\n\n{table}")
    names = [name.lower().replace("-", " ") for name in results.rows()]
    missing = [row for row in ROWS if not any(name.startswith(row) for name in names)]
    if missing and not options.names:
        print(f"the results table lacks a row for {', '.join(missing)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
