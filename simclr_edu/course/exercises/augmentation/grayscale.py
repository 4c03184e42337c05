"""Exercise: grayscale by the luma weights."""

import torch
from torch import Tensor

from simclr_edu.course.exercises.augmentation.horizontal_flip import explain_batch
from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Mistake,
    generator,
    whole,
)


def _gray_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(4):
        rng = generator(1000 * seed + k)
        shape = (k + 1, 3, whole(rng, 2, 3) + k, whole(rng, 2, 4) + k)
        cases.append((torch.rand(shape, generator=rng),))
    return [*cases, (cases[0][0].double(),)]


def _gray_loop(x: Tensor) -> Tensor:
    weight = {0: 0.299, 1: 0.587, 2: 0.114}
    luma = torch.zeros_like(x[:, 0])
    for channel, w in weight.items():
        luma += w * x[:, channel]
    return torch.stack([luma, luma, luma], 1)  # (B, 3, H, W)


def _weighted(x: Tensor, weights: tuple[float, float, float], channels: int = 3) -> Tensor:
    luma = (x * torch.tensor(weights, dtype=x.dtype)[:, None, None]).sum(1, keepdim=True)  # (B, 1, H, W)
    return luma.repeat(1, channels, 1, 1)


def _explain_gray(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    """Name the weights, if the result is one weighted sum of the channels, three times."""
    if got.shape == wanted.shape and torch.equal(got, got[:, :1].expand_as(got)):
        pixels = inputs[0].double().transpose(0, 1).flatten(1).T  # (B H W, 3)
        gray = got[:, 0].detach().double().flatten()
        weights = torch.linalg.lstsq(pixels, gray[:, None]).solution[:, 0]
        if torch.allclose(pixels @ weights, gray, atol=1e-5):
            shown, total = ", ".join(f"{float(w):.3f}" for w in weights), f"{float(weights.sum()):.3f}"
            if total == "1.000":
                return f"Your weights, {shown}, add up to 1, but are not those of ITU-R 601."
            return f"The weights must add up to 1. Yours, {shown}, add up to {total}."
        return (
            "The three channels are equal, but not a weighted sum of the pixel's red, green and blue: with "
            "white 1, black 0 and every colour in proportion to its light, no power, rounding or other "
            "place comes in."
        )
    if got.shape == wanted.shape and got.is_floating_point():
        return "The three channels of the result differ from each other, so it is not gray."
    return explain_batch(inputs, got, wanted)


_ITU = (0.299, 0.587, 0.114)
GRAYSCALE = ComparedExercise(
    name="grayscale",
    parameters=("x",),
    asks="``to_gray(x)``: gray by the ITU-R 601 weights 0.299, 0.587, 0.114",
    details=(
        "``x`` is (B, 3, H, W) float, the result (B, 3, H, W) with three equal channels, in the dtype and "
        "on the device of ``x``."
    ),
    difficulty=1,
    minutes=4,
    cases=_gray_cases,
    follows=True,
    oracles=(_gray_loop,),
    explain=_explain_gray,
    rtol=0,
    atol=5e-4,  # 0.2989, as in torchvision, is as good as 0.299
    mistakes=(
        Mistake("Nothing changed: the output is the input.", (lambda x: x.clone(),)),
        Mistake(
            "That is the plain mean of the channels. The eye sees green brighter than blue: weigh the "
            "channels as ITU-R 601 does.",
            (lambda x: _weighted(x, (1 / 3, 1 / 3, 1 / 3)), lambda x: _weighted(x, (1 / 3, 1 / 3, 1 / 3), 1)),
        ),
        Mistake(
            "The weights are applied in the order blue, green, red. Channel 0 is red.",
            (lambda x: _weighted(x, (0.114, 0.587, 0.299)), lambda x: _weighted(x, (0.114, 0.587, 0.299), 1)),
        ),
        Mistake(
            "The gray image has one channel. The encoder wants three: repeat it, (B, 3, H, W).",
            (lambda x: _weighted(x, _ITU, 1), lambda x: _weighted(x, _ITU, 1)[:, 0]),
        ),
        Mistake(
            "Those are the weights of ITU-R 709 (0.2126, 0.7152, 0.0722). This exercise asks for 601.",
            (lambda x: _weighted(x, (0.2126, 0.7152, 0.0722)),),
        ),
        Mistake(
            "The channels were summed without weights, so white becomes 3.",
            (lambda x: _weighted(x, (1.0, 1.0, 1.0)),),
        ),
        Mistake(
            "Each channel was multiplied by its weight, but they were not added up: the image is still in "
            "colour.",
            (lambda x: x * torch.tensor(_ITU)[:, None, None],),
        ),
        Mistake(
            "That is the brightest channel (the V of HSV), not the weighted sum.",
            (lambda x: x.amax(1, keepdim=True).repeat(1, 3, 1, 1),),
        ),
        Mistake(
            "That keeps one channel only, and drops the other two. Gray is a weighted sum of all three.",
            tuple(lambda x, c=c: x[:, c : c + 1].repeat(1, 3, 1, 1) for c in range(3)),
        ),
        Mistake(
            "The weighted sum was divided by 3 once more. The weights already add up to 1.",
            (lambda x: _weighted(x, _ITU) / 3,),
        ),
        Mistake(
            "The three copies were joined along dimension 0, the batch. Channels are dimension 1.",
            (
                lambda x: _weighted(x, _ITU, 1).repeat(3, 1, 1, 1),
                lambda x: _weighted(x, _ITU, 1)[:, 0].repeat(3, 1, 1),
                lambda x: torch.stack([_weighted(x, _ITU, 1)[:, 0]] * 3),
                lambda x: torch.stack([_weighted(x, _ITU, 1)] * 3),
            ),
        ),
        Mistake(
            "The weights are float32, whatever x is. Make them in the dtype and on the device of x.",
            raises=r"same dtype|expected scalar type|expected .* to have dtype",
        ),
        Mistake(
            "The sum over the channels lost their dimension: (B, H, W) lines up with (B, 3, H, W) from the "
            "right. Keep the reduced dimension (keepdim).",
            (lambda x: _weighted(x, _ITU, 1)[:, 0].repeat(1, 3, 1, 1),),
            raises=r"expanded size|expand\(",
        ),
    ),
)
