"""The running results table of the course: each notebook records its rows, any notebook shows them all.

Rows live in ``results.json`` in the learner's home folder, so that a table drawn in the last notebook still
holds the baselines of the first. Accuracies are stored from 0 to 1 and shown in percent.
"""

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simclr_edu._checks import check_fraction, check_number, check_seed, check_sequence, check_text
from simclr_edu._locks import in_turn_on
from simclr_edu.checkpoints import atomic_file
from simclr_edu.home import WAY_OUT, HomeError, home_folder, writable_home

# The order in which the course tells its story; a row belongs to the first of these that begins its name.
STORY = (
    "chance",
    "raw pixels",
    "random encoder",
    "supervised",
    "crop only",
    "colour only",
    "crop + colour",
    "tau",
    "simclr",
)
# Shown as they are. Every other value is an accuracy.
PLAIN_NUMBERS = (
    "seconds",
    "epochs",
    "steps",
    "labels",
    "loss",
    "alignment",
    "uniformity",
    "effective_rank",
    "pairs_per_s",
)

_HEADINGS = {
    "linear": "linear probe",
    "knn": "kNN",
    "accuracy": "trained with labels",
    "fine_tune": "fine-tuned",
    "pairs_per_s": "pairs/s",
}
_ORIGIN = ("notebook", "profile", "seed")  # where a row comes from, beside its values
_DASH = "–"
_EMPTY = "No results yet: each notebook adds its rows when it runs."


