"""Pretraining from the first step to the last."""

import contextlib
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from simclr_edu import distributed
from simclr_edu._checks import check_config, check_images
from simclr_edu._settings import check_default_dtype, check_precision, plain_settings
from simclr_edu.device import bf16_is_fast, check_compiler, keep_freed_memory, pick_device, seeded
from simclr_edu.encoders import make_encoder
from simclr_edu.losses import NTXentLoss
from simclr_edu.pretrain.batches import Batches, check_pixels, fingerprint_images
from simclr_edu.pretrain.clock import Clock
from simclr_edu.pretrain.config import CUSTOM, PretrainConfig
from simclr_edu.pretrain.folder import as_folder, open_folder
from simclr_edu.pretrain.interrupts import uninterrupted
from simclr_edu.pretrain.own_encoder import OwnEncoder
from simclr_edu.pretrain.recorder import Recorder
from simclr_edu.pretrain.run import Callback, PretrainWarning, Run, StopPretraining
from simclr_edu.pretrain.saver import Saver, go_on
from simclr_edu.simclr import SimCLR, train_step


class _Images(Protocol):
    @property
    def pretrain_images(self) -> Tensor: ...


def pretrain(
    config: PretrainConfig,
    images: "_Images | Tensor",
    callbacks: Iterable[Callback] = (),
    *,
    directory: str | os.PathLike[str] | None = None,
    resume: bool = False,
    encoder: nn.Module | None = None,
    progress: bool | Literal["lines"] = True,
) -> Run:
    """Pretrain an encoder with SimCLR.

    On one machine's CPU, with one version of torch and one number of threads, the same configuration and
    images give the same weights to the bit: called from a notebook or the command line, whatever random
    numbers are drawn before or meanwhile, in one go or stopped, killed and resumed. Not so a run limited by
    ``seconds``: its step k sees the same images and views each time, but the learning rate follows the clock.

    torch's global random state is neither read nor changed. With an encoder of your own it is lent to the
    run, for its layers may draw from it, and put back afterwards; in a thread, where others draw from it too,
    such an encoder is refused. The caller's autocast, no_grad and default device are left out of the run.

    With several processes (``torchrun``, see :mod:`simclr_edu.distributed`) every one of them calls this with
    the same arguments: ``batch_size`` counts the images of all together, callbacks run on rank 0, and rank 0
    alone reads and writes the directory.

    Args:
        config: every setting.
        images: an ``ImageSet``, or the images themselves, uint8 ``(N, 3, H, W)``. Labels are never read.
        callbacks: each is called with the run after each record of its history; one that raises
            ``StopPretraining`` ends the run early, as does interrupting the cell or the process.
        directory: where checkpoints, the configuration and the history go; nothing is saved if not given. One
            run at a time writes to it, and files of other programs in it are left alone.
        resume: go on from the newest checkpoint in ``directory``, if there is one.
        encoder: a module of your own, images ``(B, 3, H, W)`` to ``(B, D)``, in place of ``config.encoder``.
        progress: show a progress bar; or ``"lines"``, a line on standard error every half a minute.

    Returns:
        The run: model in eval mode on its device, history, and whether it finished.

    Raises:
        TypeError, ValueError: images or settings that do not fit, a directory that holds another run or files
            of another program, an encoder of your own that draws random numbers in a thread.
        FolderInUseError: somebody else trains in the directory; the message says who, and since when.
        CheckpointError: the checkpoint to resume from is damaged or edited, or of another configuration, of
            other images, or of another encoder.
        NonFiniteLossError: loss or weights became NaN or infinite; such weights are never saved.
        OSError: the directory cannot be written to, found before the first step, or its disk is full.
        ElsewhereError, LostRankError: with several processes, another one failed, or went away.

    Warns:
        PretrainWarning: something of your own encoder cannot be resumed; ``seconds`` ended after one step.
    """
    check_config(config, PretrainConfig)
    # With several processes, what one of them refuses ends all of them, and rank 0 alone uses the directory.
    with distributed.agreed():
        distributed.check_batch_size(config.batch_size)
        data = images if isinstance(images, Tensor) else getattr(images, "pretrain_images", images)
        data = check_images(data, "images")
        check_pixels(data)
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
        if config.compile:
            check_compiler(device)
        if encoder is not None:
            config = replace(config, encoder=CUSTOM)
        elif config.encoder == CUSTOM:
            raise ValueError("this configuration is of an encoder of your own: give it as encoder=")
        if progress not in (True, False, "lines"):
            raise ValueError(f"progress must be True, False or 'lines', got {progress!r}")
        if resume and directory is None:
            raise ValueError("resume needs the directory of the run, got none")
        folder = None if directory is None else as_folder(directory)
        check_default_dtype("pretraining")
        check_precision(device, "pretraining")
        fingerprint = fingerprint_images(data)
    distributed.check_same(
        {
            **asdict(config),
            "directory": str(folder),
            "resume": resume,
            "fingerprint of the images": fingerprint,
        }
    )

    with contextlib.ExitStack() as stack:
        stack.enter_context(plain_settings(gradients=True))
        with distributed.agreed():
            if folder is not None and distributed.rank() == 0:
                stack.enter_context(open_folder(folder, resume))
        model, own = _make_model(config, encoder, data.shape[-1], device, stack)
        run = Run(config, model, directory=folder, data_fingerprint=fingerprint)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        model.to(device).to(memory_format=layout)  # type: ignore[call-overload]  # torch's types leave it out
        distributed.copy_from_rank0(model)
        stack.enter_context(distributed.synchronised_batch_norm(model, device))
        _train(run, data, device, list(callbacks), resume, progress, own)
    if config.seconds is not None and run.finished and run.step == 1 and distributed.rank() == 0:
        warnings.warn(
            f"{config.seconds:g} seconds were over after one step, which took {run.seconds:.3g}: "
            "the encoder has learned next to nothing, give more seconds",
            PretrainWarning,
            stacklevel=2,
        )
    return run


