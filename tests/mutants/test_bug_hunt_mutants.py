"""Each program of the bug hunt gets its own diagnosis, so do other wrong repairs, and right ones pass."""

import copy
import re

import nbtools
import pytest
import torch
import torch.nn.functional as F

from simclr_edu import losses
from simclr_edu.course import exercises
from simclr_edu.course.exercises import bug_hunt
from simclr_edu.course.exercises.bug_hunt import BUGS, diagnose_bug_hunt
from simclr_edu.course.exercises.nt_xent import loss_mistakes
from simclr_edu.evaluate import embed

SEEDS = (0, 1, 11)
# What the check says to the program handed in unchanged: words that no other of the ten diagnoses holds.
DIAGNOSES = {
    1: "the target column was not shifted",
    2: "diagonal is not masked",
    3: "over the batch (dim 0)",
    4: "exp() overflows",
    5: "is a size fixed in your code?",
    6: "takes no notice of an attribute",
    7: "The rank is missing",
    8: "One coin decides for the whole batch",
    9: "ran in train mode",
    10: "Only the weights are restored",
}


@pytest.fixture(scope="module")
def programs():
    """The ten programs and the stubs, as the notebook's cells define them."""
    cells = nbtools.read_notebook(nbtools.NOTEBOOKS / "10_interview.ipynb").cells
    namespace = {"torch": torch, "F": F, "nn": torch.nn, "SEED": 0, "print": lambda *_: None}
    exec("from simclr_edu.encoders import make_encoder", namespace)
    for cell in cells:
        if "exercise" in cell.metadata.get("tags", []):
            exec(cell.source, namespace)
    return namespace


@pytest.mark.parametrize("number", BUGS)
def test_a_program_handed_in_unchanged_gets_its_own_diagnosis(programs, number):
    for seed in SEEDS:
        verdict = diagnose_bug_hunt(number, programs[f"buggy_{number}"], seed)
        assert verdict.passed is False, verdict
        assert [n for n, words in DIAGNOSES.items() if words in verdict.diagnosis] == [number], verdict
        assert verdict.exercise.startswith(f"bug {number},")


@pytest.mark.parametrize("number", BUGS)
def test_the_stub_is_not_attempted(programs, number, capsys):
    exercises.check_bug_hunt(number, programs[f"fixed_{number}"])
    assert re.fullmatch(rf"bug {number}, [\w ]+: not attempted yet\.\n", capsys.readouterr().out)


@pytest.mark.parametrize("number", BUGS)
def test_every_program_prints_its_symptom(number):
    cells = nbtools.read_notebook(nbtools.NOTEBOOKS / "10_interview.ipynb").cells
    (cell,) = (c for c in cells if f"def buggy_{number}(" in c.source)
    printed = "".join(o.get("text", "") for o in cell.outputs)
    symptom = {
        1: r"loss 4\.\d+",
        2: r"0\.6931\n",
        3: r"1\.59",
        4: "nan",
        5: "batch of 3: The size",
        6: r"frozen weights: 0\.0*[1-9]",
        7: "rank 0: .* 1\nrank 1: .* 0",
        8: r"\[(8|0)(, (8|0)){9}\]",
        9: r"themselves: 0\.\d+",
        10: r"weights: 0\.[0-9]*[1-9]",
    }
    assert re.search(symptom[number], printed), printed


# --- other wrong repairs ------------------------------------------------------------------------------------


def anchor(s, t):
    return F.cross_entropy(s[None] / t, torch.tensor([0]))


def zero_filled(z1, z2, temperature):
    n = max(0, 8 - len(z1))
    z1, z2 = (F.pad(z, (0, 0, 0, n)) for z in (z1, z2))
    return losses.nt_xent_dense(z1, z2, temperature)


def without_gradient(module):
    for p in module.parameters():
        p.requires_grad = False


def columns(first, second):
    return lambda n, r, k: torch.cat([torch.arange(n) + first(n, r, k), torch.arange(n) + second(n, r, k)])


def coin(x, share, dim=-1, generator=None):
    return torch.where((torch.rand(len(x), generator=generator) < share)[:, None, None, None], x.flip(dim), x)


def load(*names):
    def f(checkpoint, model, optimizer, generator):
        for name, part in (("model", model), ("optimizer", optimizer)):
            if name in names:
                part.load_state_dict(checkpoint[name])
        if "generator" in names:
            generator.set_state(checkpoint["generator"])

    return f


