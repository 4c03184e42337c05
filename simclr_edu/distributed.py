"""More than one process: the same run as with one, each process doing its share.

``torchrun --nproc-per-node=K -m simclr_edu pretrain ...`` starts K processes, the ranks 0 .. K-1. Every rank
holds the whole model and takes its slice of each global batch. Three things in SimCLR couple the slices, so
three things travel: the embeddings (the loss compares all pairs of the global batch), the statistics of
BatchNorm (a rank's own would be those of a smaller batch), and the gradients. Chen et al. 2020, section 2.2.

Why the gradient comes out right. Let w_r be rank r's copy of the parameters and L_s the loss that rank s
computes. Backward, each collective here is the transpose of what it is forward: whatever rank s received from
rank r sends its gradient back from s to r, and what arrives at r is summed. So ``backward`` on all ranks
together differentiates the sum of all K losses, rank r getting its own part of it:

    g_r  =  d(L_1 + .. + L_K) / dw_r

All L_s are the same number, the loss L of the whole batch, and all w_r are the same w, so

    sum_r g_r  =  d(L_1 + .. + L_K) / dw  =  K dL/dw

and the mean of the g_r over ranks, which ``average_gradients`` and DistributedDataParallel take, is dL/dw,
the gradient of one process with the whole batch. For the gather this means: all-reduce, take the own part,
which is K dL/dx_r. Two mistakes hide here: without a gradient through the gather, or with one K times too
small, training still runs and only learns worse; Adam, which is blind to the scale, hides the second.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from simclr_edu._checks import check_int, check_positive, check_tensor

T = TypeVar("T")

_MEETING_POINT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun tells each process


class ElsewhereError(RuntimeError):
    """Another rank failed, in a step that all ranks have to complete; the message says which and why."""


class LostRankError(ConnectionError):
    """Another rank went away in the middle of the run; its own message says why."""


# --- who is there ------------------------------------------------------------------------------------


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
        ValueError: this torch has no torch.distributed.
    """
    asked = all(name in os.environ for name in _MEETING_POINT) and int(os.environ["WORLD_SIZE"]) > 1
    if not asked or is_distributed():
        yield
        return
    if not dist.is_available():
        raise ValueError(f"torch {torch.__version__} was built without torch.distributed: start one process")
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    with _talking():
        dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo")
    yield
    # Not after a failure: the others may never answer. The process then ends, and torchrun ends the rest.
    dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """The device of this process: with several processes and CUDA, the GPU that ``LOCAL_RANK`` counts to.

    Raises:
        ValueError: several processes on a device other than CPU and CUDA, or more processes than GPUs.
    """
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


# --- ending together ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _talking() -> Iterator[None]:
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
        with _talking():
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
    with _talking():
        dist.broadcast_object_list(box)
    return box[0]


def on_rank0(function: Callable[[], T]) -> T:
    """Call ``function`` on rank 0 alone and return what it returned on every rank. A collective.

    Raises:
        ElsewhereError: on the other ranks, where ``function`` raised on rank 0, which raises that error.
    """
    value: Any = None
    with agreed():
        if rank() == 0:
            value = function()
    return from_rank0(value)


def in_turn(function: Callable[[], T]) -> T:
    """Call ``function`` on rank 0, then on one rank of each other machine, then on the rest. A collective.

    So that what the first call leaves behind, such as a download, is there for the later ones.

    Raises:
        ElsewhereError: as in :func:`agreed`.
    """
    value: Any = None
    mine = 0 if rank() == 0 else 1 if os.environ.get("LOCAL_RANK") == "0" else 2
    for turn in range(3 if is_distributed() else 1):
        with agreed():
            if turn == mine:
                value = function()
    return value


def check_same(settings: dict[str, Any]) -> None:
    """Make sure that all ranks were started with the same ``settings``. A collective.

    Raises:
        ValueError: they were not (ElsewhereError on all ranks but the first).
    """
    if not is_distributed():
        return
    everyone: list[Any] = [None] * world_size()
    with _talking():
        dist.all_gather_object(everyone, settings)
    with agreed():
        for other, theirs in enumerate(everyone):
            for name, value in everyone[0].items():
                if theirs.get(name) != value:
                    raise ValueError(
                        f"all ranks must be started with the same settings and images: {name} is {value!r} "
                        f"on rank 0 and {theirs.get(name)!r} on rank {other}"
                    )


# --- what every rank shares --------------------------------------------------------------------------


def share() -> tuple[int, int]:
    """Which part of each global batch is this rank's, as (part, parts): part k of K; (0, 1) when alone."""
    return rank(), world_size()


