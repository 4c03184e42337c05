"""Beyond the values: gradients, overflow, dtype."""

import pytest
import torch
import torch.nn.functional as F
from answers import nt_xent
from answers.cell import attempt

from simclr_edu.course.exercises import EXERCISES

SEEDS = (0, 1, 11)


def test_the_gradient_of_the_loss_is_checked():
    detached = attempt("nt_xent", "return F.cross_entropy(torch.zeros(2, 2), torch.zeros(2).long())")
    assert EXERCISES["nt_xent"].diagnose(detached).passed is False
    for wrong, phrase in [
        (
            lambda z1, z2, temperature: nt_xent.nt_xent_dense(z1, z2, temperature).detach(),
            "no gradient can flow",
        ),
        (
            lambda z1, z2, temperature: nt_xent.nt_xent_dense(z1, z2, temperature).item(),
            "no gradient can flow",
        ),
        (
            lambda z1, z2, temperature: nt_xent.nt_xent_dense(z1, z2.detach(), temperature),
            "does not reach z2",
        ),
        (
            lambda z1, z2, temperature: nt_xent.nt_xent_dense(z1.detach(), z2, temperature),
            "does not reach z1",
        ),
    ]:
        assert phrase in EXERCISES["nt_xent"].diagnose(wrong).diagnosis


@pytest.mark.parametrize("seed", SEEDS)
def test_an_overflow_is_looked_for_only_when_all_else_agrees(seed):
    def power(z1, z2, temperature):
        z = F.normalize(torch.cat([z1, z2]), dim=1)
        return torch.exp(z @ z.T / temperature)

    def answer(z1, z2, temperature):
        p, n = power(z1, z2, temperature), len(z1)
        return -torch.log(torch.cat([p.diag(n), p.diag(-n)]) / (p.sum(1) - p.diag())).mean()

    text = EXERCISES["nt_xent"].diagnose(answer, seed).diagnosis
    assert (
        "small ones count too: at temperature 0.01 expected " in text
        and ", got nan" in text
        and "overflows" in text
    )
    both = EXERCISES["nt_xent"].diagnose(lambda z1, z2, temperature: answer(z1, z2, 1.0), seed).diagnosis
    assert "temperature is ignored" in both and "overflows" not in both


def test_equal_numbers_of_another_dtype_are_not_shown_side_by_side():
    text = EXERCISES["positive_index"].diagnose(lambda n: torch.arange(2.0 * n).roll(n)).diagnosis
    assert text.startswith("The dtype is the problem, not the numbers: the dtype should be torch.int64")
    assert "expected" not in text and "\n" not in text
    text = EXERCISES["positive_index"].diagnose(lambda n: torch.arange(2.0 * n)).diagnosis
    assert "dtype should be torch.int64" in text and "expected [2, 3, 0, 1], got [0, 1, 2, 3]" in text


def test_half_detached_negatives_have_a_wrong_gradient():
    def answer(z1, z2, temperature):
        z = F.normalize(torch.cat([z1, z2]), dim=1)
        logits = (z @ z.detach().T / temperature).fill_diagonal_(-torch.inf)
        return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))

    assert "gradient is wrong for z1" in EXERCISES["nt_xent"].diagnose(answer).diagnosis
