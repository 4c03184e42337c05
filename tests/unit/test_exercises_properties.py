"""What a check says of values that fit no known mistake: a property that they lack, a relation."""

import pytest
import torch
from answers import RIGHT
from answers.cell import attempt

from simclr_edu.course.exercises import EXERCISES, kit
from simclr_edu.course.exercises.kit import relations

SEEDS = (0, 1, 11)
WITH_PROPERTIES = {
    name: e for name, e in EXERCISES.items() if isinstance(e, kit.ComparedExercise) and e.properties
}


@pytest.mark.parametrize("name", WITH_PROPERTIES)
def test_right_answers_and_the_oracle_have_every_property(name):
    exercise = WITH_PROPERTIES[name]
    for answer in [*RIGHT[name], *exercise.oracles]:
        assert [lacks(answer) for lacks in exercise.properties] == [None] * len(exercise.properties)


@pytest.mark.parametrize(
    ("name", "body", "phrase"),
    [
        (
            "cosine_similarity_matrix",
            "return (F.normalize(z) @ F.normalize(z).T).abs()",
            "have cosine -1; yours",
        ),
        (
            "cosine_similarity_matrix",
            "return (F.normalize(z) @ F.normalize(z).T + 1) / 2",
            "have cosine 0; yours",
        ),
        (
            "cosine_similarity_matrix",
            "return (F.normalize(z) @ F.normalize(z).T).triu()",
            "below the diagonal",
        ),
        ("stable_logsumexp", "m = x.amax(1)\nreturn m - (x - m[:, None]).exp().sum(1).log()", "give ln 4"),
        ("stable_logsumexp", "return x.clamp(-80, 80).exp().sum(1).log()", "Logits of -500"),
        ("stable_logsumexp", "return x.double().exp().sum(1).log().float()", "Four logits of 1000"),
        (
            "softmax_weights",
            "return (similarities / temperature**2).softmax(0)",
            "what temperature 0.16 gives",
        ),
        ("softmax_weights", "return (similarities / temperature).softmax(0).flip(0)", "in another order"),
        ("softmax_weights", "return (similarities.abs() / temperature).softmax(0)", "One number added"),
        (
            "softmax_weights",
            "return (similarities / temperature).sigmoid()",
            "must add up to 1; yours add up to",
        ),
        (
            "gradient_share",
            "return ((similarities[1:] - similarities[0]) / temperature).sigmoid()",
            "on the positive",
        ),
        ("uniformity", "return (-t * torch.pdist(z, p=1) ** 2).exp().mean().log()", "at a right angle"),
        ("uniformity", "return (-t * torch.pdist(z) ** 2).exp().median().log()", "Two equal rows and one"),
        ("effective_rank", "s = torch.linalg.svdvals(x)\nreturn s.sum() / s.max()", "in the ratio 3 to 1"),
        (
            "effective_rank",
            "return (torch.linalg.svdvals(x) > 0.1).sum().float()",
            "the scale does not count",
        ),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_lacking_property_is_named(name, body, phrase, seed):
    verdict = EXERCISES[name].diagnose(attempt(name, body), seed)
    assert verdict.passed is False and phrase in verdict.diagnosis, verdict
    assert "Smallest failing case: " in verdict.diagnosis


LOSS = """
z = F.normalize(torch.cat([z1, z2]), dim=1)
logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
target = torch.arange(len(z)).roll(len(z1))
"""


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        (LOSS + "return F.cross_entropy(logits, target) * temperature", "That is 0.5 times as much"),
        (
            LOSS + "return F.cross_entropy(logits, target, reduction='none').max()",
            "That is the largest of the 2N",
        ),
        (
            LOSS.replace("/ temperature", "/ temperature**2") + "return F.cross_entropy(logits, target)",
            "at temperature 0.7 it is that of 0.49",
        ),
        (LOSS.replace("dim=1", "dim=1, p=1") + "return F.cross_entropy(logits, target)", "turned together"),
        (LOSS + "return F.cross_entropy(logits, target) + z1.norm()", "changes with the length"),
        (LOSS + "return F.cross_entropy(logits[1:], target[1:])", "put in another order"),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_property_that_the_loss_lacks_is_named(body, phrase, seed):
    verdict = EXERCISES["nt_xent"].diagnose(attempt("nt_xent", body), seed)
    assert verdict.passed is False and phrase in verdict.diagnosis, verdict


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        (
            "k = step < warmup_steps\nreturn base_lr * (step / warmup_steps) ** 2 if k else DECAY",
            "The warm-up (steps 0",
        ),
        (
            "return base_lr * step / warmup_steps if step < warmup_steps else base_lr * 0.3",
            "The decay (from step",
        ),
    ],
)
def test_the_wrong_part_of_a_schedule_is_named(body, phrase):
    decay = "base_lr * (1 + torch.cos(torch.tensor(3.141592653589793 * (step - warmup_steps) / "
    decay += "(total_steps - warmup_steps)).double()).item()) / 2"
    verdict = EXERCISES["learning_rate"].diagnose(attempt("learning_rate", body.replace("DECAY", decay)))
    assert phrase in verdict.diagnosis and "The other part is right." in verdict.diagnosis, verdict


