"""Exercise: where the positive of each anchor stands."""

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Mistake,
    difference,
    generator,
    whole,
)


def _index_loop(n: int) -> Tensor:
    return torch.tensor([row + n if row < n else row - n for row in range(2 * n)])


def _after_deleting(n: int) -> Tensor:
    target = _index_loop(n)
    return target - (target > torch.arange(2 * n)).long()


def _explain_index(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    """Name the shift of row numbers that were rolled round by another one than N."""
    rows = torch.arange(len(wanted))
    if (
        got.shape == wanted.shape
        and got.dtype == wanted.dtype
        and int(got[0])
        and torch.equal(got, rows.roll(-int(got[0])))
    ):
        shift = min(-int(got[0]), len(rows) - int(got[0]), key=abs)
        return f"These are the row numbers rolled by {shift}; the positive lies n rows away."
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return difference(got, wanted)
    columns = got.tolist()
    for row, column in enumerate(columns):
        if column == row:
            return f"Row {row} points at itself."
        if not 0 <= column < len(columns):
            return f"Row {row} points at column {column}, and there are columns 0 to {len(columns) - 1}."
        if columns[column] != row:
            return (
                f"Row {row} points at row {column}, and that one at row {columns[column]}. Two views of an "
                "image are each other's positive, so each points back."
            )
    row = next(k for k, (g, w) in enumerate(zip(columns, wanted.tolist(), strict=True)) if g != w)
    return (
        f"Row {row} is paired with row {columns[row]}, a view of another image: image {row} has its views "
        f"in rows {row} and {row + len(columns) // 2}."
    )


POSITIVE_INDEX = ComparedExercise(
    name="positive_index",
    parameters=("n",),
    asks="``f(n)``: for each row of the full 2N x 2N matrix the column of its positive",
    details="Rows 0 to N-1 are first views, N to 2N-1 second views; the result is (2N,) int64.",
    difficulty=2,
    minutes=5,
    cases=lambda seed: [(n,) for n in (2, 3, 4 + whole(generator(seed), 0, 3), 9 + seed % 5, 1)],
    oracles=(_index_loop,),
    mistakes=(
        Mistake(
            "Each row points at itself, the one candidate that is excluded. The positive is the other view.",
            (lambda n: torch.arange(2 * n),),
        ),
        Mistake(
            "These are the labels of an N x N matrix, as in CLIP. In the 2N x 2N matrix row k of view 1 is "
            "column k, and its positive is further on.",
            (lambda n: torch.arange(n).repeat(2), lambda n: torch.arange(n)),
        ),
        Mistake(
            "All zeros fits only a matrix whose positive was moved to column 0. Here the columns stay in "
            "order.",
            (lambda n: torch.zeros(2 * n, dtype=torch.long),),
        ),
        Mistake(
            "These are pairs of neighbours (0 with 1, 2 with 3). Here all first views come first, then all "
            "second views.",
            (lambda n: torch.arange(2 * n) ^ 1,),
        ),
        Mistake(
            "Rows of the second half point past the last column, 2N - 1. Their positive lies back in the "
            "first half.",
            (lambda n: torch.arange(n, 3 * n),),
        ),
        Mistake(
            "These are the columns after the diagonal has been deleted: one too far left in the full "
            "matrix for the first N rows.",
            (_after_deleting,),
        ),
        Mistake(
            "There are only N entries. Both views act as anchors, so all 2N rows need a target.",
            (lambda n: torch.arange(n, 2 * n),),
        ),
        Mistake(
            "The order is reversed: row 0 points at the last row. Its positive is the same image's other "
            "view.",
            (lambda n: torch.arange(2 * n - 1, -1, -1),),
        ),
        Mistake(
            "The two halves are the wrong way round: first-half rows point into the first half, at "
            "themselves or at others of their own view.",
            (lambda n: torch.arange(n).flip(0).repeat(2), lambda n: torch.arange(n).repeat_interleave(2)),
        ),
        Mistake(
            "At the border one row goes wrong: rows count from 0, so row n is the first of the second half. "
            "Here it points past the last column.",
            (lambda n: torch.tensor([i + n if i <= n else i - n for i in range(2 * n)]),),
        ),
        Mistake(
            "Both halves point into the second half. A row of the second half finds its positive in the "
            "first.",
            (lambda n: torch.arange(n, 2 * n).repeat(2),),
        ),
        Mistake(
            "That is off by one: the two views of an image lie N rows apart.",
            (
                lambda n: (torch.arange(2 * n) + n - 1) % (2 * n),
                lambda n: (torch.arange(2 * n) + n + 1) % (2 * n),
            ),
        ),
    ),
    explain=_explain_index,
)