def own_part(batch: Tensor) -> Tensor:
    """This rank's slice of a global batch, ``(N, ...)`` to ``(N / world_size, ...)``; ranks in order.

    Raises:
        TypeError, ValueError: not a tensor, or its length is not a multiple of the number of processes.
    """
    n = check_batch_size(len(check_tensor(batch, "batch")), "batch") // world_size()
    return batch[rank() * n : (rank() + 1) * n]


def check_batch_size(batch_size: int, name: str = "batch_size") -> int:
    """Return ``batch_size`` if it can be shared equally among the processes.

    Raises:
        TypeError, ValueError: it is not a whole number, or not a multiple of the number of processes.
    """
    check_int(batch_size, name, 0)
    k = world_size()
    if batch_size % k:
        below, above = batch_size // k * k, (batch_size // k + 1) * k
        ways = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"{name} counts the images of all {k} processes together and must be a multiple of {k}, "
            f"got {batch_size}: {ways} would do"
        )
    return batch_size


@torch.no_grad()
def copy_from_rank0(module: nn.Module) -> None:
    """Give every rank rank 0's parameters and buffers, so that all start alike. A collective."""
    if not is_distributed():
        return
    for value in (*module.parameters(), *module.buffers()):
        plain = value.detach().contiguous()
        with _talking():
            dist.broadcast(plain, 0)
        value.copy_(plain)


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    """Replace each gradient by its mean over the ranks. A collective, to be called between backward and step.

    One flat all-reduce, always laid out alike: the order in which K numbers are added depends on where they
    lie in it, and a resumed run must add them as the uninterrupted one did.
    """
    if not is_distributed():
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    for dtype in sorted({g.dtype for g in gradients}, key=str):
        same = [g for g in gradients if g.dtype == dtype]
        flat = torch.cat([g.flatten() for g in same])
        with _talking():
            dist.all_reduce(flat)
        flat /= world_size()
        for gradient, mean in zip(same, flat.split([g.numel() for g in same]), strict=True):
            gradient.copy_(mean.view_as(gradient))


# --- embeddings --------------------------------------------------------------------------------------


def _all_gather(x: Tensor) -> list[Tensor]:
    x = x.contiguous()
    parts = [torch.empty_like(x) for _ in range(world_size())]
    with _talking():
        dist.all_gather(parts, x)
    return parts


class _Gather(torch.autograd.Function):
    """All-gather forward; its transpose, all-reduce and take the own part, backward."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.length = len(x)
        return torch.cat(_all_gather(x))

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        # A copy: all_reduce works in place, and this gradient may belong to somebody else.
        grad = grad.clone(memory_format=torch.contiguous_format)
        with _talking():
            dist.all_reduce(grad)
        return grad[rank() * ctx.length : (rank() + 1) * ctx.length]


def gather_with_grad(x: Tensor) -> Tensor:
    """Concatenate every rank's ``x`` along the first dimension, in the order of the ranks, with the gradient.

    A collective: every rank must call it, and every rank must call ``backward`` (or none). The gradient that
    comes back is summed over the ranks' losses, so it suits DistributedDataParallel, which averages
    afterwards; the module's docstring has the algebra. With one process ``x`` is returned as it is.

    Args:
        x: ``(n, ...)``, the same shape on every rank.

    Returns:
        ``(world_size * n, ...)``, same dtype and device.

    Raises:
        TypeError: ``x`` is not a tensor.
        ValueError: ``x`` has no first dimension, or the ranks hold different numbers of rows.
    """
    x = check_tensor(x, "x")
    if x.ndim == 0:
        raise ValueError("x must have a first dimension to gather along, got a scalar")
    if not is_distributed():
        return x
    # Without this check unequal batches hang or read foreign memory, depending on the backend.
    rows = torch.cat(_all_gather(torch.tensor([len(x)], device=x.device))).tolist()
    if len(set(rows)) > 1:
        raise ValueError(
            f"every rank must hold the same number of rows, got {rows}; drop the last, smaller batch"
        )
    return _Gather.apply(x)


# --- BatchNorm ---------------------------------------------------------------------------------------


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean ``(C,)``, biased variance ``(C,)`` and count of all ranks' ``x (B, C, ...)``, channel by channel.

    Each rank sends the mean of its own values and the sum of squares around that mean. Adding up raw squares
    instead would lose every digit where the mean is large beside the spread.
    """
    own = x.numel() // x.shape[1]  # values a channel
    variance, mean = torch.var_mean(x, [d for d in range(x.ndim) if d != 1], correction=0)
    everyone = torch.stack(_all_gather(torch.cat([mean, variance * own, mean.new_tensor([own])])))
    means, squares, counts = everyone.split([len(mean), len(mean), 1], dim=1)  # (K, C), (K, C), (K, 1)
    count = counts.sum()
    mean = (means * counts).sum(0) / count
    squares = (squares + counts * (means - mean) ** 2).sum(0)
    return mean, squares / count, count


