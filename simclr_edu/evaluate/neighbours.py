"""k nearest neighbours, weighted: a probe with nothing to fit."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from simclr_edu._checks import check_int, check_labels, check_matrix, check_positive, within_range
from simclr_edu._settings import check_precision, plain_settings
from simclr_edu.device import ENTRIES_AT_ONCE as _TILE
from simclr_edu.evaluate.checks import accuracy_of, check_features_pair, check_test_classes


@torch.no_grad()
@plain_settings()
def knn_predict(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, k: int = 20, temperature: float = 0.1
) -> Tensor:
    """Predict each test row's class from its ``k`` most similar training rows.

    Weighted voting, Wu et al. 2018 (arXiv 1805.01978), section 3.4: neighbour i votes for its class with
    weight ``exp(cosine_i / temperature)``. No fitting, so nothing to tune. Memory is bounded.

    Args:
        train_x: float ``(N, D)``.
        train_y: class labels ``(N,)``.
        test_x: float ``(M, D)``.
        k: neighbours that vote, 1 to N.
        temperature: greater than 0; small values let the nearest decide.

    Returns:
        Predicted labels ``(M,)`` int64.

    Raises:
        TypeError, ValueError: shapes, dtypes or ranges do not fit, or a value is NaN or infinite.
    """
    train_x, test_x = check_features_pair(train_x, test_x)
    check_precision(train_x.device, "kNN")
    train_y = check_labels(train_y, "train_y", len(train_x)).long().to(train_x.device)
    classes, train_y = train_y.unique(return_inverse=True)  # (C,), (N,) from 0 to C - 1
    k = check_int(k, "k", 1, len(train_x))
    temperature = check_positive(temperature, "temperature")
    bank = normalize(within_range(train_x), dim=1)  # (N, D)
    predictions = []
    for queries in test_x.split(max(1, _TILE // len(bank))):
        cosine = normalize(within_range(queries), dim=1) @ bank.T  # (Q, N)
        cosine, index = cosine.topk(k, dim=1)  # (Q, k), nearest first
        # Relative to the nearest, whose weight is 1: the same vote, and no overflow at a low temperature.
        weight = ((cosine - cosine[:, :1]) / temperature).exp()
        votes = torch.zeros(len(queries), len(classes), device=bank.device, dtype=weight.dtype)
        predictions.append(votes.scatter_add_(1, train_y[index], weight).argmax(dim=1))
    predicted: Tensor = classes[torch.cat(predictions)]
    return predicted


def knn_accuracy(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, k: int = 20, temperature: float = 0.1
) -> float:
    """Share of test rows that :func:`knn_predict` gets right, 0 to 1.

    Args:
        train_x: float ``(N, D)``.
        train_y: class labels ``(N,)``.
        test_x: float ``(M, D)``.
        test_y: class labels ``(M,)``, of at least two classes.
        k: neighbours that vote, 1 to N.
        temperature: of the votes, greater than 0.

    Raises:
        TypeError, ValueError: shapes, dtypes or ranges do not fit, or a value is NaN or infinite.
    """
    check_test_classes(check_labels(test_y, "test_y", len(check_matrix(test_x, "test_x"))))
    predictions = knn_predict(train_x, train_y, test_x, k, temperature)
    return accuracy_of(predictions, test_y)
