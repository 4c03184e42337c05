"""The loop."""

import contextlib
import hashlib
import math
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from simclr_edu import distributed
from simclr_edu._checks import check_images
from simclr_edu.checkpoints import CheckpointError, list_checkpoints, read_latest, save_checkpoint
from simclr_edu.device import bf16_is_fast, keep_freed_memory, pick_device
from simclr_edu.diagnostics import contrastive_accuracy
from simclr_edu.encoders import make_encoder
from simclr_edu.losses import NTXentLoss
from simclr_edu.pretrain.config import CUSTOM, PretrainConfig
from simclr_edu.pretrain.run import (
    Callback,
    NonFiniteLossError,
    Run,
    StopPretraining,
    check_resumable,
    must_fit,
    restore,
    state_of,
    write_config,
)
from simclr_edu.pretrain.schedule import learning_rate
from simclr_edu.simclr import SimCLR, train_step


class _Images(Protocol):
    @property
    def pretrain_images(self) -> Tensor: ...


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


def _order(config: PretrainConfig, n: int, epoch: int) -> Tensor:
    """The order of the images in ``epoch``, from seed and epoch alone: a resumed run finds it again."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    return torch.randperm(n, generator=generator)


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
        with distributed.agreed(), must_fit(path):
            check_resumable(run, state, path)
            if len(state["generators"]["augmentation"]) != len(generator.get_state()):
                raise CheckpointError(
                    f"{path} was made on another kind of device and cannot be resumed on {device.type}"
                )
            restore(run, state)
            optimizer.load_state_dict(state["optimizer"])
            losses = list(state["losses"].to(device))
            generator.set_state(state["generators"]["augmentation"])
            torch.set_rng_state(state["generators"]["global"])
    # Before hours of work, not after: a directory that cannot be written to ends here.
    distributed.on_rank0(lambda: write_config(run))
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
            state = {**state_of(run, optimizer, generators), "losses": pending}
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
    distributed.on_rank0(lambda: write_config(run))
    return run
