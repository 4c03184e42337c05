"""The few-label comparison: what it computes, that it is fair, and that a killed one goes on."""

import json
import os
import signal
import statistics
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch

from simclr_edu import evaluate
from simclr_edu.course.evidence import comparison, few_labels
from simclr_edu.data import load_images
from simclr_edu.encoders import make_encoder
from simclr_edu.pretrain import SHIPPED, PretrainConfig, load_run

# `digits` is bundled and small: a comparison in seconds.
SMALL = few_labels.FewLabels(
    pretraining=PretrainConfig(data="digits", epochs=1, device="cpu"),
    seeds=(0, 3),
    draws=2,
    budgets=(2, 0),
    tuned=few_labels.Training(steps=2, steps_all=3, lr=1e-3, head="probe", batch_norm="frozen"),
    scratch=few_labels.Training(steps=3, steps_all=4, lr=1e-3),
    light=few_labels.Training(steps=2, steps_all=2, lr=1e-3, light=True),
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    lines = []
    return folder, few_labels.run_few_labels(SMALL, folder, workers=2, report=lines.append), lines


@pytest.mark.slow
@pytest.mark.xdist_group("evidence")
class TestRun:
    def test_every_part_is_there_once_and_on_disk(self, done):
        folder, results, lines = done
        keys = [part.key for part in few_labels.parts(SMALL)]
        # budgets, draws, and two methods without and two with a pretraining seed
        assert len(set(keys)) == len(keys) == 2 * 2 * (2 + 2 * 2)
        assert set(results["accuracy"]) == set(keys)
        assert json.loads((folder / few_labels.RESULTS).read_text()) == results
        assert sum(line.startswith("pretraining seed") for line in lines) == 2 and len(lines) == len(keys) + 2

    def test_a_part_is_what_the_package_computes_by_hand(self, done):
        folder, results, _ = done
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            images, share = load_images("digits"), 2 * 10 / len(load_images("digits").train_labels)
            encoder = load_run(folder / "pretraining-3").encoder
            probe = evaluate.linear_probe(encoder, images, fraction=share, seed=1)
            assert results["accuracy"][few_labels.Part(few_labels.PROBE, 2, 1, 3).key] == probe.accuracy
            torch.manual_seed(1)
            plain = evaluate.fine_tune(
                make_encoder("tiny"),
                images,
                fraction=share,
                lr=1e-3,
                seed=1,
                augment=SMALL.pretraining.augmentation(32),  # the one that SimCLR had
                batch_size=64,
                val_fraction=0.0,
                steps=3,
            )
            assert plain.n_labels == probe.n_labels == 20
            assert results["accuracy"][few_labels.Part(few_labels.SCRATCH, 2, 1, None).key] == plain.accuracy
        finally:
            torch.set_num_threads(threads)

    def test_a_second_run_computes_nothing(self, done):
        folder, results, _ = done
        lines = []
        assert few_labels.run_few_labels(SMALL, folder, workers=1, report=lines.append) == results
        assert lines == []

    def test_a_missing_part_is_computed_again_to_the_same_value(self, done, tmp_path):
        folder, results, _ = done
        key = few_labels.Part(few_labels.TUNED, 0, 1, 0).key
        left = {**results, "accuracy": {k: v for k, v in results["accuracy"].items() if k != key}}
        os.symlink(folder / "pretraining-0", tmp_path / "pretraining-0")
        comparison.write_results(tmp_path / few_labels.RESULTS, left)
        assert few_labels.run_few_labels(SMALL, tmp_path, workers=1)["accuracy"] == results["accuracy"]

    def test_other_settings_and_foreign_files_are_refused(self, done, tmp_path):
        folder, _, _ = done
        with pytest.raises(ValueError, match=r"other settings \(draws\)"):
            few_labels.run_few_labels(replace(SMALL, draws=3), folder)
        (tmp_path / few_labels.RESULTS).write_text("[]")
        with pytest.raises(ValueError, match="not a results file"):
            few_labels.run_few_labels(SMALL, tmp_path)
        assert (tmp_path / few_labels.RESULTS).read_text() == "[]"

    def test_the_table_has_a_line_a_budget(self, done):
        lines = few_labels.table(done[1]).splitlines()
        assert len(lines) == 3 and lines[1].split()[0] == "2" and lines[2].split()[0] == "all"
        assert all(method in lines[0] for method in few_labels.METHODS)


def results_of(accuracy):
    config = few_labels.FewLabels(seeds=(0, 1), draws=2, budgets=(5,))
    values = {part.key: accuracy(part) for part in few_labels.parts(config)}
    return {"config": {"seeds": [0, 1], "draws": 2, "budgets": [5]}, "accuracy": values}


def test_the_summary_pairs_the_draws():
    # The draws differ by .2 for both sides; the lead is .3 and .4, whatever the draw.
    base = {
        few_labels.PROBE: (0.6, 0.9),
        few_labels.SCRATCH: (0.3, 0.5),
        few_labels.TUNED: (0.5, 0.5),
        few_labels.LIGHT: (0.1, 0.1),
    }
    row = few_labels.summary(results_of(lambda p: base[p.method][p.draw] + (0.02 if p.seed else 0.0)))[0]
    assert row["labels"] == 5
    assert row[few_labels.PROBE]["mean"] == pytest.approx(0.76)  # the mean over the seeds is .01 higher
    assert row[few_labels.PROBE]["std"] == pytest.approx(statistics.stdev([0.61, 0.91]))
    assert row["lead"] == pytest.approx(0.36)
    assert row["lead_error"] == pytest.approx(statistics.stdev([0.31, 0.41]) / 2**0.5)


def test_the_lead_of_each_pretraining_seed_is_its_own():
    results = results_of(
        lambda p: (
            {few_labels.PROBE: 0.6, few_labels.SCRATCH: 0.3}.get(p.method, 0.5)
            + (0.1 if p.seed else 0.0)
            + 0.05 * p.draw
        )
    )
    labels, seeds = results["config"]["budgets"][0], results["config"]["seeds"]
    expected = [0.4 if seed else 0.3 for seed in seeds]
    assert few_labels.lead_by_seed(results, labels) == pytest.approx(expected)
    with pytest.raises(ValueError, match="labels must be one of"):
        few_labels.lead_by_seed(results, 7)


def test_the_default_comparison_is_the_one_that_is_promised():
    config = few_labels.FewLabels()
    assert len(config.seeds) == 3 and config.draws == 5 and config.budgets == (1, 2, 5, 10, 50, 0)
    assert not config.scratch.light and not config.tuned.light and config.light.light


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"draws": 0}, ValueError, "draws"),
        ({"seeds": ()}, ValueError, "seeds and budgets"),
        ({"budgets": (-1,)}, ValueError, "each of budgets"),
        ({"seeds": (0.5,)}, TypeError, "each of seeds"),
    ],
)
def test_bad_settings_are_refused(changes, error, words):
    with pytest.raises(error, match=words):
        replace(SMALL, **changes)


