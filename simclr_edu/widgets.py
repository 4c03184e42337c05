"""Sliders around the figures of :mod:`simclr_edu.plots`, and buttons around :mod:`simclr_edu.interview`.

Every widget redraws with one pure function of ``plots``, its static twin, so that a page without a
kernel shows the same picture for one setting. A redraw replaces the bytes of one ``ipywidgets.Image``:
nothing flickers, no output grows and no figure stays open. Below the picture stands its alt text, which
screen readers announce when it changes. Sliders work with the arrow keys.

All work without a front end too: setting ``explorer.controls["temperature"].value`` redraws
``explorer.image``.
"""

import html
import math
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from simclr_edu import interview, plots
from simclr_edu._checks import check_images, check_int, check_matrix, check_positive, check_tensor

_DESCRIPTION = {"description_width": "9em"}
_WIDE = ipywidgets.Layout(width="32em", max_width="100%")


class _Display(ipywidgets.VBox):
    """One picture with its alt text below, and room for controls above."""

    def __init__(self, controls: Sequence[ipywidgets.Widget] = ()) -> None:
        # At its own size, as its static twin: a box would stretch it to the width of the window.
        layout = ipywidgets.Layout(max_width="100%", align_self="flex-start")
        self.image = ipywidgets.Image(format="png", layout=layout)
        self.caption = ipywidgets.HTML()
        super().__init__([*controls, self.image, self.caption])

    def draw(self, fig: Figure) -> None:
        """Replace the picture by ``fig``, and its alt text with it."""
        alt = str(getattr(fig, "alt_text", ""))
        self.image.value = plots.to_png(fig, small=False)
        # Not as the picture's tooltip: ipywidgets 8 then fails to show an Image, which has no description.
        self.caption.value = f'<small role="status" aria-live="polite">{html.escape(alt)}</small>'


class Explorer(_Display):
    """Controls above the picture that they redraw.

    Attributes:
        controls: the sliders and boxes by name.
        image: the ``ipywidgets.Image`` that holds the picture as PNG.
        caption: the alt text, as HTML.
    """

    def __init__(self, controls: Mapping[str, ipywidgets.Widget], figure: Callable[..., Figure]) -> None:
        """Draw ``figure(**{name: value of the control})`` now and whenever a value changes."""
        self.controls = dict(controls)
        self._figure = figure
        super().__init__(list(self.controls.values()))
        for control in self.controls.values():
            control.observe(self._redraw, names="value")
        self._redraw()

    def _redraw(self, change: object = None) -> None:
        self.draw(self._figure(**{name: control.value for name, control in self.controls.items()}))


def _slider(kind: type[ipywidgets.Widget], description: str, **settings: Any) -> ipywidgets.Widget:
    return kind(description=description, style=_DESCRIPTION, layout=_WIDE, **settings)


def _temperature(value: float = 0.5) -> ipywidgets.Widget:
    return _slider(
        ipywidgets.FloatLogSlider,
        "temperature",
        base=10,
        min=-2,
        max=1,
        step=0.05,
        value=value,
        readout_format=".2f",
    )


# --- augmentation -------------------------------------------------------------------------------------


