"""Exercises of notebook 06: freeze the encoder, extract features, draw a subset of the labels."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from simclr_edu.exercises._harness import (
    Arguments,
    Exercise,
    Function,
    Mistake,
    Problem,
    Verdict,
    call_or_stop,
    check,
    examine,
    generator,
    read_tensor,
    report,
    show,
    stop,
    unwritten,
    whole,
)
from simclr_edu.exercises._reading import has_blank

# --- freeze -------------------------------------------------------------------------------------------------


class _Scaled(nn.Module):
    """A module with a parameter of its own and a child with BatchNorm and dropout inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.inner = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.Dropout(0.2))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x * self.scale)


def _encoder_to_freeze(seed: int, width: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), _Scaled(4 * width)
        )


def _observe_freeze(freeze: Function, inputs: Arguments) -> Tensor:
    """After freezing: values kept, two tell-tales, requires_grad of each parameter, mode of each module."""
    encoder = _encoder_to_freeze(*inputs)
    before = copy.deepcopy(encoder.state_dict())
    returned = freeze(encoder)
    kept = all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())
    flags = [
        not kept,
        "requires_grad" in vars(encoder),  # an attribute of the module that PyTorch takes no notice of
        isinstance(returned, nn.Module) and returned is not encoder,
        *(p.requires_grad for p in encoder.parameters()),
        *(m.training for m in encoder.modules()),
    ]
    return torch.tensor(flags, dtype=torch.float64)


def _freeze(encoder: nn.Module) -> None:
    for p in encoder.parameters():
        p.requires_grad = False
    for m in encoder.modules():
        m.training = False


def _freeze_some(
    parameter: Callable[[str], bool], module: Callable[[nn.Module], bool], *, direct: bool = False
) -> Function:
    """Freeze the parameters and set to evaluation the modules that are picked."""

    def freeze(encoder: nn.Module) -> None:
        for name, p in encoder.named_parameters(recurse=not direct):
            p.requires_grad = not parameter(name)
        for m in encoder.modules():
            m.training = not module(m)

    return freeze


def _by_layer(kinds: tuple[type, ...], module: Callable[[nn.Module], bool]) -> Function:
    """Freeze only the parameters of layers of these kinds."""

    def freeze(encoder: nn.Module) -> None:
        for m in encoder.modules():
            m.training = not module(m)
            if isinstance(m, kinds):
                for p in m.parameters(recurse=False):
                    p.requires_grad = False

    return freeze


def _attribute(evaluate: bool) -> Function:
    def freeze(encoder: nn.Module) -> None:
        encoder.requires_grad = False  # type: ignore[assignment]
        if evaluate:
            encoder.eval()

    return freeze


def _on_a_copy(encoder: nn.Module) -> nn.Module:
    frozen = copy.deepcopy(encoder)
    _freeze(frozen)
    return frozen


def _first_layers(count: int, *, from_end: bool) -> Function:
    def freeze(encoder: nn.Module) -> None:
        encoder.eval()
        layers = list(encoder.children())
        for layer in layers[-count:] if from_end else layers[:count]:
            layer.requires_grad_(False)

    return freeze


def _yes(_: object) -> bool:
    return True


def _no(_: object) -> bool:
    return False


