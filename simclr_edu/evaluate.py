"""What a frozen representation is worth: kNN, linear probe, fine-tuning, and probes of known factors.

The protocol is that of Chen et al. 2020, section 2.3 ("linear evaluation protocol"): the encoder stays
as it is, a linear classifier is fitted on h, and its test accuracy stands for the quality of h. Two rules
keep such a figure honest, and this module enforces both. The encoder is frozen, BatchNorm statistics
included: a hash of every parameter and buffer must be the same before and after. And the test set is
touched once: whatever is chosen, is chosen on a split of the training set.
"""

import contextlib
import copy
import hashlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from simclr_edu._checks import (
    check_choice,
    check_fraction,
    check_images,
    check_int,
    check_labels,
    check_matrix,
    check_positive,
    check_tensor,
)
from simclr_edu.augment import SimCLRAugment
from simclr_edu.data import ImageSet
from simclr_edu.pretrain import PretrainConfig

LEVELS: tuple[str, ...] = ("h", "z")

# Candidates for the l2 strength of the linear probe, strong to weak: each fit starts from the one before.
L2_GRID: tuple[float, ...] = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)

# Where there is nothing to validate on, one label per class, say.
DEFAULT_L2 = 1e-1

# Steps that fine-tuning takes at least, however few the labels.
_LEAST_STEPS = 4000

# Enough validation rows to tell two accuracies one point apart.
_VALIDATION_ROWS = 1000

# Entries of a similarity matrix held at once: 64 MB of float32.
_TILE = 1 << 24

# Above this many features the Gram matrix (D, D) that speeds the fit up costs more than it saves.
_GRAM_LIMIT = 6144


# --- the frozen encoder -------------------------------------------------------------------------------


