"""The loop: repeatable, resumable to the bit, and clear about what went wrong."""

import contextlib
import errno
import io
import json
import math
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from simclr_edu import checkpoints
from simclr_edu import pretrain as pretrain_module
from simclr_edu.augment import SimCLRAugment
from simclr_edu.checkpoints import CheckpointError, list_checkpoints, read_latest, save_checkpoint
from simclr_edu.data.shapes import make_shapes
from simclr_edu.device import pick_device
from simclr_edu.encoders import make_encoder
from simclr_edu.losses import nt_xent_loop
from simclr_edu.pretrain import (
    NonFiniteLossError,
    PretrainConfig,
    StopPretraining,
    learning_rate,
    load_run,
    pretrain,
)
from simclr_edu.simclr import SimCLR, train_step

IMAGES = make_shapes(70, size=16, seed=0)[0]
SMALL = PretrainConfig(
    epochs=3, batch_size=16, projection_dim=8, log_every=2, checkpoint_every=3, device="cpu"
)


def weights(run) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in run.model.state_dict().items()}


def assert_same_weights(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def fit(config=SMALL, images=IMAGES, **kwargs):
    return pretrain(config, images, progress=False, **kwargs)


def without_clock(history):
    return [{k: v for k, v in r.items() if k not in ("seconds", "pairs_per_s")} for r in history]


def files(directory) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir()}