class _Normalise(torch.autograd.Function):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, where mean and var depend on every rank's ``x``."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean, variance, count, eps):
        scale = (variance + eps).rsqrt()  # (C,)
        ctx.save_for_backward(x, weight, mean, scale, count)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, weight, mean, scale, count = ctx.saved_tensors
        along = (1, -1) + (1,) * (x.ndim - 2)  # to broadcast (C,) over (B, C, ...)
        over = [d for d in range(x.ndim) if d != 1]
        g, centred = grad.to(mean.dtype), x.to(mean.dtype) - mean.view(along)
        own = torch.stack([g.sum(over), (g * centred).sum(over)])  # (2, C), of this rank
        total = own.clone()  # of all ranks: x moves mean and variance, and they move everybody's output
        with _talking():
            dist.all_reduce(total)
        total /= count
        slope = (total[1] * scale**2).view(along)
        factor = scale if weight is None else scale * weight
        grad_x = (g - total[0].view(along) - centred * slope) * factor.view(along)
        # Scale and shift take the own part only: averaging the ranks' gradients adds up the rest.
        grad_weight, grad_bias = (None, None) if weight is None else (own[1] * scale, own[0])
        return grad_x.to(x.dtype), grad_weight, grad_bias, None, None, None, None


class SyncBatchNorm(_BatchNorm):
    """BatchNorm over the global batch, for tensors on a CPU, which torch's own refuses.

    Parameters, buffers and result are those of ``nn.BatchNorm1d``, ``2d`` and ``3d`` on the batches of all
    ranks put together; in eval mode, and with one process, it is one of these. Ioffe & Szegedy 2015 (arXiv
    1502.03167), section 3, with the sums taken over ranks.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"BatchNorm needs a batch of shape (B, C, ...), got {tuple(input.shape)}")

    @torch.compiler.disable  # collectives of an autograd function cannot be traced
    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, ...)``; in training mode a collective."""
        if not (self.training and is_distributed()):
            return super().forward(input)
        self._check_input_dim(input)
        wide = input.detach()
        wide = wide if wide.dtype == torch.float64 else wide.float()
        mean, variance, count = _statistics(wide)
        if count <= 1:
            raise ValueError(f"BatchNorm needs more than 1 value a channel, got {tuple(input.shape)}")
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            kept = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum  # type: ignore[arg-type]
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), kept)
            unbiased = variance * (count / (count - 1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), kept)
        return _Normalise.apply(input, self.weight, self.bias, mean, variance, count, self.eps)


class _CudaSyncBatchNorm(nn.SyncBatchNorm):
    """torch's own, with its kernels for CUDA; torch.compile leaves it alone, as it cannot trace it."""

    forward = torch.compiler.disable(nn.SyncBatchNorm.forward)


