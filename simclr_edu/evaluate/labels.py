"""Which labels to use: subsets, folds and validation rows, balanced by class."""

import torch
from torch import Tensor

from simclr_edu._checks import LARGEST_COUNT, check_fraction, check_images, check_labels, check_seed
from simclr_edu.data import ImageSet
from simclr_edu.data.stratified import rank_in_class, shuffled_by_class


def label_subset(labels: Tensor, fraction: float, seed: int = 0) -> Tensor:
    """Choose which training labels to keep: a share of each class, and at least one of it.

    Args:
        labels: class labels ``(N,)``.
        fraction: share to keep, above 0, at most 1.
        seed: which ones. With one seed, a smaller fraction is a subset of a larger one.

    Returns:
        Indices ``(K,)`` int64, ascending.

    Raises:
        TypeError, ValueError: not class labels, or a fraction out of range.
    """
    check_labels(labels, "labels")
    fraction = check_fraction(fraction, "fraction")
    if fraction == 0:
        raise ValueError(f"fraction must be above 0, got {fraction}")
    order = shuffled_by_class(labels, torch.Generator().manual_seed(check_seed(seed)))
    _, counts = labels.cpu().unique(return_counts=True)
    keep = (counts * fraction).round().long().clamp_(min=1)  # (C,) of each class
    rank = rank_in_class(counts)  # (N,) in the order of `order`
    return order[rank < keep.repeat_interleave(counts)].sort().values


def stratified_folds(labels: Tensor, n_folds: int, seed: int) -> Tensor:
    """Deal the rows to folds 0, 1, ... class by class, shuffled; -1 for the only row of a class."""
    order = shuffled_by_class(labels, torch.Generator().manual_seed(seed))
    _, counts = labels.cpu().unique(return_counts=True)
    dealt = torch.arange(len(labels)) % min(n_folds, LARGEST_COUNT)
    dealt[(counts == 1).repeat_interleave(counts)] = -1
    return torch.empty_like(dealt).scatter_(0, order, dealt)


def labelled_rows(images: ImageSet, fraction: float, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The share of train images whose labels may be used, and all test images."""
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        if not isinstance(getattr(images, name, None), Tensor):
            raise TypeError(f"images must be an ImageSet, with {name}, got {type(images).__name__}")
    for split in ("train", "test"):
        pixels = check_images(getattr(images, f"{split}_images"), f"{split}_images", channels=None)
        check_labels(getattr(images, f"{split}_labels"), f"{split}_labels", len(pixels))
    train_y, test_y = images.train_labels.long().cpu(), images.test_labels.long().cpu()
    kept = label_subset(train_y, fraction, seed)
    train = images.train_images if len(kept) == len(train_y) else images.train_images[kept]
    return train, train_y[kept], images.test_images, test_y