def test_the_neighbour_that_stands_in_anothers_place_is_named():
    body = "c = F.normalize(queries) @ F.normalize(gallery).T\nreturn c.square().topk(k).indices"
    text = EXERCISES["nearest_neighbours"].diagnose(attempt("nearest_neighbours", body)).diagnosis
    assert "For query 1 stands row " in text and " belongs there, at cosine " in text


PAIR = torch.tensor([[1.0, 2.0], [3.0, 5.0]])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: -w, "The sign is wrong: every value is minus what it should be, in every case."),
        (lambda w: 2.5 * w, "Every value is 2.5 times what it should be, in every case."),
        (lambda w: w - 0.5, "Every value is 0.5 too small, in every case."),
        (lambda w: w.exp(), "That is the exponential of what it should be."),
        (lambda w: w.log(), "That is the logarithm of what it should be."),
        (lambda w: w.T, "The result is transposed: rows and columns have changed places."),
        (lambda w: w.flip(0), "The right values stand in reversed order along dimension 0."),
        (lambda w: w.roll(1, 0).roll(1, 1).T, "All the right values are there, but in other places."),
        (lambda w: torch.full_like(w, float(w.sum())), "All entries of the result are equal."),
        (lambda w: PAIR * 7 + PAIR**3, "The result is the same in every case, whatever goes in."),
        (lambda w: w + torch.tensor([[0.0, 1.0], [0.3, 0.0]]) * w**2, None),
    ],
)
def test_a_simple_relation_is_seen(change, said):
    wanted = [PAIR, PAIR.square() + 0.3]
    assert relations.related([(change(w), w) for w in wanted], all_of_them=True) == said


def test_a_factor_that_changes_from_case_to_case_is_shown():
    said = relations.related([(2 * PAIR, PAIR), (3 * PAIR, PAIR)], all_of_them=True)
    assert said is not None and "changes from case to case: 2, 3, ..." in said


def test_one_number_is_no_relation():
    assert relations.related([(torch.tensor(3.0), torch.tensor(2.0))], all_of_them=True) is None


def test_what_tells_right_cases_from_wrong_ones_is_said():
    cases = [(torch.ones(n), t) for n, t in ((2, 0.1), (3, 0.9), (4, 0.2))]
    said = relations.where_right(["x", "temperature"], cases, [True, False, True])
    assert said == " It is right where temperature is at most 0.2, wrong from 0.9 on."
    assert relations.where_right(["x", "temperature"], cases, [False, False, True]) == (
        " It is right where the length of x is at least 4, wrong up to 3."
    )
    assert relations.where_right(["x", "temperature"], cases, [True, True, True]) == ""
