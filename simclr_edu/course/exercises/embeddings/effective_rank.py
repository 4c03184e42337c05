"""Exercise: the effective rank of a batch of embeddings."""

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Function,
    Mistake,
    generator,
    read_number,
    whole,
)


def _rank_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(4):
        rng = generator(1000 * seed + k)
        rows, d = 6 + 2 * k + whole(rng, 0, 3), 3 + k
        x = torch.randn(rows, d, generator=rng) * (0.15 + 2 * torch.rand(d, generator=rng))
        cases.append((x - x.mean(0),))  # centred: whether to centre first is a matter of convention
    flat = cases[0][0].clone()
    flat[:, 0] = 0.0  # a direction with nothing in it
    cases.append((flat,))
    cases.append((1e-4 * cases[1][0],))  # the rank does not depend on the scale
    return cases


def _spectrum(x: Tensor) -> Tensor:
    s: Tensor = torch.linalg.svdvals(x)
    return s / s.sum()


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum()


def _rank_loop(x: Tensor) -> Tensor:
    """From the eigenvalues of x^T x rather than a singular value decomposition."""
    squares = torch.linalg.eigvalsh(x.T @ x).clamp(min=0)
    values = [v**0.5 for v in squares.tolist() if v > 1e-12 * float(squares.max())]
    shares = torch.tensor([v / sum(values) for v in values], dtype=torch.float64)
    return (-(shares * shares.log()).sum()).exp()


def _naive_rank(x: Tensor) -> Tensor:
    p = _spectrum(x)
    p = torch.where(p < 1e-6, torch.zeros_like(p), p)
    return (-(p * p.log()).sum()).exp()


def _with_singular_values(*values: float) -> Tensor:
    """A matrix (8, 4) with columns of mean 0 and these singular values."""
    columns = torch.randn(8, 4, generator=generator(51))
    left: Tensor = torch.linalg.qr(columns - columns.mean(0)).Q  # (8, 4), columns of mean 0
    right: Tensor = torch.linalg.qr(torch.randn(4, 4, generator=generator(52))).Q
    return left * torch.tensor(values) @ right


def _wrong_fact(f: Function) -> str | None:
    """Singular values whose answer one knows by heart."""
    facts = (
        ("Four equal singular values give 4", (1.0, 1.0, 1.0, 1.0), 4.0),
        ("Two equal singular values beside two of 0 give 2", (1.0, 1.0, 0.0, 0.0), 2.0),
        ("One direction alone gives 1", (1.0, 0.0, 0.0, 0.0), 1.0),
        (
            "Four equal singular values of 1000 give 4 as well: the scale does not count",
            (1e3, 1e3, 1e3, 1e3),
            4.0,
        ),
        (
            "Four equal singular values of 0.001 give 4 as well: the scale does not count",
            (1e-3, 1e-3, 1e-3, 1e-3),
            4.0,
        ),
        (
            "Singular values in the ratio 3 to 1 have shares 0.75 and 0.25 and give 1.755",
            (3.0, 1.0, 0.0, 0.0),
            1.7548,
        ),
        ("Singular values in the ratios 4 to 3 to 2 to 1 give 3.596", (4.0, 3.0, 2.0, 1.0), 3.5961),
    )
    for fact, values, wanted in facts:
        got = float(f(_with_singular_values(*values)))
        if not abs(got - wanted) < 5e-3:
            return f"{fact}; yours is {got:.4g}."
    return None


EFFECTIVE_RANK = ComparedExercise(
    name="effective_rank",
    parameters=("x",),
    asks="``f(x)``: the exponential of the entropy of the normalised singular values",
    details=(
        "The columns of ``x`` (N, D) have mean 0, so centring is up to you; a singular value may be 0 "
        '(Roy and Vetterli 2007, "The effective rank").'
    ),
    difficulty=2,
    minutes=6,
    cases=_rank_cases,
    oracles=(_rank_loop,),
    properties=(_wrong_fact,),
    read=read_number,
    mistakes=(
        Mistake(
            "That is the entropy itself. The effective rank is its exponential.",
            (lambda x: _entropy(_spectrum(x)),),
        ),
        Mistake(
            "The shares were made of squared singular values (variances). This definition takes the "
            "singular values.",
            (
                lambda x: _entropy(
                    torch.linalg.svdvals(x).square() / torch.linalg.svdvals(x).square().sum()
                ).exp(),
            ),
        ),
        Mistake(
            "The singular values were not divided by their sum, so they are not shares.",
            (lambda x: _entropy(torch.linalg.svdvals(x)).exp(),),
        ),
        Mistake(
            "The sign of the entropy is missing, so the result is below 1.",
            (lambda x: (-_entropy(_spectrum(x))).exp(),),
        ),
        Mistake(
            "That is the plain rank: it counts directions, however faint.",
            (lambda x: torch.linalg.matrix_rank(x).float(), lambda x: torch.linalg.matrix_rank(x)),
        ),
        Mistake(
            "The entropy was taken with log to base 2 and undone with exp. Use the same base both times.",
            (lambda x: (_entropy(_spectrum(x)) / torch.tensor(2.0).log()).exp(),),
        ),
        Mistake(
            "That is the participation ratio, another measure of rank, without logarithms.",
            (
                lambda x: 1 / _spectrum(x).square().sum(),
                lambda x: torch.linalg.svdvals(x).square().sum() ** 2 / torch.linalg.svdvals(x).pow(4).sum(),
            ),
        ),
        Mistake(
            "The singular values were divided by the largest, not by their sum, so they are not shares.",
            (lambda x: _entropy(torch.linalg.svdvals(x) / torch.linalg.svdvals(x).max()).exp(),),
        ),
        Mistake(
            "The mean was taken over the terms of the entropy, not the sum.",
            (lambda x: (_entropy(_spectrum(x)) / min(x.shape)).exp(),),
        ),
        Mistake(
            "A singular value of 0 gives 0 * log(0), which is NaN. Its share of the entropy is 0.",
            (_naive_rank,),
        ),
    ),
)