def augmentation_explorer(
    image: Tensor,
    seed: int = 0,
    augment_factory: Callable[..., Callable[..., Tensor]] | None = None,
    views: int = 7,
) -> Explorer:
    """Move the strengths of the augmentation and see views of one picture.

    The random choices stay as they are while a strength moves, so one sees what that strength does; the
    slider ``draw`` rolls the dice anew. Static twin: ``plots.image_grid``.

    Args:
        image: one picture, uint8 ``(3, H, W)``.
        seed: of the first draw.
        augment_factory: makes the augmentation; called with ``size``, ``strength``, ``blur``,
            ``crop_scale`` and ``grayscale``, it returns a callable ``(images, generator=...)``. The
            default is ``simclr_edu.augment.SimCLRAugment``.
        views: number of views, 1 to 15.

    Raises:
        TypeError, ValueError: not one uint8 picture, or a number out of range.
    """
    picture = check_tensor(image, "image")
    if picture.ndim != 3:
        raise ValueError(f"image must be one picture of shape (3, H, W), got shape {tuple(picture.shape)}")
    if picture.dtype != torch.uint8:
        raise TypeError(f"image must be uint8 (0 to 255), got {picture.dtype}")
    check_images(picture[None], "image")
    count = check_int(views, "views", 1, 15)
    first = check_int(seed, "seed", 0)
    if augment_factory is None:
        from simclr_edu.augment import SimCLRAugment

        augment_factory = SimCLRAugment
    factory, side = augment_factory, int(picture.shape[1])
    batch = picture[None].expand(count, -1, -1, -1)  # (views, 3, H, W)
    names = ["original", *(f"view {k + 1}" for k in range(count))]

    def figure(strength: float, crop_minimum: float, grayscale: float, blur: bool, draw: int) -> Figure:
        augment = factory(
            size=side, strength=strength, blur=blur, crop_scale=(crop_minimum, 1.0), grayscale=grayscale
        )
        made = augment(batch, generator=torch.Generator().manual_seed(draw))  # (views, 3, side, side)
        original = picture[None].float() / 255
        if original.shape != made[:1].shape:  # the views are square
            original = torch.nn.functional.interpolate(original, made.shape[2:], mode="area")
        return plots.image_grid(
            torch.cat([original, made.cpu()]),
            names,
            columns=4,
            title=f"{count} views: strength {strength:g}, crops from {100 * crop_minimum:g}% of the area",
        )

    sliders = {
        "strength": _slider(ipywidgets.FloatSlider, "jitter strength", min=0, max=1.5, step=0.05, value=0.5),
        "crop_minimum": _slider(
            ipywidgets.FloatSlider, "smallest crop", min=0.02, max=1, step=0.02, value=0.08
        ),
        "grayscale": _slider(ipywidgets.FloatSlider, "grayscale chance", min=0, max=1, step=0.05, value=0.2),
        "blur": _slider(ipywidgets.Checkbox, "blur half of them", value=False),
        "draw": _slider(ipywidgets.IntSlider, "new draw (seed)", min=first, max=first + 99, value=first),
    }
    return Explorer(sliders, figure)


# --- loss and temperature -----------------------------------------------------------------------------


def similarity_explorer(z1: Tensor, z2: Tensor) -> Explorer:
    """Pick an anchor and a temperature: its row of the similarity matrix, the softmax, the loss.

    Static twin: ``plots.anchor_softmax``.

    Args:
        z1: projections of view 1, ``(N, d)``, N from 2 to 256.
        z2: projections of view 2, ``(N, d)``.

    Raises:
        TypeError, ValueError: not two such matrices of one shape.
    """
    first, second = check_matrix(z1, "z1"), check_matrix(z2, "z2")
    if first.shape != second.shape:
        raise ValueError(f"z1 and z2 must have one shape, got {tuple(first.shape)} and {tuple(second.shape)}")
    check_int(len(first), "the number of pairs", 2, 256)
    z = torch.nn.functional.normalize(torch.cat([first, second]).detach().cpu().double(), dim=1)  # (2N, d)
    sim = z @ z.T  # (2N, 2N)
    sliders = {
        "anchor": _slider(ipywidgets.IntSlider, "anchor", min=0, max=len(z) - 1, value=0),
        "temperature": _temperature(),
    }
    return Explorer(sliders, lambda anchor, temperature: plots.anchor_softmax(sim, anchor, temperature))


def temperature_explorer(similarities: plots.ArrayLike, positive_index: int) -> Explorer:
    """Move the temperature: the softmax weights of one anchor, and which negatives carry the gradient.

    Static twin: ``plots.temperature_effect``.

    Args:
        similarities: ``(K,)`` cosine similarities to the candidates, the anchor itself left out.
        positive_index: which candidate is the positive.

    Raises:
        TypeError, ValueError: as ``plots.temperature_effect``.
    """
    return Explorer(
        {"temperature": _temperature()},
        lambda temperature: plots.temperature_effect(similarities, positive_index, temperature),
    )


def loss_floor_explorer() -> Explorer:
    """Move the batch size: what a guessing encoder scores. Static twin: ``plots.loss_floor``."""
    sizes = [2**k for k in range(1, 14)]
    slider = _slider(ipywidgets.SelectionSlider, "batch size N", options=sizes, value=256)
    return Explorer({"num_pairs": slider}, plots.loss_floor)


# --- results ------------------------------------------------------------------------------------------


