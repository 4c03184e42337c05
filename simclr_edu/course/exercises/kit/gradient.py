"""Does the gradient flow where it must?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit.calling import call_or_stop, stop
from simclr_edu.course.exercises.kit.compare import agree
from simclr_edu.course.exercises.kit.verdict import Arguments, Function


def _along_sphere(gradient: Tensor, z: Tensor) -> Tensor:
    """The gradient without its part along each row of z, rows of length 1."""
    return gradient - (gradient * z).sum(1, keepdim=True) * z


def gradient_flows(
    function: Function,
    cases: list[Arguments],
    names: Sequence[str],
    oracle: Function,
    *,
    on_sphere: bool = False,
) -> None:
    """Once the values agree: end the examination unless the oracle's gradient reaches every tensor.

    With ``on_sphere`` only the part along the sphere counts, for tensors whose rows have length 1: the other
    part depends on whether they are normalised again, which is free.
    """
    for inputs in cases:
        given, exact = (
            tuple(change(v).requires_grad_() if isinstance(v, Tensor) else v for v in inputs)
            for change in (torch.clone, Tensor.double)
        )
        leaves, answers = ([v for v in values if isinstance(v, Tensor)] for values in (given, exact))
        result = call_or_stop(function, given, names)
        if not isinstance(result, Tensor) or not result.requires_grad:
            stop(
                "The value is right, but no gradient can flow: something detached it (item, float, math, "
                "numpy, detach, no_grad)."
            )
        got = torch.autograd.grad(result, leaves, allow_unused=True)
        wanted = torch.autograd.grad(oracle(*exact), answers)
        tensors = [n for n, v in zip(names, inputs, strict=True) if isinstance(v, Tensor)]
        for name, leaf, g, w in zip(tensors, answers, got, wanted, strict=True):
            if on_sphere and g is not None:
                g, w = (_along_sphere(v.double(), leaf.detach()) for v in (g, w))
            if g is not None and g.isnan().any():
                stop(f"The value is right, but the gradient of {name} holds NaN: is there a root of 0?")
            if g is None or not agree(g, w, 1e-2, 1e-4):
                cause = "does not reach" if g is None else "is wrong for"
                stop(f"The value is right, but the gradient {cause} {name}: part of the graph was detached.")
