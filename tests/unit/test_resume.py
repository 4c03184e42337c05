"""Resuming: what is not the same is refused, what cannot be restored is said, what is old still loads."""

import random
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from simclr_edu import checkpoints
from simclr_edu.checkpoints import CheckpointError, list_checkpoints, read_checkpoint, read_latest
from simclr_edu.data.shapes import make_shapes
from simclr_edu.evaluate import state_hash
from simclr_edu.pretrain import SHIPPED, PretrainConfig, PretrainWarning, StopPretraining, load_run, pretrain
from simclr_edu.pretrain.batches import fingerprint_images

IMAGES = make_shapes(40, size=16, seed=0)[0]
CONFIG = PretrainConfig(
    epochs=3, batch_size=16, projection_dim=8, log_every=1, checkpoint_every=2, device="cpu"
)


def fit(directory, callbacks=(), images=IMAGES, config=CONFIG, **kwargs):
    return pretrain(config, images, callbacks, directory=directory, progress=False, **kwargs)


def stop_at(step):
    def stop(run):
        if run.step == step:
            raise StopPretraining

    return [stop]


def files(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def stopped(tmp_path):
    """The folder of a run that was stopped after its second step."""
    fit(tmp_path, stop_at(2))
    return tmp_path


# Every image counts.


@pytest.mark.parametrize("n", [40, 2500])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_single_pixel_is_another_set_of_images(n, seed):
    images = torch.zeros(n, 3, 8, 8, dtype=torch.uint8)
    before = fingerprint_images(images)
    place = torch.randint(images.numel(), (1,), generator=torch.Generator().manual_seed(seed))
    images.view(-1)[place] = 1
    assert fingerprint_images(images) != before


def test_images_are_the_same_however_they_lie_in_memory():
    floats = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert fingerprint_images(floats) == fingerprint_images(floats.to(memory_format=torch.channels_last))
    assert fingerprint_images(floats) != fingerprint_images(floats.double())
    assert fingerprint_images(floats) != fingerprint_images(floats.view(10, 3, 16, 8))


def test_images_of_which_one_changed_are_refused(stopped):
    before, images = files(stopped), IMAGES.clone()
    images[17, 0, 0, 0] += 1
    with pytest.raises(CheckpointError, match="trained on other images"):
        fit(stopped, images=images, resume=True)
    assert files(stopped) == before


# Numbers that were edited.


def more(key):
    return lambda state: state.update({key: state[key] + 1})


def moments(state):
    state["optimizer"]["state"][0]["exp_avg"].mul_(1.001)


def weights(state):
    next(iter(state["model"].values())).add_(1e-7)


@pytest.mark.parametrize(
    "edit",
    [
        *(more(key) for key in ("step", "epoch", "seconds", "pairs")),
        lambda state: state.update(finished=True),
        lambda state: state["history"][0].update(loss=0.1),
        lambda state: state["config"].update(log_every=7),
        lambda state: state["optimizer"]["param_groups"][0].update(lr=1.0),
        lambda state: state.pop("digest"),
        lambda state: state.update(note="by hand"),
        lambda state: state["generators"].update(augmentation=torch.Generator().manual_seed(9).get_state()),
        moments,
        weights,
    ],
)
def test_edited_numbers_are_noticed(stopped, edit):
    path, state = read_latest(stopped)
    edit(state)
    torch.save(state, path)  # as an editor would: checksums and all
    for read in (lambda: fit(stopped, resume=True), lambda: load_run(stopped)):
        with pytest.raises(CheckpointError, match=f"{path.name} was edited after it was written"):
            read()


def test_a_checkpoint_of_a_newer_version_says_so(stopped):
    path, state = read_latest(stopped)
    torch.save(state | {"format": "simclr_edu.checkpoint.3"}, path)
    with pytest.raises(CheckpointError, match="was written by a newer version of simclr_edu .* update yours"):
        load_run(stopped)


def test_a_setting_that_this_version_does_not_know_is_not_left_out_in_silence(stopped):
    path, state = read_latest(stopped)
    state["config"] |= {"momentum_of_the_queue": 0.99}
    checkpoints.save_checkpoint(stopped, 2, state)
    with pytest.raises(
        CheckpointError, match=r"does not know \(momentum_of_the_queue\) and cannot be resumed"
    ):
        fit(stopped, resume=True)
    assert load_run(stopped).step == 2  # to look at it is another matter


# Old checkpoints.


def as_it_was_at_first(path):
    """A checkpoint as the first version wrote it: no digest, a thousand images looked at, no own encoder."""
    state = read_checkpoint(path)
    digest = checkpoints.hashlib.sha256(f"{tuple(IMAGES.shape)} {IMAGES.dtype}".encode())
    digest.update(IMAGES.numpy().tobytes())
    old = {k: v for k, v in state.items() if k not in ("digest", "own_encoder")}
    old |= {"format": "simclr_edu.checkpoint.1", "data_fingerprint": digest.hexdigest()}
    old["generators"].setdefault("global", torch.get_rng_state())
    torch.save(old, path)


def test_a_checkpoint_of_the_first_version_goes_on_to_the_bit(stopped):
    as_it_was_at_first(list_checkpoints(stopped)[-1])
    assert load_run(stopped).step == 2
    with pytest.raises(CheckpointError, match="trained on other images"):
        fit(stopped, images=IMAGES.flip(0), resume=True)
    assert state_hash(fit(stopped, resume=True).model) == state_hash(fit(None).model)
    state = read_latest(stopped)[1]  # what it wrote is of today
    assert state["format"] == checkpoints.FORMAT
    assert state["data_fingerprint"] == fingerprint_images(IMAGES)


def test_the_shipped_encoder_loads():
    assert load_run(SHIPPED).finished


# An encoder of one's own.


class Own(nn.Module):
    """A small encoder whose code the tests change: its parameters have the same shapes each time."""

    feature_dim = 6

    def __init__(self, slope=0.1):
        super().__init__()
        self.convolution, self.slope = nn.Conv2d(3, 6, 3, 2), slope
        with torch.no_grad():
            for k, p in enumerate(self.parameters()):
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(k)) / 5)

    def activation(self, x):
        return torch.relu(x)

    def forward(self, x):
        return self.activation(self.convolution(x)).mean((2, 3))


