"""Bug 7: the label under data parallelism."""

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit import ComparedExercise, Function, Mistake, generator, whole


def _rank_loop(n: int, rank: int, world_size: int) -> Tensor:
    """From the order of the gathered candidates: all first views, rank by rank, then all second views."""
    candidates = [(view, picture) for view in (0, 1) for picture in range(n * world_size)]
    anchors = [(view, rank * n + k) for view in (0, 1) for k in range(n)]
    return torch.tensor([candidates.index((1 - view, picture)) for view, picture in anchors])


def _columns(start1: Function, start2: Function) -> Function:
    """First column for the anchors of view 1 and of view 2; the others follow on."""

    def columns(n: int, rank: int, world_size: int) -> Tensor:
        own = torch.arange(n)
        return torch.cat([own + start1(n, rank, world_size), own + start2(n, rank, world_size)])

    return columns


RANK_OFFSET = ComparedExercise(
    name="bug 7, the rank",
    parameters=("n", "rank", "world_size"),
    asks="``f(n, rank, world_size)``: for each anchor of a rank the column of its positive",
    details="Candidates are gathered: all first views, rank by rank, then all second views. (2n,) int64.",
    difficulty=2,
    minutes=4,
    cases=lambda seed: [
        (2, 1, 2),
        (3, 0, 2),
        (2, 2, 3),
        (4, 0, 1),
        (3 + whole(generator(seed), 0, 3), 1 + seed % 3, 4),
    ],
    oracles=(_rank_loop,),
    mistakes=(
        Mistake(
            "The rank is missing: these labels are right on rank 0 only. On rank r the own pictures stand "
            "r * n rows further on among the gathered ones.",
            (_columns(lambda n, r, k: n * k, lambda n, r, k: 0),),
        ),
        Mistake(
            "These are the labels of a batch that was not gathered: n pairs, 2n columns. There are "
            "2 * n * world_size.",
            (
                _columns(lambda n, r, k: n, lambda n, r, k: 0),
                _columns(lambda n, r, k: n + r * n, lambda n, r, k: r * n),
            ),
        ),
        Mistake(
            "Each anchor points at itself. The positive is the other view of the picture.",
            (_columns(lambda n, r, k: r * n, lambda n, r, k: n * k + r * n),),
        ),
        Mistake(
            "The offset of the rank is missing for one of the two views.",
            (
                _columns(lambda n, r, k: n * k + r * n, lambda n, r, k: 0),
                _columns(lambda n, r, k: n * k, lambda n, r, k: r * n),
            ),
        ),
        Mistake(
            "The offset is r * 2n, as if each rank's two views stood together. Here all first views come "
            "first, then all second views: the offset is r * n.",
            (
                _columns(lambda n, r, k: n * k + 2 * r * n, lambda n, r, k: 2 * r * n),
                _columns(lambda n, r, k: 2 * r * n + n, lambda n, r, k: 2 * r * n),
            ),
        ),
        Mistake(
            "The offset is the rank itself. A rank holds n pictures, so it is r * n.",
            (_columns(lambda n, r, k: n * k + r, lambda n, r, k: r),),
        ),
    ),
)
