"""The classic mistakes in NT-Xent, each as a function that makes it."""

from collections.abc import Callable
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from simclr_edu.course.exercises.kit import Function, Mistake


def loss_with(**slips: str) -> Function:
    """NT-Xent with the named slips."""

    def loss(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
        n = len(z1)
        z = torch.cat([z1, z2])  # (2N, d)
        match slips.get("normalise"):
            case None:
                z = F.normalize(z, dim=1)
            case "columns":
                z = F.normalize(z, dim=0)
            case "columns of each view":
                z = torch.cat([F.normalize(z1, dim=0), F.normalize(z2, dim=0)])
            case "matrix":
                z = z / z.norm()
        logits = z @ z.T  # (2N, 2N)
        match slips.get("temperature"):
            case None:
                logits = logits / temperature
            case "multiplied":
                logits = logits * temperature
        itself = torch.eye(2 * n, dtype=torch.bool)
        rows = torch.arange(2 * n)
        columns = rows ^ 1 if slips.get("positive") == "neighbour" else (rows + n) % (2 * n)
        positive = logits[rows, columns]  # (2N,)
        match slips.get("diagonal"):
            case None:
                logits = logits.masked_fill(itself, -torch.inf)
            case "zero":
                logits = logits.masked_fill(itself, 0.0)
        if slips.get("denominator") == "no positive":
            logits[rows, columns] = -torch.inf
        terms = torch.logsumexp(logits, 1) - positive  # (2N,)
        if slips.get("anchors") == "first":
            terms = terms[:n]
        if slips.get("anchors") == "second":
            terms = terms[n:]
        value = {"sum": terms.sum(), "over N": terms.sum() / n}.get(slips.get("reduction", ""), terms.mean())
        return -value if slips.get("sign") else value

    return loss


# One slip: which part it concerns, how it goes wrong, and the diagnosis.
_SLIPS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "diagonal",
        ("kept",),
        "The diagonal is not masked: each anchor competes with itself, at similarity 1, and the loss is "
        "won by the wrong candidate. Self-similarity must be excluded.",
    ),
    (
        "diagonal",
        ("zero",),
        "The diagonal was masked with 0, but exp(0) = 1 still counts as a candidate. An excluded logit has "
        "to be minus infinity.",
    ),
    ("normalise", ("no",), "There is no l2-normalisation: these are dot products, not cosine similarities."),
    (
        "normalise",
        ("columns", "columns of each view"),
        "The normalisation runs over the wrong dimension (over the batch). Each embedding, a row, gets "
        "length 1.",
    ),
    ("normalise", ("matrix",), "The whole matrix was normalised at once. Each row gets length 1 by itself."),
    ("temperature", ("ignored",), "The temperature is ignored."),
    (
        "temperature",
        ("multiplied",),
        "The similarities are multiplied by the temperature instead of divided by it.",
    ),
    (
        "anchors",
        ("first", "second"),
        "Only N anchors count, those of one view. Both views of each image act as anchor: average over all "
        "2N.",
    ),
    (
        "denominator",
        ("no positive",),
        "The denominator leaves out the positive. The softmax has 2N-1 candidates: the positive and 2(N-1) "
        "negatives.",
    ),
    ("reduction", ("sum",), "The 2N terms are summed, not averaged."),
    (
        "reduction",
        ("over N",),
        "The sum was divided by N. There are 2N anchors, so the loss is twice too large.",
    ),
    ("sign", ("negative",), "The sign is wrong: the loss is minus the log-probability of the positive."),
    (
        "positive",
        ("neighbour",),
        "The positives are taken from neighbouring rows (0 with 1, 2 with 3). With the views stacked one "
        "after the other they are N rows apart.",
    ),
)


