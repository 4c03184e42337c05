"""Present notebooks as slides: python tools/slides.py [NAME ...] [--out build/slides]

Each notebook becomes one HTML file that needs no network and no kernel: the same cells with their saved
outputs, cut into slides by the cells' slide types, the formulas as MathML, the presenter from slides.html.

slide, subslide   begins a new slide; one without a heading of its own repeats the last one
fragment          appears at the next key
-                 continues the slide
notes             for the speaker, shown by the key S
skip              is left out

The output of a code cell appears at a key too, as if the cell were run. A figure under more code than a few
lines gets a slide of its own, and so does a picture from a file, which stands in the middle of a text. A cell
tagged slide-output shows its output without its code, one tagged slide-input its code without its output. The
place of a widget, which needs a kernel, is left out.
"""

import html
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import nbtools
from markup import heading, headings, linked_to_pages, picture_data, with_mathml
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

PRESENTER = Path(__file__).with_name("slides.html")
# slide-output: of this cell only what it prints and draws.
OUTPUT_ONLY = "slide-output"
INPUT_ONLY = "slide-input"  # and of this one only its code
NEW = ("slide", "subslide")
TYPES = (*NEW, "fragment", "-", "notes", "skip")
# More lines of code than this leave too little room for a figure on the same slide.
CODE_BESIDE_FIGURE = 5
STAGE_WIDTH = 1184  # of slides.html: 1280 less its margins

# Figures higher than this share of their width leave room for words, or for another such figure, beside them.
SQUARE, TALL = 0.8, 1.4
# A printed table of so many lines stands beside its figure.
LONG_TEXT = 5

FORMATTER = HtmlFormatter(cssclass="code", style="default")
IMAGE = re.compile(
    r'<img alt="(?P<alt>[^"]*)" width="(?P<w>\d+)" height="(?P<h>\d+)"[^>]* src="(?P<src>data:[^"]+)">'
)
PICTURE = re.compile(r"^!\[(?P<alt>[^\]]+)\]\((?P<file>[^):]+\.svg)\)\n*", re.MULTILINE)


@dataclass
class Slide:
    """One slide: its kind, the heading that it repeats if it has none, its parts and the speaker's notes."""

    kind: str
    running: str = ""
    parts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def slide_type(cell: NotebookNode) -> str:
    """Return a cell's slide type; a cell without one continues the slide.

    Raises:
        NotebookProblem: there is no such type.
    """
    kind = cell.metadata.get("slideshow", {}).get("slide_type") or "-"
    if kind not in TYPES:
        raise nbtools.NotebookProblem(f"a slide type must be one of {', '.join(TYPES)}; a cell has {kind!r}")
    return kind


def markdown(text: str) -> str:
    """Return Markdown as HTML, formulas as MathML, links to notebooks as links to slides."""
    renderer = IPythonRenderer(escape=False, exclude_anchor_links=True)
    return linked_to_pages(MarkdownWithMath(renderer=renderer).render(with_mathml(text)))


def figure(alt: str, src: str, width: float, height: float) -> str:
    """Return an image as HTML, as large as the room that is left and never wider than the slide."""
    ratio = height / width
    kind = "figure tall" if ratio > TALL else "figure square" if ratio > SQUARE else "figure"
    return (
        f'<div class="{kind}" style="height:{STAGE_WIDTH * ratio:.0f}px"><img alt="{alt}" src="{src}"></div>'
    )


def picture(found: re.Match[str], folder: Path) -> str:
    """Return a picture that a text shows, an SVG file in the notebooks' folder, as HTML.

    Raises:
        NotebookProblem: there is no such file.
    """
    file = folder / found["file"]
    data = picture_data(file)
    size = ElementTree.parse(file).getroot().attrib
    return figure(html.escape(found["alt"]), data, float(size["width"]), float(size["height"]))


def rendered(output: NotebookNode) -> str:
    """Return one saved output as HTML.

    Raises:
        NotebookProblem: it is neither text nor HTML.
    """
    data = output.get("data", {})
    if found := IMAGE.fullmatch(data.get("text/html", "").strip()):
        return figure(found["alt"], found["src"], int(found["w"]), int(found["h"]))
    if "text/html" in data:
        return f'<div class="html">{data["text/html"]}</div>'
    text = output.get("text", data.get("text/plain"))
    if text is None:
        kinds = ", ".join(data) or output.output_type
        raise nbtools.NotebookProblem(f"slides show text and HTML; an output has only {kinds}")
    return f'<pre class="text">{html.escape(text.rstrip())}</pre>'


