"""What happens inside a projection head: its layers watched at work, and what stands between them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ACTIVATIONS: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    ("tanh", torch.tanh),
    ("a sigmoid", torch.sigmoid),
    ("GELU", F.gelu),
    ("GELU", lambda x: F.gelu(x, approximate="tanh")),
    ("SiLU", F.silu),
    ("ELU", F.elu),
    ("a leaky ReLU", F.leaky_relu),
    ("softplus", F.softplus),
    ("the absolute value", torch.abs),
    ("a square", torch.square),
    ("the square of a ReLU", lambda x: x.relu().square()),
    ("a ReLU with its sign turned round", lambda x: (-x).relu()),
    ("a softmax", lambda x: x.softmax(1)),
)


@dataclass
class Watched:
    """One pass through a head: the Linear layers in order, the normalisations, what went in and came out."""

    layers: list[nn.Linear] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    norms: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)  # Linear layers before it, in, out

    def norms_after(self) -> list[Tensor]:
        """Outputs of the normalisations after the second layer, as the authors' own head has one."""
        return [out for count, _, out in self.norms if count == 2]


def watch(head: nn.Module, h: Tensor) -> tuple[Any, Watched]:
    """The head's output for h, and what happened inside."""
    seen = Watched()

    def note(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        # Cloned: an in-place ReLU would overwrite it.
        came, went = given[0].detach().clone(), result.detach().clone()
        if isinstance(layer, nn.Linear):
            seen.layers.append(layer)
            seen.inputs.append(came)
            seen.outputs.append(went)
        else:
            seen.norms.append((len(seen.layers), came, went))

    watched = [m for m in head.modules() if isinstance(m, nn.Linear) or "Norm" in type(m).__name__]
    handles = [m.register_forward_hook(note) for m in watched]
    try:
        return head(h), seen
    finally:
        for handle in handles:
            handle.remove()


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def _scaled_columns(x: Tensor, y: Tensor) -> bool:
    """True if each column of y is a scale times that of x, plus a shift: what BatchNorm does."""
    centred, wanted = x - x.mean(0), y - y.mean(0)
    scale = (centred * wanted).sum(0) / centred.square().sum(0).clamp(min=1e-12)
    return _close(centred * scale, wanted)


def relu_between(seen: Watched) -> bool:
    """True if a ReLU, with or without a normalisation before or after it, stands between the two layers."""
    first, between = seen.outputs[0], seen.inputs[1]
    before = [first, *(out for count, _, out in seen.norms if count == 1)]
    if any(_close(x.relu(), between) for x in before):
        return True
    if _scaled_columns(first.relu(), between):
        return True
    if any(
        _close(out, between) and _close(came, first.relu()) for count, came, out in seen.norms if count == 1
    ):
        return True
    mean, spread = first.mean(0), first.var(0, unbiased=False)  # BatchNorm without a module
    return _close(((first - mean) / (spread + 1e-5).sqrt()).relu(), between)


def name_of_activation(seen: Watched) -> str | None:
    """The non-linearity between the two layers, if it is a known one."""
    before = [seen.outputs[0], *(out for count, _, out in seen.norms if count == 1)]
    for name, function in _ACTIVATIONS:
        if any(_close(function(x), seen.inputs[1]) for x in before):
            return name
    return None


def by_its_parameters(head: nn.Module, h: Tensor, z: Tensor, sizes: tuple[int, int, int]) -> bool:
    """True if z is relu(h W1 + b1) W2 + b2 for matrices and vectors among the head's parameters.

    So a head with parameters of its own is known, whichever way round it keeps its weights. BatchNorm, as a
    module, may stand before or after the ReLU.
    """
    wide, out = sizes[1:]
    parameters = [p.detach() for p in head.parameters()]

    def matrices(rows: int, columns: int) -> list[Tensor]:
        turned = [p.T for p in parameters if p.shape == (columns, rows)]
        return [p for p in parameters if p.shape == (rows, columns)] + turned

    def vectors(length: int) -> list[Tensor]:
        return [torch.zeros(length), *(p.flatten() for p in parameters if p.numel() == length)]

    norms = [m for m in head.modules() if isinstance(m, nn.BatchNorm1d) and m.num_features == wide]

    def ways(y: Tensor) -> list[Tensor]:
        found = [y.relu()]
        for m in norms:
            for x, last in ((y, True), (y.relu(), False)):
                n = F.batch_norm(x, None, None, m.weight, m.bias, True, eps=m.eps)
                found.append(n.relu() if last else n)
        return found

    with torch.no_grad():
        return any(
            _close(hidden @ second + b2, z)
            for first, b1 in product(matrices(sizes[0], wide), vectors(wide))
            for hidden in ways(h @ first + b1)
            for second, b2 in product(matrices(wide, out), vectors(out))
        )
