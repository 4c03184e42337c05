"""Each classic mistake in NT-Xent, written out, and told apart by the comparison that the unit tests use."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

# The comparison under test is the one of tests/unit/test_losses.py, not a copy of it.
_path = Path(__file__).parents[1] / "unit" / "test_losses.py"
_spec = importlib.util.spec_from_file_location("losses_under_test", _path)
suite = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(suite)

MARGIN = 1000  # how many times the tolerance a mistake is off, at least


def similarities(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return z @ z.T / temperature


def masked(logits):
    return logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), -math.inf)


def partners(n):
    return torch.arange(2 * n).roll(n)


def without_diagonal(logits):
    m = len(logits)
    return logits[~torch.eye(m, dtype=torch.bool)].view(m, m - 1)


def correct(z1, z2, temperature):
    """The right one, in the words that the wrong ones below change."""
    return F.cross_entropy(masked(similarities(z1, z2, temperature)), partners(len(z1)))


def correct_with_deleted_diagonal(z1, z2, temperature):
    n = len(z1)
    targets = torch.cat([torch.arange(n) + n - 1, torch.arange(n)])
    return F.cross_entropy(without_diagonal(similarities(z1, z2, temperature)), targets)


def diagonal_not_masked(z1, z2, temperature):
    return F.cross_entropy(similarities(z1, z2, temperature), partners(len(z1)))


def unshifted_target(z1, z2, temperature):
    """The diagonal deleted, the target not moved; row N - 1, where that is out of range, kept in range."""
    n = len(z1)
    targets = partners(n).clamp_max(2 * n - 2)
    return F.cross_entropy(without_diagonal(similarities(z1, z2, temperature)), targets)


def target_shifted_for_all_rows(z1, z2, temperature):
    n = len(z1)
    targets = (partners(n) - 1).clamp_min(0)
    return F.cross_entropy(without_diagonal(similarities(z1, z2, temperature)), targets)


def no_normalisation(z1, z2, temperature):
    z = torch.cat([z1, z2])
    return F.cross_entropy(masked(z @ z.T / temperature), partners(len(z1)))


def normalised_over_the_batch(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=0)
    return F.cross_entropy(masked(z @ z.T / temperature), partners(len(z1)))


def temperature_ignored(z1, z2, temperature):
    return F.cross_entropy(masked(similarities(z1, z2, 1.0)), partners(len(z1)))


def times_temperature(z1, z2, temperature):
    return F.cross_entropy(masked(similarities(z1, z2, 1 / temperature)), partners(len(z1)))


def temperature_before_normalising(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]) / temperature, dim=1)
    return F.cross_entropy(masked(z @ z.T), partners(len(z1)))


def positive_twice_in_the_denominator(z1, z2, temperature):
    n = len(z1)
    logits = masked(similarities(z1, z2, temperature))
    positive = logits.gather(1, partners(n)[:, None])
    return (torch.cat([logits, positive], 1).logsumexp(1) - positive[:, 0]).mean()


def positive_not_in_the_denominator(z1, z2, temperature):
    """2N - 2 terms: the negatives alone."""
    n = len(z1)
    logits = masked(similarities(z1, z2, temperature))
    positive = logits.gather(1, partners(n)[:, None])
    negatives = logits.scatter(1, partners(n)[:, None], -math.inf)
    return (negatives.logsumexp(1) - positive[:, 0]).mean()


def negatives_of_the_other_view_only(z1, z2, temperature):
    """N terms, as in a symmetric CLIP loss."""
    n = len(z1)
    logits = similarities(z1, z2, temperature)[:n, n:]
    at = torch.arange(n)
    return (F.cross_entropy(logits, at) + F.cross_entropy(logits.T, at)) / 2


def anchors_of_one_view_only(z1, z2, temperature):
    """The mean over N anchors, not 2N."""
    n = len(z1)
    return F.cross_entropy(masked(similarities(z1, z2, temperature))[:n], partners(n)[:n])


def sum_over_2n_divided_by_n(z1, z2, temperature):
    return 2 * correct(z1, z2, temperature)


def sum_in_place_of_mean(z1, z2, temperature):
    return 2 * len(z1) * correct(z1, z2, temperature)


def neighbours_as_positives(z1, z2, temperature):
    """Targets for rows in the order a1 A1 a2 A2, on rows in the order a1 a2 A1 A2."""
    n = len(z1)
    return F.cross_entropy(masked(similarities(z1, z2, temperature)), torch.arange(2 * n) ^ 1)


def gradient_of_one_view_stopped(z1, z2, temperature):
    """The right number with a wrong gradient: only a test of the gradient sees it."""
    return correct(z1, z2.detach(), temperature) + 0 * z2.sum()


def norm_taken_for_a_constant(z1, z2, temperature):
    """Likewise: the gradient does not go through the division by the norm."""
    z = torch.cat([z1, z2])
    z = z / z.detach().norm(dim=1, keepdim=True)
    return F.cross_entropy(masked(z @ z.T / temperature), partners(len(z1)))


def gradient_of_p_without_its_transpose(z1, z2, temperature):
    """Likewise: candidates taken for constants, so each embedding learns as an anchor only."""
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return F.cross_entropy(masked(z @ z.detach().T / temperature), partners(len(z1)))


MUTANTS = [
    diagonal_not_masked,
    unshifted_target,
    target_shifted_for_all_rows,
    no_normalisation,
    normalised_over_the_batch,
    temperature_ignored,
    times_temperature,
    temperature_before_normalising,
    positive_twice_in_the_denominator,
    positive_not_in_the_denominator,
    negatives_of_the_other_view_only,
    anchors_of_one_view_only,
    sum_over_2n_divided_by_n,
    sum_in_place_of_mean,
    neighbours_as_positives,
    gradient_of_one_view_stopped,
    norm_taken_for_a_constant,
    gradient_of_p_without_its_transpose,
]


@pytest.mark.parametrize("loss", [correct, correct_with_deleted_diagonal])
@pytest.mark.parametrize("seed", range(5))
def test_what_the_mutants_start_from_is_right(loss, seed):
    for n in (3, 8):
        suite.assert_agrees(loss, *suite.make_views(n, 16, seed), 0.5)


@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [3, 8, 40])
def test_the_comparison_tells_a_mutant_apart(mutant, n, seed):
    z1, z2 = suite.make_views(n, 16, seed, torch.float32)
    off = max(suite.errors(mutant, z1, z2, 0.5))
    assert off > MARGIN * suite.TOLERANCE[torch.float32]
    with pytest.raises(AssertionError, match="is off by"):
        suite.assert_agrees(mutant, z1, z2, 0.5)


@pytest.mark.parametrize(
    "mutant", [gradient_of_one_view_stopped, norm_taken_for_a_constant, gradient_of_p_without_its_transpose]
)
def test_three_of_them_are_wrong_in_the_gradient_alone(mutant):
    value, gradient = suite.errors(mutant, *suite.make_views(8, 16, 0), 0.5)
    assert value < 1e-12 and gradient > 0.01


def test_the_unshifted_target_runs_out_of_range():
    """The symptom of that mistake: N - 1 rows with a wrong target, and an error for row N - 1."""
    n = 4
    logits = without_diagonal(similarities(*suite.make_views(n, 8, 0), 0.5))  # (2N, 2N - 1)
    right = torch.cat([torch.arange(n) + n - 1, torch.arange(n)])
    assert (partners(n)[: n - 1] != right[: n - 1]).all()
    assert partners(n)[n - 1] == 2 * n - 1 == logits.shape[1]
    with pytest.raises(IndexError):
        F.cross_entropy(logits, partners(n))


def test_with_the_diagonal_unmasked_the_anchor_itself_wins():
    """Its symptom: at a random start the loss lies above ln(2N - 1), by the weight e^(1/t) of the anchor."""
    n, temperature = 64, 0.1
    z1, z2 = torch.randn(2, n, 2000, generator=torch.Generator().manual_seed(0))
    logits = similarities(z1, z2, temperature)
    assert (logits.argmax(1) == torch.arange(2 * n)).all()
    wrong = diagonal_not_masked(z1, z2, temperature)
    assert abs(correct(z1, z2, temperature).item() - math.log(2 * n - 1)) < 0.1
    assert wrong.item() == pytest.approx(math.log(2 * n - 1 + math.exp(1 / temperature)), abs=0.1)
    assert wrong > math.log(2 * n - 1) + 1


@pytest.mark.parametrize("constant", [-1e9, -9e15])
@pytest.mark.parametrize("seed", range(3))
def test_a_mask_constant_does_not_fit_half_precision(constant, seed):
    """-1e9 is no float16; -inf, which the package masks with, exists in every floating type."""
    z1, z2 = suite.make_views(4, 8, seed, torch.float16)
    z = F.normalize(torch.cat([z1, z2]).float(), dim=1).half()
    logits = z @ z.T / 0.5
    itself = torch.eye(8, dtype=torch.bool)
    with pytest.raises(RuntimeError, match="cannot be converted.*without overflow"):
        logits.masked_fill(itself, constant)
    # Where the cast is silent, the usual remedy of subtracting it from the diagonal ends in NaN.
    shifted = logits + itself.half() * constant
    assert not shifted.isfinite().all()
    assert logits.masked_fill(itself, -math.inf).logsumexp(1).isfinite().all()


@pytest.mark.parametrize("seed", range(3))
def test_exp_of_raw_logits_overflows_below_a_temperature_of_0_0113(seed):
    z1, z2 = suite.make_views(8, 16, seed, torch.float32, noise=0.01)

    def raw_exp(z1, z2, temperature):
        weights = similarities(z1, z2, temperature).exp().fill_diagonal_(0)
        return -(weights.gather(1, partners(len(z1))[:, None])[:, 0] / weights.sum(1)).log().mean()

    assert raw_exp(z1, z2, 0.02).isfinite()
    assert not raw_exp(z1, z2, 0.01).isfinite()
    for loss in suite.THREE:
        suite.assert_agrees(loss, z1, z2, 0.01)
