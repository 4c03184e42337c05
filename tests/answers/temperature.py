"""Answers to the exercises of notebook 03: wrong ones with words of their diagnosis, and right ones."""

import math

import torch
import torch.nn.functional as F

from answers.cell import cell
from simclr_edu import diagnostics


def weights_by_hand(similarities, temperature):
    logits = similarities / temperature
    power = torch.exp(logits - logits.max())
    return power / power.sum()


def share_softmax(similarities, temperature):
    return torch.softmax(similarities[1:] / temperature, dim=0)


def share_renormalised(similarities, temperature):
    weights = torch.softmax(similarities.double() / temperature, dim=0)[1:]
    return (weights / weights.sum()).float()


def share_autograd(similarities, temperature):
    s = similarities.clone().requires_grad_()
    (-torch.log_softmax(s / temperature, 0)[0]).backward()
    return s.grad[1:] / s.grad[1:].sum()


def uniformity_pdist(z, t=2):
    return torch.pdist(z).pow(2).mul(-t).exp().mean().log()


def uniformity_matrix(z, t=2):
    z = F.normalize(z, dim=1)
    squares = 2 - 2 * z @ z.T
    off = ~torch.eye(len(z), dtype=torch.bool)
    return torch.exp(-t * squares[off]).mean().log()


def every_pair_less_those_with_itself(z, t=2):
    potential = (-t * (z[:, None] - z).square().sum(2)).exp()
    return ((potential.sum() - len(z)) / (len(z) * (len(z) - 1))).log()


RIGHT = {
    "softmax_weights": [
        weights_by_hand,
        lambda s, t: (s / t).softmax(-1),
    ],
    "gradient_share": [
        share_softmax,
        share_autograd,
        share_renormalised,
        lambda s, t: (s / t).softmax(0)[1:] / (s / t).softmax(0)[1:].sum(),
    ],
    "uniformity": [
        uniformity_pdist,
        uniformity_matrix,
        lambda z, t=2: (2 * t * (z @ z.T) - 2 * t)[~torch.eye(len(z)).bool()].exp().mean().log(),
        lambda z, t=2: torch.logsumexp(-t * torch.pdist(z) ** 2, 0) - math.log(len(z) * (len(z) - 1) / 2),
        every_pair_less_those_with_itself,  # with a remark
    ],
}


def half_detached_distances(z, t):
    squares = (z[:, None] - z.detach()).square().sum(2)[*torch.triu_indices(len(z), len(z), 1)]
    return (-t * squares).exp().mean().log()


def shifted_by(shift):
    def weights(similarities, temperature):
        logits = similarities / temperature
        powers = (logits - shift(logits)).exp()
        return powers / powers.sum()

    return weights


def marks_its_input(similarities, temperature):
    similarities.requires_grad_()
    (-torch.log_softmax(similarities / temperature, 0)[0]).backward()
    return similarities.grad[1:] / similarities.grad[1:].sum()


def another_default(z, t=3):
    return uniformity_pdist(z, t)


