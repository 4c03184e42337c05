"""How long a run has been training, how much of it is done, and the learning rate that follows."""

import contextlib
import time
from collections.abc import Iterator

from simclr_edu import distributed
from simclr_edu.pretrain.run import Run
from simclr_edu.pretrain.schedule import learning_rate


class Clock:
    """Counts steps and seconds of a run, earlier sessions included and callbacks left out."""

    def __init__(self, run: Run, steps_per_epoch: int) -> None:
        epochs = run.config.total_epochs
        self.total_steps = None if epochs is None else epochs * steps_per_epoch  # None: the clock decides
        self._run, self._steps_per_epoch = run, steps_per_epoch
        self._start = time.perf_counter() - run.seconds

    def share_done(self) -> float:
        """How much of the run is done, 0 to 1."""
        if self.total_steps is not None:
            return self._run.step / self.total_steps
        assert self._run.config.seconds is not None
        return min(1.0, self._run.seconds / self._run.config.seconds)

    def learning_rate(self) -> float:
        """The rate for the middle of the next step: never exactly 0, at either end."""
        middle = self.share_done() if self.total_steps is None else (self._run.step + 0.5) / self.total_steps
        return learning_rate(
            min(1.0, max(middle, 1e-3)), self._run.config.learning_rate, self._run.config.warmup
        )

    def count_step(self) -> None:
        """One step more."""
        run = self._run
        run.step += 1
        run.pairs += run.config.batch_size
        run.epoch = run.step / self._steps_per_epoch
        self.look()

    def look(self) -> None:
        """Note the seconds in the run."""
        seconds = time.perf_counter() - self._start
        # Where the clock decides, it has to be one clock.
        self._run.seconds = seconds if self.total_steps is not None else distributed.from_rank0(seconds)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Leave out what is done meanwhile."""
        before = time.perf_counter()
        yield
        self._start += time.perf_counter() - before
