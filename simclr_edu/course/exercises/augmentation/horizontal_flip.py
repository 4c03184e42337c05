"""Exercise: flip each picture with a coin of its own."""

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    VALUES_DIFFER,
    Arguments,
    ComparedExercise,
    Mistake,
    difference,
    generator,
    whole,
)


def _flip_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k, size in enumerate([2, 3, 4, 6]):
        rng = generator(1000 * seed + k)
        height = size + whole(rng, 0, 2)
        x = torch.rand(size, 3, height, height + 1, generator=rng)  # (B, 3, H, W), not square
        coin = torch.rand(size, generator=rng) < 0.5
        coin[0], coin[-1] = k % 2 == 0, k % 2 == 1  # always some of each
        cases.append((x, coin))
    return cases + [(cases[0][0].clone(), torch.full((2,), every)) for every in (False, True)]


def _flip_loop(x: Tensor, coin: Tensor) -> Tensor:
    out = x.clone()
    width = x.shape[3]
    for b in range(len(x)):
        for column in range(width):
            out[b, :, :, column] = x[b, :, :, width - 1 - column if coin[b] else column]
    return out


def _flip_where(x: Tensor, coin: Tensor, dims: tuple[int, ...]) -> Tensor:
    return torch.where(coin[:, None, None, None], x.flip(dims), x)


def explain_batch(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    """Name the shape of a single picture."""
    if got.shape == wanted.shape[1:]:
        return f"That is one picture, {tuple(got.shape)}. Return the whole batch, {tuple(wanted.shape)}."
    return difference(got, wanted)


def _explain_flip(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    """Say which picture is wrong, and how."""
    x, coin = inputs
    if got.shape != wanted.shape or difference(got, wanted) != VALUES_DIFFER:
        return explain_batch(inputs, got, wanted)
    right = torch.isclose(got, wanted.to(got.dtype)).flatten(1).all(1)  # (B,)
    k = int((~right).nonzero()[0])
    should = "mirrored" if coin[k] else "left as it is"
    other = x[k] if coin[k] else x[k].flip(-1)
    if torch.equal(got[k], other):
        return f"Picture {k} should be {should} (coin[{k}] is {bool(coin[k])}), and is not."
    found = [i for i in range(len(x)) for y in (x[i], x[i].flip(-1)) if torch.equal(got[k], y)]
    if found:
        return f"In place of picture {k} stands picture {found[0]}."
    return f"Picture {k} is neither itself nor its mirror image. It should be {should}."


HORIZONTAL_FLIP = ComparedExercise(
    name="horizontal_flip",
    parameters=("x", "coin"),
    asks="``flip(x, coin)``: mirror left to right the images that ``coin`` picks",
    details="``x`` is (B, 3, H, W) float, ``coin`` (B,) bool, the result (B, 3, H, W).",
    difficulty=1,
    minutes=4,
    cases=_flip_cases,
    oracles=(_flip_loop,),
    explain=_explain_flip,
    mistakes=(
        Mistake("No image was flipped: the output is the input.", (lambda x, coin: x.clone(),)),
        Mistake(
            "Every image was flipped; the second argument, coin, says which ones.",
            (lambda x, coin: x.flip(3),),
        ),
        Mistake(
            "It is upside down: the rows were reversed. A horizontal flip reverses the last dimension, the "
            "width.",
            (lambda x, coin: _flip_where(x, coin, (2,)),),
        ),
        Mistake(
            "Both sides were reversed, a turn by 180 degrees. Only the width is to be reversed.",
            (lambda x, coin: _flip_where(x, coin, (2, 3)),),
        ),
        Mistake(
            "The wrong images were flipped: those where coin is False.",
            (lambda x, coin: _flip_where(x, ~coin, (3,)),),
        ),
        Mistake(
            "One decision was taken for the whole batch. Each image has its own entry in coin.",
            (
                lambda x, coin: x.flip(3) if coin.any() else x,
                lambda x, coin: x.flip(3) if coin.all() else x,
                lambda x, coin: x.flip(3) if coin[0] else x,
            ),
        ),
        Mistake(
            "The colour channels were reversed (red became blue). The width is the last dimension of (B, "
            "3, H, W).",
            (lambda x, coin: x.flip(1), lambda x, coin: _flip_where(x, coin, (1,))),
        ),
        Mistake(
            "Images changed places: the batch dimension was reversed, not the width.",
            (lambda x, coin: x.flip(0), lambda x, coin: _flip_where(x, coin, (0,))),
        ),
        Mistake(
            "Only the flipped images came back. The others belong in the output too, in their places.",
            (lambda x, coin: x[coin].flip(3),),
        ),
        Mistake(
            "coin has shape (B,), x has four dimensions: give coin three more of size 1, so that it "
            "lines up with the batch and not with the width.",
            raises=r"must match the size of tensor|not broadcastable",
        ),
    ),
)
