"""Exercises of notebook 02: similarity matrix, positives, the loss, a log-sum-exp that does not overflow."""

from collections.abc import Callable
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from simclr_edu.exercises._harness import (
    Arguments,
    Exercise,
    Function,
    Mistake,
    Verdict,
    agree,
    between,
    call_or_stop,
    check,
    difference,
    generator,
    gradient_flows,
    read_number,
    report,
    stop,
    whole,
)

# --- cosine similarity --------------------------------------------------------------------------------------


def _cosine_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k, rows in enumerate([2, 3, 5, 6]):
        rng = generator(1000 * seed + k)
        d = rows if k == 3 else rows + whole(rng, 1, 3)  # the last one is square
        cases.append((torch.randn(rows, d, generator=rng) * between(rng, 0.5, 3.0),))
    return cases


def _cosine_loop(z: Tensor) -> Tensor:
    rows = z.tolist()
    length = [sum(v * v for v in row) ** 0.5 for row in rows]
    out = [
        [sum(a * b for a, b in zip(p, q, strict=True)) / (length[i] * length[j]) for j, q in enumerate(rows)]
        for i, p in enumerate(rows)
    ]
    return torch.tensor(out, dtype=torch.float64)


def _gram(z: Tensor) -> Tensor:
    return z @ z.T


COSINE_SIMILARITY_MATRIX = Exercise(
    name="cosine_similarity_matrix",
    parameters=("z",),
    cases=_cosine_cases,
    oracles=(_cosine_loop,),
    mistakes=(
        Mistake("These are dot products: the rows were not normalised to length 1.", (_gram,)),
        Mistake(
            "The columns were normalised, over the batch (dim 0). Each row is one embedding: normalise "
            "over its d entries.",
            (lambda z: _gram(F.normalize(z, dim=0)), lambda z: F.normalize(z, dim=0)),
        ),
        Mistake(
            "The rows were divided by their squared length. The length is the square root of the sum of "
            "squares.",
            (lambda z: _gram(z / (z**2).sum(1, keepdim=True)),),
        ),
        Mistake(
            "The whole matrix was divided by one number. Each row has a length of its own.",
            (
                lambda z: _gram(z / z.norm()),
                lambda z: _gram(z) / z.norm(),
                lambda z: _gram(z) / _gram(z).max(),
            ),
        ),
        Mistake(
            "Only one of the two sides was normalised. Cosine similarity divides by both lengths.",
            (lambda z: F.normalize(z, dim=1) @ z.T, lambda z: z @ F.normalize(z, dim=1).T),
        ),
        Mistake(
            "That compares the d columns with each other. The result has one row and one column per "
            "embedding, (M, M).",
            (lambda z: z.T @ z, lambda z: F.normalize(z, dim=1).T @ F.normalize(z, dim=1)),
        ),
        Mistake(
            "Each row was compared with itself only, so everything is 1. Compare every row with every row: "
            "(M, M).",
            (lambda z: F.cosine_similarity(z, z, dim=1),),
        ),
        Mistake("These are Euclidean distances, not similarities.", (lambda z: torch.cdist(z, z),)),
        Mistake(
            "The rows were divided by the sum of their absolute values (L1). Cosine takes the L2 length.",
            (lambda z: _gram(F.normalize(z, p=1, dim=1)),),
        ),
        Mistake(
            "That is the correlation: the mean was subtracted from each row first. Cosine similarity does "
            "not centre.",
            (lambda z: _gram(F.normalize(z - z.mean(1, keepdim=True), dim=1)),),
        ),
        Mistake(
            "The rows were normalised, but not multiplied with each other.",
            (lambda z: F.normalize(z, dim=1),),
        ),
        Mistake(
            "The lengths, one per row, do not line up with z. Keep the reduced dimension when you sum "
            "(keepdim).",
            (lambda z: _gram(z / z.norm(dim=1)),),
            raises=r"must match the size of tensor",
        ),
    ),
)


def diagnose_cosine_similarity_matrix(f: Function, seed: int = 0) -> Verdict:
    """Judge a similarity matrix without printing; see ``check_cosine_similarity_matrix``."""
    return COSINE_SIMILARITY_MATRIX.diagnose(f, seed)


