"""Who is there, what all of them agree on, and ending together."""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from simclr_edu._checks import check_callable, check_int, check_kind, check_mapping, check_tensor, check_text

T = TypeVar("T")
_MEETING_POINT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun tells each process


_PATIENCE, _PATIENCE_WITHOUT_TORCHRUN = 300, 60  # seconds to wait for the others at the start
_ALONE = "start with torchrun, or unset RANK and WORLD_SIZE to run one process"


class ElsewhereError(RuntimeError):
    """Another rank failed, in a step that all ranks have to complete; the message says which and why."""


class LostRankError(ConnectionError):
    """Another rank went away in the middle of the run; its own message says why."""


def is_distributed() -> bool:
    """Whether ``torch.distributed`` is initialised with more than one process."""
    return world_size() > 1


def world_size() -> int:
    """Number of processes in the default group; 1 where ``torch.distributed`` is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's place in the default group, from 0; 0 where ``torch.distributed`` is not initialised."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Within, this process is one of the group that ``torchrun`` started; does nothing without torchrun.

    Tensors on a CPU travel by gloo, those on a CUDA GPU by NCCL where torch has it.

    Raises:
        LostRankError: the other processes could not be met.
        ValueError: this torch has no torch.distributed, or the environment says only part of where to meet.
    """
    if is_distributed() or not _is_one_of_several():
        yield
        return
    if not dist.is_available():
        raise ValueError(f"torch {torch.__version__} was built without torch.distributed: start one process")
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    _meet("cpu:gloo,cuda:nccl" if nccl else "gloo")
    yield
    # Not after a failure: the others may never answer. The process then ends, and torchrun ends the rest.
    dist.destroy_process_group()


def _is_one_of_several() -> bool:
    """Whether the environment asks for several processes; half a request is refused.

    Raises:
        ValueError: a variable is missing or no number that it can be.
    """
    given = {name: value for name in _MEETING_POINT if (value := os.environ.get(name, "").strip())}
    if "WORLD_SIZE" not in given:  # RANK alone counts for nothing
        return False

    def number(name: str, low: int, high: int) -> int:
        text = given[name]
        if not (text.isdecimal() and low <= int(text) <= high):
            raise ValueError(
                f"{name} in the environment must be from {low} to {high}, got {text!r}; {_ALONE}"
            )
        return int(text)

    size = number("WORLD_SIZE", 1, 1_000_000)
    if size == 1:
        return False
    if missing := [name for name in _MEETING_POINT if name not in given]:
        raise ValueError(
            f"WORLD_SIZE is {size} in the environment, but {', '.join(missing)} not set; {_ALONE}"
        )
    number("RANK", 0, size - 1)
    number("MASTER_PORT", 1, 65_535)
    return True


def _meet(backend: str) -> None:
    """Join the group, or say in a sentence that nobody came."""
    from torch.distributed.constants import default_pg_timeout  # there only where torch has distributed
    from torch.distributed.rendezvous import rendezvous

    where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    patience = _PATIENCE if "TORCHELASTIC_RUN_ID" in os.environ else _PATIENCE_WITHOUT_TORCHRUN
    try:
        store, place, size = next(rendezvous("env://", timeout=timedelta(seconds=patience)))
        store.set_timeout(default_pg_timeout)
        dist.init_process_group(backend, store=store, rank=place, world_size=size)
    except (RuntimeError, OSError, ValueError) as error:
        raise LostRankError(
            f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} met nobody at {where} "
            f"within {patience} seconds; {_ALONE}"
        ) from error


def local_device(device: torch.device) -> torch.device:
    """The device of this process: with several processes and CUDA, the GPU that ``LOCAL_RANK`` counts to.

    Raises:
        ValueError: several processes on a device other than CPU and CUDA, or more processes than GPUs.
    """
    check_kind(device, "device", torch.device, "a torch.device")
    if not is_distributed() or device.type == "cpu":
        return device
    if device.type != "cuda":
        raise ValueError(f"several processes train on cpu or cuda, got {device.type}: use device='cpu'")
    place, gpus = int(os.environ.get("LOCAL_RANK", rank())), torch.cuda.device_count()
    if place >= gpus:
        raise ValueError(
            f"process {place} of this machine, counted from 0, has no GPU of its own, torch finds {gpus}: "
            f"start {gpus} processes a machine, or use device='cpu'"
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)


