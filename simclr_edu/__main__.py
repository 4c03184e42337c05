"""The command line: ``simclr-edu pretrain | probe | evidence | transfer | notebooks | doctor``.

``python -m simclr_edu`` is the same, for a package that is on the path and not installed.

Each command ends with one line of JSON on standard output; in a terminal, progress goes to standard error.
A mistake in how it was called is one line on standard error and exit status 2.
Started by ``torchrun``, pretrain shares the work among the processes; rank 0 alone prints.
"""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import tyro

from simclr_edu import __version__, distributed
from simclr_edu._checks import is_out_of_memory
from simclr_edu._command import INTERRUPTED, fold, interrupts_are_caught, say, settle
from simclr_edu.commands import Command, Doctor, Evidence, Notebooks, Pretrain, Probe, Transfer
from simclr_edu.course.profiles import current_profile
from simclr_edu.pretrain import NonFiniteLossError

USER_ERROR = 2


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
