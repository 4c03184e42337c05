"""The questions, their answers and where the course shows them: read and checked."""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints
from urllib.parse import quote

import msgspec
from msgspec import Meta

from simclr_edu._checks import check_choice
from simclr_edu.home import ASSETS

QUESTIONS_FILE = ASSETS / "interview.toml"
Depth = Literal["30 s", "2 min", "whiteboard"]
Part = Literal["warm-up", "concept", "coding", "debugging", "design"]
DEPTHS: tuple[str, ...] = get_args(Depth)
PARTS: tuple[str, ...] = get_args(Part)

# Every mock interview asks each of these once: what SimCLR cannot be explained without.
CORE_TOPICS = ("NT-Xent", "temperature", "projection head", "augmentation", "evaluation")
CHOICES = 4


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


# The format of the file. A description completes the sentence "FIELD must be ...", which an author reads.
_Text = Annotated[str, Meta(pattern=r"\S", description="a text that is not empty")]
_Pair = tuple[_Text, _Text]
_Place = Annotated[str, Meta(pattern=r"^[^#]+#\s*\S", description="notebook#heading")]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    topics: Annotated[tuple[_Text, ...], Meta(min_length=1, description="the list of topics, each a text")]
    questions: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1, description="[[questions]]")]


class _Card(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    id: Annotated[
        str, Meta(pattern=r"^[a-z0-9-]+\Z", description="of lower-case letters, digits and hyphens")
    ]
    topic: _Text
    depth: Annotated[Depth, Meta(description=f"one of {', '.join(DEPTHS)}")]
    part: Annotated[Part, Meta(description=f"one of {', '.join(PARTS)}")]
    question: _Text
    answer: _Text
    rubric: Annotated[tuple[_Text, ...], Meta(min_length=2, description="a list of at least 2 texts")]
    follow_ups: Annotated[
        tuple[_Pair, ...], Meta(min_length=1, max_length=2, description="a list of 1 to 2 pairs of texts")
    ]
    link: _Place | None = None
    related: _Place | None = None
    right: _Text | None = None
    wrong: Annotated[
        tuple[_Pair, _Pair, _Pair] | None,
        Meta(description=f"a list of {CHOICES - 1} pairs of texts, each a choice and why it is wrong"),
    ] = None
    stem: _Text | None = None
    figures: Annotated[tuple[dict[str, Any], ...], Meta(description="a list of tables")] = ()
    check: _Text | None = None

    def __post_init__(self) -> None:
        places = [key for key in ("link", "related") if getattr(self, key) is not None]
        if len(places) != 1:
            got = " and ".join(places) or "none"
            raise ValueError(f"either link or related must be given, got {got}")
        if self.answer.count("```") % 2:
            raise ValueError("a code block of the answer is not closed")
        if (self.right is None) != (self.wrong is None):
            raise ValueError("right and wrong must be given together, or neither")
        if len({choice.text for choice in self.choices}) < len(self.choices):
            raise ValueError("two choices are the same")

    @property
    def choices(self) -> tuple[Choice, ...]:
        if self.right is None or self.wrong is None:
            return ()
        return (Choice(self.right), *(Choice(text, why) for text, why in self.wrong))


_Format = TypeVar("_Format", _File, _Card)


def _read(table: dict[str, Any], kind: type[_Format], name: str) -> _Format:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        # msgspec says such as "Object missing required field `id`" and "Expected `str` - at `$.rubric[0]`".
        problem, _, place = str(error).removeprefix("Object ").partition(" - at `$.")
        if place:
            key = place.rstrip("`").partition("[")[0]
            problem = f"{key} must be {_description(kind, key)}, got {table[key]!r}"
        raise InterviewError(f"{name}: {problem}") from error


def _description(kind: type, key: str) -> str:
    hint = get_type_hints(kind, include_extras=True)[key]
    annotated = hint if hasattr(hint, "__metadata__") else get_args(hint)[0]  # the second: "or None"
    return str(annotated.__metadata__[-1].description)


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
    file = _read(content, _File, path.name)
    made: dict[str, Question] = {}
    for number, entry in enumerate(file.questions, start=1):
        name = f"question {number} ({entry.get('id', 'without id')})"
        card = _read(entry, _Card, name)
        if card.topic not in file.topics:
            raise InterviewError(f"{name}: topic must be one of {', '.join(file.topics)}, got {card.topic!r}")
        if card.id in made:
            raise InterviewError(f"{name}: the id {card.id!r} is used twice")
        made[card.id] = _question(card)
    if unused := set(file.topics) - {q.topic for q in made.values()}:
        raise InterviewError(f"{path.name} has no question on {', '.join(sorted(unused))}")
    return tuple(made.values())


def _question(card: _Card) -> Question:
    notebook, _, heading = (card.link or card.related or "").partition("#")
    return Question(
        id=card.id,
        topic=card.topic.strip(),
        depth=card.depth,
        part=card.part,
        question=card.question.strip(),
        answer=card.answer.strip(),
        rubric=card.rubric,
        follow_ups=card.follow_ups,
        notebook=notebook,
        heading=heading.strip(),
        shown=card.link is not None,
        choices=card.choices,
        stem=(card.stem or card.question).strip(),
        figures=card.figures,
        check=card.check,
    )


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
