"""Exercise: a share of the labels, balanced by class."""

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


def _labels(rng: torch.Generator, counts: list[int]) -> Tensor:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=rng)]


def _judge_subset(f: Function, counts: list[int], fraction: float, seed: int) -> None:
    labels = _labels(generator(seed), counts)
    names = ("labels", "fraction", "generator")
    global_before = torch.get_rng_state()
    indices = _read_subset(call_or_stop(f, (labels, fraction, generator(seed)), names, ours=()))
    drew_globally = not torch.equal(global_before, torch.get_rng_state())
    where = f"\n  Failing case: {len(labels)} labels, counts per class {counts}, fraction = {fraction}."
    if indices.dtype == torch.bool:
        stop("It returned a mask (bool). Return the indices, int64." + where)
    if indices.is_floating_point() or indices.dtype != torch.int64:
        stop(f"The dtype should be torch.int64, but is {indices.dtype}." + where)
    if indices.ndim != 1:
        stop(f"The indices should be a vector, but have shape {tuple(indices.shape)}." + where)
    if len(indices) == 0:
        stop("The subset is empty. There must be at least one label of every class." + where)
    if int(indices.min()) < 0 or int(indices.max()) >= len(labels):
        stop(
            f"The indices run from {indices.min()} to {indices.max()}, beyond the {len(labels)} labels."
            + where
        )
    if drew_globally:
        stop(
            "It draws from the global random state. Draw from the generator, so that the same seed repeats "
            "the draw."
        )
    again = _read_subset(call_or_stop(f, (labels, fraction, generator(seed)), names))
    if not torch.equal(indices, again):
        stop("The same seed gives another subset: something is drawn without the generator." + where)
    if len(set(indices.tolist())) < len(indices):
        smallest = set(indices.tolist()) <= set(range(len(counts)))
        stop(
            "These look like labels. Return indices, positions in labels."
            if smallest and len(indices) > len(counts)
            else "Some images were drawn twice. Draw without replacement." + where
        )
    got = torch.bincount(labels[indices], minlength=len(counts)).tolist()
    ideal = [fraction * c for c in counts]
    if fraction < 1 and torch.equal(indices.sort().values, torch.arange(len(indices))):
        stop("These are simply the first labels: neither stratified nor random." + where)
    in_proportion = all(abs(g - i) < 1 or g == 1 > i for g, i in zip(got, ideal, strict=True))
    if (
        fraction < 1
        and sum(counts) >= 40
        and len(set(counts)) == 1
        and int(indices.max()) < counts[0]
        and not in_proportion
    ):
        stop(
            "These are positions within a class, not in labels. Translate them back to where the class's "
            "images stand." + where
        )
    if 0 in got and all(abs(g - i) < 1 for g, i in zip(got, ideal, strict=True)):
        stop(f"Class {got.index(0)} has no label. Rounding gave 0: every class keeps at least one." + where)
    if (
        all(abs(g - (c - i)) <= 1 for g, c, i in zip(got, counts, ideal, strict=True))
        and abs(fraction - 0.5) > 0.1
    ):
        stop("These are the labels to leave out: the rest, 1 - fraction, came back." + where)
    if len(set(counts)) > 1 and len(set(got)) == 1 and not in_proportion:
        stop(
            f"Every class got {got[0]} labels, whatever its size. Stratified means in proportion to the "
            "class." + where
        )
    if abs(sum(got) - sum(ideal)) <= len(counts) and not in_proportion:
        stop(
            f"The draw is not stratified: per class {got}, where {[round(i, 1) for i in ideal]} are due. "
            "Draw within each class." + where
        )
    if not in_proportion:
        stop(
            f"The counts per class are {got}, where {[round(i, 1) for i in ideal]} are due, at least 1 each."
            + where
        )
    if fraction < 1:
        others = [
            _read_subset(call_or_stop(f, (labels, fraction, generator(seed + 1 + k)), names))
            for k in range(3)
        ]
        if all(set(o.tolist()) == set(indices.tolist()) for o in others):
            first = [i for c in range(len(counts)) for i in (labels == c).nonzero()[: got[c], 0].tolist()]
            what = (
                "always the first of each class"
                if set(first) == set(indices.tolist())
                else "always the same ones"
            )
            stop(f"Another seed gives the same subset, {what}. The generator must decide." + where)


def _read_subset(output: object) -> Tensor:
    if isinstance(output, list):
        raise Problem(f"It must return one torch.Tensor, but it returned a list of {len(output)}.")
    return read_tensor(output)


def _examine(answer: Function, seed: int) -> str:
    for k in range(2):
        rng = generator(1000 * seed + k)
        _judge_subset(answer, [20] * 10, 0.1 if k == 0 else 0.25, 1000 * seed + k)
        rare = whole(rng, 2, 4)
        _judge_subset(answer, [whole(rng, 150, 200), 60, 30, rare], 0.1, 1000 * seed + k)
        _judge_subset(answer, [whole(rng, 30, 40), 25, 8], 1.0, 1000 * seed + k)
    return "Stratified, repeatable from the generator, at least one label per class."


LABEL_SUBSET = ExaminedExercise(
    name="label_subset",
    parameters=("labels", "fraction", "generator"),
    asks="``f(labels, fraction, generator)``: indices of a stratified part of the labels",
    details=(
        "Of each class ``fraction`` of its images (rounded either way, at least 1), drawn without "
        "replacement from ``generator``; the result is int64, in any order."
    ),
    difficulty=3,
    minutes=8,
    examination=_examine,
)
