"""The parts of the benchmarks that decide whether a comparison is fair; nothing is timed here."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from simclr_edu.data import ImageSet
from simclr_edu.encoders import make_encoder

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py")))
def test_every_benchmark_can_be_imported(name, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))  # as when it is started: they import each other
    assert callable(load(name).main)


@pytest.fixture(scope="module")
def pretraining():
    return load("pretraining")


def numbered(n, m):
    """An image set whose pictures are their own number: training 0 to n - 1, test from 200."""
    train, test = torch.arange(n), 200 + torch.arange(m)
    pictures = [
        x.to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous() for x in (train, test)
    ]
    return ImageSet("numbers", pictures[0], train % 2, pictures[1], test % 2, ("even", "odd"), "made here")


def test_the_settings_are_chosen_on_training_pictures_alone(pretraining, monkeypatch):
    seen = []

    def trained(who, where, seconds, settings, seed):
        train = where.train_images[:, 0, 0, 0].tolist()
        validation = where.test_images[:, 0, 0, 0].tolist()
        assert len(validation) == 10 and sorted(train + validation) == list(range(50))
        seen.append((train, validation))
        return {"linear": 0.5, "knn": 0.5}

    monkeypatch.setattr(pretraining, "train_and_score", trained)
    pretraining.choose(pretraining.OURS, numbered(50, 10), 1.0, 0)
    assert len(seen) == len(pretraining.SETTINGS) and all(parts == seen[0] for parts in seen)


def test_quality_reads_the_test_pictures_once_for_each_row(pretraining, monkeypatch):
    images, read = numbered(50, 10), []

    def score(encoder, where, **_):
        return {"linear": 0.5, "knn": 0.5}

    def trained(who, where, seconds, settings, seed):
        on_test = torch.equal(where.test_images, images.test_images)
        read.append((who, on_test))
        # The last setting is the best on validation, so it has to be the one that is used.
        if on_test and who != pretraining.THEIRS:
            assert settings == pretraining.SETTINGS[-1]
        rank = 0 if settings is None else pretraining.SETTINGS.index(settings)
        return {"linear": rank / 10, "knn": 0.0}

    monkeypatch.setattr(pretraining.evaluate, "probe_scores", score)
    monkeypatch.setattr(pretraining, "train_and_score", trained)
    scores = pretraining.quality(images, 1.0)
    rows = [pretraining.THEIRS, pretraining.TUNED, pretraining.OURS]
    assert [who for who, on_test in read if on_test] == rows
    # The same number of trials for each side that chooses.
    trials = [who for who, on_test in read if not on_test]
    assert trials.count(pretraining.OURS) == trials.count(pretraining.TUNED) == len(pretraining.SETTINGS)
    assert set(scores) == {"raw pixels", "random encoder", *rows}


def test_an_encoder_is_evaluated_on_inputs_normalised_as_it_was_trained(pretraining):
    encoder = make_encoder("tiny").eval()
    x = torch.rand(4, 3, 32, 32)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    got = pretraining.Normalised(encoder, mean, std).eval()(x)
    torch.testing.assert_close(got, encoder(F.normalize(x, mean, std)))


def test_a_peer_counts_with_its_fastest_row():
    speeds = {"simclr_edu": 9.0, "kornia": 2.0, "peer, 1 thread": 3.0, "peer, 2 threads": 5.0}
    assert load("augment").best_peers(speeds) == {"kornia": ("kornia", 2.0), "peer": ("peer, 2 threads", 5.0)}
