"""Exercise: freeze an encoder, BatchNorm included."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Function,
    Mistake,
)

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class _Scaled(nn.Module):
    """A module with a parameter of its own and a child with BatchNorm and dropout inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.inner = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.Dropout(0.2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x * self.scale)
        return y


def _encoder_to_freeze(seed: int, width: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        encoder = nn.Sequential(
            nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), _Scaled(4 * width)
        )
        for m in encoder.modules():
            if isinstance(m, _NORMS):  # as after training: resetting them must show
                m.running_mean = torch.randn(m.num_features)
                m.running_var = 1 + torch.rand(m.num_features)
        return encoder


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
        encoder.requires_grad = False  # type: ignore[assignment]  # the mistake: no parameter is frozen by it
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


FREEZE = ComparedExercise(
    name="freeze",
    parameters=("encoder",),
    asks="``freeze(encoder)``: no parameter requires a gradient, every module evaluates",
    details="The encoder is changed in place and keeps its weights.",
    difficulty=1,
    minutes=3,
    idle="Nothing happened",
    cases=lambda seed: [(1000 * seed + k, 2 + k) for k in range(2)],
    oracles=(_freeze,),
    run=_observe_freeze,
    inputs=("seed", "width"),
    explain=_explain_freeze,
    place=lambda inputs, got, wanted: (
        "Tested on a small encoder: Conv2d, BatchNorm2d, ReLU, Flatten, and a module with a parameter of its "
        "own and Linear, BatchNorm1d and Dropout inside"
    ),
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