@check
def check_cosine_similarity_matrix(f: Callable[[Tensor], Tensor]) -> None:
    """Check ``f(z)``: cosine similarity of every pair of rows, (M, d) to (M, M), and print a verdict.

    Difficulty 1 of 5, 4 minutes.
    """
    report(diagnose_cosine_similarity_matrix(f))


# --- the positive's index -----------------------------------------------------------------------------------


def _index_loop(n: int) -> Tensor:
    return torch.tensor([row + n if row < n else row - n for row in range(2 * n)])


def _after_deleting(n: int) -> Tensor:
    target = _index_loop(n)
    return target - (target > torch.arange(2 * n)).long()


def _explain_index(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    """Name the shift of row numbers that were rolled round by another one than N."""
    rows = torch.arange(len(wanted))
    if got.shape == wanted.shape and got.dtype == wanted.dtype and torch.equal(got, rows.roll(-int(got[0]))):
        shift = min(-int(got[0]), len(rows) - int(got[0]), key=abs)
        return f"These are the row numbers rolled by {shift}; the positive lies n rows away."
    return difference(got, wanted)


POSITIVE_INDEX = Exercise(
    name="positive_index",
    parameters=("n",),
    cases=lambda seed: [(n,) for n in (2, 3, 4 + whole(generator(seed), 0, 3), 9 + seed % 5, 1)],
    oracles=(_index_loop,),
    mistakes=(
        Mistake(
            "Each row points at itself, the one candidate that is excluded. The positive is the other view.",
            (lambda n: torch.arange(2 * n),),
        ),
        Mistake(
            "These are the labels of an N x N matrix, as in CLIP. In the 2N x 2N matrix row k of view 1 is "
            "column k, and its positive is further on.",
            (lambda n: torch.arange(n).repeat(2), lambda n: torch.arange(n)),
        ),
        Mistake(
            "All zeros fits only a matrix whose positive was moved to column 0. Here the columns stay in "
            "order.",
            (lambda n: torch.zeros(2 * n, dtype=torch.long),),
        ),
        Mistake(
            "These are pairs of neighbours (0 with 1, 2 with 3). Here all first views come first, then all "
            "second views.",
            (lambda n: torch.arange(2 * n) ^ 1,),
        ),
        Mistake(
            "Rows of the second half point past the last column, 2N - 1. Their positive lies back in the "
            "first half.",
            (lambda n: torch.arange(n, 3 * n),),
        ),
        Mistake(
            "These are the columns after the diagonal has been deleted: one too far left in the full "
            "matrix for the first N rows.",
            (_after_deleting,),
        ),
        Mistake(
            "There are only N entries. Both views act as anchors, so all 2N rows need a target.",
            (lambda n: torch.arange(n, 2 * n),),
        ),
        Mistake(
            "The order is reversed: row 0 points at the last row. Its positive is the same image's other "
            "view.",
            (lambda n: torch.arange(2 * n - 1, -1, -1),),
        ),
        Mistake(
            "The two halves are the wrong way round: first-half rows point into the first half, at "
            "themselves or at others of their own view.",
            (lambda n: torch.arange(n).flip(0).repeat(2), lambda n: torch.arange(n).repeat_interleave(2)),
        ),
        Mistake(
            "At the border one row goes wrong: rows count from 0, so row n is the first of the second half. "
            "Here it points past the last column.",
            (lambda n: torch.tensor([i + n if i <= n else i - n for i in range(2 * n)]),),
        ),
        Mistake(
            "Both halves point into the second half. A row of the second half finds its positive in the "
            "first.",
            (lambda n: torch.arange(n, 2 * n).repeat(2),),
        ),
        Mistake(
            "That is off by one: the two views of an image lie N rows apart.",
            (
                lambda n: (torch.arange(2 * n) + n - 1) % (2 * n),
                lambda n: (torch.arange(2 * n) + n + 1) % (2 * n),
            ),
        ),
    ),
    explain=_explain_index,
)


def diagnose_positive_index(f: Function, seed: int = 0) -> Verdict:
    """Judge the target indices without printing; see ``check_positive_index``."""
    return POSITIVE_INDEX.diagnose(f, seed)


@check
def check_positive_index(f: Callable[[int], Tensor]) -> None:
    """Check ``f(n)``: for each row of the full 2N x 2N matrix the column of its positive; print a verdict.

    Rows 0 to N-1 are first views, N to 2N-1 second views; the result is (2N,) int64.
    Difficulty 2 of 5, 5 minutes.
    """
    report(diagnose_positive_index(f))


# --- NT-Xent ------------------------------------------------------------------------------------------------


def _loss_cases(seed: int) -> list[Arguments]:
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


def _loss_with(**slips: str) -> Function:
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
    return _loss_with()(z[: len(z1)], z[len(z1) :], temperature)


def _same_view(number: int) -> Function:
    return lambda z1, z2, temperature: _loss_with()(*[(z1, z2)[number]] * 2, temperature)


def _divided(by: Callable[[int], int]) -> Function:
    return lambda z1, z2, temperature: _loss_with()(z1, z2, temperature) / by(len(z1))


def _minus_positive(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    logits, target = _masked_logits(z1, z2, temperature)
    return F.nll_loss(logits, target)


def _single(part: str, ways: tuple[str, ...]) -> tuple[Function, ...]:
    return tuple(_loss_with(**{part: way}) for way in ways)


def _no_negatives(part: str) -> Function | None:
    """For a denominator of negatives alone: with N = 1 it is empty, and log(0) depends on the rounding."""
    return (lambda z1, z2, temperature: len(z1) == 1) if part == "denominator" else None


_LOSS_MISTAKES = (
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
            tuple(_loss_with(**{a: v, b: w}) for v in vs for w in ws),
            unless=_no_negatives(a) or _no_negatives(b),
        )
        for (a, vs, one), (b, ws, two) in combinations(_SLIPS, 2)
        if a != b and (a, *ws) != ("anchors", "over N")  # that is N anchors and nothing else wrong
    ),
)


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
    gradient_flows(f, _loss_cases(seed)[:3], _ARGUMENTS, _loss_loop)
    _at_low_temperature(f, seed)
    _with_finite_mask(f, seed)