def tsne_explorer(
    precomputed: Mapping[tuple[float, int], plots.ArrayLike],
    labels: plots.ArrayLike,
    class_names: Sequence[str],
) -> Explorer:
    """Move the perplexity and the seed of maps made beforehand. Static twin: ``plots.embedding_scatter``.

    Args:
        precomputed: ``{(perplexity, seed): points (N, 2)}``, with every perplexity for every seed.
        labels: ``(N,)`` class of each point.
        class_names: a name for each class.

    Raises:
        ValueError: no maps, or a combination is missing.
        TypeError, ValueError: as ``plots.embedding_scatter``.
    """
    if not precomputed:
        raise ValueError("precomputed must hold at least one map, got none")
    perplexities = sorted({perplexity for perplexity, _ in precomputed})
    seeds = sorted({seed for _, seed in precomputed})
    if missing := [(p, s) for p in perplexities for s in seeds if (p, s) not in precomputed]:
        raise ValueError(f"precomputed must hold every perplexity for every seed, missing {missing[0]}")

    def figure(perplexity: float, seed: int) -> Figure:
        title = f"t-SNE at perplexity {perplexity:g}, seed {seed}: distances between groups mean little"
        return plots.embedding_scatter(precomputed[perplexity, seed], labels, class_names, title=title)

    middle = perplexities[len(perplexities) // 2]
    sliders = {
        "perplexity": _slider(ipywidgets.SelectionSlider, "perplexity", options=perplexities, value=middle),
        "seed": _slider(ipywidgets.SelectionSlider, "seed", options=seeds, value=seeds[0]),
    }
    return Explorer(sliders, figure)


def label_budget_explorer(
    fractions: plots.ArrayLike,
    results: Mapping[str, plots.ArrayLike],
    chance: float | None = None,
    per_class: int | None = None,
) -> Explorer:
    """Move the share of labels, and reveal one method after the other. Static twin: ``plots.label_budget``.

    Args:
        fractions: ``(F,)`` shares of the training labels, above 0 to 1.
        results: name to accuracies from 0 to 1, as for ``plots.label_budget``, in the order of revealing.
        chance: accuracy of a guess, drawn as a line.
        per_class: pictures that a class has in all; then labels a class are counted, not per cent.

    Raises:
        TypeError, ValueError: as ``plots.label_budget``.
    """
    plots.label_budget(
        fractions, results, chance, per_class=per_class
    )  # complain at once, not at the first move
    values = sorted(float(f) for f in np.asarray(fractions, dtype=float))
    unit = "%" if per_class is None else ""
    options = [(plots.budget_name(f, per_class) + unit, f) for f in values]
    description = "labels used" if per_class is None else "labels a class"

    def figure(fraction: float, methods: int) -> Figure:
        shown = dict(list(results.items())[:methods])
        return plots.label_budget(fractions, shown, chance, at=fraction, per_class=per_class)

    sliders = {
        "fraction": _slider(ipywidgets.SelectionSlider, description, options=options, value=values[0]),
        "methods": _slider(
            ipywidgets.IntSlider, "methods shown", min=1, max=max(len(results), 1), value=len(results)
        ),
    }
    return Explorer(sliders, figure)


class LiveTraining(_Display):
    """The loss curve of a run while it trains.

    Either pass it to ``pretrain`` as a callback, and display it; or give it a configuration and images, and
    it has the buttons Start, Stop and Resume. They train in a thread, so that the notebook stays free, with
    checkpoints in a temporary folder: a run that was stopped and resumed ends with the weights of one
    that was not. Start begins anew. Static twin: ``plots.loss_curve``.

    Args:
        num_pairs: N, the images in a batch; None takes ``run.config.batch_size``.
        every: draw at most once in so many seconds. The last record is always drawn.
        config: the :class:`simclr_edu.pretrain.PretrainConfig` that the buttons train with. A click on
            Stop is heeded after at most ``log_every`` steps.
        images: what they train on, as for ``pretrain``.

    Attributes:
        image: the ``ipywidgets.Image`` that holds the curve as PNG.
        caption: the alt text, as HTML.
        draws: how often the curve was drawn.
        buttons: the buttons by name: start, stop, resume; empty without a configuration.
        run: what the last click on Start or Resume came to, when it is done.

    Raises:
        TypeError, ValueError: a number out of range, or one of ``config`` and ``images`` without the other.
    """

    def __init__(
        self, num_pairs: int | None = None, every: float = 0.5, *, config: Any = None, images: Any = None
    ) -> None:
        self._num_pairs = None if num_pairs is None else check_int(num_pairs, "num_pairs", 2)
        self._every = check_positive(every, "every")
        self._last = -math.inf
        self._history: list[dict[str, Any]] = []
        self.draws = 0
        self.run: Any = None
        self.buttons: dict[str, ipywidgets.Button] = {}
        if (config is None) != (images is None):
            given, missing = ("images", "config") if config is None else ("config", "images")
            raise ValueError(f"{given} must come with {missing}, got {given} alone")
        if config is not None:
            for name, icon in (("start", "play"), ("stop", "stop"), ("resume", "forward")):
                button = ipywidgets.Button(description=name.capitalize(), icon=icon, disabled=name != "start")
                button.on_click(self._clicked)
                self.buttons[name] = button
        self._config, self._images = config, images
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        super().__init__([ipywidgets.HBox(list(self.buttons.values()))] if self.buttons else ())
        self.image.layout.display = "none"  # an empty picture would show as a broken one

    def __call__(self, run: Any) -> None:
        """Draw ``run.history`` if it is time to.

        Args:
            run: the :class:`simclr_edu.pretrain.Run`, or one record of a history (a mapping with ``step``
                and ``loss``), which is kept with those given before.

        Raises:
            ValueError: a record is given, but no ``num_pairs`` was.
            StopPretraining: the button Stop was clicked.
        """
        if isinstance(run, Mapping):
            if self._num_pairs is None:
                raise ValueError(
                    "num_pairs must be given to LiveTraining when it is called with records, got None"
                )
            self._history.append(dict(run))
            num_pairs = self._num_pairs
        else:
            self._history = run.history
            num_pairs = self._num_pairs or run.config.batch_size
        if not self._history:
            return
        stopping = self._stop.is_set()
        done = stopping or self._history[-1].get("progress", 0) >= 1
        if done or time.monotonic() - self._last >= self._every:
            self.draw(plots.loss_curve(self._history, num_pairs))
            self.image.layout.display = None
            self.draws += 1
            # Counted from the end of the drawing, so that a slow machine still mostly trains.
            self._last = time.monotonic()
        if stopping:
            from simclr_edu.pretrain import StopPretraining

            raise StopPretraining

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the training that a button began is over; return whether it is.

        Args:
            timeout: seconds to wait at most; None waits to the end.
        """
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _clicked(self, button: ipywidgets.Button) -> None:
        if button is self.buttons["stop"]:
            self._stop.set()
            button.disabled = True
            return
        if not self.wait(0):
            return  # a second click that was on its way when the first began
        if button is self.buttons["start"]:
            self._folder = tempfile.TemporaryDirectory(prefix="simclr_edu_", ignore_cleanup_errors=True)
        self._stop.clear()
        self._enable("stop")
        self._thread = threading.Thread(
            target=self._train, args=(button is self.buttons["resume"],), daemon=True
        )
        self._thread.start()

    def _train(self, resume: bool) -> None:
        from simclr_edu.pretrain import pretrain

        assert self._folder is not None
        try:
            self.run = pretrain(
                self._config,
                self._images,
                callbacks=[self],
                directory=self._folder.name,
                resume=resume,
                progress=False,
            )
        except Exception as error:  # in a thread nobody else would show it
            self.caption.value = f'<b role="alert">{html.escape(f"{type(error).__name__}: {error}")}</b>'
            self._enable("start")
        else:
            self._enable("start", *([] if self.run.finished else ["resume"]))

    def _enable(self, *names: str) -> None:
        for name, button in self.buttons.items():
            button.disabled = name not in names


# --- interview ----------------------------------------------------------------------------------------


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
            "topic": _slider(ipywidgets.Dropdown, "topic", options=[every, *interview.topics()], value=every),
            "depth": _slider(ipywidgets.Dropdown, "depth", options=[every, *interview.DEPTHS], value=every),
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

    Static twin: the :class:`simclr_edu.interview.Quiz` itself.

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

    Static twin: :class:`simclr_edu.interview.Clock`.

    Attributes:
        play: start, pause and reset; its value is the seconds used.
        bar: the seconds used, as a bar.
        left: the time left, in words.
    """

    def __init__(self, minutes: float) -> None:
        seconds = round(60 * check_positive(minutes, "minutes"))
        self.play = ipywidgets.Play(min=0, max=seconds, value=0, interval=1000)
        self.bar = ipywidgets.IntProgress(min=0, max=seconds, description="time used", style=_DESCRIPTION)
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
