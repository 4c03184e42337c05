"""Gathering embeddings across the ranks of ``torch.distributed``, with the gradient that averaging needs.

The loss of SimCLR couples all pairs of the global batch, so each rank needs the embeddings of all the
others (Chen et al. 2020, section 2.2). The algebra of the gradient:

    K ranks hold x_1 .. x_K and each computes the same global loss L(x_1, .., x_K).
    Rank r alone can carry dL/dx_r back into the parameters w; DistributedDataParallel then averages:

        (1/K) sum_r  g_r . dx_r/dw    must equal    dL/dw = sum_r dL/dx_r . dx_r/dw

    so the gradient that reaches x_r has to be g_r = K dL/dx_r. That is the transpose of the gather: every
    rank's copy of L depends on x_r, and summing the K copies' gradients (all-reduce) gives K dL/dx_r.

Without a gradient through the gather, or with one K times too small, training still runs and only learns
worse; Adam, which is blind to the scale, hides the second mistake.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from simclr_edu._checks import check_tensor


def is_distributed() -> bool:
    """Whether ``torch.distributed`` is initialised with more than one process."""
    return world_size() > 1


def world_size() -> int:
    """Number of processes in the default group; 1 where ``torch.distributed`` is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's place in the default group, from 0; 0 where ``torch.distributed`` is not initialised."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _Gather(torch.autograd.Function):
    """All-gather forward; its transpose, all-reduce and take the own part, backward."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.length = len(x)
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        # A copy: all_reduce works in place, and this gradient may belong to somebody else.
        grad = grad.clone(memory_format=torch.contiguous_format)
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
    length = torch.tensor([len(x)], device=x.device)
    lengths = [torch.empty_like(length) for _ in range(world_size())]
    dist.all_gather(lengths, length)
    rows = torch.cat(lengths).tolist()
    if len(set(rows)) > 1:
        raise ValueError(
            f"every rank must hold the same number of rows, got {rows}; drop the last, smaller batch"
        )
    return _Gather.apply(x)
