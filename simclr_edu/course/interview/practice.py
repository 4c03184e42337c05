"""Flash cards, a quiz, and a mock interview with its score sheet."""

import html
import random
from collections.abc import Sequence
from dataclasses import dataclass

from simclr_edu._checks import check_choice, check_int, check_seed
from simclr_edu.course.interview.bank import (
    CHOICES,
    CORE_TOPICS,
    DEPTHS,
    PARTS,
    Choice,
    Question,
    all_questions,
    questions,
)
from simclr_edu.course.interview.page import answer_html, html_table, inline_html

# The mock interview: for each part one or two plans, of which one is drawn; a plan holds depth and minutes of
# each question, follow-ups included. Plans of one part take equally long, all parts together 45 minutes.
AGENDA: dict[str, tuple[tuple[tuple[str, int], ...], ...]] = {
    "warm-up": ((("30 s", 2), ("30 s", 2), ("30 s", 2)),),
    "concept": ((("2 min", 4), ("2 min", 4), ("2 min", 4)), (("2 min", 4), ("whiteboard", 8))),
    "coding": ((("whiteboard", 13),),),
    "debugging": ((("2 min", 4), ("2 min", 4)), (("whiteboard", 8),)),
    "design": ((("whiteboard", 6),),),
}
_LETTERS = "abcd"


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
                summary = f"<b>{q.depth}</b>: {inline_html(q.question)}"
                out.append(f"<details><summary>{summary}</summary>{answer_html(q)}</details>")
        return f"<div>{''.join(out)}</div>"


def flash_cards(topic: str | None = None, depth: str | None = None, part: str | None = None) -> FlashCards:
    """The questions as cards to unfold; arguments and errors as :func:`questions`."""
    return FlashCards(questions(topic, depth, part))


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
                f"<details><summary>{letter}) {inline_html(choice.text)}</summary>"
                f"<p>{inline_html(item.feedback(letter))}</p></details>"
                for letter, choice in zip(_LETTERS, item.choices, strict=True)
            )
            out.append(f"<li><p><b>{inline_html(item.question.stem)}</b></p>{folds}</li>")
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
        return f"<p><b>{html.escape(self.summary)}</b></p>{html_table(self.header, self.rows)}"


def quiz(count: int = 10, seed: int = 0, topic: str | None = None) -> Quiz:
    """Draw a quiz: its questions and the order of their choices, the same for the same seed.

    Args:
        count: how many; fewer if there are not so many on the topic.
        seed: of the draw, 0 to 2^32 - 1.
        topic: one of :func:`topics`; all of them if not given.

    Raises:
        TypeError, ValueError: a number out of range, no such topic, or none of its questions has choices.
    """
    check_int(count, "count", 1)
    rng = random.Random(check_seed(seed))
    pool = [q for q in questions(topic) if q.choices]
    if not pool:
        raise ValueError(f"topic must be one with multiple-choice questions, got {topic!r}")
    drawn = rng.sample(pool, min(count, len(pool)))
    return Quiz(tuple(QuizItem(q, tuple(rng.sample(q.choices, CHOICES))) for q in drawn))


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
            boxes = "".join(f"<li>&#9744; {inline_html(point)}</li>" for point in item.question.rubric)
            sheet = (
                f"<details><summary>points: {len(item.question.rubric)}</summary>"
                f'<ul style="list-style:none;padding-left:0">{boxes}</ul></details>'
                f"<details><summary>answer</summary>{answer_html(item.question)}</details>"
            )
            when = f"{item.start:02d}:00"
            rows.append(
                (
                    str(number),
                    when,
                    f"{item.minutes} min",
                    item.part,
                    inline_html(item.question.question),
                    sheet,
                )
            )
        header = ("", "from", "for", "part", "question", "score sheet (unfold afterwards)")
        title = f"<p><b>Mock interview {self.seed}, {self.minutes} minutes</b></p>"
        return title + html_table(header, rows, escape=False)

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
        seed: 0 to 2^32 - 1.

    Raises:
        TypeError, ValueError: the seed is not a whole number in that range.
    """
    rng = random.Random(check_seed(seed))
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
    served = {(q.topic, q.part, q.depth) for q in all_questions()}
    while True:  # one draw in eight fits, or more; a test counts them for every agenda
        places = rng.sample(range(len(slots)), len(CORE_TOPICS))
        chosen = dict(zip(places, CORE_TOPICS, strict=True))
        if all((topic, *slots[k]) in served for k, topic in chosen.items()):
            return chosen
