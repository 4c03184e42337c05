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


def _with_finite_mask(f: Function, seed: int) -> None:
    """Once all else agrees: one opposite pair, its logit far below a finite mask."""
    z = torch.randn(1, 4, generator=generator(1000 * seed + 30))
    got = read_number(call_or_stop(f, (z, -z, 1e-30), _ARGUMENTS))  # log 1 = 0: there is one candidate
    if got.isfinite() and float(got) > 1:
        stop(
            "Right at these temperatures, but the diagonal is masked with a finite number. The smaller the "
            "temperature, the nearer other logits come to it; and -1e9 does not fit into float16, which ends "
            "at 65,504. An excluded logit has to be minus infinity."
        )


def _then(f: Function, seed: int) -> None:
    gradient_flows(f, loss_cases(seed)[:3], _ARGUMENTS, _loss_loop)
    _at_low_temperature(f, seed)
    _with_finite_mask(f, seed)


NT_XENT = ComparedExercise(
    name="nt_xent",
    parameters=_ARGUMENTS,
    asks="``f(z1, z2, temperature)``, the NT-Xent loss of two views (N, d), a scalar",
    details=(
        "Values and gradients are compared (Chen et al. 2020, section 2.1), and values at temperatures so "
        "low that a plain exp() overflows and a finite mask shows."
    ),
    difficulty=4,
    minutes=15,
    cases=loss_cases,
    oracles=(_loss_loop,),
    mistakes=LOSS_MISTAKES,
    read=read_number,  # a plain float fails later, for want of a gradient
    then=_then,
    ours=("nt_xent_matrix",),  # of the notebook
)
