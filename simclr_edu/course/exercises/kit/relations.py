"""How a wrong result is related to the right one, whatever the exercise: a factor, an order, a few places."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit.verdict import Arguments

Pair = tuple[Tensor, Tensor]  # what came back and what was wanted, of one shape, float64
_SOMETHING_ELSE: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    ("the exponential", torch.exp),
    ("the logarithm", torch.log),
    ("the square", torch.square),
    ("the square root", torch.sqrt),
    ("the reciprocal", torch.reciprocal),
    ("the absolute value", torch.abs),
    ("1 minus the value", lambda w: 1 - w),
)


def _near(got: Tensor, wanted: Tensor) -> bool:
    return bool(torch.isclose(got, wanted, 1e-3, 1e-4, equal_nan=True).all())


def _one_number(numbers: Sequence[Tensor]) -> float | None:
    """The number that all these entries are, if they are one and finite."""
    entries = torch.cat([n.flatten() for n in numbers])
    if not len(entries) or not entries.isfinite().all():
        return None
    middle = entries.median()
    return float(middle) if bool(torch.isclose(entries, middle, 2e-3, 1e-5).all()) else None


def _by_a_number(pairs: Sequence[Pair], where: str) -> str | None:
    """A factor or an offset, the same in all cases or one for each."""
    if sum(g.numel() for g, _ in pairs) < 2:
        return None
    large = [w.abs() > 1e-3 for _, w in pairs]
    factors = [g[at] / w[at] for (g, w), at in zip(pairs, large, strict=True)]
    if not all(_near(g[~at], w[~at]) for (g, w), at in zip(pairs, large, strict=True)):
        factors = []
    if factors and (factor := _one_number(factors)) is not None:
        return (
            f"The sign is wrong: every value is minus what it should be, {where}."
            if abs(factor + 1) < 1e-3
            else f"Every value is {factor:.4g} times what it should be, {where}."
        )
    if (offset := _one_number([g - w for g, w in pairs])) is not None:
        size = "too large" if offset > 0 else "too small"
        return f"Every value is {abs(offset):.4g} {size}, {where}."
    several = [f for f in factors if len(f) > 1]
    each = [_one_number([f]) for f in several]
    if each and None not in each:
        shown = ", ".join(f"{n:.4g}" for n in each[:3])
        return (
            f"In each case all values are off by one factor, which changes from case to case: {shown}, ... "
            "On which argument or size does it depend?"
        )
    return None


def _in_another_order(got: Tensor, wanted: Tensor) -> str | None:
    if wanted.ndim == 2 and wanted.shape[0] == wanted.shape[1] and _near(got, wanted.T):
        return "The result is transposed: rows and columns have changed places."
    for k in range(wanted.ndim):
        if wanted.shape[k] > 1 and _near(got, wanted.flip(k)):
            return f"The right values stand in reversed order along dimension {k}."
    if wanted.numel() > 1 and _near(got.flatten().sort().values, wanted.flatten().sort().values):
        return "All the right values are there, but in other places."
    return None


def related(pairs: Sequence[tuple[Tensor, Tensor]], *, all_of_them: bool) -> str | None:
    """A sentence on how the results of the failing cases are related to the right ones, if simply.

    Args:
        pairs: what came back and what was wanted, case by case.
        all_of_them: whether every case fails.
    """
    exact = [(g.detach().cpu().double(), w.detach().cpu().double()) for g, w in pairs]
    if not exact or any(g.shape != w.shape for g, w in exact):
        return None
    if len(exact) > 1 and all(g.shape == exact[0][0].shape and _near(g, exact[0][0]) for g, _ in exact):
        return "The result is the same in every case, whatever goes in."
    if all(g.numel() > 1 and bool((g == g.flatten()[0]).all()) for g, _ in exact):
        return "All entries of the result are equal."
    where = "in every case" if all_of_them else "in every case that fails"
    if found := _by_a_number(exact, where):
        return found
    for what, function in _SOMETHING_ELSE:
        if all(_near(g, function(w)) for g, w in exact):
            return f"That is {what} of what it should be."
    orders = {_in_another_order(g, w) for g, w in exact if not _near(g, w)}
    return orders.pop() if len(orders) == 1 else None


def how_many(got: Tensor, wanted: Tensor) -> str:
    """The sentence on how many entries of one case are wrong."""
    wrong = ~torch.isclose(got.detach().cpu().double(), wanted.detach().cpu().double(), 1e-3, 1e-4)
    if wrong.numel() < 2 or wrong.all():
        return "The values differ."
    rows = wrong.flatten(1).any(1) if wrong.ndim > 1 else wrong
    if wrong.ndim > 1 and int(rows.sum()) == 1:
        return f"The values differ in row {int(rows.nonzero()[0])} only."
    return f"The values differ: {int(wrong.sum())} of {wrong.numel()} are wrong."


def where_right(names: Sequence[str], cases: Sequence[Arguments], right: Sequence[bool]) -> str:
    """A sentence on which inputs give a right result, if one number tells them apart; '' otherwise."""
    if all(right) or not any(right):
        return ""
    measured = [_measures(names, case) for case in cases]
    for k, (name, _) in enumerate(measured[0]):
        good = [m[k][1] for m, fine in zip(measured, right, strict=True) if fine]
        bad = [m[k][1] for m, fine in zip(measured, right, strict=True) if not fine]
        if max(good) < min(bad):
            return f" It is right where {name} is at most {max(good):.4g}, wrong from {min(bad):.4g} on."
        if min(good) > max(bad):
            return f" It is right where {name} is at least {min(good):.4g}, wrong up to {max(bad):.4g}."
    return ""


def _measures(names: Sequence[str], case: Arguments) -> list[tuple[str, float]]:
    """Numbers among the inputs of a case, the lengths of its tensors, and their largest entries."""
    found: list[tuple[str, float]] = []
    for name, value in zip(names, case, strict=True):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((name, value))
    for name, value in zip(names, case, strict=True):
        if isinstance(value, Tensor) and value.ndim:
            found += [(f"the length of {name}", len(value))]
            if value.is_floating_point():
                found += [(f"the largest entry of {name}", float(value.abs().max()))]
    return found
