"""Exercises of notebook 05: nearest neighbours, effective rank, order by class."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from simclr_edu.exercises._harness import (
    Arguments,
    Exercise,
    Function,
    Mistake,
    Problem,
    Verdict,
    check,
    generator,
    kind,
    read_number,
    read_tensor,
    report,
    whole,
)

# --- nearest neighbours -------------------------------------------------------------------------------------


def _neighbour_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(5):
        rng = generator(1000 * seed + k)
        d, count = whole(rng, 3, 6), 6 + 2 * k
        gallery = torch.randn(count, d, generator=rng)
        queries = torch.randn(2 + k, d, generator=rng)
        gallery = gallery * (
            0.3 + 3 * torch.rand(count, 1, generator=rng)
        )  # lengths differ: cosine is not a dot product
        gallery[: min(2, len(queries))] = 0.5 * queries[:2]  # the nearest of a query may be its own copy
        cases.append((queries, gallery, 1 if k == 1 else whole(rng, 2, 4)))
    return cases


def _neighbours_loop(queries: Tensor, gallery: Tensor, k: int) -> Tensor:
    out = []
    for q in queries:
        similarity = [float(q @ g / (q.norm() * g.norm())) for g in gallery]
        out.append([i for _, i in sorted((-s, i) for i, s in enumerate(similarity))][:k])
    return torch.tensor(out)


def _cosines(queries: Tensor, gallery: Tensor) -> Tensor:
    return F.normalize(queries, dim=1) @ F.normalize(gallery, dim=1).T  # (Q, G)


def _read_indices(output: object) -> Tensor:
    if isinstance(output, tuple):
        raise Problem(
            f"It must return one tensor of indices, but it returned {kind(output)} of {len(output)}. topk "
            "and sort give values and indices: return the indices."
        )
    return read_tensor(output)


NEAREST_NEIGHBOURS = Exercise(
    name="nearest_neighbours",
    parameters=("queries", "gallery", "k"),
    cases=_neighbour_cases,
    oracles=(_neighbours_loop,),
    read=_read_indices,
    mistakes=(
        Mistake(
            "These are the largest dot products: long embeddings win. Normalise both sides for the cosine.",
            (
                lambda q, g, k: (q @ g.T).topk(k, dim=1).indices,
                lambda q, g, k: (F.normalize(q, dim=1) @ g.T).topk(k, dim=1).indices,
            ),
        ),
        Mistake(
            "These are the nearest by Euclidean distance. The cosine takes no notice of length.",
            (
                lambda q, g, k: torch.cdist(q, g).topk(k, dim=1, largest=False).indices,
                lambda q, g, k: torch.cdist(F.normalize(q, dim=1), g).topk(k, dim=1, largest=False).indices,
            ),
        ),
        Mistake(
            "These are the farthest, the least similar first. A large cosine means near.",
            (
                lambda q, g, k: _cosines(q, g).topk(k, dim=1, largest=False).indices,
                lambda q, g, k: _cosines(q, g).topk(k, dim=1, largest=False).indices.flip(1),
            ),
        ),
        Mistake(
            "These are the right neighbours in reversed order. The nearest comes first.",
            (lambda q, g, k: _cosines(q, g).topk(k, dim=1).indices.flip(1),),
        ),
        Mistake(
            "The right neighbours, but in the order of the gallery. The nearest comes first.",
            (lambda q, g, k: _cosines(q, g).topk(k, dim=1).indices.sort(1).values,),
        ),
        Mistake(
            "These are the similarities. Return where they stand in the gallery (indices).",
            (lambda q, g, k: _cosines(q, g).topk(k, dim=1).values,),
        ),
        Mistake(
            "The nearest one was skipped. Only a search of a set within itself has to leave out the query.",
            (lambda q, g, k: _cosines(q, g).topk(k + 1, dim=1).indices[:, 1:],),
        ),
        Mistake(
            "For each gallery entry the nearest queries were found (the wrong dimension). There is one row "
            "per query: (Q, k).",
            (
                lambda q, g, k: _cosines(q, g).topk(k, dim=0).indices,
                lambda q, g, k: _cosines(q, g).topk(k, dim=0).indices.T,
                lambda q, g, k: _cosines(q, g).argsort(dim=0, descending=True)[:k],
                lambda q, g, k: _cosines(g, q).topk(k, dim=1).indices,
            ),
            raises=r"selected index k out of range",
        ),
        Mistake(
            "The normalisation runs over the wrong dimension (dim 0). Each embedding is a row.",
            (lambda q, g, k: (F.normalize(q, dim=0) @ F.normalize(g, dim=0).T).topk(k, dim=1).indices,),
        ),
        Mistake(
            "All neighbours came back, not the first k.",
            (lambda q, g, k: _cosines(q, g).argsort(dim=1, descending=True),),
        ),
    ),
)


def diagnose_nearest_neighbours(f: Function, seed: int = 0) -> Verdict:
    """Judge a nearest-neighbour search without printing; see ``check_nearest_neighbours``."""
    return NEAREST_NEIGHBOURS.diagnose(f, seed)


@check
def check_nearest_neighbours(f: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Check ``f(queries, gallery, k)``: the k nearest rows of the gallery by cosine, and print a verdict.

    ``queries`` (Q, d) and ``gallery`` (G, d) give indices (Q, k) int64, nearest first.
    Difficulty 2 of 5, 6 minutes.
    """
    report(diagnose_nearest_neighbours(f))