@contextlib.contextmanager
def synchronised_batch_norm(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Within, each BatchNorm in ``model`` works over the global batch; afterwards the model is as it was.

    Parameters and buffers stay the same tensors throughout, so an optimizer made before, within or after
    holds the right ones, and a checkpoint looks the same whatever the number of processes. With one process
    nothing changes.

    Args:
        model: on ``device`` already; not itself a BatchNorm.
        device: a CPU takes this module's :class:`SyncBatchNorm`, CUDA takes torch's.

    Raises:
        TypeError: ``model`` is itself a BatchNorm, which cannot be exchanged in place.
    """
    if isinstance(model, _BatchNorm):
        raise TypeError("model must hold its BatchNorm layers, got a BatchNorm itself: wrap it")
    if not is_distributed():
        yield
        return
    kind: type[_BatchNorm] = _CudaSyncBatchNorm if device.type == "cuda" else SyncBatchNorm
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent._modules.items()
        if isinstance(child, _BatchNorm) and not isinstance(child, (nn.SyncBatchNorm, SyncBatchNorm))
    ]
    twins: dict[_BatchNorm, _BatchNorm] = {}
    for _, _, child in places:
        twin = kind(child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats)
        twin._parameters, twin._buffers = child._parameters, child._buffers  # the same tensors
        twins[child] = twin.train(child.training)
    for parent, name, child in places:
        setattr(parent, name, twins[child])
    try:
        yield
    finally:
        for parent, name, child in places:
            setattr(parent, name, child.train(twins[child].training))


# --- what it costs, on paper -------------------------------------------------------------------------

_FLOAT = 4  # bytes


@dataclass(frozen=True)
class StepCost:
    """One training step on paper, for each rank; bytes are those it receives, one MAC is multiply and add."""

    global_batch: int
    """Images N of all ranks together."""
    world_size: int
    """Ranks K."""
    embedding_bytes: float
    """The gathered embeddings (2N, d): all-gather forward, all-reduce of their gradient backward."""
    gradient_bytes: float
    """All-reduce of the parameters' gradients."""
    batch_norm_bytes: float
    """Every rank's statistics forward, all-reduce of two sums a channel backward."""
    encoder_macs: float
    """Forward, and twice that backward, for the rank's own 2N / K views."""
    loss_macs: float
    """The whole tiled loss with its gradient, which each rank computes."""
    dense_bytes: float
    """Memory of one (2N, 2N) matrix; the dense loss holds two or three."""
    tiled_bytes: float
    """Memory of the tiled loss at its peak: a few tiles and three (2N, d) matrices."""

    @property
    def loss_share(self) -> float:
        """Share of the loss in all multiply-adds, as it is: every rank computes the whole loss."""
        return self.loss_macs / (self.loss_macs + self.encoder_macs)

    @property
    def divided_loss_share(self) -> float:
        """The same if the tiles were dealt out among the ranks, each computing 1 / K of the loss."""
        own = self.loss_macs / self.world_size
        return own / (own + self.encoder_macs)


def cost(
    global_batch: int,
    world_size: int,
    *,
    dim: int = 128,
    encoder_macs: float = 4.1e9,
    parameters: int = 27_968_704,
    channels: int = 28_608,
    norms: int = 54,
    tile: int = 4096,
    kept: int = 3,
) -> StepCost:
    """What one step costs each rank; the defaults are ResNet-50 at 224 pixels with its projection head.

    Messages are counted as rings send them: over K ranks an all-gather of B bytes receives (K-1)/K B on each,
    an all-reduce twice that. The loss: 2N x 2N similarities of d numbers. Being symmetric it takes half of
    them in pass 1 and again, where tiles are not kept, in pass 2; the gradient takes as many as the whole.
    That is 2 (2N)^2 d multiply-adds at most.

    Args:
        global_batch: N, a multiple of ``world_size``.
        world_size: K, at least 1.
        dim: width d of the embeddings.
        encoder_macs: multiply-adds of encoder and projection head for one view, forward.
        parameters: of encoder and projection head.
        channels: of all BatchNorm layers together.
        norms: number of BatchNorm layers.
        tile: side of a tile of the loss (that of :mod:`simclr_edu.losses` on a GPU).
        kept: tiles kept between the two passes, at most.

    Raises:
        TypeError, ValueError: a number out of range, or a batch that is not a multiple of the ranks.
    """
    n, k = check_int(global_batch, "global_batch", 1), check_int(world_size, "world_size", 1)
    if n % k:
        raise ValueError(f"global_batch must be a multiple of world_size, got {n} and {k}")
    for name, number in (("dim", dim), ("parameters", parameters), ("tile", tile), ("kept", kept)):
        check_int(number, name, 1)
    check_int(channels, "channels", 0)
    check_int(norms, "norms", 0)
    encoder = check_positive(encoder_macs, "encoder_macs")
    m, away = 2 * n, (k - 1) / k  # views; the part of a whole that lies on other ranks
    side = min(tile, m)
    blocks = -(-m // side)
    tiles = blocks * (blocks + 1) // 2
    stored = (tiles if tiles <= kept else 1) + 1  # one more as scratch
    return StepCost(
        global_batch=n,
        world_size=k,
        embedding_bytes=3 * away * m * dim * _FLOAT,
        gradient_bytes=2 * away * parameters * _FLOAT,
        batch_norm_bytes=((k - 1) * (2 * channels + norms) + 2 * away * 2 * channels) * _FLOAT,
        encoder_macs=3 * encoder * m / k,
        loss_macs=2 * m**2 * dim,
        dense_bytes=m**2 * _FLOAT,
        tiled_bytes=(stored * side**2 + 3 * m * dim) * _FLOAT,
    )


def batch_where_loss_equals_encoder(
    images_per_rank: int, *, dim: int = 128, encoder_macs: float = 4.1e9, slowdown: float = 1.0
) -> float:
    """The global batch N at which the loss takes each rank as long as its encoder does.

    From 2 (2N)^2 d s = 3 F 2N/K with K = N / images_per_rank ranks: N = sqrt(3 F n / (4 d s)).

    Args:
        images_per_rank: n, kept as ranks are added.
        dim: width d of the embeddings.
        encoder_macs: F, multiply-adds for one view, forward.
        slowdown: s, how many times slower a multiply-add of the loss is than one of the encoder: 1 if both
            run alike, more where the encoder runs in bfloat16 and the loss in float32.

    Raises:
        TypeError, ValueError: a number out of range.
    """
    n, d = check_int(images_per_rank, "images_per_rank", 1), check_int(dim, "dim", 1)
    f, s = check_positive(encoder_macs, "encoder_macs"), check_positive(slowdown, "slowdown")
    return (3 * f * n / (4 * d * s)) ** 0.5
