"""What a batch of embeddings looks like: similarity, alignment, uniformity, rank, collapse.

All figures here are read off embeddings after the fact: plain numbers, no gradient. Rows are
l2-normalised wherever a cosine is meant, as the loss does (Chen et al. 2020, section 2.1); a row of
zeros then has cosine 0 with everything.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

from simclr_edu._checks import (
    check_finite,
    check_floats,
    check_int,
    check_labels,
    check_matrix,
    check_positive,
    check_same_shape,
    check_same_width,
    is_far,
    within_range,
)
from simclr_edu.device import ENTRIES_AT_ONCE as _TILE

# Two float32 cosines closer than this are a tie: it is the size of their rounding error.
_TIE = 1e-6

# collapse_report: below this share of the spread of evenly spread directions, all points are one; below
# this share of the dimensions, the points fill only a few of them.
_COMPLETE_COLLAPSE = 0.05
_DIMENSIONAL_COLLAPSE = 0.05
_LEAST_RANK = 1.5


@torch.no_grad()
def similarity_matrix(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Cosine similarity of every row of ``x`` with every row of ``y``.

    Args:
        x: float ``(N, d)``.
        y: float ``(M, d)``; ``x`` itself if not given.

    Returns:
        ``(N, M)``, float32 (float64 for float64 rows), values -1 to 1.

    Raises:
        TypeError, ValueError: not finite float matrices of the same width.
    """
    a = _unit_rows(x, "x")
    b = a if y is None else _unit_rows(y, "y")
    check_same_width(a, b, "x", "y")
    return (a @ b.T).clamp_(-1, 1)  # (N, M)


@torch.no_grad()
def contrastive_accuracy(z1: Tensor, z2: Tensor) -> float:
    """Share of the 2N anchors whose positive is the most similar of their 2N - 1 candidates.

    Chance is 1 / (2N - 1). Candidates within 1e-6 of the best cosine are tied with it, and a positive
    tied with m - 1 others counts 1 / m, so that embeddings that have collapsed to one point score
    chance, not 0 or 1. Memory is bounded however large N is.

    Args:
        z1: embeddings of the first views, float ``(N, d)``.
        z2: of the second views, ``(N, d)``; row i of both is one positive pair.

    Returns:
        Accuracy from 0 to 1.

    Raises:
        TypeError, ValueError: not two finite float matrices of one shape.
    """
    z1, z2 = _check_pair(z1, z2, "z1", "z2")
    n = len(z1)
    z = torch.cat([z1, z2])  # (2N, d)
    hits = torch.zeros((), dtype=torch.float32, device=z.device)
    for rows, sim in _tiles(z, z):  # sim: (R, 2N)
        local = torch.arange(len(rows), device=z.device)
        sim[local, rows] = -math.inf  # an anchor is no candidate of its own
        best = sim.amax(dim=1, keepdim=True)  # (R, 1)
        positive = sim[local, (rows + n) % (2 * n)]  # (R,)
        tied = (sim >= best - _TIE).sum(dim=1)  # (R,)
        hits += ((positive >= best[:, 0] - _TIE) / tied).sum()
    return float(hits) / (2 * n)


@torch.no_grad()
def alignment(z1: Tensor, z2: Tensor, alpha: float = 2.0) -> float:
    """Mean distance of the two views of an image on the unit sphere, to the power ``alpha``; 0 is perfect.

    Wang & Isola 2020 (arXiv 2005.10242), section 4.1.1: mean of ``||u1 - u2|| ** alpha``.

    Args:
        z1: float ``(N, d)``; normalised here.
        z2: float ``(N, d)``, row i the positive of row i of ``z1``.
        alpha: power, greater than 0, at most 100.

    Returns:
        From 0 to ``2 ** alpha``; independent directions give about 2 for ``alpha=2``.

    Raises:
        TypeError, ValueError: not two finite float matrices of one shape, or a bad ``alpha``.
    """
    z1, z2 = _check_pair(z1, z2, "z1", "z2")
    alpha = check_positive(alpha, "alpha", 100)
    return float((z1 - z2).norm(dim=1).pow(alpha).mean())