def own_encoder(*layers) -> nn.Module:
    """A small encoder with the same weights each time and ``layers`` before its last."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, 2),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            *layers,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


class Saboteur(nn.Module):
    """Changes nothing, but runs ``action`` in the forward pass number ``step``."""

    def __init__(self, step, action):
        super().__init__()
        self.step, self.action, self.passes = step, action, 0

    def forward(self, x):
        self.passes += self.training  # a blank image is sent through in eval mode, to measure the width
        if self.passes == self.step and self.training:
            self.action(x)
        return x


# --- the schedule ---------------------------------------------------------------------------------------


def test_warm_up_is_a_line_and_the_rest_a_cosine():
    assert [learning_rate(p, 2.0, warmup=0.2) for p in (0, 0.05, 0.1, 0.2)] == pytest.approx([0, 0.5, 1, 2])
    assert learning_rate(0.6, 2.0, warmup=0.2) == pytest.approx(1.0)  # half of the cosine
    assert learning_rate(1.0, 2.0, warmup=0.2) == pytest.approx(0.0)
    assert learning_rate(0.0, 2.0, warmup=0.0) == 2.0


def test_the_cosine_is_the_one_of_torch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=3.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert learning_rate(step / 20, 3.0, warmup=0.0) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


# --- one step -------------------------------------------------------------------------------------------


def test_a_step_is_one_pass_over_both_views_and_the_loss_is_nt_xent():
    torch.manual_seed(0)
    model = SimCLR(make_encoder("tiny"), 8)
    reference = SimCLR(make_encoder("tiny"), 8)
    reference.load_state_dict(model.state_dict())
    augment = SimCLRAugment(16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    passes = []
    model.encoder.register_forward_hook(lambda *args: passes.append(len(args[2])))
    loss, z = train_step(
        model,
        augment,
        lambda a, b: nt_xent_loop(a, b, 0.5),
        optimizer,
        IMAGES[:6],
        torch.Generator().manual_seed(1),
    )
    assert passes == [12] and z.shape == (12, 8) and not z.requires_grad and not loss.requires_grad

    v1, v2 = augment.two_views(IMAGES[:6], generator=torch.Generator().manual_seed(1))
    expected = nt_xent_loop(*reference(torch.cat([v1, v2]))[1].chunk(2), 0.5)
    expected.backward()
    assert torch.allclose(loss, expected.detach(), rtol=1e-5)
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(p, q - 0.1 * q.grad, atol=1e-5)


def test_gradients_do_not_pile_up_from_step_to_step():
    model = SimCLR(make_encoder("tiny"), 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    grads = []
    for _ in range(2):
        train_step(
            model,
            SimCLRAugment(16),
            lambda a, b: nt_xent_loop(a, b),
            optimizer,
            IMAGES[:4],
            torch.Generator().manual_seed(1),
        )
        grads.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(*grads, strict=True))


# --- runs -----------------------------------------------------------------------------------------------


def test_a_run_learns_and_records_how():
    run = fit(replace(SMALL, epochs=12, learning_rate=3e-3))
    assert run.finished and run.step == 12 * 4 and run.epoch == 12.0 and run.pairs == 48 * 16
    assert [r["step"] for r in run.history] == list(range(2, 49, 2))
    first, last = run.history[0], run.history[-1]
    assert last["loss"] < first["loss"] - 0.2
    assert last["contrastive_accuracy"] > 1 / 31
    assert last["progress"] == 1.0 and 0 < last["learning_rate"] < 3e-3
    assert not run.model.training and run.pairs_per_s > 0
    assert run.summary()["loss"] == round(last["loss"], 4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_configuration_gives_the_same_weights_whatever_happened_before(seed):
    config = replace(SMALL, epochs=1, seed=seed)
    torch.manual_seed(123)
    a = weights(fit(config))
    torch.rand(17)
    before = torch.get_rng_state()
    b = weights(fit(config))
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state was changed"
    assert_same_weights(a, b)
    other = weights(fit(replace(config, seed=seed + 1)))
    assert not torch.equal(other["encoder.layers.1.0.weight"], a["encoder.layers.1.0.weight"])


def test_image_sets_and_tensors_are_both_taken_and_labels_never_read():
    bare = SimpleNamespace(pretrain_images=IMAGES)
    assert_same_weights(weights(fit(images=bare)), weights(fit()))


def test_a_run_saved_and_loaded_is_the_same_run(tmp_path):
    run = fit(directory=tmp_path)
    loaded = load_run(tmp_path)
    assert_same_weights(weights(run), weights(loaded))
    assert loaded.config == run.config and loaded.history == run.history and loaded.finished
    assert (loaded.step, loaded.epoch, loaded.pairs) == (run.step, run.epoch, run.pairs)
    assert (tmp_path / "config.json").read_text().startswith("{")
    assert not loaded.model.training


@pytest.mark.parametrize("stop_at", [2, 4, 6, 10])
def test_a_stopped_and_resumed_run_ends_with_the_same_weights_to_the_bit(tmp_path, stop_at):
    whole = fit()

    def stop(run):
        if run.step == stop_at:
            raise StopPretraining

    part = fit(directory=tmp_path, callbacks=[stop])
    assert part.step == stop_at and not part.finished
    resumed = fit(directory=tmp_path, resume=True)
    assert resumed.finished
    assert_same_weights(weights(whole), weights(resumed))
    assert [r["loss"] for r in resumed.history] == [r["loss"] for r in whole.history]


@pytest.mark.parametrize(("dies_at", "kept"), [(4, 3), (8, 6), (10, 9)])
def test_a_run_that_died_goes_on_from_its_last_checkpoint(tmp_path, dies_at, kept):
    def die(run):
        if run.step == dies_at:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fit(directory=tmp_path, callbacks=[die])
    assert load_run(tmp_path).step == kept  # checkpoint_every=3
    resumed, whole = fit(directory=tmp_path, resume=True), fit()
    assert_same_weights(weights(resumed), weights(whole))
    # Steps 3 and 9 lie between two records: the losses since the last one must come back too.
    assert without_clock(resumed.history) == without_clock(whole.history)


@pytest.fixture
def default_interrupt():
    """SIGINT as in a terminal: a process started in the background is born with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_interrupt")
@pytest.mark.filterwarnings("ignore:.*cannot bring back the attribute encoder.3.passes")
@pytest.mark.parametrize("where", ["forward", "optimizer", "twice"])
def test_an_interrupt_waits_for_the_end_of_the_step(tmp_path, monkeypatch, where):
    interrupt = lambda *_: signal.raise_signal(signal.SIGINT)  # noqa: E731
    encoder = own_encoder(Saboteur(5, interrupt))
    if where == "optimizer":
        step = torch.optim.AdamW.step
        steps = iter(range(100))
        monkeypatch.setattr(
            torch.optim.AdamW, "step", lambda self: (next(steps) == 4 and interrupt(), step(self))
        )
        encoder = own_encoder(Saboteur(0, None))
    elif where == "twice":
        encoder = own_encoder(Saboteur(5, lambda x: (interrupt(), interrupt())))
    run = fit(directory=tmp_path, encoder=encoder)
    assert run.step == 5 and not run.finished and load_run(tmp_path, own_encoder(Saboteur(0, None))).step == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.undo()
    resumed = fit(directory=tmp_path, resume=True, encoder=own_encoder(Saboteur(0, None)))
    whole = fit(encoder=own_encoder(Saboteur(0, None)))
    assert_same_weights(weights(resumed), weights(whole))
    assert without_clock(resumed.history) == without_clock(whole.history)


