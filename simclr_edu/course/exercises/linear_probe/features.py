"""Exercise: extract features in batches, in evaluation mode, without a graph."""

import torch
from torch import Tensor, nn

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Function,
    Mistake,
    Problem,
    generator,
    read_tensor,
    show,
    whole,
)


class _FeatureEncoder(nn.Module):
    """Images in [0, 1] (B, 3, 6, 6) to features (B, width), with BatchNorm; notes its batch sizes."""

    def __init__(self, seed: int, width: int) -> None:
        super().__init__()
        rng = generator(seed)
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.batches: list[int] = []
        self.seen: list[Tensor] = []
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=rng) * 0.5)
            # Statistics unlike those of any batch, so that train mode shows.
            self.norm.running_mean = torch.randn(width, generator=rng)
            self.norm.running_var = 1 + 2 * torch.rand(width, generator=rng)

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        self.seen.append(x.detach().clone())
        return torch.tanh(self.norm(self.conv(x))).mean((2, 3))  # (B, width)


def _feature_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(3):
        rng = generator(1000 * seed + k)
        batch = 4 + k
        count = 2 * batch + whole(rng, 2, 3)  # the last batch is smaller
        images = torch.randint(0, 256, (count, 3, 6, 6), generator=rng, dtype=torch.uint8)
        cases.append((1000 * seed + k, images, batch))
    cases.append((1000 * seed, cases[0][1][:3].clone(), 8))  # one batch, not full
    cases.append((1000 * seed, cases[0][1][:9].clone(), 2))  # many batches, the last of one image
    return cases


def _what_went_in(encoder: _FeatureEncoder, images: Tensor) -> tuple[float, float, float]:
    """Smallest and largest pixel, and 1 if each image that went in is one of images / 255; 2 if none did."""
    if not encoder.seen:
        return 0.0, 0.0, 2.0
    if any(x.shape[1:] != images.shape[1:] for x in encoder.seen):
        return 0.0, 0.0, 0.0
    x, wanted = torch.cat(encoder.seen).float(), images.float() / 255
    known = torch.isclose(x[:, None], wanted[None], atol=1e-5).flatten(2).all(2).any(1)
    return float(x.min()), float(x.max()), float(known.all())


def _extract(extract: Function, inputs: Arguments) -> Tensor:
    """Shape of the features, two tell-tales, the features, the encoder's state afterwards."""
    seed, images, batch_size = inputs
    encoder = _FeatureEncoder(seed, width=4)
    features = read_tensor(extract(encoder, images, batch_size))
    if features.requires_grad:
        raise Problem(
            "The features still hold the graph of the encoder, one per batch: memory fills up. Extract "
            "them without gradients."
        )
    if not features.is_floating_point() or features.ndim != 2:
        raise Problem(
            f"It must return features (N, D), but it returned a tensor {tuple(features.shape)} "
            f"{features.dtype}."
        )
    if features.dtype != (made := next(encoder.parameters()).dtype):
        raise Problem(
            f"The features should stay as the encoder makes them, {made}, but are {features.dtype}."
        )
    largest = max(encoder.batches, default=0)
    too_large = float(largest) if largest > batch_size else 0.0
    state = [t.detach().double().flatten() for t in encoder.state_dict().values()]
    low, high, as_they_are = _what_went_in(encoder, images)
    frozen = float(not all(p.requires_grad for p in encoder.parameters()))
    told = [len(features), features.shape[1], too_large, frozen, as_they_are, low, high]
    head = torch.tensor(told, dtype=torch.float64)
    return torch.cat([head, features.double().flatten(), *state])


def _extract_with(**slips: str) -> Function:
    """Feature extraction with the named slips."""

    def extract(encoder: nn.Module, images: Tensor, batch_size: int) -> Tensor:
        encoder.train(slips.get("mode") == "train")
        scale = {"no": 1.0, "256": 256.0}.get(slips.get("scale", ""), 255.0)
        x = images.float() / scale
        match slips.get("scale"):
            case "centred":
                x = (x - 0.5) * 4
            case "twice":
                x = x / 255
            case "half":
                x = (x - 0.5) * 2
        batches = list(torch.split(x, batch_size))
        if slips.get("batches", "").startswith("full") and len(batches[-1]) < batch_size:
            batches = batches[:-1] or batches[: slips["batches"] == "full, or the only one"]
        if slips.get("batches") == "one":
            batches = [x]
        if slips.get("batches") == "chunk":
            batches = list(x.chunk(batch_size))
        with torch.no_grad():
            features: list[Tensor] = [encoder(b) for b in batches]  # each (batch_size, D)
        match slips.get("output"):
            case "last":
                return features[-1]
            case "first":
                return features[0]
            case "reversed":
                return torch.cat(features[::-1])
            case "flipped":
                return torch.cat(features).flip(0)
        out = torch.cat(features)
        return torch.nn.functional.normalize(out, dim=1) if slips.get("output") == "normalised" else out

    return extract


