"""Live training of notebook 04: start, stop, resume, and the curve as it falls."""

import html
import math
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import Any

import ipywidgets
from torch import Tensor

from simclr_edu._checks import check_int, check_kind, check_positive
from simclr_edu.course import figures
from simclr_edu.course.explorers.base import Display


class LiveTraining(Display):
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
            from simclr_edu.pretrain import PretrainConfig

            check_kind(config, "config", PretrainConfig)
            if not isinstance(images, Tensor) and not hasattr(images, "pretrain_images"):
                raise TypeError(f"images must be an ImageSet or a tensor, got {type(images).__name__}")
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
            self.draw(figures.loss_curve(self._history, num_pairs))
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
