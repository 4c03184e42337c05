"""NT-Xent: three implementations, one number, held against a fourth, written here, that shares no line."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from simclr_edu import losses
from simclr_edu.losses import NTXentLoss, nt_xent, nt_xent_dense, nt_xent_loop

THREE = [nt_xent_loop, nt_xent_dense, nt_xent]
TEMPERATURES = [0.005, 0.02, 0.1, 0.5, 1.0, 10.0]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
SEEDS = [0, 1, 2]


def reference(z1, z2, temperature):
    """NT-Xent by deleting the diagonal: from the anchor on, every candidate moves one column to the left."""
    n = len(z1)
    z = torch.cat([z1, z2])
    z = z / z.norm(dim=1, keepdim=True).clamp_min(1e-12)
    off_diagonal = ~torch.eye(2 * n, dtype=torch.bool)
    logits = (z @ z.T / temperature)[off_diagonal].view(2 * n, 2 * n - 1)
    first = torch.arange(n) + n - 1  # the positive lies right of the diagonal: one column to the left
    second = torch.arange(n)  # left of the diagonal: in its old place
    return F.cross_entropy(logits, torch.cat([first, second]))


def make_views(n, d, seed, dtype=torch.float64, noise=1.0):
    """Two views ``(n, d)`` of norms around sqrt(d), positives more alike the less the noise."""
    generator = torch.Generator().manual_seed(seed)
    z1 = torch.randn(n, d, generator=generator, dtype=torch.float64)
    z2 = z1 + noise * torch.randn(n, d, generator=generator, dtype=torch.float64)
    return z1.to(dtype), z2.to(dtype)


def loss_and_gradient(loss, z1, z2, temperature):
    """The loss and its gradient ``(2n, d)``, both in float64."""
    z1, z2 = z1.clone().requires_grad_(), z2.clone().requires_grad_()
    value = loss(z1, z2, temperature)
    value.backward()
    return value.detach().double(), torch.cat([z1.grad, z2.grad]).double()


def errors(loss, z1, z2, temperature):
    """How far ``loss`` is from the reference in float64: relative errors of the value and of the gradient.

    Relative to the reference, or to what it is made of where it nearly vanishes: the loss is a difference of
    logits of up to 1/t, its gradient a difference of probabilities, over 2N t and the norm of the embeddings.
    """
    n = len(z1)
    value, gradient = loss_and_gradient(loss, z1, z2, temperature)
    wanted, wanted_gradient = loss_and_gradient(reference, z1.double(), z2.double(), temperature)
    norm = torch.cat([z1, z2]).double().norm(dim=1).mean()
    scale = wanted.abs().clamp_min(0.1 / temperature)
    gradient_scale = wanted_gradient.norm().clamp_min(0.1 / (temperature * math.sqrt(2 * n) * norm))
    return ((value - wanted).abs() / scale).item(), (
        (gradient - wanted_gradient).norm() / gradient_scale
    ).item()


def assert_agrees(loss, z1, z2, temperature, tolerance=None):
    """Fail unless ``loss`` equals the reference in value and gradient: the comparison all tests here use."""
    tolerance = tolerance or TOLERANCE[z1.dtype]
    value, gradient = errors(loss, z1, z2, temperature)
    assert value <= tolerance, f"the loss is off by {value:.1e}, allowed {tolerance:.0e}"
    assert gradient <= tolerance, f"the gradient is off by {gradient:.1e}, allowed {tolerance:.0e}"


def tiled(tile):
    """``nt_xent`` with tiles of another size."""
    return lambda *args: losses.tiled.nt_xent_tiled(*losses.contrastive._check_views(*args), tile)


# Equality


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("n", [1, 2, 3, 8, 17])
@pytest.mark.parametrize("loss", THREE)
def test_three_implementations_equal_the_reference(loss, n, temperature, dtype):
    for seed in SEEDS if n < 17 else SEEDS[:1]:
        assert_agrees(loss, *make_views(n, 16, seed, dtype), temperature)


def by_blocks(z1, z2, temperature):
    """The formula that lightly computes: logits by block of views, the positive's column found in each."""
    n = len(z1)
    a, b = F.normalize(z1, dim=1), F.normalize(z2, dim=1)
    others = ~torch.eye(n, dtype=torch.bool)
    halves = []
    for own, other in ((a, b), (b, a)):
        within = (own @ own.T / temperature)[others].view(n, n - 1)  # without the anchor itself
        logits = torch.cat([own @ other.T / temperature, within], dim=1)  # (n, 2n - 1)
        halves.append(F.cross_entropy(logits, torch.arange(n)))
    return (halves[0] + halves[1]) / 2


