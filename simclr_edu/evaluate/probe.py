"""The linear probe: a linear classifier on frozen features."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from simclr_edu._checks import (
    check_int,
    check_labels,
    check_matrix,
    check_positive,
    check_seed,
    check_sequence,
)
from simclr_edu._settings import check_precision, plain_settings
from simclr_edu.data import ImageSet
from simclr_edu.evaluate.checks import accuracy_of, check_classes, check_features_pair
from simclr_edu.evaluate.frozen import probe_features
from simclr_edu.evaluate.labels import label_subset
from simclr_edu.evaluate.logistic import LogisticFit, choose_l2, standardisation, standardised
from simclr_edu.evaluate.neighbours import knn_accuracy


@dataclass(frozen=True)
class ProbeResult:
    """A fitted linear probe and what it scored.

    Attributes:
        accuracy: on the test set, 0 to 1.
        val_accuracy: on validation rows of the training set, at the l2 chosen; None if none was chosen.
        l2: strength of the penalty, see :func:`fit_linear`.
        predictions: predicted test labels ``(M,)`` int64.
        labels: true test labels ``(M,)`` int64.
        n_labels: training labels that the probe saw.
        weight: ``(C, D)`` float32: ``features @ weight.T + bias`` are the logits, no standardising needed.
        bias: ``(C,)`` float32.
        classes: ``(C,)`` int64, the label that each row of ``weight`` stands for.
        l2_accuracies: validation accuracy of each l2 tried; empty if there was nothing to choose.
        state_hash: of the frozen encoder, the same before and after; None without an encoder.
    """

    accuracy: float
    val_accuracy: float | None
    l2: float
    predictions: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    n_labels: int
    weight: Tensor = field(repr=False)
    bias: Tensor = field(repr=False)
    classes: Tensor = field(repr=False)
    l2_accuracies: dict[float, float] = field(default_factory=dict, repr=False)
    state_hash: str | None = None

    @property
    def confusion(self) -> Tensor:
        """Confusion matrix ``(K, K)`` of the test set: rows the true class, columns the prediction."""
        num_classes = int(torch.cat([self.labels, self.predictions, self.classes]).max()) + 1
        return confusion_matrix(self.labels, self.predictions, num_classes)


def confusion_matrix(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Count how often class i was predicted as class j.

    Args:
        labels: true classes ``(M,)``.
        predictions: predicted classes ``(M,)``.
        num_classes: K, from 1 to 20,000.

    Returns:
        ``(K, K)`` int64, rows the true class, columns the prediction; sums to M.

    Raises:
        TypeError, ValueError: not two vectors of labels below K of one length.
    """
    check_labels(labels, "labels")
    check_labels(predictions, "predictions", len(labels))
    k = check_int(num_classes, "num_classes", 1, 20_000)
    for name, values in (("labels", labels), ("predictions", predictions)):
        if len(values) and int(values.max()) >= k:
            raise ValueError(f"{name} must be below {k} (classes), got {int(values.max())}")
    cell = labels.long().cpu() * k + predictions.long().cpu()  # (M,)
    return cell.bincount(minlength=k * k).reshape(k, k)


@plain_settings()
def fit_linear(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    test_y: Tensor,
    l2: float | None = None,
    seed: int = 0,
    val_fraction: float = 0.2,
) -> ProbeResult:
    """Fit multinomial logistic regression on features and score it on the test set.

    Features are standardised with the mean and standard deviation of the training rows. With x
    standardised, W ``(C, D)`` and b ``(C,)`` minimise

        mean over the training rows of -log softmax(W x + b)[y]  +  l2 / 2 * ||W||^2

    (the bias is free), which is scikit-learn's ``LogisticRegression(C=1 / (l2 * N))``. The problem is convex:
    one answer, whatever the seed.

    ``l2`` is chosen from ``L2_GRID`` on a stratified split of the training rows: the most accurate, of
    equals the one with the lower cross-entropy. From strong to weak, the rest is left out once two in a row
    did worse. Where one split holds fewer than 1,000 rows, as many splits take their turn as are needed to
    reach that number, up to every row once (cross-validation). A class with a single label is always
    trained on; if all classes are so, ``l2`` is ``DEFAULT_L2`` and ``val_accuracy`` None. Then all rows are
    fitted again and the test set is scored, once. Runs on the CPU.

    Args:
        train_x: float ``(N, D)``.
        train_y: class labels ``(N,)``, at least two classes.
        test_x: float ``(M, D)``.
        test_y: class labels ``(M,)`` of at least two classes, each one that ``train_y`` has.
        l2: strength of the penalty, above 0; chosen as above if not given.
        seed: of the validation split.
        val_fraction: size of a validation split, above 0, at most 0.5.

    Raises:
        TypeError, ValueError: shapes, dtypes, ranges or classes do not fit, or a value is NaN or infinite.
    """
    check_precision(torch.device("cpu"), "a linear probe")
    train_x, test_x = (x.cpu() for x in check_features_pair(train_x, test_x))
    train_y = check_labels(train_y, "train_y", len(train_x)).long().cpu()
    test_y = check_labels(test_y, "test_y", len(test_x)).long().cpu()
    if l2 is not None:
        l2 = check_positive(l2, "l2")
    check_seed(seed)
    val_fraction = check_positive(val_fraction, "val_fraction", 0.5)
    classes = check_classes(train_y, test_y)
    target = torch.searchsorted(classes, train_y.contiguous())  # (N,) 0 to C - 1

    mean, scale = standardisation(train_x)
    problem = LogisticFit(standardised(train_x, mean, scale), target, len(classes))
    val_accuracy: float | None = None
    accuracies: dict[float, float] = {}
    start: Tensor | None = None
    if l2 is None:
        l2, accuracies, start = choose_l2(problem, val_fraction, seed)
        val_accuracy = accuracies.get(l2)
    w, b = problem.solution(problem.fit(problem.uniform_rows, l2, start, tolerance=1e-8))  # (C, D), (C,)

    weight = w / scale.double()  # (C, D), for features as they came
    bias = b - weight @ mean.double()
    logits = standardised(test_x, mean, scale) @ w.float().T + b.float()  # (M, C)
    predictions = classes[logits.argmax(dim=1)]  # (M,)
    return ProbeResult(
        accuracy=accuracy_of(predictions, test_y),
        val_accuracy=val_accuracy,
        l2=l2,
        predictions=predictions,
        labels=test_y,
        n_labels=len(train_y),
        weight=weight.float(),
        bias=bias.float(),
        classes=classes,
        l2_accuracies=accuracies,
    )


