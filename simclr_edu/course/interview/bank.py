"""The questions, their answers and where the course shows them: read and checked."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from simclr_edu._checks import check_choice
from simclr_edu.home import ASSETS

QUESTIONS_FILE = ASSETS / "interview.toml"
DEPTHS = ("30 s", "2 min", "whiteboard")
PARTS = ("warm-up", "concept", "coding", "debugging", "design")

# Every mock interview asks each of these once: what SimCLR cannot be explained without.
CORE_TOPICS = ("NT-Xent", "temperature", "projection head", "augmentation", "evaluation")
CHOICES = 4
_TEXTS = ("id", "topic", "depth", "part", "question", "answer")
_PLACES = ("link", "related")
_OPTIONAL = (*_PLACES, "right", "wrong", "stem", "figures", "check")


class InterviewError(ValueError):
    """The file of questions is damaged; the message names the question and the field."""


@dataclass(frozen=True)
class Choice:
    """One choice of a quiz question; ``why`` says what is wrong with it, and is empty for the right one."""

    text: str
    why: str = ""

    @property
    def right(self) -> bool:
        """Whether this is the right choice."""
        return not self.why


@dataclass(frozen=True)
class Question:
    """One question with its model answer.

    Attributes:
        id: short name, unique.
        topic: one of :func:`topics`.
        depth: one of ``DEPTHS``; the answer is as long as the depth allows.
        part: part of the mock interview that it suits, one of ``PARTS``.
        question: the question.
        answer: the model answer.
        rubric: what a good answer holds, one point each.
        follow_ups: pairs of a further question and its short answer.
        notebook: stem of the notebook that shows it, or comes nearest to it.
        heading: its section there.
        shown: whether that section states or runs what the answer says; if not, it is related to it only.
        choices: four choices, the right one first, or none.
        stem: the question as the quiz asks it: the choices may answer only a part of it.
        figures: where the numbers in the text come from.
        check: the exercise that the code in the answer passes, if there is one.
    """

    id: str
    topic: str
    depth: str
    part: str
    question: str
    answer: str
    rubric: tuple[str, ...]
    follow_ups: tuple[tuple[str, str], ...]
    notebook: str
    heading: str
    shown: bool
    choices: tuple[Choice, ...] = ()
    stem: str = ""
    figures: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    check: str | None = None

    @property
    def link(self) -> str:
        """The place in the notebooks: a link that works in JupyterLab and in the exported pages."""
        return f"{self.notebook}.ipynb#{quote(self.heading.replace(' ', '-'))}"


def load(path: str | Path = QUESTIONS_FILE) -> tuple[Question, ...]:
    """Read and check a file of questions.

    Raises:
        InterviewError: the file is missing, is no TOML, or a question is incomplete or wrong; the message
            names the question and the field.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InterviewError(f"there is no file of questions at {path}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InterviewError(f"{path.name} is damaged: {error}") from error
    known = content.get("topics")
    if not isinstance(known, list) or not known or not all(isinstance(t, str) for t in known):
        raise InterviewError(f"{path.name} must begin with its list of topics")
    entries = content.get("questions")
    if not isinstance(entries, list) or not entries:
        raise InterviewError(f"{path.name} must hold [[questions]]")
    made: list[Question] = []
    for number, entry in enumerate(entries, start=1):
        question = _question(entry, f"question {number} ({entry.get('id', 'without id')})", known)
        if any(question.id == other.id for other in made):
            raise InterviewError(f"question {number}: the id {question.id!r} is used twice")
        made.append(question)
    if unused := [topic for topic in known if all(q.topic != topic for q in made)]:
        raise InterviewError(f"{path.name} has no question on {', '.join(unused)}")
    return tuple(made)


def _question(entry: dict[str, Any], name: str, known: Sequence[str]) -> Question:
    wanted = {*_TEXTS, "rubric", "follow_ups"}
    if missing := sorted(wanted - set(entry)):
        raise InterviewError(f"{name}: {', '.join(missing)} is missing")
    if unknown := sorted(set(entry) - wanted - set(_OPTIONAL)):
        raise InterviewError(f"{name}: {', '.join(unknown)} is not a field of a question")
    for key in _TEXTS:
        if not isinstance(entry[key], str) or not entry[key].strip():
            raise InterviewError(f"{name}: {key} must be a text that is not empty, got {entry[key]!r}")
    for key, allowed in (("topic", known), ("depth", DEPTHS), ("part", PARTS)):
        if entry[key] not in allowed:
            raise InterviewError(f"{name}: {key} must be one of {', '.join(allowed)}, got {entry[key]!r}")
    if not re.fullmatch(r"[a-z0-9-]+", entry["id"]):
        raise InterviewError(
            f"{name}: id must be of lower-case letters, digits and hyphens, got {entry['id']!r}"
        )
    given = [key for key in _PLACES if key in entry]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise InterviewError(f"{name}: either link or related must be given, got {got}")
    place = entry[given[0]]
    notebook, sign, heading = place.partition("#") if isinstance(place, str) else ("", "", "")
    if not (notebook and sign and heading.strip()):
        raise InterviewError(f"{name}: {given[0]} must be notebook#heading, got {place!r}")
    if entry["answer"].count("```") % 2:
        raise InterviewError(f"{name}: a code block of the answer is not closed")
    return Question(
        **{key: entry[key].strip() for key in _TEXTS},
        rubric=_lines(entry["rubric"], f"{name}: rubric", 2),
        follow_ups=tuple(_pairs(entry["follow_ups"], f"{name}: follow_ups", 1, 2)),
        notebook=notebook,
        heading=heading.strip(),
        shown=given[0] == "link",
        choices=_choices(entry, name),
        stem=entry.get("stem", entry["question"]).strip(),
        figures=tuple(entry.get("figures", ())),
        check=entry.get("check"),
    )


def _lines(value: object, name: str, least: int) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(line, str) and line.strip() for line in value):
        raise InterviewError(f"{name} must be a list of texts, got {value!r}")
    if len(value) < least:
        raise InterviewError(f"{name} must have at least {least} entries, got {len(value)}")
    return tuple(value)


