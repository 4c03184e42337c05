"""BatchNorm over the views of all ranks."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from simclr_edu._checks import check_floats, check_kind, check_module
from simclr_edu.distributed.gather import all_gather
from simclr_edu.distributed.ranks import is_distributed, talking


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean ``(C,)``, biased variance ``(C,)`` and count of all ranks' ``x (B, C, ...)``, channel by channel.

    Each rank sends the mean of its own values and the sum of squares around that mean. Adding up raw squares
    instead would lose every digit where the mean is large beside the spread.
    """
    own = x.numel() // x.shape[1]  # values a channel
    variance, mean = torch.var_mean(x, [d for d in range(x.ndim) if d != 1], correction=0)
    everyone = torch.stack(all_gather(torch.cat([mean, variance * own, mean.new_tensor([own])])))
    means, squares, counts = everyone.split([len(mean), len(mean), 1], dim=1)  # (K, C), (K, C), (K, 1)
    count = counts.sum()
    mean = (means * counts).sum(0) / count
    squares = (squares + counts * (means - mean) ** 2).sum(0)
    return mean, squares / count, count


class _Normalise(torch.autograd.Function):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, where mean and var depend on every rank's ``x``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        scale = (variance + eps).rsqrt()  # (C,)
        ctx.save_for_backward(x, weight, mean, scale, count)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        along = (1, -1) + (1,) * (x.ndim - 2)  # to broadcast (C,) over (B, C, ...)
        over = [d for d in range(x.ndim) if d != 1]
        g, centred = grad.to(mean.dtype), x.to(mean.dtype) - mean.view(along)
        own = torch.stack([g.sum(over), (g * centred).sum(over)])  # (2, C), of this rank
        total = own.clone()  # of all ranks: x moves mean and variance, and they move everybody's output
        with talking():
            dist.all_reduce(total)
        total /= count
        slope = (total[1] * scale**2).view(along)
        factor = scale if weight is None else scale * weight
        grad_x = (g - total[0].view(along) - centred * slope) * factor.view(along)
        # Scale and shift take the own part only: averaging the ranks' gradients adds up the rest.
        grad_weight, grad_bias = (None, None) if weight is None else (own[1] * scale, own[0])
        return grad_x.to(x.dtype), grad_weight, grad_bias, None, None, None, None


class SyncBatchNorm(_BatchNorm):
    """BatchNorm over the global batch, for tensors on a CPU.

    torch's own refuses them, 2.13 included: "SyncBatchNorm expected input tensor to be on GPU or XPU or
    privateuseone". On CUDA torch's own is what runs, see :func:`synchronised_batch_norm`.

    Parameters, buffers and result are those of ``nn.BatchNorm1d``, ``2d`` and ``3d`` on the batches of all
    ranks put together; in eval mode, and with one process, it is one of these. Ioffe & Szegedy 2015 (arXiv
    1502.03167), section 3, with the sums taken over ranks.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"BatchNorm needs a batch of shape (B, C, ...), got {tuple(input.shape)}")
        if input.shape[1] != self.num_features or 0 in input.shape:
            raise ValueError(f"BatchNorm needs {self.num_features} channels, got {tuple(input.shape)}")
        double = {x.dtype for x in (input, self.running_mean, self.weight) if x is not None}
        if torch.float64 in double and len(double) > 1:
            raise TypeError(f"BatchNorm needs one dtype with its weights, got {input.dtype}")
        if self.training and not is_distributed() and input.numel() == input.shape[1]:
            raise ValueError(f"BatchNorm needs more than 1 value a channel, got {tuple(input.shape)}")

    # Collectives of an autograd function cannot be traced.
    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch gives it no types
    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, C, ...)``; in training mode a collective."""
        self._check_input_dim(check_floats(input, "input"))
        if not (self.training and is_distributed()):
            return super().forward(input)
        wide = input.detach()
        wide = wide if wide.dtype == torch.float64 else wide.float()
        mean, variance, count = _statistics(wide)
        if count <= 1:
            raise ValueError(f"BatchNorm needs more than 1 value a channel, got {tuple(input.shape)}")
        means, variances, seen = self.running_mean, self.running_var, self.num_batches_tracked
        if self.track_running_stats and means is not None and variances is not None and seen is not None:
            seen.add_(1)
            kept = 1 / float(seen) if self.momentum is None else self.momentum
            means.lerp_(mean.to(means.dtype), kept)
            unbiased = variance * (count / (count - 1))
            variances.lerp_(unbiased.to(variances.dtype), kept)
        affine = (self.weight, self.bias)
        out: Tensor = _Normalise.apply(input, *affine, mean, variance, count, self.eps)  # type: ignore[no-untyped-call]  # torch's
        return out


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
        TypeError: ``model`` is no module, or itself a BatchNorm, which cannot be exchanged in place.
    """
    check_module(model, "model")
    check_kind(device, "device", torch.device, "a torch.device")
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