def helper(x):
    return torch.relu(x) * 1.0


SHARE = 0.5


def variant(name, **methods):
    return type(name, (Own,), methods)


def with_constant(value):
    namespace = {"SHARE": value, "torch": torch}
    exec("def activation(self, x):\n    return torch.relu(x) * (SHARE if self.training else 1)", namespace)
    return variant("Own", activation=namespace["activation"])


BASE = variant("Own", activation=lambda self, x: torch.relu(x))
CHANGED = {
    "another activation": (BASE, variant("Own", activation=lambda self, x: torch.tanh(x))),
    "another constant": (BASE, variant("Own", activation=lambda self, x: torch.relu(x) * 0.9999)),
    "in training only": (
        BASE,
        variant("Own", activation=lambda self, x: torch.relu(x) if not self.training else x),
    ),
    "a global constant": (with_constant(0.5), with_constant(0.25)),
    "a class attribute": (variant("Own", power=1), variant("Own", power=2)),
}


@pytest.mark.parametrize("change", CHANGED)
def test_an_encoder_whose_code_changed_is_refused(tmp_path, change):
    before, after = CHANGED[change]
    fit(tmp_path, stop_at(2), encoder=before())
    kept = files(tmp_path)
    with pytest.raises(CheckpointError, match="trained with another encoder .*: its code changed"):
        fit(tmp_path, encoder=after(), resume=True)
    assert files(tmp_path) == kept
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit(tmp_path, encoder=before(), resume=True).finished


def test_a_function_that_the_encoder_calls_is_part_of_its_code(tmp_path, monkeypatch):
    calls = variant("Own", activation=lambda self, x: helper(x))
    fit(tmp_path, stop_at(2), encoder=calls())
    monkeypatch.setitem(globals(), "helper", lambda x: torch.relu(x) * 2.0)
    with pytest.raises(CheckpointError, match="its code changed"):
        fit(tmp_path, encoder=calls(), resume=True)


