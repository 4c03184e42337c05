"""Exercise: the projection head."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simclr_edu.course.exercises.kit import (
    RETURNED_NOTHING,
    ExaminedExercise,
    Function,
    Problem,
    call_or_stop,
    generator,
    kind,
    stop,
    whole,
)
from simclr_edu.course.exercises.pretraining.head_layers import (
    Watched,
    by_its_parameters,
    name_of_activation,
    relu_between,
    watch,
)

Sizes = tuple[int, int, int]


def _read(head: object) -> nn.Module:
    """The module that came back; ends the examination if it is none."""
    if head is None or head is Ellipsis:
        raise Problem(RETURNED_NOTHING, nothing=True)
    if isinstance(head, type):
        stop("It returned a class, not a module. Call the class to make one.")
    if not isinstance(head, nn.Module):
        stop(
            f"It must return one nn.Module, but it returned {kind(head)}. nn.Sequential makes one out of "
            "layers."
        )
        raise AssertionError
    return head


def _judge_layers(seen: Watched, z: Tensor, h: Tensor, sizes: Sizes, asked: str) -> None:
    """Two linear layers, each used once, with the right widths."""
    in_dim, hidden_dim, out_dim = sizes
    layers = seen.layers
    if len(layers) == 0:
        stop(
            "I find no nn.Linear layer that was used, and z is not relu(h W1 + b1) W2 + b2 with two matrices "
            "among the module's own parameters. Layers in a plain Python list are not registered." + asked
        )
    if len(layers) == 1:
        stop("There is one linear layer. SimCLR's head has two, and the non-linear one does better." + asked)
    if layers[0] is layers[1]:
        stop("The same linear layer was used twice. Each of the two has its own weights." + asked)
    if len(layers) > 2:
        stop(f"There are {len(layers)} linear layers. This head has two." + asked)
    widths = [(layer.in_features, layer.out_features) for layer in layers]
    if widths != [(in_dim, hidden_dim), (hidden_dim, out_dim)]:
        stop(f"The two layers are {widths[0]} and {widths[1]} wide; check which width goes where." + asked)
    if z.shape != (len(h), out_dim):
        stop(f"z should have shape {(len(h), out_dim)}, but has {tuple(z.shape)}." + asked)


def _judge_between(seen: Watched, z: Tensor, h: Tensor, asked: str) -> None:
    """h goes into the first layer, a ReLU stands between the two, z comes out of the second."""
    before, between = seen.outputs[0], seen.inputs[1]
    if torch.equal(seen.inputs[0], h.relu()):
        stop("The ReLU comes before the first layer. It belongs between the two." + asked)
    if not torch.allclose(seen.inputs[0], h):
        stop("What reaches the first layer is not h as it came: h is to go straight into it." + asked)
    if bool((z >= 0).all()):
        stop(
            "z is never negative: there is a ReLU (or softmax) after the last layer, so z fills one corner "
            "of the sphere." + asked
        )
    if torch.equal(before, between):
        stop("There is nothing between the two layers: two linear maps in a row are one linear map." + asked)
    if not relu_between(seen):
        found = name_of_activation(seen)
        if found:
            stop(f"The non-linearity between the two layers is {found}, not ReLU." + asked)
        if bool((between < 0).any()):
            stop(
                "What reaches the second layer has negative entries, so there is no ReLU between the two."
                + asked
            )
        stop("What reaches the second layer is not the ReLU of the first layer's output." + asked)
    ends = (seen.outputs[1], F.normalize(seen.outputs[1], dim=1), *seen.norms_after())  # as losses want it
    if not any(torch.allclose(z, end, atol=1e-6) for end in ends):
        stop("z is not what the second layer gives: something comes after it. Nothing should." + asked)


def _judge_training(head: nn.Module, used: Iterator[tuple[str, nn.Parameter]], h: Tensor, asked: str) -> None:
    """Everything can be trained: no parameter is frozen, and the gradient reaches each, and h."""
    named = list(used)
    if frozen := [name for name, p in named if not p.requires_grad]:
        stop(f"The parameter {frozen[0]} is frozen (requires_grad is False): nothing would train it." + asked)
    h = h.clone().requires_grad_()
    z = head(h)
    if not z.requires_grad:
        stop("z has no gradient: the forward pass detaches it, or runs under no_grad." + asked)
    gradients = torch.autograd.grad(z.square().sum(), [h, *(p for _, p in named)], allow_unused=True)
    for name, gradient in zip(["h", *(name for name, _ in named)], gradients, strict=True):
        if gradient is None:
            stop(f"The gradient does not reach {name}: forward detaches it, or makes no use of it." + asked)


def _judge_head(make: Function, sizes: Sizes, h: Tensor) -> None:
    in_dim, hidden_dim, out_dim = sizes
    asked = f"\n  Failing case: in_dim = {in_dim}, hidden_dim = {hidden_dim}, out_dim = {out_dim}."
    head = _read(call_or_stop(make, sizes, ("in_dim", "hidden_dim", "out_dim"), ours=()))
    z, seen = watch(head, h)
    if z is None or z is Ellipsis:
        raise Problem("The module's forward returned nothing (None). Is the return missing?", nothing=True)
    if not isinstance(z, Tensor):
        stop(f"The module must map h to one tensor z, but it returned {kind(z)}." + asked)
    parameters = list(head.named_parameters())
    if not parameters:
        stop(
            "The module has no parameters, so nothing would train. Layers in a plain Python list are not "
            "registered." + asked
        )
    if len(seen.layers) < 2 and by_its_parameters(head, h, z, sizes):
        _judge_training(head, iter(parameters), h, asked)
        return
    _judge_layers(seen, z, h, sizes, asked)
    _judge_between(seen, z, h, asked)
    own = {id(p) for layer in seen.layers for p in layer.parameters()}
    _judge_training(head, ((n, p) for n, p in parameters if id(p) in own), h, asked)


def _examine(answer: Function, seed: int) -> str:
    for k in range(3):
        rng = generator(1000 * seed + k)
        in_dim = whole(rng, 4, 7)
        sizes = (in_dim, in_dim + whole(rng, 4, 7), 16 + k)
        _judge_head(answer, sizes, torch.randn(24, in_dim, generator=rng))
    return "Two linear layers, a ReLU between them, the right widths, and all of it can be trained."


PROJECTION_HEAD = ExaminedExercise(
    name="projection_head",
    parameters=("in_dim", "hidden_dim", "out_dim"),
    asks="``make(in_dim, hidden_dim, out_dim)``: two linear layers, a ReLU between",
    details=(
        "A class whose constructor takes the three widths will do as well, weights may be parameters of "
        "its own, and BatchNorm after the first layer is allowed, before or after the ReLU. It maps h (B, "
        "in_dim) to z (B, out_dim) (Chen et al. 2020, section 4.2)."
    ),
    difficulty=2,
    minutes=5,
    examination=_examine,
)
