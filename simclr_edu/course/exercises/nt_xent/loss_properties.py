"""What holds of NT-Xent whatever the embeddings, and the sentence on a loss for which it does not hold."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from simclr_edu.course.exercises.kit import Function, generator

_T = 0.5


def _value(f: Function, z1: Tensor, z2: Tensor, temperature: float = _T) -> float:
    return float(f(z1.clone(), z2.clone(), temperature))


def _views() -> tuple[Tensor, Tensor]:
    z1, z2 = torch.randn(2, 4, 6, generator=generator(41))  # (4, 6) each
    return z1, 0.5 * z1 + z2


def _changed(before: float, after: float) -> bool:
    return not abs(after - before) <= 1e-3 * max(1.0, abs(before))


def depends_on_length(f: Function) -> str | None:
    z1, z2 = _views()
    before, after = _value(f, z1, z2), _value(f, 3 * z1, z2)
    if _changed(before, after):
        return (
            "The loss changes with the length of the embeddings: with z1 three times as long it goes from "
            f"{before:.4g} to {after:.4g}. Cosines do not: is each row divided by its own l2 length?"
        )
    return None


def depends_on_direction(f: Function) -> str | None:
    z1, z2 = _views()
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator(42))).Q
    before, after = _value(f, z1, z2), _value(f, z1 @ turn, z2 @ turn)
    if _changed(before, after):
        return (
            "The loss changes when all embeddings are turned together (a rotation of the space): from "
            f"{before:.4g} to {after:.4g}. Dot products of rows of l2 length 1 stay the same: is something "
            "else compared, or another norm taken?"
        )
    return None


def depends_on_order(f: Function) -> str | None:
    z1, z2 = _views()
    before, after = _value(f, z1, z2), _value(f, z1.roll(1, 0), z2.roll(1, 0))
    if _changed(before, after):
        return (
            f"The loss changes when the pairs are put in another order: from {before:.4g} to {after:.4g}. "
            "Every pair counts in the same way."
        )
    return None


def depends_on_sides(f: Function) -> str | None:
    z1, z2 = _views()
    before, after = _value(f, z1, z2), _value(f, z2, z1)
    if _changed(before, after):
        return (
            f"The loss changes when z1 and z2 change places: from {before:.4g} to {after:.4g}. Both views "
            "act as anchors, in the same way."
        )
    return None


def wrong_when_all_are_equal(f: Function) -> str | None:
    z = torch.ones(3, 6)
    got = _value(f, z, z)
    wanted = math.log(5)
    if not _changed(wanted, got):
        return None
    sentence = (
        "With all embeddings equal each of the 2N - 1 candidates has the same chance, so three pairs give "
        f"ln 5 = {wanted:.4g}; yours is {got:.4g}."
    )
    for count, why in (
        (6, "the anchor itself is among the candidates"),
        (4, "the positive is not among the candidates"),
        (3, "only one view's embeddings are candidates"),
    ):
        if abs(got - math.log(count)) < 1e-3:
            return f"{sentence} That is ln {count}: {why}."
    return f"{sentence} That is {got / wanted:.4g} times as much."


def another_temperature(f: Function) -> str | None:
    """Both views equal, two orthogonal pairs: the loss is ln(1 + 2 exp(-1 / temperature))."""
    z = torch.eye(2, 6)
    acts = {}
    for given in (0.3, 0.7):
        odds = (math.exp(_value(f, z, z, given)) - 1) / 2
        acts[given] = -1 / math.log(odds) if 0 < odds < 1 else math.nan
    if all(abs(acts[given] - given) < 1e-2 * given for given in acts):
        return None
    shown = ", ".join(
        f"at temperature {given:g} it is that of {acts[given]:.4g}"
        if math.isfinite(acts[given])
        else f"at temperature {given:g} it is that of no temperature"
        for given in acts
    )
    return (
        "With both views equal and pictures orthogonal the loss is ln(1 + 2(N - 1) exp(-1 / temperature)). "
        f"For yours, two pairs: {shown}."
    )


def not_the_mean(f: Function) -> str | None:
    z1, z2 = _views()
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (8, 6)
    logits = (z @ z.T / _T).fill_diagonal_(-torch.inf)
    terms = F.cross_entropy(logits, torch.arange(8).roll(4), reduction="none")  # (8,)
    got = _value(f, z1, z2)
    for what, value in (
        ("the largest", terms.max()),
        ("the smallest", terms.min()),
        ("the median", terms.median()),
        ("the first", terms[0]),
        ("the last", terms[-1]),
    ):
        if abs(got - float(value)) < 1e-3:
            return f"That is {what} of the 2N anchors' terms, not their mean."
    return None


PROPERTIES = (
    not_the_mean,
    depends_on_length,
    depends_on_direction,
    depends_on_order,
    depends_on_sides,
    wrong_when_all_are_equal,
    another_temperature,
)