@torch.no_grad()
def uniformity(z: Tensor, t: float = 2.0) -> float:
    """How evenly the points cover the unit sphere: 0 is one point, lower is more even.

    Wang & Isola 2020 (arXiv 2005.10242), section 4.1.2: log of the mean over pairs i < j of
    ``exp(-t ||u_i - u_j|| ** 2)``. Memory is bounded however large N is.

    Args:
        z: float ``(N, d)``, N at least 2; normalised here.
        t: sharpness of the Gaussian, greater than 0, at most 1e6.

    Returns:
        From ``-4 t`` to 0; evenly spread points in many dimensions give about ``-2 t``.

    Raises:
        TypeError, ValueError: not a finite float matrix of at least 2 rows, or a bad ``t``.
    """
    u = _unit_rows(z, "z", minimum=2)
    t = check_positive(t, "t", 1e6)
    n = len(u)
    parts = []
    for rows, sim in _tiles(u, u):  # sim: (R, N)
        exponent = sim.mul_(2).sub_(2).clamp_(max=0).mul_(t)  # -t ||u_i - u_j||^2, as ||u|| = 1
        exponent[torch.arange(len(rows), device=u.device), rows] = -math.inf
        parts.append(exponent.flatten().logsumexp(0))
    return float(torch.stack(parts).logsumexp(0)) - math.log(n * (n - 1))


@torch.no_grad()
def effective_rank(x: Tensor) -> float:
    """How many directions the rows really use: ``exp(H(p))``, p the singular values divided by their sum.

    Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality", section 2. The rows
    are taken as they are, neither centred nor normalised.

    Args:
        x: float ``(N, d)``, not all zero.

    Returns:
        From 1 (all rows on one line) to min(N, d) (all singular values equal).

    Raises:
        TypeError, ValueError: not a finite float matrix, or all zero.
    """
    x = check_finite(check_matrix(x, "x"), "x")
    # On the CPU: the decomposition needs float64, which not every accelerator has.
    x = x.detach().cpu().double()
    if not x.any():
        raise ValueError("x must not be all zero: a matrix of zeros has no effective rank")
    if is_far(x):
        x = x / x.abs().max()
    singular = torch.linalg.svdvals(x)  # (min(N, d),)
    p = singular / singular.sum()
    return float(torch.special.entr(p).sum().exp())


