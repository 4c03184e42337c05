"""Checkpoints of a run, written and gone on from."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simclr_edu import distributed
from simclr_edu.checkpoints import CheckpointError, list_checkpoints, read_latest, save_checkpoint
from simclr_edu.pretrain.folder import write_config, write_history
from simclr_edu.pretrain.own_encoder import OwnEncoder
from simclr_edu.pretrain.recorder import Recorder
from simclr_edu.pretrain.run import PretrainWarning, Run
from simclr_edu.pretrain.state import check_resumable, must_fit, restore, state_of


def go_on(
    run: Run,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    device: torch.device,
    images: Tensor,
    own: OwnEncoder | None,
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
        check_resumable(run, state, path, images)
        if len(state["generators"]["augmentation"]) != len(generator.get_state()):
            raise CheckpointError(
                f"{path} was made on another kind of device and cannot be resumed on {device.type}"
            )
        fingerprint = run.data_fingerprint  # not that of the checkpoint, which may be of an older kind
        restore(run, state)
        run.data_fingerprint = fingerprint
        optimizer.load_state_dict(state["optimizer"])
        losses = list(state["losses"].to(device))
        generator.set_state(state["generators"]["augmentation"])
        if own is not None:
            _check_own(own, state, path)
            if own.may_draw:
                restore_global(state["generators"], device)
    return losses


def _check_own(own: OwnEncoder, state: dict[str, Any], path: Path) -> None:
    """Refuse an encoder of the caller's that is another one; say what of it does not come back."""
    saved = state.get("own_encoder")
    if saved is None:
        _warn(f"{path} is of an older version and does not tell whether the encoder's code is the same")
        return
    if difference := own.check(saved):
        raise CheckpointError(
            f"{path} was trained with another encoder and cannot be resumed with this one: {difference}"
        )
    if saved["not_restored"]:
        _warn(
            f"{path} cannot bring back {', '.join(saved['not_restored'])}: it may end with other weights "
            "than one that was never stopped (what is a buffer of the encoder does come back)"
        )


def _warn(text: str) -> None:
    if distributed.rank() == 0:
        warnings.warn(text, PretrainWarning, stacklevel=6)


def global_state(device: torch.device) -> dict[str, Tensor]:
    """The global generators that layers such as dropout draw from on ``device``."""
    states = {"global": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_global(states: dict[str, Tensor], device: torch.device) -> None:
    """Put the global generators where they were, as far as the checkpoint holds them."""
    if "global" in states:
        torch.set_rng_state(states["global"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


class Saver:
    """Writes checkpoints and the configuration of a run, on rank 0.

    Raises:
        OSError: the directory cannot be written to: found here, before hours of work, and not after.
    """

    def __init__(
        self,
        run: Run,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        recorder: Recorder,
        own: OwnEncoder | None,
    ) -> None:
        self._run, self._optimizer, self._generator = run, optimizer, generator
        self._recorder, self._own = recorder, own
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
        if run.directory is None:
            return
        generators = {"augmentation": self._generator.get_state()}
        if self._own is not None and self._own.may_draw:
            generators |= global_state(next(run.model.parameters()).device)
        pending = torch.stack(losses).cpu() if losses else torch.empty(0)
        state = {**state_of(run, self._optimizer, generators), "losses": pending}
        if self._own is not None:
            state["own_encoder"] = self._own.state()
        save_checkpoint(run.directory, run.step, state)
        write_history(run)
