"""Pretraining: configuration, the loop, and runs that can be stopped, resumed and loaded.

The method on one screen is ``train_step``: two views of a batch, one pass through encoder and projection
head, NT-Xent, one step of the optimizer (Chen et al. 2020, Algorithm 1). The rest keeps the loop honest
(it stops on a loss that is not finite), fast (batched augmentation on the device of the data) and
repeatable: on a CPU the same configuration gives the same weights, interrupted or not.
"""

import contextlib
import hashlib
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from simclr_edu import distributed
from simclr_edu._checks import check_choice, check_fraction, check_images, check_int, check_positive
from simclr_edu._memory import keep_freed_memory
from simclr_edu.augment import SimCLRAugment
from simclr_edu.checkpoints import (
    CheckpointError,
    atomic_file,
    list_checkpoints,
    read_latest,
    save_checkpoint,
)
from simclr_edu.data import home_folder
from simclr_edu.diagnostics import contrastive_accuracy
from simclr_edu.losses import NTXentLoss
from simclr_edu.models import ENCODERS, STEMS, SimCLR, make_encoder

CUSTOM = "custom"  # the encoder's name in a configuration when the caller brought a module of their own
DEFAULT_EPOCHS = 20

# What may differ between a run and its continuation without changing the weights that come out.
_NOT_IN_FINGERPRINT = ("device", "log_every", "checkpoint_every")


@dataclass(frozen=True)
class PretrainConfig:
    """Every setting of a pretraining run; the defaults are those of the ``laptop`` profile.

    Raises:
        TypeError, ValueError: a setting out of range, or both ``epochs`` and ``seconds``.
    """

    data: str = "shapes"
    """Name of the data set, as ``load_images`` takes it."""
    encoder: str = "tiny"
    """tiny, small, resnet18, resnet34, resnet50."""
    stem: str = "cifar"
    """cifar for small images, imagenet for 224 pixels."""
    projection_dim: int = 64
    """Width of z, which only the loss sees."""
    epochs: int | None = None
    """How often every image is seen; 20 if neither epochs nor seconds is given."""
    seconds: float | None = None
    """Train for this long instead, the schedule following the clock: how many steps that makes, and so the
    weights, depends on the machine and its load."""
    batch_size: int = 64
    """Images N a step, all processes together: 2N views, 2(N-1) negatives for each anchor."""
    temperature: float = 0.2
    """Divides the similarities in NT-Xent."""
    optimizer: str = "adamw"
    """adamw or sgd (with Nesterov momentum 0.9)."""
    learning_rate: float = 3e-3
    """At the end of the warm-up."""
    weight_decay: float = 1e-4
    """Not applied to biases and BatchNorm, as in the paper's code."""
    warmup: float = 0.1
    """Share of the run in which the learning rate rises from 0."""
    strength: float | None = None
    """Strength s of the colour jitter; if not given 1 for shapes, whose only shortcut is colour, else 0.5."""
    crop_scale: float = 0.6
    """Smallest area of a crop, as a share of the picture. 0.6 suits one object on a plain ground; photographs
    take smaller crops, the paper 0.08."""
    crop: bool = True
    """Random resized crops."""
    color: bool = True
    """Colour jitter and grayscale."""
    flip: bool = True
    """Horizontal flips."""
    grayscale: float = 0.2
    """Probability of dropping the colour."""
    blur: bool = False
    """Gaussian blur, for 224 pixels."""
    image_size: int | None = None
    """Side of the views in pixels; that of the data if not given."""
    seed: int = 0
    """Seed of weights, order and augmentation."""
    device: str = "auto"
    """auto (CUDA, else MPS, else CPU), cpu, cuda, mps."""
    amp: str = "off"
    """off or bf16: the precision of the forward pass."""
    channels_last: bool = True
    """Memory order of images and filters: faster on CPU and GPU alike."""
    compile: bool = False
    """Compile the model: minutes at the start, faster steps on a GPU."""
    log_every: int = 10
    """Steps between two records of the history."""
    checkpoint_every: int = 200
    """Steps between two checkpoints."""

    def __post_init__(self) -> None:
        check_choice(self.encoder, "encoder", (*ENCODERS, CUSTOM))
        check_choice(self.stem, "stem", STEMS)
        check_choice(self.optimizer, "optimizer", ("adamw", "sgd"))
        check_choice(self.amp, "amp", ("off", "bf16"))
        check_choice(self.device, "device", ("auto", "cpu", "cuda", "mps"))
        if self.epochs is not None and self.seconds is not None:
            raise ValueError(f"give epochs or seconds, not both, got {self.epochs} and {self.seconds}")
        if self.epochs is not None:
            check_int(self.epochs, "epochs", 1)
        if self.seconds is not None:
            check_positive(self.seconds, "seconds")
        check_int(self.projection_dim, "projection_dim", 1)
        check_int(self.batch_size, "batch_size", 2)
        for name in ("temperature", "learning_rate"):
            check_positive(getattr(self, name), name)
        if not 0 <= self.weight_decay < 1:
            raise ValueError(f"weight_decay must be from 0 to 1, got {self.weight_decay}")
        for name in ("warmup", "grayscale"):
            check_fraction(getattr(self, name), name)
        if not 0 < self.crop_scale <= 1:
            raise ValueError(f"crop_scale must be above 0 and at most 1, got {self.crop_scale}")
        if not (math.isfinite(self.jitter_strength) and self.jitter_strength >= 0):
            raise ValueError(f"strength must be 0 or more, got {self.strength}")
        if self.image_size is not None:
            check_int(self.image_size, "image_size", 8)
        check_int(self.seed, "seed", 0, 2**32 - 1)
        for name in ("log_every", "checkpoint_every"):
            check_int(getattr(self, name), name, 1)

    @property
    def total_epochs(self) -> int | None:
        """Length of the run in epochs; None where the clock decides."""
        if self.seconds is not None:
            return None
        return DEFAULT_EPOCHS if self.epochs is None else self.epochs

    @property
    def jitter_strength(self) -> float:
        """Strength of the colour jitter in force; 0.5 is the paper's on CIFAR-10 (appendix B.9)."""
        if self.strength is None:
            return 1.0 if self.data in ("shapes", "shapes_easy") else 0.5
        return self.strength

    def augmentation(self, size: int) -> SimCLRAugment:
        """The augmentation that this configuration asks for, at ``size`` pixels."""
        return SimCLRAugment(
            size,
            strength=self.jitter_strength,
            blur=self.blur,
            crop_scale=(self.crop_scale, 1.0),
            crop=self.crop,
            color=self.color,
            flip=self.flip,
            grayscale=self.grayscale,
        )

    def fingerprint(self) -> dict[str, Any]:
        """The settings that decide the weights: a run may only be resumed under the same ones."""
        settings = asdict(self) | {"strength": self.jitter_strength}
        return {k: v for k, v in settings.items() if k not in _NOT_IN_FINGERPRINT}