def _pairs(value: object, name: str, least: int, most: int) -> list[tuple[str, str]]:
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise InterviewError(f"{name} must be a list of {least} to {most} pairs, got {value!r}")
    if not all(isinstance(p, list) and len(p) == 2 for p in value):
        raise InterviewError(f"{name} must be a list of pairs of texts, got {value!r}")
    return [(a, b) for a, b in (_lines(pair, name, 2) for pair in value)]


def _choices(entry: dict[str, Any], name: str) -> tuple[Choice, ...]:
    if "right" not in entry and "wrong" not in entry:
        return ()
    if not isinstance(entry.get("right"), str) or not entry["right"].strip():
        raise InterviewError(f"{name}: right must be the text of the right choice")
    wrong = _pairs(entry.get("wrong"), f"{name}: wrong", CHOICES - 1, CHOICES - 1)
    texts = [entry["right"], *(text for text, _ in wrong)]
    if len(set(texts)) < CHOICES:
        raise InterviewError(f"{name}: two choices are the same")
    return (Choice(entry["right"]), *(Choice(text, why) for text, why in wrong))


@cache
def all_questions() -> tuple[Question, ...]:
    return load()


def topics() -> tuple[str, ...]:
    """The topics, in the order of the course."""
    return tuple(dict.fromkeys(q.topic for q in all_questions()))


def questions(
    topic: str | None = None, depth: str | None = None, part: str | None = None
) -> tuple[Question, ...]:
    """The questions, or those of one topic, one depth or one part of the interview.

    Args:
        topic: one of :func:`topics`.
        depth: one of ``DEPTHS``: "30 s", "2 min", "whiteboard".
        part: one of ``PARTS``: "warm-up", "concept", "coding", "debugging", "design".

    Raises:
        ValueError: no such topic, depth or part.
    """
    for value, name, allowed in ((topic, "topic", topics()), (depth, "depth", DEPTHS), (part, "part", PARTS)):
        if value is not None:
            check_choice(value, name, allowed)
    return tuple(
        q
        for q in all_questions()
        if topic in (None, q.topic) and depth in (None, q.depth) and part in (None, q.part)
    )