# --- effective rank -----------------------------------------------------------------------------------------


def _rank_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(4):
        rng = generator(1000 * seed + k)
        rows, d = 6 + 2 * k + whole(rng, 0, 3), 3 + k
        x = torch.randn(rows, d, generator=rng) * (0.15 + 2 * torch.rand(d, generator=rng))
        cases.append((x - x.mean(0),))  # centred: whether to centre first is a matter of convention
    flat = cases[0][0].clone()
    flat[:, 0] = 0.0  # a direction with nothing in it
    cases.append((flat,))
    return cases


def _spectrum(x: Tensor) -> Tensor:
    s = torch.linalg.svdvals(x)
    return s / s.sum()


def _entropy(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p).sum()


def _rank_loop(x: Tensor) -> Tensor:
    """From the eigenvalues of x^T x rather than a singular value decomposition."""
    squares = torch.linalg.eigvalsh(x.T @ x).clamp(min=0)
    values = [v**0.5 for v in squares.tolist() if v > 1e-12 * float(squares.max())]
    shares = torch.tensor([v / sum(values) for v in values], dtype=torch.float64)
    return (-(shares * shares.log()).sum()).exp()


def _naive_rank(x: Tensor) -> Tensor:
    p = _spectrum(x)
    p = torch.where(p < 1e-6, torch.zeros_like(p), p)
    return (-(p * p.log()).sum()).exp()


EFFECTIVE_RANK = Exercise(
    name="effective_rank",
    parameters=("x",),
    cases=_rank_cases,
    oracles=(_rank_loop,),
    read=read_number,
    mistakes=(
        Mistake(
            "That is the entropy itself. The effective rank is its exponential.",
            (lambda x: _entropy(_spectrum(x)),),
        ),
        Mistake(
            "The shares were made of squared singular values (variances). This definition takes the "
            "singular values.",
            (
                lambda x: _entropy(
                    torch.linalg.svdvals(x).square() / torch.linalg.svdvals(x).square().sum()
                ).exp(),
            ),
        ),
        Mistake(
            "The singular values were not divided by their sum, so they are not shares.",
            (lambda x: _entropy(torch.linalg.svdvals(x)).exp(),),
        ),
        Mistake(
            "The sign of the entropy is missing, so the result is below 1.",
            (lambda x: (-_entropy(_spectrum(x))).exp(),),
        ),
        Mistake(
            "That is the plain rank: it counts directions, however faint.",
            (lambda x: torch.linalg.matrix_rank(x).float(), lambda x: torch.linalg.matrix_rank(x)),
        ),
        Mistake(
            "The entropy was taken with log to base 2 and undone with exp. Use the same base both times.",
            (lambda x: (_entropy(_spectrum(x)) / torch.tensor(2.0).log()).exp(),),
        ),
        Mistake(
            "That is the participation ratio, another measure of rank, without logarithms.",
            (
                lambda x: 1 / _spectrum(x).square().sum(),
                lambda x: torch.linalg.svdvals(x).square().sum() ** 2 / torch.linalg.svdvals(x).pow(4).sum(),
            ),
        ),
        Mistake(
            "The singular values were divided by the largest, not by their sum, so they are not shares.",
            (lambda x: _entropy(torch.linalg.svdvals(x) / torch.linalg.svdvals(x).max()).exp(),),
        ),
        Mistake(
            "The mean was taken over the terms of the entropy, not the sum.",
            (lambda x: (_entropy(_spectrum(x)) / min(x.shape)).exp(),),
        ),
        Mistake(
            "A singular value of 0 gives 0 * log(0), which is NaN. Its share of the entropy is 0.",
            (_naive_rank,),
        ),
    ),
)