class NonFiniteLossError(ArithmeticError):
    """Loss or weights became NaN or infinite; the message says at which step and what the likely cause is."""


class StopPretraining(Exception):
    """Raised by a callback to end a run early; what was learned so far is kept and can be resumed."""


class _Images(Protocol):
    @property
    def pretrain_images(self) -> Tensor: ...


@dataclass
class Run:
    """A pretraining run: the model, what it was trained with, and how it went."""

    config: PretrainConfig
    model: SimCLR
    history: list[dict[str, float]] = field(default_factory=list)
    """One record each ``log_every`` steps: step, epoch, progress (0 to 1), loss, contrastive_accuracy (0 to
    1), learning_rate, seconds, pairs_per_s."""
    directory: Path | None = None
    step: int = 0
    epoch: float = 0.0
    """Passes over the data so far, a fraction included."""
    seconds: float = 0.0
    """Time spent training, callbacks not counted."""
    pairs: int = 0
    """Pairs of views seen."""
    finished: bool = False
    data_fingerprint: str = ""

    @property
    def encoder(self) -> nn.Module:
        """The encoder f, which downstream tasks use."""
        return self.model.encoder

    @property
    def pairs_per_s(self) -> float:
        """Pairs of views a second over the whole run."""
        return self.pairs / self.seconds if self.seconds else 0.0

    def summary(self) -> dict[str, Any]:
        """The run in one line: what the command line prints."""
        last = self.history[-1] if self.history else {}
        return {
            "data": self.config.data,
            "encoder": self.config.encoder,
            "pairs_per_s": round(self.pairs_per_s, 1),
            "seconds": round(self.seconds, 1),
            "epochs": round(self.epoch, 2),
            "steps": self.step,
            "loss": round(last.get("loss", math.nan), 4) if last else None,
            "contrastive_accuracy": round(last.get("contrastive_accuracy", math.nan), 4) if last else None,
            "finished": self.finished,
        }

    def save_weights(self, directory: str | os.PathLike[str]) -> Path:
        """Save the run without the optimizer's state: a third of the size, to be loaded but not resumed."""
        return save_checkpoint(directory, self.step, _state(self, optimizer=None, generators={}))


