"""Training tells the program that started it how far it is, and ends for no file."""

import pytest
import torch

from simclr_edu import _progress, evaluate
from simclr_edu.data import load_images, shapes
from simclr_edu.encoders import make_encoder
from simclr_edu.pretrain import PretrainConfig, pretrain


@pytest.fixture
def said(monkeypatch, tmp_path):
    """The file, and that nothing was said just now."""
    monkeypatch.setattr(_progress, "_EVERY", 0.0)
    monkeypatch.setenv(_progress.VARIABLE, str(tmp_path / "progress"))
    return tmp_path / "progress"


def train():
    images = shapes.make_shapes(8, size=16)[0]
    pretrain(PretrainConfig(epochs=1, batch_size=8, device="cpu"), images, progress=False)


def test_pretraining_tells_how_far_it_is(said):
    train()
    assert float(said.read_text()) == 1.0


def test_fine_tuning_tells_how_far_it_is(said, monkeypatch):
    shares = []
    monkeypatch.setattr(evaluate.tuning, "tell", shares.append)
    images = load_images("digits").subset(60, 20, seed=0)
    evaluate.fine_tune(make_encoder("tiny"), images, epochs=2)
    assert shares == [0.0, 0.5]


def test_once_a_second_is_enough(said, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_progress, "_EVERY", 1.0)
    monkeypatch.setattr(_progress, "_last", 0.0)
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now[0])
    for now[0], share in ((100.0, 0.1), (100.5, 0.2), (101.0, 0.3), (101.2, 0.4)):
        _progress.tell(share)
        assert float(said.read_text()) == {0.1: 0.1, 0.2: 0.1, 0.3: 0.3, 0.4: 0.3}[share]


@pytest.mark.parametrize("path", ["", "/dev/null/progress"])
def test_nobody_who_listens_is_no_reason_to_stop(path, said, monkeypatch):
    monkeypatch.setenv(_progress.VARIABLE, path)
    train()
    assert not said.exists()


def test_telling_draws_no_random_numbers(said):
    before = torch.get_rng_state()
    _progress.tell(0.5)
    assert torch.equal(before, torch.get_rng_state())
