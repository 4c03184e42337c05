"""kill -9 at any moment: what goes on from the wreck ends as if nothing had happened, to the bit.

Two kinds of victims. Most are forked from a fresh process of one thread that has torch loaded (this very
file, run as a program), so that a kill costs a fraction of a second; a few are the real command line.
"""

import hashlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import simclr_edu
from simclr_edu import checkpoints
from simclr_edu.checkpoints import list_checkpoints, read_latest, save_checkpoint
from simclr_edu.data import load_images
from simclr_edu.data.shapes import make_shapes
from simclr_edu.pretrain import PretrainConfig, pretrain

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
    pytest.mark.xdist_group("kill"),
]

# 16 steps. A record every 3 and a checkpoint every 2: most checkpoints lie between two records.
CONFIG = PretrainConfig(
    epochs=4, batch_size=16, projection_dim=8, log_every=3, checkpoint_every=2, device="cpu"
)
POINTS = ("half written", "before fsync", "before rename", "after rename", "while pruning")
ENCODERS = ("tiny", "own")
RANDOM_KILLS = 8


def kill_me() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingFile(io.FileIO):
    """Writes half of what it is given; the process does not live to write the rest."""

    def write(self, content):
        super().write(memoryview(content)[: len(content) // 2])
        kill_me()


def die_at(point: str, n: int) -> None:
    """Arrange for this process to be killed the n-th time that it comes to ``point``."""
    times = itertools.count(1)

    def patch(owner, name: str, after: bool = False) -> None:
        original = getattr(owner, name)

        def lethal(*args, **kwargs):
            last = next(times) == n
            if last and not after:
                kill_me()
            result = original(*args, **kwargs)
            if last:
                kill_me()
            return result

        setattr(owner, name, lethal)

    if point == "half written":
        checkpoints.open = lambda path, mode: (DyingFile if next(times) == n else open)(path, mode)
    elif point == "before fsync":
        patch(os, "fsync")
    elif point in ("before rename", "after rename"):
        patch(os, "replace", after=point.startswith("after"))
    else:
        patch(Path, "unlink")


# --- the program that forks the victims -----------------------------------------------------------------


def train(directory: Path, encoder: str) -> None:
    """Start the run of ``directory``, or go on with it."""
    own = None
    if encoder == "own":  # its dropout draws from torch's global random state, which must come back too
        torch.manual_seed(0)
        own = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
    images = make_shapes(70, size=16, seed=0)[0]
    pretrain(CONFIG, images, directory=directory, resume=True, encoder=own, progress=False)


def fork(directory: Path, encoder: str, point: str | None = None, n: int = 0) -> int:
    child = os.fork()
    if child:
        return child
    try:
        if point:
            die_at(point, n)
        train(directory, encoder)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def was_killed(child: int) -> bool:
    """Wait for the child's end: True if it was killed, False if it finished; all else is an error."""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a run ended with status {status}")
    return status != 0


def wreck(directory: Path, point: str) -> dict:
    return {
        "point": point,
        "steps": [int(p.stem[-8:]) for p in list_checkpoints(directory)],
        "unfinished": [p.stat().st_size for p in directory.glob(".*.unfinished")],
    }


def kill_everywhere(folder: Path) -> None:
    """Kill runs in ``folder`` at every point and at random moments; print each kill as a line of JSON."""
    torch.set_num_threads(1)  # so that no thread is lost in a fork
    dice = random.Random(0)
    kills = []
    for encoder in ENCODERS:
        train(folder / encoder / "warm-up", encoder)  # lazy imports happen here, once
        start = time.monotonic()
        assert not was_killed(fork(folder / encoder / "never killed", encoder))
        duration = time.monotonic() - start

        for point in POINTS:
            directory = folder / encoder / point
            for _ in range(2):
                n = dice.randint(1, 2 if point == "while pruning" else 4)
                if was_killed(fork(directory, encoder, point, n)):
                    kills.append(wreck(directory, point))
            assert not was_killed(fork(directory, encoder))

        for i in itertools.count():
            directory = folder / encoder / f"random {i}"
            done = False
            for _ in range(4):
                child = fork(directory, encoder)
                time.sleep(dice.uniform(0, duration))
                os.kill(child, signal.SIGKILL)
                done = not was_killed(child)
                if done:
                    break
                kills.append(wreck(directory, "random"))
            if not done:
                assert not was_killed(fork(directory, encoder))
            if sum(k["point"] == "random" for k in kills) >= RANDOM_KILLS * (ENCODERS.index(encoder) + 1):
                break
    print(json.dumps(kills))


# --- the tests ------------------------------------------------------------------------------------------


def result(directory: Path) -> str:
    """A hash of all that a run ended with, weights, optimizer, random states, history, but for the clock."""
    digest = hashlib.sha256()

    def feed(value) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value.keys() - {"seconds", "pairs_per_s", "digest"}, key=str):
                digest.update(str(key).encode())
                feed(value[key])
        elif isinstance(value, list | tuple):
            for item in value:
                feed(item)
        else:
            digest.update(repr(value).encode())

    state = read_latest(directory)[1]
    assert state["finished"] and {"model", "optimizer", "generators", "history", "losses"} <= state.keys()
    feed(state)
    return digest.hexdigest()


def environment() -> dict[str, str]:
    root = str(Path(simclr_edu.__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def wrecks(tmp_path_factory):
    """The folder of all runs that were killed and brought to their end, and a record of each kill."""
    folder = tmp_path_factory.mktemp("kills")
    done = subprocess.run(
        [sys.executable, __file__, str(folder)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_the_kills_hit_where_they_were_meant_to(wrecks):
    kills = wrecks[1]
    assert len(kills) >= 2 * (2 * len(POINTS) + RANDOM_KILLS)
    for point in POINTS:
        assert sum(k["point"] == point for k in kills) == 2 * len(ENCODERS)
    for kill in kills:
        if kill["point"] in ("half written", "before rename"):
            assert kill["unfinished"] and min(kill["unfinished"]) > 0
    # before the first checkpoint, in the middle, and with a third checkpoint that was not yet pruned
    assert {0, 2, 3} <= {len(k["steps"]) for k in kills}
    assert len({k["steps"][-1] for k in kills if k["steps"]}) >= 5


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_killed_run_ends_as_the_one_never_killed_to_the_bit(wrecks, encoder):
    runs = {p.name: result(p) for p in (wrecks[0] / encoder).iterdir()}
    assert len(runs) > 1 + len(POINTS)
    assert set(runs.values()) == {runs["never killed"]}


def test_nothing_half_written_stays_behind(wrecks):
    for encoder in ENCODERS:
        for directory in (wrecks[0] / encoder).iterdir():
            files = sorted(p.name for p in directory.iterdir())
            assert files == [
                ".simclr_edu.lock",
                "checkpoint-00000014.pt",
                "checkpoint-00000016.pt",
                "config.json",
                "history.csv",
            ], directory
            assert json.loads((directory / "config.json").read_text())["finished"]


@pytest.mark.parametrize("part", ["model", "optimizer", "history", "generators"])
def test_the_comparison_notices_a_single_bit(wrecks, tmp_path, part):
    shutil.copytree(wrecks[0] / "own" / "never killed", tmp_path / "run")
    before = result(tmp_path / "run")
    path, state = read_latest(tmp_path / "run")
    if part == "history":
        state["history"][0]["loss"] *= 1 + 2**-52
    else:
        tensors = state[part] if part != "optimizer" else state[part]["state"][0]
        tensor = next(t for t in tensors.values() if isinstance(t, torch.Tensor) and t.ndim)
        storage = tensor.untyped_storage()
        storage[0] = storage[0] ^ 1
    save_checkpoint(path.parent, state["step"], state)
    assert result(tmp_path / "run") != before


def test_the_command_line_killed_and_resumed_ends_like_a_call_from_a_notebook(tmp_path):
    shapes, labels, _ = make_shapes(60, size=16)
    for i, image in enumerate(shapes):
        place = tmp_path / "pictures" / str(int(labels[i]))
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / f"{i}.png")
    data = f"folder:{tmp_path / 'pictures'}"
    config = replace(CONFIG, data=data, epochs=20, seed=5)
    command = [
        sys.executable, "-m", "simclr_edu", "pretrain", "--data", data, "--out", str(tmp_path / "run"),
        "--epochs", "20", "--batch-size", "16", "--projection-dim", "8", "--seed", "5", "--log-every", "3",
        "--checkpoint-every", "2", "--device", "cpu", "--quiet",
    ]  # fmt: skip
    resuming: list[str] = []
    dice, kills = random.Random(1), 0
    for _ in range(3):
        reached = max((int(p.stem[-8:]) for p in list_checkpoints(tmp_path / "run")), default=0)
        goal = reached + dice.choice((2, 4, 8))
        with subprocess.Popen(
            command + resuming, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as run:
            while run.poll() is None:
                if any(int(p.stem[-8:]) >= goal for p in list_checkpoints(tmp_path / "run")):
                    time.sleep(dice.uniform(0, 0.04))
                    break
                time.sleep(0.001)
            run.kill()
        # On a busy machine a run may end before this process looks again: one kill less.
        assert run.returncode in (-signal.SIGKILL, 0), run.returncode
        kills += run.returncode != 0
        resuming = ["--resume"]
    assert kills
    done = subprocess.run(command + resuming, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    summary = json.loads(done.stdout)
    assert summary["finished"] and summary["steps"] == 60

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the environment above: sums depend on how they are divided up
    try:
        pretrain(config, load_images(data), directory=tmp_path / "notebook", progress=False)
    finally:
        torch.set_num_threads(threads)
    assert result(tmp_path / "run") == result(tmp_path / "notebook")


if __name__ == "__main__":
    kill_everywhere(Path(sys.argv[1]))
