"""Exercise: a share of the labels, balanced by class."""

from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    ExaminedExercise,
    Function,
    Problem,
    call_or_stop,
    generator,
    read_tensor,
    stop,
    whole,
)

_ARGUMENTS = ("labels", "fraction", "generator")


@dataclass(frozen=True)
class _Case:
    """Labels of classes with given numbers and sizes, and the share to draw."""

    seed: int
    counts: list[int]
    fraction: float
    classes: tuple[int, ...] = ()  # their numbers, where these are not 0, 1, 2, ...

    @cached_property
    def numbers(self) -> list[int]:
        return list(self.classes or range(len(self.counts)))

    @cached_property
    def labels(self) -> Tensor:
        in_order = torch.repeat_interleave(torch.tensor(self.numbers), torch.tensor(self.counts))
        return in_order[torch.randperm(len(in_order), generator=generator(self.seed))]  # (N,)

    @cached_property
    def due(self) -> list[float]:
        return [self.fraction * count for count in self.counts]

    def members(self, number: int) -> Tensor:
        return (self.labels == number).nonzero()[:, 0]

    def drawn(self, indices: Tensor) -> list[int]:
        """How many of each class are among the indices."""
        return [int((self.labels[indices] == number).sum()) for number in self.numbers]

    def in_proportion(self, got: list[int]) -> bool:
        return all(abs(g - d) < 1 or g == 1 > d for g, d in zip(got, self.due, strict=True))

    def fail(self, sentence: str) -> NoReturn:
        """End the examination, with the case."""
        classes = f"classes {self.numbers}, " if self.classes else ""
        stop(
            f"{sentence}\n  Failing case: {len(self.labels)} labels, {classes}counts per class "
            f"{self.counts}, fraction = {self.fraction}."
        )
        raise AssertionError


def _draw(f: Function, case: _Case, seed: int) -> Tensor:
    output = call_or_stop(f, (case.labels, case.fraction, generator(seed)), _ARGUMENTS, ours=())
    if isinstance(output, list):
        raise Problem(f"It must return one torch.Tensor, but it returned a list of {len(output)}.")
    return read_tensor(output)


def _judge_kind(indices: Tensor, case: _Case) -> None:
    """A vector of int64 indices within the labels."""
    if indices.dtype == torch.bool:
        case.fail("It returned a mask (bool). Return the indices, int64.")
    if indices.dtype != torch.int64:
        case.fail(f"The dtype should be torch.int64, but is {indices.dtype}.")
    if indices.ndim != 1:
        case.fail(f"The indices should be a vector, but have shape {tuple(indices.shape)}.")
    if len(indices) == 0:
        case.fail("The subset is empty. There must be at least one label of every class.")
    if int(indices.min()) < 0 or int(indices.max()) >= len(case.labels):
        case.fail(
            f"The indices run from {indices.min()} to {indices.max()}, beyond the {len(case.labels)} labels."
        )


def _judge_members(indices: Tensor, case: _Case, got: list[int]) -> None:
    """Positions in labels, each once."""
    chosen = set(indices.tolist())
    twice = len(chosen) < len(indices)
    if twice and chosen <= set(case.numbers) and len(indices) > len(case.numbers):
        case.fail("These look like labels. Return indices, positions in labels.")
    if (
        case.fraction < 1
        and len(case.labels) >= 40
        and int(indices.max()) < max(case.counts)
        and len(chosen) > 1
        and (twice or not case.in_proportion(got))
        and chosen != set(range(len(chosen)))
    ):
        case.fail(
            f"These are positions within a class, not in labels: none is above {indices.max()}, and the "
            f"largest class has {max(case.counts)} images. Translate them back to where the class's images "
            "stand."
        )
    if twice:
        first = int(indices.bincount().gt(1).nonzero()[0])
        case.fail(f"Some images were drawn twice, image {first} for one. Draw without replacement.")
    if case.fraction < 1 and chosen == set(range(len(indices))):
        case.fail("These are simply the first labels: neither stratified nor random.")


