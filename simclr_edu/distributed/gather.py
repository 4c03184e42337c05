"""Embeddings and gradients travel between the ranks."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from simclr_edu._checks import check_module, check_tensor
from simclr_edu.distributed.ranks import is_distributed, rank, talking, world_size


@torch.no_grad()
def copy_from_rank0(module: nn.Module) -> None:
    """Give every rank rank 0's parameters and buffers, so that all start alike. A collective.

    Raises:
        TypeError: not a module.
    """
    check_module(module, "module")
    if not is_distributed():
        return
    for value in (*module.parameters(), *module.buffers()):
        plain = value.detach().contiguous()
        with talking():
            dist.broadcast(plain, 0)
        value.copy_(plain)


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    """Replace each gradient by its mean over the ranks. A collective, to be called between backward and step.

    One flat all-reduce, always laid out alike: the order in which K numbers are added depends on where they
    lie in it, and a resumed run must add them as the uninterrupted one did.

    Raises:
        TypeError: not a module.
    """
    check_module(module, "module")
    if not is_distributed():
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    for dtype in sorted({g.dtype for g in gradients}, key=str):
        same = [g for g in gradients if g.dtype == dtype]
        flat = torch.cat([g.flatten() for g in same])
        with talking():
            dist.all_reduce(flat)
        flat /= world_size()
        for gradient, mean in zip(same, flat.split([g.numel() for g in same]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def all_gather(x: Tensor) -> list[Tensor]:
    x = x.contiguous()
    parts = [torch.empty_like(x) for _ in range(world_size())]
    with talking():
        dist.all_gather(parts, x)
    return parts


class _Gather(torch.autograd.Function):
    """All-gather forward; its transpose, all-reduce and take the own part, backward.

    torch's own, ``torch.distributed.nn.functional.all_gather``, gives result and gradient bit for bit alike
    and is quicker than ``gather_with_grad``, which compares the rows first: 0.80 to 0.86 of its CPU time for
    (256, 128) on two ranks, there and back (medians of 60 in turn, three runs, gloo, two cores of an AMD
    EPYC, torch 2.13). But it is deprecated in favour of a module whose name begins with an underscore, rows
    of 4 and 5 gave a tensor with foreign memory and no error, and its backward says that a rank is gone with
    an address and a line of C++, where :func:`talking` cannot reach it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.length = len(x)
        return torch.cat(all_gather(x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # A copy: all_reduce works in place, and this gradient may belong to somebody else.
        grad = grad.clone(memory_format=torch.contiguous_format)
        with talking():
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
    rows = torch.cat(all_gather(torch.tensor([len(x)], device=x.device))).tolist()
    if len(set(rows)) > 1:
        raise ValueError(
            f"every rank must hold the same number of rows, got {rows}; drop the last, smaller batch"
        )
    gathered: Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]  # torch gives it no types
    return gathered
