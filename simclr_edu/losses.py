"""NT-Xent, the loss of SimCLR, three ways: by loops, as a matrix, and tiled.

Chen et al. 2020, section 2.1 and Algorithm 1. Two views of each of N images give 2N embeddings. For each of
them, the anchor, the other view of its image is the positive, and a softmax over cosine similarities divided
by the temperature has to pick it out of the 2N - 1 candidates (every embedding but the anchor itself):

    loss_i = -log  exp(sim(i, positive) / t)  /  sum over j != i of exp(sim(i, j) / t)

averaged over all 2N anchors. A random encoder scores about ln(2N - 1).

The three compute the same number. ``nt_xent_loop`` is the one to read, ``nt_xent_dense`` the one to write on
a whiteboard, ``nt_xent`` the one to train with.

What holds for all three:
- ``z1`` and ``z2`` are ``(N, d)``, row k of both made from image k. Half and bfloat16 are computed in
  float32.
- A zero vector has similarity 0 with everything: embeddings are divided by their norm, but by at least 1e-12
  (as in ``F.normalize``), so the gradient at a zero vector is 1e12 times the one at its direction.
- With N = 1 the positive is the only candidate: the loss is 0 and so is its gradient.
- NaN or infinity in an input makes the loss NaN. It is not an error here, because looking would make a GPU
  wait at every step; the training loop stops on a loss that is not finite.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simclr_edu import distributed
from simclr_edu._checks import check_matrix, check_positive

_EPS = 1e-12  # F.normalize divides by at least this

# Logits lie within -1/t .. 1/t. Up to these values of 1/t, exp() of a logit and a sum of millions of them
# neither overflow nor leave the normal numbers (float32: e^-87 to e^88), so no maximum has to be subtracted.
_EXP_IS_SAFE_UP_TO = {torch.float32: 64.0, torch.float64: 512.0}

# Side of a tile of the similarity matrix, and how many tiles are kept from the first pass for the second;
# beyond that, making them again is about as fast as reading them back. By measurement: on a CPU 1 MB in
# float32 stays in cache; a GPU wants few and large kernels (benchmarks/README.md, on an H100).
_TILE, _KEPT_TILES = {"cpu": 512}, {"cpu": 16}
_TILE_ELSEWHERE, _KEPT_TILES_ELSEWHERE = 4096, 3


def _check_views(z1: Tensor, z2: Tensor, temperature: float) -> tuple[Tensor, Tensor, float]:
    """Check the inputs; return the two views in the dtype to compute in (float32 or float64)."""
    check_matrix(z1, "z1")
    check_matrix(z2, "z2")
    if z1.shape != z2.shape:
        raise ValueError(f"z1 and z2 must have the same shape, got {tuple(z1.shape)} and {tuple(z2.shape)}")
    if z1.dtype != z2.dtype:
        raise TypeError(f"z1 and z2 must have the same dtype, got {z1.dtype} and {z2.dtype}")
    if z1.device != z2.device:
        raise ValueError(f"z1 and z2 must be on the same device, got {z1.device} and {z2.device}")
    dtype = torch.float64 if z1.dtype == torch.float64 else torch.float32
    return z1.to(dtype), z2.to(dtype), check_positive(temperature, "temperature")


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
    z = [row / row.norm().clamp_min(_EPS) for row in (*z1, *z2)]  # 2N vectors (d,)
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


def _loss_and_gradient(
    z1: Tensor, z2: Tensor, temperature: float, with_gradient: bool, tile: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """The loss and, if asked for, its gradient ``(N, 2, d)`` with respect to the two views.

    Two passes over the tiles of the upper triangle of the similarity matrix; since the matrix is symmetric,
    each tile serves the anchors of its rows and those of its columns. With p the positive's logit and n the
    log of the sum over the 2N - 2 negatives, an anchor's loss is ``-log(e^p / (e^p + e^n))``, which is
    ``log(1 + e^(n - p))``: the form that keeps its precision when the loss is nearly 0. Pass 1 finds n,
    pass 2 the gradient.
    """
    n, d = z1.shape
    m = 2 * n
    tile = tile or _TILE.get(z1.device.type, _TILE_ELSEWHERE)
    tile = min(tile + tile % 2, m)  # even, so that no pair is cut in two
    # The two views of an image side by side, rows 2k and 2k + 1: all positives are then in diagonal tiles.
    z = torch.stack([z1, z2], dim=1).view(m, d)  # (2N, d)
    norm = torch.linalg.vector_norm(z, dim=1, keepdim=True)  # (2N, 1)
    z /= norm.clamp_min(_EPS)
    safe = 1 / temperature <= _EXP_IS_SAFE_UP_TO[z.dtype]

    blocks = [slice(start, min(start + tile, m)) for start in range(0, m, tile)]
    tiles = [(rows, columns) for k, rows in enumerate(blocks) for columns in blocks[k:]]
    kept = _KEPT_TILES.get(z1.device.type, _KEPT_TILES_ELSEWHERE)
    keep = with_gradient and len(tiles) <= kept
    # Memory is taken once, not tile by tile: on a CPU fresh pages cost time.
    store = z.new_empty(len(tiles) if keep else 1, tile * tile)
    positive = z.new_empty(n)  # logit of each pair, the same for its two anchors

    def make_tile(k: int) -> Tensor:
        """Tile k: exp(logit), or 0 for what is no negative; where exp is not safe the logit, or -inf."""
        rows, columns = tiles[k]
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        out = store[k if keep else 0, : shape[0] * shape[1]].view(shape)
        torch.addmm(out, z[rows], z[columns].T, beta=0, alpha=1 / temperature, out=out)
        if rows is columns:
            pairs = out.diagonal(1)[::2]
            positive[rows.start // 2 : rows.stop // 2] = pairs
            for not_negative in (out.diagonal(), pairs, out.diagonal(-1)[::2]):
                not_negative.fill_(-math.inf)
        return out.exp_() if safe else out

    # Pass 1: log of the sum over the negatives, for each anchor.
    made: list[Tensor] = []
    negatives = z.new_zeros(m) if safe else z.new_full((m,), -math.inf)
    for k, (rows, columns) in enumerate(tiles):
        part = make_tile(k)
        if keep:
            made.append(part)
        for anchors, dim in ((rows, 1), (columns, 0))[: 1 if rows is columns else 2]:
            if safe:
                negatives[anchors] += part.sum(dim)
            else:
                negatives[anchors] = torch.logaddexp(negatives[anchors], part.logsumexp(dim))
    negatives = (negatives.log() if safe else negatives).view(n, 2)
    gap = negatives - positive[:, None]  # (N, 2)
    loss = torch.logaddexp(gap, torch.zeros_like(gap)).mean()
    if not with_gradient:
        return loss, None

    # Pass 2: d loss / d z = (P + P^T - 2 Y) z / (2N t), with P the softmax and Y the one-hot targets. At the
    # positive, P - Y is minus the probability of picking a negative, which is sigmoid(gap).
    total = torch.logaddexp(negatives, positive[:, None]).view(m)  # log of the sum over all 2N - 1 candidates
    share = total.neg().exp()  # P[i, j] = exp(logit[i, j]) * share[i]
    grad = -gap.sigmoid().sum(1)[:, None, None] * z.view(n, 2, d).flip(1)
    grad = grad.view(m, d)
    spare = torch.empty_like(store[0] if safe else store[0, :0])
    for k, (rows, columns) in enumerate(tiles):
        part = made[k] if keep else make_tile(k)
        if safe:
            part *= torch.add(share[rows, None], share[columns], out=spare[: part.numel()].view(part.shape))
        else:
            part = (part - total[rows, None]).exp_() + (part - total[columns]).exp_()
        grad[rows].addmm_(part, z[columns])
        if rows is not columns:
            grad[columns].addmm_(part.T, z[rows])
    grad /= m * temperature
    # Through z = view / max(norm, eps): growing along z changes nothing, unless eps holds the norm.
    along = (grad * z).sum(1, keepdim=True) * (norm >= _EPS)  # (2N, 1)
    grad.addcmul_(along, z, value=-1).div_(norm.clamp_min(_EPS))
    return loss, grad.view(n, 2, d)


class _NTXent(torch.autograd.Function):
    """NT-Xent with its gradient in closed form.

    The gradient is computed in the forward pass: the tiles may still be at hand, and all that waits for
    ``backward`` is ``(N, 2, d)`` numbers.
    """

    @staticmethod
    def forward(ctx, z1: Tensor, z2: Tensor, temperature: float, tile: int | None) -> Tensor:
        loss, grad = _loss_and_gradient(z1, z2, temperature, with_gradient=True, tile=tile)
        ctx.save_for_backward(grad)
        return loss

    @staticmethod
    def backward(ctx, grad_loss: Tensor):
        # once_differentiable would let a constant grad_loss pass, and the gradient be taken for constant too.
        if torch.is_grad_enabled():
            raise RuntimeError("nt_xent refuses create_graph=True: for a second derivative use nt_xent_dense")
        (grad,) = ctx.saved_tensors
        grad = grad * grad_loss  # (N, 2, d)
        return *(grad[:, k] if ctx.needs_input_grad[k] else None for k in (0, 1)), None, None


@torch.compiler.disable  # the loop over tiles would be unrolled; a graph break costs less
def _nt_xent(z1: Tensor, z2: Tensor, temperature: float, tile: int | None = None) -> Tensor:
    """:func:`nt_xent` without its checks, and with the side of a tile to choose."""
    with torch.autocast(z1.device.type, enabled=False):
        if torch.is_grad_enabled() and (z1.requires_grad or z2.requires_grad):
            return _NTXent.apply(z1, z2, temperature, tile)
        return _loss_and_gradient(z1, z2, temperature, with_gradient=False, tile=tile)[0]


def nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    """NT-Xent for training: exact and tiled; beyond small N the ``(2N, 2N)`` matrix never exists.

    Arguments, result and errors as for :func:`nt_xent_loop`. The gradient is computed in closed form together
    with the loss, at a memory of O(N d) and a few tiles. Works under autocast (and stays in float32)
    and under ``torch.compile`` (as a graph break). A second derivative, ``create_graph=True``, is refused
    with a RuntimeError: use :func:`nt_xent_dense` for one.
    """
    return _nt_xent(*_check_views(z1, z2, temperature))


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
