"""What a checkpoint of a run holds, and whether a run may go on from it."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from simclr_edu.checkpoints import CheckpointError
from simclr_edu.pretrain.batches import same_images
from simclr_edu.pretrain.config import PretrainConfig

if TYPE_CHECKING:  # a run saves its own state
    from simclr_edu.pretrain.run import Run


def state_of(
    run: "Run", optimizer: torch.optim.Optimizer | None, generators: dict[str, Tensor]
) -> dict[str, Any]:
    """All of a run that a checkpoint holds, but for what its loop keeps.

    Raises:
        TypeError: a callback wrote something into the history that is neither a number nor a text.
    """
    return {
        "config": asdict(run.config),
        "data_fingerprint": run.data_fingerprint,
        "model": run.model.state_dict(),
        "optimizer": None if optimizer is None else optimizer.state_dict(),
        "generators": generators,
        "history": [_plain(record) for record in run.history],
        "step": run.step,
        "epoch": run.epoch,
        "seconds": run.seconds,
        "pairs": run.pairs,
        "finished": run.finished,
    }


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """A record in Python's own numbers: files are read back without the classes of other libraries."""
    plain = {}
    for name, value in record.items():
        is_scalar = isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1)
        one = value.item() if is_scalar else value
        if not isinstance(one, bool | int | float | str | None):
            raise TypeError(
                f"a record of the history must hold numbers and texts, got {type(value).__name__} as {name!r}"
            )
        plain[name] = one
    return plain


def restore(run: "Run", state: dict[str, Any]) -> None:
    run.model.load_state_dict(state["model"])
    run.history = [dict(record) for record in state["history"]]
    for name in ("step", "epoch", "seconds", "pairs", "finished", "data_fingerprint"):
        setattr(run, name, state[name])


@contextlib.contextmanager
def must_fit(path: Path) -> Iterator[None]:
    """Turn what loading the contents of a checkpoint raises into an error that names the file."""
    try:
        yield
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(f"{path} does not hold a run that fits: {reason[:300]}") from error


def saved_config(state: dict[str, Any]) -> PretrainConfig:
    """The configuration in a checkpoint; settings that this version does not know are left out."""
    known = {f.name for f in fields(PretrainConfig)}
    return PretrainConfig(**{k: v for k, v in state["config"].items() if k in known})


def check_resumable(run: "Run", state: dict[str, Any], path: Path, images: Tensor) -> None:
    """Refuse to go on with a run that is not this one.

    Raises:
        CheckpointError: its settings or images differ, or the checkpoint does not hold all that it takes.
    """
    if unknown := sorted(state["config"].keys() - {f.name for f in fields(PretrainConfig)}):
        raise CheckpointError(
            f"{path} has settings that this version does not know ({', '.join(unknown)}) and cannot be "
            "resumed with it: update simclr_edu"
        )
    wanted = run.config.fingerprint()
    there = saved_config(state).fingerprint()
    saved = {k: there[k] for k in wanted if k in state["config"]}  # one of an older version lacks some
    differing = [k for k in wanted if k not in saved or saved[k] != wanted[k]]
    if differing:
        changes = ", ".join(f"{k} {saved.get(k)!r} there and {wanted[k]!r} here" for k in differing)
        raise CheckpointError(f"{path} is of another configuration and cannot be resumed: {changes}")
    if not same_images(images, run.data_fingerprint, state["data_fingerprint"]):
        raise CheckpointError(f"{path} was trained on other images than these and cannot be resumed")
    if state["optimizer"] is None:
        raise CheckpointError(
            f"{path} holds weights only, without the optimizer's state: it cannot be resumed"
        )