def slides_of(notebook: NotebookNode, folder: Path = nbtools.NOTEBOOKS) -> list[Slide]:
    """Cut a notebook, whose pictures lie in ``folder``, into slides.

    Raises:
        NotebookProblem: a slide type is unknown, the first cell that is shown begins no slide, a cell
            whose output is shown has none, or a picture is missing.
    """
    slides: list[Slide] = []
    title = ""
    for cell in notebook.cells:
        kind = slide_type(cell)
        if kind == "skip" or not cell.source.strip():
            continue
        if kind in NEW:
            slides.append(Slide(kind, title))
        elif not slides:
            raise nbtools.NotebookProblem("the first cell that is shown must have the slide type 'slide'")
        if kind == "notes":
            text = cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```"
            slides[-1].notes.append(markdown(text))
            continue
        step = " step" if kind == "fragment" else ""
        if cell.cell_type == "markdown":
            if found := headings(cell.source):
                title = re.sub(r"</?h1[^>]*>", "", markdown(f"# {found[-1]}")).strip()
                if not slides[-1].parts:
                    slides[-1].running = ""
            slides[-1].parts.append(
                f'<div class="prose{step}">{markdown(PICTURE.sub("", cell.source))}</div>'
            )
            for found in PICTURE.finditer(cell.source):
                shown = f'<div class="output">{picture(found, folder)}</div>'
                slides.append(Slide("subslide", title, [shown]))
            continue
        tags = cell.metadata.get("tags", [])
        if OUTPUT_ONLY in tags and not cell.outputs:
            raise nbtools.NotebookProblem(
                f"a cell of which the output is shown has none: {cell.source[:80]!r}"
            )
        shown = [o for o in cell.outputs if o.get("data", {}).get("text/plain") != nbtools.WIDGET_TEXT]
        outputs = "" if INPUT_ONLY in tags else "\n".join(map(rendered, shown))
        lines = max((o.get("text", "").count("\n") for o in shown), default=0)
        row = " row" if 'class="figure' in outputs and lines >= LONG_TEXT else ""
        if OUTPUT_ONLY in tags:
            slides[-1].parts.append(f'<div class="output{row}{step}">{outputs}</div>')
            continue
        code = highlight(cell.source, PythonLexer(), FORMATTER).strip()
        slides[-1].parts.append(f'<div class="input{step}">{code}</div>')
        drawn = 'class="figure' in outputs or "<iframe" in outputs
        if drawn and len(cell.source.splitlines()) > CODE_BESIDE_FIGURE:
            slides.append(Slide("subslide", title, [f'<div class="output">{outputs}</div>']))
        elif outputs:
            slides[-1].parts.append(f'<div class="output step">{outputs}</div>')
    if not slides:
        raise nbtools.NotebookProblem("no cell is shown on a slide")
    return slides


def beside(parts: list[str]) -> list[str]:
    """Put words and the one squarish figure that follows them side by side; leave other parts alone."""
    if len(parts) > 1 and all('class="figure tall"' in part for part in parts):
        return [f'<div class="output row">{"".join(parts)}</div>']
    *words, last = parts
    only_words = words and all(part.startswith('<div class="prose') for part in words)
    if only_words and 'class="figure square"' in last and last.count('class="figure') == 1:
        return [f'<div class="beside"><div class="words">{"".join(words)}</div>{last}</div>']
    return parts


def deck(notebook: NotebookNode, title: str, folder: Path = nbtools.NOTEBOOKS) -> str:
    """Return a notebook's slides as one self-contained HTML page; its pictures lie in ``folder``."""
    sections = []
    for slide in slides_of(notebook, folder):
        running = [f'<h2 class="running">{slide.running}</h2>'] if slide.running else []
        notes = [f'<aside class="notes">{"".join(slide.notes)}</aside>'] if slide.notes else []
        body = "\n".join([*running, *beside(slide.parts), *notes])
        sections.append(f'<section class="{slide.kind}">\n{body}\n</section>')
    page = PRESENTER.read_text(encoding="utf-8")
    filled = {
        "TITLE": html.escape(title),
        "/* CODE COLOURS */": FORMATTER.get_style_defs(".code"),
        "<!-- SLIDES -->": "\n".join(sections),
    }
    for place, text in filled.items():
        page = page.replace(place, text, 1)
    return page


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a notebook cannot be presented."""
    parser = nbtools.command_line(__doc__)
    parser.add_argument("--out", type=Path, default=nbtools.ROOT / "build" / "slides", help="where slides go")
    options = parser.parse_args(arguments)
    try:
        paths = nbtools.notebook_paths(options.names, options.folder.resolve())
        options.out.mkdir(parents=True, exist_ok=True)
        for path in paths:
            notebook = nbtools.read_notebook(path)
            try:
                page = deck(notebook, heading(notebook, path.stem), path.parent)
            except nbtools.NotebookProblem as problem:
                raise nbtools.NotebookProblem(f"{path.name}: {problem}") from problem
            file = options.out / f"{path.stem}.html"
            file.write_text(page, encoding="utf-8")
            print(f"{file}: {page.count('<section')} slides")
    except nbtools.NotebookProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