_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _explain_freeze(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    encoder = _encoder_to_freeze(*inputs)
    names = [name for name, _ in encoder.named_parameters()]
    flags = got.bool().tolist()
    modules = [name or "the encoder itself" for name, _ in encoder.named_modules()]
    if flags[0]:
        return "The encoder's weights or statistics were changed. Freezing keeps every value."
    parts = []
    if trainable := [n for n, flag in zip(names, flags[3 : 3 + len(names)], strict=True) if flag]:
        parts.append(
            f"{len(trainable)} of {len(names)} parameters can still be trained, the first is {trainable[0]}."
        )
    if training := [n for n, flag in zip(modules, flags[3 + len(names) :], strict=True) if flag]:
        parts.append(
            f"{len(training)} of {len(modules)} modules are still in train mode, the first is {training[0]}."
        )
    return (
        " ".join(parts)
        or "The encoder is frozen, but it was also marked in a way that has no effect: leave that out."
    )


FREEZE = Exercise(
    name="freeze",
    parameters=("encoder",),
    cases=lambda seed: [(1000 * seed + k, 2 + k) for k in range(2)],
    oracles=(_freeze,),
    run=_observe_freeze,
    inputs=("seed", "width"),
    explain=_explain_freeze,
    place=lambda inputs, got, wanted: "",
    mistakes=(
        Mistake(
            "The weights are frozen, but the encoder is still in train mode: BatchNorm statistics would "
            "move with every batch, and dropout would stay on.",
            (_freeze_some(_yes, _no),),
        ),
        Mistake(
            "The encoder is in evaluation mode, but its parameters still require gradients: an optimizer "
            "could train them.",
            (_freeze_some(_no, _yes),),
        ),
        Mistake(
            "A module takes no notice of an attribute requires_grad. It is each parameter that has one.",
            (_attribute(True), _attribute(False)),
        ),
        Mistake("A copy was frozen. The encoder that was passed in is as before.", (_on_a_copy,)),
        Mistake(
            "Nothing happened to the encoder: its parameters require gradients and it is in train mode.",
            (_freeze_some(_no, _no),),
        ),
        Mistake(
            "The biases can still be trained: only what is called weight was frozen.",
            (
                _freeze_some(lambda n: n.endswith("weight"), _yes),
                _freeze_some(lambda n: "weight" in n or "scale" in n, _yes),
                _freeze_some(lambda n: n.endswith("weight"), _no),
            ),
        ),
        Mistake(
            "The weight and bias of BatchNorm, or another parameter outside convolutions and linear "
            "layers, can still be trained.",
            (
                _by_layer((nn.Conv2d, nn.Linear), _yes),
                _by_layer((nn.Conv2d, nn.Linear, _Scaled), _yes),
                _by_layer((nn.Conv2d, nn.Linear), _no),
            ),
        ),
        Mistake(
            "Only BatchNorm is in evaluation mode. Dropout, and every other module, must be too.",
            (
                _freeze_some(_yes, lambda m: isinstance(m, _NORMS)),
                _freeze_some(_yes, lambda m: isinstance(m, nn.BatchNorm2d)),
            ),
        ),
        Mistake(
            "Only BatchNorm was frozen; the other layers can still be trained.",
            (
                _by_layer(_NORMS, lambda m: isinstance(m, _NORMS)),
                _by_layer(_NORMS, _yes),
                _by_layer(_NORMS, _no),
            ),
        ),
        Mistake(
            "Only a part of the encoder was frozen. Every layer has to be.",
            tuple(_first_layers(count, from_end=end) for count in (1, 2, 3, 4) for end in (False, True)),
        ),
        Mistake(
            "The switch went only to the outermost module: the layers inside are still in train mode.",
            (_freeze_some(_yes, lambda m: isinstance(m, nn.Sequential) and len(m) == 5),),
        ),
    ),
)


def diagnose_freeze(freeze: Function, seed: int = 0) -> Verdict:
    """Judge a freezing function without printing; see ``check_freeze``."""
    verdict = FREEZE.diagnose(freeze, seed)
    # Here returning nothing is right, so only the `...` in the source tells a stub from an attempt.
    if verdict.passed is False and verdict.diagnosis.startswith("Nothing happened") and has_blank(freeze):
        return Verdict(FREEZE.name, *unwritten(freeze))
    return verdict


@check
def check_freeze(freeze: Callable[[nn.Module], None]) -> None:
    """Check ``freeze(encoder)``: no parameter requires a gradient, every module evaluates; print a verdict.

    The encoder is changed in place and keeps its weights. Difficulty 1 of 5, 3 minutes.
    """
    report(diagnose_freeze(freeze))


# --- features -----------------------------------------------------------------------------------------------


class _FeatureEncoder(nn.Module):
    """Images in [0, 1] (B, 3, 6, 6) to features (B, width), with BatchNorm; notes its batch sizes."""

    def __init__(self, seed: int, width: int) -> None:
        super().__init__()
        rng = generator(seed)
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.batches: list[int] = []
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=rng) * 0.5)
            # Statistics unlike those of any batch, so that train mode shows.
            self.norm.running_mean = torch.randn(width, generator=rng)
            self.norm.running_var = 1 + 2 * torch.rand(width, generator=rng)

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
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
    return cases