@torch.no_grad()
def pair_similarities(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine similarities of the positive pairs and of the negative pairs among the 2N views.

    Args:
        z1: float ``(N, d)``.
        z2: float ``(N, d)``, row i the positive of row i of ``z1``.

    Returns:
        Positives ``(N,)`` and negatives ``(2 N (N - 1),)``: each pair of views once, whichever is the
        anchor; no view with itself. Memory grows with N squared.

    Raises:
        TypeError, ValueError: not two finite float matrices of one shape.
    """
    z1, z2 = _check_pair(z1, z2, "z1", "z2")
    n = len(z1)
    z = torch.cat([z1, z2])  # (2N, d)
    sim = (z @ z.T).clamp_(-1, 1)  # (2N, 2N)
    negative = torch.ones_like(sim, dtype=torch.bool).triu_(diagonal=1)  # each pair once, no self
    negative.diagonal(n).fill_(False)  # view i with view i + N: the positives
    return sim.diagonal(n).clone(), sim[negative]


def order_by_class(labels: Tensor) -> Tensor:
    """Indices ``(N,)`` int64 that sort ``labels`` ``(N,)``, the order within a class unchanged.

    Raises:
        TypeError, ValueError: not a vector of class labels.
    """
    return check_labels(labels, "labels").argsort(stable=True)


@torch.no_grad()
def softmax_weights(similarities: Tensor, temperature: float) -> Tensor:
    """Each negative's share of the gradient: ``softmax(similarities / temperature)``.

    The gradient of NT-Xent with respect to the similarity of negative k is its softmax weight over all
    candidates, divided by tau. The positive's term in that denominator is common to all negatives, so among
    them it cancels: the shares are a softmax over the negatives alone (Chen et al. 2020, Table 2;
    Wang & Liu 2021, arXiv 2012.09740, section 3.2).

    Args:
        similarities: float ``(K,)`` of one anchor with its K negatives, or ``(N, K)``, one anchor a row.
        temperature: tau, greater than 0.

    Returns:
        Shares of the shape of ``similarities``, each row summing to 1.

    Raises:
        TypeError, ValueError: not finite floats of such a shape, or a bad temperature.
    """
    s = check_floats(similarities, "similarities")
    if s.ndim not in (1, 2) or 0 in s.shape:
        raise ValueError(f"similarities must be of shape (K,) or (N, K), not empty, got {tuple(s.shape)}")
    temperature = check_positive(temperature, "temperature")
    s = _at_least_float32(check_finite(s, "similarities"))
    return ((s - s.amax(dim=-1, keepdim=True)) / temperature).softmax(dim=-1)  # no quotient is too large


@torch.no_grad()
def nearest_neighbours(queries: Tensor, gallery: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` rows of ``gallery`` most similar to each query, nearest first, by cosine.

    A query that is itself in the gallery finds itself first. Ties come in any order. Memory is bounded
    however large the gallery is.

    Args:
        queries: float ``(Q, d)``.
        gallery: float ``(N, d)``.
        k: neighbours to find, 1 to N.

    Returns:
        Indices into ``gallery``, int64 ``(Q, k)``, and cosine similarities ``(Q, k)``.

    Raises:
        TypeError, ValueError: not finite float matrices of the same width, or ``k`` out of range.
    """
    q, g = _unit_rows(queries, "queries"), _unit_rows(gallery, "gallery")
    check_same_width(q, g, "queries", "gallery")
    k = check_int(k, "k", 1, len(g))
    found = [sim.topk(k, dim=1) for _, sim in _tiles(q, g)]
    return torch.cat([f.indices for f in found]), torch.cat([f.values for f in found]).clamp_(-1, 1)


@torch.no_grad()
def collapse_report(x: Tensor) -> dict[str, float | int | str]:
    """Whether the embeddings have collapsed, to one point or to few dimensions, with the figures behind it.

    The spread is that of Chen & He 2021 (SimSiam, arXiv 2011.10566), section 4.1: the standard deviation of
    each dimension of the l2-normalised rows, which is ``1 / sqrt(d)`` for directions spread evenly and 0
    for one point. For few dimensions see Jing et al. 2022 (arXiv 2110.09348). Both limits in the verdict
    (5% of the even spread; 5% of min(N, d) as effective rank) are rules of thumb.

    Args:
        x: float ``(N, d)``, N at least 2.

    Returns:
        ``n``, ``dim``; ``std`` (mean over the dimensions), ``std_even`` (= 1 / sqrt(d)) and ``std_ratio``
        of the two; ``effective_rank`` of the normalised rows and ``max_rank`` (= min(N, d));
        ``mean_cosine`` over pairs i != j; ``verdict``, a sentence.

    Raises:
        TypeError, ValueError: not a finite float matrix of at least 2 rows.
    """
    u = _unit_rows(x, "x", minimum=2).cpu().double()
    n, d = u.shape
    std, std_even = float(u.std(dim=0, correction=0).mean()), 1 / math.sqrt(d)
    rank = effective_rank(u) if u.any() else 0.0
    mean_cosine = float(u.sum(dim=0).square().sum() - u.square().sum()) / (n * (n - 1))
    if std < _COMPLETE_COLLAPSE * std_even:
        verdict = f"complete collapse: all {n} embeddings point almost the same way"
    elif d > 1 and rank < max(_DIMENSIONAL_COLLAPSE * min(n, d), _LEAST_RANK):
        verdict = f"dimensional collapse: the embeddings fill about {rank:.1f} of {min(n, d)} dimensions"
    else:
        verdict = f"no collapse: the embeddings spread over about {rank:.1f} of {min(n, d)} dimensions"
    return {
        "n": n,
        "dim": d,
        "std": std,
        "std_even": std_even,
        "std_ratio": std / std_even,
        "effective_rank": rank,
        "max_rank": min(n, d),
        "mean_cosine": mean_cosine,
        "verdict": verdict,
    }


def _tiles(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the row numbers (R,) and the rows (R, M) of ``a @ b.T``, a bounded number at a time."""
    step = max(1, _TILE // len(b))
    for start in range(0, len(a), step):
        block = a[start : start + step]
        yield torch.arange(start, start + len(block), device=a.device), block @ b.T


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _unit_rows(x: Tensor, name: str, minimum: int = 1) -> Tensor:
    """Checked, at least float32, every row of length 1 (rows of zeros stay zeros)."""
    x = check_finite(check_matrix(x, name).detach(), name)
    if len(x) < minimum:
        raise ValueError(f"{name} must have at least {minimum} rows, got shape {tuple(x.shape)}")
    return normalize(within_range(_at_least_float32(x)), dim=1)


def _check_pair(z1: Tensor, z2: Tensor, first: str, second: str) -> tuple[Tensor, Tensor]:
    """Two batches of views, row i of both from image i: checked and normalised."""
    a, b = _unit_rows(z1, first), _unit_rows(z2, second)
    check_same_shape(a, b, first, second)
    return a, b
