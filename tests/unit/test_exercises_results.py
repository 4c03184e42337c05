"""What the check of an exercise says of a result that is missing, of the wrong kind, or wrong."""

import warnings

import pytest
import torch
from answers.cell import attempt

from simclr_edu.course import exercises
from simclr_edu.course.exercises import EXERCISES, kit

A_STEP = """
z1, z2 = model(torch.cat(views))[1].chunk(2)
optimizer.zero_grad()
loss_fn(z1, z2).backward()
optimizer.step()
"""


@pytest.mark.parametrize("name", [n for n in EXERCISES if n != "freeze"])
def test_a_missing_return_is_said(name):
    verdict = EXERCISES[name].diagnose(attempt(name, "value = 1 + 1"))
    assert verdict.passed is False and "returned nothing (None)" in verdict.diagnosis


@pytest.mark.parametrize("name", [n for n in EXERCISES if n != "freeze"])
def test_a_print_in_place_of_a_return_is_said_and_capped(name, capsys):
    printing = attempt(name, "for k in range(300):\n    print('tensor', k)")
    verdict = EXERCISES[name].diagnose(printing)
    assert capsys.readouterr().out == ""
    assert verdict.passed is False and "It prints instead: return the result." in verdict.diagnosis
    getattr(exercises, f"check_{name}")(printing)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == repr(verdict) and " lines, the first 6:" in lines[1]
    assert lines[2:] == [f"    tensor {k}" for k in range(6)]


def test_a_few_printed_lines_stand_below_the_verdict(capsys):
    exercises.check_freeze(
        attempt("freeze", "encoder.requires_grad_(False)\nprint('frozen')\nencoder.eval()")
    )
    out = capsys.readouterr().out
    assert out.startswith("freeze: correct.")
    assert out.endswith("Your function printed this:\n    frozen\n    frozen\n")


@pytest.mark.parametrize("name", EXERCISES)
def test_a_warning_of_the_learners_code_does_not_spill(name, capsys):
    warned = attempt(name, "import warnings\nwarnings.warn('spilt')\ntorch.ones(2, 2, 2).T")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(exercises, f"check_{name}")(warned)
    assert not caught and capsys.readouterr().err == ""


@pytest.mark.parametrize("name", EXERCISES)
@pytest.mark.parametrize("thing", [None, 3.5, torch.ones(3)], ids=["None", "number", "tensor"])
def test_a_result_in_place_of_the_function_is_said(name, thing):
    verdict = EXERCISES[name].diagnose(thing)
    assert verdict.passed is False and "Pass the function itself" in verdict.diagnosis


@pytest.mark.parametrize("name", EXERCISES)
def test_wrong_arguments_are_said(name):
    verdict = EXERCISES[name].diagnose(lambda: 1)
    assert verdict.passed is False
    assert all(p in verdict.diagnosis for p in EXERCISES[name].parameters)


@pytest.mark.parametrize("name", [n for n in EXERCISES if n != "freeze"])
def test_a_wrong_type_is_a_sentence(name):
    verdict = EXERCISES[name].diagnose(attempt(name, "return 'text'"))
    assert verdict.passed is False
    assert "must return" in verdict.diagnosis and "a str" in verdict.diagnosis


@pytest.mark.parametrize(
    ("name", "body", "phrase"),
    [
        ("cosine_similarity_matrix", "return z[:1] @ z.T", "shape should be (2, 2), but is (1, 2)"),
        ("cosine_similarity_matrix", "return (z @ z.T).long()", "dtype should be floating point"),
        ("cosine_similarity_matrix", "return z @ z.T * torch.nan", "holds NaN"),
        ("positive_index", "return torch.arange(2 * n).roll(n).float()", "dtype should be torch.int64"),
        ("positive_index", "return torch.arange(2 * n).roll(n).int()", "dtype should be torch.int64"),
        ("positive_index", "return [0] * 2 * n", "must return one torch.Tensor, but it returned a list"),
        ("nt_xent", "return torch.zeros(3)", "shape should be (), but is (3,)"),
        (
            "nearest_neighbours",
            "return (queries @ gallery.T).topk(k)",
            "topk and sort give values and indices",
        ),
        ("learning_rate", "return torch.tensor(0.1)", "must return a plain float"),
        ("two_views", "return augment(x)", "must return two tensors, (v1, v2)"),
        ("two_views", "return augment(x), augment(x), augment(x)", "of length 3 whose entries are tensors"),
        ("two_views", "return []", "it returned a list of length 0."),
        ("label_subset", "return labels.tolist()", "list of"),
        ("learning_rate", "return float('nan')", "got nan"),
        ("train_step", f"{A_STEP}\nreturn float('nan')", "got nan"),
        ("train_step", "model(torch.cat(views))\nreturn 1j", "must return a plain float"),
        ("two_views", "return augment(x).int(), augment(x).int()", "not what augment returned"),
        ("two_views", "return augment(x), augment(x) * torch.nan", "not what augment returned"),
        ("nearest_neighbours", "return torch.empty(0)", "shape should be"),
        (
            "extract_features",
            "encoder.eval()\nreturn torch.full((len(images), 4), torch.nan)",
            "No image went through the encoder: row 0 is [nan",
        ),
        ("label_subset", "return torch.empty(0).long()", "subset is empty"),
        ("label_subset", "return torch.arange(len(labels)) + 5", "beyond the"),
        ("effective_rank", "return 1j", "must return one torch.Tensor, but it returned a complex"),
    ],
)
def test_a_wrong_result_is_described(name, body, phrase):
    verdict = EXERCISES[name].diagnose(attempt(name, body))
    assert verdict.passed is False and phrase in verdict.diagnosis, verdict