def test_somebody_elses_interrupt_handler_is_left_alone():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append("theirs"))
    try:
        run = fit(encoder=own_encoder(Saboteur(2, lambda x: signal.raise_signal(signal.SIGINT))))
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.finished and seen == ["theirs"]


def test_a_run_in_another_thread_is_the_same_run():
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(lambda: (threading.current_thread(), fit())).result()
    assert run[0] is not threading.main_thread()
    assert_same_weights(weights(run[1]), weights(fit()))


def test_torchs_random_state_is_part_of_a_checkpoint(tmp_path):
    """Dropout draws from the global state; the built-in encoders draw nothing."""

    def stop(run):
        if run.step == 6:
            raise StopPretraining

    torch.manual_seed(1)
    whole = fit(encoder=own_encoder(nn.Dropout(0.5)))
    fit(encoder=own_encoder(nn.Dropout(0.5)), directory=tmp_path, callbacks=[stop])
    torch.manual_seed(2)
    resumed = fit(encoder=own_encoder(nn.Dropout(0.5)), directory=tmp_path, resume=True)
    assert_same_weights(weights(resumed), weights(whole))
    assert not torch.equal(  # so dropout did matter
        weights(fit(encoder=own_encoder(nn.Dropout(0.0))))["encoder.0.weight"],
        weights(whole)["encoder.0.weight"],
    )


def test_a_run_on_the_cpu_leaves_the_gpus_random_state_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("seeded the GPU"))
    fit(replace(SMALL, epochs=1))


@pytest.fixture
def tick(monkeypatch):
    """Let a run's clock go on by so many seconds whenever it is looked at, however fast the machine is."""

    def tick(seconds_a_look):
        ticks = count()
        clock = SimpleNamespace(perf_counter=lambda: next(ticks) * seconds_a_look)
        monkeypatch.setattr(pretrain_module.clock, "time", clock)

    return tick


def test_by_the_clock_the_steps_are_the_same_though_not_their_number(tick):
    def views(seconds_a_look):
        tick(seconds_a_look)
        seen = []
        encoder = own_encoder()
        encoder.register_forward_pre_hook(
            lambda module, x: seen.append(x[0].double().sum()) if module.training else None
        )
        run = fit(replace(SMALL, epochs=None, seconds=1.0, log_every=1), encoder=encoder)
        return torch.stack(seen), run.history

    (slow, first), (fast, second) = views(0.1), views(0.05)
    assert 2 <= len(slow) < len(fast) and torch.equal(slow, fast[: len(slow)])
    assert first[0]["loss"] == second[0]["loss"]
    assert first[-1]["loss"] != second[len(slow) - 1]["loss"]  # for the rate followed the clock


def test_resuming_a_finished_run_trains_no_further(tmp_path):
    done = fit(directory=tmp_path)
    again = fit(directory=tmp_path, resume=True)
    assert again.step == done.step
    assert_same_weights(weights(done), weights(again))


def test_a_run_may_be_limited_by_the_clock(tick):
    tick(0.1)
    run = fit(PretrainConfig(seconds=1.0, batch_size=16, projection_dim=8, device="cpu"))
    assert run.finished and run.seconds >= 1.0 and run.history[-1]["progress"] == 1.0 and run.step > 1


def test_callbacks_see_every_record_and_their_time_is_not_counted(monkeypatch):
    seen, now = [], [0.0]

    def look():
        now[0] += 0.01  # between two looks at the clock
        return now[0]

    def slow(run):
        seen.append(run.history[-1]["step"])
        run.model.eval()  # a callback that evaluates must not leave eval mode behind
        now[0] += 1000

    without = fit()
    monkeypatch.setattr(pretrain_module.clock, "time", SimpleNamespace(perf_counter=look))
    run = fit(callbacks=[slow])
    assert seen == [2, 4, 6, 8, 10, 12]
    assert_same_weights(weights(run), weights(without))
    assert 0 < run.seconds < 1


def test_an_encoder_of_your_own(tmp_path):
    def own():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    run = fit(encoder=own(), directory=tmp_path)
    assert run.config.encoder == "custom"
    assert_same_weights(weights(load_run(tmp_path, encoder=own())), weights(run))
    with pytest.raises(ValueError, match="give it as encoder="):
        load_run(tmp_path)


