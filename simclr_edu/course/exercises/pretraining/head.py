"""Exercise: the projection head."""

from typing import Any

import torch
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


def _watch_layers(head: nn.Module, h: Tensor) -> tuple[Any, list[nn.Linear], list[Tensor], list[Tensor]]:
    """Output of the head, its Linear layers in the order of use, and the input and output of each."""
    layers: list[nn.Linear] = []
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        layers.append(layer)
        inputs.append(given[0].detach().clone())
        outputs.append(result.detach().clone())  # cloned: an in-place ReLU would overwrite it

    handles = [m.register_forward_hook(note) for m in head.modules() if isinstance(m, nn.Linear)]
    try:
        z = head(h)
    finally:
        for handle in handles:
            handle.remove()
    return z, layers, inputs, outputs


def _judge_head(make: Function, sizes: tuple[int, int, int], h: Tensor) -> None:
    in_dim, hidden_dim, out_dim = sizes
    asked = f"\n  Failing case: in_dim = {in_dim}, hidden_dim = {hidden_dim}, out_dim = {out_dim}."
    head = call_or_stop(make, sizes, ("in_dim", "hidden_dim", "out_dim"), ours=())
    if head is None or head is Ellipsis:
        raise Problem(RETURNED_NOTHING, nothing=True)
    if isinstance(head, type):
        stop("It returned a class, not a module. Call the class to make one.")
    if not isinstance(head, nn.Module):
        stop(
            f"It must return one nn.Module, but it returned {kind(head)}. nn.Sequential makes one out of "
            "layers."
        )
    z, layers, inputs, outputs = _watch_layers(head, h)
    if z is None or z is Ellipsis:
        raise Problem("The module's forward returned nothing (None). Is the return missing?", nothing=True)
    if not isinstance(z, Tensor):
        stop(f"The module must map h to one tensor z, but it returned {kind(z)}.")
    if not any(True for _ in head.parameters()):
        stop(
            "The module has no parameters, so nothing would train. Layers in a plain Python list are not "
            "registered."
        )
    if len(layers) == 0:
        stop("I find no nn.Linear layer that was used.")
    if len(layers) == 1:
        stop("There is only one linear layer. SimCLR's head has two, and the non-linear one does better.")
    if layers[0] is layers[1]:
        stop("The same linear layer was used twice. Each of the two has its own weights.")
    if len(layers) > 2:
        stop(f"There are {len(layers)} linear layers. This head has two.")
    widths = [(layer.in_features, layer.out_features) for layer in layers]
    if widths != [(in_dim, hidden_dim), (hidden_dim, out_dim)]:
        stop(f"The two layers are {widths[0]} and {widths[1]} wide; check which width goes where." + asked)
    if z.shape != (len(h), out_dim):
        stop(f"z should have shape {(len(h), out_dim)}, but has {tuple(z.shape)}." + asked)
    before, between_layers = outputs[0], inputs[1]
    if torch.equal(inputs[0], h.relu()):
        stop("The ReLU comes before the first layer. It belongs between the two.")
    if bool((z >= 0).all()):
        stop(
            "z is never negative: there is a ReLU (or softmax) after the last layer, so z fills one corner "
            "of the sphere."
        )
    if torch.equal(before, between_layers):
        stop("There is nothing between the two layers: two linear maps in a row are one linear map.")
    if bool((between_layers < 0).any()):
        stop("What reaches the second layer has negative entries, so there is no ReLU between the two.")
    if not bool((between_layers == 0).any()):
        stop("What reaches the second layer is never exactly 0: that is another non-linearity, not ReLU.")


def _examine(answer: Function, seed: int) -> str:
    for k in range(3):
        rng = generator(1000 * seed + k)
        in_dim = whole(rng, 4, 7)
        sizes = (in_dim, in_dim + whole(rng, 4, 7), 16 + k)
        _judge_head(answer, sizes, torch.randn(12, in_dim, generator=rng))
    return "Two linear layers, a ReLU between them, the right widths."


PROJECTION_HEAD = ExaminedExercise(
    name="projection_head",
    parameters=("in_dim", "hidden_dim", "out_dim"),
    asks="``make(in_dim, hidden_dim, out_dim)``: two linear layers, a ReLU between",
    details=(
        "A class whose constructor takes the three widths will do as well, and BatchNorm after the first "
        "layer is allowed. It maps h (B, in_dim) to z (B, out_dim) (Chen et al. 2020, section 4.2)."
    ),
    difficulty=2,
    minutes=5,
    examination=_examine,
)
