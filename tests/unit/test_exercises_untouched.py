"""A check leaves everything as it was, and finds what the learner's function changed or cut off."""

import random

import numpy as np
import pytest
import torch
from answers import RIGHT
from answers.cell import attempt

from simclr_edu.course import exercises
from simclr_edu.course.exercises import EXERCISES


@pytest.mark.parametrize("name", EXERCISES)
def test_random_states_and_modes_are_as_before(name, capsys):
    def noisy(*arguments):
        torch.manual_seed(7)
        torch.rand(3)
        np.random.seed(7)  # noqa: NPY002
        np.random.rand(2)  # noqa: NPY002
        random.seed(7)
        return RIGHT[name][0](*arguments)

    torch.manual_seed(123)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads = torch.get_num_threads()
    check = getattr(exercises, f"check_{name}")
    with torch.no_grad():
        check(RIGHT[name][0])
        check(noisy)
        check(attempt(name, "torch.rand(2)\nraise ValueError"))
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert capsys.readouterr().out.startswith(f"{name}: correct")


@pytest.mark.parametrize("name", EXERCISES)
def test_the_same_seed_gives_the_same_verdict(name):
    wrong = attempt(name, "return torch.zeros(2)" if name != "freeze" else "encoder.eval()")
    assert repr(EXERCISES[name].diagnose(wrong, 5)) == repr(EXERCISES[name].diagnose(wrong, 5))


@pytest.mark.parametrize(
    ("name", "body", "argument"),
    [
        ("horizontal_flip", "x[coin] = x[coin].flip(3)\nreturn x", "x"),
        (
            "horizontal_flip",
            "out = torch.where(coin[:, None, None, None], x.flip(3), x)\ncoin[:] = 0\nreturn out",
            "coin",
        ),
        ("grayscale", "x[:] = 0\nreturn x", "x"),
        ("two_views", "x += 1\nreturn augment(x), augment(x)", "x"),
        ("cosine_similarity_matrix", "z /= z.norm(dim=1, keepdim=True)\nreturn z @ z.T", "z"),
        ("nt_xent", "z1.div_(z1.norm(dim=1, keepdim=True))\nreturn z1.sum()", "z1"),
        ("stable_logsumexp", "x -= 1\nreturn torch.logsumexp(x, 1) + 1", "x"),
        ("softmax_weights", "similarities /= temperature\nreturn similarities.softmax(0)", "similarities"),
        ("gradient_share", "return similarities.div_(temperature).softmax(0)", "similarities"),
        ("uniformity", "z *= 1.5\nreturn torch.pdist(z / 1.5).pow(2).mul(-t).exp().mean().log()", "z"),
        ("train_step", "views[0].add_(1)\nreturn 0.5", "views"),
        (
            "nearest_neighbours",
            "gallery /= gallery.norm(dim=1, keepdim=True)\nreturn (queries @ gallery.T).topk(k).indices",
            "gallery",
        ),
        ("effective_rank", "x -= 1\nreturn x.sum()", "x"),
        (
            "order_by_class",
            "out = labels.argsort(stable=True)\nlabels.copy_(labels[out])\nreturn out",
            "labels",
        ),
        ("extract_features", "images //= 2\nencoder.eval()\nreturn encoder(images / 255).detach()", "images"),
        ("label_subset", "labels[:] = 0\nreturn labels", "labels"),
    ],
)
def test_an_input_modified_in_place_is_found(name, body, argument):
    verdict = EXERCISES[name].diagnose(attempt(name, body))
    assert verdict.passed is False
    assert f"changed its input {argument} in place" in verdict.diagnosis, verdict
