"""What the check of an exercise says when the learner's function raises."""

import pytest
from answers.cell import attempt

from simclr_edu.course.exercises import EXERCISES


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exception_shows_the_learners_line(name):
    first = EXERCISES[name].parameters[0]
    wrong = attempt(name, f"value = 1\nboom = {first}.no_such_name(value)\nreturn boom")
    verdict = EXERCISES[name].diagnose(wrong)
    assert verdict.passed is False
    assert "line 3 of attempt" in verdict.diagnosis
    assert f"boom = {first}.no_such_name(value)" in verdict.diagnosis
    assert "AttributeError" in verdict.diagnosis and "Traceback" not in verdict.diagnosis


def test_an_exception_inside_torch_still_shows_the_learners_line():
    wrong = attempt("cosine_similarity_matrix", "z = F.normalize(z, dim=1)\nreturn z @ z")
    text = EXERCISES["cosine_similarity_matrix"].diagnose(wrong).diagnosis
    assert "line 3 of attempt" in text and "return z @ z" in text and "RuntimeError" in text


def test_an_exception_in_a_helper_of_the_learner_shows_the_helper():
    def helper(z):
        return z.undefined

    def attempt(z):
        return helper(z)

    text = EXERCISES["cosine_similarity_matrix"].diagnose(attempt).diagnosis
    assert "line 2 of helper" in text and "return z.undefined" in text


def test_an_exception_without_source_still_gives_the_line_number():
    wrong = attempt("uniformity", "x = 1\nreturn 1 / 0", with_source=False)
    text = EXERCISES["uniformity"].diagnose(wrong).diagnosis
    assert "line 3 of attempt" in text and "ZeroDivisionError" in text


def test_an_exception_in_the_model_given_shows_the_learners_call():
    wrong = attempt("train_step", "return model(views)")
    text = EXERCISES["train_step"].diagnose(wrong).diagnosis
    assert "line 2 of attempt" in text and "return model(views)" in text


def test_not_implemented_by_torch_is_an_error_not_a_stub():
    wrong = attempt("projection_head", "class Head(nn.Module):\n    pass\nreturn Head()")
    verdict = EXERCISES["projection_head"].diagnose(wrong)
    assert verdict.passed is False and "NotImplementedError" in verdict.diagnosis


def test_an_exception_only_for_some_sizes_is_found():
    body = """
        assert len(z1) == 2
        z = F.normalize(torch.cat([z1, z2]), dim=1)
        logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
        return F.cross_entropy(logits, torch.tensor([2, 3, 0, 1]))
    """
    text = EXERCISES["nt_xent"].diagnose(attempt("nt_xent", body)).diagnosis
    assert "AssertionError" in text and "line 3 of attempt" in text and "(5 of 6 fail)" in text


def test_stopping_the_kernel_is_not_swallowed():
    def attempt(z):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        EXERCISES["cosine_similarity_matrix"].diagnose(attempt)