def test_weights_alone_can_be_loaded_but_not_resumed(tmp_path):
    run = fit(directory=tmp_path / "full")
    run.save_weights(tmp_path / "light")
    assert_same_weights(weights(load_run(tmp_path / "light")), weights(run))
    light, full = (list_checkpoints(tmp_path / k)[-1].stat().st_size for k in ("light", "full"))
    assert light < full / 2
    with pytest.raises(CheckpointError, match="holds weights only"):
        fit(directory=tmp_path / "light", resume=True)


# --- the paths a GPU takes, as far as a CPU can take them ----------------------------------------------


def test_the_autocast_path_trains_in_bf16(monkeypatch):
    monkeypatch.setattr(pretrain_module.loop, "bf16_is_fast", lambda device: True)
    dtypes = []
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    encoder.register_forward_hook(lambda *args: dtypes.append(args[2].dtype))
    encoder.feature_dim = 4
    run = fit(replace(SMALL, epochs=1, amp="bf16"), encoder=encoder)
    assert set(dtypes) == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in run.model.parameters())
    assert math.isfinite(run.history[-1]["loss"])


def test_the_compile_path_trains_the_same_parameters(monkeypatch):
    compiled = []

    def eager_compile(model):
        compiled.append(model)
        return torch._dynamo.optimize("eager")(model)

    monkeypatch.setattr(torch, "compile", eager_compile)
    run = fit(replace(SMALL, epochs=1, compile=True))
    assert compiled == [run.model]
    plain = weights(fit(replace(SMALL, epochs=1)))
    assert all(torch.allclose(v.float(), plain[k].float(), atol=1e-4) for k, v in weights(run).items())


def test_memory_order_changes_speed_and_not_the_result():
    a = fit(replace(SMALL, epochs=1, channels_last=True)).history[-1]["loss"]
    b = fit(replace(SMALL, epochs=1, channels_last=False)).history[-1]["loss"]
    assert a == pytest.approx(b, rel=1e-3)


def test_images_too_large_for_the_gpu_stay_on_the_host(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (IMAGES.numel(), 0))
    pinned = SimpleNamespace(numel=IMAGES.numel, element_size=lambda: 1, pin_memory=lambda: "pinned")
    assert pretrain_module.batches._resident(pinned, torch.device("cuda")) == "pinned"
    assert pretrain_module.batches._resident(IMAGES, torch.device("cpu")) is IMAGES


def test_a_device_that_is_not_there_is_said_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device cuda was asked for"):
        pick_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")


# --- mistakes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": 0}, "temperature must be a finite number greater than 0, got 0"),
        ({"temperature": "hot"}, "temperature must be a number, got str"),
        ({"epochs": 1, "seconds": 3.0}, "epochs or seconds, not both"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"encoder": "resnet19"}, "encoder must be one of"),
        ({"crop_scale": 0.0}, "crop_scale must be above 0"),
        ({"warmup": 1.5}, "warmup must be from 0 to 1"),
        ({"learning_rate": math.nan}, "learning_rate must be a finite number"),
        ({"optimizer": "adam"}, "optimizer must be one of adamw, sgd, got 'adam'"),
    ],
)
def test_settings_out_of_range_are_sentences(changes, words):
    with pytest.raises((TypeError, ValueError), match=words):
        PretrainConfig(**changes)


def test_fewer_images_than_a_batch():
    with pytest.raises(ValueError, match="batch_size 16 needs as many images, got 10"):
        fit(images=IMAGES[:10])


def test_a_directory_that_holds_a_run_is_not_overwritten(tmp_path):
    fit(directory=tmp_path)
    with pytest.raises(ValueError, match="already holds a run: resume it"):
        fit(directory=tmp_path)


@pytest.mark.parametrize("change", [{"temperature": 0.7}, {"strength": 0.3}, {"seed": 5}, {"epochs": 9}])
def test_resuming_under_another_configuration_is_refused(tmp_path, change):
    fit(directory=tmp_path)
    (name, value) = next(iter(change.items()))
    with pytest.raises(CheckpointError, match=f"{name} .* there and {value} here"):
        fit(replace(SMALL, **change), directory=tmp_path, resume=True)


def test_resuming_on_other_images_is_refused(tmp_path):
    fit(directory=tmp_path)
    with pytest.raises(CheckpointError, match="other images"):
        fit(images=make_shapes(70, size=16, seed=1)[0], directory=tmp_path, resume=True)


