"""The check of an exercise tells a stub from an attempt."""

import pytest
from answers.cell import attempt
from torch import nn

from simclr_edu.course import exercises
from simclr_edu.course.exercises import EXERCISES

STUBS = {
    "dots": "...",
    "pass": "pass",
    "documented": '"""What to do."""\n...',
    "commented": '"""What to do."""\n# your code here\npass',
    "raises": "raise NotImplementedError",
    "says": "raise NotImplementedError('write me')",
    "returns dots": "return ...",
}


@pytest.mark.parametrize("with_source", [True, False], ids=["source", "no-source"])
@pytest.mark.parametrize("body", STUBS.values(), ids=STUBS.keys())
@pytest.mark.parametrize("name", EXERCISES)
def test_a_stub_is_not_attempted(name, body, with_source, capsys):
    stub = attempt(name, body, with_source=with_source)
    assert EXERCISES[name].diagnose(stub).passed is None
    getattr(exercises, f"check_{name}")(stub)
    assert capsys.readouterr().out == f"{name}: not attempted yet.\n"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("nt_xent", "z = torch.cat([z1, z2])  # (2N, d)\n..."),
        ("nt_xent", "z = torch.cat([z1, z2])\nlogits = ...\nreturn F.cross_entropy(logits, logits)"),
        ("nt_xent", "similarity = ...\nlogits = similarity / temperature\nreturn logits"),
        ("train_step", "h, z = model(torch.cat(views))\n..."),
        ("train_step", "h, z = model(torch.cat(views))\nraise NotImplementedError"),
        ("freeze", "for p in encoder.parameters():\n    ..."),
        ("extract_features", "features = []\n...\nreturn torch.cat(...)"),
        ("projection_head", "first = nn.Linear(in_dim, hidden_dim)\n..."),
        ("two_views", "v1 = ...\nv2 = ...\nreturn v1, v2"),
    ],
)
def test_a_stub_with_given_lines_is_not_attempted(name, body):
    verdict = EXERCISES[name].diagnose(attempt(name, body))
    assert verdict.passed is None, verdict


def test_a_class_with_an_empty_forward_is_not_attempted():
    class Head(nn.Module):
        def __init__(self, in_dim, hidden_dim, out_dim):
            super().__init__()

        def forward(self, h):
            """To be written."""
            ...

    assert EXERCISES["projection_head"].diagnose(Head).passed is None


@pytest.mark.parametrize(
    "line", ["raise NotImplementedError", "raise NotImplementedError('write me')", "return ..."]
)
@pytest.mark.parametrize("name", EXERCISES)
def test_code_below_the_stubs_last_line_is_no_stub(name, line):
    first = EXERCISES[name].parameters[0]
    verdict = EXERCISES[name].diagnose(attempt(name, f"value = 1\n{line}\nreturn {first}"))
    assert verdict.passed is False
    assert f"below the stub's `{line}`" in verdict.diagnosis and "remove that line" in verdict.diagnosis
    in_branch = attempt(name, f"if True:\n    {line}\n    {first} = 2\nreturn {first}")
    assert EXERCISES[name].diagnose(in_branch).passed is False


@pytest.mark.parametrize("name", [n for n in EXERCISES if n != "freeze"])
def test_dots_above_the_code_make_no_stub(name):
    verdict = EXERCISES[name].diagnose(attempt(name, "...\nvalue = 1"))
    assert verdict.passed is False and "returned nothing" in verdict.diagnosis


def test_an_answer_that_kept_the_dots_above_is_correct():
    assert (
        EXERCISES["positive_index"]
        .diagnose(attempt("positive_index", "...\nreturn (torch.arange(2 * n) + n) % (2 * n)"))
        .passed
    )


def test_a_wrong_attempt_that_kept_the_dots_is_still_diagnosed():
    wrong = attempt("cosine_similarity_matrix", "return z @ z.T\n...")
    assert "dot products" in EXERCISES["cosine_similarity_matrix"].diagnose(wrong).diagnosis


def test_an_ellipsis_in_an_index_is_no_blank():
    wrong = attempt("cosine_similarity_matrix", "z = z[..., :]")
    verdict = EXERCISES["cosine_similarity_matrix"].diagnose(wrong)
    assert verdict.passed is False and "returned nothing" in verdict.diagnosis
