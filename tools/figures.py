"""Keep the figures in README, docs, interview and notebooks those of the runs that made them.

python tools/figures.py           fill in every table and figure that names its origin
python tools/figures.py --check   change nothing; fail when one differs, or has no origin

A figure in Markdown names its origin right behind it, in a comment that no reader sees:

    97.5%<!-- 06: SimCLR +linear +([\\d.]+) -->         the pattern's group in notebook 06's saved outputs
    21.3 points<!-- few_labels: 10 / lead -->          a results file of the package, keys divided by " / ":
                                                       arms: 20 / crop only / linear / mean
                                                       training_steps: from scratch / 10 / 8000
                                                       transfer: from scratch / 5 / mean
    69.3%<!-- source: Chen et al. 2020, Table 6 -->    one of SOURCES, compared with nothing

A table is filled in between a line that names its origin and `<!-- end -->`:

    <!-- few labels -->                                the few-label comparison
    <!-- rows of 06: raw pixels, SimCLR -->            rows of the table of results that ends notebook 06
    <!-- source: make bench -->                        one of SOURCES: what stands below is left alone

The cards of simclr_edu/assets/interview.toml have fields for the same (see its first lines). Results files
hold shares from 0 to 1; a figure with % or points behind it is 100 times that.
"""

import argparse
import json
import re
import statistics
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbtools

from simclr_edu.course import interview
from simclr_edu.course.evidence import few_labels

# What a figure may come from that no run of this project can be compared with.
SOURCES = (
    "definition",
    "make bench",
    "benchmarks/gpu.py",
    "an earlier run on shapes_easy",
    "development runs",  # on pictures of other seeds, before the set was frozen: docs/shapes.md
    "tools/cost_table.py",  # its tables are compared in tests/unit/test_distributed.py
    "Chen et al. 2020, Table 6",
)
FEW_LABELS_TABLE = {
    few_labels.PROBE: "linear probe",
    few_labels.TUNED: "fine-tuned",
    few_labels.SCRATCH: "from scratch, same augmentation",
    few_labels.LIGHT: "from scratch, crops and flips only",
}
NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?"
FIGURE = re.compile(rf"(?P<text>(?P<number>{NUMBER})(?:%| points?\b)?)<!-- (?P<where>\w+): (?P<what>.+?) -->")
BLOCK = re.compile(
    r"^<!-- (?P<origin>few labels|(?P<where>rows of \d\d|source): (?P<what>.+?)) -->\n"
    r"(?P<inside>(?:(?!<!--).*\n)*?)<!-- end -->$",
    re.MULTILINE,
)
# What claims nothing that was measured here: code, comments, versions.
SILENT = re.compile(
    r"```.*?```|`[^`\n]*`|<!--.*?-->"
    r"|\b(?:Python|torch|lightly|kornia|albumentations|arXiv|jupyterlab-rise|ipywidgets) \d[\d.]*\d",
    re.DOTALL,
)
PERCENT = re.compile(r"(?<![\w.])\d+(?:\.\d+)?%")
PERCENT_OR_DECIMAL = re.compile(r"(?<![\w.,])[-+]?\d+(?:\.\d+%?|%)(?![\w.]*\w)")
RESULTS_SECTION = re.compile(r"^## Results$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CARD = "[[questions]]\n"


class FigureProblem(Exception):
    """A figure cannot be compared; the message is one sentence that says why."""


def _few_labels(found: dict[str, Any]) -> dict[str, Any]:
    rows = {str(row["labels"] or "all"): row for row in few_labels.summary(found)}
    for row in rows.values():
        leads = few_labels.lead_by_seed(found, row["labels"])
        row["lead by seed"] = {
            str(seed): lead for seed, lead in zip(found["config"]["seeds"], leads, strict=True)
        }
    return rows


def _arms(found: dict[str, Any]) -> dict[str, Any]:
    from simclr_edu.course.evidence import arms

    rows = {str(epochs): arms.summary(found, epochs) for epochs in found["config"]["epochs"]}
    return {
        epochs: {
            arm: {score: {"mean": mean, "std": std} for score, (mean, std) in scores.items()}
            for arm, scores in by_arm.items()
        }
        for epochs, by_arm in rows.items()
    }


def _steps(found: dict[str, Any]) -> dict[str, Any]:
    from simclr_edu.course.evidence import training_steps

    return {
        who: {
            str(labels): {str(steps): statistics.fmean(draws) for steps, draws in column.items()}
            for labels, column in budgets.items()
        }
        for who, budgets in training_steps.summary(found).items()
    }


def _transfer(found: dict[str, Any]) -> dict[str, Any]:
    from simclr_edu.course.evidence import transfer

    budgets = [str(n or "all") for n in found["config"]["budgets"]]
    return {
        method: {
            budget: {"mean": statistics.fmean(column), "std": statistics.stdev(column)}
            for budget, column in zip(budgets, zip(*draws, strict=True), strict=True)
        }
        for method, draws in transfer.summary(found).items()
    }


# How a results file is read: its summary, by keys. One that is not named here is read as it is.
READERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "few_labels": _few_labels,
    "arms": _arms,
    "training_steps": _steps,
    "transfer": _transfer,
}


