"""Interview practice: questions at three depths as flash cards, a quiz and a timed mock interview.

The questions are data: ``assets/interview.toml``, read and checked here. What is shown is plain text with
``print``, and in a notebook HTML that folds its answers with ``<details>``: no script, no network, the same
in an exported page. The buttons of :mod:`simclr_edu.widgets` are built on the same objects.
"""

import html
import random
import re
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from simclr_edu._checks import check_choice, check_int, check_positive

QUESTIONS_FILE = Path(__file__).parent / "assets" / "interview.toml"
DEPTHS = ("30 s", "2 min", "whiteboard")
PARTS = ("warm-up", "concept", "coding", "debugging", "design")
# The mock interview: for each part one or two plans, of which one is drawn; a plan holds depth and minutes of
# each question, follow-ups included. Plans of one part take equally long, all parts together 45 minutes.
AGENDA: dict[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "warm-up": ((("30 s", 2), ("30 s", 2), ("30 s", 2)),),
    "concept": ((("2 min", 4), ("2 min", 4), ("2 min", 4)), (("2 min", 4), ("whiteboard", 8))),
    "coding": ((("whiteboard", 13),),),
    "debugging": ((("2 min", 4), ("2 min", 4)), (("whiteboard", 8),)),
    "design": ((("whiteboard", 6),),),
}
# Every mock interview asks each of these once: what SimCLR cannot be explained without.
CORE_TOPICS = ("NT-Xent", "temperature", "projection head", "augmentation", "evaluation")
CHOICES = 4

_TEXTS = ("id", "topic", "depth", "part", "question", "answer")
_PLACES = ("link", "related")
_OPTIONAL = (*_PLACES, "right", "wrong", "stem", "figures", "check")
_LETTERS = "abcd"


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


# --- reading and checking -----------------------------------------------------------------------------------


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
def _all() -> tuple[Question, ...]:
    return load()


def topics() -> tuple[str, ...]:
    """The topics, in the order of the course."""
    return tuple(dict.fromkeys(q.topic for q in _all()))


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
        q for q in _all() if topic in (None, q.topic) and depth in (None, q.depth) and part in (None, q.part)
    )


# --- text as HTML -------------------------------------------------------------------------------------------


def to_html(text: str) -> str:
    """The light markup of the questions as HTML: paragraphs, lists, ``code`` and fenced code blocks."""
    out = []
    for k, piece in enumerate(text.split("```")):
        if k % 2:
            out.append(f"<pre><code>{html.escape(piece.strip(chr(10)))}</code></pre>")
            continue
        for block in re.split(r"\n\s*\n", piece.strip()):
            out.append(_block(block))
    return "".join(out)


def _block(block: str) -> str:
    lines = [line.strip() for line in block.splitlines() if line.strip()]
    text = [line for line in lines if not line.startswith("- ")]
    items = "".join(f"<li>{_inline(line[2:])}</li>" for line in lines if line.startswith("- "))
    paragraph = f"<p>{_inline(' '.join(text))}</p>" if text else ""
    return paragraph + (f"<ul>{items}</ul>" if items else "")


def _inline(text: str) -> str:
    parts = html.escape(text).split("`")
    marked = "".join(f"<code>{p}</code>" if k % 2 else p for k, p in enumerate(parts))
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", marked)


def answer_html(question: Question) -> str:
    """Model answer, rubric, follow-ups and link of a question, as HTML."""
    points = "".join(f"<li>{_inline(point)}</li>" for point in question.rubric)
    further = "".join(
        f"<details><summary>{_inline(asked)}</summary>{to_html(answer)}</details>"
        for asked, answer in question.follow_ups
    )
    return (
        f"{to_html(question.answer)}<p><b>A good answer holds</b></p><ul>{points}</ul>"
        f"<p><b>Follow-ups</b></p>{further}<p>{_link(question)}</p>"
    )


def _link(question: Question) -> str:
    number, heading = question.notebook.split("_")[0], html.escape(question.heading)
    words = "Shown in" if question.shown else "Related:"
    return f'{words} <a href="{html.escape(question.link)}">notebook {number}, {heading}</a>'


# --- flash cards --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FlashCards:
    """Questions whose answers are folded: open one after you have said your own answer aloud."""

    cards: tuple[Question, ...]

    def __str__(self) -> str:
        return "\n".join(f"[{q.topic}, {q.depth}] {q.question}" for q in self.cards)

    def _repr_html_(self) -> str:
        out = []
        for topic in dict.fromkeys(q.topic for q in self.cards):
            out.append(f"<h4>{html.escape(topic)}</h4>")
            of_topic = [q for q in self.cards if q.topic == topic]
            for q in sorted(of_topic, key=lambda q: DEPTHS.index(q.depth)):
                summary = f"<b>{q.depth}</b>: {_inline(q.question)}"
                out.append(f"<details><summary>{summary}</summary>{answer_html(q)}</details>")
        return f"<div>{''.join(out)}</div>"


