"""A pretraining run: what it is, how it is saved, resumed and loaded."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from simclr_edu._locks import one_writer
from simclr_edu.checkpoints import (
    CheckpointError,
    is_ours,
    list_checkpoints,
    read_checkpoint,
    read_latest,
    save_checkpoint,
)
from simclr_edu.encoders import make_encoder
from simclr_edu.home import ASSETS, home_folder
from simclr_edu.pretrain.config import CUSTOM, PretrainConfig
from simclr_edu.pretrain.folder import as_folder
from simclr_edu.pretrain.state import must_fit, restore, saved_config, state_of
from simclr_edu.simclr import SimCLR


class NonFiniteLossError(ArithmeticError):
    """Loss or weights became NaN or infinite; the message says at which step and what the likely cause is."""


class PretrainWarning(UserWarning):
    """What is worth knowing about a run that goes on all the same."""


class StopPretraining(Exception):
    """Raised by a callback to end a run early; what was learned so far is kept and can be resumed."""


@dataclass
class Run:
    """A pretraining run: the model, what it was trained with, and how it went."""

    config: PretrainConfig
    model: SimCLR
    history: list[dict[str, float]] = field(default_factory=list)
    """One record each ``log_every`` steps: step, epoch, progress (0 to 1), loss, contrastive_accuracy (0 to
    1), learning_rate, seconds, pairs_per_s."""
    directory: Path | None = None
    step: int = 0
    epoch: float = 0.0
    """Passes over the data so far, a fraction included."""
    seconds: float = 0.0
    """Time spent training, callbacks not counted."""
    pairs: int = 0
    """Pairs of views seen."""
    finished: bool = False
    data_fingerprint: str = ""

    @property
    def encoder(self) -> nn.Module:
        """The encoder f, which downstream tasks use."""
        return self.model.encoder

    @property
    def pairs_per_s(self) -> float:
        """Pairs of views a second over the whole run."""
        return self.pairs / self.seconds if self.seconds else 0.0

    def summary(self) -> dict[str, Any]:
        """The run in one line: what the command line prints."""
        last = self.history[-1] if self.history else {}
        return {
            "data": self.config.data,
            "encoder": self.config.encoder,
            "pairs_per_s": round(self.pairs_per_s, 1),
            "seconds": round(self.seconds, 1),
            "epochs": round(self.epoch, 2),
            "steps": self.step,
            "loss": round(last.get("loss", math.nan), 4) if last else None,
            "contrastive_accuracy": round(last.get("contrastive_accuracy", math.nan), 4) if last else None,
            "finished": self.finished,
        }

    def save_weights(self, directory: str | os.PathLike[str]) -> Path:
        """Save the run without the optimizer's state: a third of the size, to be loaded but not resumed.

        Args:
            directory: a folder of its own, made if it is not there. It may hold weights of earlier steps, of
                which the newest is kept; not a run that can be resumed, nor later steps.

        Raises:
            CheckpointError: the folder holds a checkpoint that must not be replaced or come after this one.
            FolderInUseError: a run is being trained in the folder.
            OSError: the directory cannot be written to, or the disk is full.
        """
        folder = as_folder(directory)
        folder.mkdir(parents=True, exist_ok=True)
        with one_writer(folder):
            for path in list_checkpoints(folder):
                if not is_ours(path):
                    problem = "was not written by simclr_edu"
                elif read_checkpoint(path).get("optimizer") is not None:
                    problem = "is of a run that can be resumed"
                elif path.name > f"checkpoint-{self.step:08d}.pt":
                    problem = f"is of a later step than {self.step}"
                else:
                    continue
                raise CheckpointError(f"{path} {problem}: give save_weights a folder of its own")
            return save_checkpoint(folder, self.step, state_of(self, optimizer=None, generators={}))


Callback = Callable[[Run], None]


def load_run(path: str | os.PathLike[str], encoder: nn.Module | None = None) -> Run:
    """Load a run from its directory: model in eval mode on the CPU, configuration and history.

    Args:
        path: the directory that ``pretrain`` wrote.
        encoder: the module to load the weights into, if the run was made with one of the caller's own.

    Raises:
        CheckpointError: there is no checkpoint, or the newest is damaged or not of this package.
        ValueError: the run needs its own encoder and none was given.
    """
    file, state = read_latest(path)
    with must_fit(file):
        config = saved_config(state)
    if config.encoder == CUSTOM and encoder is None:
        raise ValueError(f"{path} was made with an encoder of its own: give it as encoder=")
    model = SimCLR(encoder or make_encoder(config.encoder, config.stem), config.projection_dim)
    run = Run(config, model, directory=Path(path))
    with must_fit(file):
        restore(run, state)
    run.model.eval()
    return run


SHIPPED = ASSETS / "simclr"
COURSE_RUN = "simclr"


def course_run(verbose: bool = True) -> Run:
    """The course's trained encoder: the learner's own finished run if there is one, else the shipped one.

    The learner's own is what the notebook on pretraining writes, ``runs/simclr`` in the course's home folder
    (``SIMCLR_EDU_HOME``). The shipped one was made by the command line; its configuration lies beside it.

    Args:
        verbose: print which of the two it is.

    Raises:
        CheckpointError: the learner's own run is there but damaged; nothing is put in its place silently.
    """
    own = home_folder() / "runs" / COURSE_RUN
    run = load_run(own) if list_checkpoints(own) else None
    source = "your own run"
    if run is None or not run.finished:
        run, source = load_run(SHIPPED), "the encoder shipped with the package"
    if verbose:
        c = run.config
        print(
            f"{source}: {c.encoder} on {c.data}, {run.epoch:.0f} epochs, tau {c.temperature}, seed {c.seed}"
        )
    return run
