"""The command that pretrains."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import tyro

from simclr_edu import distributed
from simclr_edu._locks import NoLocksWarning
from simclr_edu.course.profiles import current_profile
from simclr_edu.data import load_images
from simclr_edu.device import check_compiler, pick_device
from simclr_edu.pretrain import PretrainConfig, PretrainWarning, pretrain
from simclr_edu.pretrain.folder import as_folder, holds_run


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
        progress: bool | Literal["lines"] = (
            not self.quiet and sys.stderr is not None and (sys.stderr.isatty() or "lines")
        )
        with _warnings_as_sentences():
            run = pretrain(self.config, images, directory=folder, resume=self.resume, progress=progress)
        return run.summary()


@contextlib.contextmanager
def _warnings_as_sentences() -> Iterator[None]:
    """Show what a run warns of without the file and line that it comes from."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", PretrainWarning)
        warnings.simplefilter("always", NoLocksWarning)
        show = warnings.showwarning

        def say(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if sys.stderr is None:
                return
            if issubclass(category, PretrainWarning | NoLocksWarning):
                print(f"simclr_edu: {message}", file=sys.stderr, flush=True)
            else:
                show(message, category, *place, **more)

        warnings.showwarning = say
        yield