Callback = Callable[[Run], None]


def learning_rate(progress: float, base: float, warmup: float = 0.1) -> float:
    """Learning rate after a share ``progress`` (0 to 1) of the run: linear warm-up, then a cosine to 0.

    Chen et al. 2020, section 2.3 (default setting: warm-up, then cosine decay without restarts).

    Raises:
        TypeError, ValueError: ``progress`` or ``warmup`` is not from 0 to 1, or ``base`` is not above 0.
    """
    progress, warmup = check_fraction(progress, "progress"), check_fraction(warmup, "warmup")
    base = check_positive(base, "base")
    if progress < warmup:
        return base * progress / warmup
    if warmup == 1:
        return base
    return base * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``name``; ``auto`` is CUDA if there is one, else MPS, else the CPU.

    Raises:
        ValueError: the device that was asked for by name is not there.
    """
    check_choice(name, "device", ("auto", "cpu", "cuda", "mps"))
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, found in there.items() if found))
    if not there[name]:
        raise ValueError(
            f"device {name} was asked for, but torch {torch.__version__} finds none on this machine"
        )
    return torch.device(name)


def bf16_is_fast(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 in hardware.

    A CPU without the instructions emulates them, hundreds of times slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.cpu._is_avx512_bf16_supported()
    return False


def train_step(
    model: nn.Module,
    augment: SimCLRAugment,
    loss_function: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    generator: torch.Generator | None = None,
    precision: contextlib.AbstractContextManager | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of SimCLR (Chen et al. 2020, Algorithm 1).

    With several processes each passes its own part of the global batch, in the order of the ranks.

    Args:
        model: images ``(2N, 3, H, W)`` to ``(h, z)``.
        augment: makes the two views.
        loss_function: ``(z1, z2)``, each ``(N, d)``, to a scalar.
        optimizer: of the model's parameters.
        images: ``(N, 3, H, W)``, uint8 or floats in [0, 1].
        generator: of the augmentation's random choices.
        precision: an autocast context for the forward pass; float32 if not given.

    Returns:
        The loss, a detached scalar, and the embeddings z, detached ``(2N, d)``.
    """
    v1, v2 = augment.two_views(images, generator=generator, part=distributed.share())  # (N, 3, H, W) each
    # One pass over both views: BatchNorm then sees 2N views, not N twice with different statistics.
    views = torch.cat([v1, v2])  # (2N, 3, H, W)
    with precision or contextlib.nullcontext():
        _, z = model(views)  # (2N, d)
    loss = loss_function(*z.chunk(2))  # z1, z2: (N, d) each; NT-Xent computes in float32
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    distributed.average_gradients(model)  # over the processes, if there are several
    optimizer.step()
    return loss.detach(), z.detach()


def _make_optimizer(model: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    # Biases and BatchNorm's scale and shift are vectors: decaying them only shrinks the signal.
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)