def _masked_logits(z1: Tensor, z2: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Scaled similarities with the diagonal at minus infinity (2N, 2N), and the positive's column (2N,)."""
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    count = len(z)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(count, dtype=torch.bool), -torch.inf)
    return logits, (torch.arange(count) + count // 2) % count


def _deleted_diagonal(z1: Tensor, z2: Tensor, temperature: float, wrap: bool) -> Tensor:
    logits, target = _masked_logits(z1, z2, temperature)
    count = len(logits)
    logits = logits[~torch.eye(count, dtype=torch.bool)].view(count, count - 1)
    target = target % (count - 1) if wrap else target.clamp(max=count - 2)
    return F.cross_entropy(logits, target)


def _clip(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    return F.cross_entropy(
        F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / temperature, torch.arange(len(z1))
    )


def _itself(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)))


def _column_zero(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    logits, target = _masked_logits(z1, z2, temperature)
    count = len(logits)
    logits = logits[~torch.eye(count, dtype=torch.bool)].view(count, count - 1)
    return F.cross_entropy(logits, torch.zeros_like(target))


def _one_sided_temperature(z1: Tensor, z2: Tensor, temperature: float, above: bool) -> Tensor:
    logits, target = _masked_logits(z1, z2, temperature)
    positive = logits.gather(1, target[:, None])[:, 0]
    if above:  # only the numerator is divided by the temperature
        return (torch.logsumexp(logits * temperature, 1) - positive).mean()
    return (torch.logsumexp(logits, 1) - positive * temperature).mean()


def _probability(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    logits, target = _masked_logits(z1, z2, temperature)
    return logits.softmax(1).gather(1, target[:, None])[:, 0]  # (2N,)


def _softmax_twice(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    logits, target = _masked_logits(z1, z2, temperature)
    return F.cross_entropy(logits.softmax(1), target)


def _infinity_times_zero(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    logits, target = _masked_logits(z1, z2, temperature)
    return F.cross_entropy(logits - torch.eye(len(logits)) * torch.inf, target)


def _interleaved(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    z = torch.stack([z1, z2], 1).flatten(0, 1)  # (2N, d): both views of the first image, then of the second
    loss: Tensor = loss_with()(z[: len(z1)], z[len(z1) :], temperature)
    return loss


def _same_view(number: int) -> Function:
    return lambda z1, z2, temperature: loss_with()(*[(z1, z2)[number]] * 2, temperature)


def _divided(by: Callable[[int], int]) -> Function:
    return lambda z1, z2, temperature: loss_with()(z1, z2, temperature) / by(len(z1))


def _minus_positive(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    logits, target = _masked_logits(z1, z2, temperature)
    return F.nll_loss(logits, target)


def _single(part: str, ways: tuple[str, ...]) -> tuple[Function, ...]:
    return tuple(loss_with(**{part: way}) for way in ways)


def _no_negatives(part: str) -> Function | None:
    """For a denominator of negatives alone: with N = 1 it is empty, and log(0) depends on the rounding."""
    return (lambda z1, z2, temperature: len(z1) == 1) if part == "denominator" else None


LOSS_MISTAKES = (
    *(
        Mistake(diagnosis, _single(part, ways), unless=_no_negatives(part))
        for part, ways, diagnosis in _SLIPS
    ),
    Mistake(
        "The diagonal was deleted, but the target column was not shifted. In the first N rows the positive "
        "moved one column to the left, and for row N-1 the old column does not exist any more.",
        (
            lambda z1, z2, temperature: _deleted_diagonal(z1, z2, temperature, wrap=True),
            lambda z1, z2, temperature: _deleted_diagonal(z1, z2, temperature, wrap=False),
        ),
        raises=r"out of bounds|out of range",
    ),
    Mistake(
        "The candidates are only the N embeddings of the other view, as in CLIP. In NT-Xent the negatives "
        "of the anchor's own view compete too: 2N-1 candidates.",
        (_clip, lambda z1, z2, temperature: (_clip(z1, z2, temperature) + _clip(z2, z1, temperature)) / 2),
    ),
    Mistake("The target of each row is the row itself, not its positive.", (_itself,)),
    Mistake(
        "The target is column 0 in every row. That is right only if you moved the positives to column 0 "
        "first.",
        (_column_zero,),
    ),
    Mistake(
        "The temperature divides only one of numerator and denominator. It belongs under every similarity.",
        (
            lambda z1, z2, temperature: _one_sided_temperature(z1, z2, temperature, above=True),
            lambda z1, z2, temperature: _one_sided_temperature(z1, z2, temperature, above=False),
        ),
    ),
    Mistake(
        "The logarithm is missing: that is the mean probability of the positive.",
        (
            lambda z1, z2, temperature: _probability(z1, z2, temperature).mean(),
            lambda z1, z2, temperature: -_probability(z1, z2, temperature).mean(),
            lambda z1, z2, temperature: 1 - _probability(z1, z2, temperature).mean(),
        ),
    ),
    Mistake(
        "The logarithm was taken after averaging. Average the 2N logarithms, not the probabilities.",
        (lambda z1, z2, temperature: -_probability(z1, z2, temperature).mean().log(),),
    ),
    Mistake(
        "A softmax was applied before the cross-entropy, which applies one itself. Give it the logits.",
        (_softmax_twice,),
    ),
    Mistake(
        "The loss is infinite: a row's label points at a masked entry, most often its own. The positive "
        "is the other view.",
        (lambda z1, z2, temperature: torch.tensor(torch.inf),),
    ),
    Mistake(
        "0 times infinity is NaN, not 0. An identity matrix times infinity is NaN off the diagonal, and a "
        "masked logit times 0 is NaN too: put infinity in only where it belongs.",
        (_infinity_times_zero,),
        written=r"\binf\b",
    ),
    Mistake(
        "The views are interleaved (both views of image 0, then of image 1), but the labels are those of "
        "stacked views: all first views, then all second ones.",
        (_interleaved,),
    ),
    Mistake("Both halves are the same view: one of z1 and z2 is not in it.", (_same_view(0), _same_view(1))),
    Mistake(
        "The mean was divided by a number of rows once more. cross_entropy averages already.",
        (_divided(lambda n: 2 * n), _divided(lambda n: n)),
    ),
    Mistake(
        "The loss is half of what it should be. The mean over all 2N anchors has both views in it already.",
        (_divided(lambda n: 2),),
    ),
    Mistake(
        "The denominator is missing: that is minus the mean logit of the positive. nll_loss takes no "
        "softmax; it wants log-probabilities.",
        (_minus_positive,),
    ),
    Mistake(
        "torch.cat along dim 1 joins the features: (N, 2d). The candidates are 2N rows of d features.",
        raises=r"Error",  # whatever follows from it
        written=r"\b(cat|concat|concatenate)\([\[(]z1, z2[\])], (dim=|axis=)?(1|-1)\)|\bhstack\([\[(]z1, z2",
    ),
    Mistake(
        "torch.stack makes a new dimension: (2, N, d). The candidates are the rows of one matrix, (2N, d), "
        "which torch.cat makes.",
        raises=r"Error",  # whatever follows from it
        written=r"\bstack\([\[(]z1, z2[\])](, (dim=)?[012])?\)(?!\.(reshape|view|flatten))",
    ),
    Mistake(
        "A mask must be of dtype bool, and torch.eye makes floats.",
        raises=r"boolean mask|BoolTensor|byte or bool tensors|bitwise_not|operator\.invert",
    ),
    Mistake(
        "N rows meet 2N. The matrix of similarities, its mask and the labels all have 2N rows.",
        raises=r"\(2\) must match .*\(4\)|\(4\) must match .*\(2\)|batch_size \([24]\)",  # of case 1: N = 2
    ),
    *(
        Mistake(
            f"Two mistakes at once. First: {one} Second: {two}",
            tuple(loss_with(**{a: v, b: w}) for v in vs for w in ws),
            unless=_no_negatives(a) or _no_negatives(b),
        )
        for (a, vs, one), (b, ws, two) in combinations(_SLIPS, 2)
        if a != b and (a, *ws) != ("anchors", "over N")  # that is N anchors and nothing else wrong
    ),
)