def diagnose_effective_rank(f: Function, seed: int = 0) -> Verdict:
    """Judge an effective rank without printing; see ``check_effective_rank``."""
    return EFFECTIVE_RANK.diagnose(f, seed)


@check
def check_effective_rank(f: Callable[[Tensor], Tensor]) -> None:
    """Check ``f(x)``: the exponential of the entropy of the normalised singular values, and print a verdict.

    The columns of ``x`` (N, D) have mean 0, so centring is up to you; a singular value may be 0 (Roy and
    Vetterli 2007, "The effective rank"). Difficulty 2 of 5, 6 minutes.
    """
    report(diagnose_effective_rank(f))


# --- order by class -----------------------------------------------------------------------------------------


def _label_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k, count in enumerate([5, 8, 30, 100]):
        rng = generator(1000 * seed + k)
        classes = 3 + k
        labels = torch.randint(0, classes, (count,), generator=rng)
        labels[:4] = torch.tensor([2, 0, 2, 1])  # never in order already, always a tie
        cases.append((labels,))
    return cases


def _order_loop(labels: Tensor) -> Tensor:
    values = labels.tolist()
    return torch.tensor([i for label in sorted(set(values)) for i, v in enumerate(values) if v == label])


def _stable(labels: Tensor, descending: bool = False) -> Tensor:
    return labels.argsort(stable=True, descending=descending)


ORDER_BY_CLASS = Exercise(
    name="order_by_class",
    parameters=("labels",),
    cases=_label_cases,
    oracles=(_order_loop,),
    read=_read_indices,
    mistakes=(
        Mistake(
            "These are the sorted labels. Return the indices that sort them, to apply to the images too.",
            (lambda labels: labels.sort().values,),
        ),
        Mistake(
            "The classes come in descending order. Class 0 comes first.",
            (
                lambda labels: _stable(labels, descending=True),
                lambda labels: _stable(labels.flip(0)).flip(0).flip(0),
            ),
        ),
        Mistake(
            "Within a class the order is reversed. A stable sort keeps images of one class in their order.",
            (
                lambda labels: (len(labels) - 1) - _stable(labels.flip(0)),
                lambda labels: _stable(-labels).flip(0),
            ),
        ),
        Mistake(
            "That is where each image goes (its rank), not which image comes next: the inverse of the "
            "order asked for.",
            (lambda labels: _stable(labels).argsort(),),
        ),
        Mistake("Nothing was reordered.", (lambda labels: torch.arange(len(labels)),)),
        Mistake(
            "Only one image per class came back. Every image belongs in the order.",
            (lambda labels: torch.stack([(labels == c).nonzero()[0, 0] for c in labels.unique()]),),
        ),
        Mistake("These are the labels as they came.", (lambda labels: labels.clone(),)),
        Mistake(
            "These are the names of the classes, not an order of images.", (lambda labels: labels.unique(),)
        ),
    ),
)


def diagnose_order_by_class(f: Function, seed: int = 0) -> Verdict:
    """Judge an order without printing; see ``check_order_by_class``."""
    return ORDER_BY_CLASS.diagnose(f, seed)


@check
def check_order_by_class(f: Callable[[Tensor], Tensor]) -> None:
    """Check ``f(labels)``: indices that put class 0 first, then 1, and so on, and print a verdict.

    ``labels`` (N,) int64 gives (N,) int64; images of one class keep their order.
    Difficulty 1 of 5, 3 minutes.
    """
    report(diagnose_order_by_class(f))