def _fingerprint_images(images: Tensor) -> str:
    """Shape and a thousand evenly spaced images: enough to tell data sets apart, at once on any size."""
    sample = images[:: max(1, len(images) // 1000)].contiguous().cpu()
    digest = hashlib.sha256(f"{tuple(images.shape)} {images.dtype}".encode())
    digest.update(sample.view(torch.uint8).numpy().tobytes())  # as bytes: numpy knows no bfloat16
    return digest.hexdigest()


def _state(
    run: Run, optimizer: torch.optim.Optimizer | None, generators: dict[str, Tensor]
) -> dict[str, Any]:
    return {
        "config": asdict(run.config),
        "data_fingerprint": run.data_fingerprint,
        "model": run.model.state_dict(),
        "optimizer": None if optimizer is None else optimizer.state_dict(),
        "generators": generators,
        "history": run.history,
        "step": run.step,
        "epoch": run.epoch,
        "seconds": run.seconds,
        "pairs": run.pairs,
        "finished": run.finished,
    }


def _restore(run: Run, state: dict[str, Any]) -> None:
    run.model.load_state_dict(state["model"])
    run.history = [dict(record) for record in state["history"]]
    for name in ("step", "epoch", "seconds", "pairs", "finished", "data_fingerprint"):
        setattr(run, name, state[name])


@contextlib.contextmanager
def _fits(path: Path) -> Iterator[None]:
    """Turn what loading the contents of a checkpoint raises into an error that names the file."""
    try:
        yield
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(f"{path} does not hold a run that fits: {reason[:300]}") from error


def _order(config: PretrainConfig, n: int, epoch: int) -> Tensor:
    """The order of the images in ``epoch``, from seed and epoch alone: a resumed run finds it again."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    return torch.randperm(n, generator=generator)


def _saved_config(state: dict[str, Any]) -> PretrainConfig:
    """The configuration in a checkpoint; settings that this version does not know are left out."""
    known = {f.name for f in fields(PretrainConfig)}
    return PretrainConfig(**{k: v for k, v in state["config"].items() if k in known})


def _check_resumable(run: Run, state: dict[str, Any], path: Path) -> None:
    wanted = run.config.fingerprint()
    there = _saved_config(state).fingerprint()
    saved = {k: there[k] for k in wanted if k in state["config"]}  # one of an older version lacks some
    differing = [k for k in wanted if k not in saved or saved[k] != wanted[k]]
    if differing:
        changes = ", ".join(f"{k} {saved.get(k)!r} there and {wanted[k]!r} here" for k in differing)
        raise CheckpointError(f"{path} is of another configuration and cannot be resumed: {changes}")
    if state["data_fingerprint"] != run.data_fingerprint:
        raise CheckpointError(f"{path} was trained on other images than these and cannot be resumed")
    if state["optimizer"] is None:
        raise CheckpointError(
            f"{path} holds weights only, without the optimizer's state: it cannot be resumed"
        )


def _resident(images: Tensor, device: torch.device) -> Tensor:
    """The images on ``device`` if they leave it half of its free memory, else where they are."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if images.numel() * images.element_size() > free / 2:
            return images.pin_memory()
    return images.to(device)


def _check_pixels(images: Tensor) -> None:
    """Refuse floats outside [0, 1] before the first step: a single NaN would spread to every weight."""
    if images.is_floating_point():
        flat = images.flatten(1)  # (N, 3HW)
        good = (flat.amin(1) >= -1e-4) & (flat.amax(1) <= 1 + 1e-4)  # false for NaN too
        if not good.all():
            i = int((~good).nonzero()[0])
            raise ValueError(
                f"float images must lie in [0, 1], got values from {float(flat[i].min()):g} to "
                f"{float(flat[i].max()):g} in image {i}"
            )


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C, or the notebook's stop button, wait until the block is done.

    A step stopped half way, some weights moved and others not, could not be resumed to the bit.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody else decides what an interrupt does
        return
    held: list[int] = []
    try:
        signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    except ValueError:  # not the main thread, which alone gets the KeyboardInterrupt
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if held:
        raise KeyboardInterrupt


def _explain_non_finite(run: Run, what: str) -> str:
    c = run.config
    if c.temperature < 0.02:
        cause = f"temperature {c.temperature} makes gradients {1 / c.temperature:.0f} times steeper: raise it"
    elif c.amp != "off":
        cause = "the forward pass runs in bf16: try amp='off' to see whether precision is the cause"
    else:
        cause = f"learning_rate {c.learning_rate} is probably too high for {c.optimizer}: lower it"
    kept = "nothing was saved yet"
    if run.directory is not None and (saved := list_checkpoints(run.directory)):
        kept = f"the last checkpoint is {saved[-1].name}"
    return f"{what} at step {run.step} (epoch {run.epoch:.2f}): {cause}; {kept}"


def pretrain(
    config: PretrainConfig,
    images: "_Images | Tensor",
    callbacks: Iterable[Callback] = (),
    *,
    directory: str | os.PathLike[str] | None = None,
    resume: bool = False,
    encoder: nn.Module | None = None,
    progress: bool = True,
) -> Run:
    """Pretrain an encoder with SimCLR.

    On one machine's CPU, with one version of torch and one number of threads, the same configuration and
    images give the same weights to the bit: called from a notebook or the command line, whatever random
    numbers were drawn before, in one go or stopped, killed and resumed. Not so a run limited by ``seconds``:
    its step k sees the same images and views each time, but the learning rate follows the clock.

    With several processes (``torchrun``, see :mod:`simclr_edu.distributed`) every one of them calls this with
    the same arguments: ``batch_size`` counts the images of all together, callbacks run on rank 0, and rank 0
    alone reads and writes the directory.

    Args:
        config: every setting.
        images: an ``ImageSet``, or the images themselves, uint8 ``(N, 3, H, W)``. Labels are never read.
        callbacks: each is called with the run after each record of its history; one that raises
            ``StopPretraining`` ends the run early, as does interrupting the cell or the process.
        directory: where checkpoints go; nothing is saved if not given.
        resume: go on from the newest checkpoint in ``directory``, if there is one.
        encoder: a module of your own, images ``(B, 3, H, W)`` to ``(B, D)``, in place of ``config.encoder``.
        progress: show a progress bar.

    Returns:
        The run: model in eval mode on its device, history, and whether it finished.

    Raises:
        TypeError, ValueError: images or settings that do not fit, a directory that holds another run.
        CheckpointError: the checkpoint to resume from is damaged or of another configuration.
        NonFiniteLossError: loss or weights became NaN or infinite; such weights are never saved.
        OSError: the directory cannot be written to, found before the first step, or its disk is full.
        ElsewhereError, LostRankError: with several processes, another one failed, or went away.
    """
    if not isinstance(config, PretrainConfig):
        raise TypeError(f"config must be a PretrainConfig, got {type(config).__name__}")
    # With several processes, what one of them refuses ends all of them, and rank 0 alone uses the directory.
    with distributed.agreed():
        distributed.check_batch_size(config.batch_size)
        data = images if isinstance(images, Tensor) else getattr(images, "pretrain_images", images)
        data = check_images(data, "images")
        _check_pixels(data)
        n = len(data)
        if n < config.batch_size:
            raise ValueError(
                f"batch_size {config.batch_size} needs as many images, got {n}: lower batch_size"
            )
        device = distributed.local_device(pick_device(config.device))
        if config.amp == "bf16" and not bf16_is_fast(device):
            raise ValueError(
                f"amp='bf16' was asked for, but this {device.type} has no bfloat16 arithmetic: use amp='off'"
            )
        if encoder is not None:
            config = replace(config, encoder=CUSTOM)
        elif config.encoder == CUSTOM:
            raise ValueError("this configuration is of an encoder of your own: give it as encoder=")
        folder = None if directory is None else Path(directory)
        if folder is not None and distributed.rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            if not resume and list_checkpoints(folder):
                raise ValueError(f"{folder} already holds a run: resume it, or give another directory")
        fingerprint = _fingerprint_images(data)
    distributed.check_same(
        {
            **asdict(config),
            "directory": str(folder),
            "resume": resume,
            "fingerprint of the images": fingerprint,
        }
    )

    # The caller's random state is neither used nor changed: the same run comes out of any notebook.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device.type == "cuda" else []):
        # torch.manual_seed would seed a GPU as well, which a run on the CPU has no business with.
        (torch.default_generator if device.type == "cpu" else torch).manual_seed(config.seed)
        model = SimCLR(
            make_encoder(config.encoder, config.stem) if encoder is None else encoder, config.projection_dim
        )
        run = Run(config, model, directory=folder, data_fingerprint=fingerprint)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        model.to(device).to(memory_format=layout)  # type: ignore[call-overload]
        distributed.copy_from_rank0(model)
        with distributed.synchronised_batch_norm(model, device):
            return _train(run, data, device, list(callbacks), resume, progress)


def _train(
    run: Run, data: Tensor, device: torch.device, callbacks: list[Callback], resume: bool, progress: bool
) -> Run:
    config, model, n = run.config, run.model, len(data)
    if device.type == "cpu":
        keep_freed_memory()  # a step takes 1.2 to 1.6 times as long without it (benchmarks/README.md)
    augment = config.augmentation(config.image_size or data.shape[-1])
    loss_function = NTXentLoss(config.temperature)
    optimizer = _make_optimizer(model, config)
    # On the CPU for every device: the same choices everywhere, and a GPU is not waited for at each step.
    generator = torch.Generator().manual_seed(config.seed)
    losses: list[Tensor] = []  # since the last record of the history

    def newest() -> tuple[Path, dict[str, Any]] | None:
        there = resume and run.directory is not None and list_checkpoints(run.directory)
        return read_latest(run.directory) if there and run.directory is not None else None

    if (found := distributed.on_rank0(newest)) is not None:
        path, state = found
        with distributed.agreed(), _fits(path):
            _check_resumable(run, state, path)
            if len(state["generators"]["augmentation"]) != len(generator.get_state()):
                raise CheckpointError(
                    f"{path} was made on another kind of device and cannot be resumed on {device.type}"
                )
            _restore(run, state)
            optimizer.load_state_dict(state["optimizer"])
            losses = list(state["losses"].to(device))
            generator.set_state(state["generators"]["augmentation"])
            torch.set_rng_state(state["generators"]["global"])
    # Before hours of work, not after: a directory that cannot be written to ends here.
    distributed.on_rank0(lambda: _write_config(run))
    data = _resident(data, device)
    forward: nn.Module = torch.compile(model) if config.compile else model  # type: ignore[assignment]

    steps_per_epoch = n // config.batch_size  # the last, smaller batch is left out: NT-Xent depends on N
    total_steps = None if config.total_epochs is None else config.total_epochs * steps_per_epoch
    clock = time.perf_counter() - run.seconds  # reads as seconds spent training, earlier sessions included
    since_seconds, since_pairs = run.seconds, run.pairs

    def elapsed() -> float:
        seconds = time.perf_counter() - clock
        # Where the clock decides, it has to be one clock.
        return seconds if config.seconds is None else distributed.from_rank0(seconds)

    def share_done() -> float:
        if total_steps is not None:
            return run.step / total_steps
        assert config.seconds is not None
        return min(1.0, run.seconds / config.seconds)

    def write() -> None:
        if run.directory is not None:
            generators = {"augmentation": generator.get_state(), "global": torch.get_rng_state()}
            pending = torch.stack(losses).cpu() if losses else torch.empty(0)
            state = {**_state(run, optimizer, generators), "losses": pending}
            save_checkpoint(run.directory, run.step, state)

    def check_finite() -> None:
        # A finite loss may leave weights that are not: its gradient need not be finite.
        if not all(bool(v.isfinite().all()) for v in (*losses, *model.parameters(), *model.buffers())):
            raise NonFiniteLossError(_explain_non_finite(run, "loss or weights are no longer finite"))

    def save() -> None:
        check_finite()
        distributed.on_rank0(write)

    def call_back() -> bool:
        """Call the callbacks; return whether one of them wants to stop."""
        try:
            for callback in callbacks:
                callback(run)
                model.train()  # a callback that evaluates leaves eval mode behind
        except StopPretraining:
            return True
        return False

    model.train()
    bar = tqdm(
        total=total_steps,
        initial=run.step if total_steps else 0,
        disable=not progress or distributed.rank() > 0,
        unit="step",
        desc=f"pretrain {config.encoder} on {config.data}",
        leave=False,
        mininterval=1.0,
    )
    order, order_epoch = torch.empty(0, dtype=torch.long), -1
    whole_step = contextlib.ExitStack()
    try:
        while share_done() < 1:
            epoch, position = divmod(run.step, steps_per_epoch)
            if epoch != order_epoch:
                order, order_epoch = _order(config, n, epoch).to(data.device), epoch
            rows = order[position * config.batch_size : (position + 1) * config.batch_size]
            rows = distributed.own_part(rows)  # all of them, if this is the only process
            batch = data[rows].to(device, non_blocking=True)  # (N, 3, H, W), uint8
            # The rate for the middle of this step: never exactly 0, at either end.
            middle = share_done() if total_steps is None else (run.step + 0.5) / total_steps
            rate = learning_rate(min(1.0, max(middle, 1e-3)), config.learning_rate, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            precision = torch.autocast(device.type, torch.bfloat16, enabled=config.amp == "bf16")
            whole_step.enter_context(_uninterrupted())
            loss, z = train_step(forward, augment, loss_function, optimizer, batch, generator, precision)
            losses.append(loss)
            run.step += 1
            run.pairs += config.batch_size
            run.epoch = run.step / steps_per_epoch
            run.seconds = elapsed()
            bar.update()
            last = share_done() >= 1
            record = run.step % config.log_every == 0 or last
            # On a GPU reading the loss waits for the device, so it is read when it is recorded or saved.
            if record or device.type == "cpu":
                value = float(loss)
                if not math.isfinite(value):
                    raise NonFiniteLossError(_explain_non_finite(run, f"the loss is {value}"))
            if record:
                mean = float(torch.stack(losses).mean())
                if not math.isfinite(mean):
                    raise NonFiniteLossError(_explain_non_finite(run, f"the mean loss is {mean}"))
                run.seconds = elapsed()
                pairs = distributed.gather_with_grad(torch.stack(z.float().chunk(2), dim=1))  # (N, 2, d)
                run.history.append(
                    {
                        "step": run.step,
                        "epoch": run.epoch,
                        "progress": share_done(),
                        "loss": mean,
                        "contrastive_accuracy": contrastive_accuracy(*pairs.unbind(1)),
                        "learning_rate": rate,
                        "seconds": run.seconds,
                        "pairs_per_s": (run.pairs - since_pairs) / max(run.seconds - since_seconds, 1e-9),
                    }
                )
                losses, since_seconds, since_pairs = [], run.seconds, run.pairs
                bar.set_postfix(loss=f"{mean:.3f}", refresh=False)
            whole_step.close()  # here an interrupt that waited is raised
            if record:
                before = time.perf_counter()
                if distributed.on_rank0(call_back):
                    raise StopPretraining
                model.train()
                clock += time.perf_counter() - before
            if run.step % config.checkpoint_every == 0 and not last:
                save()
        run.finished = True
        save()
    except StopPretraining:
        save()
    except KeyboardInterrupt:
        check_finite()
        if distributed.rank() == 0:
            write()  # alone: the others may be anywhere
        if distributed.is_distributed():
            raise  # they wait for this one, and only a failure ends them
    finally:
        whole_step.close()
        bar.close()
    model.eval()
    distributed.on_rank0(lambda: _write_config(run))
    return run


def _write_config(run: Run) -> None:
    """Write the configuration and how the run stands, for people to read; nothing is read back from it."""
    if run.directory is not None:
        with atomic_file(run.directory / "config.json") as file:
            text = json.dumps({"config": asdict(run.config), **run.summary()}, indent=2)
            file.write(f"{text}\n".encode())


def load_run(path: str | os.PathLike[str], encoder: nn.Module | None = None) -> Run:
    """Load a run from its directory: model in eval mode on the CPU, configuration and history.

    Args:
        path: the directory that ``pretrain`` wrote.
        encoder: the module to load the weights into, if the run was made with one of the caller's own.

    Raises:
        CheckpointError: there is no checkpoint, or the newest is damaged or not of this package.
        ValueError: the run needs its own encoder and none was given.
    """
    file, state = read_latest(path)
    with _fits(file):
        config = _saved_config(state)
    if config.encoder == CUSTOM and encoder is None:
        raise ValueError(f"{path} was made with an encoder of its own: give it as encoder=")
    model = SimCLR(encoder or make_encoder(config.encoder, config.stem), config.projection_dim)
    run = Run(config, model, directory=Path(path))
    with _fits(file):
        _restore(run, state)
    run.model.eval()
    return run


SHIPPED = Path(__file__).parent / "assets" / "simclr"
COURSE_RUN = "simclr"


def course_run(verbose: bool = True) -> Run:
    """The course's trained encoder: the learner's own finished run if there is one, else the shipped one.

    The learner's own is what the notebook on pretraining writes, ``runs/simclr`` in the course's home folder
    (``SIMCLR_EDU_HOME``). The shipped one was made by the command line; its configuration lies beside it.

    Args:
        verbose: print which of the two it is.

    Raises:
        CheckpointError: the learner's own run is there but damaged; nothing is put in its place silently.
    """
    own = home_folder() / "runs" / COURSE_RUN
    run = load_run(own) if list_checkpoints(own) else None
    source = "your own run"
    if run is None or not run.finished:
        run, source = load_run(SHIPPED), "the encoder shipped with the package"
    if verbose:
        c = run.config
        print(
            f"{source}: {c.encoder} on {c.data}, {run.epoch:.0f} epochs, tau {c.temperature}, seed {c.seed}"
        )
    return run