def state_hash(module: nn.Module) -> str:
    """Fingerprint of everything a module has learned: SHA-256 over all its parameters and buffers.

    Name, dtype, shape and bytes of each go in, running statistics of BatchNorm too; device and memory
    layout do not. Two equal hashes before and after a probe prove that the encoder stayed frozen.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: not a module.
        ValueError: a parameter or buffer has no values yet (a lazy module that has not run).
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    digest = hashlib.sha256()
    named = [("parameter", module.named_parameters()), ("buffer", module.named_buffers())]
    for kind, tensors in named:
        for name, tensor in tensors:
            if nn.parameter.is_lazy(tensor):
                raise ValueError(f"{kind} {name} has no values yet: run the module once before hashing it")
            digest.update(f"{kind} {name} {tensor.dtype} {tuple(tensor.shape)};".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def embed(
    encoder: nn.Module,
    images: Tensor,
    batch_size: int = 512,
    device: torch.device | str | None = None,
    level: str = "h",
) -> Tensor:
    """Run images through a frozen encoder, in eval mode and without gradients.

    Args:
        encoder: maps float images in [0, 1] to h ``(B, D)``, or to ``(h, z)`` as ``models.SimCLR`` does.
        images: ``(N, 3, H, W)``, uint8 or floats in [0, 1].
        batch_size: images a forward pass; the result does not depend on it.
        device: where to run; the encoder's own if not given. The encoder is moved there and left there.
        level: ``h`` or ``z``, which of ``(h, z)`` to return; a plain encoder only has ``h``.

    Returns:
        ``(N, D)`` float32 on the CPU. Every submodule is back in its former mode, also after an error.

    Raises:
        TypeError: encoder or images are of the wrong kind.
        ValueError: images out of range, or the encoder's output is not a finite matrix ``(B, D)``.
    """
    _check_encoder(encoder)
    check_images(images, "images", channels=None)
    batch_size = check_int(batch_size, "batch_size", 1)
    check_choice(level, "level", LEVELS)
    if device is not None:
        encoder.to(device)
    where, dtype = _device_and_dtype(encoder)
    out: Tensor | None = None
    with _frozen(encoder), torch.inference_mode():
        for start in range(0, len(images), batch_size):
            batch = _to_unit_floats(images[start : start + batch_size].to(where), dtype)  # (B, 3, H, W)
            features = _select(encoder(batch), level)
            _check_features(features, len(batch))
            if out is None:
                with torch.inference_mode(False):  # an ordinary tensor, which autograd accepts later
                    out = torch.empty(len(images), features.shape[1])
            out[start : start + len(batch)] = features
    assert out is not None  # check_images refuses an empty batch
    return _check_finite(out, "the encoder's output")


# --- k nearest neighbours -----------------------------------------------------------------------------


@torch.no_grad()
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
    train_x, test_x = _check_features_pair(train_x, test_x)
    train_y = check_labels(train_y, "train_y", len(train_x)).long().to(train_x.device)
    k = check_int(k, "k", 1, len(train_x))
    temperature = check_positive(temperature, "temperature")
    bank = normalize(train_x, dim=1)  # (N, D)
    num_classes = int(train_y.max()) + 1
    predictions = []
    for queries in test_x.split(max(1, _TILE // len(bank))):
        cosine, index = (normalize(queries, dim=1) @ bank.T).topk(k, dim=1)  # (Q, k), nearest first
        # Relative to the nearest, whose weight is 1: the same vote, and no overflow at a low temperature.
        weight = ((cosine - cosine[:, :1]) / temperature).exp()
        votes = torch.zeros(len(queries), num_classes, device=bank.device)
        predictions.append(votes.scatter_add_(1, train_y[index], weight).argmax(dim=1))
    return torch.cat(predictions)


def knn_accuracy(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, k: int = 20, temperature: float = 0.1
) -> float:
    """Share of test rows that :func:`knn_predict` gets right, 0 to 1.

    Args:
        train_x: float ``(N, D)``.
        train_y: class labels ``(N,)``.
        test_x: float ``(M, D)``.
        test_y: class labels ``(M,)``.
        k: neighbours that vote, 1 to N.
        temperature: of the votes, greater than 0.

    Raises:
        TypeError, ValueError: shapes, dtypes or ranges do not fit, or a value is NaN or infinite.
    """
    check_labels(test_y, "test_y", len(check_matrix(test_x, "test_x")))
    predictions = knn_predict(train_x, train_y, test_x, k, temperature)
    return _accuracy(predictions, test_y)


# --- label budgets ------------------------------------------------------------------------------------


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
    if len(labels) == 0 or fraction == 0:
        raise ValueError(f"nothing to choose: got {len(labels)} labels and fraction {fraction}")
    order = _shuffled_by_class(labels, check_int(seed, "seed", 0))
    _, counts = labels.cpu().unique(return_counts=True)
    keep = (counts * fraction).round().long().clamp_(min=1)  # (C,) of each class
    rank = _rank_in_class(counts)  # (N,) in the order of `order`
    return order[rank < keep.repeat_interleave(counts)].sort().values


# --- the linear probe ---------------------------------------------------------------------------------


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
        num_classes: K, at least 1.

    Returns:
        ``(K, K)`` int64, rows the true class, columns the prediction; sums to M.

    Raises:
        TypeError, ValueError: not two vectors of labels below K of one length.
    """
    check_labels(labels, "labels")
    check_labels(predictions, "predictions", len(labels))
    k = check_int(num_classes, "num_classes", 1)
    for name, values in (("labels", labels), ("predictions", predictions)):
        if len(values) and int(values.max()) >= k:
            raise ValueError(f"{name} must be below {k} (classes), got {int(values.max())}")
    cell = labels.long().cpu() * k + predictions.long().cpu()  # (M,)
    return cell.bincount(minlength=k * k).reshape(k, k)


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
        test_y: class labels ``(M,)``, each class one that ``train_y`` has.
        l2: strength of the penalty, above 0; chosen as above if not given.
        seed: of the validation split.
        val_fraction: size of a validation split, above 0, at most 0.5.

    Raises:
        TypeError, ValueError: shapes, dtypes, ranges or classes do not fit, or a value is NaN or infinite.
    """
    train_x, test_x = (x.cpu() for x in _check_features_pair(train_x, test_x))
    train_y = check_labels(train_y, "train_y", len(train_x)).long().cpu()
    test_y = check_labels(test_y, "test_y", len(test_x)).long().cpu()
    if l2 is not None:
        l2 = check_positive(l2, "l2")
    check_int(seed, "seed", 0)
    check_positive(val_fraction, "val_fraction")
    if val_fraction > 0.5:
        raise ValueError(f"val_fraction must be at most 0.5, got {val_fraction}")
    classes = _check_classes(train_y, test_y)
    target = torch.searchsorted(classes, train_y)  # (N,) 0 to C - 1

    mean, scale = _standardisation(train_x)
    problem = _Logistic((train_x - mean) / scale, target, len(classes))
    val_accuracy: float | None = None
    accuracies: dict[float, float] = {}
    start: Tensor | None = None
    if l2 is None:
        l2, accuracies, start = _choose_l2(problem, val_fraction, seed)
        val_accuracy = accuracies.get(l2)
    w, b = problem.solution(problem.fit(problem.uniform_rows, l2, start, tolerance=1e-8))  # (C, D), (C,)

    weight = w / scale.double()  # (C, D), for features as they came
    bias = b - weight @ mean.double()
    logits = (test_x - mean) / scale @ w.float().T + b.float()  # (M, C)
    predictions = classes[logits.argmax(dim=1)]  # (M,)
    return ProbeResult(
        accuracy=_accuracy(predictions, test_y),
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
    features = _probe_features(encoder, images, fraction, seed, level, batch_size, device)
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
    features = _probe_features(encoder, images, fraction, seed, level, batch_size, device)
    train_x, train_y, test_x, test_y, _ = features
    return {
        "linear": fit_linear(train_x, train_y, test_x, test_y, seed=seed).accuracy,
        "knn": knn_accuracy(train_x, train_y, test_x, test_y, k=min(k, len(train_x))),
    }


# --- fine-tuning --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FineTuneResult:
    """A network fine-tuned with labels and what it scored.

    Attributes:
        accuracy: on the test set, 0 to 1, after the last epoch.
        val_accuracy: on the validation rows after the last epoch; None without such rows.
        predictions: predicted test labels ``(M,)`` int64.
        labels: true test labels ``(M,)`` int64.
        n_labels: labels used in all, those of the validation rows included.
        history: one record an epoch: ``epoch``, ``step``, ``loss``, ``train_accuracy`` (on the augmented
            batches), ``val_accuracy`` (None without validation rows), ``learning_rate``.
        model: images ``(B, 3, H, W)`` in [0, 1] to logits ``(B, C)``, in eval mode.
        state_hash: of the encoder that was passed in, the same before and after.
    """

    accuracy: float
    val_accuracy: float | None
    predictions: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    n_labels: int
    history: list[dict[str, Any]] = field(repr=False)
    model: nn.Module = field(repr=False)
    state_hash: str

    @property
    def confusion(self) -> Tensor:
        """Confusion matrix ``(K, K)`` of the test set: rows the true class, columns the prediction."""
        num_classes = int(torch.cat([self.labels, self.predictions]).max()) + 1
        return confusion_matrix(self.labels, self.predictions, num_classes)


class _Classifier(nn.Module):
    """An encoder and a linear head."""

    def __init__(self, encoder: nn.Module, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(feature_dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(_select(self.encoder(x), "h").to(self.head.weight.dtype))  # (B, C)


def fine_tune(
    encoder: nn.Module,
    images: ImageSet,
    fraction: float = 1.0,
    epochs: int | None = None,
    lr: float = 1e-3,
    seed: int = 0,
    augment: Callable[..., Tensor] | str | None = "simclr",
    batch_size: int = 64,
    weight_decay: float = 1e-4,
    val_fraction: float = 0.1,
    device: torch.device | str | None = None,
    *,
    steps: int | None = None,
    head: str = "random",
    encoder_lr: float = 1.0,
    batch_norm: str = "batch",
) -> FineTuneResult:
    """Train a copy of the encoder and a linear head on labels (Chen et al. 2020, appendix B.5).

    Given a pretrained encoder this is fine-tuning; given a fresh one, training from scratch. AdamW, the
    learning rate on a cosine to 0 after a short warm-up. The model is that of the last epoch: validation
    accuracy is reported, and chooses nothing. The global random state is left as it was.

    For a pretrained encoder and few labels there are two more choices. ``head="probe"`` starts from the
    linear probe of the frozen encoder, so that the gradients of a random head do not distort what
    pretraining found (Kumar et al. 2022, arXiv 2202.10054, "linear probing then fine-tuning").
    ``batch_norm="frozen"`` keeps the statistics that pretraining saw: those of views of ten pictures are
    poor ones.

    Args:
        encoder: as for :func:`embed`. It stays as it is; every weight of the copy is trained.
        images: train and test images with labels.
        fraction: share of the training labels to use, see :func:`label_subset`.
        epochs: passes over these labels, at least 1. Not together with ``steps``.
        lr: peak learning rate, above 0.
        seed: of the share, the head, the batches and the augmentation.
        augment: ``"simclr"``, what pretraining on this data set uses by default; ``"light"`` (crops of 50
            to 100% of the area, and flips); None; or a callable such as ``SimCLRAugment`` that takes uint8
            ``(B, 3, H, W)`` and ``generator=`` and returns floats in [0, 1].
        batch_size: images a step, at least 2.
        weight_decay: at least 0.
        val_fraction: share of the labels that is held out, from 0 to 0.5. A class with one label keeps it.
        device: where to train; the encoder's own if not given.
        steps: optimizer steps, at least 1, in place of ``epochs``; if neither is given 4,000, or 10 epochs
            where those are longer. Fewer pictures than a batch then stand in it several times, each time
            under another augmentation: ten labels fill a batch of 64 views.
        head: ``random``, or ``probe``, the linear probe of the frozen encoder on the same labels.
        encoder_lr: learning rate of the encoder as a share of ``lr``, from 0 to 1; the head has ``lr``.
        batch_norm: ``batch``, statistics of each batch, as in training; ``frozen``, those the encoder has.

    Raises:
        TypeError, ValueError: an argument does not fit.
        ArithmeticError: the loss is no longer finite.
    """
    _check_encoder(encoder)
    if epochs is not None and steps is not None:
        raise ValueError(f"give epochs or steps, not both, got {epochs} and {steps}")
    steps = None if steps is None else check_int(steps, "steps", 1)
    check_choice(head, "head", ("random", "probe"))
    encoder_lr = check_fraction(encoder_lr, "encoder_lr")
    check_choice(batch_norm, "batch_norm", ("batch", "frozen"))
    epochs = None if epochs is None else check_int(epochs, "epochs", 1)
    lr, batch_size = check_positive(lr, "lr"), check_int(batch_size, "batch_size", 2)
    if isinstance(weight_decay, bool) or not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be at least 0, got {weight_decay}")
    if check_fraction(val_fraction, "val_fraction") > 0.5:
        raise ValueError(f"val_fraction must be at most 0.5, got {val_fraction}")
    if isinstance(augment, str):
        check_choice(augment, "augment", ("simclr", "light"))
        size = images.train_images.shape[2]
        if augment == "light":
            augment = SimCLRAugment(size, crop_scale=(0.5, 1.0), color=False, flip=True)
        else:
            augment = PretrainConfig(data=images.name).augmentation(size)
    train_x, train_y, test_x, test_y = _labelled(images, fraction, seed)
    _check_classes(train_y, test_y)
    where = _device_and_dtype(encoder)[0] if device is None else torch.device(device)
    before = state_hash(encoder)

    held_out = torch.zeros(len(train_y), dtype=torch.bool)
    if val_fraction > 0:
        held_out = _folds(train_y, round(1 / val_fraction), seed) == 0
    val_x, val_y = train_x[held_out], train_y[held_out].to(where)
    fit_x, fit_y = train_x[~held_out].to(where), train_y[~held_out].to(where)

    steps_per_epoch = math.ceil(len(fit_x) / batch_size)
    copies = 1 if epochs is not None else max(1, batch_size // len(fit_x))
    if epochs is not None:
        steps = epochs * steps_per_epoch
    elif steps is None:
        steps = max(_LEAST_STEPS, 10 * steps_per_epoch)
    generator = torch.Generator().manual_seed(seed)
    # Weights of the head and any dropout draw on torch's global state: on a fork of it.
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        torch.manual_seed(seed)
        model = _classifier(encoder, train_x[:1], int(train_y.max()) + 1, where)
        if head == "probe":
            _start_from_probe(model, fit_x, fit_y, seed)
        groups = [
            {"params": list(model.head.parameters()), "lr": lr},
            {"params": list(model.encoder.parameters()), "lr": lr * encoder_lr},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warmup_cosine(steps))
        history: list[dict[str, Any]] = []
        for done in range(0, steps, steps_per_epoch):  # the last epoch may be cut short
            epoch = done // steps_per_epoch + 1
            rate = schedule.get_last_lr()[0]
            model.train()
            if batch_norm == "frozen":
                _freeze_batch_norm(model.encoder)
            loss, accuracy = _train_epoch(
                model,
                fit_x,
                fit_y,
                _batches(len(fit_x), steps_per_epoch, copies, generator)[: steps - done],
                optimizer,
                schedule,
                augment,
                generator,
            )
            if not math.isfinite(loss):
                raise ArithmeticError(f"the loss is {loss} in epoch {epoch}; try a learning rate below {lr}")
            val_accuracy = _accuracy(_predict(model, val_x), val_y) if len(val_x) else None
            history.append(
                {
                    "epoch": epoch,
                    "step": min(done + steps_per_epoch, steps),
                    "loss": loss,
                    "train_accuracy": accuracy,
                    "val_accuracy": val_accuracy,
                    "learning_rate": rate,
                }
            )
    _check_unchanged(encoder, before)
    model.eval()
    predictions = _predict(model, test_x)
    return FineTuneResult(
        accuracy=_accuracy(predictions, test_y),
        val_accuracy=history[-1]["val_accuracy"],
        predictions=predictions,
        labels=test_y,
        n_labels=len(train_y),
        history=history,
        model=model,
        state_hash=before,
    )


# --- what a representation knows of a factor ----------------------------------------------------------


def probe_factor(
    train_x: Tensor,
    train_values: Tensor,
    test_x: Tensor,
    test_values: Tensor,
    kind: str = "regression",
    period: float = 360.0,
    seed: int = 0,
) -> float:
    """How well a linear probe reads a known factor, such as hue or position, from features.

    The question behind Table 3 of Chen et al. 2020: what does h keep that z has thrown away? Ridge
    regression on standardised features, its strength chosen on a fifth of the training rows.

    Args:
        train_x: float ``(N, D)``, N at least 10.
        train_values: the factor ``(N,)``; for ``classification`` integer labels.
        test_x: float ``(M, D)``.
        test_values: the factor ``(M,)``.
        kind: ``regression``; ``circular`` for an angle, fitted as sine and cosine; ``classification``.
        period: of a circular factor, in its own units: 360 for a hue in degrees. Only ``circular`` uses it.
        seed: of the validation split.

    Returns:
        R squared on the test set, 1 for perfect, 0 for no better than the mean, below 0 for worse (for
        ``circular``, of sine and cosine together); for ``classification`` the accuracy.

    Raises:
        TypeError, ValueError: shapes, dtypes or ranges do not fit, or the factor is constant.
    """
    check_choice(kind, "kind", ("regression", "circular", "classification"))
    if kind == "classification":
        return fit_linear(train_x, train_values, test_x, test_values, seed=seed).accuracy
    period = check_positive(period, "period")
    train_x, test_x = (x.cpu() for x in _check_features_pair(train_x, test_x))
    if len(train_x) < 10:
        raise ValueError(f"train_x must have at least 10 rows, got {len(train_x)}")
    targets = []
    for name, values, rows in (("train_values", train_values, train_x), ("test_values", test_values, test_x)):
        y = _check_values(values, name, len(rows))  # (N,)
        angle = y * (2 * math.pi / period)
        targets.append(torch.stack([angle.sin(), angle.cos()], 1) if kind == "circular" else y[:, None])
    y, test_y = targets  # (N, T), (M, T)

    mean, scale = _standardisation(train_x)
    x, basis = _row_space((train_x - mean) / scale)  # (N, d)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(check_int(seed, "seed", 0)))
    val, fit = order[: len(x) // 5], order[len(x) // 5 :]
    part = _Ridge(x[fit], y[fit])
    l2 = min(L2_GRID, key=lambda strength: float((part.predict(x[val], strength) - y[val]).square().sum()))
    test = (test_x - mean) / scale
    predictions = _Ridge(x, y).predict(test if basis is None else test @ basis, l2)  # (M, T)
    return 1 - float((predictions - test_y).square().sum() / (test_y - test_y.mean(0)).square().sum())


# --- private: the fits --------------------------------------------------------------------------------


class _Logistic:
    """Multinomial logistic regression on standardised features, for many l2 strengths and row weights.

    Solutions are float64 ``(C, d + 1)``, the last column the bias. Products with the features are float32,
    everything of size (N, C) or smaller is float64.
    """

    def __init__(self, x: Tensor, target: Tensor, num_classes: int) -> None:
        self.x, self.basis = _row_space(x)  # (N, d)
        n, self.d = self.x.shape
        self.target, self.num_classes = target, num_classes
        self.uniform_rows = torch.full((n,), 1 / n, dtype=torch.float64)
        self._gram: Tensor | None = None
        if self.d <= _GRAM_LIMIT:
            some = self.x[:: max(1, n // (2 * self.d + 2000))]  # enough rows for the shape of the whole
            self._gram = some.T @ some / len(some)  # (d, d)
        self._inverse: tuple[float, Tensor | None] = (math.nan, None)

    def solution(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """W ``(C, D)`` and b ``(C,)`` for the features as they were given, float64."""
        w = theta[:, :-1] if self.basis is None else theta[:, :-1] @ self.basis.T.double()
        return w, theta[:, -1]

    def logits(self, theta: Tensor) -> Tensor:
        return (self.x @ theta[:, :-1].float().T).double() + theta[:, -1]  # (N, C)

    def loss(self, theta: Tensor, rows: Tensor, l2: float) -> tuple[float, Tensor]:
        """Objective and its gradient ``(C, d + 1)``; ``rows`` ``(N,)`` weighs the rows and sums to 1."""
        log_p = self.logits(theta).log_softmax(dim=1)  # (N, C)
        w = theta[:, :-1]
        value = -log_p.gather(1, self.target[:, None])[:, 0] @ rows + 0.5 * l2 * w.square().sum()
        slope = log_p.exp_()
        slope[torch.arange(len(slope)), self.target] -= 1
        slope *= rows[:, None]
        gradient = torch.empty_like(theta)
        # This way round: x.T @ slope, the same product, takes ten times as long.
        gradient[:, :-1] = (slope.T.float() @ self.x).double() + l2 * w
        gradient[:, -1] = slope.sum(0)
        return float(value), gradient

    def fit(
        self, rows: Tensor, l2: float, start: Tensor | None, tolerance: float, max_iterations: int = 1000
    ) -> Tensor:
        """Minimise by L-BFGS (Nocedal & Wright 2006, algorithm 7.5) to about ``tolerance`` in the loss."""
        theta = torch.zeros(self.num_classes, self.d + 1, dtype=torch.float64) if start is None else start
        value, gradient = self.loss(theta, rows, l2)
        memory: list[tuple[Tensor, Tensor]] = []
        for _ in range(max_iterations):
            step = self._direction(gradient, memory, l2)
            decrease = float((gradient * step).sum())
            if decrease <= 2 * tolerance:  # half of it estimates how far the loss can still fall
                return theta
            size = 1.0
            while True:
                new = theta - size * step
                new_value, new_gradient = self.loss(new, rows, l2)
                if new_value <= value - 1e-4 * size * decrease:
                    break
                size /= 2
                if size < 1e-3:  # the loss falls no further within rounding
                    return theta
            change, bend = new - theta, new_gradient - gradient
            if float((change * bend).sum()) > 0:
                memory = [*memory[-19:], (change, bend)]
            theta, value, gradient = new, new_value, new_gradient
        warnings.warn(
            f"linear probe stopped after {max_iterations} steps short of its optimum (l2 {l2})", stacklevel=4
        )
        return theta

    def _direction(self, gradient: Tensor, memory: list[tuple[Tensor, Tensor]], l2: float) -> Tensor:
        """The L-BFGS two-loop recursion: about the inverse Hessian times the gradient."""
        q, alphas = gradient.clone(), []
        for change, bend in reversed(memory):
            alphas.append((change * q).sum() / (change * bend).sum())
            q -= alphas[-1] * bend
        q = self._precondition(q, l2)
        if memory:
            change, bend = memory[-1]
            q *= (change * bend).sum() / (bend * self._precondition(bend, l2)).sum()
        for (change, bend), alpha in zip(memory, reversed(alphas), strict=True):
            q += (alpha - (bend * q).sum() / (change * bend).sum()) * change
        return q

    def _precondition(self, v: Tensor, l2: float) -> Tensor:
        """Divide by an upper bound of the Hessian, Gram / 2 + l2 (Böhning 1992): the same answer, sooner."""
        if self._gram is None:
            return v.clone()
        if self._inverse[0] != l2:
            bound = 0.5 * self._gram
            # Float32 resolves no eigenvalue below about 1e-6 of the largest, so none is left there.
            bound.diagonal().add_(l2 + 1e-6 * float(self._gram.diagonal().sum()))
            self._inverse = (l2, torch.cholesky_inverse(torch.linalg.cholesky(bound)))
        inverse = self._inverse[1]
        assert inverse is not None
        return torch.cat([(v[:, :-1].float() @ inverse).double(), 2 * v[:, -1:]], dim=1)


class _Ridge:
    """Ridge regression of y ``(N, T)`` on x ``(N, d)``: mean squared error + l2 ||W||^2, the bias free."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.mean_x, self.mean_y = x.mean(0), y.mean(0)
        d = x.shape[1]
        self.gram, self.cross = (
            torch.zeros(d, d, dtype=torch.float64),
            torch.zeros(d, y.shape[1], dtype=torch.float64),
        )
        for xs, ys in zip(x.split(4096), y.split(4096), strict=True):
            centred = (xs - self.mean_x).double()
            self.gram += centred.T @ centred / len(x)
            self.cross += centred.T @ (ys - self.mean_y) / len(x)

    def predict(self, x: Tensor, l2: float) -> Tensor:
        factor = torch.linalg.cholesky(self.gram + l2 * torch.eye(len(self.gram), dtype=torch.float64))
        w = torch.cholesky_solve(self.cross, factor)  # (d, T)
        return (x - self.mean_x).double() @ w + self.mean_y