def test_an_encoder_that_only_behaves_otherwise_is_refused(tmp_path):
    def own(slope):
        return variant("Own", activation=lambda self, x: nn.functional.leaky_relu(x, self.slope))(slope)

    first = own(0.1)
    fit(tmp_path, stop_at(2), encoder=first)
    other = type(first)(0.9)  # the same code, another argument, which neither shapes nor structure show
    with pytest.raises(CheckpointError, match="with the same weights it gives other representations"):
        fit(tmp_path, encoder=other, resume=True)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Dropout(0.5), r"its structure changed \(\(1\): Dropout\(p=0.1.* is \(1\): Dropout\(p=0.5"),
        (nn.ReLU(), r"its structure changed"),
    ],
)
def test_an_encoder_of_other_layers_is_refused(tmp_path, layer, words):
    def own(layer):
        return nn.Sequential(nn.Conv2d(3, 6, 3, 2), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    fit(tmp_path, stop_at(2), encoder=own(nn.Dropout(0.1)))
    with pytest.raises(CheckpointError, match=words):
        fit(tmp_path, encoder=own(layer), resume=True)


def test_what_is_no_change_of_the_code_is_none(tmp_path):
    """Comments, documentation, names of variables outside, and where a class was defined."""
    text = """
class Net(nn.Module):
    {}
    feature_dim = 3

    def __init__(self):
        {}
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))

    def forward(self, x):
        {}
        return (x.mean((2, 3)) * self.w) if "a" in {{"a", "b", "c"}} else x
"""
    first, second = {"nn": nn, "torch": torch}, {"nn": nn, "torch": torch, "w": 7, "x": 3}
    exec(compile(text.format("'''One.'''", "'''Make.'''", "pass"), "one.py", "exec"), first)
    exec(compile("\n\n\n" + text.format("'''Two.'''", "'''Build.'''", "pass  # !"), "two.py", "exec"), second)
    fit(tmp_path, stop_at(2), encoder=first["Net"]())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit(tmp_path, encoder=second["Net"](), resume=True).finished


def test_of_an_old_checkpoint_nobody_knows_the_encoder_and_that_is_said(tmp_path):
    fit(tmp_path, stop_at(2), encoder=Own())
    as_it_was_at_first(list_checkpoints(tmp_path)[-1])
    with pytest.warns(PretrainWarning, match="does not tell whether the encoder's code is the same"):
        assert fit(tmp_path, encoder=Own(), resume=True).finished


class Counting(Own):
    def forward(self, x):
        if self.training:
            self.passes = getattr(self, "passes", 0) + 1
        return super().forward(x)


class NumpyNoise(Own):
    def forward(self, x):
        return super().forward(x) + float(np.random.rand()) * self.training  # noqa: NPY002


class PythonNoise(Own):
    def forward(self, x):
        return super().forward(x) + random.random() * self.training


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Counting, "the attribute encoder.passes"),
        (NumpyNoise, "numpy's global generator"),
        (PythonNoise, "Python's global generator"),
    ],
)
def test_what_cannot_be_brought_back_is_said(tmp_path, kind, words):
    fit(tmp_path, stop_at(2), encoder=kind())
    with pytest.warns(PretrainWarning, match=f"cannot bring back {re.escape(words)}: it may end with other"):
        fit(tmp_path, encoder=kind(), resume=True)


def test_what_comes_back_is_not_complained_of(tmp_path):
    """Dropout's generator, buffers, and numbers that a callback draws: all of it is restored or nobody's."""

    class Buffered(Own):
        def __init__(self):
            super().__init__()
            self.register_buffer("passes", torch.zeros(()))
            self.dropout = nn.Dropout(0.2)

        def forward(self, x):
            self.passes += self.training
            return self.dropout(super().forward(x)) * (1 + 0.01 * self.passes)

    def draw(run):
        np.random.rand()  # noqa: NPY002
        random.random()

    whole = fit(None, [draw], encoder=Buffered())
    fit(tmp_path, [draw, *stop_at(2)], encoder=Buffered())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed = fit(tmp_path, encoder=Buffered(), resume=True)
    assert state_hash(resumed.model) == state_hash(whole.model)


def test_an_encoder_that_cannot_be_copied_or_asked_still_trains(tmp_path):
    class Odd(Own):
        def __init__(self):
            super().__init__()
            self.lock = __import__("threading").Lock()  # neither pickled nor copied

    fit(tmp_path, stop_at(2), encoder=Odd())
    assert fit(tmp_path, encoder=Odd(), resume=True).finished


def test_a_clock_that_ends_a_run_after_one_step_is_said(monkeypatch):
    ticks = iter(range(0, 10_000, 5))
    monkeypatch.setattr(
        "simclr_edu.pretrain.clock.time", type("Clock", (), {"perf_counter": lambda: next(ticks)})
    )
    with pytest.warns(PretrainWarning, match="1 seconds were over after one step, which took .*more seconds"):
        run = fit(None, config=replace(CONFIG, epochs=None, seconds=1.0))
    assert run.step == 1
