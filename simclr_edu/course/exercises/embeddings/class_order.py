"""Exercise: sort by class, keeping the order within one."""

import torch
from torch import Tensor

from simclr_edu.course.exercises.embeddings.neighbours import read_indices
from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Mistake,
    difference,
    generator,
)


def _label_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k, count in enumerate([5, 8, 30, 100]):
        rng = generator(1000 * seed + k)
        classes = 3 + k
        labels = torch.randint(0, classes, (count,), generator=rng)
        labels[:4] = torch.tensor([2, 0, 2, 1])  # never in order already, always a tie
        cases.append((labels,))
    rng = generator(1000 * seed + 9)
    return [
        *cases,
        (torch.tensor([7, 2, 7, 12, 2, 5]),),  # classes need not be 0, 1, 2
        (torch.randint(0, 13, (40,), generator=rng),),  # nor be ten
        (torch.randint(0, 12, (600,), generator=rng),),  # more than float16 can tell apart
    ]


def _explain_order(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    """Tell a lost order within a class from other orders."""
    (labels,) = inputs
    if got.dtype == wanted.dtype and got.ndim == 1 and len(got) < len(labels):
        missing = labels[[k for k in range(len(labels)) if k not in set(got.tolist())]].tolist()
        return (
            f"Images of class {', '.join(map(str, sorted(set(missing))))} are missing. "
            "Are the classes counted by a number in your code? labels.unique() gives those at hand."
        )
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return difference(got, wanted)
    if not torch.equal(got.sort().values, torch.arange(len(labels))):
        return "These are not the indices 0 to N - 1, each once: some images are missing or come twice."
    if torch.equal(labels[got], labels.sort().values):
        return (
            "Sorted by class, but within a class the images changed places: sort and argsort keep the order "
            "of equal entries only with stable=True."
        )
    return difference(got, wanted)


def _order_loop(labels: Tensor) -> Tensor:
    values = labels.tolist()
    return torch.tensor([i for label in sorted(set(values)) for i, v in enumerate(values) if v == label])


def _stable(labels: Tensor, descending: bool = False) -> Tensor:
    return labels.argsort(stable=True, descending=descending)


ORDER_BY_CLASS = ComparedExercise(
    name="order_by_class",
    parameters=("labels",),
    asks="``f(labels)``: indices that put class 0 first, then 1, and so on",
    details="``labels`` (N,) int64 gives (N,) int64; images of one class keep their order.",
    difficulty=1,
    minutes=3,
    cases=_label_cases,
    oracles=(_order_loop,),
    read=read_indices,
    explain=_explain_order,
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
