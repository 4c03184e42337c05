"""Comparing with the oracle, and showing the difference."""

from collections.abc import Sequence

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit.verdict import MOST_VALUES, Arguments

VALUES_DIFFER = "The values differ."
NOT_FINITE = "The result holds"


def agree(got: Tensor, wanted: Tensor, rtol: float, atol: float) -> bool:
    """True if shape, kind of number and every value agree; NaN agrees with NaN."""
    if got.shape != wanted.shape or got.is_floating_point() != wanted.is_floating_point():
        return False
    if not got.is_floating_point():
        return got.dtype == wanted.dtype and torch.equal(got, wanted)
    return bool(_close(got, wanted, rtol, atol).all())


def _close(got: Tensor, wanted: Tensor, rtol: float, atol: float) -> Tensor:
    return torch.isclose(
        got.detach().cpu().double(), wanted.detach().cpu().double(), rtol, atol, equal_nan=True
    )


def same_numbers(got: Tensor, wanted: Tensor) -> bool:
    """True if the numbers agree exactly, whatever their dtypes."""
    return got.shape == wanted.shape and torch.equal(got.detach().cpu().double(), wanted.cpu().double())


def show(value: object) -> str:
    """Write a number, or a small tensor, in full; a large tensor as its shape."""
    if isinstance(value, Tensor):
        if value.numel() > MOST_VALUES:
            return f"{tuple(value.shape)}"
        return _show_list(value.detach().cpu().tolist())
    if isinstance(value, tuple):
        return "(" + ", ".join(show(v) for v in value) + ")"
    return _show_list(value)


def _show_list(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_show_list(v) for v in value) + "]"
    if isinstance(value, float):  # as float32, in which 1e-82 is 0
        return f"{torch.tensor(value, dtype=torch.float32).item():.4g}"
    return str(value)


def show_arguments(names: Sequence[str], arguments: Arguments) -> str:
    """Write the inputs of a case: values when small, shapes when large."""
    parts = []
    for name, value in zip(names, arguments, strict=True):
        large = isinstance(value, Tensor) and value.numel() > MOST_VALUES
        parts.append(f"{name} {show(value)}" if large else f"{name} = {show(value)}")
    return ", ".join(parts)


def difference(got: Tensor, wanted: Tensor) -> str:
    """Say in one sentence how two tensors differ: in shape, dtype, NaN or values."""
    if got.shape != wanted.shape:
        return f"The shape should be {tuple(wanted.shape)}, but is {tuple(got.shape)}."
    if wanted.is_floating_point() and not got.is_floating_point():
        return f"The dtype should be floating point, but is {got.dtype}."
    if not wanted.is_floating_point() and got.dtype != wanted.dtype:
        cause = "The dtype is the problem, not the numbers: the" if same_numbers(got, wanted) else "The"
        return f"{cause} dtype should be {wanted.dtype}, but is {got.dtype}."
    if got.is_floating_point() and not got.isfinite().all() and wanted.isfinite().all():
        what = "NaN" if got.isnan().any() else "infinity"
        return f"{NOT_FINITE} {what}, where every value should be finite."
    return VALUES_DIFFER


def expected_and_got(got: Tensor, wanted: Tensor, rtol: float, atol: float) -> str:
    """Write expected and got values: all of a small tensor, the first that differs of a large one."""
    if got.shape != wanted.shape:
        return f"expected shape {tuple(wanted.shape)}, got {tuple(got.shape)}"
    if got.numel() <= MOST_VALUES:
        return f"expected {show(wanted)}, got {show(got)}"
    wrong = torch.nonzero(~_close(got, wanted, rtol, atol))
    place = tuple(wrong[0].tolist()) if len(wrong) else (0,) * got.ndim
    where = ", ".join(map(str, place))
    return f"at [{where}] expected {show(wanted[place])}, got {show(got[place])}"
