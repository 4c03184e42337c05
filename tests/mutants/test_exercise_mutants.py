"""Each classic wrong answer to an exercise is rejected, and with its own diagnosis."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from simclr_edu import augment as augmentations
from simclr_edu import diagnostics, evaluate, losses
from simclr_edu.course.exercises import augmentation, embeddings, nt_xent, pretraining, temperature
from simclr_edu.course.exercises import linear_probe as probe
from simclr_edu.course.exercises.kit import Exercise
from simclr_edu.simclr import ProjectionHead

MODULES = (augmentation, nt_xent, temperature, pretraining, embeddings, probe)
SEEDS = (0, 11)
MUTANTS = []


def wrong(name, phrase):
    """Register a wrong answer to an exercise, with words that only its diagnosis holds."""

    def register(function):
        MUTANTS.append((name, phrase, function))
        return function

    return register


def diagnose(name, function, seed):
    module = next(m for m in MODULES if hasattr(m, f"diagnose_{name}"))
    return getattr(module, f"diagnose_{name}")(function, seed)


# --- 01: horizontal flip ---

wrong("horizontal_flip", "No image was flipped")(lambda x, coin: x.clone())
wrong("horizontal_flip", "the second argument, coin,")(lambda x, coin: torch.flip(x, [3]))
wrong("horizontal_flip", "upside down")(
    lambda x, coin: torch.stack([i.flip(1) if f else i for i, f in zip(x, coin, strict=True)])
)
wrong("horizontal_flip", "turn by 180")(lambda x, coin: torch.where(coin.view(-1, 1, 1, 1), x.flip(2, 3), x))
wrong("horizontal_flip", "where coin is False")(
    lambda x, coin: torch.where(coin.view(-1, 1, 1, 1), x, x.flip(3))
)
wrong("horizontal_flip", "One decision")(lambda x, coin: x.flip(3) if bool(coin[0]) else x.clone())
wrong("horizontal_flip", "One decision")(lambda x, coin: x.flip(3) if coin.any() else x.clone())
wrong("horizontal_flip", "colour channels were reversed")(lambda x, coin: x.flip(1))
wrong("horizontal_flip", "Images changed places")(lambda x, coin: x.flip(0))
wrong("horizontal_flip", "Only the flipped images")(lambda x, coin: x[coin].flip(3))
wrong("horizontal_flip", "lines up with the batch")(lambda x, coin: torch.where(coin, x.flip(3), x))


@wrong("horizontal_flip", "in place")
def flip_in_place(x, coin):
    x[coin] = x[coin].flip(3)
    return x


@wrong("horizontal_flip", "A return stands inside a loop")
def returns_the_first(x, coin):
    for image, flip in zip(x, coin, strict=True):
        return torch.stack([image.flip(2) if flip else image])


@wrong("horizontal_flip", "That is one picture, (3, ")
def returns_one_picture(x, coin):
    for i in range(len(x)):
        picture = x[i].flip(-1) if coin[i] else x[i]
    return picture


wrong("horizontal_flip", "The dtype should be that of the input, torch.float32, but is torch.float64")(
    lambda x, coin: torch.where(coin.view(-1, 1, 1, 1), x.flip(-1), x).double()
)

wrong("horizontal_flip", "the work was done by augment.horizontal_flip")(
    lambda x, coin: augmentations.horizontal_flip(x, coin)
)

# --- 01: grayscale ---

wrong("grayscale", "the work was done by augment.to_grayscale")(lambda x: augmentations.to_grayscale(x))


def luma(x, weights=(0.299, 0.587, 0.114)):
    return (x * torch.tensor(weights).view(1, 3, 1, 1)).sum(1)  # (B, H, W)


wrong("grayscale", "lost their dimension")(lambda x: luma(x).expand_as(x))
wrong("grayscale", "lost their dimension")(lambda x: luma(x).expand(-1, 3, -1, -1))
wrong("grayscale", "lost their dimension")(lambda x: luma(x).repeat(1, 3, 1, 1))
wrong("grayscale", "Channels are dimension 1")(lambda x: torch.cat([luma(x)] * 3))
wrong("grayscale", "Channels are dimension 1")(lambda x: luma(x)[:, None].repeat(3, 1, 1, 1))
wrong("grayscale", "Channels are dimension 1")(lambda x: torch.stack([luma(x)] * 3))
wrong("grayscale", "The weights must add up to 1. Yours, 0.299, 0.578, 0.114, add up to 0.991.")(
    lambda x: luma(x, (0.299, 0.578, 0.114))[:, None].expand(-1, 3, -1, -1)
)
wrong("grayscale", "0.300, 0.590, 0.110, add up to 1, but")(
    lambda x: luma(x, (0.3, 0.59, 0.11))[:, None].expand(-1, 3, -1, -1)
)
wrong("grayscale", "The dtype should be that of the input, torch.float32, but is torch.float16")(
    lambda x: luma(x)[:, None].expand(-1, 3, -1, -1).half()
)
wrong("grayscale", "That is one picture, (3, ")(lambda x: luma(x)[:1].expand(3, -1, -1))
wrong("grayscale", "plain mean")(lambda x: x.mean(1, keepdim=True).expand(-1, 3, -1, -1))
wrong("grayscale", "blue, green, red")(
    lambda x: (0.114 * x[:, 0] + 0.587 * x[:, 1] + 0.299 * x[:, 2])[:, None].repeat(1, 3, 1, 1)
)
wrong("grayscale", "has one channel")(
    lambda x: (0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None]
)
wrong("grayscale", "has one channel")(lambda x: 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])
wrong("grayscale", "709")(
    lambda x: (0.2126 * x[:, 0] + 0.7152 * x[:, 1] + 0.0722 * x[:, 2])[:, None].repeat(1, 3, 1, 1)
)
wrong("grayscale", "summed without weights")(lambda x: x.sum(1, keepdim=True).repeat(1, 3, 1, 1))
wrong("grayscale", "still in colour")(lambda x: x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1))
wrong("grayscale", "brightest channel")(lambda x: x.max(1, keepdim=True).values.repeat(1, 3, 1, 1))
wrong("grayscale", "keeps one channel only")(lambda x: x[:, [1, 1, 1]])
wrong("grayscale", "divided by 3 once more")(
    lambda x: (
        (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).mean(1, keepdim=True).repeat(1, 3, 1, 1)
    )
)

# --- 01: two views ---

wrong("two_views", "Neither view is augmented")(lambda augment, x: (x, x))
wrong("two_views", "v1 is the original")(lambda augment, x: (x, augment(x)))
wrong("two_views", "v2 is the original")(lambda augment, x: (augment(x), x))
wrong("two_views", "cut in halves")(
    lambda augment, x: augment(x).chunk(2) if len(x) % 2 == 0 else (x[:2], x[2:])
)
wrong("two_views", "two tensors")(lambda augment, x: torch.stack([augment(x), augment(x)]))
wrong("two_views", "a list of length 2 whose entries are tuples. v1 and v2 are whole batches")(
    lambda augment, x: [tuple(augment(i.expand(2, -1, -1, -1))) for i in x]
)
wrong("two_views", "a tuple of length 2 whose entries are lists")(
    lambda augment, x: (list(augment(x)), list(augment(x)))
)
wrong("two_views", "view of image")(lambda augment, x: (augment(x), augment(x.flip(0))))
wrong("two_views", "Your function never uses its argument augment.")(lambda augment, x: (x, x + 1))
wrong("two_views", "The work was done by augment.SimCLRAugment")(
    lambda augment, x: augmentations.SimCLRAugment(x.shape[-1]).two_views(x)
)
wrong("two_views", "view of image")(lambda augment, x: augment(x.repeat_interleave(2, 0)).chunk(2))
wrong("two_views", "not what augment returned")(lambda augment, x: (augment(x), augment(x) * 0.5))
wrong("two_views", "one image was augmented for all")(
    lambda augment, x: (augment(x[:1]).expand_as(x), augment(x[:1]).expand_as(x))
)


@wrong("two_views", "same view twice")
def one_call(augment, x):
    v = augment(x)
    return v, v


@wrong("two_views", "same view twice")
def seeded(augment, x):
    torch.manual_seed(0)
    v1 = augment(x)
    torch.manual_seed(0)
    return v1, augment(x)


@wrong("two_views", "a view of a view")
def chained(augment, x):
    v1 = augment(x)
    return v1, augment(v1)


@wrong("two_views", "One draw for the whole batch")
def seed_per_view(augment, x):
    views = []
    for seed in (1, 2):
        rows = []
        for image in x:
            torch.manual_seed(seed)
            rows.append(augment(image[None]))
        views.append(torch.cat(rows))
    return tuple(views)


# --- 02: cosine similarity ---

wrong("cosine_similarity_matrix", "dot products")(lambda z: z @ z.T)
wrong("cosine_similarity_matrix", "over the batch (dim 0)")(
    lambda z: F.normalize(z, dim=0) @ F.normalize(z, dim=0).T
)
wrong("cosine_similarity_matrix", "squared length")(
    lambda z: (z / (z * z).sum(1, keepdim=True)) @ (z / (z * z).sum(1, keepdim=True)).T
)
wrong("cosine_similarity_matrix", "divided by one number")(lambda z: (z / z.norm()) @ (z / z.norm()).T)
wrong("cosine_similarity_matrix", "Only one of the two sides")(
    lambda z: (z / z.norm(dim=1, keepdim=True)) @ z.T
)
wrong("cosine_similarity_matrix", "the d columns with each other")(
    lambda z: F.normalize(z).T @ F.normalize(z)
)
wrong("cosine_similarity_matrix", "compared with itself only")(lambda z: F.cosine_similarity(z, z))
wrong("cosine_similarity_matrix", "Euclidean distances")(lambda z: (z[:, None] - z[None]).norm(dim=2))
wrong("cosine_similarity_matrix", "absolute values (L1)")(
    lambda z: F.normalize(z, p=1.0) @ F.normalize(z, p=1.0).T
)
wrong("cosine_similarity_matrix", "the correlation")(lambda z: torch.corrcoef(z))
wrong("cosine_similarity_matrix", "not multiplied with each other")(lambda z: F.normalize(z))
wrong("cosine_similarity_matrix", "the work was done by diagnostics.similarity_matrix")(
    lambda z: diagnostics.similarity_matrix(z)
)
wrong("cosine_similarity_matrix", "The dtype should be that of the input, torch.float32")(
    lambda z: F.normalize(z.double()) @ F.normalize(z.double()).T
)


@wrong("cosine_similarity_matrix", "What z.div(...) returns is thrown away")
def length_not_kept(z):
    z.div(z.norm(dim=1, keepdim=True))
    return z @ z.T


wrong("cosine_similarity_matrix", "keepdim")(lambda z: (z / z.norm(dim=1)) @ (z / z.norm(dim=1)).T)

# --- 02: index of the positive ---

wrong("positive_index", "points at itself")(lambda n: torch.arange(2 * n))
wrong("positive_index", "as in CLIP")(lambda n: torch.cat([torch.arange(n), torch.arange(n)]))
wrong("positive_index", "All zeros")(lambda n: torch.zeros(2 * n, dtype=torch.int64))
wrong("positive_index", "pairs of neighbours")(lambda n: torch.arange(2 * n).view(n, 2).flip(1).flatten())
wrong("positive_index", "past the last column")(lambda n: torch.arange(2 * n) + n)
wrong("positive_index", "after the diagonal has been deleted")(
    lambda n: torch.cat([torch.arange(n) + n - 1, torch.arange(n)])
)
wrong("positive_index", "only N entries")(lambda n: torch.arange(n, 2 * n))
wrong("positive_index", "order is reversed")(lambda n: torch.arange(2 * n).flip(0))
wrong("positive_index", "Both halves point into the second")(lambda n: torch.arange(n).repeat(2) + n)
wrong("positive_index", "The dtype is the problem, not the numbers")(lambda n: torch.arange(2.0 * n).roll(n))
wrong("positive_index", "rolled by 1; the positive lies n rows away")(lambda n: torch.arange(2 * n).roll(1))
wrong("positive_index", "rolled by -1; the positive")(lambda n: torch.arange(2 * n).roll(-1))
wrong("positive_index", "rolled by 2; the positive")(lambda n: torch.arange(2 * n).roll(2))
wrong("positive_index", "off by one")(lambda n: (torch.arange(2 * n) + n + 1) % (2 * n))

wrong("positive_index", "row n is the first of the second half")(
    lambda n: torch.tensor([i + n if i <= n else i - n for i in range(2 * n)])
)

# --- 02: NT-Xent ---

tau = 0.5  # a name of the notebook's, which a function reads by mistake
matrix = torch.eye(3)


def scaled(z1, z2, temperature):
    """Similarities over temperature, the diagonal at minus infinity, and the targets."""
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return logits, torch.arange(len(z)).roll(len(z1))


@wrong("nt_xent", "diagonal is not masked")
def unmasked(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "masked with 0")
def masked_with_zero(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature * (1 - torch.eye(len(z)))
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "target column was not shifted")
def unshifted(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    logits = logits[~torch.eye(len(logits), dtype=torch.bool)].view(len(logits), -1)
    return F.cross_entropy(logits, target)


@wrong("nt_xent", "target column was not shifted")
def unshifted_gather(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    logits = logits[~torch.eye(len(logits), dtype=torch.bool)].view(len(logits), -1)
    return -logits.log_softmax(1)[torch.arange(len(logits)), target].mean()


@wrong("nt_xent", "no l2-normalisation")
def raw(z1, z2, temperature):
    z = torch.cat([z1, z2])
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "wrong dimension")
def columns(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=0)
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "wrong dimension")
def columns_per_view(z1, z2, temperature):
    z = torch.cat([F.normalize(z1, dim=0), F.normalize(z2, dim=0)])
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "whole matrix was normalised at once")
def one_norm(z1, z2, temperature):
    z = torch.cat([z1, z2])
    z = z / z.norm()
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "temperature is ignored")
def no_temperature(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, 1.0))


@wrong("nt_xent", "multiplied by the temperature")
def times_temperature(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, 1 / temperature))


@wrong("nt_xent", "Only N anchors")
def half(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return F.cross_entropy(logits[: len(z1)], target[: len(z1)])


@wrong("nt_xent", "The denominator leaves out the positive")
def decoupled(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    positive = logits.gather(1, target[:, None])
    negatives = logits.scatter(1, target[:, None], -math.inf)
    return (negatives.exp().sum(1, keepdim=True).log() - positive).mean()


@wrong("nt_xent", "The denominator leaves out the positive")
def negatives_by_subtraction(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    power = torch.exp(z @ z.T / temperature)
    positive = torch.cat([power.diag(len(z1)), power.diag(-len(z1))])
    return -torch.log(positive / (power.sum(1) - power.diag() - positive)).mean()


@wrong("nt_xent", "The denominator leaves out the positive")
def negatives_with_epsilon(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    positive = logits.gather(1, target[:, None])[:, 0]
    negatives = logits.exp().scatter(1, target[:, None], 0.0)
    return -(positive - torch.log(negatives.sum(1) + 1e-8)).mean()


@wrong("nt_xent", "overflows: in float32 exp() is infinity above 88.7")
def plain_powers(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    power = torch.exp(z @ z.T / temperature)
    positive = torch.cat([power.diag(len(z1)), power.diag(-len(z1))])
    return -torch.log(positive / (power.sum(1) - power.diag())).mean()


@wrong("nt_xent", "overflows: in float32 exp() is infinity above 88.7")
def plain_powers_in_loops(z1, z2, temperature):
    z, n, total = F.normalize(torch.cat([z1, z2]), dim=1), len(z1), 0.0
    for i in range(2 * n):
        powers = {j: torch.exp(z[i] @ z[j] / temperature) for j in range(2 * n) if j != i}
        total = total - torch.log(powers[(i + n) % (2 * n)]) + torch.log(sum(powers.values()))
    return total / (2 * n)


@wrong("nt_xent", "Are large logits cut off?")
def clamped_logits(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return F.cross_entropy(logits.clamp(max=80), target)


@wrong("nt_xent", "summed, not averaged")
def summed(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature), reduction="sum")


@wrong("nt_xent", "divided by N")
def over_n(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature), reduction="sum") / len(z1)


@wrong("nt_xent", "sign is wrong")
def no_minus(z1, z2, temperature):
    return -F.cross_entropy(*scaled(z1, z2, temperature))


@wrong("nt_xent", "neighbouring rows")
def neighbours(z1, z2, temperature):
    logits, _ = scaled(z1, z2, temperature)
    return F.cross_entropy(logits, torch.arange(len(logits)) ^ 1)


@wrong("nt_xent", "as in CLIP")
def clip_one_way(z1, z2, temperature):
    return F.cross_entropy(F.normalize(z1) @ F.normalize(z2).T / temperature, torch.arange(len(z1)))


@wrong("nt_xent", "as in CLIP")
def clip_two_ways(z1, z2, temperature):
    logits, target = F.normalize(z1) @ F.normalize(z2).T / temperature, torch.arange(len(z1))
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


@wrong("nt_xent", "row itself")
def own_target(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]))
    return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)))


@wrong("nt_xent", "column 0 in every row")
def zeros(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    logits = logits[~torch.eye(len(logits), dtype=torch.bool)].view(len(logits), -1)
    return F.cross_entropy(logits, torch.zeros_like(target))


@wrong("nt_xent", "only one of numerator and denominator")
def temperature_above(z1, z2, temperature):
    logits, target = scaled(z1, z2, 1.0)
    positive = logits.gather(1, target[:, None])[:, 0]
    return (logits.logsumexp(1) - positive / temperature).mean()


@wrong("nt_xent", "only one of numerator and denominator")
def temperature_below(z1, z2, temperature):
    logits, target = scaled(z1, z2, 1.0)
    positive = logits.gather(1, target[:, None])[:, 0]
    return ((logits / temperature).logsumexp(1) - positive).mean()


@wrong("nt_xent", "logarithm is missing")
def no_log(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return -logits.softmax(1).gather(1, target[:, None]).mean()


@wrong("nt_xent", "logarithm was taken after averaging")
def log_of_mean(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return -torch.log(logits.softmax(1).gather(1, target[:, None]).mean())


@wrong("nt_xent", "softmax was applied before")
def softmax_twice(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return F.cross_entropy(logits.softmax(1), target)


@wrong("nt_xent", "Two mistakes at once. First: The diagonal is not masked")
def unmasked_and_no_temperature(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return F.cross_entropy(z @ z.T, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "no gradient can flow")
def item(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature)).item()


@wrong("nt_xent", "does not reach z2")
def stop_gradient(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2.detach(), temperature))


@wrong("nt_xent", "The loss is infinite: a row's label points at a masked entry")
def masked_target(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return F.cross_entropy(logits, torch.arange(len(target)))


@wrong("nt_xent", "The loss is infinite: a row's label points at a masked entry")
def masked_half_of_the_targets(z1, z2, temperature):
    logits, _ = scaled(z1, z2, temperature)
    return F.cross_entropy(logits, torch.cat([torch.arange(len(z1)), torch.arange(len(z1))]))


@wrong("nt_xent", "never uses its argument temperature; it reads tau from outside")
def global_temperature(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / tau).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "The values differ. Your function never uses its argument temperature.")
def fixed_temperature(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, 0.5))


@wrong("nt_xent", "What logits.masked_fill(...) returns is thrown away")
def mask_not_kept(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature
    logits.masked_fill(torch.eye(len(z), dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "What F.normalize(...) returns is thrown away")
def norm_not_kept(z1, z2, temperature):
    z = torch.cat([z1, z2])
    F.normalize(z, dim=1)
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def loss_of(z, temperature):
    """The rest of the loss, once the views are in one matrix."""
    z, n = F.normalize(z, dim=1), len(z) // 2
    return F.cross_entropy((z @ z.T / temperature).fill_diagonal_(-math.inf), torch.arange(2 * n).roll(n))


@wrong("nt_xent", "The views are interleaved")
def interleaved_rows(z1, z2, temperature):
    return loss_of(torch.stack([z1, z2], 1).reshape(2 * len(z1), -1), temperature)


@wrong("nt_xent", "dim 1 joins the features")
def side_by_side(z1, z2, temperature):
    n = len(z1)
    z = F.normalize(torch.cat([z1, z2], 1), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


@wrong("nt_xent", "stack makes a new dimension")
def stacked(z1, z2, temperature):
    n = len(z1)
    z = F.normalize(torch.stack([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


@wrong("nt_xent", "0 times infinity is NaN")
def zero_times_infinity(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature - torch.eye(len(z)) * torch.inf
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "0 times infinity is NaN")
def one_hot_times_infinity(z1, z2, temperature):
    z, n = F.normalize(torch.cat([z1, z2]), dim=1), len(z1)
    logits = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    positive = torch.eye(2 * n).roll(n, 1)
    return -(positive * logits.log_softmax(1)).sum(1).mean()


@wrong("nt_xent", "must be of dtype bool, and torch.eye makes floats")
def mask_of_floats(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z)), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "must be of dtype bool, and torch.eye makes floats")
def index_of_floats(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature
    logits[torch.eye(len(z))] = -math.inf
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "must be of dtype bool, and torch.eye makes floats")
def not_of_floats(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature)[~torch.eye(len(z))].view(len(z), -1)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "N rows meet 2N")
def mask_of_n(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z1), dtype=torch.bool), -math.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


@wrong("nt_xent", "N rows meet 2N")
def labels_of_n(z1, z2, temperature):
    logits, target = scaled(z1, z2, temperature)
    return F.cross_entropy(logits, target[: len(z1)])


wrong("nt_xent", "the same view")(lambda z1, z2, temperature: loss_of(torch.cat([z1, z1]), temperature))
wrong("nt_xent", "the same view")(lambda z1, z2, temperature: loss_of(torch.cat([z2, z2]), temperature))


@wrong("nt_xent", "divided by a number of rows once more")
def averaged_twice(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature)) / (2 * len(z1))


@wrong("nt_xent", "divided by a number of rows once more")
def averaged_and_over_n(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature)) / len(z1)


@wrong("nt_xent", "half of what it should be")
def halved(z1, z2, temperature):
    return F.cross_entropy(*scaled(z1, z2, temperature)) / 2


@wrong("nt_xent", "The denominator is missing")
def nll_of_logits(z1, z2, temperature):
    return F.nll_loss(*scaled(z1, z2, temperature))


def masked_with(value, z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), value)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


for value in (-1e9, -1e4, -100.0):
    wrong("nt_xent", "masked with a finite number")(functools.partial(masked_with, value))


@wrong("nt_xent", "masked with a finite number")
def identity_subtracted(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature - 1e9 * torch.eye(len(z))
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


wrong("nt_xent", "The numbers are right. The dtype should be that of the input, torch.float32")(
    lambda z1, z2, temperature: F.cross_entropy(*scaled(z1.double(), z2.double(), temperature))
)
wrong("nt_xent", "The dtype should be that of the input, torch.float32, but is torch.bfloat16")(
    lambda z1, z2, temperature: F.cross_entropy(*scaled(z1, z2, temperature)).bfloat16()
)


def nt_xent_matrix(z1, z2, tau):
    return F.cross_entropy(*scaled(z1, z2, tau))


wrong("nt_xent", "the work was done by nt_xent_matrix.")(
    lambda z1, z2, temperature: nt_xent_matrix(z1, z2, temperature)
)
wrong("nt_xent", "the work was done by losses.nt_xent.")(
    lambda z1, z2, temperature: losses.nt_xent(z1, z2, temperature)
)
wrong("nt_xent", "the work was done by losses.NTXentLoss.")(
    lambda z1, z2, temperature: losses.NTXentLoss(temperature)(z1, z2)
)


@wrong("nt_xent", "It works for a batch of one only")
def line_of_lengths(z1, z2, temperature):
    z = torch.cat([z1, z2])
    lengths = (z / z.norm(dim=1)[: len(z1)]).norm()  # (2N, d) over (N,)
    return F.cross_entropy(*scaled(z1, z2, temperature)) + 0 * lengths


@wrong("nt_xent", "is a size fixed in your code?")
def fixed_batch(z1, z2, temperature, n=2):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature - 1e9 * torch.eye(2 * n)
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


# --- 02: log-sum-exp ---

wrong("stable_logsumexp", "exp() overflows")(lambda x: torch.log(torch.exp(x).sum(1)))
wrong("stable_logsumexp", "never added back")(
    lambda x: (x - x.max(1, keepdim=True).values).exp().sum(1).log()
)
wrong("stable_logsumexp", "One maximum was taken for the whole matrix")(
    lambda x: x.max() + torch.log(torch.exp(x - x.max()).sum(1))
)
wrong("stable_logsumexp", "not the row's largest")(
    lambda x: x.min(1).values + (x - x.min(1, keepdim=True).values).exp().sum(1).log()
)
wrong("stable_logsumexp", "over the columns (dim 0)")(lambda x: torch.logsumexp(x, 0))
wrong("stable_logsumexp", "reduced dimension was kept")(lambda x: torch.logsumexp(x, 1, keepdim=True))
wrong("stable_logsumexp", "summed to one number")(lambda x: torch.logsumexp(x, (0, 1)))
wrong("stable_logsumexp", "only each row's largest")(lambda x: x.max(1).values)
wrong("stable_logsumexp", "logarithm is missing")(lambda x: x.exp().sum(1))
wrong("stable_logsumexp", "off at a limit")(lambda x: x.clamp(max=80).exp().sum(1).log())
wrong("stable_logsumexp", "do not line up")(
    lambda x: x.max(1).values + (x - x.max(1).values).exp().sum(1).log()
)
wrong("stable_logsumexp", "(M, 1) + (M,) broadcasts to (M, M)")(
    lambda x: x.amax(1, keepdim=True) + (x - x.amax(1, keepdim=True)).exp().sum(1).log()
)
wrong("stable_logsumexp", "(M, 1) + (M,) broadcasts to (M, M)")(
    lambda x: x.amax(1) + (x - x.amax(1)[:, None]).exp().sum(1, keepdim=True).log()
)
wrong("stable_logsumexp", "values and indices")(lambda x: x - x.max(1))

wrong("stable_logsumexp", "subtracted again after the logarithm")(
    lambda x: (x - x.amax(1, keepdim=True)).exp().sum(1).log() - x.amax(1)
)
wrong("stable_logsumexp", "logarithm is missing")(
    lambda x: x.amax(1) + (x - x.amax(1, keepdim=True)).exp().sum(1)
)
wrong("stable_logsumexp", "never subtracted before exp()")(lambda x: x.amax(1) + x.exp().sum(1).log())
wrong("stable_logsumexp", "not the row's largest")(
    lambda x: x.abs().amax(1) + (x - x.abs().amax(1, keepdim=True)).exp().sum(1).log()
)
wrong("stable_logsumexp", "the work was done by logsumexp.")(lambda x: torch.logsumexp(x, 1))
wrong("stable_logsumexp", "the work was done by logsumexp.")(lambda x: x.logsumexp(dim=1))
wrong("stable_logsumexp", "the work was done by special_logsumexp.")(lambda x: torch.special.logsumexp(x, 1))
wrong("stable_logsumexp", "The numbers are right. The dtype should be that of the input")(
    lambda x: x.double().exp().sum(1).log() if x.max() < 90 else stable(x.double())
)


def stable(x):
    return x.amax(1) + (x - x.amax(1, keepdim=True)).exp().sum(1).log()


@wrong("stable_logsumexp", "an index, not its value")
def index_of_the_largest(x):
    m = x.argmax(dim=1, keepdim=True)
    return m[:, 0] + (x - m).exp().sum(1).log()


# --- 03: softmax weights ---

wrong("softmax_weights", "Subtract first, then divide")(
    lambda s, t: (s - s.max() / t).exp() / (s - s.max() / t).exp().sum()
)
wrong("softmax_weights", "never uses its argument t; it reads tau from outside")(
    lambda s, t: (s / tau).softmax(0)
)
wrong("softmax_weights", "the work was done by diagnostics.softmax_weights")(
    lambda s, t: diagnostics.softmax_weights(s, t)
)
wrong("softmax_weights", "The dtype should be that of the input, torch.float32, but is torch.float64")(
    lambda s, t: (s.double() / t).softmax(0)
)
wrong("softmax_weights", "temperature is ignored")(lambda s, t: torch.softmax(s, 0))
wrong("softmax_weights", "multiplied by the temperature")(lambda s, t: torch.softmax(s * t, 0))
wrong("softmax_weights", "do not add up to 1")(lambda s, t: torch.exp(s / t))
wrong("softmax_weights", "exponential is missing")(lambda s, t: (s / t) / (s / t).sum())
wrong("softmax_weights", "log-softmax")(lambda s, t: torch.log_softmax(s / t, 0))
wrong("softmax_weights", "after the softmax")(lambda s, t: torch.softmax(s, 0) / t)
wrong("softmax_weights", "least similar")(lambda s, t: torch.softmax(-s / t, 0))
wrong("softmax_weights", "overflows in float32")(lambda s, t: torch.exp(s / t) / torch.exp(s / t).sum())
wrong("softmax_weights", "hard maximum")(lambda s, t: (s == s.max()).float())
wrong("softmax_weights", "divided by the largest")(lambda s, t: torch.exp((s - s.max()) / t))

# --- 03: gradient share ---

wrong("gradient_share", "positive is still among the candidates")(lambda s, t: torch.softmax(s / t, 0))
wrong("gradient_share", "positive is still among the candidates")(lambda s, t: (s / t).softmax(0) / t)
wrong("gradient_share", "removed after the softmax")(lambda s, t: torch.softmax(s / t, 0)[1:])
wrong("gradient_share", "gradient of each negative, p / temperature")(lambda s, t: (s / t).softmax(0)[1:] / t)
wrong("gradient_share", "the whole gradient, p - y")(lambda s, t: (s / t).softmax(0) - torch.eye(len(s))[0])
wrong("gradient_share", "an entry for the positive")(
    lambda s, t: torch.cat([torch.zeros(1), (s[1:] / t).softmax(0)])
)
wrong("gradient_share", "last entry was taken for the positive")(lambda s, t: torch.softmax(s[:-1] / t, 0))
wrong("gradient_share", "most similar candidate was taken")(
    lambda s, t: (torch.cat([s[: s.argmax()], s[s.argmax() + 1 :]]) / t).softmax(0)
)
wrong("gradient_share", "temperature is ignored")(lambda s, t: torch.softmax(s[1:], 0))
wrong("gradient_share", "multiplied by the temperature")(lambda s, t: torch.softmax(s[1:] * t, 0))
wrong("gradient_share", "once too often")(lambda s, t: torch.softmax(s[1:] / t, 0) / t)
wrong("gradient_share", "do not add up to 1")(lambda s, t: torch.exp(s[1:] / t))
wrong("gradient_share", "proportional to the similarity itself")(lambda s, t: s[1:] / s[1:].sum())
wrong("gradient_share", "the same share")(lambda s, t: torch.ones_like(s[1:]) / (len(s) - 1))
wrong("gradient_share", "easiest negatives")(lambda s, t: torch.softmax(-s[1:] / t, 0))
wrong("gradient_share", "p (1 - p)")(lambda s, t: (s[1:] / t).softmax(0) - (s[1:] / t).softmax(0) ** 2)
wrong("gradient_share", "hardest negative has 1")(lambda s, t: ((s[1:] - s[1:].max()) / t).exp())
wrong("gradient_share", "logarithms of the shares")(lambda s, t: torch.log_softmax(s[1:] / t, 0))
wrong("gradient_share", "overflows in float32")(
    lambda s, t: torch.exp(s[1:] / t) / torch.exp(s[1:] / t).sum()
)

wrong("gradient_share", "Subtract first, then divide")(
    lambda s, t: (s - s.max() / t).exp() / (s - s.max() / t).exp().sum()
)
wrong("gradient_share", "never uses its argument t; it reads tau from outside")(
    lambda s, t: (s / tau).softmax(0)
)

# --- 03: uniformity ---

wrong("uniformity", "t was squared together")(lambda z, t: (-((torch.pdist(z) * t) ** 2)).exp().mean().log())
wrong("uniformity", "raised to the power t")(lambda z, t: (-(torch.pdist(z) ** t)).exp().mean().log())
wrong("uniformity", "raised to the power t")(lambda z, t: (-t * torch.pdist(z) ** t).exp().mean().log())
wrong("uniformity", "not added up over the d entries")(
    lambda z, t: (-t * (z[:, None] - z) ** 2).exp().mean().log()
)
wrong("uniformity", "triu puts 0")(
    lambda z, t: (-t * torch.cdist(z, z) ** 2).exp().triu(diagonal=1).mean().log()
)
wrong("uniformity", "triu puts 0")(lambda z, t: (-t * torch.cdist(z, z).triu(1) ** 2).exp().mean().log())
wrong("uniformity", "between the d columns")(lambda z, t: (-t * torch.pdist(z.T) ** 2).exp().mean().log())
wrong("uniformity", "no gradient can flow")(lambda z, t: (-t * torch.pdist(z) ** 2).exp().mean().log().item())
wrong("uniformity", "no gradient can flow")(
    lambda z, t: (-t * torch.pdist(z) ** 2).exp().mean().log().detach()
)
wrong("uniformity", "no gradient can flow")(lambda z, t: math.log((-t * torch.pdist(z) ** 2).exp().mean()))
wrong("uniformity", "the gradient of z holds NaN: is there a root of 0?")(
    lambda z, t: (
        (-t * ((z[:, None] - z) ** 2).sum(2).sqrt()[*torch.triu_indices(len(z), len(z), 1)] ** 2)
        .exp()
        .mean()
        .log()
    )
)
wrong("uniformity", "the work was done by diagnostics.uniformity")(lambda z, t: diagnostics.uniformity(z, t))
wrong("uniformity", "never uses its argument t; it reads tau from outside")(
    lambda z, t: (-tau * torch.pdist(z) ** 2).exp().mean().log()
)
wrong("uniformity", "paired with itself")(lambda z, t: (-t * torch.cdist(z, z) ** 2).exp().mean().log())
wrong("uniformity", "not squared")(lambda z, t: (-t * torch.pdist(z)).exp().mean().log())
wrong("uniformity", "logarithm is missing")(lambda z, t: (-t * torch.pdist(z) ** 2).exp().mean())
wrong("uniformity", "wrong sign")(lambda z, t: (t * torch.pdist(z) ** 2).exp().mean().log())
wrong("uniformity", "t is ignored")(lambda z, t: (-2 * torch.pdist(z) ** 2).exp().mean().log())
wrong("uniformity", "exp and log cancel")(lambda z, t: (-t * torch.pdist(z) ** 2).mean())
wrong("uniformity", "summed, not averaged")(lambda z, t: (-t * torch.pdist(z) ** 2).exp().sum().log())
wrong("uniformity", "These are cosines, not squared distances")(
    lambda z, t: (t * (z @ z.T)).exp().mean().log()
)
wrong("uniformity", "These are cosines, not squared distances")(
    lambda z, t: (-t * (z @ z.T)[*torch.triu_indices(len(z), len(z), 1)]).exp().mean().log()
)
wrong("uniformity", "These are cosines, not squared distances")(
    lambda z, t: (-t * (z @ z.T).square()).exp().mean().log()
)
wrong("uniformity", "1 - cosine, for one, is only half")(
    lambda z, t: (-t * (1 - (z @ z.T)[*torch.triu_indices(len(z), len(z), 1)])).exp().mean().log()
)
wrong("uniformity", "outer sign")(lambda z, t: -(-t * torch.pdist(z) ** 2).exp().mean().log())

# --- 04: learning rate ---


def rate(decay, *, warm=lambda step, warmup: step / warmup, progress=None):
    progress = progress or (lambda step, total, warmup: (step - warmup) / (total - warmup))

    def schedule(step, total_steps, warmup_steps, base_lr):
        if step < warmup_steps:
            return base_lr * warm(step, warmup_steps)
        return base_lr * decay(progress(step, total_steps, warmup_steps))

    return schedule


def cosine(p):
    return (1 + math.cos(math.pi * p)) / 2


wrong("learning_rate", "no warm-up")(
    lambda step, total_steps, warmup_steps, base_lr: base_lr * cosine(step / total_steps)
)
wrong("learning_rate", "no warm-up")(rate(cosine, warm=lambda step, warmup: 1.0))
wrong("learning_rate", "warm-up included")(rate(cosine, progress=lambda step, total, warmup: step / total))
wrong("learning_rate", "stretched over total_steps")(
    rate(cosine, progress=lambda step, total, warmup: (step - warmup) / total)
)
wrong("learning_rate", "straight line")(rate(lambda p: 1 - p))
wrong("learning_rate", "factor 1/2 is missing")(rate(lambda p: 1 + math.cos(math.pi * p)))
wrong("learning_rate", "becomes negative")(rate(lambda p: math.cos(math.pi * p)))
wrong("learning_rate", "quarter of a cosine")(rate(lambda p: math.cos(math.pi * p / 2)))
wrong("learning_rate", "goes up instead of down")(rate(lambda p: (1 - math.cos(math.pi * p)) / 2))
wrong("learning_rate", "not from 0 to pi")(rate(lambda p: (1 + math.cos(p)) / 2))
wrong("learning_rate", "in degrees")(rate(lambda p: (1 + math.cos(180 * p)) / 2))
wrong("learning_rate", "base_lr is not used")(
    lambda step, total_steps, warmup_steps, base_lr: rate(cosine)(step, total_steps, warmup_steps, 1.0)
)
wrong("learning_rate", "decay is missing")(rate(lambda p: 1.0))


@wrong("learning_rate", "warmup_steps may be 0")
def divides_by_zero(step, total_steps, warmup_steps, base_lr):
    ramp = min(1.0, step / warmup_steps)
    progress = max(0.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return base_lr * ramp * cosine(progress)


wrong("learning_rate", "never uses its argument base_lr; it reads tau from outside")(
    lambda step, total_steps, warmup_steps, base_lr: rate(cosine)(step, total_steps, warmup_steps, tau)
)

# --- 04: projection head ---


class Twice(nn.Module):
    def __init__(self, in_dim, hidden_dim, out_dim):
        super().__init__()
        self.layers = [nn.Linear(in_dim, hidden_dim), nn.Linear(hidden_dim, out_dim)]

    def forward(self, h):
        return self.layers[1](torch.relu(self.layers[0](h)))


def chain(*layers):
    return nn.Sequential(*layers)


wrong("projection_head", "nothing between the two")(lambda i, m, o: chain(nn.Linear(i, m), nn.Linear(m, o)))
wrong("projection_head", "only one linear layer")(lambda i, m, o: chain(nn.Linear(i, o), nn.ReLU()))
wrong("projection_head", "z is never negative")(
    lambda i, m, o: chain(nn.Linear(i, m), nn.ReLU(), nn.Linear(m, o), nn.ReLU())
)
wrong("projection_head", "before the first layer")(
    lambda i, m, o: chain(nn.ReLU(), nn.Linear(i, m), nn.Linear(m, o))
)
wrong("projection_head", "negative entries")(
    lambda i, m, o: chain(nn.Linear(i, m), nn.Tanh(), nn.Linear(m, o))
)
wrong("projection_head", "negative entries")(
    lambda i, m, o: chain(nn.Linear(i, m), nn.BatchNorm1d(m), nn.Linear(m, o))
)
wrong("projection_head", "never exactly 0")(
    lambda i, m, o: chain(nn.Linear(i, m), nn.Sigmoid(), nn.Linear(m, o))
)
wrong("projection_head", "which width goes where")(
    lambda i, m, o: chain(nn.Linear(i, o), nn.ReLU(), nn.Linear(o, m))
)
wrong("projection_head", "which width goes where")(
    lambda i, m, o: chain(nn.Linear(i, i), nn.ReLU(), nn.Linear(i, o))
)
wrong("projection_head", "3 linear layers")(
    lambda i, m, o: chain(nn.Linear(i, m), nn.ReLU(), nn.Linear(m, m), nn.ReLU(), nn.Linear(m, o))
)
wrong("projection_head", "returned a class")(lambda i, m, o: Twice)
wrong("projection_head", "no parameters")(Twice)
wrong("projection_head", "must return one nn.Module")(
    lambda i, m, o: [nn.Linear(i, m), nn.ReLU(), nn.Linear(m, o)]
)
wrong("projection_head", "RuntimeError")(lambda i, m, o: chain(nn.Linear(m, i), nn.ReLU(), nn.Linear(i, o)))

wrong("projection_head", "The work was done by simclr.ProjectionHead. Write it yourself")(
    lambda i, m, o: ProjectionHead(i, m, o)
)
wrong("projection_head", "never uses its argument m; it reads width from outside")(
    lambda i, m, o: chain(nn.Linear(i, width), nn.ReLU(), nn.Linear(width, o))
)
width = 3

# --- 04: training step ---


def update(loss, optimizer):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def fused(model, views, which=1):
    return model(torch.cat(views))[which].chunk(2)


@wrong("train_step", "The model ran twice")
def two_passes(model, views, optimizer, loss_fn):
    (_, z1), (_, z2) = model(views[0]), model(views[1])
    return update(loss_fn(z1, z2), optimizer)


@wrong("train_step", "never cleared")
def no_zero_grad(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("train_step", "never took its step")
def no_step(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    optimizer.zero_grad()
    loss.backward()
    return loss.item()


@wrong("train_step", "cleared between backward and step")
def cleared_late(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


@wrong("train_step", "backward is missing")
def no_backward(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


@wrong("train_step", "Neither backward nor a step")
def only_the_loss(model, views, optimizer, loss_fn):
    return loss_fn(*fused(model, views)).item()


@wrong("train_step", "stepped before backward")
def step_first(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    optimizer.step()
    optimizer.zero_grad()
    loss.backward()
    return loss.item()


@wrong("train_step", "stepped before backward")
def step_first_cleared(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    optimizer.zero_grad()
    optimizer.step()
    loss.backward()
    return loss.item()


@wrong("train_step", "loss was taken on h")
def on_h(model, views, optimizer, loss_fn):
    return update(loss_fn(*fused(model, views, which=0)), optimizer)


@wrong("train_step", "the same view")
def same_view(model, views, optimizer, loss_fn):
    v1, _ = views
    return update(loss_fn(*fused(model, (v1, v1))), optimizer)


@wrong("train_step", "evaluation mode")
def in_eval(model, views, optimizer, loss_fn):
    model.eval()
    return update(loss_fn(*fused(model, views)), optimizer)


@wrong("train_step", "along its columns")
def cut_columns(model, views, optimizer, loss_fn):
    z1, z2 = model(torch.cat(views))[1].chunk(2, dim=1)
    return update(loss_fn(z1, z2), optimizer)


@wrong("train_step", "even and odd rows")
def interleaved(model, views, optimizer, loss_fn):
    z = model(torch.cat(views))[1]
    return update(loss_fn(z[::2], z[1::2]), optimizer)


@wrong("train_step", "two steps in one training step")
def two_steps(model, views, optimizer, loss_fn):
    value = update(loss_fn(*fused(model, views)), optimizer)
    optimizer.step()
    return value


@wrong("train_step", "another pass after the update")
def loss_afterwards(model, views, optimizer, loss_fn):
    update(loss_fn(*fused(model, views)), optimizer)
    return loss_fn(*fused(model, views)).item()


@wrong("train_step", "still holds the graph")
def keeps_graph(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    update(loss, optimizer)
    return loss


@wrong("train_step", "must return a plain float")
def detached_tensor(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    update(loss, optimizer)
    return loss.detach()


@wrong("train_step", "no graph to go back through")
def under_no_grad(model, views, optimizer, loss_fn):
    with torch.no_grad():
        z1, z2 = fused(model, views)
    return update(loss_fn(z1, z2), optimizer)


@wrong("train_step", "ran 0 times")
def by_hand(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.01 * p.grad
    return loss.item()


@wrong("train_step", "Your function never uses its argument loss_fn.")
def own_loss(model, views, optimizer, loss_fn):
    z1, z2 = fused(model, views)
    return update((z1 - z2).square().mean(), optimizer)


@wrong("train_step", "What F.normalize(...) returns is thrown away")
def normalised_and_forgotten(model, views, optimizer, loss_fn):
    z1, z2 = fused(model, views, which=0)
    F.normalize(z1, dim=1)
    return update(loss_fn(z1, z2), optimizer)


# --- 05: nearest neighbours ---


def cosines(q, g):
    return F.normalize(q, dim=1) @ F.normalize(g, dim=1).T


wrong("nearest_neighbours", "largest dot products")(lambda q, g, k: (q @ g.T).topk(k).indices)
wrong("nearest_neighbours", "Euclidean distance")(lambda q, g, k: torch.cdist(q, g).argsort(1)[:, :k])
wrong("nearest_neighbours", "farthest")(lambda q, g, k: cosines(q, g).argsort(1)[:, :k])
wrong("nearest_neighbours", "reversed order")(lambda q, g, k: cosines(q, g).argsort(1)[:, -k:])
wrong("nearest_neighbours", "order of the gallery")(
    lambda q, g, k: cosines(q, g).topk(k).indices.sort().values
)
wrong("nearest_neighbours", "These are the similarities")(lambda q, g, k: cosines(q, g).topk(k).values)
wrong("nearest_neighbours", "nearest one was skipped")(
    lambda q, g, k: cosines(q, g).topk(k + 1).indices[:, 1:]
)
wrong("nearest_neighbours", "wrong dimension")(lambda q, g, k: cosines(q, g).argsort(0, descending=True)[:k])
wrong("nearest_neighbours", "over the wrong dimension (dim 0)")(
    lambda q, g, k: (F.normalize(q, dim=0) @ F.normalize(g, dim=0).T).topk(k).indices
)
wrong("nearest_neighbours", "never uses its argument gallery; it reads matrix from outside")(
    lambda q, gallery, k: cosines(q, matrix[:, :1].expand(3, q.shape[1])).topk(min(k, 3)).indices
)
wrong("nearest_neighbours", "the work was done by diagnostics.nearest_neighbours")(
    lambda q, g, k: diagnostics.nearest_neighbours(q, g, k)[0]
)
wrong("nearest_neighbours", "not the first k")(lambda q, g, k: cosines(q, g).argsort(1, descending=True))

# --- 05: effective rank ---


def shares(x):
    return torch.linalg.svdvals(x) / torch.linalg.svdvals(x).sum()


wrong("effective_rank", "entropy itself")(lambda x: torch.special.entr(shares(x)).sum())
wrong("effective_rank", "squared singular values")(
    lambda x: torch.special.entr(torch.linalg.svdvals(x) ** 2 / (x**2).sum()).sum().exp()
)
wrong("effective_rank", "not divided by their sum")(
    lambda x: torch.special.entr(torch.linalg.svdvals(x)).sum().exp()
)
wrong("effective_rank", "sign of the entropy")(
    lambda x: torch.special.xlogy(shares(x), shares(x)).sum().exp()
)
wrong("effective_rank", "plain rank")(lambda x: torch.linalg.matrix_rank(x).item())
wrong("effective_rank", "base 2")(lambda x: (torch.special.entr(shares(x)).sum() / math.log(2)).exp())
wrong("effective_rank", "participation ratio")(lambda x: 1 / (shares(x) ** 2).sum())
wrong("effective_rank", "divided by the largest")(
    lambda x: torch.special.entr(torch.linalg.svdvals(x) / torch.linalg.norm(x, 2)).sum().exp()
)
wrong("effective_rank", "0 * log(0)")(
    lambda x: (-(shares(x).round(decimals=6) * shares(x).round(decimals=6).log()).sum()).exp()
)

wrong("effective_rank", "the work was done by diagnostics.effective_rank")(
    lambda x: diagnostics.effective_rank(x)
)
wrong("effective_rank", "The dtype should be that of the input, torch.float32, but is torch.float64")(
    lambda x: torch.special.entr(shares(x.double())).sum().exp()
)

# --- 05: order by class ---

wrong("order_by_class", "the work was done by diagnostics.order_by_class")(
    lambda labels: diagnostics.order_by_class(labels)
)


@wrong("order_by_class", "A return stands inside a loop")
def first_class_only(labels):
    for c in labels.unique():
        return (labels == c).nonzero()[:, 0]


wrong("order_by_class", "sorted labels")(lambda labels: labels.sort().values)
wrong("order_by_class", "descending order")(lambda labels: labels.argsort(descending=True, stable=True))
wrong("order_by_class", "Within a class the order is reversed")(
    lambda labels: torch.tensor(sorted(range(len(labels)), key=lambda i: (int(labels[i]), -i)))
)
wrong("order_by_class", "(its rank)")(lambda labels: labels.argsort(stable=True).argsort())
wrong("order_by_class", "Nothing was reordered")(lambda labels: torch.arange(len(labels)))
wrong("order_by_class", "labels as they came")(lambda labels: labels.clone())
wrong("order_by_class", "names of the classes")(lambda labels: torch.unique(labels))

# --- 06: freeze ---


@wrong("freeze", "still in train mode: BatchNorm")
def left_in_train(encoder):
    encoder.requires_grad_(False)


@wrong("freeze", "still require gradients")
def only_eval(encoder):
    encoder.eval()


@wrong("freeze", "attribute requires_grad")
def attribute(encoder):
    encoder.requires_grad = False
    encoder.eval()


@wrong("freeze", "A copy was frozen")
def on_a_copy(encoder):
    import copy

    return copy.deepcopy(encoder).requires_grad_(False).eval()


@wrong("freeze", "Nothing happened")
def no_grad_inside(encoder):
    with torch.no_grad():
        encoder.train()


@wrong("freeze", "biases can still be trained")
def only_weights(encoder):
    encoder.eval()
    for name, p in encoder.named_parameters():
        if "weight" in name or name.endswith("scale"):
            p.requires_grad = False


@wrong("freeze", "outside convolutions and linear layers")
def only_known_layers(encoder):
    encoder.eval()
    for m in encoder.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            m.requires_grad_(False)


@wrong("freeze", "Only BatchNorm is in evaluation mode")
def dropout_left(encoder):
    encoder.requires_grad_(False)
    for m in encoder.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            m.eval()


@wrong("freeze", "Only a part of the encoder")
def last_layer(encoder):
    encoder.eval()
    encoder[-1].requires_grad_(False)


@wrong("freeze", "outermost module")
def outermost(encoder):
    encoder.requires_grad_(False)
    encoder.training = False


@wrong("freeze", "A return stands inside a loop")
def returns_early(encoder):
    encoder.eval()
    for p in encoder.parameters():
        p.requires_grad = False
        return encoder


@wrong("freeze", "weights or statistics were changed")
def zeroed(encoder):
    encoder.eval()
    for p in encoder.parameters():
        p.requires_grad = False
        p.zero_()


@wrong("freeze", "parameters can still be trained")
def some_left(encoder):
    encoder.eval()
    for i, p in enumerate(encoder.parameters()):
        p.requires_grad = i == 4


# --- 06: features ---


def collect(encoder, images, batch_size, scale=lambda x: x.float() / 255):
    with torch.no_grad():
        return [encoder(scale(b)) for b in images.split(batch_size)]


@wrong("extract_features", "in train mode")
def train_mode(encoder, images, batch_size):
    return torch.cat(collect(encoder, images, batch_size))


@wrong("extract_features", "hold the graph")
def with_graph(encoder, images, batch_size):
    encoder.eval()
    return torch.cat([encoder(b / 255) for b in images.split(batch_size)])


@wrong("extract_features", "last, smaller batch was dropped")
def drop_last(encoder, images, batch_size):
    encoder.eval()
    full = max(1, len(images) // batch_size) * batch_size
    return torch.cat(collect(encoder, images[:full], batch_size))


@wrong("extract_features", "not divided by 255")
def not_scaled(encoder, images, batch_size):
    encoder.eval()
    return torch.cat(collect(encoder, images, batch_size, scale=torch.Tensor.float))


@wrong("extract_features", "not divided by 255")
def bytes_in(encoder, images, batch_size):
    encoder.eval()
    return torch.cat(collect(encoder, images, batch_size, scale=lambda x: x))


@wrong("extract_features", "divided by 256")
def by_256(encoder, images, batch_size):
    encoder.eval()
    return torch.cat(collect(encoder, images, batch_size, scale=lambda x: x / 256))


@wrong("extract_features", "normalised further")
def normalised_input(encoder, images, batch_size):
    encoder.eval()
    return torch.cat(collect(encoder, images, batch_size, scale=lambda x: (x / 255 - 0.5) / 0.5))


@wrong("extract_features", "A return stands inside a loop")
def returns_in_the_first_turn(encoder, images, batch_size):
    encoder.eval()
    for batch in images.split(batch_size):
        with torch.no_grad():
            return encoder(batch / 255)


@wrong("extract_features", "the work was done by evaluate.embed")
def embeds(encoder, images, batch_size):
    encoder.eval()
    return evaluate.embed(encoder, images, batch_size=batch_size)


@wrong("extract_features", "Only the last batch")
def last_batch(encoder, images, batch_size):
    encoder.eval()
    return collect(encoder, images, batch_size)[-1]


@wrong("extract_features", "Only the first batch")
def returns_in_the_loop(encoder, images, batch_size):
    encoder.eval()
    return collect(encoder, images, batch_size)[0]


@wrong("extract_features", "back to front")
def backwards(encoder, images, batch_size):
    encoder.eval()
    return torch.cat(collect(encoder, images, batch_size)).flip(0)


@wrong("extract_features", "order was lost")
def shuffled(encoder, images, batch_size):
    encoder.eval()
    order = torch.arange(len(images)).roll(1)
    return torch.cat(collect(encoder, images[order], batch_size))


@wrong("extract_features", "batch_size is ignored")
def all_at_once(encoder, images, batch_size):
    encoder.eval()
    return collect(encoder, images, len(images))[0]


@wrong("extract_features", "features were normalised")
def normalised_output(encoder, images, batch_size):
    encoder.eval()
    return F.normalize(torch.cat(collect(encoder, images, batch_size)), dim=1)


@wrong("extract_features", "must return one torch.Tensor")
def a_list(encoder, images, batch_size):
    encoder.eval()
    return collect(encoder, images, batch_size)


@wrong("extract_features", "weights or statistics were changed")
def trained_first(encoder, images, batch_size):
    encoder.eval()
    features = torch.cat(collect(encoder, images, batch_size))
    encoder.train()
    encoder(images.float())
    encoder.batches.clear()
    return features


# --- 06: label subset ---


def members(labels, c):
    return (labels == c).nonzero().flatten()


def per_class(labels, generator, count, with_replacement=False):
    chosen = []
    for c in labels.unique():
        m = members(labels, c)
        draw = torch.randint(len(m), (count(len(m)),), generator=generator)
        chosen.append(
            m[draw if with_replacement else torch.randperm(len(m), generator=generator)[: count(len(m))]]
        )
    return torch.cat(chosen)


@wrong("label_subset", "not stratified")
def unstratified(labels, fraction, generator):
    return torch.randperm(len(labels), generator=generator)[: round(fraction * len(labels))]


@wrong("label_subset", "neither stratified nor random")
def first_of_all(labels, fraction, generator):
    return torch.arange(round(fraction * len(labels)))


@wrong("label_subset", "always the first of each class")
def first_of_each(labels, fraction, generator):
    return torch.cat(
        [members(labels, c)[: max(1, round(fraction * (labels == c).sum().item()))] for c in labels.unique()]
    )


@wrong("label_subset", "always the same ones")
def own_seed(labels, fraction, generator):
    generator = torch.Generator().manual_seed(0)
    return per_class(labels, generator, lambda n: max(1, round(fraction * n)))


@wrong("label_subset", "global random state")
def global_draw(labels, fraction, generator):
    return per_class(labels, None, lambda n: max(1, round(fraction * n)))


@wrong("label_subset", "drawn twice")
def replacement(labels, fraction, generator):
    return per_class(labels, generator, lambda n: max(1, 2 * round(fraction * n)), with_replacement=True)


@wrong("label_subset", "has no label")
def rounds_to_zero(labels, fraction, generator):
    return per_class(labels, generator, lambda n: int(fraction * n))


@wrong("label_subset", "whatever its size")
def same_count(labels, fraction, generator):
    each = max(1, round(fraction * len(labels) / len(labels.unique())))
    return per_class(
        labels, generator, lambda n: min(each, int(labels.bincount().min())) if fraction < 1 else n
    )


@wrong("label_subset", "The work was done by evaluate.label_subset")
def ours(labels, fraction, generator):
    return evaluate.label_subset(labels, fraction)


@wrong("label_subset", "never uses its argument generator.")
def without_the_generator(labels, fraction, generator):
    return torch.arange(len(labels))[: round(fraction * len(labels))]


@wrong("label_subset", "a mask")
def mask(labels, fraction, generator):
    keep = torch.zeros(len(labels), dtype=torch.bool)
    keep[per_class(labels, generator, lambda n: max(1, round(fraction * n)))] = True
    return keep


@wrong("label_subset", "look like labels")
def the_labels(labels, fraction, generator):
    return labels[per_class(labels, generator, lambda n: max(1, round(fraction * n)))]


@wrong("label_subset", "1 - fraction")
def the_rest(labels, fraction, generator):
    return per_class(labels, generator, lambda n: max(1, round((1 - fraction) * n)))


@wrong("label_subset", "positions within a class")
def within_class(labels, fraction, generator):
    counts = labels.bincount().tolist()
    chosen = torch.cat(
        [torch.randperm(n, generator=generator)[: max(1, round(fraction * n))] for n in counts]
    )
    return chosen.unique()


@wrong("label_subset", "dtype should be torch.int64")
def floats(labels, fraction, generator):
    return per_class(labels, generator, lambda n: max(1, round(fraction * n))).float()


# --- the tests ---


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("name", "phrase", "function"),
    MUTANTS,
    ids=[f"{n}-{i}-{getattr(f, '__name__', 'partial')}" for i, (n, _, f) in enumerate(MUTANTS)],
)
def test_a_wrong_answer_gets_its_own_diagnosis(name, phrase, function, seed):
    verdict = diagnose(name, function, seed)
    assert verdict.passed is False, verdict
    assert phrase in verdict.diagnosis, verdict


def test_every_exercise_has_its_classic_wrong_answers():
    names = {n.removeprefix("diagnose_") for m in MODULES for n in vars(m) if n.startswith("diagnose_")}
    counts = {name: sum(1 for n, _, _ in MUTANTS if n == name) for name in names}
    print(f"{len(MUTANTS)} wrong answers:", *(f"{n} {k}" for n, k in sorted(counts.items())), sep="\n  ")
    assert len(MUTANTS) >= 60 and all(count >= 4 for count in counts.values()), counts


EXERCISES = [e for m in MODULES for e in vars(m).values() if isinstance(e, Exercise)]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_no_known_mistake_passes_or_is_taken_for_another(exercise):
    pairs = [m for m in exercise.mistakes if m.diagnosis.startswith("Two mistakes")]
    for mistake in [m for m in exercise.mistakes if m not in pairs] + pairs[::12]:
        for implementation in mistake.implementations[:4]:
            verdict = exercise.diagnose(implementation, seed=4)
            assert verdict.passed is False and verdict.diagnosis.startswith(mistake.diagnosis), verdict


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_no_two_mistakes_share_a_diagnosis(exercise):
    said = [m.diagnosis for m in exercise.mistakes]
    assert len(said) == len(set(said)) >= 4
