"""The command line: ``simclr-edu pretrain | probe | evidence | transfer | notebooks | doctor``.

``python -m simclr_edu`` is the same, for a package that is on the path and not installed.

Each command ends with one line of JSON on standard output; in a terminal, progress goes to standard error.
A mistake in how it was called is one line on standard error and exit status 2.
Started by ``torchrun``, pretrain shares the work among the processes; rank 0 alone prints.
"""

import contextlib
import io
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import nn

from simclr_edu import __version__, data, distributed, evaluate
from simclr_edu._checks import is_out_of_memory
from simclr_edu._command import (
    INTERRUPTED,
    fold,
    interrupts_are_caught,
    say,
    settle,
    warnings_as_sentences,
)
from simclr_edu._locks import NoLocksWarning
from simclr_edu.cores import usable_cores
from simclr_edu.course.evidence import arms, few_labels, training_steps, transfer
from simclr_edu.course.notebooks import copy_notebooks
from simclr_edu.course.profiles import current_profile, device_name, gpu_note
from simclr_edu.data import load_images
from simclr_edu.device import bf16_is_fast, check_compiler, pick_device, seeded
from simclr_edu.encoders import make_encoder
from simclr_edu.home import check_path, home_folder, home_problem
from simclr_edu.pretrain import NonFiniteLossError, PretrainConfig, PretrainWarning, load_run, pretrain
from simclr_edu.pretrain.folder import as_folder, holds_run

USER_ERROR = 2
_PIXELS_A_BATCH = 1 << 22  # 83 photographs of 224 pixels


@dataclass(frozen=True)
class Pretrain:
    """Pretrain an encoder with SimCLR and write checkpoints to --out."""

    out: Annotated[str, tyro.conf.arg(metavar="PATH")]
    """Directory of the run: made if it is not there."""
    # Neither epochs nor seconds by default, so that giving one of them is never a contradiction. The course's
    # profile keeps to the CPU; a command takes the best device that is there.
    config: PretrainConfig = field(
        default_factory=lambda: replace(current_profile().config, epochs=None, seconds=None, device="auto")
    )
    resume: bool = False
    """Go on from the newest checkpoint in --out, which must hold a run that was begun."""
    quiet: bool = False
    """No progress on standard error: no bar and, where that is no terminal, no line every half a minute."""

    def run(self) -> dict[str, Any]:
        with distributed.agreed():  # before a download, not after
            distributed.check_batch_size(self.config.batch_size)
            if self.config.compile:
                check_compiler(pick_device(self.config.device))
            folder = as_folder(self.out)
            if self.resume and distributed.rank() == 0 and not holds_run(folder):
                raise ValueError(f"--resume: {folder} holds no run; leave --resume out to begin one there")
        # In turn, so that processes on one machine do not download the same files at once.
        images = distributed.in_turn(lambda: load_images(self.config.data, image_size=self.config.image_size))
        progress: bool | Literal["lines"] = not self.quiet and (sys.stderr.isatty() or "lines")
        with warnings_as_sentences(PretrainWarning, NoLocksWarning):
            run = pretrain(self.config, images, directory=folder, resume=self.resume, progress=progress)
        return run.summary()