def test_bf16_without_the_instructions_is_refused(monkeypatch):
    monkeypatch.setattr(pretrain_module.loop, "bf16_is_fast", lambda device: False)
    with pytest.raises(ValueError, match="no bfloat16 arithmetic"):
        fit(replace(SMALL, amp="bf16"))


def test_a_loss_that_is_not_finite_stops_the_run_with_step_and_cause(tmp_path):
    class Poison(nn.Module):
        feature_dim = 4

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            factor = math.nan if self.calls > 5 else 1.0
            return x.mean((1, 2, 3))[:, None] * self.weight * factor

    with pytest.raises(
        NonFiniteLossError, match=r"loss is nan at step 6 .*learning_rate.*checkpoint-00000003.pt"
    ):
        fit(encoder=Poison(), directory=tmp_path)
    assert all(
        torch.isfinite(v).all() for v in load_run(tmp_path, encoder=Poison()).model.state_dict().values()
    )


def test_interrupting_keeps_what_was_learned(tmp_path):
    def interrupt(run):
        raise KeyboardInterrupt

    run = fit(directory=tmp_path, callbacks=[interrupt])
    assert run.step == 2 and not run.finished and load_run(tmp_path).step == 2


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(StopPretraining):
        fit(replace(SMALL, epochs=1))
    assert list(tmp_path.iterdir()) == []


# --- resuming what does not fit -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": 0.5}, "temperature 0.2 there and 0.5 here"),
        ({"strength": 0.5}, "strength 1.0 there and 0.5 here"),
        ({"crop": False, "blur": True}, "crop True there and False here, blur False there and True here"),
        ({"encoder": "resnet18"}, "encoder 'tiny' there and 'resnet18' here"),
        ({"seed": 1}, "seed 0 there and 1 here"),
        ({"epochs": 4}, "epochs 3 there and 4 here"),
        ({"epochs": None, "seconds": 9.0}, "epochs 3 there and None here, seconds None there and 9.0 here"),
        ({"batch_size": 8}, "batch_size 16 there and 8 here"),
    ],
)
def test_another_configuration_is_refused_by_name_and_nothing_is_touched(tmp_path, changes, words):
    fit(replace(SMALL, epochs=3), directory=tmp_path, callbacks=[stop_at_once])
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match=f"another configuration .*: {words}$"):
        fit(replace(SMALL, **changes), directory=tmp_path, resume=True)
    assert files(tmp_path) == before


def stop_at_once(run):
    raise StopPretraining


def test_settings_that_do_not_change_the_weights_may_differ(tmp_path):
    fit(directory=tmp_path, callbacks=[stop_at_once])
    resumed = fit(replace(SMALL, log_every=5, checkpoint_every=1), directory=tmp_path, resume=True)
    assert_same_weights(weights(resumed), weights(fit()))


def test_other_images_are_refused(tmp_path):
    fit(directory=tmp_path, callbacks=[stop_at_once])
    before = files(tmp_path)
    for other in (IMAGES[:64], IMAGES.flip(0), IMAGES.float() / 255):
        with pytest.raises(CheckpointError, match="trained on other images"):
            fit(images=other, directory=tmp_path, resume=True)
    assert files(tmp_path) == before


def without(key):
    return lambda state: state.pop(key)


def on_a_gpu(state):
    state["generators"]["augmentation"] = torch.zeros(16, dtype=torch.uint8)  # the length of CUDA's state


def other_optimizer(state):
    state["optimizer"]["param_groups"].pop()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without("config"), "does not hold a run that fits: KeyError: 'config'"),
        (without("losses"), "does not hold a run that fits: KeyError: 'losses'"),
        (lambda state: state["model"].popitem(), "does not hold a run that fits: .*Missing key"),
        (lambda state: state.update(history=None), "does not hold a run that fits: TypeError"),
        (other_optimizer, "does not hold a run that fits: ValueError.*parameter groups"),
        (on_a_gpu, "made on another kind of device and cannot be resumed on cpu"),
    ],
)
def test_a_checkpoint_that_lacks_something_is_refused_in_one_sentence(tmp_path, damage, words):
    fit(directory=tmp_path, callbacks=[stop_at_once])
    path, state = read_latest(tmp_path)
    damage(state)
    save_checkpoint(tmp_path, int(path.stem[-8:]), state)
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match=f"{path.name} .*{words}") as caught:
        fit(directory=tmp_path, resume=True)
    assert "\n" not in str(caught.value) and files(tmp_path) == before