def flash_cards(topic: str | None = None, depth: str | None = None, part: str | None = None) -> FlashCards:
    """The questions as cards to unfold; arguments and errors as :func:`questions`."""
    return FlashCards(questions(topic, depth, part))


# --- quiz ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class QuizItem:
    """A question of the quiz with its choices in the order in which they are shown."""

    question: Question
    choices: tuple[Choice, ...]

    @property
    def right(self) -> str:
        """Letter of the right choice."""
        return _LETTERS[next(k for k, choice in enumerate(self.choices) if choice.right)]

    def feedback(self, letter: str) -> str:
        """What to say to a choice: that it is right, or why it is wrong.

        Raises:
            ValueError: ``letter`` is not one of a, b, c, d.
        """
        choice = self.choices[_LETTERS.index(check_choice(letter, "letter", _LETTERS))]
        return "Right." if choice.right else f"Wrong. {choice.why}"


@dataclass(frozen=True)
class Quiz:
    """Multiple-choice questions: unfold a choice to see if it is right, or hand in letters to ``score``."""

    items: tuple[QuizItem, ...]

    def __str__(self) -> str:
        lines = []
        for number, item in enumerate(self.items, start=1):
            lines.append(f"{number}. {item.question.stem}")
            lines += [f"   {a}) {c.text}" for a, c in zip(_LETTERS, item.choices, strict=True)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        out = []
        for item in self.items:
            folds = "".join(
                f"<details><summary>{letter}) {_inline(choice.text)}</summary>"
                f"<p>{_inline(item.feedback(letter))}</p></details>"
                for letter, choice in zip(_LETTERS, item.choices, strict=True)
            )
            out.append(f"<li><p><b>{_inline(item.question.stem)}</b></p>{folds}</li>")
        return f"<ol>{''.join(out)}</ol>"

    def score(self, answers: Sequence[str]) -> "Score":
        """Mark the letters of all questions, such as ``quiz.score("abda")``; "-" leaves a question out.

        Raises:
            ValueError: another number of answers than questions, or a letter that is no choice.
        """
        if len(answers) != len(self.items):
            raise ValueError(f"answers must hold {len(self.items)} letters, got {len(answers)}")
        rows, right = [], 0
        for number, (item, letter) in enumerate(zip(self.items, answers, strict=True), start=1):
            said = "Left out." if letter == "-" else item.feedback(letter)
            right += letter == item.right
            if letter not in ("-", item.right):  # a question left out stays open
                said += f" Right is {item.right}) {next(c.text for c in item.choices if c.right)}"
            rows.append((str(number), letter, said))
        header = ("question", "answer", "")
        return Score(header, tuple(rows), f"{right} of {len(rows)} right", right, len(rows))


@dataclass(frozen=True)
class Score:
    """A marked sheet: text with ``print``, a table in a notebook.

    Attributes:
        header: column headings.
        rows: cells, as text.
        summary: the result in words.
        points: points reached.
        possible: points that could be reached.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    summary: str
    points: int
    possible: int

    def __str__(self) -> str:
        return "\n".join([self.summary, *("  ".join(row) for row in self.rows)])

    def _repr_html_(self) -> str:
        return f"<p><b>{html.escape(self.summary)}</b></p>{_table(self.header, self.rows)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], escape: bool = True) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        shown = (_inline(cell) if escape else cell for cell in cells)
        style = ' style="text-align:left;vertical-align:top"'
        return f"<tr>{''.join(f'<{tag}{style}>{cell}</{tag}>' for cell in shown)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"


def quiz(count: int = 10, seed: int = 0, topic: str | None = None) -> Quiz:
    """Draw a quiz: its questions and the order of their choices, the same for the same seed.

    Args:
        count: how many; fewer if there are not so many on the topic.
        seed: of the draw, 0 or more.
        topic: one of :func:`topics`; all of them if not given.

    Raises:
        TypeError, ValueError: a number out of range, no such topic, or none of its questions has choices.
    """
    check_int(count, "count", 1)
    rng = random.Random(check_int(seed, "seed", 0))
    pool = [q for q in questions(topic) if q.choices]
    if not pool:
        raise ValueError(f"topic must be one with multiple-choice questions, got {topic!r}")
    drawn = rng.sample(pool, min(count, len(pool)))
    return Quiz(tuple(QuizItem(q, tuple(rng.sample(q.choices, CHOICES))) for q in drawn))


# --- mock interview -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MockItem:
    """One question of a mock interview with its place in time."""

    part: str
    start: int
    minutes: int
    question: Question


@dataclass(frozen=True)
class MockInterview:
    """A mock interview of 45 minutes: what to ask when, and the sheet to mark it.

    Attributes:
        seed: that it was drawn with.
        items: the questions, in order, with start and length in minutes.
    """

    seed: int
    items: tuple[MockItem, ...]

    @property
    def parts(self) -> dict[str, int]:
        """Minutes of each part, in order."""
        return {part: sum(i.minutes for i in self.items if i.part == part) for part in PARTS}

    @property
    def minutes(self) -> int:
        """Minutes of the whole interview."""
        return sum(item.minutes for item in self.items)

    def __str__(self) -> str:
        lines = [f"Mock interview {self.seed}, {self.minutes} minutes"]
        for number, item in enumerate(self.items, start=1):
            when = f"{item.start:02d}:00, {item.minutes} min"
            points = f"{len(item.question.rubric)} points"
            lines.append(f"{number}. {when}, {item.part} ({points}): {item.question.question}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = []
        for number, item in enumerate(self.items, start=1):
            boxes = "".join(f"<li>&#9744; {_inline(point)}</li>" for point in item.question.rubric)
            sheet = (
                f"<details><summary>points: {len(item.question.rubric)}</summary>"
                f'<ul style="list-style:none;padding-left:0">{boxes}</ul></details>'
                f"<details><summary>answer</summary>{answer_html(item.question)}</details>"
            )
            when = f"{item.start:02d}:00"
            rows.append(
                (str(number), when, f"{item.minutes} min", item.part, _inline(item.question.question), sheet)
            )
        header = ("", "from", "for", "part", "question", "score sheet (unfold afterwards)")
        title = f"<p><b>Mock interview {self.seed}, {self.minutes} minutes</b></p>"
        return title + _table(header, rows, escape=False)

    def score(self, points: Sequence[int]) -> Score:
        """Add up the points that you gave yourself, one number a question, in order.

        Raises:
            TypeError, ValueError: not one whole number a question, or more than its rubric has.
        """
        if len(points) != len(self.items):
            raise ValueError(f"points must hold {len(self.items)} numbers, one a question, got {len(points)}")
        reached = [
            check_int(p, f"points of question {k + 1}", 0, len(item.question.rubric))
            for k, (p, item) in enumerate(zip(points, self.items, strict=True))
        ]
        rows, total = [], sum(len(item.question.rubric) for item in self.items)
        for part in PARTS:
            mine = sum(p for p, item in zip(reached, self.items, strict=True) if item.part == part)
            most = sum(len(item.question.rubric) for item in self.items if item.part == part)
            rows.append((part, f"{mine} of {most}", f"{mine / most:.0%}"))
        summary = f"{sum(reached)} of {total} points, {sum(reached) / total:.0%}"
        return Score(("part", "points", "share"), tuple(rows), summary, sum(reached), total)


def mock_interview(seed: int = 0) -> MockInterview:
    """Draw a mock interview of 45 minutes: warm-up, concept, coding, debugging, design.

    The same seed gives the same interview. Each of ``CORE_TOPICS`` is asked exactly once, the others at most
    once unless a part has no other left.

    Args:
        seed: 0 or more.

    Raises:
        TypeError, ValueError: the seed is not a whole number, or negative.
    """
    rng = random.Random(check_int(seed, "seed", 0))
    slots = [(part, depth, minutes) for part, plans in AGENDA.items() for depth, minutes in rng.choice(plans)]
    core = _core_slots([(part, depth) for part, depth, _ in slots], rng)
    items: list[MockItem] = []
    start = 0
    for k, (part, depth, minutes) in enumerate(slots):
        pool = questions(core.get(k), depth, part)
        if k not in core:
            pool = tuple(q for q in pool if q.topic not in CORE_TOPICS)
        asked = {item.question.topic for item in items}
        fresh = [q for q in pool if q.topic not in asked]
        new = [q for q in pool if all(q is not item.question for item in items)]
        items.append(MockItem(part, start, minutes, rng.choice(fresh or new)))
        start += minutes
    return MockInterview(seed, tuple(items))


def _core_slots(slots: Sequence[tuple[str, str]], rng: random.Random) -> dict[int, str]:
    """For each core topic a slot (part, depth) that has a question on it: places to topics, drawn evenly."""
    served = {(q.topic, q.part, q.depth) for q in _all()}
    while True:  # one draw in eight fits, or more; a test counts them for every agenda
        places = rng.sample(range(len(slots)), len(CORE_TOPICS))
        chosen = dict(zip(places, CORE_TOPICS, strict=True))
        if all((topic, *slots[k]) in served for k, topic in chosen.items()):
            return chosen


# --- the clock ----------------------------------------------------------------------------------------------


class Clock:
    """A clock that starts when it is made: ``print(clock)`` says the time used and the time left.

    Args:
        minutes: the time allowed, greater than 0.

    Raises:
        TypeError, ValueError: ``minutes`` is not a finite number above 0.
    """

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * check_positive(minutes, "minutes")
        self._start = time.monotonic()

    @property
    def used(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def restart(self) -> None:
        """Start anew."""
        self._start = time.monotonic()

    def __str__(self) -> str:
        used = self.used
        left = self.seconds - used
        rest = f"{duration(left)} left" if left >= 0 else f"{duration(-left)} over time"
        return f"{duration(used)} used of {duration(self.seconds)}, {rest}"

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>"


def duration(seconds: float) -> str:
    """A time in words: ``"2 min 05 s"``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
