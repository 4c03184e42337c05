"""Exercise: the whole of NT-Xent."""

import torch
import torch.nn.functional as F
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Function,
    agree,
    between,
    call_or_stop,
    generator,
    gradient_flows,
    read_number,
    stop,
    whole,
)
from simclr_edu.course.exercises.nt_xent.loss_mistakes import LOSS_MISTAKES
from simclr_edu.course.exercises.nt_xent.loss_properties import PROPERTIES


def loss_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k, n in enumerate([2, 3, 4, 5, 7, 1]):  # N = 1 last: an edge, not the case to think about first
        rng = generator(1000 * seed + k)
        d = n + whole(rng, 1, 4)
        scale = between(rng, 0.7, 2.0)
        z1, z2 = (scale * torch.randn(n, d, generator=rng) for _ in range(2))
        temperature = between(rng, 0.06, 0.4) if k % 2 == 0 else between(rng, 1.3, 2.5)
        cases.append((z1, 0.5 * z1 + z2, temperature))
    return cases


def _loss_loop(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Algorithm 1 of Chen et al. 2020, term by term."""
    z = torch.cat([z1, z2])  # (2N, d)
    count = len(z)
    total = z.new_zeros(())
    for i in range(count):
        row = (z * z[i]).sum(1) / (z.square().sum(1) * z[i].square().sum()).sqrt() / temperature  # (2N,)
        others = torch.cat([row[:i], row[i + 1 :]])  # (2N - 1,)
        total = total + torch.logsumexp(others, 0) - row[(i + count // 2) % count]
    return total / count


_ARGUMENTS = ("z1", "z2", "temperature")


def _at_low_temperature(f: Function, seed: int) -> None:
    """Once values and gradients agree: at temperature 0.01, exp(similarity / temperature) overflows."""
    rng = generator(1000 * seed + 20)
    centre = F.normalize(torch.randn(6, generator=rng), dim=0)
    z1, z2 = centre + 0.06 * torch.randn(2, 3, 6, generator=rng)  # (3, 6) each, every cosine above 0.887
    got = read_number(call_or_stop(f, (z1, z2, 0.01), _ARGUMENTS))
    wanted = _loss_loop(z1.double(), z2.double(), 0.01)
    where = (
        "Right at moderate temperatures, but small ones count too: at temperature 0.01 expected "
        f"{float(wanted):.4g}, got {float(got.detach()):.4g}."
    )
    if not got.isfinite():
        stop(
            f"{where} There exp(similarity / temperature) overflows: in float32 exp() is infinity above 88.7."
        )
    if not agree(got, wanted, 1e-2, 1e-3):
        stop(f"{where} Are large logits cut off?")


def _when_the_positive_loses(f: Function, seed: int) -> None:
    """Opposite views: the positive's logit lies 200 below the others: in float32 its probability is 0."""
    rng = generator(1000 * seed + 25)
    centre = F.normalize(torch.randn(6, generator=rng), dim=0)
    z1, z2 = centre + 0.06 * torch.randn(2, 3, 6, generator=rng)  # (3, 6) each
    got = read_number(call_or_stop(f, (z1, -z2, 0.01), _ARGUMENTS))
    wanted = _loss_loop(z1.double(), -z2.double(), 0.01)
    where = (
        "Right where the positive is among the best, but not where it loses: with three pairs of opposite "
        f"views at temperature 0.01 expected {float(wanted):.4g}, got {float(got.detach()):.4g}."
    )
    if not got.isfinite():
        stop(
            f"{where} The positive's probability is 0 in float32 there, and its logarithm minus infinity. "
            "Stay with logarithms: logsumexp, log_softmax or cross_entropy, and no softmax before log."
        )
    if not agree(got, wanted, 1e-2, 1e-3):
        stop(
            f"{where} Was a small number added inside a logarithm, or a probability cut off? That puts a "
            "ceiling on the loss: log(1e-8) is -18.4. Stay with logarithms."
        )


_FINITE_MASK = (
    "The smaller the temperature, the nearer other logits come to it; and -1e9 does not fit into float16, "
    "which ends at 65,504. Minus infinity is safe."
)


def _with_finite_mask(f: Function, seed: int) -> str | None:
    """One opposite pair, its logit below a finite mask: wrong at temperature 0.001, later a remark."""
    z = torch.randn(1, 4, generator=generator(1000 * seed + 30))
    for temperature in (1e-3, 1e-30):
        got = read_number(call_or_stop(f, (z, -z, temperature), _ARGUMENTS))  # log 1 = 0: one candidate
        if got.isfinite() and float(got) > 0.1:
            if temperature == 1e-3:
                stop(
                    "Right at these temperatures, but the diagonal is masked with a finite number that other "
                    "logits pass: with one pair of opposite views at temperature 0.001 expected 0, got "
                    f"{float(got.detach()):.4g}. {_FINITE_MASK}"
                )
            return f"A remark: the diagonal is masked with a finite number. {_FINITE_MASK}"
    return None


def _then(f: Function, seed: int) -> str | None:
    gradient_flows(f, loss_cases(seed)[:3], _ARGUMENTS, _loss_loop)
    _at_low_temperature(f, seed)
    _when_the_positive_loses(f, seed)
    return _with_finite_mask(f, seed)


NT_XENT = ComparedExercise(
    name="nt_xent",
    parameters=_ARGUMENTS,
    asks="``f(z1, z2, temperature)``, the NT-Xent loss of two views (N, d), a scalar",
    details=(
        "Values and gradients are compared (Chen et al. 2020, section 2.1), and values at temperatures so "
        "low that a plain exp() overflows, or that the positive's probability is 0."
    ),
    difficulty=4,
    minutes=15,
    cases=loss_cases,
    oracles=(_loss_loop,),
    mistakes=LOSS_MISTAKES,
    read=read_number,  # a plain float fails later, for want of a gradient
    then=_then,
    besides="gradients, temperature 0.01, a positive that loses by far",
    properties=PROPERTIES,
    ours=("nt_xent_matrix",),  # of the notebook
)
