"""Reading what the learner's function returned."""

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit.verdict import RETURNED_NOTHING, Problem


def kind(value: object) -> str:
    """Say in a few words what a value is."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def read_tensor(output: object) -> Tensor:
    """Return the output if it is a tensor; otherwise raise Problem."""
    if output is None or output is Ellipsis:
        raise Problem(RETURNED_NOTHING, nothing=True)
    if not isinstance(output, Tensor):
        raise Problem(f"It must return one torch.Tensor, but it returned {kind(output)}.")
    return output


def read_number(output: object) -> Tensor:
    """Return the output as a scalar tensor if it is a plain number or a tensor; otherwise raise Problem."""
    if isinstance(output, (int, float)) and not isinstance(output, bool):
        return torch.tensor(float(output), dtype=torch.float32)
    return read_tensor(output)


def read_float(output: object) -> Tensor:
    """Return the output as a scalar tensor if it is a plain Python number; otherwise raise Problem."""
    if isinstance(output, Tensor):
        raise Problem(f"It must return a plain float, but it returned {kind(output)}.")
    if output is not None and output is not Ellipsis and not isinstance(output, (int, float)):
        raise Problem(f"It must return a plain float, but it returned {kind(output)}.")
    return read_number(output)
