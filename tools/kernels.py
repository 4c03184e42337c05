"""A notebook run from top to bottom in a fresh kernel, which is given up only when nothing is heard of it."""

import asyncio
import contextlib
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbtools
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

SILENCE = 3600.0  # seconds
PROGRESS = "SIMCLR_EDU_PROGRESS"  # the variable by which training is told where to write how far it is
Tell = Callable[[int, int, float], None]


class _Client(NotebookClient):
    """Runs a notebook, and remembers how far it is and when its kernel was last heard of."""

    def __init__(self, notebook: NotebookNode, **settings: Any) -> None:
        super().__init__(notebook, **settings)
        self.done, self.share, self.heard, self.given_up = 0, 0.0, time.monotonic(), False

    def kill(self) -> None:
        """End the kernel at once."""
        process = self.km and self.km.provisioner and self.km.provisioner.process
        if process is not None:
            process.kill()

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> Any:
        """Take a message of the kernel: an output, a cell begun or ended."""
        self.done, self.heard = cell_index, time.monotonic()
        return super().process_message(msg, cell, cell_index)

    def watch(self, progress: Path, silence: float, tell: Tell | None, ended: threading.Event) -> None:
        """Until the run has ended, say how far it is; end it when nothing is heard of it for ``silence`` s.

        Training that prints nothing is heard of too: it writes how far it is into the file ``progress``.
        """
        before = ""
        while not ended.wait(1.0):
            now = progress.read_text(encoding="utf-8") if progress.exists() else ""
            if now and now != before:
                before, self.share, self.heard = now, float(now), time.monotonic()
            if tell is not None:
                tell(self.done, len(self.nb.cells), self.share)
            if time.monotonic() - self.heard > silence:
                self.given_up = True
                self.kill()
                return


def _leave_interrupts_alone(notebook: NotebookNode) -> None:
    # nbclient would end the kernel at Ctrl-C, and that would look like a notebook that failed.
    for signum in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_event_loop().remove_signal_handler(signum)


def execute(
    notebook: NotebookNode,
    *,
    home: Path,
    folder: Path = nbtools.NOTEBOOKS,
    silence: float = SILENCE,
    tell: Tell | None = None,
) -> float:
    """Run a notebook from top to bottom in a fresh kernel (in place) and return the seconds it took.

    Args:
        notebook: the notebook; its outputs are replaced.
        home: the learner's folder, handed to the kernel as SIMCLR_EDU_HOME.
        folder: where the kernel starts.
        silence: seconds after which a cell that neither ends, nor prints, nor trains is given up. One that
            is only slow never is.
        tell: called every second with the cells that are done, how many there are, and the share that is done
            of what trains.

    Raises:
        NotebookProblem: a cell raised an error, or nothing was heard of it for too long.
    """
    home.mkdir(parents=True, exist_ok=True)
    # One width for whatever adapts to a terminal, and this environment's kernel, not one of the user's.
    environment = os.environ | {
        "SIMCLR_EDU_HOME": str(home.resolve()),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "100",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    client = _Client(
        notebook,
        timeout=None,
        # A busy machine takes its time to start a kernel, and to deliver what a cell printed last.
        startup_timeout=int(silence),
        iopub_timeout=int(silence),
        kernel_name="python3",
        skip_cells_with_tag=nbtools.INSTALL,  # what runs here is installed here
        record_timing=False,
        # ipykernel warns on every start that it talks over TCP; only its errors are of interest here.
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        on_notebook_start=_leave_interrupts_alone,
        resources={"metadata": {"path": str(folder)}},
    )
    started, ended = time.perf_counter(), threading.Event()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            progress = Path(scratch) / "progress"
            environment[PROGRESS] = str(progress)
            threading.Thread(target=client.watch, args=(progress, silence, tell, ended), daemon=True).start()
            try:
                client.execute(env=environment)
            finally:
                ended.set()
    except KeyboardInterrupt:
        client.kill()
        raise
    except CellExecutionError as error:
        raise nbtools.NotebookProblem(str(error).strip()) from error
    except Exception as error:
        if client.given_up:
            raise nbtools.NotebookProblem(
                f"nothing was heard of cell {client.done} for {silence:.0f} seconds, and it was given up"
            ) from error
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} in {place.name}, line {place.lineno} of {Path(place.filename).name}"
        raise nbtools.NotebookProblem(f"the kernel stopped: {what}: {error}") from error
    seconds = time.perf_counter() - started
    inside = [
        o for o in _widget_outputs(notebook) if o["output_type"] == "error" or o.get("name") == "stderr"
    ]
    if inside:
        text = inside[0].get("evalue") or inside[0].get("text", "")
        raise nbtools.NotebookProblem(f"a widget shows an error or a warning: {text.strip()[:300]}")
    return seconds


def _widget_outputs(notebook: NotebookNode) -> Iterator[NotebookNode]:
    # An error raised while a widget draws lands in the widget's own output area, not in the cell's.
    for states in notebook.metadata.get("widgets", {}).values():
        for model in states.get("state", {}).values():
            yield from model.get("state", {}).get("outputs", [])
