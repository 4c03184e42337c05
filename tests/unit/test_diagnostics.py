"""The diagnostics against loops, known geometry and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simclr_edu import diagnostics as D

SEEDS = (0, 1, 2)


def rows(n, d, seed=0, dtype=torch.float32):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cosine(a, b):
    a, b = a.double(), b.double()
    return float(a @ b / (a.norm() * b.norm()))


def contrastive_accuracy_loop(z1, z2):
    z = torch.cat([z1, z2])
    total, hits = len(z), 0
    for i in range(total):
        candidates = [j for j in range(total) if j != i]
        best = max(candidates, key=lambda j: cosine(z[i], z[j]))
        hits += best == (i + len(z1)) % total
    return hits / total


# --- similarity ---------------------------------------------------------------------------------------


@given(n=st.integers(1, 6), m=st.integers(1, 6), d=st.integers(1, 5), seed=st.integers(0, 99))
def test_similarity_matrix_equals_a_loop(n, m, d, seed):
    x, y = rows(n, d, seed), rows(m, d, seed + 100)
    wanted = [[cosine(a, b) for b in y] for a in x]
    np.testing.assert_allclose(D.similarity_matrix(x, y), wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_similarity_with_itself_has_a_unit_diagonal(dtype):
    sim = D.similarity_matrix(rows(7, 5, dtype=dtype) * 9)
    assert sim.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(sim.diagonal(), torch.ones(7, dtype=sim.dtype))
    torch.testing.assert_close(sim, sim.T)
    assert sim.abs().max() <= 1


def test_a_row_of_zeros_is_similar_to_nothing():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert D.similarity_matrix(x)[0].tolist() == [0.0, 0.0]


# --- contrastive accuracy -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [2, 3, 17])
def test_contrastive_accuracy_equals_a_loop(n, seed):
    z1 = rows(n, 4, seed)
    z2 = z1 + 0.7 * rows(n, 4, seed + 10)
    assert D.contrastive_accuracy(z1, z2) == pytest.approx(contrastive_accuracy_loop(z1, z2), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_contrastive_accuracy_does_not_depend_on_the_tiling(seed, monkeypatch):
    z1 = rows(23, 4, seed)
    z2 = z1 + 0.5 * rows(23, 4, seed + 10)
    whole = D.contrastive_accuracy(z1, z2)
    monkeypatch.setattr(D, "_TILE", 3 * 46)
    assert 0 < whole < 1
    assert D.contrastive_accuracy(z1, z2) == pytest.approx(whole, abs=1e-6)


def test_contrastive_accuracy_is_one_for_equal_views_and_chance_for_random_ones():
    z = rows(60, 32)
    assert D.contrastive_accuracy(z, 2 * z) == 1.0
    many = np.mean([D.contrastive_accuracy(rows(60, 32, s), rows(60, 32, s + 500)) for s in range(30)])
    assert many == pytest.approx(1 / 119, abs=4 * math.sqrt(1 / 119 / (30 * 60)))


@pytest.mark.parametrize("n", [1, 2, 50])
def test_collapsed_embeddings_score_chance_not_perfection(n):
    z = torch.full((n, 8), 0.3)
    assert D.contrastive_accuracy(z, z) == pytest.approx(1 / (2 * n - 1))


def test_a_positive_tied_with_one_other_counts_half():
    # Anchor 0: its positive and one negative are both equal to it.
    z1 = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    z2 = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # Rows 0, 1 and 2 coincide: 0 and 2 each find their positive among two, 1 never, 3 ties all three.
    assert D.contrastive_accuracy(z1, z2) == pytest.approx((0.5 + 0 + 0.5 + 1 / 3) / 4)


def test_shuffled_partners_are_found_out():
    z = rows(40, 16)
    assert D.contrastive_accuracy(z, z.roll(1, 0)) == 0.0


# --- alignment and uniformity -------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_alignment_equals_a_loop(alpha):
    z1, z2 = rows(9, 5), rows(9, 5, 1)
    distances = [
        float((a.double() / a.double().norm() - b.double() / b.double().norm()).norm()) ** alpha
        for a, b in zip(z1, z2, strict=True)
    ]
    assert D.alignment(z1, z2, alpha) == pytest.approx(np.mean(distances), rel=1e-5)
    assert D.alignment(z1, 3 * z1, alpha) == pytest.approx(0, abs=1e-6)
    assert D.alignment(z1, -z1, alpha) == pytest.approx(2**alpha, rel=1e-5)


@pytest.mark.parametrize("t", [0.5, 2.0])
@pytest.mark.parametrize("tile", [1 << 24, 22])
def test_uniformity_equals_a_loop(t, tile, monkeypatch):
    monkeypatch.setattr(D, "_TILE", tile)
    z = rows(11, 4)
    u = z.double() / z.double().norm(dim=1, keepdim=True)
    terms = [math.exp(-t * float((u[i] - u[j]).norm()) ** 2) for i in range(11) for j in range(i)]
    assert D.uniformity(z, t) == pytest.approx(math.log(np.mean(terms)), abs=1e-5)


def test_uniformity_of_known_layouts():
    assert D.uniformity(torch.ones(5, 3)) == pytest.approx(0, abs=1e-6)
    # Two opposite points: one pair at squared distance 4.
    assert D.uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 2.0) == pytest.approx(-8, abs=1e-5)
    assert D.uniformity(rows(400, 256)) == pytest.approx(-4, abs=0.1)


# --- effective rank -----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 5])
def test_effective_rank_counts_equal_directions(k):
    basis, _ = torch.linalg.qr(rows(30, 8))
    x = basis[:, :k] @ torch.linalg.qr(rows(8, 8, 1))[0][:k]  # k singular values, all 1
    assert D.effective_rank(x) == pytest.approx(k, rel=1e-4)


@given(n=st.integers(1, 8), d=st.integers(1, 8), seed=st.integers(0, 99))
def test_effective_rank_equals_numpy_and_stays_in_range(n, d, seed):
    x = rows(n, d, seed)
    s = np.linalg.svd(x.double().numpy(), compute_uv=False)
    p = s / s.sum()
    wanted = math.exp(-sum(v * math.log(v) for v in p if v > 0))
    got = D.effective_rank(x)
    assert got == pytest.approx(wanted, rel=1e-9)
    assert 1 - 1e-9 <= got <= min(n, d) + 1e-9
    assert D.effective_rank(5 * x) == pytest.approx(got, rel=1e-6)


# --- pairs --------------------------------------------------------------------------------------------


@given(n=st.integers(1, 5), d=st.integers(1, 4), seed=st.integers(0, 99))
def test_pair_similarities_equal_a_loop(n, d, seed):
    z1, z2 = rows(n, d, seed), rows(n, d, seed + 100)
    z = torch.cat([z1, z2])
    positive, negative = D.pair_similarities(z1, z2)
    assert positive.shape == (n,)
    assert negative.shape == (2 * n * (n - 1),)
    np.testing.assert_allclose(positive, [cosine(a, b) for a, b in zip(z1, z2, strict=True)], atol=1e-6)
    wanted = [cosine(z[i], z[j]) for i in range(2 * n) for j in range(i + 1, 2 * n) if j - i != n]
    np.testing.assert_allclose(sorted(negative.tolist()), sorted(wanted), atol=1e-6)


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_order_by_class_sorts_and_keeps_the_order_within_a_class(labels):
    order = D.order_by_class(torch.tensor(labels)).tolist()
    assert order == sorted(range(len(labels)), key=lambda i: labels[i])


# --- softmax weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_softmax_weights_are_the_gradient_shares_of_nt_xent(tau, seed):
    """Autograd on one anchor's loss, positive included, gives the same shares."""
    s = torch.rand(9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, requires_grad=True)
    loss = -(s[0] / tau) + torch.logsumexp(s / tau, 0)  # candidate 0 is the positive
    (gradient,) = torch.autograd.grad(loss, s)
    torch.testing.assert_close(D.softmax_weights(s[1:], tau), gradient[1:] / gradient[1:].sum())


