"""Exercise: the nearest neighbours by cosine similarity."""

import torch
import torch.nn.functional as F
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Mistake,
    Problem,
    difference,
    generator,
    kind,
    read_tensor,
    whole,
)


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


def read_indices(output: object) -> Tensor:
    if isinstance(output, tuple):
        raise Problem(
            f"It must return one tensor of indices, but it returned {kind(output)} of {len(output)}. topk "
            "and sort give values and indices: return the indices."
        )
    return read_tensor(output)


def _explain_neighbours(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    """Say which place is taken by a row of the gallery that is not the next nearest."""
    queries, gallery, _ = inputs
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return difference(got, wanted)
    row, place = ((got != wanted).nonzero()[0]).tolist()
    chosen, nearer = int(got[row, place]), int(wanted[row, place])
    if not 0 <= chosen < len(gallery):
        return f"For query {row} stands index {chosen}, and the gallery has rows 0 to {len(gallery) - 1}."
    cosines = _cosines(queries, gallery)[row]
    return (
        f"For query {row} stands row {chosen} of the gallery in place {place}, at cosine "
        f"{cosines[chosen]:.4g}; row {nearer} belongs there, at cosine {cosines[nearer]:.4g}."
    )


NEAREST_NEIGHBOURS = ComparedExercise(
    name="nearest_neighbours",
    parameters=("queries", "gallery", "k"),
    asks="``f(queries, gallery, k)``: the k nearest rows of the gallery by cosine",
    details="``queries`` (Q, d) and ``gallery`` (G, d) give indices (Q, k) int64, nearest first.",
    difficulty=2,
    minutes=6,
    cases=_neighbour_cases,
    oracles=(_neighbours_loop,),
    read=read_indices,
    explain=_explain_neighbours,
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