def test_a_dictionary_is_no_configuration(tmp_path):
    with pytest.raises(TypeError, match="FewLabels, got dict"):
        few_labels.run_few_labels({}, tmp_path)


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Other processors round otherwise: 400 steps may end a little elsewhere, a probe hardly.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "tolerance"),
    [
        (few_labels.Part(few_labels.LIGHT, 1, 0, None), 0.02),
        (few_labels.Part(few_labels.PROBE, 10, 0, 0), 0.005),
    ],
    ids=lambda value: getattr(value, "key", ""),
)
def test_the_shipped_results_can_be_computed_again(part, tolerance, tmp_path, one_thread):
    results = few_labels.shipped()
    config = few_labels.FewLabels()
    assert results["config"] == json.loads(json.dumps(asdict(config)))
    assert set(results["accuracy"]) == {p.key for p in few_labels.parts(config)}
    os.symlink(SHIPPED, tmp_path / "pretraining-0")  # the shipped encoder is that of seed 0
    found = few_labels._measure(config, part, tmp_path)
    assert found == pytest.approx(results["accuracy"][part.key], abs=tolerance)


KILLED = """
import sys
from dataclasses import replace
sys.path.insert(0, {tests!r})
from test_evidence import SMALL
from simclr_edu.course.evidence import few_labels
if __name__ == "__main__":
    few_labels.run_few_labels(SMALL, {folder!r}, workers=1, report=lambda line: print(line, flush=True))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
@pytest.mark.xdist_group("evidence")
def test_a_killed_run_leaves_no_worker_and_goes_on(done, tmp_path):
    _, results, _ = done
    script, folder = tmp_path / "script.py", tmp_path / "run"
    script.write_text(KILLED.format(tests=os.path.dirname(__file__), folder=str(folder)))
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:  # killed after its second part, whichever that is
        if line.startswith("2/"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = json.loads((folder / few_labels.RESULTS).read_text())["accuracy"]
    assert 2 <= len(kept) < len(results["accuracy"])
    # The worker holds the other end of the pipe: this returns when the last of them has ended.
    assert "24/24" not in process.stdout.read()
    assert few_labels.run_few_labels(SMALL, folder, workers=2)["accuracy"] == results["accuracy"]