def linear_probe(
    encoder: nn.Module | None,
    images: ImageSet,
    fraction: float = 1.0,
    seed: int = 0,
    level: str = "h",
    l2: float | None = None,
    batch_size: int = 512,
    device: torch.device | str | None = None,
) -> ProbeResult:
    """Linear evaluation of a frozen encoder: logistic regression on its features, fitted by L-BFGS.

    The protocol of Chen et al. 2020, appendix B.8.1: no augmentation, the l2 penalty chosen on validation.
    (Their figures on ImageNet itself are of another kind, B.6: SGD on random crops.)

    Args:
        encoder: as for :func:`embed`; None probes the raw pixels.
        images: train and test images with labels.
        fraction: share of the training labels to use, see :func:`label_subset`.
        seed: of that share and of the validation split.
        level: ``h`` or ``z``, see :func:`embed`.
        l2: strength of the penalty; chosen on a split of the training set if not given.
        batch_size: images a forward pass.
        device: where to embed; the encoder's own if not given.

    Returns:
        The probe and its scores, with the hash of the encoder.

    Raises:
        TypeError, ValueError: an argument does not fit, see :func:`embed` and :func:`fit_linear`.
        RuntimeError: the encoder changed itself although it was in eval mode.
    """
    features = probe_features(encoder, images, fraction, seed, level, batch_size, device)
    train_x, train_y, test_x, test_y, fingerprint = features
    result = fit_linear(train_x, train_y, test_x, test_y, l2=l2, seed=seed)
    return replace(result, state_hash=fingerprint)


def probe_budgets(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    test_y: Tensor,
    budgets: Sequence[int] = (1, 2, 5, 10, 50, 0),
    draws: int = 5,
) -> Tensor:
    """Accuracy of linear probes on few labels: the same features, several draws of each number of labels.

    Args:
        train_x: float ``(N, D)``, see :func:`embed`.
        train_y: class labels ``(N,)``.
        test_x: float ``(M, D)``.
        test_y: class labels ``(M,)``.
        budgets: B numbers of labels a class; 0 for all.
        draws: how often the labels are drawn, see :func:`label_subset`; draw k has seed k.

    Returns:
        ``(draws, B)`` float64, each what :func:`linear_probe` gives for that share and seed.

    Raises:
        TypeError, ValueError: an argument does not fit, see :func:`fit_linear`.
    """
    draws = check_int(draws, "draws", 1)
    check_sequence(budgets, "budgets", "a list of numbers of labels")
    classes = len(check_labels(train_y, "train_y", len(check_matrix(train_x, "train_x"))).unique())
    accuracies = torch.empty(draws, len(budgets), dtype=torch.float64)
    for j, budget in enumerate(budgets):
        labels = check_int(budget, "each of budgets", 0) * classes
        for draw in range(draws):
            kept = label_subset(train_y, labels / len(train_y) if labels else 1.0, draw)
            accuracies[draw, j] = fit_linear(train_x[kept], train_y[kept], test_x, test_y, seed=draw).accuracy
    return accuracies


def probe_scores(
    encoder: nn.Module | None,
    images: ImageSet,
    fraction: float = 1.0,
    seed: int = 0,
    level: str = "h",
    k: int = 20,
    batch_size: int = 512,
    device: torch.device | str | None = None,
) -> dict[str, float]:
    """Linear probe and kNN of one encoder, the images embedded once.

    Args:
        encoder: as for :func:`linear_probe`.
        images: train and test images with labels.
        fraction: share of the training labels to use, for both.
        seed: of that share and of the validation split.
        level: ``h`` or ``z``.
        k: neighbours that vote; where there are fewer labels than that, all of them vote.
        batch_size: images a forward pass.
        device: where to embed; the encoder's own if not given.

    Returns:
        ``{"linear": accuracy, "knn": accuracy}``, each 0 to 1.

    Raises:
        TypeError, ValueError, RuntimeError: as :func:`linear_probe`.
    """
    check_int(k, "k", 1)
    features = probe_features(encoder, images, fraction, seed, level, batch_size, device)
    train_x, train_y, test_x, test_y, _ = features
    return {
        "linear": fit_linear(train_x, train_y, test_x, test_y, seed=seed).accuracy,
        "knn": knn_accuracy(train_x, train_y, test_x, test_y, k=min(k, len(train_x))),
    }