@contextlib.contextmanager
def talking() -> Iterator[None]:
    """Say in a sentence that the others are gone; torch says it with an address and a line of C++."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()
        raise LostRankError(
            f"rank {rank()} can no longer reach the others; the one that failed says why "
            f"({reason[0] if reason else type(error).__name__})"
        ) from error


@contextlib.contextmanager
def agreed() -> Iterator[None]:
    """What fails here on one rank fails on all, so that none waits for one that is gone.

    A collective: every rank must enter and leave it, and the block may hold no collective of its own. The
    lowest rank that failed raises its own error.

    Raises:
        ElsewhereError: on all other ranks; it names the rank that failed and says what it said.
    """
    problem: Exception | None = None
    try:
        yield
    except Exception as error:
        problem = error
    if is_distributed():
        said: list[str | None] = [None] * world_size()
        with talking():
            dist.all_gather_object(said, None if problem is None else str(problem))
        first = next((k for k, words in enumerate(said) if words is not None), rank())
        if first != rank():
            raise ElsewhereError(f"rank {first} failed: {said[first]}") from problem
    if problem is not None:
        raise problem


def from_rank0(value: T) -> T:
    """Rank 0's ``value``, on every rank: anything that can be pickled. A collective."""
    if not is_distributed():
        return value
    box = [value]
    with talking():
        dist.broadcast_object_list(box)
    return box[0]


def on_rank0(function: Callable[[], T]) -> T:
    """Call ``function`` on rank 0 alone and return what it returned on every rank. A collective.

    Raises:
        ElsewhereError: on the other ranks, where ``function`` raised on rank 0, which raises that error.
    """
    value = cast(T, None)  # rank 0 has one, and gives it to all
    with agreed():
        check_callable(function, "function")
        if rank() == 0:
            value = function()
    return from_rank0(value)


def in_turn(function: Callable[[], T]) -> T:
    """Call ``function`` on rank 0, then on one rank of each other machine, then on the rest. A collective.

    So that what the first call leaves behind, such as a download, is there for the later ones.

    Raises:
        ElsewhereError: as in :func:`agreed`.
    """
    check_callable(function, "function")
    value = cast(T, None)  # until this rank's turn, which comes
    mine = 0 if rank() == 0 else 1 if os.environ.get("LOCAL_RANK") == "0" else 2
    for turn in range(3 if is_distributed() else 1):
        with agreed():
            if turn == mine:
                value = function()
    return value


def check_same(settings: dict[str, Any]) -> None:
    """Make sure that all ranks were started with the same ``settings``. A collective.

    Raises:
        TypeError: ``settings`` are no dictionary.
        ValueError: they were not the same (ElsewhereError on all ranks but the first).
    """
    check_mapping(settings, "settings")
    if not is_distributed():
        return
    everyone: list[Any] = [None] * world_size()
    with talking():
        dist.all_gather_object(everyone, settings)
    with agreed():
        for other, theirs in enumerate(everyone):
            for name, value in everyone[0].items():
                if theirs.get(name) != value:
                    raise ValueError(
                        f"all ranks must be started with the same settings and images: {name} is {value!r} "
                        f"on rank 0 and {theirs.get(name)!r} on rank {other}"
                    )


def share() -> tuple[int, int]:
    """Which part of each global batch is this rank's, as (part, parts): part k of K; (0, 1) when alone."""
    return rank(), world_size()


def own_part(batch: Tensor) -> Tensor:
    """This rank's slice of a global batch, ``(N, ...)`` to ``(N / world_size, ...)``; ranks in order.

    Raises:
        TypeError, ValueError: not a tensor, or its length is not a multiple of the number of processes.
    """
    if check_tensor(batch, "batch").ndim == 0:
        raise ValueError("batch must have a first dimension to share, got a scalar")
    n = check_batch_size(len(batch), "batch") // world_size()
    return batch[rank() * n : (rank() + 1) * n]


def check_batch_size(batch_size: int, name: str = "batch_size") -> int:
    """Return ``batch_size`` if it can be shared equally among the processes.

    Raises:
        TypeError, ValueError: it is not a whole number, or not a multiple of the number of processes.
    """
    check_int(batch_size, check_text(name, "name"), 0)
    k = world_size()
    if batch_size % k:
        below, above = batch_size // k * k, (batch_size // k + 1) * k
        ways = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"{name} counts the images of all {k} processes together and must be a multiple of {k}, "
            f"got {batch_size}: {ways} would do"
        )
    return batch_size