def number(text: str) -> float:
    """The number at the beginning of a text such as "1,024", "97.5%" or "-1.4 points"."""
    return float(re.match(NUMBER, text)[0].replace(",", ""))


def written(value: float, like: str) -> str:
    """A number as it is written in ``like``: so many decimals, sign, thousands, unit."""
    old = re.match(NUMBER, like)[0]
    sign, comma = "+" if old.startswith("+") else "", "," if "," in old or abs(value) >= 10_000 else ""
    return f"{value:{sign}{comma}.{len(old.partition('.')[2])}f}" + like[len(old) :]


def same(value: float, text: str) -> bool:
    """Whether ``text`` is this number, rounded to the decimals that it shows."""
    decimals = len(re.match(NUMBER, text)[0].partition(".")[2])
    return abs(value - number(text)) <= 0.5001 * 10**-decimals


class Figures:
    """The runs' figures below ``root``, and the texts that quote them."""

    def __init__(self, root: Path = nbtools.ROOT) -> None:
        self.root = root
        self.cards_file = root / "simclr_edu" / "assets" / "interview.toml"
        self.texts = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
        self.texts += sorted((root / "notebooks" / "source").glob("*.py"))
        # Each is read once.
        self.outputs: Callable[[str], list[str]] = cache(self._outputs)
        self.results: Callable[[str], Any] = cache(self._results)

    # --- where figures come from ---

    def _outputs(self, name: str) -> list[str]:
        """The texts in the saved outputs of a notebook, in order; ``name`` is such as 06."""
        try:
            (path,) = nbtools.notebook_paths([name], self.root / "notebooks")
            return [text for _, text in nbtools.output_texts(nbtools.read_notebook(path))]
        except nbtools.NotebookProblem as problem:
            raise FigureProblem(str(problem)) from None

    def _results(self, name: str) -> Any:
        path = self.root / "simclr_edu" / "assets" / f"{name}.json"
        if not path.exists():
            raise FigureProblem(f"there is no results file {path.name}")
        found = json.loads(path.read_text(encoding="utf-8"))
        return READERS[name](found) if name in READERS else found

    def value(self, where: str, what: str, text: str) -> float | None:
        """The figure that an origin gives for ``text``; None for a source.

        Raises:
            FigureProblem: there is no such origin.
        """
        if where == "source":
            if what not in SOURCES:
                raise FigureProblem(f"{what!r} is not one of the sources in tools/figures.py")
            return None
        if re.match(r"\d\d", where):
            found = re.search(what, "\n".join(self.outputs(where)))
            if not found:
                raise FigureProblem(f"notebook {where} does not print {what!r}")
            return number(found[1])
        here = self.results(where)
        for key in what.split(" / "):
            try:
                here = here[int(key) if isinstance(here, list) else key]
            except (LookupError, TypeError, ValueError):
                raise FigureProblem(f"{where}.json holds no {what!r} (at {key!r})") from None
        if not isinstance(here, int | float):
            raise FigureProblem(f"{where}.json has no number at {what!r}, but a {type(here).__name__}")
        return here * 100 if re.search(r"%|point", text) else here

    def rows(self, name: str) -> dict[str, list[str]]:
        """The rows of the table of results that a notebook ends with, by their first cell."""
        tables = [text for text in self.outputs(name) if text.startswith("|  | linear probe (%) |")]
        if not tables:
            raise FigureProblem(f"notebook {name} shows no table of results")
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tables[-1].splitlines()]
        return {row[0]: row[1:] for row in cells[2:]}

    def table(self, block: re.Match[str]) -> str | None:
        """What belongs between the lines of a table; None for a source."""
        if block["where"] == "source":
            self.value("source", block["what"], "")
            return None
        if block["where"] is None:
            names = [FEW_LABELS_TABLE[method] for method in few_labels.METHODS]
            head = ["labels a class", *names, "lead of the probe"]
            found = self.results("few_labels")
            lines = [[labels, *few_labels.cells_of(row)] for labels, row in found.items()]
        else:
            name, head = block["where"][-2:], ["representation", "linear probe (%)", "kNN (%)"]
            rows, wanted = self.rows(name), block["what"].split(", ")
            if unknown := [label for label in wanted if label not in rows]:
                raise FigureProblem(f"the results of notebook {name} have no row {unknown[0]!r}")
            lines = [[label, *rows[label][:2]] for label in wanted]
        rule = ["---", *["---:"] * (len(head) - 1)]
        return "\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *lines)) + "\n"

    # --- texts ---

    def fill(self, text: str) -> str:
        """A text with every table and figure as its origin has it; one that cannot be compared stays."""

        def figure(found: re.Match[str]) -> str:
            now = self._now(found["text"], lambda: self.value(found["where"], found["what"], found["text"]))
            return now + found[0].removeprefix(found["text"])

        def block(found: re.Match[str]) -> str:
            try:
                inside = self.table(found)
            except FigureProblem:
                return found[0]
            return found[0] if inside is None else f"<!-- {found['origin']} -->\n{inside}<!-- end -->"

        return FIGURE.sub(figure, BLOCK.sub(block, text))

    def _now(self, text: str, value: Callable[[], float | None]) -> str:
        """A figure as it should be written; as it is where nothing says otherwise."""
        try:
            found = value()
        except FigureProblem:
            return text
        return text if found is None or same(found, text) else written(found, text)

    def text_problems(self, path: Path) -> Iterator[str]:
        """What is wrong with the figures of a text, one sentence each."""
        text, name = path.read_text(encoding="utf-8"), path.relative_to(self.root).as_posix()

        def place(at: int) -> str:
            return f"{name}, line {text.count(chr(10), 0, at) + 1}"

        for found in FIGURE.finditer(text):
            try:
                value = self.value(found["where"], found["what"], found["text"])
            except FigureProblem as problem:
                yield f"{place(found.start())}: {found['text']}: {problem}"
                continue
            if value is not None and not same(value, found["text"]):
                now = written(value, found["text"])
                yield f"{place(found.start())}: says {found['text']}, {found['where']} has {now}"
        for found in BLOCK.finditer(text):
            try:
                inside = self.table(found)
            except FigureProblem as problem:
                yield f"{place(found.start())}: {problem}"
                continue
            if inside is not None and inside != found["inside"]:
                yield f"{place(found.start())}: the table {found['origin']!r} is not that of its run"
        if path.suffix == ".md":
            for at, figure in without_origin(text, everything=path.name == "README.md"):
                yield f"{place(at)}: {figure} has no origin"

    # --- cards ---

    def card_value(self, figure: dict[str, Any]) -> float | None:
        """What a figure of a card should be; None where nothing measured here says so."""
        if "notebook" in figure:
            return self.value(figure["notebook"], figure["pattern"], figure["text"])
        if "results" in figure:
            return self.value(figure["results"], figure["path"], figure["text"])
        return None

    def card_problems(self) -> Iterator[str]:
        """What is wrong with the measured figures of the cards, and with the cards that notebook 10 shows."""
        for card in interview.load(self.cards_file):
            for figure in card.figures:
                try:
                    value = self.card_value(figure)
                except FigureProblem as problem:
                    yield f"card {card.id}: {figure['text']}: {problem}"
                    continue
                if value is not None and not same(value, figure["text"]):
                    now = written(value, figure["text"])
                    origin = figure.get("notebook", figure.get("results"))
                    yield f"card {card.id}: says {figure['text']}, {origin} has {now}"
        shown = "\n".join(self.outputs("10"))
        stale = [c.id for c in interview.load(self.cards_file) if interview.answer_html(c) not in shown]
        if stale:
            yield f"notebook 10 shows other texts than interview.toml of {', '.join(stale)}: run it again"

    def fill_cards(self, text: str) -> tuple[str, list[str]]:
        """The file of questions with every measured figure as its run has it, and a note on each change."""
        head, *cards = text.split(CARD)
        notes = []
        for k, card in enumerate(cards):
            (entry,) = tomllib.loads(CARD + card)["questions"]
            new: dict[str, set[str]] = {}
            for figure in entry.get("figures", ()):
                now = self._now(figure["text"], lambda f=figure: self.card_value(f))
                new.setdefault(figure["text"], set()).add(now)
            if several := [old for old, values in new.items() if len(values) > 1]:
                raise FigureProblem(
                    f"card {entry['id']}: {several[0]} stands for {len(new[several[0]])} figures "
                    f"that are now {' and '.join(sorted(new[several[0]]))}: tell them apart by hand"
                )
            changed = {old: value for old, (value,) in new.items() if value != old}
            if changed:
                words = "|".join(map(re.escape, sorted(changed, key=len, reverse=True)))
                # Patterns and formulas, in single quotes or after their key, are no text.
                parts = re.split(r"((?:pattern|formula|path) = (?:'[^'\n]*'|\"[^\"\n]*\"))", card)
                parts[::2] = [
                    re.sub(rf"(?<![\d.,])(?:{words})(?![\d%]|[.,]\d)", lambda m, c=changed: c[m[0]], part)
                    for part in parts[::2]
                ]
                cards[k] = "".join(parts)
                notes.append(f"card {entry['id']}: {', '.join(f'{a} -> {b}' for a, b in changed.items())}")
        return CARD.join([head, *cards]), notes

    # --- notebooks ---

    def row_problems(self) -> Iterator[str]:
        """Rows in a notebook's table of results that are not what the notebook named there has."""
        tables = {}
        for path in nbtools.notebook_paths(folder=self.root / "notebooks"):
            try:
                tables[path.stem[:2]] = self.rows(path.stem[:2])
            except FigureProblem:
                continue  # notebook 10 measures nothing
        for name, rows in tables.items():
            for label, row in rows.items():
                maker = next((cell for cell in row if cell in tables), name)
                if maker != name and label in tables[maker] and tables[maker][label] != row:
                    yield f"notebook {name}: the row {label!r} differs from notebook {maker}: run both again"

    def problems(self) -> list[str]:
        """All that is wrong, one sentence each."""
        texts = [problem for path in self.texts for problem in self.text_problems(path)]
        return [*texts, *self.card_problems(), *self.row_problems()]