def _extract(extract: Function, inputs: Arguments) -> Tensor:
    """Shape of the features, whether a batch was too large, the features, the encoder's state afterwards."""
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
    too_large = float(max(encoder.batches, default=0) > batch_size)
    state = [t.detach().double().flatten() for t in encoder.state_dict().values()]
    head = torch.tensor([len(features), features.shape[1], too_large], dtype=torch.float64)
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
        batches = list(x.split(batch_size))
        if slips.get("batches", "").startswith("full") and len(batches[-1]) < batch_size:
            batches = batches[:-1] or batches[: slips["batches"] == "full, or the only one"]
        if slips.get("batches") == "one":
            batches = [x]
        with torch.no_grad():
            features = [encoder(b) for b in batches]  # each (batch_size, D)
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
    count = 3 + right[0] * right[1]
    features, answers = got[3:count].view(right), wanted[3:count].view(right)  # (N, D)
    equal = torch.isclose(features[:, None], answers[None], atol=1e-4).all(2)  # (N, N)
    wrong = [i for i in range(len(equal)) if not equal[i, i]]
    if wrong and equal.any(1).all():
        return f"{len(wrong)} of {right[0]} rows are those of another image: the order was lost."
    if wrong:
        i = wrong[0]
        return f"In row {i} the values differ: expected {show(answers[i])}, got {show(features[i])}."
    if not torch.allclose(got[count:], wanted[count:]):
        return "The features are as expected, but the encoder's weights or statistics were changed."
    return "The features are as expected, but more than batch_size images went through the encoder at once."


def _place_images(inputs: Arguments, got: Tensor | None, wanted: Tensor) -> str:
    return f"Smallest failing case: images {tuple(inputs[1].shape)}, batch_size = {inputs[2]}"


EXTRACT_FEATURES = Exercise(
    name="extract_features",
    parameters=("encoder", "images", "batch_size"),
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
            "The features were normalised. The probe gets h as it is.", (_extract_with(output="normalised"),)
        ),
    ),
)


def diagnose_extract_features(f: Function, seed: int = 0) -> Verdict:
    """Judge a feature extraction without printing; see ``check_extract_features``."""
    return EXTRACT_FEATURES.diagnose(f, seed)


@check
def check_extract_features(f: Callable[[nn.Module, Tensor, int], Tensor]) -> None:
    """Check ``f(encoder, images, batch_size)``: features of all images, in order, and print a verdict.

    ``images`` (N, 3, H, W) uint8; the encoder wants floats in [0, 1], may come in train mode, and must keep
    its weights and statistics; the result is (N, D) float without gradient. Difficulty 2 of 5, 8 minutes.
    """
    report(diagnose_extract_features(f))


# --- label subset -------------------------------------------------------------------------------------------


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
    if len(indices.unique()) < len(indices):
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


def diagnose_label_subset(f: Function, seed: int = 0) -> Verdict:
    """Judge a draw of labels without printing; see ``check_label_subset``."""

    def examination() -> str:
        for k in range(2):
            rng = generator(1000 * seed + k)
            _judge_subset(f, [20] * 10, 0.1 if k == 0 else 0.25, 1000 * seed + k)
            rare = whole(rng, 2, 4)
            _judge_subset(f, [whole(rng, 150, 200), 60, 30, rare], 0.1, 1000 * seed + k)
            _judge_subset(f, [whole(rng, 30, 40), 25, 8], 1.0, 1000 * seed + k)
        return "Stratified, repeatable from the generator, at least one label per class."

    return examine("label_subset", ("labels", "fraction", "generator"), f, examination, seed)


@check
def check_label_subset(f: Callable[[Tensor, float, torch.Generator], Tensor]) -> None:
    """Check ``f(labels, fraction, generator)``: indices of a stratified part of the labels; print a verdict.

    Of each class ``fraction`` of its images (rounded either way, at least 1), drawn without replacement from
    ``generator``; the result is int64, in any order. Difficulty 3 of 5, 8 minutes.
    """
    report(diagnose_label_subset(f))
