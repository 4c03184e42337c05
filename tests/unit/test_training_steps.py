"""Accuracy against steps: what is computed, on which pictures, and what ships."""

import json
import os
from dataclasses import asdict, replace

import pytest
import torch

from simclr_edu.course.evidence import training_steps
from simclr_edu.course.evidence.comparison import fresh_encoder
from simclr_edu.course.evidence.few_labels import SCRATCH, TUNED, FewLabels
from simclr_edu.data import load_images
from simclr_edu.evaluate import fine_tune
from simclr_edu.pretrain import SHIPPED, PretrainConfig

SMALL = training_steps.Steps(
    pretraining=PretrainConfig(data="digits", epochs=1, device="cpu"),
    draws=2,
    budgets=(2,),
    held_out=200,
    scratch=(2, 4),
    tuned=(3,),
)


@pytest.mark.slow
def test_every_part_is_there_and_is_what_the_package_computes_by_hand(tmp_path):
    results = training_steps.run_steps(SMALL, tmp_path, workers=2)
    assert json.loads((tmp_path / training_steps.RESULTS).read_text()) == results
    assert set(results["accuracy"]) == {part.key for part in training_steps.parts(SMALL)}
    found = training_steps.summary(results)
    assert {who: list(by[2]) for who, by in found.items()} == {SCRATCH: [2, 4], TUNED: [3]}

    held_out, draw = load_images("digits").with_validation(200), training_steps.FIRST_DRAW + 1
    how, threads = FewLabels().scratch, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        by_hand = fine_tune(
            fresh_encoder(SMALL.pretraining, draw),
            held_out,
            fraction=20 / len(held_out.train_labels),
            lr=how.lr,
            seed=draw,
            augment=SMALL.pretraining.augmentation(32),
            batch_size=how.batch_size,
            val_fraction=0.0,
            steps=4,
        )
    finally:
        torch.set_num_threads(threads)
    assert found[SCRATCH][2][4][1] == by_hand.accuracy
    lines = training_steps.table(results).splitlines()
    assert lines[0].split() == ["from", "scratch,", "steps", "2", "4"] and len(lines) == 4


def test_the_draws_are_not_those_of_the_comparison():
    assert FewLabels().draws <= training_steps.FIRST_DRAW


def test_the_settings_of_the_comparison_are_among_the_lengths():
    config, both = training_steps.Steps(), FewLabels()
    assert both.scratch.steps in config.scratch and both.tuned.steps in config.tuned


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scratch": ()}, "scratch"),
        ({"tuned": (0,)}, "each of tuned"),
        ({"draws": 0}, "draws"),
        ({"held_out": 0}, "held_out"),
    ],
)
def test_bad_settings_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **changes)


def test_a_dictionary_is_no_configuration(tmp_path):
    with pytest.raises(TypeError, match="Steps, got dict"):
        training_steps.run_steps({}, tmp_path)


@pytest.mark.slow
def test_the_shipped_results_can_be_computed_again(tmp_path):
    results, config = training_steps.shipped(), training_steps.Steps()
    assert results["config"] == json.loads(json.dumps(asdict(config)))
    assert set(results["accuracy"]) == {p.key for p in training_steps.parts(config)}
    os.symlink(SHIPPED, tmp_path / "pretraining-0")  # the shipped encoder is that of seed 0
    part = training_steps.Part(training_steps.method(TUNED, 60), 10, 0, 0)
    assert training_steps._measure(config, part, tmp_path) == pytest.approx(
        results["accuracy"][part.key], abs=0.01
    )
