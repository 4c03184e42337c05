"""Answers to the exercises of notebook 05: wrong ones with words of their diagnosis, and right ones."""

import math

import torch
import torch.nn.functional as F

from answers.cell import cell
from simclr_edu import diagnostics


def neighbours_topk(queries, gallery, k):
    similarity = F.normalize(queries, dim=1) @ F.normalize(gallery, dim=1).T
    return similarity.topk(k, dim=1).indices


def neighbours_sort(queries, gallery, k):
    similarity = F.cosine_similarity(queries[:, None], gallery[None], dim=2)
    return similarity.argsort(dim=1, descending=True)[:, :k]


def neighbours_distance(queries, gallery, k):
    return torch.cdist(F.normalize(queries), F.normalize(gallery)).argsort(1)[:, :k]


def rank_entr(x):
    s = torch.linalg.svdvals(x)
    return torch.special.entr(s / s.sum()).sum().exp()


def rank_epsilon(x):
    s = torch.linalg.svd(x, full_matrices=False)[1]
    p = s / s.sum() + 1e-7
    return float(torch.exp(-(p * p.log()).sum()))


def rank_drop_zeros(x):
    s = torch.linalg.svdvals(x)
    p = s[s > 1e-6 * s.max()] / s.sum()
    return math.exp(-(p * p.log()).sum())


def order_argsort(labels):
    return torch.argsort(labels, stable=True)


def order_loop(labels):
    return torch.cat([torch.nonzero(labels == c).flatten() for c in labels.unique()])


RIGHT = {
    "nearest_neighbours": [
        neighbours_topk,
        neighbours_sort,
        neighbours_distance,
    ],
    "effective_rank": [
        rank_entr,
        rank_epsilon,
        rank_drop_zeros,
    ],
    "order_by_class": [
        order_argsort,
        order_loop,
    ],
}


def cosines(q, g):
    return F.normalize(q, dim=1) @ F.normalize(g, dim=1).T


def shares(x):
    return torch.linalg.svdvals(x) / torch.linalg.svdvals(x).sum()


def first_class_only(labels):
    for c in labels.unique():
        return (labels == c).nonzero()[:, 0]


WRONG = {
    "nearest_neighbours": [
        (lambda q, g, k: (q @ g.T).topk(k).indices, "largest dot products"),
        (lambda q, g, k: torch.cdist(q, g).argsort(1)[:, :k], "Euclidean distance"),
        (lambda q, g, k: cosines(q, g).argsort(1)[:, :k], "farthest"),
        (lambda q, g, k: cosines(q, g).argsort(1)[:, -k:], "reversed order"),
        (lambda q, g, k: cosines(q, g).topk(k).indices.sort().values, "order of the gallery"),
        (lambda q, g, k: cosines(q, g).topk(k).values, "These are the similarities"),
        (lambda q, g, k: cosines(q, g).topk(k + 1).indices[:, 1:], "nearest one was skipped"),
        (lambda q, g, k: cosines(q, g).argsort(0, descending=True)[:k], "wrong dimension"),
        (
            lambda q, g, k: (F.normalize(q, dim=0) @ F.normalize(g, dim=0).T).topk(k).indices,
            "over the wrong dimension (dim 0)",
        ),
        (
            cell(
                "def f(q, gallery, k): return (q @ matrix[: q.shape[1]]).topk(min(k, 3)).indices",
                matrix=torch.eye(9, 3),
            ),
            "never uses its argument gallery; it reads matrix from outside",
        ),
        (
            lambda q, g, k: diagnostics.nearest_neighbours(q, g, k)[0],
            "the work was done by diagnostics.nearest_neighbours",
        ),
        (lambda q, g, k: cosines(q, g).argsort(1, descending=True), "not the first k"),
    ],
    "effective_rank": [
        (lambda x: torch.special.entr(shares(x)).sum(), "entropy itself"),
        (
            lambda x: torch.special.entr(torch.linalg.svdvals(x) ** 2 / (x**2).sum()).sum().exp(),
            "squared singular values",
        ),
        (lambda x: torch.special.entr(torch.linalg.svdvals(x)).sum().exp(), "not divided by their sum"),
        (lambda x: torch.special.xlogy(shares(x), shares(x)).sum().exp(), "sign of the entropy"),
        (lambda x: torch.linalg.matrix_rank(x).item(), "plain rank"),
        (lambda x: (torch.special.entr(shares(x)).sum() / math.log(2)).exp(), "base 2"),
        (lambda x: 1 / (shares(x) ** 2).sum(), "participation ratio"),
        (
            lambda x: torch.special.entr(torch.linalg.svdvals(x) / torch.linalg.norm(x, 2)).sum().exp(),
            "divided by the largest",
        ),
        (
            lambda x: (-(shares(x).round(decimals=6) * shares(x).round(decimals=6).log()).sum()).exp(),
            "0 * log(0)",
        ),
        (lambda x: diagnostics.effective_rank(x), "the work was done by diagnostics.effective_rank"),
        (
            lambda x: torch.special.entr(shares(x.double())).sum().exp(),
            "The dtype should be that of the input, torch.float32, but is torch.float64",
        ),
        (lambda x: rank_entr(x * (x.abs() > 1e-3)), "Four equal singular values of 0.001 give 4 as well"),
    ],
    "order_by_class": [
        (
            lambda labels: diagnostics.order_by_class(labels),
            "the work was done by diagnostics.order_by_class",
        ),
        (first_class_only, "A return stands inside a loop"),
        (lambda labels: labels.sort().values, "sorted labels"),
        (lambda labels: labels.argsort(descending=True, stable=True), "descending order"),
        (
            lambda labels: torch.tensor(sorted(range(len(labels)), key=lambda i: (int(labels[i]), -i))),
            "Within a class the order is reversed",
        ),
        (lambda labels: labels.argsort(stable=True).argsort(), "(its rank)"),
        (lambda labels: torch.arange(len(labels)), "Nothing was reordered"),
        (lambda labels: labels.clone(), "labels as they came"),
        (lambda labels: torch.unique(labels), "names of the classes"),
        (lambda labels: labels.argsort(), "only with stable=True"),
        (lambda labels: labels.sort().indices, "only with stable=True"),
        (
            lambda labels: torch.cat([(labels == c).nonzero()[:, 0] for c in range(10)]),
            "are missing. Are the classes counted by a number",
        ),
        (
            lambda labels: torch.cat([(labels == c).nonzero()[:, 0] for c in range(len(labels.unique()))]),
            "are missing. Are the classes counted by a number",
        ),
        (lambda labels: labels.argsort(stable=True) * 0, "some images are missing or come twice"),
    ],
}
