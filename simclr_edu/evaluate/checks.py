"""Checks that the measures share."""

import torch
from torch import Tensor

from simclr_edu._checks import check_finite, check_matrix, check_same_width


def accuracy_of(predictions: Tensor, labels: Tensor) -> float:
    return float((predictions.cpu() == labels.cpu()).double().mean())


def check_features_pair(train_x: Tensor, test_x: Tensor) -> tuple[Tensor, Tensor]:
    """Train and test features as float32, finite and of one width and device."""
    pair = []
    for name, x in (("train_x", train_x), ("test_x", test_x)):
        x = check_finite(check_matrix(x, name).detach(), name)
        single = x.float()
        if not single.isfinite().all() or (x.any() and not single.any()):
            raise ValueError(f"{name} must lie in the range of float32, got larger or smaller values")
        pair.append(single)
    train, test = pair
    check_same_width(train, test, "train_x", "test_x")
    return train, test


def check_test_classes(test_y: Tensor) -> None:
    """Refuse test labels of one class: a constant answer would score 100%."""
    if len(seen := test_y.unique()) < 2:
        raise ValueError(
            f"the test labels must have at least 2 classes, or any accuracy is that of one class, "
            f"got only {seen.tolist()}"
        )


def check_classes(train_y: Tensor, test_y: Tensor) -> Tensor:
    """The classes of the training labels (C,), if a classifier can be fitted to them and scored."""
    classes: Tensor = train_y.unique()
    if len(classes) < 2:
        raise ValueError(f"the training labels must have at least 2 classes, got only {classes.tolist()}")
    check_test_classes(test_y)
    unseen = test_y[~torch.isin(test_y, classes)].unique()
    if len(unseen):
        raise ValueError(f"the test labels have classes that no training label has: {unseen.tolist()[:10]}")
    return classes
