"""What is written down of a run as it goes: losses, records of the history, the progress bar or lines."""

import contextlib
import math
import sys
from typing import Literal

import torch
from torch import Tensor
from tqdm.auto import tqdm

from simclr_edu import distributed
from simclr_edu._progress import tell
from simclr_edu.checkpoints import list_checkpoints
from simclr_edu.diagnostics import contrastive_accuracy
from simclr_edu.pretrain.clock import Clock
from simclr_edu.pretrain.run import NonFiniteLossError, Run

SECONDS_A_LINE = 30.0


class Recorder:
    """Collects the losses of a run and makes a record of them every ``log_every`` steps.

    Args:
        run: its history is written.
        clock: of the run.
        losses: those since the last record, of a run that goes on.
        progress: show a progress bar, or lines.
    """

    def __init__(
        self, run: Run, clock: Clock, losses: list[Tensor], progress: bool | Literal["lines"]
    ) -> None:
        self._run, self._clock, self.losses = run, clock, losses
        self._since = run.seconds, run.pairs
        total = clock.total_steps
        self._lines = progress == "lines" and distributed.rank() == 0
        self._last_line = run.seconds
        if self._lines:
            length = f"{total} steps" if total else f"{run.config.seconds:g} seconds"
            start = f"goes on from step {run.step}" if run.step else "starts at step 0"
            self._say(f"{length}, {start}")
        self._bar = tqdm(
            total=total,
            initial=run.step if total else 0,
            disable=progress is not True or distributed.rank() > 0,
            unit="step",
            desc=f"pretrain {run.config.encoder} on {run.config.data}",
            leave=False,
            mininterval=1.0,
        )

    def is_due(self) -> bool:
        """Whether the step that was just made ends with a record."""
        return self._run.step % self._run.config.log_every == 0 or self._clock.share_done() >= 1

    def add(self, loss: Tensor) -> None:
        """Take the loss of a step.

        Raises:
            NonFiniteLossError: it is NaN or infinite. On a GPU, where reading it waits for the device, it is
                read when it is recorded or saved.
        """
        self.losses.append(loss)
        self._bar.update()
        tell(self._clock.share_done())
        if loss.device.type == "cpu" or self.is_due():
            self._check(float(loss), "the loss")

    def record(self, z: Tensor, rate: float) -> None:
        """Add a record to the history: the mean loss since the last, and how well ``z`` ``(2N, d)`` does."""
        run = self._run
        mean = float(torch.stack(self.losses).mean())
        self._check(mean, "the mean loss")
        self._clock.look()
        pairs = distributed.gather_with_grad(torch.stack(z.float().chunk(2), dim=1))  # (N, 2, d)
        seconds, before = self._since
        run.history.append(
            {
                "step": run.step,
                "epoch": run.epoch,
                "progress": self._clock.share_done(),
                "loss": mean,
                "contrastive_accuracy": contrastive_accuracy(*pairs.unbind(1)),
                "learning_rate": rate,
                "seconds": run.seconds,
                "pairs_per_s": (run.pairs - before) / max(run.seconds - seconds, 1e-9),
            }
        )
        self.losses, self._since = [], (run.seconds, run.pairs)
        self._bar.set_postfix(loss=f"{mean:.3f}", refresh=False)
        share = self._clock.share_done()
        if self._lines and (share >= 1 or run.seconds - self._last_line >= SECONDS_A_LINE):
            self._last_line = run.seconds
            left = f", about {run.seconds * (1 - share) / share:.0f} s left" if share < 1 else ""
            self._say(
                f"step {run.step}, epoch {run.epoch:.2f}, {share:.0%}: loss {mean:.3f}, "
                f"{run.history[-1]['pairs_per_s']:.0f} pairs/s, {run.seconds:.0f} s{left}"
            )

    def _say(self, text: str) -> None:
        c = self._run.config
        if sys.stderr is not None:  # it is None where a shell closed it
            with contextlib.suppress(
                OSError, ValueError
            ):  # nobody reads any more: no reason to stop training
                print(f"pretrain {c.encoder} on {c.data}: {text}", file=sys.stderr, flush=True)

    def check_finite(self) -> None:
        """Refuse to go on with weights that are not finite: of a finite loss, the gradient need not be."""
        model = self._run.model
        if not all(bool(v.isfinite().all()) for v in (*self.losses, *model.parameters(), *model.buffers())):
            raise NonFiniteLossError(_explain(self._run, "loss or weights are no longer finite"))

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def _check(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise NonFiniteLossError(_explain(self._run, f"{what} is {value}"))


def _explain(run: Run, what: str) -> str:
    c = run.config
    if c.temperature < 0.02:
        cause = f"temperature {c.temperature} makes gradients {1 / c.temperature:.0f} times steeper: raise it"
    elif c.amp != "off":
        cause = "the forward pass runs in bf16: try amp='off' to see whether precision is the cause"
    else:
        cause = f"learning_rate {c.learning_rate} is probably too high for {c.optimizer}: lower it"
    kept = "nothing was saved yet"
    if run.directory is not None and (saved := list_checkpoints(run.directory)):
        kept = f"the last checkpoint is {saved[-1].name}"
    return f"{what} at step {run.step} (epoch {run.epoch:.2f}): {cause}; {kept}"