NT_XENT = Exercise(
    name="nt_xent",
    parameters=_ARGUMENTS,
    cases=_loss_cases,
    oracles=(_loss_loop,),
    mistakes=_LOSS_MISTAKES,
    read=read_number,  # a plain float fails later, for want of a gradient
    then=_then,
    ours=("nt_xent_matrix",),  # of the notebook
)


def diagnose_nt_xent(f: Function, seed: int = 0) -> Verdict:
    """Judge a contrastive loss without printing; see ``check_nt_xent``."""
    return NT_XENT.diagnose(f, seed)


@check
def check_nt_xent(f: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """Check ``f(z1, z2, temperature)``, the NT-Xent loss of two views (N, d), a scalar, and print a verdict.

    Values and gradients are compared (Chen et al. 2020, section 2.1), and values at temperatures so low that
    a plain exp() overflows and a finite mask shows. Difficulty 4 of 5, 20 minutes.
    """
    report(diagnose_nt_xent(f))


# --- log-sum-exp --------------------------------------------------------------------------------------------


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


STABLE_LOGSUMEXP = Exercise(
    name="stable_logsumexp",
    parameters=("x",),
    cases=_logsumexp_cases,
    oracles=(_logsumexp_loop,),
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


def diagnose_stable_logsumexp(f: Function, seed: int = 0) -> Verdict:
    """Judge a log-sum-exp without printing; see ``check_stable_logsumexp``."""
    return STABLE_LOGSUMEXP.diagnose(f, seed)


@check
def check_stable_logsumexp(f: Callable[[Tensor], Tensor]) -> None:
    """Check ``f(x)``: log of the sum of exp over each row, for logits of any size, and print a verdict.

    (M, K) to (M,). Some logits are in the thousands, some minus infinity (never a whole row).
    Difficulty 3 of 5, 8 minutes.
    """
    report(diagnose_stable_logsumexp(f))
