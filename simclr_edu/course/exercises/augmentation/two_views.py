"""Exercise: two views of each picture, drawn independently."""

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    RETURNED_NOTHING,
    ExaminedExercise,
    Function,
    Problem,
    call_or_stop,
    generator,
    kind,
    show_arguments,
    stop,
    whole,
)


class _Augment:
    """A random augmentation that remembers what went in, what came out and what was drawn for each image."""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.draws: list[Tensor] = []
        self.sizes: set[tuple[int, ...]] = set()

    def __call__(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim != 4:
            raise ValueError(f"augment takes a batch of images (B, 3, H, W), got {kind(x)}")
        if x.shape[1] != 3:
            raise ValueError(f"augment takes a batch of images (B, 3, H, W), got {tuple(x.shape)}")
        self.sizes.add(tuple(x.shape[2:]))
        draws = torch.rand(len(x), 2)  # per image, a gain and an offset
        views = x * (0.5 + draws[:, 0, None, None, None]) + draws[:, 1, None, None, None] + 0.1
        self.inputs += list(x.detach().clone())
        self.outputs += list(views.detach().clone())
        self.draws += list(draws)
        return views


def _rows(images: Tensor, candidates: Tensor) -> list[int]:
    """For each image the number of the candidate that equals it, or -1."""
    if len(candidates) == 0:
        return [-1] * len(images)
    equal = (
        torch.isclose(images[:, None].float(), candidates[None], rtol=0, atol=1e-6).flatten(2).all(2)
    )  # (B, L)
    return [int(row.nonzero()[0]) if row.any() else -1 for row in equal]


def _contents(output: object) -> str:
    """Say what a value is, and of a list or tuple what its entries are."""
    if not isinstance(output, (tuple, list)):
        return kind(output)
    of = " and ".join(sorted({f"{type(entry).__name__.lower()}s" for entry in output}))
    text = f"{kind(output)} of length {len(output)}" + (f" whose entries are {of}" if of else "")
    if any(isinstance(entry, (tuple, list)) for entry in output):
        text += ". v1 and v2 are whole batches, (B, 3, H, W) each"
    return text


def _judge_views(two_views: Function, x: Tensor) -> None:
    augment = _Augment()
    output = call_or_stop(two_views, (augment, x), ("augment", "x"), ours=())
    place = f"\n  Failing case: {show_arguments(['x'], (x,))}."
    if (
        output is None
        or output is Ellipsis
        or (isinstance(output, tuple) and output[:1] in ((...,), (None,)))
    ):
        raise Problem(RETURNED_NOTHING, nothing=True)
    if (
        not isinstance(output, (tuple, list))
        or len(output) != 2
        or not all(isinstance(v, Tensor) for v in output)
    ):
        stop(f"It must return two tensors, (v1, v2), but it returned {_contents(output)}.")
    v1, v2 = output
    if other := augment.sizes - {tuple(x.shape[2:])}:
        stop(
            f"augment was given images of size {other.pop()}, where x has {tuple(x.shape[2:])}: the batches "
            "were joined along height or width. The batch is dimension 0." + place
        )
    if len(v1) * 2 == len(x) == len(v2) * 2:
        stop(
            "The batch was cut in halves: v1 and v2 show different images. Each image needs two views, so "
            "both have all B rows." + place
        )
    for name, view in (("v1", v1), ("v2", v2)):
        if view.shape != x.shape:
            stop(f"{name} should have the shape of x, {tuple(x.shape)}, but has {tuple(view.shape)}." + place)
    plain = [name for name, view in (("v1", v1), ("v2", v2)) if torch.equal(view, x)]
    if len(plain) == 2:
        stop("Neither view is augmented: both are x itself." + place)
    if plain:
        stop(f"{plain[0]} is the original without augmentation. In SimCLR both views are augmented." + place)
    if torch.equal(v1, v2):
        stop("v1 and v2 are the same view twice. Each view needs draws of its own." + place)
    outputs = torch.stack(augment.outputs) if augment.outputs else x[:0]
    inputs = torch.stack(augment.inputs) if augment.inputs else x[:0]
    calls = {name: _rows(view, outputs) for name, view in (("v1", v1), ("v2", v2))}
    for name, entries in calls.items():
        if -1 in entries:
            stop(f"Row {entries.index(-1)} of {name} is not what augment returned for any image." + place)
        drawn_from = inputs[entries]  # (B, 3, H, W)
        if any(row >= 0 for row in _rows(drawn_from, outputs)):
            stop(f"{name} was augmented twice, a view of a view. Both views start from x." + place)
        sources = _rows(drawn_from, x)
        if sources == [k // 2 for k in range(len(x))]:
            stop(
                f"{name} shows the images {sources}: with the two views of an image side by side, as "
                "repeat_interleave puts them, the halves of the rows are not v1 and v2. Stack x on x instead "
                "(torch.cat), or take every other row." + place
            )
        if len(set(sources)) == 1:
            stop(
                f"Every row of {name} is a view of image {sources[0]}: one image was augmented for all."
                + place
            )
        if sources != list(range(len(x))):
            row = next(i for i, s in enumerate(sources) if s != i)
            stop(
                f"Row {row} of {name} is a view of image {sources[row]}. Row k of v1 and of v2 must both "
                "come from image k." + place
            )
        draws = torch.stack([augment.draws[e] for e in entries])  # (B, 2)
        if torch.equal(draws, draws[:1].expand_as(draws)):
            stop(f"All images of {name} got the same draw. One draw for the whole batch is too few." + place)
    if same := [k for k, (a, b) in enumerate(zip(*calls.values(), strict=True)) if a == b]:
        stop(f"Row {same[0]} is the same view in v1 and in v2. Each image needs two draws." + place)


def _examine(answer: Function, seed: int) -> str:
    for k, size in enumerate([4, 3, 5]):
        rng = generator(1000 * seed + k)
        _judge_views(answer, torch.rand(size, 3, whole(rng, 2, 4), whole(rng, 2, 4), generator=rng))
    return "Two views of every image, drawn separately, rows in step."


TWO_VIEWS = ExaminedExercise(
    name="two_views",
    parameters=("augment", "x"),
    asks="``two_views(augment, x)``: two independent views of every image",
    details=(
        "``augment`` maps a batch (B, 3, H, W) to a batch and draws afresh for each image at every call; "
        "the result is ``(v1, v2)``, row k of both from image k."
    ),
    difficulty=2,
    minutes=3,
    examination=_examine,
)
