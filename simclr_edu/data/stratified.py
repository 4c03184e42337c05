"""Random choices of images in which each class keeps its share."""

import torch
from torch import Tensor

_SPLIT_SEED = 0  # for the sets that come without a split
_TEST_FRACTION = 0.2


def shuffled_by_class(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Indices ``(N,)`` sorted by class, in random order within a class."""
    shuffled = torch.randperm(len(labels), generator=generator)
    return shuffled[labels.cpu()[shuffled].argsort(stable=True)]


def rank_in_class(counts: Tensor) -> Tensor:
    """0, 1, ... counts[0] - 1, 0, 1, ... counts[1] - 1, and so on."""
    return torch.arange(int(counts.sum())) - (counts.cumsum(0) - counts).repeat_interleave(counts)


def _rank_within_class(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Number the images of each class from 0 in a random order, int64 ``(N,)``."""
    by_class = shuffled_by_class(labels, generator)
    return torch.empty_like(labels).scatter_(0, by_class, rank_in_class(torch.bincount(labels)))


def stratified_split(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return sorted indices of train and test images; a fifth of each class, at least one, is test."""
    counts = torch.bincount(labels)
    n_test = (counts * _TEST_FRACTION).round().long().clamp(min=1)
    is_test = _rank_within_class(labels, torch.Generator().manual_seed(_SPLIT_SEED)) < n_test[labels]
    return torch.where(~is_test)[0], torch.where(is_test)[0]


def stratified_choice(labels: Tensor, n: int, seed: int) -> Tensor:
    """Return ``n`` sorted indices in which each class has its share, and at least one if ``n`` allows."""
    generator = torch.Generator().manual_seed(seed)
    share = _rank_within_class(labels, generator).double() / torch.bincount(labels)[labels]
    shuffled = torch.randperm(len(labels), generator=generator)  # which classes get the odd ones is random
    return shuffled[torch.argsort(share[shuffled], stable=True)][:n].sort().values