@dataclass(frozen=True)
class Probe:
    """Measure a run, or published weights: linear probe and kNN, beside a random encoder and raw pixels."""

    directory: tyro.conf.Positional[Path | None] = None
    """Directory of the run; not with --weights."""
    data: str | None = None
    """Data set to probe on; the one the run was trained on if not given."""
    image_size: int | None = None
    """Side of the pictures in pixels, with --weights 64 or more; that of the run or the data if not given."""
    weights: str | None = None
    """imagenet, in place of a run: a ResNet as torchvision publishes it, downloaded once. Needs --data."""
    encoder: str | None = None
    """With --weights: resnet18, resnet34 or resnet50; resnet50 if not given."""
    fraction: float = 1.0
    """Share of the training labels to use."""
    seed: int = 0
    """Seed of the random encoder and of the validation split."""

    def run(self) -> dict[str, Any]:
        trained, config = self._subject()
        images = load_images(config.data, image_size=config.image_size)
        with seeded(self.seed):
            untrained = make_encoder(config.encoder, config.stem)
        # Of photographs fewer at a time: in a ResNet-50, 512 of 224 pixels take gigabytes a layer.
        batch_size = max(1, min(512, _PIXELS_A_BATCH // images.image_size**2))
        result: dict[str, Any] = {}
        for prefix, encoder in (("", trained), ("random_encoder_", untrained), ("pixels_", None)):
            if encoder is not None:
                encoder.to(pick_device("auto"))
            scores = evaluate.probe_scores(
                encoder, images, fraction=self.fraction, seed=self.seed, batch_size=batch_size
            )
            result |= {f"{prefix}{score}": round(value, 4) for score, value in scores.items()}
        result |= {"data": config.data, "fraction": self.fraction}
        if self.weights:
            return {**result, "encoder": config.encoder, "weights": self.weights}
        return {**result, "directory": str(self.directory)}

    def _subject(self) -> tuple[nn.Module, PretrainConfig]:
        """The encoder to measure, and a configuration that says which it is and on what it is measured."""
        if self.weights is None:
            if self.directory is None:
                raise ValueError("probe needs the directory of a run, or --weights imagenet and --data NAME")
            if self.encoder is not None:
                raise ValueError("--encoder goes with --weights; a run brings its own encoder")
            run = load_run(check_path(self.directory, "directory"))
            data, size = self.data or run.config.data, self.image_size or run.config.image_size
            return run.encoder, replace(run.config, data=data, image_size=size)
        if self.directory is not None:
            raise ValueError(f"probe measures a run or --weights, not both, got {self.directory} as well")
        if self.data is None:
            raise ValueError(
                "--weights needs --data: folder:PATH, or another set with --image-size 64 or more"
            )
        name = self.encoder or "resnet50"
        trained = make_encoder(name, "imagenet", self.weights)
        return trained, PretrainConfig(
            data=self.data, encoder=name, stem="imagenet", image_size=self.image_size
        )


@dataclass(frozen=True)
class Evidence:
    """Run a comparison that ships with the package, and print its table. Goes on where it stopped.

    few-labels: probe and fine-tune 3 encoders on 5 draws of each budget, train from scratch on those labels.
    arms: pretrain with flips, crops, colours, both and neither, at two lengths, 3 seeds each.
    steps: train for ever longer with few labels, on training pictures held out.
    """

    out: Path
    """Folder of the comparison: made if it is not there."""
    what: Literal["few-labels", "arms", "steps"] = "few-labels"
    """Which comparison."""
    data: str = "shapes"
    """Data set to pretrain, probe and train on."""
    workers: int | None = None
    """Processes side by side; one a core if not given. The arms take one."""

    def run(self) -> dict[str, Any]:
        out = check_path(self.out, "--out")

        def report(line: str) -> None:
            print(line, file=sys.stderr, flush=True)

        if self.what == "arms":
            if self.workers is not None:
                raise ValueError("--workers does not go with --what arms, which take one process")
            of_arms = arms.Arms()
            of_arms = replace(of_arms, pretraining=replace(of_arms.pretraining, data=self.data))
            measured = arms.run_arms(of_arms, out, report)
            print(arms.table(measured))
            rows = {str(epochs): arms.summary(measured, epochs) for epochs in of_arms.epochs}
            return {"arms": rows, "directory": str(out)}
        config = few_labels.FewLabels()
        config = replace(config, pretraining=replace(config.pretraining, data=self.data))
        if self.what == "steps":
            of_steps = training_steps.Steps(pretraining=config.pretraining)
            longer = training_steps.run_steps(of_steps, out, self.workers, report)
            print(training_steps.table(longer))
            return {"steps": training_steps.summary(longer), "directory": str(out)}
        results = few_labels.run_few_labels(config, out, self.workers, report)
        print(few_labels.table(results))
        return {"few_labels": few_labels.summary(results), "directory": str(out)}


@dataclass(frozen=True)
class Transfer:
    """Encoders pretrained on shapes, probed and fine-tuned on the digits of scikit-learn, beside baselines.
    Takes the pretraining runs of a folder of ``evidence``, or makes them. Goes on where it stopped."""

    out: Path
    """Folder of the comparison: made if it is not there."""
    workers: int | None = None
    """Processes side by side; one a core if not given."""

    def run(self) -> dict[str, Any]:
        out = check_path(self.out, "--out")
        results = transfer.run_transfer(
            transfer.Transfer(),
            out,
            self.workers,
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )
        print(transfer.table(results))
        return {"transfer": transfer.summary(results), "directory": str(out)}


@dataclass(frozen=True)
class Notebooks:
    """Copy the notebooks of the course into a folder of your own. A file that is there stays as it is."""

    directory: tyro.conf.Positional[str]  # not a Path: that would take '' for the current folder
    """Where to: made if it is not there."""

    def run(self) -> dict[str, Any]:
        done = copy_notebooks(self.directory)
        for name in done.changed:
            print(
                f"kept {Path(self.directory, name)}: it differs from the one that comes with the package",
                file=sys.stderr,
            )
        if find_spec("jupyterlab"):
            print(f"To open them: jupyter lab {shlex.quote(self.directory)}")
        else:
            print("To open them, JupyterLab is missing: pip install jupyterlab")
        return {"directory": self.directory, **asdict(done)}


@dataclass(frozen=True)
class Doctor:
    """Say what this machine has, which profile fits, and which data sets are on disk."""

    def run(self) -> dict[str, Any]:
        device, profile = pick_device("auto"), current_profile()
        sets, problem = data.available_datasets(), home_problem()
        report = {
            "simclr_edu": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "device": device.type,
            "device_name": device_name(device),
            "cores": usable_cores(),
            "threads": torch.get_num_threads(),
            "bf16": bf16_is_fast(device),
            "profile": profile.name,
            "home": None if problem else str(home_folder()),
            "datasets": sets,
        }
        print(f"{report['device_name']}; {report['cores']} of {os.cpu_count()} cores may be used")
        print(f"Python {report['python']}, torch {report['torch']}, simclr_edu {__version__}")
        print(problem or f"home of data, runs and results: {report['home']}")
        print(f"bfloat16 in hardware: {'yes' if report['bf16'] else 'no'}")
        print(f"profile: {profile.name} ({profile.cost})")
        if note := gpu_note():
            print(note)
        for name, state in sets.items():
            print(f"data set {name}: {state}")
        return report


Command = Pretrain | Probe | Evidence | Transfer | Notebooks | Doctor


def _parse(arguments: Sequence[str]) -> Command:
    """Parse with tyro, the profile's configuration as defaults.

    Raises:
        ValueError: the arguments cannot be understood.
        SystemExit: help or the version was asked for and printed.
    """
    if list(arguments) == ["--version"]:
        print(f"simclr_edu {__version__}")
        raise SystemExit(0)
    profile = current_profile().config
    commands: dict[str, Callable[..., Any]] = {
        "pretrain": tyro.conf.configure(tyro.conf.OmitArgPrefixes)(Pretrain),
        "probe": Probe,
        "evidence": Evidence,
        "transfer": Transfer,
        "notebooks": Notebooks,
        "doctor": Doctor,
    }
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            command: Command = tyro.extras.subcommand_cli_from_dict(
                commands, prog="python -m simclr_edu", args=list(arguments)
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ValueError(fold(box.getvalue())) from None
    if isinstance(command, Pretrain) and command.config.epochs is None and command.config.seconds is None:
        command = replace(
            command, config=replace(command.config, epochs=profile.epochs, seconds=profile.seconds)
        )
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status.

    0, or 2 for a mistake of the user's, said in one line, or 130 for Ctrl-C.
    """
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    finally:
        settle()


def _run(arguments: Sequence[str]) -> int:
    interrupts_are_caught()
    alone = any(a in ("doctor", "-h", "--help") for a in arguments)
    try:
        with contextlib.nullcontext() if alone else distributed.process_group():
            with distributed.agreed():
                command = _parse(arguments)
            result = command.run()
            if distributed.rank() == 0:
                _print_result(result)
    except distributed.ElsewhereError:
        return USER_ERROR  # the rank that failed says why
    except KeyboardInterrupt:  # one process that pretrains ends by itself then, with what it has learned
        if distributed.rank() == 0:
            say("simclr_edu: interrupted")
        return INTERRUPTED
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        place = distributed.rank()
        if place == 0 or not isinstance(error, NonFiniteLossError):  # that one is the same on all ranks
            who = f"simclr_edu (rank {place})" if place else "simclr_edu"
            say(f"{who}: {sentence}")
        return USER_ERROR
    return 0


def _print_result(result: dict[str, Any]) -> None:
    try:
        print(json.dumps(result), flush=True)
    except OSError as error:  # nobody reads it any more, or the disk is full
        reason = error.strerror or type(error).__name__
        raise OSError(f"the result could not be written to standard output: {reason}") from error


def _sentence(error: Exception) -> str | None:
    """What to say of a mistake of the user's or a want of the machine's; None for a fault of ours."""
    if is_out_of_memory(error):
        ours = type(error) is MemoryError and str(error)
        return ours or "there is not enough memory: take smaller batches or images, or a smaller encoder"
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return f"the model could not be compiled, run without --compile ({reason[0]})"
    if isinstance(error, BrokenPipeError):
        return "what reads standard output has gone"
    if isinstance(error, ValueError | OSError | NonFiniteLossError):
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
