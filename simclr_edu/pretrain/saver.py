"""Checkpoints of a run, written and gone on from."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simclr_edu import distributed
from simclr_edu.checkpoints import CheckpointError, list_checkpoints, read_latest, save_checkpoint
from simclr_edu.pretrain.recorder import Recorder
from simclr_edu.pretrain.run import Run, write_config
from simclr_edu.pretrain.state import check_resumable, must_fit, restore, state_of


def go_on(
    run: Run, optimizer: torch.optim.Optimizer, generator: torch.Generator, device: torch.device
) -> list[Tensor]:
    """Put a run, its optimizer and generators where the newest checkpoint left them, if there is one.

    Returns:
        The losses since the last record of the history.

    Raises:
        CheckpointError: the checkpoint is damaged or of another run.
    """

    def newest() -> tuple[Path, dict[str, Any]] | None:
        there = run.directory is not None and list_checkpoints(run.directory)
        return read_latest(run.directory) if there and run.directory is not None else None

    found = distributed.on_rank0(newest)
    if found is None:
        return []
    path, state = found
    with distributed.agreed(), must_fit(path):
        check_resumable(run, state, path)
        if len(state["generators"]["augmentation"]) != len(generator.get_state()):
            raise CheckpointError(
                f"{path} was made on another kind of device and cannot be resumed on {device.type}"
            )
        restore(run, state)
        optimizer.load_state_dict(state["optimizer"])
        losses = list(state["losses"].to(device))
        generator.set_state(state["generators"]["augmentation"])
        torch.set_rng_state(state["generators"]["global"])
    return losses


class Saver:
    """Writes checkpoints and the configuration of a run, on rank 0.

    Raises:
        OSError: the directory cannot be written to: found here, before hours of work, and not after.
    """

    def __init__(
        self, run: Run, optimizer: torch.optim.Optimizer, generator: torch.Generator, recorder: Recorder
    ) -> None:
        self._run, self._optimizer, self._generator, self._recorder = run, optimizer, generator, recorder
        self.write_config()

    def save(self) -> None:
        """Write a checkpoint, if all weights are finite."""
        self._recorder.check_finite()
        distributed.on_rank0(self._write)

    def save_alone(self) -> None:
        """The same without waiting for the other processes, which may be anywhere."""
        self._recorder.check_finite()
        if distributed.rank() == 0:
            self._write()

    def write_config(self) -> None:
        """Write the configuration and how the run stands, for people to read."""
        distributed.on_rank0(lambda: write_config(self._run))

    def _write(self) -> None:
        run, losses = self._run, self._recorder.losses
        if run.directory is not None:
            generators = {"augmentation": self._generator.get_state(), "global": torch.get_rng_state()}
            pending = torch.stack(losses).cpu() if losses else torch.empty(0)
            state = {**state_of(run, self._optimizer, generators), "losses": pending}
            save_checkpoint(run.directory, run.step, state)