def test_softmax_weights_by_row_sum_to_one_even_at_tiny_temperatures():
    weights = D.softmax_weights(rows(4, 6), 0.001)
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    assert torch.isfinite(weights).all()
    torch.testing.assert_close(weights[2], D.softmax_weights(rows(4, 6)[2], 0.001))


def test_a_low_temperature_gives_the_hardest_negative_more():
    s = torch.tensor([0.9, 0.5, 0.1])
    assert D.softmax_weights(s, 0.1)[0] > 0.97 > D.softmax_weights(s, 1.0)[0]
    torch.testing.assert_close(D.softmax_weights(s, 1e6), torch.full((3,), 1 / 3), rtol=1e-4, atol=0)


# --- neighbours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_nearest_neighbours_equal_scikit_learns(seed, monkeypatch):
    from sklearn.neighbors import NearestNeighbors

    queries, gallery = rows(13, 6, seed), rows(31, 6, seed + 10)
    monkeypatch.setattr(D, "_TILE", 5 * 31)
    index, similarity = D.nearest_neighbours(queries, gallery, 4)
    distance, wanted = (
        NearestNeighbors(metric="cosine", algorithm="brute")
        .fit(gallery.numpy())
        .kneighbors(queries.numpy(), n_neighbors=4)
    )
    assert index.tolist() == wanted.tolist()
    np.testing.assert_allclose(similarity, 1 - distance, atol=1e-6)


