"""The buttons of notebook 10: flash cards, quiz, countdown."""

import html
from collections.abc import Callable
from typing import Any

import ipywidgets

from simclr_edu._checks import check_positive
from simclr_edu.course import interview
from simclr_edu.course.explorers.base import DESCRIPTION, make_slider


def _button(description: str, action: Callable[[], None]) -> ipywidgets.Button:
    button = ipywidgets.Button(description=description)
    button.on_click(lambda _: action())
    return button


def _status(text: str) -> str:
    """A line that screen readers announce when it changes."""
    return f'<p role="status" aria-live="polite">{html.escape(text)}</p>'


class FlashCardDeck(ipywidgets.VBox):
    """One card at a time; a card that was not known comes back at the end.

    Static twin: ``interview.flash_cards``.

    Attributes:
        controls: ``topic`` and ``depth``, which choose the cards, by name.
        buttons: ``show``, ``known``, ``again``, by name.
        card: the question, with the answer once it is shown, as HTML.
        progress: how many are left.
    """

    def __init__(self) -> None:
        every = "all"
        self.controls = {
            "topic": make_slider(
                ipywidgets.Dropdown, "topic", options=[every, *interview.topics()], value=every
            ),
            "depth": make_slider(
                ipywidgets.Dropdown, "depth", options=[every, *interview.DEPTHS], value=every
            ),
        }
        self.buttons = {
            "show": _button("Show the answer", self._show),
            "known": _button("I knew it", self._known),
            "again": _button("Ask me again", self._again),
        }
        self.card, self.progress = ipywidgets.HTML(), ipywidgets.HTML()
        self._deck: list[interview.Question] = []
        for control in self.controls.values():
            control.observe(self._shuffle, names="value")
        super().__init__(
            [
                *self.controls.values(),
                self.card,
                ipywidgets.HBox(list(self.buttons.values())),
                self.progress,
            ]
        )
        self._shuffle()

    def _shuffle(self, change: object = None) -> None:
        chosen = {name: control.value for name, control in self.controls.items() if control.value != "all"}
        self._deck = list(interview.questions(**chosen))
        self._ask()

    def _ask(self) -> None:
        done = not self._deck
        for button in self.buttons.values():
            button.disabled = done
        self.progress.value = _status(f"{len(self._deck)} cards left")
        self.card.value = "<p>All known. Choose other cards.</p>" if done else self._front()

    def _front(self) -> str:
        card = self._deck[0]
        return f"<p>{html.escape(card.topic)}, <b>{card.depth}</b></p>{interview.to_html(card.question)}"

    def _show(self) -> None:
        self.card.value = self._front() + interview.answer_html(self._deck[0])

    def _known(self) -> None:
        self._deck.pop(0)
        self._ask()

    def _again(self) -> None:
        self._deck.append(self._deck.pop(0))
        self._ask()


def flash_cards() -> FlashCardDeck:
    """A deck of all questions, with a choice of topic and depth. Static twin: ``interview.flash_cards``."""
    return FlashCardDeck()


class QuizBoard(ipywidgets.VBox):
    """A quiz to click, which says at once whether a choice is right and keeps the score of the first answers.

    Static twin: the :class:`simclr_edu.course.interview.Quiz` itself.

    Attributes:
        answers: one group of radio buttons a question; its value is the index of the choice.
        feedback: one line of HTML a question.
        score: the score so far, as HTML.
    """

    def __init__(self, quiz: "interview.Quiz") -> None:
        if not isinstance(quiz, interview.Quiz):
            raise TypeError(f"quiz must be an interview.Quiz, got {type(quiz).__name__}")
        self._first: dict[int, bool] = {}
        self.answers, self.feedback, rows = [], [], []
        for number, item in enumerate(quiz.items):
            options = [(choice.text, k) for k, choice in enumerate(item.choices)]
            radio = ipywidgets.RadioButtons(
                options=options, value=None, layout=ipywidgets.Layout(width="auto")
            )
            line = ipywidgets.HTML()
            radio.observe(self._answered(number, item, line), names="value")
            self.answers.append(radio)
            self.feedback.append(line)
            rows += [
                ipywidgets.HTML(interview.to_html(f"**{number + 1}. {item.question.stem}**")),
                radio,
                line,
            ]
        self.score = ipywidgets.HTML(_status(f"0 of {len(quiz.items)} answered"))
        super().__init__([*rows, self.score])

    def _answered(
        self, number: int, item: "interview.QuizItem", line: ipywidgets.HTML
    ) -> Callable[[Any], None]:
        def react(change: Any) -> None:
            if change["new"] is None:
                return
            letter = "abcd"[change["new"]]
            line.value = _status(item.feedback(letter))
            self._first.setdefault(number, letter == item.right)
            right, done = sum(self._first.values()), len(self._first)
            self.score.value = _status(
                f"{right} right at the first try, {done} of {len(self.answers)} answered"
            )

        return react


def quiz(quiz: "interview.Quiz") -> QuizBoard:
    """A quiz to click. Static twin: the quiz itself.

    Args:
        quiz: as ``interview.quiz`` draws it.

    Raises:
        TypeError: it is something else.
    """
    return QuizBoard(quiz)


class Countdown(ipywidgets.VBox):
    """A bar that runs down in the browser, second by second, while the kernel is free for other cells.

    Static twin: :class:`simclr_edu.course.interview.Clock`.

    Attributes:
        play: start, pause and reset; its value is the seconds used.
        bar: the seconds used, as a bar.
        left: the time left, in words.
    """

    def __init__(self, minutes: float) -> None:
        seconds = round(60 * check_positive(minutes, "minutes"))
        self.play = ipywidgets.Play(min=0, max=seconds, value=0, interval=1000)
        self.bar = ipywidgets.IntProgress(min=0, max=seconds, description="time used", style=DESCRIPTION)
        self.left = ipywidgets.HTML()
        ipywidgets.jslink((self.play, "value"), (self.bar, "value"))  # goes on while a cell runs
        self.play.observe(self._say, names="value")
        super().__init__([ipywidgets.HBox([self.play, self.bar]), self.left])
        self._say()

    def _say(self, change: object = None) -> None:
        self.left.value = f"<p>{interview.duration(self.play.max - self.play.value)} left</p>"


def countdown(minutes: float) -> Countdown:
    """A countdown to start by its button. Static twin: ``interview.Clock``.

    Args:
        minutes: the time allowed, greater than 0.

    Raises:
        TypeError, ValueError: ``minutes`` is not a finite number above 0.
    """
    return Countdown(minutes)
