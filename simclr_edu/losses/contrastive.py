"""NT-Xent by loops, as a matrix, and as the function and the module that train (by tiles: :mod:`.tiled`)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simclr_edu import distributed
from simclr_edu._checks import check_matrix, check_positive, check_same_shape, within_range
from simclr_edu.losses.tiled import EPS, nt_xent_tiled


def _check_views(z1: Tensor, z2: Tensor, temperature: float) -> tuple[Tensor, Tensor, float]:
    """Check the inputs; return the two views in the dtype to compute in (float32 or float64)."""
    check_matrix(z1, "z1")
    check_matrix(z2, "z2")
    check_same_shape(z1, z2, "z1", "z2")
    temperature = check_positive(temperature, "temperature")
    dtype = torch.float64 if z1.dtype == torch.float64 else torch.float32
    z1, z2 = z1.to(dtype), z2.to(dtype)
    if z1.device.type == "cpu":  # a GPU would have to be waited for
        z1, z2 = within_range(z1, low=0), within_range(z2, low=0)
    return z1, z2, temperature


def nt_xent_loop(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent with Python loops, step by step as in Algorithm 1 (Chen et al. 2020): slow, made to be read.

    Args:
        z1: ``(N, d)``, first view of each image.
        z2: ``(N, d)``, second view.
        temperature: greater than 0.

    Returns:
        The loss, a scalar, float32 (float64 for float64 inputs), differentiable.

    Raises:
        TypeError: not floating-point tensors, or of two dtypes.
        ValueError: not two matrices of one shape, empty, on two devices, or a temperature not above 0.
    """
    z1, z2, temperature = _check_views(z1, z2, temperature)
    z = [row / row.norm().clamp_min(EPS) for row in (*z1, *z2)]  # 2N vectors (d,)
    n = len(z1)
    losses = []
    for i in range(2 * n):
        positive = i + n if i < n else i - n
        candidates = [j for j in range(2 * n) if j != i]  # 2N - 1 of them
        logits = torch.stack([z[i] @ z[j] / temperature for j in candidates])
        losses.append(torch.logsumexp(logits, 0) - logits[candidates.index(positive)])
    return torch.stack(losses).mean()


def nt_xent_dense(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent through the whole ``(2N, 2N)`` matrix of similarities: the ten lines that the course builds.

    Arguments, result and errors as for :func:`nt_xent_loop`. Memory grows as N squared.
    """
    z1, z2, temperature = _check_views(z1, z2, temperature)
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, d)
    logits = z @ z.T / temperature  # (2N, 2N)
    itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    logits = logits.masked_fill(itself, -math.inf)  # -inf exists in every float dtype, -1e9 does not
    positive = torch.arange(2 * n, device=z.device).roll(n)  # (2N,): N .. 2N-1, 0 .. N-1
    return F.cross_entropy(logits, positive)


def nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent for training: exact and tiled; beyond small N the ``(2N, 2N)`` matrix never exists.

    Arguments, result and errors as for :func:`nt_xent_loop`. The gradient is computed in closed form together
    with the loss, at a memory of O(N d) and a few tiles. Works under autocast (and stays in float32)
    and under ``torch.compile`` (as a graph break). A second derivative, ``create_graph=True``, is refused
    with a RuntimeError: use :func:`nt_xent_dense` for one.
    """
    loss: Tensor = nt_xent_tiled(*_check_views(z1, z2, temperature))
    return loss


class NTXentLoss(nn.Module):
    """:func:`nt_xent` as a module, over the global batch when ``torch.distributed`` is up.

    Each rank passes its own ``n`` pairs; the loss is that of all ``world_size * n`` pairs, the same number on
    every rank, and the gradient is such that averaging parameter gradients over ranks, as
    DistributedDataParallel does, gives that of the single-process loss (see :mod:`simclr_edu.distributed`).

    Args:
        temperature: greater than 0.
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = check_positive(temperature, "temperature")

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The loss of ``z1`` and ``z2``, each ``(n, d)``, as :func:`nt_xent`."""
        if distributed.is_distributed():
            z1, z2, _ = _check_views(z1, z2, self.temperature)
            pairs = distributed.gather_with_grad(torch.stack([z1, z2], dim=1))  # (world_size * n, 2, d)
            z1, z2 = pairs[:, 0], pairs[:, 1]
        return nt_xent(z1, z2, self.temperature)