def test_another_encoder_of_your_own_is_refused(tmp_path):
    fit(encoder=own_encoder(), directory=tmp_path, callbacks=[stop_at_once])
    with pytest.raises(CheckpointError, match="does not hold a run that fits: .*encoder.3.weight"):
        fit(encoder=own_encoder(nn.Conv2d(6, 6, 1)), directory=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="does not hold a run that fits: .*encoder.3.weight"):
        load_run(tmp_path, encoder=own_encoder(nn.Conv2d(6, 6, 1)))


# --- disks and numbers that fail ------------------------------------------------------------------------


def test_a_disk_that_fills_up_ends_the_run_and_with_room_again_it_goes_on(tmp_path, monkeypatch):
    class FullFile(io.FileIO):
        def write(self, content):
            super().write(memoryview(content)[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")

    def fill(run):
        if run.step == 8:
            monkeypatch.setattr(checkpoints, "open", FullFile, raising=False)

    with pytest.raises(OSError, match=r"No space left on device: '.*checkpoint-00000009.pt'"):
        fit(directory=tmp_path, callbacks=[fill])
    assert [p.name for p in list_checkpoints(tmp_path)] == [
        "checkpoint-00000003.pt",
        "checkpoint-00000006.pt",
    ]
    assert load_run(tmp_path).step == 6
    monkeypatch.undo()
    assert_same_weights(weights(fit(directory=tmp_path, resume=True)), weights(fit()))


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_may_not_be_written_is_found_before_the_first_step(read_only_folder, there):
    untouched = own_encoder(Saboteur(1, lambda x: pytest.fail("a step was taken")))
    with pytest.raises(PermissionError, match="Permission denied"):
        fit(encoder=untouched, directory=read_only_folder if there else read_only_folder / "run")
    assert list(read_only_folder.iterdir()) == []


def test_a_killed_run_says_what_it_was(tmp_path):
    def look(run):
        found = json.loads((tmp_path / "config.json").read_text())
        assert found["config"]["temperature"] == 0.2 and not found["finished"]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fit(directory=tmp_path, callbacks=[look])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "from nan to nan in image 37"),
        (math.inf, "to inf in image 37"),
        (1.5, "to 1.5 in image 37"),
    ],
)
def test_pixels_that_are_not_pixels_are_refused_before_the_first_step(tmp_path, value, words):
    images = IMAGES.float() / 255
    images[37, 1, 3, 3] = value
    with pytest.raises(ValueError, match=f"float images must lie in .0, 1., got values {words}|{words}"):
        fit(images=images, directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_may_be_floats_of_any_width(tmp_path, dtype):
    images = (IMAGES.float() / 255).to(dtype)
    fit(images=images, directory=tmp_path, callbacks=[stop_at_once])
    assert_same_weights(
        weights(fit(images=images, directory=tmp_path, resume=True)), weights(fit(images=images))
    )


@pytest.mark.parametrize("directory", [True, False])
@pytest.mark.parametrize("step", [6, 12])
def test_weights_that_are_not_finite_are_never_saved_or_returned(tmp_path, step, directory):
    """A finite loss can have a gradient that is not; the loss tells a step later, or, at the end, never."""

    def spoil_gradient(x):
        x.register_hook(lambda gradient: gradient * math.nan)

    encoder = own_encoder(Saboteur(step, spoil_gradient))
    config = replace(SMALL, checkpoint_every=2)
    with pytest.raises(
        NonFiniteLossError, match=f"weights are no longer finite at step {step} .*learning_rate"
    ):
        fit(config, encoder=encoder, directory=tmp_path if directory else None)
    if directory:
        run = load_run(tmp_path, encoder=own_encoder(Saboteur(0, None)))
        assert run.step == step - 2 and all(v.isfinite().all() for v in run.model.state_dict().values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 1e30}, "learning_rate 1e.30 is probably too high for adamw: lower it"),
        ({"temperature": 1e-30, "optimizer": "sgd"}, "temperature 1e-30 makes gradients"),
    ],
)
def test_settings_that_blow_up_are_named(tmp_path, changes, words):
    with pytest.raises(NonFiniteLossError, match=words):
        fit(replace(SMALL, **changes), directory=tmp_path)