def by_pairs(z1, z2, temperature):
    """The formula of pytorch-metric-learning: a term for each pair of equal labels, beside all negatives."""
    labels = torch.arange(len(z1)).repeat(2)
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / temperature
    total = []
    for anchor, positive in ((labels[:, None] == labels) & ~torch.eye(len(z), dtype=torch.bool)).nonzero():
        negatives = logits[anchor][labels != labels[anchor]]
        top = torch.cat([logits[anchor, positive][None], negatives]).max().detach()
        share = (logits[anchor, positive] - top).exp()
        total.append(-torch.log(share / (share + (negatives - top).exp().sum())))
    return torch.stack(total).mean()


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("formula", [by_blocks, by_pairs])
def test_the_formulas_of_the_peers_give_the_same_loss_and_gradient(formula, temperature):
    for n, seed in ((2, 0), (7, 1), (12, 2)):
        z1, z2 = make_views(n, 16, seed)
        ours, gradient = loss_and_gradient(nt_xent, z1, z2, temperature)
        theirs, their_gradient = loss_and_gradient(formula, z1, z2, temperature)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(gradient, their_gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("tile", [1, 2, 3, 6, 64, 128])
def test_every_size_of_tile_gives_the_same_loss(tile, temperature, dtype):
    for n in (1, 2, 5, 32, 33) if tile < 6 else (31, 32, 33, 100):
        assert_agrees(tiled(tile), *make_views(n, 8, n, dtype), temperature)


@pytest.mark.parametrize("temperature", [0.005, 0.5])
@pytest.mark.parametrize("most", [0, 1000])
def test_keeping_tiles_or_making_them_again_gives_the_same_loss(most, temperature, monkeypatch):
    monkeypatch.setitem(losses.tiled._KEPT_TILES, "cpu", most)
    for n in (5, 40):
        assert_agrees(tiled(8), *make_views(n, 8, n), temperature)


@pytest.mark.parametrize("n, temperature", [(255, 0.005), (256, 0.5), (257, 0.1), (700, 0.005), (1500, 0.5)])
def test_large_batches(n, temperature):
    assert_agrees(nt_xent, *make_views(n, 32, 0, torch.float32), temperature)


@given(n=st.integers(1, 12), d=st.integers(1, 20), tile=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_any_shape(n, d, tile, seed):
    z1, z2 = make_views(n, d, seed)
    for loss in (*THREE, tiled(tile)):
        assert_agrees(loss, z1, z2, 0.3)


# Numbers known beforehand


@pytest.mark.parametrize("loss", THREE)
def test_two_pairs_worked_out_by_hand(loss):
    z1 = torch.tensor([[1.0, 0.0], [0.0, 2.0]])  # a, b; lengths do not matter
    z2 = torch.tensor([[3.0, 4.0], [8.0, 6.0]])  # A = (.6, .8), B = (.8, .6)
    # a.b = 0, a.A = .6, a.B = .8; b.A = .8, b.B = .6; A.B = .96; the positives are (a, A) and (b, B)
    anchor_a = -math.log(math.exp(0.6) / (math.exp(0.0) + math.exp(0.6) + math.exp(0.8)))
    anchor_b = -math.log(math.exp(0.6) / (math.exp(0.0) + math.exp(0.8) + math.exp(0.6)))
    other_a = -math.log(math.exp(0.6) / (math.exp(0.6) + math.exp(0.8) + math.exp(0.96)))
    other_b = -math.log(math.exp(0.6) / (math.exp(0.8) + math.exp(0.6) + math.exp(0.96)))
    wanted = (anchor_a + anchor_b + other_a + other_b) / 4
    assert loss(z1, z2, temperature=1.0).item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("loss", THREE)
@pytest.mark.parametrize("n", [2, 5, 20])
def test_equal_embeddings_count_the_candidates(loss, n):
    z = torch.ones(n, 4, dtype=torch.float64)
    value, gradient = loss_and_gradient(loss, z, z.clone(), 0.5)
    assert value.item() == pytest.approx(math.log(2 * n - 1), rel=1e-12)  # 1 positive and 2(n - 1) negatives
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_random_embeddings_of_many_dimensions_score_ln_2n_minus_1(seed):
    generator = torch.Generator().manual_seed(seed)
    z1, z2 = torch.randn(2, 200, 20000, generator=generator)
    assert nt_xent(z1, z2, 0.5).item() == pytest.approx(math.log(399), abs=0.01)


@pytest.mark.parametrize("loss", [*THREE, tiled(2)])
@pytest.mark.parametrize("temperature", [0.005, 0.5])
def test_a_single_pair_has_no_loss_and_no_gradient(loss, temperature):
    value, gradient = loss_and_gradient(loss, *make_views(1, 8, 0), temperature)
    assert value == 0
    assert (gradient == 0).all()


def test_default_temperature_is_a_half():
    z1, z2 = make_views(6, 8, 0)
    for loss in THREE:
        assert loss(z1, z2) == loss(z1, z2, 0.5) != loss(z1, z2, 0.4)
    assert NTXentLoss()(z1, z2) == nt_xent(z1, z2, 0.5)


# Invariances


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss", THREE)
def test_invariances(loss, seed):
    z1, z2 = make_views(9, 8, seed)
    generator = torch.Generator().manual_seed(seed)
    value = loss(z1, z2, 0.2).item()

    def same(a, b):
        assert loss(a, b, 0.2).item() == pytest.approx(value, rel=1e-12)

    lengths = torch.rand(2, 9, 1, generator=generator, dtype=torch.float64) * 10 + 0.1
    same(z1 * lengths[0], z2 * lengths[1])
    order = torch.randperm(9, generator=generator)
    same(z1[order], z2[order])
    same(z2, z1)
    rotation = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    same(z1 @ rotation, z2 @ rotation)
    # and one that must change it: the pairs broken up
    assert abs(loss(z1, z2.roll(1, 0), 0.2).item() - value) > 0.1


@pytest.mark.parametrize("loss", THREE)
def test_gradient_is_orthogonal_to_each_embedding(loss):
    z1, z2 = make_views(9, 8, 0)
    _, gradient = loss_and_gradient(loss, z1, z2, 0.2)
    assert (gradient * torch.cat([z1, z2])).sum(1).abs().max() < 1e-14
    assert gradient.norm() > 1e-3


# Hard cases


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("loss", [*THREE, tiled(4)])
def test_duplicates(loss, temperature):
    z1, z2 = make_views(6, 8, 0)
    z1[3] = z1[1]  # two images with the same embedding
    z2[4] = z1[4]  # two equal views
    assert_agrees(loss, z1, z2, temperature)
    assert_agrees(loss, z1, z1.clone(), temperature)


@pytest.mark.parametrize("loss", [*THREE, tiled(4)])
def test_zero_vectors_have_similarity_zero(loss):
    z1, z2 = make_views(5, 4, 0)
    z1[2] = 0
    value = loss(z1, z2, 0.5)
    # By hand: for the zero vector (row 2; its positive is row 7) all 9 candidates are alike.
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = z @ z.T / 0.5
    by_hand = [math.log(9)]
    for i in (0, 1, 3, 4, 5, 6, 7, 8, 9):
        candidates = [j for j in range(10) if j != i]
        by_hand.append((torch.logsumexp(logits[i, candidates], 0) - logits[i, (i + 5) % 10]).item())
    assert value.item() == pytest.approx(sum(by_hand) / 10, rel=1e-12)
    assert_agrees(loss, z1, z2, 0.5)
    # Nothing but zeros: all candidates alike.
    zeros = torch.zeros(4, 3, dtype=torch.float64)
    assert loss(zeros, zeros, 0.5).item() == pytest.approx(math.log(7))


@pytest.mark.parametrize("loss", [*THREE, tiled(4)])
def test_norms_below_the_least_divisor(loss):
    z1, z2 = make_views(5, 4, 0)
    z1[1] *= 1e-14
    z2[3] *= 1e-13
    assert_agrees(loss, z1, z2, 0.5)


@pytest.mark.parametrize("temperature", [0.0005, 0.001, 0.005, 0.01])
@pytest.mark.parametrize("tile", [4, 6, 64])
def test_low_temperature_loses_no_anchor_to_underflow(tile, temperature):
    z1, z2 = make_views(20, 3, 0, torch.float32)
    z2[7] = -z1[7]  # a positive as far away as it gets: logit -1/t, its loss about 2/t
    z1[11] = z2[11] = -torch.cat([z1[:7], z2[8:]]).mean(0)
    # float32 rounds a similarity by about 1e-7, and a logit by that over t
    assert_agrees(tiled(tile), z1, z2, temperature, 1e-5 * max(1, 0.005 / temperature))
    assert nt_xent(z1, z2, temperature) > 2 / temperature / 40


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_switch_between_the_two_ways_to_sum_makes_no_step(dtype):
    z1, z2 = make_views(12, 4, 0, dtype)
    at = 1 / losses.tiled._EXP_IS_SAFE_UP_TO[dtype]
    for temperature in (at * 1.0001, at, at * 0.9999):
        for loss in (nt_xent, tiled(6)):
            assert_agrees(loss, z1, z2, temperature, 1e-5 if dtype == torch.float32 else 1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("temperature", [0.005, 0.05])
def test_a_loss_near_zero_keeps_its_relative_precision(temperature, dtype):
    # Views equal, images orthogonal: each anchor's loss is log(1 + 6 e^(-1/t)), less than 1/t is rounded by.
    z = torch.eye(4, dtype=dtype)
    value, gradient = loss_and_gradient(nt_xent, z, z.clone(), temperature)
    wanted = math.log1p(6 * math.exp(-1 / temperature))
    if wanted > 1e-30:
        assert value.item() == pytest.approx(wanted, rel=1e-5)
    else:
        assert 0 <= value.item() < 1e-30
    assert gradient.isfinite().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("temperature", [0.005, 0.5])
@pytest.mark.parametrize("loss", [*THREE, tiled(2)])
def test_what_is_not_finite_shows_in_the_loss(loss, temperature, bad):
    for n in (1, 5):
        z1, z2 = make_views(n, 4, 0)
        z2[n // 2, 1] = bad
        assert loss(z1, z2, temperature).isnan()


# Numbers of other kinds


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("temperature", [0.005, 0.5])
@pytest.mark.parametrize("loss", [*THREE, tiled(6)])
def test_half_inputs_are_computed_in_float32(loss, temperature, dtype):
    z1, z2 = make_views(10, 16, 0, dtype)
    assert loss(z1, z2, temperature).dtype == torch.float32
    value, _ = errors(loss, z1, z2, temperature)
    assert value < 1e-5
    z1.requires_grad_()
    loss(z1, z2, temperature).backward()
    wide = z1.detach().float().requires_grad_()
    loss(wide, z2.float(), temperature).backward()
    assert z1.grad.dtype == dtype
    assert torch.equal(z1.grad, wide.grad.to(dtype))  # rounded once, at the end


def test_a_scaled_loss_scales_the_gradient_before_it_is_rounded_to_half():
    # Views alike, images orthogonal, low temperature: gradients of about 1e-8, which float16 rounds to 0.
    z1 = torch.eye(8).half()
    z2 = z1 + 0.01
    z1.requires_grad_()
    nt_xent(z1, z2, 0.05).backward()
    assert (z1.grad == 0).all()
    z1.grad = None
    (nt_xent(z1, z2, 0.05) * 2.0**16).backward()
    wide = z1.detach().float().requires_grad_()
    (nt_xent(wide, z2.float(), 0.05) * 2.0**16).backward()
    assert torch.equal(z1.grad, wide.grad.half())
    assert (z1.grad != 0).any()


def test_output_dtypes_and_shape():
    for loss in THREE:
        for given_dtype, wanted in [(torch.float64, torch.float64), (torch.float32, torch.float32)]:
            value = loss(*make_views(3, 4, 0, given_dtype), 0.5)
            assert value.shape == () and value.dtype == wanted


def test_autocast_leaves_nt_xent_in_float32():
    z1, z2 = make_views(20, 16, 0, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert_agrees(nt_xent, z1, z2, 0.1)
        assert nt_xent(z1, z2, 0.1) == nt_xent(z1.clone(), z2, 0.1)
        assert nt_xent_dense(z1, z2, 0.1).item() == pytest.approx(nt_xent(z1, z2, 0.1).item(), rel=0.05)
    assert torch.get_autocast_dtype("cpu") == torch.bfloat16  # nothing left behind
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("backend", ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [lambda: nt_xent, lambda: lambda a, b, t: NTXentLoss(t)(a, b)])
def test_compile(backend, make):
    torch._dynamo.reset()
    loss = torch.compile(make(), backend=backend)
    for n in (6, 9):
        assert_agrees(loss, *make_views(n, 8, n), 0.2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("tile", [None, 64])
def test_cuda(tile):
    z1, z2 = make_views(300, 32, 0)
    for temperature in (0.005, 0.5):
        on_gpu = loss_and_gradient(tiled(tile), z1.cuda(), z2.cuda(), temperature)
        wanted = loss_and_gradient(reference, z1, z2, temperature)
        for got, want in zip(on_gpu, wanted, strict=True):
            assert torch.allclose(got.cpu(), want, rtol=1e-9, atol=1e-12)


# The gradient


@pytest.mark.parametrize("temperature", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("tile", [None, 4])
def test_gradcheck(tile, temperature):
    z1, z2 = make_views(5, 3, 0)
    z1.requires_grad_(), z2.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: losses.tiled.nt_xent_tiled(a, b, temperature, tile) * 3, (z1, z2)
    )


@pytest.mark.parametrize("temperature", [0.005, 0.5])
def test_gradcheck_where_exp_is_not_safe(temperature, monkeypatch):
    monkeypatch.setitem(losses.tiled._EXP_IS_SAFE_UP_TO, torch.float64, 1.0)
    z1, z2 = make_views(5, 3, 0)
    assert_agrees(tiled(4), z1, z2, temperature)
    z1.requires_grad_(), z2.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: losses.tiled.nt_xent_tiled(a, b, 0.5, 4), (z1, z2))


def test_only_one_view_needs_a_gradient():
    z1, z2 = make_views(6, 4, 0)
    _, wanted = loss_and_gradient(nt_xent, z1, z2, 0.5)
    for k in (0, 1):
        pair = [z1.clone(), z2.clone()]
        pair[k].requires_grad_()
        nt_xent(*pair, 0.5).backward()
        assert torch.equal(pair[k].grad, wanted.split(6)[k])
        assert pair[1 - k].grad is None


def test_the_same_tensor_as_both_views():
    z, _ = make_views(6, 4, 0)
    z.requires_grad_()
    nt_xent(z, z, 0.5).backward()
    got, z.grad = z.grad, None
    nt_xent_dense(z, z, 0.5).backward()
    assert torch.allclose(got, z.grad, rtol=1e-12, atol=1e-14)


def test_without_gradient_the_loss_is_the_same_and_carries_no_graph():
    z1, z2 = make_views(20, 4, 0)
    wanted = nt_xent(z1.clone().requires_grad_(), z2, 0.5)
    assert wanted.requires_grad
    plain = nt_xent(z1, z2, 0.5)
    assert plain == wanted.detach() and not plain.requires_grad
    z1.requires_grad_()
    with torch.no_grad():
        assert not nt_xent(z1, z2, 0.5).requires_grad
    with torch.inference_mode():
        assert nt_xent(z1, z2, 0.5) == plain


def test_inputs_may_be_strided_and_are_left_alone():
    z1, z2 = make_views(6, 8, 0)
    both = torch.stack([z1, z2], dim=2)  # (6, 8, 2): columns two apart
    before = both.clone()
    both.requires_grad_()
    nt_xent(both[:, :, 0], both[:, :, 1], 0.5).backward()
    _, wanted = loss_and_gradient(nt_xent_dense, z1, z2, 0.5)
    assert torch.allclose(torch.cat([both.grad[:, :, 0], both.grad[:, :, 1]]), wanted, rtol=1e-12, atol=1e-14)
    assert torch.equal(both, before)
    frozen = z1[:1].expand(6, 8)  # one row in memory
    assert_agrees(nt_xent, frozen, z2, 0.5)


def test_backward_twice_through_one_graph():
    z1, z2 = make_views(6, 8, 0)
    z1.requires_grad_()
    value = nt_xent(z1, z2, 0.5)
    value.backward(retain_graph=True)
    once = z1.grad.clone()
    value.backward()
    assert torch.equal(z1.grad, 2 * once)


def test_a_second_derivative_is_refused():
    z1, z2 = make_views(4, 4, 0)
    z1.requires_grad_()
    with pytest.raises(RuntimeError, match=r"create_graph=True.*nt_xent_dense"):
        torch.autograd.grad(nt_xent(z1, z2, 0.5), z1, create_graph=True)
    (gradient,) = torch.autograd.grad(nt_xent_dense(z1, z2, 0.5), z1, create_graph=True)
    gradient.square().sum().backward()  # the way that the message names
    assert z1.grad.norm() > 0


def test_descending_the_gradient_lowers_the_loss():
    z1, z2 = make_views(32, 8, 0, torch.float32, noise=3.0)
    z1.requires_grad_(), z2.requires_grad_()
    before = nt_xent(z1, z2, 0.5).item()
    optimizer = torch.optim.SGD([z1, z2], lr=50.0)
    for _ in range(20):
        optimizer.zero_grad()
        nt_xent(z1, z2, 0.5).backward()
        optimizer.step()
    assert nt_xent(z1, z2, 0.5).item() < before - 0.5


# Memory


class LargestTensor(TorchDispatchMode):
    """Records the most elements that any operation's result owned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor):
                self.largest = max(self.largest, x.untyped_storage().nbytes() // x.element_size())
        return out


def largest_tensor(loss, n, d, temperature=0.5):
    z1, z2 = make_views(n, d, 0, torch.float32)
    z1.requires_grad_(), z2.requires_grad_()
    with LargestTensor() as record:
        loss(z1, z2, temperature).backward()
    return record.largest


@pytest.mark.parametrize("temperature", [0.005, 0.5])
def test_memory_does_not_grow_with_the_square_of_the_batch(temperature):
    d, tile = 8, 64
    for n in (128, 256, 512):
        most = largest_tensor(tiled(tile), n, d, temperature)
        assert most <= max(losses.tiled._KEPT_TILES["cpu"] * tile**2, 2 * n * d)
    # beyond the tiles that are kept, a tile or the embeddings
    assert largest_tensor(tiled(tile), 512, d, temperature) == max(tile**2, 2 * 512 * d)
    assert largest_tensor(nt_xent_dense, 512, d) >= (2 * 512) ** 2  # so the recorder sees what it should


def test_memory_with_the_usual_tile():
    most = losses.tiled._KEPT_TILES["cpu"] * losses.tiled._TILE["cpu"] ** 2
    assert most * 4 <= 120e6  # bytes in float32
    assert largest_tensor(nt_xent, 3000, 8) < most < 6000**2


# Errors


@pytest.mark.parametrize("loss", [*THREE, lambda z1, z2, t=0.5: NTXentLoss(t)(z1, z2)])
def test_wrong_inputs_say_what_is_wrong(loss):
    z = torch.randn(4, 3)

    def refuses(error, match, *args):
        with pytest.raises(error, match=match):
            loss(*args)

    refuses(ValueError, r"same shape, got \(4, 3\) and \(3, 3\)", z, z[:3])
    refuses(ValueError, r"same shape", z, z[:, :2])
    refuses(ValueError, r"z1 must be a matrix of shape \(N, d\), got shape \(4,\)", z[:, 0], z)
    refuses(ValueError, r"z2 must be a matrix of shape \(N, d\), got shape \(4, 3, 1\)", z, z[..., None])
    refuses(ValueError, "must not be empty", z[:0], z[:0])
    refuses(ValueError, "must not be empty", z[:, :0], z[:, :0])
    refuses(TypeError, "z1 must be floating point, got torch.int64", z.long(), z)
    refuses(TypeError, "z2 must be a torch.Tensor, got list", z, z.tolist())
    refuses(TypeError, "same dtype, got torch.float32 and torch.float64", z, z.double())
    refuses(ValueError, "must hold values, got a tensor on the meta device", z, z.to("meta"))
    for temperature in (0, -0.5, math.nan, math.inf):
        refuses(ValueError, "temperature must be a finite number greater than 0", z, z, temperature)
    for temperature in ("0.5", None, True, torch.tensor(0.5)):
        refuses(TypeError, "temperature must be a number", z, z, temperature)


# The module


def test_module_takes_any_batch_size_and_shows_its_temperature():
    module = NTXentLoss(temperature=0.2)
    assert repr(module) == "NTXentLoss(temperature=0.2)"
    assert list(module.parameters()) == [] and module.state_dict() == {}
    for n in (8, 5, 1):  # the last, smaller batch too
        assert_agrees(lambda a, b, t: module(a, b), *make_views(n, 4, n), 0.2)