# --- collapse -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_collapse_report_tells_the_three_cases_apart(seed):
    spread = rows(300, 64, seed)
    point = torch.ones(300, 64) + 1e-3 * spread
    line = rows(300, 1, seed) @ rows(1, 64, seed + 10)
    assert D.collapse_report(spread)["verdict"].startswith("no collapse")
    assert D.collapse_report(point)["verdict"].startswith("complete collapse")
    assert D.collapse_report(line)["verdict"].startswith("dimensional collapse")
    assert D.collapse_report(torch.zeros(5, 4))["verdict"].startswith("complete collapse")


def test_collapse_report_figures_equal_loops():
    x = rows(12, 5)
    report = D.collapse_report(x)
    u = x.double() / x.double().norm(dim=1, keepdim=True)
    pairs = [float(u[i] @ u[j]) for i in range(12) for j in range(12) if i != j]
    assert report["mean_cosine"] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert report["std"] == pytest.approx(float(np.mean(u.numpy().std(axis=0))), rel=1e-6)
    assert report["std_even"] == pytest.approx(1 / math.sqrt(5))
    assert report["std_ratio"] == pytest.approx(report["std"] * math.sqrt(5))
    assert report["effective_rank"] == pytest.approx(D.effective_rank(u), rel=1e-6)
    assert (report["n"], report["dim"], report["max_rank"]) == (12, 5, 5)


def test_evenly_spread_directions_have_the_even_spread():
    assert D.collapse_report(rows(4000, 32))["std_ratio"] == pytest.approx(1, abs=0.02)


# --- input checks -------------------------------------------------------------------------------------

PAIRED = [D.contrastive_accuracy, D.alignment, D.pair_similarities]
SINGLE = [D.similarity_matrix, D.uniformity, D.effective_rank, D.collapse_report]


@pytest.mark.parametrize("function", PAIRED)
def test_pairs_that_do_not_fit_are_refused(function):
    with pytest.raises(ValueError, match="same shape"):
        function(rows(3, 4), rows(4, 4))
    with pytest.raises(ValueError, match="same shape"):
        function(rows(3, 4), rows(3, 5))
    with pytest.raises(TypeError, match="same dtype"):
        function(rows(3, 4), rows(3, 4).double())
    with pytest.raises(TypeError, match=r"torch.Tensor"):
        function(rows(3, 4), [[1.0]])
    bad = rows(3, 4)
    bad[1, 1] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        function(rows(3, 4), bad)


@pytest.mark.parametrize("function", SINGLE)
def test_bad_matrices_are_refused(function):
    bad = rows(3, 4)
    bad[0, 0] = math.inf
    with pytest.raises(ValueError, match="finite"):
        function(bad)
    with pytest.raises(ValueError, match="matrix"):
        function(torch.ones(3))
    with pytest.raises(TypeError, match="floating point"):
        function(torch.ones(3, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="empty"):
        function(torch.ones(0, 4))


@pytest.mark.parametrize("tau", [0, -1.0, math.nan, math.inf])
def test_temperatures_must_be_above_zero(tau):
    with pytest.raises(ValueError, match="temperature"):
        D.softmax_weights(torch.ones(3), tau)
    with pytest.raises(ValueError, match="alpha"):
        D.alignment(rows(3, 4), rows(3, 4), tau)
    with pytest.raises(ValueError, match="t must"):
        D.uniformity(rows(3, 4), tau)


def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="same width"):
        D.similarity_matrix(rows(3, 4), rows(3, 5))
    with pytest.raises(ValueError, match="k must be from 1 to 6"):
        D.nearest_neighbours(rows(3, 4), rows(6, 4), 7)
    with pytest.raises(ValueError, match="at least 2 rows"):
        D.uniformity(rows(1, 4))
    with pytest.raises(ValueError, match="all zero"):
        D.effective_rank(torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"\(K,\)"):
        D.softmax_weights(torch.ones(2, 2, 2), 0.5)
    with pytest.raises(TypeError, match="floating point"):
        D.softmax_weights(torch.ones(3, dtype=torch.int64), 0.5)
    with pytest.raises(TypeError, match="integers"):
        D.order_by_class(torch.ones(3))


def test_nothing_here_keeps_a_gradient():
    z = rows(5, 4).requires_grad_()
    assert not D.similarity_matrix(z).requires_grad
    assert not D.softmax_weights(z, 0.5).requires_grad
    assert D.contrastive_accuracy(z, z) == 1.0