def _judge_counts(case: _Case, draws: list[list[int]]) -> None:
    """The share of each class, from the counts per class of several draws."""
    got = draws[0]
    if case.in_proportion(got) and 0 not in got:
        return
    shown = [round(d, 1) for d in case.due]
    if all(abs(g - d) < 1 for g, d in zip(got, case.due, strict=True)):
        number = case.numbers[got.index(0)]
        case.fail(f"Class {number} has no label. Rounding gave 0: every class keeps at least one.")
    rest = [abs(g - (c - d)) <= 1 for g, c, d in zip(got, case.counts, case.due, strict=True)]
    if all(rest) and abs(case.fraction - 0.5) > 0.1:
        case.fail("These are the labels to leave out: the rest, 1 - fraction, came back.")
    if any(counts != got for counts in draws):
        case.fail(
            f"The draw is not stratified: per class {got}, and with another seed "
            f"{next(counts for counts in draws if counts != got)}, where {shown} are due. Draw within each "
            f"class."
        )
    if len(set(case.counts)) > 1 and len(set(got)) == 1:
        case.fail(
            f"Every class got {got[0]} labels, whatever its size. Stratified means in proportion to the "
            f"class."
        )
    if 0 in got:
        missing = [n for n, g in zip(case.numbers, got, strict=True) if g == 0]
        case.fail(
            f"No label of class {', '.join(map(str, missing))} came back. Are the classes counted by a "
            "number in your code? labels.unique() gives those at hand."
        )
    wrong = next(k for k, (g, d) in enumerate(zip(got, case.due, strict=True)) if not (abs(g - d) < 1))
    case.fail(
        f"The count is wrong, though drawn within each class: class {case.numbers[wrong]} got {got[wrong]} "
        f"of {case.counts[wrong]}, where {shown[wrong]} are due (rounded either way, at least 1); all "
        f"classes: {got}."
    )


def _judge_randomness(indices: Tensor, others: list[Tensor], case: _Case, got: list[int]) -> None:
    """The generator decides, afresh for each class."""
    chosen = set(indices.tolist())
    if all(set(o.tolist()) == chosen for o in others):
        first = {i for n, g in zip(case.numbers, got, strict=True) for i in case.members(n)[:g].tolist()}
        what = "always the first of each class" if first == chosen else "always the same ones"
        case.fail(f"Another seed gives the same subset, {what}. The generator must decide.")
    places = []  # of the chosen ones within each class
    for number in case.numbers:
        members = case.members(number).tolist()
        places.append(tuple(k for k, image in enumerate(members) if image in chosen))
    if len(set(case.counts)) == 1 and len(set(places)) == 1 and len(places) > 2:
        case.fail(
            f"Every class is drawn with the same random numbers: of each, the images at {list(places[0])} "
            "within the class. Let one generator run on from class to class."
        )


def _judge_subset(f: Function, case: _Case) -> None:
    global_before = torch.get_rng_state()
    indices = _draw(f, case, case.seed)
    drew_globally = not torch.equal(global_before, torch.get_rng_state())
    _judge_kind(indices, case)
    if drew_globally:
        case.fail(
            "It draws from the global random state. Draw from the generator, so that the same seed repeats "
            "the draw."
        )
    if not torch.equal(indices, _draw(f, case, case.seed)):
        case.fail("The same seed gives another subset: something is drawn without the generator.")
    got = case.drawn(indices)
    _judge_members(indices, case, got)
    others = [_draw(f, case, case.seed + 1 + k) for k in range(3)]
    for other in others:
        _judge_kind(other, case)
    _judge_counts(case, [got, *(case.drawn(other) for other in others)])
    if case.fraction < 1:
        _judge_randomness(indices, others, case, got)


def _examine(answer: Function, seed: int) -> str:
    for k in range(2):
        number = 1000 * seed + k
        rng = generator(number)
        _judge_subset(answer, _Case(number, [20] * 10, 0.1 if k == 0 else 0.25))
        rare = whole(rng, 2, 4)
        _judge_subset(answer, _Case(number, [whole(rng, 150, 200), 60, 30, rare], 0.1))
        _judge_subset(answer, _Case(number, [whole(rng, 30, 40), 25, 8], 1.0))
    _judge_subset(answer, _Case(1000 * seed, [12] * 13, 0.25))  # more than ten classes
    _judge_subset(answer, _Case(1000 * seed, [16, 24, 40], 0.25, classes=(1, 4, 11)))
    return (
        "Stratified, repeatable from the generator, at least one label per class: tested with 3 to 13 "
        "classes of equal and of unequal size, and fractions from 0.1 to 1."
    )


LABEL_SUBSET = ExaminedExercise(
    name="label_subset",
    parameters=_ARGUMENTS,
    asks="``f(labels, fraction, generator)``: indices of a stratified part of the labels",
    details=(
        "Of each class in ``labels``, however numbered, ``fraction`` of its images (rounded either way, at "
        "least 1), drawn without replacement from ``generator``; the result is int64, in any order."
    ),
    difficulty=3,
    minutes=8,
    examination=_examine,
)