def without_origin(text: str, *, everything: bool) -> Iterator[tuple[int, str]]:
    """Yield place and text of each figure that names no origin.

    ``everything``: percentages and decimals of the section "Results"; otherwise all percentages.
    """

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found[0])

    for pattern in (BLOCK, FIGURE, SILENT):
        text = pattern.sub(blank, text)
    start, end = 0, len(text)
    if everything:
        section = RESULTS_SECTION.search(text)
        if section is None:
            yield 0, 'what should stand under "## Results"'
            return
        start, end = section.span()
    pattern = PERCENT_OR_DECIMAL if everything else PERCENT
    yield from ((found.start(), found[0]) for found in pattern.finditer(text, start, end))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when a figure differs or cannot be compared."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing, fail when a figure differs")
    options = parser.parse_args(arguments)
    figures = Figures()
    try:
        if not options.check:
            for path in figures.texts:
                old = path.read_text(encoding="utf-8")
                if (new := figures.fill(old)) != old:
                    path.write_text(new, encoding="utf-8", newline="\n")
                    print(f"{path.relative_to(figures.root)}: written")
            old = figures.cards_file.read_text(encoding="utf-8")
            new, notes = figures.fill_cards(old)
            if notes:
                figures.cards_file.write_text(new, encoding="utf-8", newline="\n")
                print(*notes, "Read the sentences around them again: do they still hold?", sep="\n")
        problems = figures.problems()
    except (FigureProblem, interview.InterviewError) as problem:
        problems = [str(problem)]
    print("\n".join(problems) or "README, docs, interview and notebooks agree with the runs")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
