"""The comparison on digits: what it computes, and that it is drawn from its own file."""

import json
import os
from dataclasses import asdict, replace

import pytest
import torch

from simclr_edu import evaluate
from simclr_edu.course.evidence import few_labels, transfer
from simclr_edu.data import load_images
from simclr_edu.encoders import make_encoder
from simclr_edu.pretrain import SHIPPED, PretrainConfig, load_run

# Pretrained on digits twice over, once with flips: in seconds.
TRAINING = few_labels.Training(steps=2, steps_all=3, lr=1e-3)
SMALL = transfer.Transfer(
    source=PretrainConfig(data="digits", epochs=1, device="cpu"),
    target=PretrainConfig(data="digits", epochs=1, flip=False, device="cpu"),
    seeds=(3,),
    draws=2,
    budgets=(2, 5),
    tuned=replace(TRAINING, head="probe", batch_norm="frozen"),
    scratch=TRAINING,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder, lines = tmp_path_factory.mktemp("transfer"), []
    return folder, transfer.run_transfer(SMALL, folder, workers=2, report=lines.append), lines


@pytest.mark.slow
@pytest.mark.xdist_group("transfer")
class TestRun:
    def test_every_part_is_there_and_nothing_is_computed_twice(self, done):
        folder, results, lines = done
        keys = {part.key for part in transfer.parts(SMALL)}
        assert len(keys) == len(transfer.METHODS) * 2 * 2 and set(results["accuracy"]) == keys
        assert json.loads((folder / transfer.RESULTS).read_text()) == results
        assert sum(line.startswith("pretraining") for line in lines) == 2
        again = []
        assert transfer.run_transfer(SMALL, folder, workers=1, report=again.append) == results and not again

    def test_parts_are_what_the_package_computes_by_hand(self, done):
        folder, results, _ = done
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            digits = load_images("digits")
            x, test = digits.train_images, digits.test_images
            shapes = load_run(folder / "pretraining-3").encoder
            own = load_run(folder / "digits-pretraining-3")
            assert not own.config.flip
            for method, encoder in (
                (transfer.FROZEN, shapes),
                (transfer.EARLIER, transfer.pooled(shapes)),
                (transfer.OWN, own.encoder),
            ):
                found = evaluate.probe_budgets(
                    evaluate.embed(encoder, x),
                    digits.train_labels,
                    evaluate.embed(encoder, test),
                    digits.test_labels,
                    (2, 5),
                    draws=2,
                )
                stored = torch.tensor(transfer.summary(results)[method], dtype=torch.float64)
                assert torch.allclose(stored, found), method
            pixels = evaluate.linear_probe(None, digits, 20 / len(x), seed=1)
            assert results["accuracy"]["raw pixels: 2 labels a class, draw 1"] == pixels.accuracy
        finally:
            torch.set_num_threads(threads)

    def test_the_table_has_a_line_a_method(self, done):
        lines = transfer.table(done[1]).splitlines()
        assert lines[0].split()[-2:] == ["2", "5"] and len(lines) == 1 + len(transfer.METHODS)


def test_pooled_is_the_encoder_before_its_two_linear_layers():
    encoder = make_encoder("tiny").eval()
    x = torch.rand(2, 3, 32, 32)
    features = transfer.pooled(encoder)(x)
    assert features.shape == (2, 128)
    assert torch.equal(encoder.layers[-6:](features), encoder(x))
    with pytest.raises(TypeError, match="must be tiny"):
        transfer.pooled(torch.nn.Flatten())


def test_digits_are_never_flipped_and_both_sides_have_the_same_augmentation():
    config = transfer.Transfer()
    assert not config.target.flip and config.target.data == "digits"
    assert not config.tuned.light and not config.scratch.light


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"draws": 0}, ValueError, "draws"),
        ({"seeds": ()}, ValueError, "seeds and budgets"),
        ({"budgets": (-1,)}, ValueError, "each of budgets"),
    ],
)
def test_bad_settings_are_refused(changes, error, words):
    with pytest.raises(error, match=words):
        replace(SMALL, **changes)


def test_a_dictionary_is_no_configuration(tmp_path):
    with pytest.raises(TypeError, match="Transfer, got dict"):
        transfer.run_transfer({}, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", [transfer.FROZEN, transfer.EARLIER])
def test_the_shipped_results_can_be_computed_again(method, tmp_path):
    results, config = transfer.shipped(), transfer.Transfer()
    assert results["config"] == json.loads(json.dumps(asdict(config)))
    assert set(results["accuracy"]) == {p.key for p in transfer.parts(config)}
    os.symlink(SHIPPED, tmp_path / "pretraining-0")  # the shipped encoder is that of seed 0
    part = transfer.Part(method, 5, 0, 0)
    assert transfer._measure(config, part, tmp_path) == pytest.approx(
        results["accuracy"][part.key], abs=0.006
    )
