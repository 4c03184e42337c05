"""NT-Xent by tiles of the similarity matrix, with its gradient in closed form."""

import math
from typing import Any

import torch
from torch import Tensor

EPS = 1e-12  # F.normalize divides by at least this

# Logits lie within -1/t .. 1/t. Up to these values of 1/t, exp() of a logit and a sum of millions of them
# neither overflow nor leave the normal numbers (float32: e^-87 to e^88), so no maximum has to be subtracted.
_EXP_IS_SAFE_UP_TO = {torch.float32: 64.0, torch.float64: 512.0}

# Side of a tile of the similarity matrix, and how many tiles are kept from the first pass for the second;
# beyond that, making them again is about as fast as reading them back. By measurement: on a CPU 1 MB in
# float32 stays in cache; a GPU wants few and large kernels (benchmarks/README.md, on an H100).
_TILE, _KEPT_TILES = {"cpu": 512}, {"cpu": 16}
_TILE_ELSEWHERE, _KEPT_TILES_ELSEWHERE = 4096, 3


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
    z /= norm.clamp_min(EPS)
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
    along = (grad * z).sum(1, keepdim=True) * (norm >= EPS)  # (2N, 1)
    grad.addcmul_(along, z, value=-1).div_(norm.clamp_min(EPS))
    return loss, grad.view(n, 2, d)


class _NTXent(torch.autograd.Function):
    """NT-Xent with its gradient in closed form.

    The gradient is computed in the forward pass: the tiles may still be at hand, and all that waits for
    ``backward`` is ``(N, 2, d)`` numbers.
    """

    @staticmethod
    def forward(ctx: Any, z1: Tensor, z2: Tensor, temperature: float, tile: int | None) -> Tensor:
        loss, grad = _loss_and_gradient(z1, z2, temperature, with_gradient=True, tile=tile)
        ctx.save_for_backward(grad)
        return loss

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        # once_differentiable would let a constant grad_loss pass, and the gradient be taken for constant too.
        if torch.is_grad_enabled():
            raise RuntimeError("nt_xent refuses create_graph=True: for a second derivative use nt_xent_dense")
        (grad,) = ctx.saved_tensors
        grad = grad * grad_loss  # (N, 2, d)
        return *(grad[:, k] if ctx.needs_input_grad[k] else None for k in (0, 1)), None, None


# The loop over tiles would be unrolled; a graph break costs less.
@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch gives it no types
def nt_xent_tiled(z1: Tensor, z2: Tensor, temperature: float, tile: int | None = None) -> Tensor:
    """:func:`nt_xent` without its checks, and with the side of a tile to choose."""
    with torch.autocast(z1.device.type, enabled=False):
        if torch.is_grad_enabled() and (z1.requires_grad or z2.requires_grad):
            loss: Tensor = _NTXent.apply(z1, z2, temperature, tile)  # type: ignore[no-untyped-call]  # torch's
            return loss
        return _loss_and_gradient(z1, z2, temperature, with_gradient=False, tile=tile)[0]