WRONG = {
    "softmax_weights": [
        (shifted_by(lambda logits: -logits.min()), "What was subtracted is not the largest logit"),
        (shifted_by(lambda logits: logits.mean()), "What was subtracted is not the largest logit"),
        (lambda s, t: (s - s.max() / t).exp() / (s - s.max() / t).exp().sum(), "Subtract first, then divide"),
        (
            cell("def f(s, t): return (s / tau).softmax(0)", tau=0.5),
            "never uses its argument t; it reads tau from outside",
        ),
        (lambda s, t: diagnostics.softmax_weights(s, t), "the work was done by diagnostics.softmax_weights"),
        (
            lambda s, t: (s.double() / t).softmax(0),
            "The dtype should be that of the input, torch.float32, but is torch.float64",
        ),
        (lambda s, t: torch.softmax(s, 0), "temperature is ignored"),
        (lambda s, t: torch.softmax(s * t, 0), "multiplied by the temperature"),
        (lambda s, t: torch.exp(s / t), "do not add up to 1"),
        (lambda s, t: (s / t) / (s / t).sum(), "exponential is missing"),
        (lambda s, t: torch.log_softmax(s / t, 0), "log-softmax"),
        (lambda s, t: torch.softmax(s, 0) / t, "after the softmax"),
        (lambda s, t: torch.softmax(-s / t, 0), "least similar"),
        (lambda s, t: torch.exp(s / t) / torch.exp(s / t).sum(), "overflows in float32"),
        (lambda s, t: (s == s.max()).float(), "hard maximum"),
        (lambda s, t: torch.exp((s - s.max()) / t), "divided by the largest"),
    ],
    "gradient_share": [
        (lambda s, t: torch.softmax(s / t, 0), "positive is still among the candidates"),
        (lambda s, t: (s / t).softmax(0) / t, "positive is still among the candidates"),
        (lambda s, t: torch.softmax(s / t, 0)[1:], "removed after the softmax"),
        (lambda s, t: (s / t).softmax(0)[1:] / t, "gradient of each negative, p / temperature"),
        (lambda s, t: (s / t).softmax(0) - torch.eye(len(s))[0], "the whole gradient, p - y"),
        (lambda s, t: torch.cat([torch.zeros(1), (s[1:] / t).softmax(0)]), "an entry for the positive"),
        (lambda s, t: torch.softmax(s[:-1] / t, 0), "last entry was taken for the positive"),
        (
            lambda s, t: (torch.cat([s[: s.argmax()], s[s.argmax() + 1 :]]) / t).softmax(0),
            "most similar candidate was taken",
        ),
        (lambda s, t: torch.softmax(s[1:], 0), "temperature is ignored"),
        (lambda s, t: torch.softmax(s[1:] * t, 0), "multiplied by the temperature"),
        (lambda s, t: torch.softmax(s[1:] / t, 0) / t, "once too often"),
        (lambda s, t: torch.exp(s[1:] / t), "do not add up to 1"),
        (lambda s, t: s[1:] / s[1:].sum(), "proportional to the similarity itself"),
        (lambda s, t: torch.ones_like(s[1:]) / (len(s) - 1), "the same share"),
        (lambda s, t: torch.softmax(-s[1:] / t, 0), "easiest negatives"),
        (lambda s, t: (s[1:] / t).softmax(0) - (s[1:] / t).softmax(0) ** 2, "p (1 - p)"),
        (lambda s, t: ((s[1:] - s[1:].max()) / t).exp(), "hardest negative has 1"),
        (lambda s, t: torch.log_softmax(s[1:] / t, 0), "logarithms of the shares"),
        (lambda s, t: torch.exp(s[1:] / t) / torch.exp(s[1:] / t).sum(), "overflows in float32"),
        (lambda s, t: (s - s.max() / t).exp() / (s - s.max() / t).exp().sum(), "Subtract first, then divide"),
        (
            cell("def f(s, t): return (s / tau).softmax(0)", tau=0.5),
            "never uses its argument t; it reads tau from outside",
        ),
        (marks_its_input, "changed its input similarities in place"),
        (lambda s, t: (s / t).softmax(0)[1:] / (1 - (s / t).softmax(0)[0]), "where the positive wins p is 1"),
        (
            lambda s, t: (s / t).softmax(0)[1:] / (1 - (s / t).softmax(0)[0] + 1e-8),
            "where the positive wins p is 1",
        ),
    ],
    "uniformity": [
        (another_default, "Its default is 2, as in the stub"),
        (lambda z, t: (-((torch.pdist(z) * t) ** 2)).exp().mean().log(), "t was squared together"),
        (lambda z, t: (-(torch.pdist(z) ** t)).exp().mean().log(), "raised to the power t"),
        (lambda z, t: (-t * torch.pdist(z) ** t).exp().mean().log(), "raised to the power t"),
        (lambda z, t: (-t * (z[:, None] - z) ** 2).exp().mean().log(), "not added up over the d entries"),
        (lambda z, t: (-t * torch.cdist(z, z) ** 2).exp().triu(diagonal=1).mean().log(), "triu puts 0"),
        (lambda z, t: (-t * torch.cdist(z, z).triu(1) ** 2).exp().mean().log(), "triu puts 0"),
        (lambda z, t: (-t * torch.pdist(z.T) ** 2).exp().mean().log(), "between the d columns"),
        (lambda z, t: (-t * torch.pdist(z) ** 2).exp().mean().log().item(), "no gradient can flow"),
        (lambda z, t: (-t * torch.pdist(z) ** 2).exp().mean().log().detach(), "no gradient can flow"),
        (lambda z, t: math.log((-t * torch.pdist(z) ** 2).exp().mean()), "no gradient can flow"),
        (
            lambda z, t: (
                (-t * ((z[:, None] - z) ** 2).sum(2).sqrt()[*torch.triu_indices(len(z), len(z), 1)] ** 2)
                .exp()
                .mean()
                .log()
            ),
            "the gradient of z holds NaN: is there a root of 0?",
        ),
        (lambda z, t: diagnostics.uniformity(z, t), "the work was done by diagnostics.uniformity"),
        (
            cell("def f(z, t): return (-tau * torch.pdist(z) ** 2).exp().mean().log()", tau=0.5),
            "never uses its argument t; it reads tau from outside",
        ),
        (lambda z, t: (-t * torch.cdist(z, z) ** 2).exp().mean().log(), "paired with itself"),
        (lambda z, t: (-t * torch.pdist(z)).exp().mean().log(), "not squared"),
        (lambda z, t: (-t * torch.pdist(z) ** 2).exp().mean(), "logarithm is missing"),
        (lambda z, t: (t * torch.pdist(z) ** 2).exp().mean().log(), "wrong sign"),
        (lambda z, t: (-2 * torch.pdist(z) ** 2).exp().mean().log(), "t is ignored"),
        (lambda z, t: (-t * torch.pdist(z) ** 2).mean(), "exp and log cancel"),
        (lambda z, t: (-t * torch.pdist(z) ** 2).exp().sum().log(), "summed, not averaged"),
        (lambda z, t: (t * (z @ z.T)).exp().mean().log(), "These are cosines, not squared distances"),
        (
            lambda z, t: (-t * (z @ z.T)[*torch.triu_indices(len(z), len(z), 1)]).exp().mean().log(),
            "These are cosines, not squared distances",
        ),
        (
            lambda z, t: (-t * (z @ z.T).square()).exp().mean().log(),
            "These are cosines, not squared distances",
        ),
        (
            lambda z, t: (-t * (1 - (z @ z.T)[*torch.triu_indices(len(z), len(z), 1)])).exp().mean().log(),
            "1 - cosine, for one, is only half",
        ),
        (lambda z, t: -(-t * torch.pdist(z) ** 2).exp().mean().log(), "outer sign"),
        (lambda z, t: ((-t * torch.pdist(z) ** 2).exp().mean() + 1e-8).log(), "added inside the logarithm"),
        (half_detached_distances, "the gradient is wrong for z"),
        (torch.no_grad()(uniformity_pdist), "no gradient can flow"),
        (lambda z, t: ((-t * torch.cdist(z, z) ** 2).exp().sum() / len(z) ** 2).log(), "paired with itself"),
        (lambda z, t: ((-t * torch.pdist(z) ** 2).exp().sum() / len(z) ** 2).log(), "all M x M places"),
        (
            lambda z, t: ((-t * torch.pdist(z) ** 2).exp().sum() / len(z)).log(),
            "divided by M, the number of rows",
        ),
    ],
}
