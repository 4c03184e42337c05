"""torch's global random state: a run neither reads nor changes it, in the main thread or beside it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import nn

from simclr_edu._randomness import GlobalDrawError, drawing_from, refusing_global_draws
from simclr_edu.data.shapes import make_shapes
from simclr_edu.encoders import make_encoder
from simclr_edu.evaluate import state_hash
from simclr_edu.pretrain import PretrainConfig, StopPretraining, pretrain
from simclr_edu.simclr import SimCLR

IMAGES = make_shapes(32, size=16, seed=0)[0]
CONFIG = PretrainConfig(
    epochs=3, batch_size=16, projection_dim=8, log_every=1, checkpoint_every=2, device="cpu"
)


def fit(callbacks=(), **kwargs):
    return pretrain(kwargs.pop("config", CONFIG), IMAGES, callbacks, progress=False, **kwargs)


def own(*layers):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 6, 3, 2), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def in_a_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("name", ["tiny", "small", "resnet18"])
def test_a_generator_gives_the_weights_that_the_global_one_in_its_state_gives(name, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        usual, next_number = state_hash(SimCLR(make_encoder(name), 16)), torch.rand(3)
    before, generator = torch.get_rng_state(), torch.Generator().manual_seed(seed)
    built = SimCLR(make_encoder(name, generator=generator), 16, generator)
    assert state_hash(built) == usual and torch.equal(torch.rand(3, generator=generator), next_number)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_generator_is_of_this_thread_alone():
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    with drawing_from(generator):
        in_a_thread(lambda: nn.Linear(3, 3))
        assert torch.equal(generator.get_state(), before)
        nn.Linear(3, 3)
    assert not torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.rand(3),
        lambda: torch.randn_like(torch.zeros(2)),
        lambda: torch.randperm(4),
        lambda: nn.functional.dropout(torch.ones(4), 0.5),
        lambda: torch.zeros(3).normal_(),
        lambda: torch.multinomial(torch.ones(3), 1),
        lambda: nn.functional.rrelu(-torch.ones(3), training=True),
    ],
)
def test_every_draw_from_the_global_generator_is_noticed(draw):
    with refusing_global_draws(), pytest.raises(GlobalDrawError):
        draw()
    with refusing_global_draws():
        torch.rand(3, generator=torch.Generator())
        nn.functional.dropout(torch.ones(4), 0.5, training=False)
    draw()


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("name", ["tiny", "small"])
def test_a_run_neither_reads_nor_changes_the_global_state(tmp_path, name, threaded):
    """Numbers are drawn in the middle of it, and it is stopped and resumed: both go on as if alone."""
    config = replace(CONFIG, encoder=name)
    alone = state_hash(fit(config=config).model)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = torch.rand(12)
        torch.manual_seed(5)
        drawn = []

        def draw(run):
            drawn.append(torch.rand(2))

        def stop(run):
            if run.step == 3:
                raise StopPretraining

        def both():
            fit([draw, stop], config=config, directory=tmp_path)
            return fit([draw], config=config, directory=tmp_path, resume=True)

        run = in_a_thread(both) if threaded else both()
        assert torch.equal(torch.cat(drawn), expected)
    assert state_hash(run.model) == alone


def test_a_cell_that_draws_all_the_time_and_a_run_in_a_thread_do_not_meet():
    config = replace(CONFIG, epochs=1)
    alone = state_hash(fit(config=config).model)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = torch.rand(20_000)
        torch.manual_seed(7)
        drawn, over, hashes = [], threading.Event(), []

        def train():
            try:
                hashes.extend(state_hash(fit(config=config).model) for _ in range(2))
            finally:
                over.set()

        thread = threading.Thread(target=train)
        thread.start()
        while not over.is_set() or not drawn:
            if len(drawn) < 20_000:
                drawn.append(torch.rand(1))
        thread.join()
        assert torch.equal(torch.cat(drawn), expected[: len(drawn)])
    assert hashes == [alone] * 2


def test_an_encoder_that_draws_is_refused_in_a_thread_and_nothing_is_drawn():
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="draws random numbers from torch's global generator, .*main thread"):
        in_a_thread(lambda: fit(encoder=own(nn.Dropout(0.5))))
    assert torch.equal(torch.get_rng_state(), before)


def test_one_that_draws_later_too():
    class Later(nn.Module):
        passes = 0

        def forward(self, x):
            self.passes += self.training
            return x + torch.rand(1) if self.passes > 3 else x

    with pytest.raises(ValueError, match="draws random numbers from torch's global generator"):
        in_a_thread(lambda: fit(encoder=own(Later())))


def test_one_that_does_not_is_the_same_in_a_thread():
    before = torch.get_rng_state()
    run = in_a_thread(lambda: fit(encoder=own(nn.BatchNorm2d(6), nn.ReLU())))
    assert torch.equal(torch.get_rng_state(), before)
    assert state_hash(run.model) == state_hash(fit(encoder=own(nn.BatchNorm2d(6), nn.ReLU())).model)


def test_in_the_main_thread_an_encoder_that_draws_is_repeatable_and_leaves_the_state_as_it_was():
    hashes = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            hashes.append(state_hash(fit(encoder=own(nn.Dropout(0.5))).model))
            assert torch.equal(torch.get_rng_state(), before)
    assert hashes[0] == hashes[1]
