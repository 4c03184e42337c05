"""The arms of the augmentation: what is computed, that a killed comparison goes on, and what ships."""

import json
import statistics
from dataclasses import asdict, replace

import pytest
import torch

from simclr_edu import evaluate
from simclr_edu.course.evidence import arms
from simclr_edu.data import load_images
from simclr_edu.pretrain import PretrainConfig, pretrain

# `digits` is bundled and small: a comparison in seconds.
SMALL = arms.Arms(pretraining=PretrainConfig(data="digits", device="cpu"), epochs=(1,), seeds=(0,), draws=2)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder, lines = tmp_path_factory.mktemp("arms"), []
    return folder, arms.run_arms(SMALL, folder, lines.append), lines


@pytest.mark.slow
@pytest.mark.xdist_group("arms")
class TestRun:
    def test_every_run_is_there_once_and_on_disk(self, done):
        folder, results, lines = done
        assert list(results["scores"]) == [arms.key(arm, 1, 0) for arm in arms.ARMS] and len(lines) == 4
        assert json.loads((folder / arms.RESULTS).read_text()) == results
        assert results["date"] and results["config"]["draws"] == 2

    def test_a_run_is_what_the_package_computes_by_hand(self, done):
        images, threads = load_images("digits"), torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            run = pretrain(replace(SMALL.pretraining, epochs=1, color=False), images, progress=False)
            scores = evaluate.probe_scores(run.encoder, images, seed=0)
            share = 100 / len(images.train_labels)
            few = [evaluate.linear_probe(run.encoder, images, share, seed=d).accuracy for d in range(2)]
        finally:
            torch.set_num_threads(threads)
        measured = done[1]["scores"][arms.key("crop only", 1, 0)]
        by_hand = {**scores, "few_labels": statistics.fmean(few)}
        assert {k: measured[k] for k in by_hand} == pytest.approx(by_hand, abs=5.1e-5)

    def test_only_what_is_missing_is_computed(self, done, tmp_path):
        _, results, _ = done
        name, lines = arms.key("colour only", 1, 0), []
        left = {**results, "scores": {k: v for k, v in results["scores"].items() if k != name}}
        arms.write_results(tmp_path / arms.RESULTS, left)
        assert arms.run_arms(SMALL, tmp_path, lines.append)["scores"] == results["scores"]
        assert [line.split(":")[0] for line in lines] == [name]

    def test_other_settings_are_refused(self, done):
        with pytest.raises(ValueError, match=r"other settings \(draws\)"):
            arms.run_arms(replace(SMALL, draws=3), done[0])


def made_up():
    values = {"linear": 0.5, "hue": 0.25}
    scores = {
        arms.key(a, 3, s): {k: v + 0.1 * s for k, v in values.items()} for a in arms.ARMS for s in (0, 1)
    }
    return {"config": {"epochs": [3], "seeds": [0, 1]}, "scores": scores}


def test_the_summary_is_mean_and_spread_over_the_seeds():
    row = arms.summary(made_up(), 3)["crop only"]
    assert list(row) == ["linear", "hue"]
    assert row["linear"] == pytest.approx((0.55, statistics.stdev([0.5, 0.6])))
    with pytest.raises(ValueError, match="epochs must be one of"):
        arms.summary(made_up(), 4)
    assert arms.table(made_up()).splitlines()[1].split() == [
        "flips",
        "only",
        "55.0",
        "±",
        "7.1",
        "0.30",
        "±",
        "0.07",
    ]


def test_the_arms_differ_in_crops_and_colours_alone():
    config = arms.Arms()
    whole = arms.settings(config, "crop + colour", 20, 0)
    assert whole == replace(PretrainConfig(device="cpu"), epochs=20)
    for arm, changed in arms.ARMS.items():
        assert arms.settings(config, arm, 5, 2) == replace(whole, epochs=5, seed=2, **changed)
    with pytest.raises(ValueError, match="arm"):
        arms.settings(config, "blur only", 5, 0)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"seeds": ()}, ValueError, "seeds and epochs"),
        ({"epochs": (0,)}, ValueError, "each of epochs"),
        ({"seeds": (0.5,)}, TypeError, "each of seeds"),
        ({"labels": 0}, ValueError, "labels"),
    ],
)
def test_bad_settings_are_refused(changes, error, words):
    with pytest.raises(error, match=words):
        replace(SMALL, **changes)


def test_a_dictionary_is_no_configuration(tmp_path):
    with pytest.raises(TypeError, match="Arms, got dict"):
        arms.run_arms({}, tmp_path)


class TestShipped:
    def test_it_holds_every_run_of_the_default_comparison(self):
        results, config = arms.shipped(), arms.Arms()
        names = [arms.key(a, e, s) for s in config.seeds for e in config.epochs for a in arms.ARMS]
        assert list(results["scores"]) == names
        assert all(set(scores) == set(arms.SCORES) for scores in results["scores"].values())
        assert results["config"] == json.loads(json.dumps(asdict(config)))

    @pytest.mark.slow
    def test_one_entry_comes_out_again(self):
        # Another processor or version of torch rounds otherwise, and training amplifies it.
        images, results = load_images("shapes"), arms.shipped()
        run = pretrain(arms.settings(arms.Arms(), "crop only", 5, 0), images, progress=False)
        again, stored = arms.measure(run, images), results["scores"][arms.key("crop only", 5, 0)]
        assert again == pytest.approx(stored, abs=0.05)
