"""Fine-tuning: the encoder trained on with labels, under SimCLR's augmentation."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from simclr_edu._checks import (
    check_callable,
    check_choice,
    check_fraction,
    check_int,
    check_number,
    check_positive,
    check_seed,
)
from simclr_edu._progress import tell
from simclr_edu._settings import check_default_dtype, check_precision, plain_settings
from simclr_edu.augment import SimCLRAugment
from simclr_edu.data import ImageSet
from simclr_edu.device import check_device, seeded
from simclr_edu.evaluate.checks import accuracy_of, check_classes
from simclr_edu.evaluate.frozen import (
    check_encoder,
    check_unchanged,
    device_and_dtype,
    embed,
    select_level,
    state_hash,
    to_unit_floats,
)
from simclr_edu.evaluate.labels import labelled_rows, stratified_folds
from simclr_edu.evaluate.probe import confusion_matrix, fit_linear
from simclr_edu.pretrain import PretrainConfig
from simclr_edu.pretrain.schedule import warmup_cosine

# Steps that fine-tuning takes at least, however few the labels.
_LEAST_STEPS = 4000


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
        h = select_level(self.encoder(x), "h").to(self.head.weight.dtype)
        logits: Tensor = self.head(h)  # (B, C)
        return logits


@plain_settings(gradients=True)
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
    check_encoder(encoder)
    check_default_dtype("fine-tuning")
    steps = None if steps is None else check_int(steps, "steps", 1)
    epochs = None if epochs is None else check_int(epochs, "epochs", 1)
    if epochs is not None and steps is not None:
        raise ValueError(f"give epochs or steps, not both, got {epochs} and {steps}")
    check_choice(head, "head", ("random", "probe"))
    encoder_lr = check_fraction(encoder_lr, "encoder_lr")
    check_choice(batch_norm, "batch_norm", ("batch", "frozen"))
    lr, batch_size = check_positive(lr, "lr"), check_int(batch_size, "batch_size", 2)
    weight_decay = check_number(weight_decay, "weight_decay", 0)
    val_fraction = check_number(val_fraction, "val_fraction", 0, 0.5)
    check_seed(seed)
    train_x, train_y, test_x, test_y = labelled_rows(images, fraction, seed)
    check_classes(train_y, test_y)
    if isinstance(augment, str):
        check_choice(augment, "augment", ("simclr", "light"))
        size = train_x.shape[2]
        if augment == "light":
            augment = SimCLRAugment(size, crop_scale=(0.5, 1.0), color=False, flip=True)
        else:
            augment = PretrainConfig(data=images.name).augmentation(size)
    elif augment is not None:
        check_callable(augment, "augment")
    where = device_and_dtype(encoder)[0] if device is None else check_device(device)
    check_precision(where, "fine-tuning")
    before = state_hash(encoder)

    held_out = torch.zeros(len(train_y), dtype=torch.bool)
    if val_fraction > 0:
        held_out = stratified_folds(train_y, round(1 / val_fraction), seed) == 0
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
    with seeded(seed, where):
        model = _classifier(encoder, train_x[:1], int(train_y.max()) + 1, where)
        if head == "probe":
            _start_from_probe(model, fit_x, fit_y, seed)
        groups = [
            {"params": list(model.head.parameters()), "lr": lr},
            {"params": list(model.encoder.parameters()), "lr": lr * encoder_lr},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _share_of_peak(steps))
        history: list[dict[str, Any]] = []
        for done in range(0, steps, steps_per_epoch):  # the last epoch may be cut short
            tell(done / steps)
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
            val_accuracy = accuracy_of(_predict(model, val_x), val_y) if len(val_x) else None
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
    check_unchanged(encoder, before)
    model.eval()
    predictions = _predict(model, test_x)
    return FineTuneResult(
        accuracy=accuracy_of(predictions, test_y),
        val_accuracy=history[-1]["val_accuracy"],
        predictions=predictions,
        labels=test_y,
        n_labels=len(train_y),
        history=history,
        model=model,
        state_hash=before,
    )


def _classifier(encoder: nn.Module, image: Tensor, num_classes: int, device: torch.device) -> _Classifier:
    """A trainable copy of the encoder with a new head, on the device."""
    copied = copy.deepcopy(encoder).to(device)
    feature_dim = embed(copied, image).shape[1]
    model = _Classifier(copied, feature_dim, num_classes).to(device)
    return model.requires_grad_(True)


def _share_of_peak(steps: int) -> Callable[[int], float]:
    """Share of the peak learning rate at a step: linear over the first 5%, then a cosine to 0."""
    warmup = max(1, round(0.05 * steps))
    # Counted from 1 going up and from 0 going down: neither the first nor the last step has a rate of 0.
    return lambda step: warmup_cosine(step + 1 if step < warmup else step, warmup, steps)


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
        views = to_unit_floats(batch) if augment is None else augment(batch, generator=generator)
        logits = model(views.to(device_and_dtype(model)[1]))  # (B, C)
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