WRONG = [
    (
        1,
        "diagonal is not masked",
        lambda a, b, t: loss_mistakes.loss_with(diagonal="kept")(a, b, t),
    ),
    (
        2,
        "masked with 0",
        lambda a, b, t: loss_mistakes.loss_with(diagonal="zero")(a, b, t),
    ),
    (3, "dot products", lambda z: z @ z.T),
    (4, "cut off at a limit", lambda s, t: -((p := (s / t).clamp(max=80).exp())[0] / p.sum()).log()),
    (4, "replaced by a number", lambda s, t: bug_hunt.overflow._naive(s, t).nan_to_num(0.0)),
    (4, "not from the positive's", lambda s, t: (s / t - (s / t).max()).exp().sum().log() - s[0] / t),
    (4, "temperature is ignored", lambda s, t: anchor(s, 1.0)),
    (4, "sign is wrong", lambda s, t: -anchor(s, t)),
    (5, "filled up with zeros", zero_filled),
    (6, "still in train mode", without_gradient),
    (6, "still require gradients", lambda e: e.eval() and None),
    (6, "A copy was frozen", lambda e: copy.deepcopy(e).eval().requires_grad_(False)),
    (6, "Only a part", lambda e: next(e.eval().children()).requires_grad_(False) and None),
    (7, "not gathered", columns(lambda n, r, k: n, lambda n, r, k: 0)),
    (7, "points at itself", columns(lambda n, r, k: r * n, lambda n, r, k: n * k + r * n)),
    (7, "one of the two views", columns(lambda n, r, k: n * k + r * n, lambda n, r, k: 0)),
    (7, "r * 2n", columns(lambda n, r, k: n * k + 2 * r * n, lambda n, r, k: 2 * r * n)),
    (7, "rank itself", columns(lambda n, r, k: n * k + r, lambda n, r, k: r)),
    (8, "No picture", lambda x, generator: x.clone()),
    (8, "Every picture", lambda x, generator: x.flip(-1)),
    (8, "upside down", lambda x, generator: coin(x, 0.5, -2, generator)),
    (8, "global random state", lambda x, generator: coin(x, 0.5)),
    (8, "about half", lambda x, generator: coin(x, 0.9, generator=generator)),
    (8, "neither itself", lambda x, generator: x + 1),
    (8, "Nothing is drawn", lambda x, generator: torch.cat([x[:4], x[4:].flip(-1)])),
    (8, "in place", lambda x, generator: x.mul_(0)),
    (9, "graph", lambda e, x, b: torch.cat([e.eval()(p.float() / 255) for p in x.split(b)])),
    (10, "random generator is not restored", load("model", "optimizer")),
    (10, "momentum starts from zero", load("model", "generator")),
    (10, "weights are not restored", load("optimizer", "generator")),
    (10, "Nothing was restored", load()),
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("number", "phrase", "function"), WRONG, ids=[f"{n}-{phrase.replace(' ', '_')}" for n, phrase, _ in WRONG]
)
def test_a_wrong_repair_gets_its_own_diagnosis(number, phrase, function, seed):
    verdict = diagnose_bug_hunt(number, function, seed)
    assert verdict.passed is False and phrase in verdict.diagnosis, verdict


# --- right repairs in another style than the folded Solutions -----------------------------------------------


def masked(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, (torch.arange(len(z)) + len(z1)) % len(z))


def noise_coin(x, generator):
    out = x.clone()
    rows = torch.randint(0, 2, (len(x),), generator=generator).bool()
    out[rows] = out[rows].flip(3)
    return out


RIGHT = [
    (1, masked),
    (2, losses.nt_xent_loop),
    (3, lambda z: (z @ z.T) / (z.norm(dim=1)[:, None] * z.norm(dim=1)[None])),
    (4, anchor),
    (4, lambda s, t: -(s / t).log_softmax(0)[0]),
    (5, losses.nt_xent),
    (6, lambda encoder: encoder.requires_grad_(False).eval()),
    (6, lambda encoder: without_gradient(encoder.eval())),
    (7, lambda n, r, k: (torch.arange(2 * k * n).roll(k * n).view(2, k, n)[:, r]).flatten()),
    (8, noise_coin),
    (9, lambda encoder, images, batch_size: embed(encoder.eval(), images, batch_size)),
    (10, load("generator", "optimizer", "model")),
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("number", "function"), RIGHT, ids=[f"{n}-{i}" for i, (n, _) in enumerate(RIGHT)])
def test_a_right_repair_passes(number, function, seed):
    verdict = diagnose_bug_hunt(number, function, seed)
    assert verdict.passed is True, verdict


def test_the_reference_of_bug_10_is_a_run_that_was_never_stopped():
    for seed in SEEDS:
        model, optimizer, rng = bug_hunt.resuming._start(seed)
        bug_hunt.resuming._train(model, optimizer, rng, 8)
        whole = torch.cat([p.detach().flatten() for p in model.parameters()])
        resumed = bug_hunt.resuming._resumed(load("model", "optimizer", "generator"), (seed,))
        assert torch.equal(whole, resumed)


@pytest.mark.parametrize("number", [0, 11, "one", None])
def test_a_number_without_a_bug_is_said(number, capsys):
    exercises.check_bug_hunt(number, masked)
    assert "There are bugs 1 to 10" in capsys.readouterr().out


def test_checking_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    for number in BUGS:
        diagnose_bug_hunt(number, lambda *_: None)
    assert torch.equal(before, torch.get_rng_state())