def _row_space(x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Rotate x ``(N, D)`` to ``(N, N)`` if it has fewer rows than columns; also the rotation ``(D, N)``.

    With an l2 penalty the optimum lies in the span of the rows, and a rotation leaves the penalty as it is.
    """
    if x.shape[0] >= x.shape[1]:
        return x, None
    basis, rotated = torch.linalg.qr(x.T)
    return rotated.T.contiguous(), basis


def _choose_l2(
    problem: _Logistic, val_fraction: float, seed: int
) -> tuple[float, dict[float, float], Tensor | None]:
    """The l2 of the grid with the best validation accuracy, all accuracies, and a start for the last fit."""
    target = problem.target
    fold = _folds(target, round(1 / val_fraction), seed)  # (N,)
    held_out, rows = [], 0
    for number, size in enumerate(fold[fold >= 0].bincount().tolist()):
        if rows < _VALIDATION_ROWS:
            held_out.append(fold == number)
            rows += size
    if not rows:
        return DEFAULT_L2, {}, None
    starts: list[Tensor | None] = [None] * len(held_out)
    scores: dict[float, tuple[float, float]] = {}  # accuracy and negative cross-entropy: more is better
    best, best_start, falling = DEFAULT_L2, None, 0
    for l2 in L2_GRID:
        correct, log_p = 0, 0.0
        for i, val in enumerate(held_out):
            kept = (~val).double()
            theta = starts[i] = problem.fit(kept / kept.sum(), l2, starts[i], tolerance=1e-4)
            logits = problem.logits(theta)[val]
            correct += int((logits.argmax(1) == target[val]).sum())
            log_p -= float(cross_entropy(logits, target[val], reduction="sum"))
        score = (correct / rows, log_p / rows)
        if not scores or score > scores[best]:
            best, best_start = l2, starts[0]
        # As the penalty weakens both rise, then fall; weak penalties are slow to fit and past the best.
        falling = falling + 1 if l2 != best and score[1] < max(s[1] for s in scores.values()) else 0
        scores[l2] = score
        if falling == 2:
            break
    return best, {strength: score[0] for strength, score in scores.items()}, best_start


def _folds(labels: Tensor, n_folds: int, seed: int) -> Tensor:
    """Deal the rows to folds 0, 1, ... class by class, shuffled; -1 for the only row of a class."""
    order = _shuffled_by_class(labels, seed)
    _, counts = labels.cpu().unique(return_counts=True)
    dealt = torch.arange(len(labels)) % n_folds
    dealt[(counts == 1).repeat_interleave(counts)] = -1
    return torch.empty_like(dealt).scatter_(0, order, dealt)


def _shuffled_by_class(labels: Tensor, seed: int) -> Tensor:
    """Indices (N,) sorted by class, in random order within a class."""
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return shuffled[labels.cpu()[shuffled].argsort(stable=True)]


def _rank_in_class(counts: Tensor) -> Tensor:
    """0, 1, ... counts[0] - 1, 0, 1, ... counts[1] - 1, and so on."""
    return torch.arange(int(counts.sum())) - (counts.cumsum(0) - counts).repeat_interleave(counts)


def _standardisation(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column; 1 for a column that is constant within rounding."""
    scale, mean = torch.std_mean(x, dim=0, correction=0)
    return mean, torch.where(scale <= 1e-6 * mean.abs() + 1e-30, torch.ones_like(scale), scale)


# --- private: the encoder -----------------------------------------------------------------------------


@contextlib.contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards each submodule is in the mode that it was in."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training


def _device_and_dtype(encoder: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Those of the first floating-point parameter or buffer; CPU and float32 for an encoder without any."""
    for tensor in [*encoder.parameters(), *encoder.buffers()]:
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32


def _to_unit_floats(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pixels as floats in [0, 1]: uint8 divided by 255, floats as they are if they lie there."""
    if images.dtype == torch.uint8:
        return images.to(dtype) / 255
    low, high = float(images.min()), float(images.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # false for NaN too
        raise ValueError(f"float images must be in [0, 1], got values from {low:.4g} to {high:.4g}")
    return images.to(dtype)


def _select(output: Any, level: str) -> Tensor:
    """h or z of what an encoder returned."""
    if isinstance(output, tuple) and len(output) == 2:
        return output[LEVELS.index(level)]
    if level != "h":
        raise ValueError(f"level {level} needs a model that returns (h, z), got {type(output).__name__}")
    return output


def _check_features(features: Any, batch: int) -> None:
    shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    if (
        not isinstance(features, Tensor)
        or features.ndim != 2
        or len(features) != batch
        or not features.shape[1]
    ):
        raise ValueError(f"encoder must return a matrix of shape ({batch}, D), got {shape}")
    if not features.is_floating_point():
        raise ValueError(f"encoder must return floats, got {features.dtype}")


def _check_encoder(encoder: object) -> None:
    if not isinstance(encoder, nn.Module):
        raise TypeError(f"encoder must be a torch.nn.Module, got {type(encoder).__name__}")


def _check_unchanged(encoder: nn.Module, before: str) -> None:
    if state_hash(encoder) != before:
        raise RuntimeError(
            "the encoder changed while it was being evaluated, so it was not frozen: a layer updates its "
            "weights or buffers in eval mode"
        )


def _probe_features(
    encoder: nn.Module | None,
    images: ImageSet,
    fraction: float,
    seed: int,
    level: str,
    batch_size: int,
    device: torch.device | str | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, str | None]:
    """Features and labels of the labelled train images and of the test images, and the encoder's hash."""
    check_choice(level, "level", LEVELS)
    train, train_y, test, test_y = _labelled(images, fraction, seed)
    if encoder is None:
        if level != "h" or device is not None:
            raise ValueError("raw pixels have no level and no device: leave both out when encoder is None")
        return _to_unit_floats(train).flatten(1), train_y, _to_unit_floats(test).flatten(1), test_y, None
    before = state_hash(encoder)
    train_x, test_x = (embed(encoder, x, batch_size, device, level) for x in (train, test))
    _check_unchanged(encoder, before)
    return train_x, train_y, test_x, test_y, before


def _labelled(images: ImageSet, fraction: float, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The share of train images whose labels may be used, and all test images."""
    for split in ("train", "test"):
        pixels = check_images(getattr(images, f"{split}_images"), f"{split}_images", channels=None)
        check_labels(getattr(images, f"{split}_labels"), f"{split}_labels", len(pixels))
    train_y, test_y = images.train_labels.long().cpu(), images.test_labels.long().cpu()
    kept = label_subset(train_y, fraction, seed)
    train = images.train_images if len(kept) == len(train_y) else images.train_images[kept]
    return train, train_y[kept], images.test_images, test_y


# --- private: the fine-tuning loop --------------------------------------------------------------------


def _classifier(encoder: nn.Module, image: Tensor, num_classes: int, device: torch.device) -> _Classifier:
    """A trainable copy of the encoder with a new head, on the device."""
    copied = copy.deepcopy(encoder).to(device)
    feature_dim = embed(copied, image).shape[1]
    model = _Classifier(copied, feature_dim, num_classes).to(device)
    return model.requires_grad_(True)


def _warmup_cosine(steps: int) -> Callable[[int], float]:
    """Share of the peak learning rate at a step: linear over the first 5%, then a cosine to 0."""
    warmup = max(1, round(0.05 * steps))

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return share


def _start_from_probe(model: _Classifier, x: Tensor, y: Tensor, seed: int) -> None:
    """Set the head to the linear probe of the encoder as it is, fitted to these pictures."""
    features = embed(model.encoder, x)
    probe = fit_linear(features, y.cpu(), features, y.cpu(), seed=seed)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.fill_(float(probe.bias.min()) - 10)  # a class without a label is not predicted
        model.head.weight[probe.classes] = probe.weight.to(model.head.weight)
        model.head.bias[probe.classes] = probe.bias.to(model.head.bias)


def _freeze_batch_norm(module: nn.Module) -> None:
    """Evaluation mode for every BatchNorm layer: statistics as they are; scale and shift still learn."""
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.eval()


def _batches(n: int, batches: int, copies: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Indices of one epoch, in batches of equal size; each picture ``copies`` times, in orders of its own.

    Split evenly: a last batch of one image would break BatchNorm.
    """
    order = torch.cat([torch.randperm(n, generator=generator) for _ in range(copies)])
    return order.tensor_split(batches)


def _train_epoch(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    batches: tuple[Tensor, ...],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    augment: Callable[..., Tensor] | None,
    generator: torch.Generator,
) -> tuple[float, float]:
    """One step a batch of indices, modules in the mode they are in; mean loss and accuracy."""
    loss_sum, correct = torch.zeros((), device=x.device), torch.zeros((), device=x.device)
    for index in batches:
        batch, target = x[index.to(x.device)], y[index.to(x.device)]
        views = _to_unit_floats(batch) if augment is None else augment(batch, generator=generator)
        logits = model(views.to(_device_and_dtype(model)[1]))  # (B, C)
        loss = cross_entropy(logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        loss_sum += loss.detach() * len(index)
        correct += (logits.detach().argmax(dim=1) == target).sum()
    seen = sum(len(index) for index in batches)
    return float(loss_sum) / seen, float(correct) / seen


def _predict(model: nn.Module, images: Tensor) -> Tensor:
    return embed(model, images).argmax(dim=1)  # (N,) on the CPU


# --- private: checks ----------------------------------------------------------------------------------


def _accuracy(predictions: Tensor, labels: Tensor) -> float:
    return float((predictions.cpu() == labels.cpu()).double().mean())


def _check_finite(x: Tensor, name: str) -> Tensor:
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return x


def _check_features_pair(train_x: Tensor, test_x: Tensor) -> tuple[Tensor, Tensor]:
    """Train and test features as float32, finite and of one width and device."""
    pair = []
    for name, x in (("train_x", train_x), ("test_x", test_x)):
        pair.append(_check_finite(check_matrix(x, name).detach().float(), name))
    train, test = pair
    if train.shape[1] != test.shape[1]:
        raise ValueError(
            f"train_x and test_x must have the same width, got {train.shape[1]} and {test.shape[1]}"
        )
    if train.device != test.device:
        raise ValueError(f"train_x and test_x must be on one device, got {train.device} and {test.device}")
    return train, test


def _check_classes(train_y: Tensor, test_y: Tensor) -> Tensor:
    """The classes of the training labels (C,), if a classifier can be fitted to them and scored."""
    classes = train_y.unique()
    if len(classes) < 2:
        raise ValueError(f"the training labels must have at least 2 classes, got only {classes.tolist()}")
    unseen = test_y[~torch.isin(test_y, classes)].unique()
    if len(unseen):
        raise ValueError(f"the test labels have classes that no training label has: {unseen.tolist()[:10]}")
    return classes


def _check_values(values: object, name: str, length: int) -> Tensor:
    """A factor (N,) as float64, finite and not constant."""
    v = check_tensor(values, name)
    if v.shape != (length,):
        raise ValueError(f"{name} must hold one value per row, shape ({length},), got {tuple(v.shape)}")
    if v.is_complex() or v.dtype == torch.bool:
        raise TypeError(f"{name} must be real numbers, got {v.dtype}")
    v = _check_finite(v.detach().cpu().double(), name)
    if v.min() == v.max():
        raise ValueError(f"{name} must not be constant, got {float(v[0])} in every row")
    return v
