"""Exercises of notebook 01: flip, grayscale, and two views of every image."""

from collections.abc import Callable

import torch
from torch import Tensor

from simclr_edu.exercises._harness import (
    RETURNED_NOTHING,
    Arguments,
    Exercise,
    Function,
    Mistake,
    Problem,
    Verdict,
    call_or_stop,
    check,
    difference,
    examine,
    generator,
    kind,
    report,
    show_arguments,
    stop,
    whole,
)

# --- horizontal flip ----------------------------------------------------------------------------------------


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


def _explain_batch(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    """Name the shape of a single picture."""
    if got.shape == wanted.shape[1:]:
        return f"That is one picture, {tuple(got.shape)}. Return the whole batch, {tuple(wanted.shape)}."
    return difference(got, wanted)


HORIZONTAL_FLIP = Exercise(
    name="horizontal_flip",
    parameters=("x", "coin"),
    cases=_flip_cases,
    oracles=(_flip_loop,),
    explain=_explain_batch,
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


def diagnose_horizontal_flip(flip: Function, seed: int = 0) -> Verdict:
    """Judge a horizontal flip without printing; see ``check_horizontal_flip``."""
    return HORIZONTAL_FLIP.diagnose(flip, seed)


@check
def check_horizontal_flip(flip: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Check ``flip(x, coin)``: mirror left to right the images that ``coin`` picks, and print a verdict.

    ``x`` is (B, 3, H, W) float, ``coin`` (B,) bool, the result (B, 3, H, W). Difficulty 1 of 5, 4 minutes.
    """
    report(diagnose_horizontal_flip(flip))


# --- grayscale ----------------------------------------------------------------------------------------------


def _gray_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(4):
        rng = generator(1000 * seed + k)
        shape = (k + 1, 3, whole(rng, 2, 3) + k, whole(rng, 2, 4) + k)
        cases.append((torch.rand(shape, generator=rng),))
    return cases


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
    return _explain_batch(inputs, got, wanted)


_ITU = (0.299, 0.587, 0.114)

GRAYSCALE = Exercise(
    name="grayscale",
    parameters=("x",),
    cases=_gray_cases,
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
            "The sum over the channels lost their dimension: (B, H, W) lines up with (B, 3, H, W) from the "
            "right. Keep the reduced dimension (keepdim).",
            (lambda x: _weighted(x, _ITU, 1)[:, 0].repeat(1, 3, 1, 1),),
            raises=r"expanded size|expand\(",
        ),
    ),
)


def diagnose_grayscale(to_gray: Function, seed: int = 0) -> Verdict:
    """Judge a conversion to gray without printing; see ``check_grayscale``."""
    return GRAYSCALE.diagnose(to_gray, seed)


@check
def check_grayscale(to_gray: Callable[[Tensor], Tensor]) -> None:
    """Check ``to_gray(x)``: gray by the ITU-R 601 weights 0.299, 0.587, 0.114, and print a verdict.

    ``x`` is (B, 3, H, W) float, the result (B, 3, H, W) with three equal channels.
    Difficulty 1 of 5, 4 minutes.
    """
    report(diagnose_grayscale(to_gray))


# --- two views ----------------------------------------------------------------------------------------------


class _Augment:
    """A random augmentation that remembers what went in, what came out and what was drawn for each image."""

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.draws: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim != 4:
            raise ValueError(f"augment takes a batch of images (B, 3, H, W), got {kind(x)}")
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


def diagnose_two_views(two_views: Function, seed: int = 0) -> Verdict:
    """Judge a two-view function without printing; see ``check_two_views``."""

    def examination() -> str:
        for k, size in enumerate([2, 4, 5]):
            rng = generator(1000 * seed + k)
            _judge_views(two_views, torch.rand(size, 3, whole(rng, 2, 4), whole(rng, 2, 4), generator=rng))
        return "Two views of every image, drawn separately, rows in step."

    return examine("two_views", ("augment", "x"), two_views, examination, seed)


@check
def check_two_views(two_views: Callable[[Callable[[Tensor], Tensor], Tensor], tuple[Tensor, Tensor]]) -> None:
    """Check ``two_views(augment, x)``: two independent views of every image, and print a verdict.

    ``augment`` maps a batch (B, 3, H, W) to a batch and draws afresh for each image at every call; the result
    is ``(v1, v2)``, row k of both from image k. Difficulty 2 of 5, 5 minutes.
    """
    report(diagnose_two_views(two_views))
