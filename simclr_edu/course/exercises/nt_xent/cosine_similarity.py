"""Exercise: the matrix of cosine similarities."""

import torch
import torch.nn.functional as F
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Function,
    Mistake,
    between,
    generator,
    whole,
)


def _cosine_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k, rows in enumerate([2, 3, 5, 6]):
        rng = generator(1000 * seed + k)
        d = rows if k == 3 else rows + whole(rng, 1, 3)  # the last one is square
        cases.append((torch.randn(rows, d, generator=rng) * between(rng, 0.5, 3.0),))
    return cases


def _cosine_loop(z: Tensor) -> Tensor:
    rows = z.tolist()
    length = [sum(v * v for v in row) ** 0.5 for row in rows]
    out = [
        [sum(a * b for a, b in zip(p, q, strict=True)) / (length[i] * length[j]) for j, q in enumerate(rows)]
        for i, p in enumerate(rows)
    ]
    return torch.tensor(out, dtype=torch.float64)


def _gram(z: Tensor) -> Tensor:
    return z @ z.T


_PROBE = torch.tensor([[2.0, 0.0], [0.0, 0.5], [-3.0, 0.0], [1.0, 1.0]])  # angles 0, 90, 180 and 45 degrees
_FACTS = (
    ("A row with itself has cosine 1", (0, 0), 1.0),
    ("Two rows at a right angle have cosine 0", (0, 1), 0.0),
    ("Two opposite rows have cosine -1", (0, 2), -1.0),
    ("Two rows at 45 degrees have cosine 0.7071", (0, 3), 0.5**0.5),
    (
        "The matrix is symmetric: two rows at 45 degrees have cosine 0.7071 below the diagonal too",
        (3, 0),
        0.5**0.5,
    ),
)


def _wrong_fact(f: Function) -> str | None:
    got = f(_PROBE.clone())  # (4, 4)
    for fact, place, value in _FACTS:
        if not abs(float(got[place]) - value) < 1e-3:
            return f"{fact}; yours is {float(got[place]):.4g}."
    return None


COSINE_SIMILARITY_MATRIX = ComparedExercise(
    name="cosine_similarity_matrix",
    parameters=("z",),
    asks="``f(z)``: cosine similarity of every pair of rows, (M, d) to (M, M)",
    details="``z`` is float; so is the result, in the same dtype.",
    difficulty=1,
    minutes=4,
    cases=_cosine_cases,
    oracles=(_cosine_loop,),
    properties=(_wrong_fact,),
    mistakes=(
        Mistake("These are dot products: the rows were not normalised to length 1.", (_gram,)),
        Mistake(
            "The columns were normalised, over the batch (dim 0). Each row is one embedding: normalise "
            "over its d entries.",
            (lambda z: _gram(F.normalize(z, dim=0)), lambda z: F.normalize(z, dim=0)),
        ),
        Mistake(
            "The rows were divided by their squared length. The length is the square root of the sum of "
            "squares.",
            (lambda z: _gram(z / (z**2).sum(1, keepdim=True)),),
        ),
        Mistake(
            "The whole matrix was divided by one number. Each row has a length of its own.",
            (
                lambda z: _gram(z / z.norm()),
                lambda z: _gram(z) / z.norm(),
                lambda z: _gram(z) / _gram(z).max(),
            ),
        ),
        Mistake(
            "Only one of the two sides was normalised. Cosine similarity divides by both lengths.",
            (lambda z: F.normalize(z, dim=1) @ z.T, lambda z: z @ F.normalize(z, dim=1).T),
        ),
        Mistake(
            "That compares the d columns with each other. The result has one row and one column per "
            "embedding, (M, M).",
            (lambda z: z.T @ z, lambda z: F.normalize(z, dim=1).T @ F.normalize(z, dim=1)),
        ),
        Mistake(
            "Each row was compared with itself only, so everything is 1. Compare every row with every row: "
            "(M, M).",
            (lambda z: F.cosine_similarity(z, z, dim=1),),
        ),
        Mistake("These are Euclidean distances, not similarities.", (lambda z: torch.cdist(z, z),)),
        Mistake(
            "The rows were divided by the sum of their absolute values (L1). Cosine takes the L2 length.",
            (lambda z: _gram(F.normalize(z, p=1, dim=1)),),
        ),
        Mistake(
            "That is the correlation: the mean was subtracted from each row first. Cosine similarity does "
            "not centre.",
            (lambda z: _gram(F.normalize(z - z.mean(1, keepdim=True), dim=1)),),
        ),
        Mistake(
            "The rows were normalised, but not multiplied with each other.",
            (lambda z: F.normalize(z, dim=1),),
        ),
        Mistake(
            "The lengths, one per row, do not line up with z. Keep the reduced dimension when you sum "
            "(keepdim).",
            (lambda z: _gram(z / z.norm(dim=1)),),
            raises=r"must match the size of tensor",
        ),
    ),
)
