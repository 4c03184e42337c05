"""Exercise: a stable log-sum-exp."""

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Function,
    Mistake,
    generator,
    whole,
)


def _logsumexp_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k, scale in enumerate([1.0, 2.0, 300.0, 1000.0]):
        rng = generator(1000 * seed + k)
        rows, columns = k + 2, k + 3 + whole(rng, 0, 2)
        cases.append((scale * torch.randn(rows, columns, generator=rng),))
    rng = generator(1000 * seed + 9)
    x = torch.randn(4, 4, generator=rng) + torch.tensor([500.0, -500.0, 0.0, 90.0])[:, None]  # rows far apart
    cases.append((x,))
    cases.append((x.masked_fill(torch.eye(4, dtype=torch.bool), -torch.inf),))  # as a masked diagonal gives
    return cases


def _logsumexp_loop(x: Tensor) -> Tensor:
    out = []
    for row in x.tolist():
        largest = max(row)
        out.append(largest + torch.tensor([v - largest for v in row], dtype=torch.float64).exp().sum().log())
    return torch.stack(out)  # (M,)


def _without_keepdim(x: Tensor) -> Tensor:
    largest = x.max(dim=1).values
    return largest + (x - largest).exp().sum(1).log()


def _shifted(x: Tensor, shift: Tensor) -> Tensor:
    return shift.squeeze(1) + (x - shift).exp().sum(1).log()


def _shifted_by_index(x: Tensor) -> Tensor:
    return _shifted(x, x.argmax(1, keepdim=True))


def _wrong_fact(f: Function) -> str | None:
    """Rows whose answer one knows by heart."""
    logits = torch.tensor([0.3, -1.2, 0.8, 0.1])
    facts: tuple[tuple[str, Tensor, float], ...] = (
        ("Four logits of 0 give ln 4 = 1.386", torch.zeros(4), 1.3863),
        ("Four logits of 7 give 7 + ln 4 = 8.386", torch.full((4,), 7.0), 8.3863),
        ("One logit of 2 beside minus infinity gives 2", torch.tensor([2.0, *[-torch.inf] * 3]), 2.0),
        ("Logits of -500, four of them, give -500 + ln 4 = -498.6", torch.full((4,), -500.0), -498.6137),
        (
            "Two logits of 100 and two of 0 give 100 + ln 2 = 100.7",
            torch.tensor([0.0, 100.0, 0.0, 100.0]),
            100.6931,
        ),
        ("Four logits of 1000 give 1000 + ln 4 = 1001", torch.full((4,), 1000.0), 1001.3863),
        ("Logits of 0.3, -1.2, 0.8 and 0.1 give 1.56", logits, float(logits.logsumexp(0))),
        ("Logits in another order give the same, 1.56", logits.flip(0), float(logits.logsumexp(0))),
    )
    for fact, row, value in facts:
        got = float(f(torch.stack([row, row]))[0])
        if not abs(got - value) < 2e-3:
            return f"{fact}; yours is {got:.4g}."
    return None


STABLE_LOGSUMEXP = ComparedExercise(
    name="stable_logsumexp",
    parameters=("x",),
    asks="``f(x)``: log of the sum of exp over each row, for logits of any size",
    details="(M, K) to (M,). Some logits are in the thousands, some minus infinity (never a whole row).",
    difficulty=3,
    minutes=8,
    cases=_logsumexp_cases,
    oracles=(_logsumexp_loop,),
    properties=(_wrong_fact,),
    ours=("logsumexp", "special_logsumexp"),  # torch's
    mistakes=(
        Mistake(
            "argmax gives the place of the largest logit, an index, not its value.",
            (_shifted_by_index,),
            written=r"\bargmax\b",
        ),
        Mistake(
            "exp() overflows: in float32 exp(89) is already infinity, and exp(-104) is 0. Bring each row's "
            "largest logit to 0 before exp().",
            (lambda x: x.exp().sum(1).log(),),
        ),
        Mistake(
            "The largest logit was subtracted but never added back after the logarithm.",
            (lambda x: (x - x.amax(1, keepdim=True)).exp().sum(1).log(),),
        ),
        Mistake(
            "The largest logit was subtracted again after the logarithm. It has to come back.",
            (lambda x: (x - x.amax(1, keepdim=True)).exp().sum(1).log() - x.amax(1),),
        ),
        Mistake(
            "The largest logit was added, but never subtracted before exp().",
            (lambda x: x.amax(1) + x.exp().sum(1).log(),),
        ),
        Mistake(
            "The largest logit was added before the logarithm, or twice. It comes back once, outside the "
            "logarithm.",
            (
                lambda x: ((x - x.amax(1, keepdim=True)).exp().sum(1) + x.amax(1)).log(),
                lambda x: 2 * x.amax(1) + (x - x.amax(1, keepdim=True)).exp().sum(1).log(),
            ),
        ),
        Mistake(
            "One maximum was taken for the whole matrix. A row far below it underflows to log(0): take "
            "each row's own.",
            (lambda x: x.max() + (x - x.max()).exp().sum(1).log(),),
        ),
        Mistake(
            "What was subtracted is not the row's largest logit, so exp() can still overflow, or give "
            "0 for the whole row.",
            (
                lambda x: _shifted(x, x.mean(1, keepdim=True)),
                lambda x: _shifted(x, x.amin(1, keepdim=True)),
                lambda x: _shifted(x, x.median(1, keepdim=True).values),
                lambda x: _shifted(x, x.abs().amax(1, keepdim=True)),
            ),
        ),
        Mistake(
            "The sum runs over the columns (dim 0). There is one result per row, (M,).",
            (lambda x: x.logsumexp(0),),
        ),
        Mistake(
            "The reduced dimension was kept: the result is (M, 1). It should be (M,).",
            (lambda x: x.logsumexp(1, keepdim=True),),
        ),
        Mistake(
            "Everything was summed to one number. There is one result per row, (M,).",
            (lambda x: x.flatten().logsumexp(0),),
        ),
        Mistake("That is only each row's largest logit; the others are missing.", (lambda x: x.amax(1),)),
        Mistake(
            "The logarithm is missing.",
            (
                lambda x: x.exp().sum(1),
                lambda x: (x - x.amax(1, keepdim=True)).exp().sum(1),
                lambda x: x.amax(1) + (x - x.amax(1, keepdim=True)).exp().sum(1),
            ),
        ),
        Mistake(
            "Cutting the logits off at a limit changes the answer. A shift that is undone afterwards does "
            "not.",
            tuple(lambda x, c=c: x.clamp(max=c).exp().sum(1).log() for c in (50.0, 80.0, 85.0, 88.0)),
        ),
        Mistake(
            "A maximum per row and a sum per row were added in two different shapes: (M, 1) + (M,) "
            "broadcasts to (M, M).",
            (
                lambda x: x.amax(1, keepdim=True) + (x - x.amax(1, keepdim=True)).exp().sum(1).log(),
                lambda x: x.amax(1) + (x - x.amax(1, keepdim=True)).exp().sum(1, keepdim=True).log(),
            ),
        ),
        Mistake(
            "The maxima, one per row, do not line up with x. Keep the reduced dimension (keepdim) where "
            "you subtract.",
            (_without_keepdim,),
            raises=r"must match the size of tensor",
        ),
        Mistake(
            "max along a dimension returns values and indices; take the values.",
            raises=r"torch\.return_types\.max|unsupported operand.*(max|tuple)",
        ),
        Mistake(
            "The logarithm was taken of the mean, not of the sum.",
            (lambda x: x.logsumexp(1) - torch.tensor(x.shape[1]).log(),),
        ),
    ),
)