def test_an_unknown_mistake_gets_the_smallest_failing_case():
    wrong = attempt(
        "softmax_weights", "w = torch.softmax(similarities / temperature, 0)\nreturn w + 0.25 * w**2"
    )
    text = EXERCISES["softmax_weights"].diagnose(wrong).diagnosis
    assert text.startswith("The weights must add up to 1; yours add up to ")
    assert "Smallest failing case: similarities = [" in text and "temperature = " in text
    cases = len(EXERCISES["softmax_weights"].cases(0))
    assert "expected [" in text and ", got [" in text and f"({cases} of {cases} fail)" in text


def test_a_large_case_shows_the_first_entry_that_differs():
    wrong = attempt("grayscale", "return torch.zeros_like(x)")
    text = EXERCISES["grayscale"].diagnose(wrong).diagnosis
    assert "x (1, 3, " in text and "at [0, 0, 0, 0] expected " in text and ", got 0 " in text


def test_a_number_too_small_for_float32_is_shown_as_0():
    assert kit.show(8.442e-82) == "0" and kit.show(torch.tensor([1.0, 1e-60]).double()) == "[1, 0]"


def test_an_argument_read_by_an_inner_function_is_used():
    body = "def inner():\n    return temperature\nreturn (2 * similarities / inner()).softmax(0)"
    assert (
        "never uses" not in EXERCISES["softmax_weights"].diagnose(attempt("softmax_weights", body)).diagnosis
    )


BODIES_THAT_READ_NO_ARGUMENT = {
    "two_views": "return torch.full((2, 3, 2, 2), LEVEL), torch.full((2, 3, 2, 2), LEVEL)",
    "projection_head": "return nn.Linear(int(LEVEL), 2)",
    "learning_rate": "return LEVEL",
    "train_step": "return LEVEL",
    "extract_features": "return torch.full((3, 4), LEVEL)",
    "label_subset": "return torch.arange(int(LEVEL))",
}


@pytest.mark.parametrize("name", [n for n in EXERCISES if n != "freeze"])  # a stub of it returns nothing too
def test_an_argument_that_gave_way_to_a_global_is_said_without_source(name):
    body = BODIES_THAT_READ_NO_ARGUMENT.get(name, "return torch.full((3, 3, 3), LEVEL)")
    wrong = attempt(name, body, with_source=False)
    wrong.__globals__["LEVEL"] = 3.0
    verdict = EXERCISES[name].diagnose(wrong)
    unused = (
        f"{'s' if len(EXERCISES[name].parameters) > 1 else ''} {' and '.join(EXERCISES[name].parameters)}"
    )
    assert verdict.passed is False
    assert f"never uses its argument{unused}; it reads LEVEL from outside" in verdict.diagnosis, verdict


def test_randomness_in_a_deterministic_exercise_is_said():
    wrong = attempt("softmax_weights", "return torch.softmax(torch.randn(len(similarities)), 0)")
    assert "draw nothing random" in EXERCISES["softmax_weights"].diagnose(wrong).diagnosis


def test_a_message_never_holds_the_word_that_means_success():
    wrong = attempt("softmax_weights", "return similarities")
    assert "correct" not in repr(EXERCISES["softmax_weights"].diagnose(wrong))


def test_two_mistakes_at_once_are_both_named():
    body = """
        z = torch.cat([z1, z2])
        return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)).roll(len(z1)))
    """
    text = EXERCISES["nt_xent"].diagnose(attempt("nt_xent", body)).diagnosis
    assert (
        "Two mistakes at once" in text and "diagonal is not masked" in text and "no l2-normalisation" in text
    )