@dataclass(frozen=True)
class ResultsTable:
    """A table ready to be shown: text with ``print``, HTML in a notebook, Markdown in an export.

    Attributes:
        header: column headings.
        rows: one tuple of cells a row, as long as ``header``.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        if not self.rows:
            return _EMPTY
        lines = [self.header, *self.rows]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.header))]

        def text(line: tuple[str, ...]) -> str:
            name, *cells = line
            padded = [name.ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells, widths[1:], strict=True))]
            return "  ".join(padded).rstrip()

        rule = "  ".join("-" * width for width in widths)
        return "\n".join([text(self.header), rule, *map(text, self.rows)])

    def _repr_markdown_(self) -> str:
        if not self.rows:
            return _EMPTY
        rule = ("---", *("---:" for _ in self.header[1:]))
        lines = [self.header, rule, *(tuple(c.replace("|", "\\|") for c in row) for row in self.rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{_EMPTY}</p>"

        def line(cells: tuple[str, ...], tag: str, scope: str) -> str:
            first, *others = map(html.escape, cells)
            right = "".join(f'<{tag} style="text-align:right">{cell}</{tag}>' for cell in others)
            return f'<tr><th scope="{scope}" style="text-align:left">{first}</th>{right}</tr>'

        body = "".join(line(row, "td", "row") for row in self.rows)
        return (
            "<table><caption>Results so far</caption>"
            f"<thead>{line(self.header, 'th', 'col')}</thead><tbody>{body}</tbody></table>"
        )


def record(
    name: str, *, notebook: str, seed: int | None = None, profile: str | None = None, **values: float
) -> None:
    """Write one row of the results table; a row of the same name is replaced.

    Args:
        name: what was measured, such as ``"random encoder"``.
        notebook: the notebook that measured it.
        seed: the seed of the run.
        profile: the profile of the run.
        **values: accuracies from 0 to 1 (``linear``, ``knn``, ...) or one of ``PLAIN_NUMBERS``.

    Raises:
        TypeError: a value is not a number, or a text is not a string.
        ValueError: an accuracy outside 0 to 1, a number that is not finite, no value at all, an empty name;
            or ``results.json`` is damaged, in which case it is left as it is.
        HomeError: the home folder may not be written.
        FolderInUseError: another process has held the table for a minute.
    """
    for what, text in (("name", name), ("notebook", notebook), ("profile", profile)):
        if text is not None or what != "profile":
            check_text(text, what)
    seed = None if seed is None else check_seed(seed)
    if not values:
        raise ValueError(f"row {name!r} must have at least one value, such as linear=0.83")
    checked = {key: _check_value(key, value) for key, value in values.items()}
    writable_home()
    with in_turn_on(_path()):  # another notebook may be recording its own row
        rows = _read()
        rows[name] = {"notebook": notebook, "profile": profile, "seed": seed} | checked
        _write(rows)


def rows() -> dict[str, dict[str, Any]]:
    """Return all rows in the order of the story: name to ``notebook``, ``profile``, ``seed`` and the values.

    Raises:
        ValueError: ``results.json`` is damaged.
    """
    return dict(sorted(_read().items(), key=lambda row: _place(row[0])))  # stable: otherwise as inserted


def table(columns: tuple[str, ...] = ("linear", "knn", "accuracy")) -> ResultsTable:
    """Return the results table with these values as columns, then where each row comes from.

    Accuracies are in percent with one decimal; a value that a row lacks is a dash.

    Args:
        columns: names of values, as given to ``record``.

    Raises:
        TypeError: ``columns`` is not a sequence of strings.
        ValueError: a column is no value but where a row comes from, or ``results.json`` is damaged.
    """
    wanted = "a sequence of strings such as ('linear', 'knn')"
    for column in check_sequence(columns, "columns", wanted):
        if not isinstance(column, str):
            raise TypeError(f"columns must be {wanted}, got one of {type(column).__name__}")
    if any(column in _ORIGIN for column in columns):
        raise ValueError(
            f"columns must be names of values, got {tuple(columns)}; {', '.join(_ORIGIN)} are added"
        )
    recorded = rows()
    origin = tuple(key for key in _ORIGIN if any(row[key] is not None for row in recorded.values()))
    header = ("", *(_heading(column) for column in columns), *origin)
    cells = tuple(
        (
            name,
            *(_cell(column, row.get(column)) for column in columns),
            *(_DASH if row[key] is None else str(row[key]) for key in origin),
        )
        for name, row in recorded.items()
    )
    return ResultsTable(header, cells)


def _check_value(key: str, value: object) -> float:
    if key not in PLAIN_NUMBERS:
        return check_fraction(value, key)
    return check_number(value, key)


def _heading(column: str) -> str:
    text = _HEADINGS.get(column, column.replace("_", " "))
    return text if column in PLAIN_NUMBERS else f"{text} (%)"


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return _DASH
    return f"{value:.4g}" if column in PLAIN_NUMBERS else f"{100 * value:.1f}"


def _place(name: str) -> int:
    """Where in the story a row stands; unknown names come last."""
    plain = " ".join(name.casefold().replace("-", " ").replace("color", "colour").replace("τ", "tau").split())
    return next((k for k, start in enumerate(STORY) if plain.startswith(start)), len(STORY))


def _path() -> Path:
    return home_folder() / "results.json"


def _read() -> dict[str, dict[str, Any]]:
    path = _path()
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise HomeError(f"{path} cannot be read ({error.strerror}): {WAY_OUT}") from error
    except ValueError as error:  # neither UTF-8 nor JSON
        raise ValueError(f"{path} is damaged ({error}); delete it to start with an empty table") from error
    if not isinstance(stored, dict) or not all(_is_row(row) for row in stored.values()):
        raise ValueError(f"{path} does not hold rows of results; delete it to start with an empty table")
    return stored


def _is_row(row: object) -> bool:
    return (
        isinstance(row, dict)
        and all(key in row for key in _ORIGIN)
        and all(isinstance(v, int | float) for key, v in row.items() if key not in _ORIGIN)
    )


def _write(stored: dict[str, dict[str, Any]]) -> None:
    """Replace the file whole, so that a kernel stopped here leaves the old table or the new one."""
    with atomic_file(_path()) as file:
        file.write(json.dumps(stored, indent=1, ensure_ascii=False).encode())