def _make_model(
    config: PretrainConfig,
    encoder: nn.Module | None,
    side: int,
    device: torch.device,
    stack: contextlib.ExitStack,
) -> tuple[SimCLR, OwnEncoder | None]:
    """The model with its first weights; what an encoder of the caller's needs is left to ``stack``."""
    source = torch.Generator().manual_seed(config.seed)
    if encoder is None:
        built = make_encoder(config.encoder, config.stem, generator=source)
        return SimCLR(built, config.projection_dim, source), None
    # torch's global generator belongs to all threads. The main thread lends it to the run, since layers such
    # as dropout know no other; elsewhere it would be drawn from by others meanwhile.
    shared = threading.current_thread() is not threading.main_thread()
    own = OwnEncoder(encoder, config.image_size or side, shared)
    if not shared:
        stack.enter_context(seeded(config.seed, device))
    with own.watched():
        return SimCLR(encoder, config.projection_dim, source if shared else None), own


def _train(
    run: Run,
    data: Tensor,
    device: torch.device,
    callbacks: list[Callback],
    resume: bool,
    progress: bool | Literal["lines"],
    own: OwnEncoder | None,
) -> None:
    """Prepare what the loop needs, run it, and leave the run saved however it ends."""
    config, model = run.config, run.model
    if device.type == "cpu":
        keep_freed_memory()  # a step takes 1.2 to 1.6 times as long without it (benchmarks/README.md)
    optimizer = make_optimizer(model, config)
    # On the CPU for every device: the same choices everywhere, and a GPU is not waited for at each step.
    generator = torch.Generator().manual_seed(config.seed)
    losses = go_on(run, optimizer, generator, device, data, own) if resume else []
    batches = Batches(data, config, device)
    clock = Clock(run, batches.steps_per_epoch)
    with contextlib.closing(Recorder(run, clock, losses, progress)) as recorder:
        saver = Saver(run, optimizer, generator, recorder, own)
        try:
            _loop(run, batches, clock, recorder, saver, optimizer, generator, callbacks, own)
            run.finished = True
            saver.save()
        except StopPretraining:
            saver.save()
        except KeyboardInterrupt:
            saver.save_alone()
            if distributed.is_distributed():
                raise  # the other processes wait for this one, and only a failure ends them
    model.eval()
    saver.write_config()


def _loop(
    run: Run,
    batches: Batches,
    clock: Clock,
    recorder: Recorder,
    saver: Saver,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    callbacks: list[Callback],
    own: OwnEncoder | None,
) -> None:
    """Step after step until the run is done."""
    config, device = run.config, next(run.model.parameters()).device
    model: nn.Module = run.model
    if config.compile:
        model = torch.compile(model)  # type: ignore[assignment]  # of a module it is a module
    augment = config.augmentation(config.image_size or batches.side)
    loss_function = NTXentLoss(config.temperature)
    run.model.train()
    while clock.share_done() < 1:
        images, rate = batches[run.step], clock.learning_rate()
        for group in optimizer.param_groups:
            group["lr"] = rate
        precision = _forward_pass(device, config, own)
        with uninterrupted():  # an interrupt waits for the end of the step
            loss, z = train_step(model, augment, loss_function, optimizer, images, generator, precision)
            clock.count_step()
            recorder.add(loss)
            if recorder.is_due():
                recorder.record(z, rate)
        if recorder.is_due():
            with clock.stopped():
                _call_back(run, callbacks)
        if run.step % config.checkpoint_every == 0 and clock.share_done() < 1:
            saver.save()


@contextlib.contextmanager
def _forward_pass(device: torch.device, config: PretrainConfig, own: OwnEncoder | None) -> Iterator[None]:
    with torch.autocast(device.type, torch.bfloat16, enabled=config.amp == "bf16"):
        with own.watched() if own is not None else contextlib.nullcontext():
            yield


def _call_back(run: Run, callbacks: list[Callback]) -> None:
    """Call the callbacks on rank 0; raise StopPretraining on every rank if one of them does."""

    def stops() -> bool:
        try:
            for callback in callbacks:
                callback(run)
                run.model.train()  # a callback that evaluates leaves eval mode behind
        except StopPretraining:
            return True
        return False

    if distributed.on_rank0(stops):
        raise StopPretraining
    run.model.train()


def make_optimizer(model: nn.Module, config: PretrainConfig) -> torch.optim.Optimizer:
    # Biases and BatchNorm's scale and shift are vectors: decaying them only shrinks the signal.
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)
