"""Answers to the exercises of notebook 02: wrong ones with words of their diagnosis, and right ones."""

import functools
import math

import torch
import torch.nn.functional as F

from answers.cell import cell
from simclr_edu import diagnostics, losses


def cosine_normalize(z):
    z = F.normalize(z, dim=1)
    return z @ z.T


def cosine_by_hand(z):
    length = (z**2).sum(dim=1).sqrt()
    return (z @ z.T) / (length[:, None] * length[None, :])


def cosine_pairs(z):
    return F.cosine_similarity(z[:, None], z[None], dim=-1)


def index_cat(n):
    return torch.cat([torch.arange(n, 2 * n), torch.arange(n)])


def index_modulo(n):
    return (torch.arange(2 * n) + n) % (2 * n)


def nt_xent_dense(z1, z2, temperature):
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, d)
    logits = z @ z.T / temperature
    logits.fill_diagonal_(-torch.inf)
    target = torch.arange(2 * n).roll(n)
    return F.cross_entropy(logits, target)


def nt_xent_lowest_mask(z1, z2, temperature):
    z = torch.cat([z1, z2])
    z = z / z.norm(dim=1, keepdim=True)
    count = len(z)
    logits = z @ z.T / temperature
    logits = logits.masked_fill(torch.eye(count, dtype=torch.bool), torch.finfo(z.dtype).min)
    log_probability = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    return -log_probability[torch.arange(count), (torch.arange(count) + count // 2) % count].mean()


def nt_xent_deleted_diagonal(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    count = len(z)
    logits = (z @ z.T / temperature)[~torch.eye(count, dtype=torch.bool)].view(count, count - 1)
    n = count // 2
    return F.cross_entropy(logits, torch.cat([torch.arange(n) + n - 1, torch.arange(n)]))


def nt_xent_exponentials(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    power = torch.exp((z @ z.T - 1) / temperature)  # no cosine is above 1: nothing overflows
    denominator = power.sum(1) - power.diag()
    positive = torch.cat([power.diag(len(z1)), power.diag(-len(z1))])
    return -torch.log(positive / denominator).mean()


def nt_xent_python_loop(z1, z2, temperature):
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    total = 0.0
    for i in range(2 * n):
        others = [z[i] @ z[j] / temperature for j in range(2 * n) if j != i]
        total = total - z[i] @ z[(i + n) % (2 * n)] / temperature + torch.stack(others).logsumexp(0)
    return total / (2 * n)


def logsumexp_shift(x):
    largest = x.max(dim=1, keepdim=True).values
    return largest.squeeze(1) + torch.log(torch.exp(x - largest).sum(dim=1))


def logsumexp_rows(x):
    rows = [row - row.max() for row in x]
    return torch.stack([row.exp().sum().log() for row in rows]) + x.max(1).values


def masked_with(value, z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), value)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def identity_subtracted(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature - 1e9 * torch.eye(len(z))
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


RIGHT = {
    "cosine_similarity_matrix": [
        cosine_normalize,
        cosine_by_hand,
        cosine_pairs,
    ],
    "positive_index": [
        index_cat,
        index_modulo,
        lambda n: torch.tensor([*range(n, 2 * n), *range(n)]),
    ],
    "nt_xent": [
        nt_xent_dense,
        nt_xent_lowest_mask,
        nt_xent_deleted_diagonal,
        nt_xent_python_loop,
        functools.partial(masked_with, -1e9),  # as in the authors' code; -1e4 holds in float16 too
        functools.partial(masked_with, -1e4),
        identity_subtracted,
    ],
    "stable_logsumexp": [
        logsumexp_shift,
        logsumexp_rows,
    ],
}


def length_not_kept(z):
    z.div(z.norm(dim=1, keepdim=True))
    return z @ z.T


def scaled(z1, z2, temperature):
    """Similarities over temperature, the diagonal at minus infinity, and the targets."""
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return logits, torch.arange(len(z)).roll(len(z1))


def unmasked(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)).roll(len(z1)))


def masked_with_zero(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature * (1 - torch.eye(len(z)))
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def unshifted(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    logits = logits[~torch.eye(len(logits), dtype=torch.bool)].view(len(logits), -1)
    return F.cross_entropy(logits, target)


def unshifted_gather(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    logits = logits[~torch.eye(len(logits), dtype=torch.bool)].view(len(logits), -1)
    return -logits.log_softmax(1)[torch.arange(len(logits)), target].mean()


def raw(z1, z2, temperature):
    z = torch.cat([z1, z2])
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def columns(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=0)
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def columns_per_view(z1, z2, temperature):
    z = torch.cat([F.normalize(z1, dim=0), F.normalize(z2, dim=0)])
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def one_norm(z1, z2, temperature):
    z = torch.cat([z1, z2])
    z = z / z.norm()
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def no_temperature(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, 1.0))


def times_temperature(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, 1 / temperature))


def half(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return F.cross_entropy(logits[: len(z1)], target[: len(z1)])


def decoupled(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    positive = logits.gather(1, target[:, None])
    negatives = logits.scatter(1, target[:, None], -math.inf)
    return (negatives.exp().sum(1, keepdim=True).log() - positive).mean()


def negatives_by_subtraction(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    power = torch.exp(z @ z.T / temperature)
    positive = torch.cat([power.diag(len(z1)), power.diag(-len(z1))])
    return -torch.log(positive / (power.sum(1) - power.diag() - positive)).mean()


def negatives_with_epsilon(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    positive = logits.gather(1, target[:, None])[:, 0]
    negatives = logits.exp().scatter(1, target[:, None], 0.0)
    return -(positive - torch.log(negatives.sum(1) + 1e-8)).mean()


def plain_powers(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    power = torch.exp(z @ z.T / temperature)
    positive = torch.cat([power.diag(len(z1)), power.diag(-len(z1))])
    return -torch.log(positive / (power.sum(1) - power.diag())).mean()


def plain_powers_in_loops(z1, z2, temperature):
    z, n, total = F.normalize(torch.cat([z1, z2]), dim=1), len(z1), 0.0
    for i in range(2 * n):
        powers = {j: torch.exp(z[i] @ z[j] / temperature) for j in range(2 * n) if j != i}
        total = total - torch.log(powers[(i + n) % (2 * n)]) + torch.log(sum(powers.values()))
    return total / (2 * n)


def clamped_logits(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return F.cross_entropy(logits.clamp(max=80), target)


def summed(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature), reduction="sum")


def over_n(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature), reduction="sum") / len(z1)


def no_minus(z1, z2, temperature):
    return -F.cross_entropy(*scaled(z1, z2, temperature))


def neighbours(z1, z2, temperature):
    logits, _ = scaled(z1, z2, temperature)
    return F.cross_entropy(logits, torch.arange(len(logits)) ^ 1)


def clip_one_way(z1, z2, temperature):
    return F.cross_entropy(F.normalize(z1) @ F.normalize(z2).T / temperature, torch.arange(len(z1)))


def clip_two_ways(z1, z2, temperature):
    logits, target = F.normalize(z1) @ F.normalize(z2).T / temperature, torch.arange(len(z1))
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def own_target(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]))
    return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)))


def zeros(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    logits = logits[~torch.eye(len(logits), dtype=torch.bool)].view(len(logits), -1)
    return F.cross_entropy(logits, torch.zeros_like(target))


def temperature_above(z1, z2, temperature):
    logits, target = scaled(z1, z2, 1.0)
    positive = logits.gather(1, target[:, None])[:, 0]
    return (logits.logsumexp(1) - positive / temperature).mean()


def temperature_below(z1, z2, temperature):
    logits, target = scaled(z1, z2, 1.0)
    positive = logits.gather(1, target[:, None])[:, 0]
    return ((logits / temperature).logsumexp(1) - positive).mean()


def no_log(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return -logits.softmax(1).gather(1, target[:, None]).mean()


def log_of_mean(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return -torch.log(logits.softmax(1).gather(1, target[:, None]).mean())


def softmax_twice(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return F.cross_entropy(logits.softmax(1), target)


def unmasked_and_no_temperature(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return F.cross_entropy(z @ z.T, torch.arange(len(z)).roll(len(z1)))


def item(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature)).item()


def stop_gradient(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2.detach(), temperature))


def masked_target(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return F.cross_entropy(logits, torch.arange(len(target)))


def masked_half_of_the_targets(z1, z2, temperature):
    logits, _ = scaled(z1, z2, temperature)
    return F.cross_entropy(logits, torch.cat([torch.arange(len(z1)), torch.arange(len(z1))]))


global_temperature = cell(
    """
    def f(z1, z2, temperature):
        z = F.normalize(torch.cat([z1, z2]), dim=1)
        logits = (z @ z.T / tau).fill_diagonal_(-torch.inf)
        return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))
    """,
    tau=0.5,
)


def fixed_temperature(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, 0.5))


def mask_not_kept(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature
    logits.masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def norm_not_kept(z1, z2, temperature):
    z = torch.cat([z1, z2])
    F.normalize(z, dim=1)
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def loss_of(z, temperature):
    """The rest of the loss, once the views are in one matrix."""
    z, n = F.normalize(z, dim=1), len(z) // 2
    return F.cross_entropy((z @ z.T / temperature).fill_diagonal_(-math.inf), torch.arange(2 * n).roll(n))


def interleaved_rows(z1, z2, temperature):
    return loss_of(torch.stack([z1, z2], 1).reshape(2 * len(z1), -1), temperature)


def side_by_side(z1, z2, temperature):
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2], 1), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


def stacked(z1, z2, temperature):
    n = len(z1)
    z = F.normalize(torch.stack([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


def zero_times_infinity(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature - torch.eye(len(z)) * torch.inf
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def one_hot_times_infinity(z1, z2, temperature):
    z, n = F.normalize(torch.cat([z1, z2]), dim=1), len(z1)
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    positive = torch.eye(2 * n).roll(n, 1)
    return -(positive * logits.log_softmax(1)).sum(1).mean()


def mask_of_floats(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z)), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def index_of_floats(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature
    logits[torch.eye(len(z))] = -math.inf
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def not_of_floats(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature)[~torch.eye(len(z))].view(len(z), -1)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def mask_of_n(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z1), dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def labels_of_n(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return F.cross_entropy(logits, target[: len(z1)])


def averaged_twice(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature)) / (2 * len(z1))


def averaged_and_over_n(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature)) / len(z1)


def halved(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature)) / 2


def nll_of_logits(z1, z2, temperature):
    return F.nll_loss(*scaled(z1, z2, temperature))


def nt_xent_matrix(z1, z2, tau):
    return F.cross_entropy(*scaled(z1, z2, tau))


def line_of_lengths(z1, z2, temperature):
    z = torch.cat([z1, z2])
    lengths = (z / z.norm(dim=1)[: len(z1)]).norm()  # (2N, d) over (N,)
    return F.cross_entropy(*scaled(z1, z2, temperature)) + 0 * lengths


def fixed_batch(z1, z2, temperature, n=2):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature - 1e9 * torch.eye(2 * n)
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


def stable(x):
    return x.amax(1) + (x - x.amax(1, keepdim=True)).exp().sum(1).log()


def index_of_the_largest(x):
    m = x.argmax(dim=1, keepdim=True)
    return m[:, 0] + (x - m).exp().sum(1).log()


def softmax_then_log(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return -logits.softmax(1).gather(1, target[:, None]).log().mean()


def small_number_in_the_log(e, z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return -(logits.softmax(1).gather(1, target[:, None]) + e).log().mean()


def clamped_probability(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return -logits.softmax(1).clamp(min=1e-7).gather(1, target[:, None]).log().mean()


def loss_without_gradient(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature))


WRONG = {
    "cosine_similarity_matrix": [
        (lambda z: z @ z.T, "dot products"),
        (lambda z: F.normalize(z, dim=0) @ F.normalize(z, dim=0).T, "over the batch (dim 0)"),
        (
            lambda z: (z / (z * z).sum(1, keepdim=True)) @ (z / (z * z).sum(1, keepdim=True)).T,
            "squared length",
        ),
        (lambda z: (z / z.norm()) @ (z / z.norm()).T, "divided by one number"),
        (lambda z: (z / z.norm(dim=1, keepdim=True)) @ z.T, "Only one of the two sides"),
        (lambda z: F.normalize(z).T @ F.normalize(z), "the d columns with each other"),
        (lambda z: F.cosine_similarity(z, z), "compared with itself only"),
        (lambda z: (z[:, None] - z[None]).norm(dim=2), "Euclidean distances"),
        (lambda z: F.normalize(z, p=1.0) @ F.normalize(z, p=1.0).T, "absolute values (L1)"),
        (lambda z: torch.corrcoef(z), "the correlation"),
        (lambda z: F.normalize(z), "not multiplied with each other"),
        (lambda z: diagnostics.similarity_matrix(z), "the work was done by diagnostics.similarity_matrix"),
        (
            lambda z: F.normalize(z.double()) @ F.normalize(z.double()).T,
            "The dtype should be that of the input, torch.float32",
        ),
        (length_not_kept, "What z.div(...) returns is thrown away"),
        (lambda z: (z / z.norm(dim=1)) @ (z / z.norm(dim=1)).T, "keepdim"),
    ],
    "positive_index": [
        (lambda n: torch.arange(2 * n), "points at itself"),
        (lambda n: torch.cat([torch.arange(n), torch.arange(n)]), "as in CLIP"),
        (lambda n: torch.zeros(2 * n, dtype=torch.int64), "All zeros"),
        (lambda n: torch.arange(2 * n).view(n, 2).flip(1).flatten(), "pairs of neighbours"),
        (lambda n: torch.arange(2 * n) + n, "past the last column"),
        (
            lambda n: torch.cat([torch.arange(n) + n - 1, torch.arange(n)]),
            "after the diagonal has been deleted",
        ),
        (lambda n: torch.arange(n, 2 * n), "only N entries"),
        (lambda n: torch.arange(2 * n).flip(0), "order is reversed"),
        (lambda n: torch.arange(n).repeat(2) + n, "Both halves point into the second"),
        (lambda n: torch.arange(2.0 * n).roll(n), "The dtype is the problem, not the numbers"),
        (lambda n: torch.arange(2 * n).roll(1), "rolled by 1; the positive lies n rows away"),
        (lambda n: torch.arange(2 * n).roll(-1), "rolled by -1; the positive"),
        (lambda n: torch.arange(2 * n).roll(2), "rolled by 2; the positive"),
        (lambda n: (torch.arange(2 * n) + n + 1) % (2 * n), "off by one"),
        (
            lambda n: torch.tensor([i + n if i <= n else i - n for i in range(2 * n)]),
            "row n is the first of the second half",
        ),
    ],
    "nt_xent": [
        (unmasked, "diagonal is not masked"),
        (masked_with_zero, "masked with 0"),
        (unshifted, "target column was not shifted"),
        (unshifted_gather, "target column was not shifted"),
        (raw, "no l2-normalisation"),
        (columns, "wrong dimension"),
        (columns_per_view, "wrong dimension"),
        (one_norm, "whole matrix was normalised at once"),
        (no_temperature, "temperature is ignored"),
        (times_temperature, "multiplied by the temperature"),
        (half, "Only N anchors"),
        (decoupled, "The denominator leaves out the positive"),
        (negatives_by_subtraction, "The denominator leaves out the positive"),
        (negatives_with_epsilon, "The denominator leaves out the positive"),
        (plain_powers, "overflows: in float32 exp() is infinity above 88.7"),
        (plain_powers_in_loops, "overflows: in float32 exp() is infinity above 88.7"),
        (clamped_logits, "Are large logits cut off?"),
        (summed, "summed, not averaged"),
        (over_n, "divided by N"),
        (no_minus, "sign is wrong"),
        (neighbours, "neighbouring rows"),
        (clip_one_way, "as in CLIP"),
        (clip_two_ways, "as in CLIP"),
        (own_target, "row itself"),
        (zeros, "column 0 in every row"),
        (temperature_above, "only one of numerator and denominator"),
        (temperature_below, "only one of numerator and denominator"),
        (no_log, "logarithm is missing"),
        (log_of_mean, "logarithm was taken after averaging"),
        (softmax_twice, "softmax was applied before"),
        (unmasked_and_no_temperature, "Two mistakes at once. First: The diagonal is not masked"),
        (item, "no gradient can flow"),
        (stop_gradient, "does not reach z2"),
        (masked_target, "The loss is infinite: a row's label points at a masked entry"),
        (masked_half_of_the_targets, "The loss is infinite: a row's label points at a masked entry"),
        (global_temperature, "never uses its argument temperature; it reads tau from outside"),
        (fixed_temperature, "Your function never uses its argument temperature."),
        (mask_not_kept, "What logits.masked_fill(...) returns is thrown away"),
        (norm_not_kept, "What F.normalize(...) returns is thrown away"),
        (interleaved_rows, "The views are interleaved"),
        (side_by_side, "dim 1 joins the features"),
        (stacked, "stack makes a new dimension"),
        (zero_times_infinity, "0 times infinity is NaN"),
        (one_hot_times_infinity, "0 times infinity is NaN"),
        (mask_of_floats, "must be of dtype bool, and torch.eye makes floats"),
        (index_of_floats, "must be of dtype bool, and torch.eye makes floats"),
        (not_of_floats, "must be of dtype bool, and torch.eye makes floats"),
        (mask_of_n, "N rows meet 2N"),
        (labels_of_n, "N rows meet 2N"),
        (lambda z1, z2, temperature: loss_of(torch.cat([z1, z1]), temperature), "the same view"),
        (lambda z1, z2, temperature: loss_of(torch.cat([z2, z2]), temperature), "the same view"),
        (averaged_twice, "divided by a number of rows once more"),
        (averaged_and_over_n, "divided by a number of rows once more"),
        (halved, "half of what it should be"),
        (nll_of_logits, "The denominator is missing"),
        (functools.partial(masked_with, -100.0), "masked with a finite number"),
        (nt_xent_exponentials, "its logarithm minus infinity. Stay with logarithms"),
        (
            lambda z1, z2, temperature: F.cross_entropy(*scaled(z1.double(), z2.double(), temperature)),
            "The numbers are right. The dtype should be that of the input, torch.float32",
        ),
        (
            lambda z1, z2, temperature: F.cross_entropy(*scaled(z1, z2, temperature)).bfloat16(),
            "The dtype should be that of the input, torch.float32, but is torch.bfloat16",
        ),
        (
            lambda z1, z2, temperature: nt_xent_matrix(z1, z2, temperature),
            "the work was done by nt_xent_matrix.",
        ),
        (
            lambda z1, z2, temperature: losses.nt_xent(z1, z2, temperature),
            "the work was done by losses.nt_xent.",
        ),
        (
            lambda z1, z2, temperature: losses.NTXentLoss(temperature)(z1, z2),
            "the work was done by losses.NTXentLoss.",
        ),
        (line_of_lengths, "It works for a batch of one only"),
        (fixed_batch, "is a size fixed in your code?"),
        (softmax_then_log, "its logarithm minus infinity. Stay with logarithms"),
        (functools.partial(small_number_in_the_log, 1e-8), "Was a small number added inside a logarithm"),
        (functools.partial(small_number_in_the_log, 1e-12), "Was a small number added inside a logarithm"),
        (clamped_probability, "Was a small number added inside a logarithm, or a probability cut off?"),
        (torch.no_grad()(loss_without_gradient), "no gradient can flow"),
    ],
    "stable_logsumexp": [
        (lambda x: torch.log(torch.exp(x).sum(1)), "exp() overflows"),
        (lambda x: (x - x.max(1, keepdim=True).values).exp().sum(1).log(), "never added back"),
        (
            lambda x: x.max() + torch.log(torch.exp(x - x.max()).sum(1)),
            "One maximum was taken for the whole matrix",
        ),
        (
            lambda x: x.min(1).values + (x - x.min(1, keepdim=True).values).exp().sum(1).log(),
            "not the row's largest",
        ),
        (lambda x: torch.logsumexp(x, 0), "over the columns (dim 0)"),
        (lambda x: torch.logsumexp(x, 1, keepdim=True), "reduced dimension was kept"),
        (lambda x: torch.logsumexp(x, (0, 1)), "summed to one number"),
        (lambda x: x.max(1).values, "only each row's largest"),
        (lambda x: x.exp().sum(1), "logarithm is missing"),
        (lambda x: x.clamp(max=80).exp().sum(1).log(), "off at a limit"),
        (lambda x: x.max(1).values + (x - x.max(1).values).exp().sum(1).log(), "do not line up"),
        (
            lambda x: x.amax(1, keepdim=True) + (x - x.amax(1, keepdim=True)).exp().sum(1).log(),
            "(M, 1) + (M,) broadcasts to (M, M)",
        ),
        (
            lambda x: x.amax(1) + (x - x.amax(1)[:, None]).exp().sum(1, keepdim=True).log(),
            "(M, 1) + (M,) broadcasts to (M, M)",
        ),
        (lambda x: x - x.max(1), "values and indices"),
        (
            lambda x: (x - x.amax(1, keepdim=True)).exp().sum(1).log() - x.amax(1),
            "subtracted again after the logarithm",
        ),
        (lambda x: x.amax(1) + (x - x.amax(1, keepdim=True)).exp().sum(1), "logarithm is missing"),
        (lambda x: x.amax(1) + x.exp().sum(1).log(), "never subtracted before exp()"),
        (
            lambda x: x.abs().amax(1) + (x - x.abs().amax(1, keepdim=True)).exp().sum(1).log(),
            "not the row's largest",
        ),
        (lambda x: torch.logsumexp(x, 1), "the work was done by logsumexp."),
        (lambda x: x.logsumexp(dim=1), "the work was done by logsumexp."),
        (lambda x: torch.special.logsumexp(x, 1), "the work was done by special_logsumexp."),
        (
            lambda x: x.double().exp().sum(1).log() if x.max() < 90 else stable(x.double()),
            "The numbers are right. The dtype should be that of the input",
        ),
        (index_of_the_largest, "an index, not its value"),
    ],
}