def _explain_features(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    shape, right = tuple(got[:2].int().tolist()), tuple(wanted[:2].int().tolist())
    if shape != right:
        return f"The features should have shape {right}, but have {shape}: one row per image."
    count = 7 + right[0] * right[1]
    features, answers = got[7:count].view(right), wanted[7:count].view(right)  # (N, D)
    equal = torch.isclose(features[:, None], answers[None], atol=1e-4).all(2)  # (N, N)
    wrong = [i for i in range(len(equal)) if not equal[i, i]]
    if wrong and not got[4]:
        return (
            f"What went into the encoder is not images / 255: its pixels run from {got[5]:.4g} to "
            f"{got[6]:.4g}, where {wanted[5]:.4g} to {wanted[6]:.4g} were due, or they are not in their "
            "places."
        )
    if wrong and equal.any(1).all():
        return f"{len(wrong)} of {right[0]} rows are those of another image: the order was lost."
    if wrong:
        i = wrong[0]
        if got[4] == 2:
            return f"No image went through the encoder: row {i} is {show(features[i])}."
        return (
            f"What went into the encoder is right, what came back is not: in row {i} expected "
            f"{show(answers[i])}, got {show(features[i])}. Was the output changed, or the mode?"
        )
    if not torch.allclose(got[count:], wanted[count:]):
        return "The features are as expected, but the encoder's weights or statistics were changed."
    if got[3]:
        return (
            "The features are as expected, but the caller's encoder is frozen now: its parameters no longer "
            "require gradients. no_grad or inference_mode around the passes is enough."
        )
    return (
        f"The features are as expected, but {int(got[2])} images went through the encoder at once, more than "
        f"batch_size, {inputs[2]}."
    )


def _place_images(inputs: Arguments, got: Tensor | None, wanted: Tensor) -> str:
    return f"Smallest failing case: images {tuple(inputs[1].shape)}, batch_size = {inputs[2]}"


EXTRACT_FEATURES = ComparedExercise(
    name="extract_features",
    parameters=("encoder", "images", "batch_size"),
    asks="``f(encoder, images, batch_size)``: features of all images, in order",
    details=(
        "``images`` (N, 3, H, W) uint8; the encoder wants floats in [0, 1], may come in train mode, and "
        "must keep its weights and statistics; the result is (N, D) float without gradient."
    ),
    difficulty=2,
    minutes=8,
    cases=_feature_cases,
    oracles=(_extract_with(),),
    run=_extract,
    inputs=("seed", "images", "batch_size"),
    explain=_explain_features,
    place=_place_images,
    mistakes=(
        Mistake(
            "The encoder ran in train mode: BatchNorm used the batch's own statistics, and changed the "
            "encoder's.",
            (_extract_with(mode="train"), _extract_with(mode="train", batches="one")),
        ),
        Mistake(
            "The last, smaller batch was dropped. Every image needs its row.",
            (_extract_with(batches="full"), _extract_with(batches="full, or the only one")),
        ),
        Mistake(
            "The pixels were not divided by 255: the encoder wants images in [0, 1].",
            (_extract_with(scale="no"),),
            raises=r"unsigned char|Byte|uint8",
        ),
        Mistake("The pixels were divided by 256. 255 is white, which is 1.", (_extract_with(scale="256"),)),
        Mistake("The pixels were divided by 255 twice.", (_extract_with(scale="twice"),)),
        Mistake(
            "The images were normalised further. This encoder centres its input itself: give it [0, 1].",
            (_extract_with(scale="centred"), _extract_with(scale="half")),
        ),
        Mistake("Only the last batch came back. Collect all of them.", (_extract_with(output="last"),)),
        Mistake("Only the first batch came back. Collect all of them.", (_extract_with(output="first"),)),
        Mistake(
            "The order was lost: the rows come back to front. Row k belongs to image k, or features and "
            "labels part.",
            (_extract_with(output="reversed"), _extract_with(output="flipped")),
        ),
        Mistake(
            "batch_size is ignored: all images went through the encoder at once, which a real data set "
            "would not fit.",
            (_extract_with(batches="one"),),
        ),
        Mistake(
            "chunk(batch_size) makes batch_size batches, however large. split(batch_size) makes batches of "
            "that size.",
            (_extract_with(batches="chunk"),),
        ),
        Mistake(
            "A last batch of one image lost a dimension: squeeze takes away the batch's as well, where it "
            "is 1. "
            "Name the dimensions, or do without.",
            raises=r"zero-dimensional|same number of dimensions|dimension",
            written=r"\bsqueeze\b",
        ),
        Mistake(
            "The features were normalised. The probe gets h as it is.", (_extract_with(output="normalised"),)
        ),
    ),
)
