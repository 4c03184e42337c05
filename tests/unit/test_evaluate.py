"""Evaluation against scikit-learn and loops, and the two promises: frozen encoder, test set untouched."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from simclr_edu import evaluate as E
from simclr_edu.augment import SimCLRAugment
from simclr_edu.pretrain import PretrainConfig
from simclr_edu.simclr import SimCLR

SEEDS = (0, 1, 2)


class Encoder(nn.Module):
    """A few weights and a BatchNorm: enough to freeze wrongly."""

    def __init__(self, width=6):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width)
        self.feature_dim = width

    def forward(self, x):
        return self.norm(self.conv(x)).relu().mean(dim=(2, 3))


def make_encoder(seed=0, width=6):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder(width)
        encoder(torch.rand(32, 3, 8, 8))  # running statistics other than 0 and 1
    return encoder


def make_images(n_train=60, n_test=30, classes=3, seed=0, size=8):
    """Noise, brighter in the channel of its class."""
    g = torch.Generator().manual_seed(seed)

    def split(n):
        labels = torch.arange(n) % classes
        images = torch.randint(0, 120, (n, 3, size, size), generator=g)
        images[torch.arange(n), labels % 3] += 60 + 60 * (labels // 3)[:, None, None]
        return images.clamp(0, 255).to(torch.uint8), labels

    (x, y), (tx, ty) = split(n_train), split(n_test)
    return SimpleNamespace(name="made up", train_images=x, train_labels=y, test_images=tx, test_labels=ty)


def make_features(n, d, classes, seed=0, noise=1.0):
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(1000 + d + classes))
    y = torch.arange(n) % classes
    return 2 + 3 * (centres[y] + noise * torch.randn(n, d, generator=g)), y


# --- hash ---------------------------------------------------------------------------------------------


def test_state_hash_is_one_of_64_digits_and_the_same_for_equal_states():
    a, b = make_encoder(), make_encoder()
    assert E.state_hash(a) == E.state_hash(b)
    assert len(E.state_hash(a)) == 64
    assert E.state_hash(a) != E.state_hash(make_encoder(seed=1))


@pytest.mark.parametrize(
    "name", ["conv.weight", "norm.bias", "norm.running_mean", "norm.num_batches_tracked"]
)
def test_state_hash_sees_every_parameter_and_buffer(name):
    encoder = make_encoder()
    before = E.state_hash(encoder)
    tensor = dict([*encoder.named_parameters(), *encoder.named_buffers()])[name]
    with torch.no_grad():
        tensor.view(-1)[0] += 1
    assert E.state_hash(encoder) != before


def test_state_hash_sees_names_dtypes_and_shapes_but_not_memory_layout():
    zeros = nn.Module()
    hashes = set()
    for name, value in (
        ("a", torch.zeros(4)),
        ("b", torch.zeros(4)),
        ("a", torch.zeros(2, 2)),
        ("a", torch.zeros(2, dtype=torch.float64)),
        ("a", torch.zeros(0)),
    ):
        zeros = nn.Module()
        zeros.register_buffer(name, value)
        hashes.add(E.state_hash(zeros))
    assert len(hashes) == 5
    encoder = make_encoder()
    before = E.state_hash(encoder)
    assert E.state_hash(encoder.to(memory_format=torch.channels_last)) == before
    assert E.state_hash(encoder.bfloat16()) != before


def test_state_hash_of_something_else_is_refused():
    with pytest.raises(TypeError, match=r"nn\.Module, got dict"):
        E.state_hash({})
    with pytest.raises(ValueError, match="no values yet"):
        E.state_hash(nn.LazyLinear(3))


# --- embed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_embed_equals_one_forward_pass_in_eval_mode(batch_size):
    encoder, images = make_encoder(), make_images().train_images
    got = E.embed(encoder, images, batch_size=batch_size)
    encoder.eval()
    with torch.no_grad():
        torch.testing.assert_close(got, encoder(images.float() / 255))
    assert got.dtype == torch.float32 and got.device.type == "cpu" and not got.requires_grad


def test_embed_gives_a_tensor_that_autograd_accepts():
    head = nn.Linear(6, 2)
    head(E.embed(make_encoder(), make_images().train_images)).sum().backward()
    assert head.weight.grad is not None


def test_embed_of_uint8_equals_embed_of_floats():
    encoder, images = make_encoder(), make_images().train_images
    torch.testing.assert_close(E.embed(encoder, images), E.embed(encoder, images.float() / 255))


def test_embed_leaves_the_encoder_as_it_was_mode_by_mode():
    encoder = make_encoder().train()
    encoder.norm.eval()  # a mixture of modes
    before = E.state_hash(encoder)
    E.embed(encoder, make_images().train_images, batch_size=16)
    assert (encoder.training, encoder.conv.training, encoder.norm.training) == (True, True, False)
    assert E.state_hash(encoder) == before
    assert all(p.grad is None and p.requires_grad for p in encoder.parameters())


def test_embed_restores_the_modes_after_an_error():
    class Broken(Encoder):
        def forward(self, x):
            raise KeyError("broken")

    encoder = Broken().train()
    with pytest.raises(KeyError):
        E.embed(encoder, make_images().train_images)
    assert all(m.training for m in encoder.modules())


def test_embed_picks_h_or_z_of_a_simclr_model():
    model, images = SimCLR(make_encoder(), projection_dim=4), make_images().train_images
    h, z = E.embed(model, images), E.embed(model, images, level="z")
    assert h.shape == (60, 6) and z.shape == (60, 4)
    torch.testing.assert_close(h, E.embed(model.encoder, images))


def test_embed_runs_in_the_encoders_own_precision():
    images = make_images().train_images
    got = E.embed(make_encoder().double(), images)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, E.embed(make_encoder(), images), atol=1e-5, rtol=1e-4)
    assert E.embed(nn.Flatten(), images).shape == (60, 192)  # no parameter at all


class Returns(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output(x)


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (lambda x: x, r"shape \(60, D\)"),
        (lambda x: x.flatten(1)[:5], r"shape \(60, D\)"),
        (lambda x: x.mean(dim=(1, 2, 3)), r"shape \(60, D\)"),
        (lambda x: None, "NoneType"),
        (lambda x: x.flatten(1).long(), "floats"),
        (lambda x: x.flatten(1) / 0, "finite"),
    ],
)
def test_embed_refuses_an_encoder_that_does_not_return_a_finite_matrix(output, sentence):
    with pytest.raises(ValueError, match=sentence):
        E.embed(Returns(output), make_images().train_images)


def test_embed_refuses_bad_arguments():
    encoder, images = make_encoder(), make_images().train_images
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        E.embed(encoder, images.float())
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        E.embed(encoder, torch.full((2, 3, 8, 8), math.nan))
    with pytest.raises(ValueError, match=r"returns \(h, z\)"):
        E.embed(encoder, images, level="z")
    with pytest.raises(ValueError, match="level must be one of"):
        E.embed(encoder, images, level="g")
    with pytest.raises(ValueError, match="batch_size"):
        E.embed(encoder, images, batch_size=0)
    with pytest.raises(TypeError, match="encoder"):
        E.embed(lambda x: x, images)
    with pytest.raises(ValueError, match="shape"):
        E.embed(encoder, images[0])


# --- kNN ----------------------------------------------------------------------------------------------


def knn_loop(x, y, queries, k, temperature):
    """Wu et al. 2018, section 3.4, one query and one neighbour at a time."""
    x, queries = x.double().numpy(), queries.double().numpy()
    predictions = []
    for q in queries:
        cosines = [float(q @ v / np.linalg.norm(q) / np.linalg.norm(v)) for v in x]
        votes = {}
        for i in sorted(range(len(x)), key=lambda i: -cosines[i])[:k]:
            votes[int(y[i])] = votes.get(int(y[i]), 0.0) + math.exp(cosines[i] / temperature)
        predictions.append(max(votes, key=votes.get))
    return predictions


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (5, 0.1), (20, 0.07), (20, 5.0)])
def test_knn_equals_a_loop(k, temperature, seed, monkeypatch):
    x, y = make_features(60, 5, 4, seed)
    queries, _ = make_features(33, 5, 4, seed + 10)
    monkeypatch.setattr(E.neighbours, "_TILE", 7 * 60)
    assert E.knn_predict(x - 2, y, queries - 2, k, temperature).tolist() == knn_loop(
        x - 2, y, queries - 2, k, temperature
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_knn_accuracy_equals_scikit_learns(seed):
    x, y = make_features(120, 5, 4, seed)
    queries, wanted = make_features(50, 5, 4, seed + 10)
    # scikit-learn hands over distances, 1 - cosine: the same weights up to a common factor.
    peer = KNeighborsClassifier(9, metric="cosine", algorithm="brute", weights=lambda d: np.exp(-d / 0.1))
    peer.fit(x.double().numpy(), y.numpy())
    got = E.knn_accuracy(x.double(), y, queries.double(), wanted, k=9)
    assert got == pytest.approx(peer.score(queries.double().numpy(), wanted.numpy()))


def test_knn_at_a_tiny_temperature_is_the_nearest_neighbour_and_does_not_overflow():
    x, y = make_features(50, 5, 4)
    queries, _ = make_features(20, 5, 4, 1)
    torch.testing.assert_close(E.knn_predict(x, y, queries, 20, 1e-4), E.knn_predict(x, y, queries, 1, 0.1))


def test_knn_refuses_bad_arguments():
    x, y = make_features(10, 5, 2)
    with pytest.raises(ValueError, match="k must be from 1 to 10"):
        E.knn_accuracy(x, y, x, y, k=11)
    with pytest.raises(ValueError, match="temperature"):
        E.knn_accuracy(x, y, x, y, k=3, temperature=0)
    with pytest.raises(ValueError, match="same width"):
        E.knn_accuracy(x, y, x[:, :3], y, k=3)
    with pytest.raises(ValueError, match="10 labels for 4 rows"):
        E.knn_accuracy(x, y, x[:4], y, k=3)
    with pytest.raises(ValueError, match="9 labels for 10 rows"):
        E.knn_accuracy(x, y[:9], x, y, k=3)
    with pytest.raises(ValueError, match="finite"):
        E.knn_accuracy(x * math.nan, y, x, y, k=3)


# --- label budgets ------------------------------------------------------------------------------------


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    fraction=st.floats(0.001, 1.0),
    seed=st.integers(0, 99),
)
def test_label_subset_is_stratified_with_at_least_one_of_each(counts, fraction, seed):
    labels = torch.repeat_interleave(torch.arange(len(counts)) * 2, torch.tensor(counts))  # with gaps
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    kept = E.label_subset(labels, fraction, seed)
    assert kept.tolist() == sorted(set(kept.tolist()))
    for c, count in enumerate(counts):
        got = int((labels[kept] == 2 * c).sum())
        assert got >= 1 and abs(got - max(1, fraction * count)) <= 0.5 + 1e-4


@pytest.mark.parametrize("seed", SEEDS)
def test_label_subset_is_reproducible_and_nested(seed):
    labels = torch.arange(200) % 4
    small, large = E.label_subset(labels, 0.1, seed), E.label_subset(labels, 0.5, seed)
    assert set(small.tolist()) < set(large.tolist())
    assert small.tolist() == E.label_subset(labels, 0.1, seed).tolist()
    assert small.tolist() != E.label_subset(labels, 0.1, seed + 1).tolist()
    assert E.label_subset(labels, 1.0, seed).tolist() == list(range(200))


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, math.nan])
def test_label_subset_refuses_such_fractions(fraction):
    with pytest.raises(ValueError, match="fraction"):
        E.label_subset(torch.arange(4), fraction, 0)


# --- the linear fit -----------------------------------------------------------------------------------


def standardised(x):
    x = x.double()
    return (x - x.mean(0)) / x.std(0, correction=0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("l2", [1.0, 1e-1, 1e-2])
@pytest.mark.parametrize(("n", "d", "classes"), [(200, 8, 4), (150, 5, 2), (30, 50, 3)])
def test_fit_linear_finds_scikit_learns_optimum(n, d, classes, l2, seed):
    x, y = make_features(n, d, classes, seed, noise=1.5)
    got = E.fit_linear(x, y, x, y, l2=l2)
    xs = standardised(x).numpy()
    if classes > 2:
        peer = LogisticRegression(C=1 / (l2 * n), tol=1e-10, max_iter=20_000).fit(xs, y.numpy())
        coefficients, intercepts = peer.coef_, peer.intercept_
    else:
        # Its one vector w is the difference of our two rows, w/2 and -w/2, so our ||W||^2 is half of its.
        peer = LogisticRegression(C=2 / (l2 * n), tol=1e-10, max_iter=20_000).fit(xs, y.numpy())
        coefficients = np.concatenate([-peer.coef_, peer.coef_]) / 2
        intercepts = np.concatenate([-peer.intercept_, peer.intercept_]) / 2
    weight = got.weight.double() * x.double().std(0, correction=0)  # back to standardised features
    bias = got.bias.double() + got.weight.double() @ x.double().mean(0)
    np.testing.assert_allclose(weight, coefficients, atol=1e-3)
    np.testing.assert_allclose(bias, intercepts, atol=1e-3)
    assert np.mean(got.predictions.numpy() == peer.predict(xs)) > 0.99


def test_the_gradient_vanishes_at_the_solution():
    """The objective in the docstring, written out and differentiated in float64."""
    x, y = make_features(300, 10, 5, noise=2.0)
    got = E.fit_linear(x, y, x, y, l2=0.01)
    xs, scale = standardised(x), x.double().std(0, correction=0)
    w = (got.weight.double() * scale).requires_grad_()
    b = (got.bias.double() + got.weight.double() @ x.double().mean(0)).requires_grad_()
    loss = nn.functional.cross_entropy(xs @ w.T + b, y) + 0.01 / 2 * w.square().sum()
    loss.backward()
    assert w.grad.abs().max() < 1e-4 and b.grad.abs().max() < 1e-4


def test_without_the_gram_matrix_the_answer_is_the_same(monkeypatch):
    x, y = make_features(200, 8, 4, noise=1.5)
    with_gram = E.fit_linear(x, y, x, y, l2=0.01)
    monkeypatch.setattr(E.logistic, "_GRAM_LIMIT", 0)
    without = E.fit_linear(x, y, x, y, l2=0.01)
    torch.testing.assert_close(without.weight, with_gram.weight, atol=1e-3, rtol=0)


def test_weight_and_bias_act_on_features_as_they_come():
    x, y = make_features(100, 6, 3)
    test_x, test_y = make_features(40, 6, 3, 1)
    r = E.fit_linear(x, y, test_x, test_y)
    by_hand = r.classes[(test_x @ r.weight.T + r.bias).argmax(1)]
    assert torch.equal(by_hand, r.predictions)
    assert r.accuracy == pytest.approx(float((by_hand == test_y).double().mean()))
    assert (r.n_labels, r.state_hash) == (100, None)


def test_features_on_any_scale_give_the_same_predictions():
    x, y = make_features(100, 6, 3, noise=2.0)
    test_x, test_y = make_features(40, 6, 3, 1, noise=2.0)
    scale, shift = torch.logspace(-6, 6, 6), torch.linspace(-3, 3, 6)
    a = E.fit_linear(x, y, test_x, test_y, l2=0.1)
    b = E.fit_linear((x + shift) * scale, y, (test_x + shift) * scale, test_y, l2=0.1)
    assert (a.predictions == b.predictions).float().mean() > 0.97


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_constant_features_do_no_harm(value):
    x, y = make_features(100, 6, 3)
    padded = torch.cat([x, torch.full((100, 2), value)], 1)
    r = E.fit_linear(padded, y, torch.cat([x, torch.full((100, 2), value + 1)], 1), y, l2=0.1)
    assert torch.isfinite(r.weight).all() and r.weight[:, 6:].abs().max() < 1e-6
    assert torch.equal(r.predictions, E.fit_linear(x, y, x, y, l2=0.1).predictions)


def test_l2_is_chosen_on_a_split_of_the_training_rows_by_accuracy():
    """The same choice made with scikit-learn: cross-validation over the same folds."""
    x, y = make_features(100, 40, 4, noise=3.0)
    r = E.fit_linear(x, y, x, y, seed=3)
    fold, xs = E.labels.stratified_folds(y, 5, 3), standardised(x).numpy()
    for l2, accuracy in r.l2_accuracies.items():
        hits = 0
        for k in range(5):
            fit, val = (fold != k).numpy(), (fold == k).numpy()
            peer = LogisticRegression(C=1 / (l2 * fit.sum()), max_iter=5000).fit(xs[fit], y[fit])
            hits += int((peer.predict(xs[val]) == y[val].numpy()).sum())
        assert accuracy == pytest.approx(hits / 100, abs=0.021)
    assert r.l2_accuracies[r.l2] == max(r.l2_accuracies.values()) == r.val_accuracy
    assert tuple(r.l2_accuracies) == E.L2_GRID[: len(r.l2_accuracies)] and len(r.l2_accuracies) >= 3


@given(
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=5),
    n_folds=st.integers(2, 10),
    seed=st.integers(0, 99),
)
def test_folds_leave_every_class_something_to_train_on(counts, n_folds, seed):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    fold = E.labels.stratified_folds(labels, n_folds, seed)
    for k in range(n_folds):
        assert set(labels[fold != k].tolist()) == set(labels.tolist())
    for c, count in enumerate(counts):
        sizes = (fold[labels == c]).clamp(min=0).bincount(minlength=n_folds)
        assert count == 1 or int(sizes.max()) <= math.ceil(count / n_folds)
        assert (count == 1) == bool((fold[labels == c] == -1).any())


@pytest.mark.parametrize("seed", SEEDS)
def test_one_label_per_class_takes_the_default_l2(seed):
    x, y = make_features(5, 8, 5, seed, noise=0.1)
    test_x, test_y = make_features(50, 8, 5, seed + 10, noise=0.1)
    r = E.fit_linear(x, y, test_x, test_y)
    assert (r.l2, r.val_accuracy, r.l2_accuracies, r.n_labels) == (E.DEFAULT_L2, None, {}, 5)
    assert r.accuracy > 0.9


def test_gaps_between_labels_are_fine():
    x, y = make_features(60, 6, 3)
    gaps = torch.tensor([1, 4, 9])[y]
    a, b = E.fit_linear(x, y, x, y), E.fit_linear(x, gaps, x, gaps)
    assert a.accuracy == b.accuracy and b.classes.tolist() == [1, 4, 9] and b.confusion.shape == (10, 10)
    assert torch.equal(b.predictions, torch.tensor([1, 4, 9])[a.predictions])


def test_fit_linear_leaves_its_inputs_alone():
    x, y = make_features(60, 6, 3)
    kept = x.clone()
    E.fit_linear(x, y, x, y)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("seed", SEEDS)
def test_fit_linear_is_deterministic(seed):
    x, y = make_features(60, 6, 3, seed, noise=2.0)
    torch.manual_seed(1)
    a = E.fit_linear(x, y, x, y, seed=seed)
    state = torch.get_rng_state()
    b = E.fit_linear(x, y, x, y, seed=seed)
    assert torch.equal(state, torch.get_rng_state())
    assert a.l2 == b.l2 and torch.equal(a.weight, b.weight)


def test_stopping_short_of_the_optimum_is_said():
    x, y = make_features(60, 6, 3, noise=2.0)
    problem = E.logistic.LogisticFit(standardised(x).float(), y, 3)
    with pytest.warns(UserWarning, match="short of its optimum"):
        problem.fit(problem.uniform_rows, 1e-3, None, 1e-10, max_iterations=1)


def test_fit_linear_refuses_bad_arguments():
    x, y = make_features(20, 5, 2)
    nan = x.clone()
    nan[3, 2] = math.nan
    for arguments, error, sentence in [
        ((x, torch.zeros(20, dtype=torch.int64), x, y), ValueError, "at least 2 classes, got only"),
        ((x, y, x, y + 1), ValueError, r"no training label has: \[2\]"),
        ((nan, y, x, y), ValueError, "train_x must be finite"),
        ((x, y, nan, y), ValueError, "test_x must be finite"),
        ((x, y[:5], x, y), ValueError, "5 labels for 20 rows"),
        ((x, y, x, y[:5]), ValueError, "5 labels for 20 rows"),
        ((x, y, x[:, :2], y), ValueError, "same width"),
        ((x, y.float(), x, y), TypeError, "integers"),
        ((x.long(), y, x, y), TypeError, "floating point"),
        ((x, y - 1, x, y), ValueError, "negative"),
    ]:
        with pytest.raises(error, match=sentence):
            E.fit_linear(*arguments)
    for keyword, value in [
        ("l2", 0.0),
        ("l2", -1.0),
        ("val_fraction", 0.0),
        ("val_fraction", 0.7),
        ("seed", -1),
    ]:
        with pytest.raises(ValueError, match=keyword):
            E.fit_linear(x, y, x, y, **{keyword: value})


# --- confusion ----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_confusion_matrix_equals_scikit_learns(pairs):
    labels, predictions = torch.tensor(pairs).T
    wanted = sklearn_confusion(labels, predictions, labels=range(6))
    assert np.array_equal(E.confusion_matrix(labels, predictions, 6), wanted)


def test_confusion_matrix_refuses_bad_arguments():
    with pytest.raises(ValueError, match="below 2"):
        E.confusion_matrix(torch.tensor([0, 1]), torch.tensor([0, 2]), 2)
    with pytest.raises(ValueError, match="1 labels for 2 rows"):
        E.confusion_matrix(torch.tensor([0, 1]), torch.tensor([0]), 2)


# --- the linear probe ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_linear_probe_is_embed_and_fit_with_a_frozen_encoder(seed):
    encoder, images = make_encoder(seed).train(), make_images(seed=seed)
    before = E.state_hash(encoder)
    r = E.linear_probe(encoder, images, seed=seed)
    assert r.state_hash == before == E.state_hash(encoder)
    assert all(m.training for m in encoder.modules())
    assert all(p.grad is None for p in encoder.parameters())
    h, test_h = E.embed(encoder, images.train_images), E.embed(encoder, images.test_images)
    by_hand = E.fit_linear(h, images.train_labels, test_h, images.test_labels, seed=seed)
    assert torch.equal(r.weight, by_hand.weight) and r.accuracy == by_hand.accuracy
    assert r.accuracy > 0.8
    assert int(r.confusion.diagonal().sum()) == round(r.accuracy * 30)


def test_linear_probe_of_pixels():
    images = make_images()
    r = E.linear_probe(None, images)
    assert r.weight.shape == (3, 3 * 8 * 8) and r.state_hash is None and r.accuracy > 0.9
    with pytest.raises(ValueError, match="raw pixels"):
        E.linear_probe(None, images, level="z")


def test_linear_probe_with_few_labels_uses_label_subset():
    encoder, images = make_encoder(), make_images(n_train=120)
    r = E.linear_probe(encoder, images, fraction=0.1, seed=4)
    kept = E.label_subset(images.train_labels, 0.1, 4)
    assert r.n_labels == len(kept) == 12
    h, test_h = E.embed(encoder, images.train_images[kept]), E.embed(encoder, images.test_images)
    by_hand = E.fit_linear(h, images.train_labels[kept], test_h, images.test_labels, seed=4)
    assert torch.equal(r.predictions, by_hand.predictions)


def test_linear_probe_of_h_and_z():
    model, images = SimCLR(make_encoder(), projection_dim=2), make_images()
    assert E.linear_probe(model, images).weight.shape == (3, 6)
    assert E.linear_probe(model, images, level="z").weight.shape == (3, 2)


def test_an_encoder_that_changes_itself_in_eval_mode_is_found_out():
    class Counter(Encoder):
        def forward(self, x):
            self.norm.num_batches_tracked += 1
            return super().forward(x)

    with pytest.raises(RuntimeError, match="not frozen"):
        E.linear_probe(Counter(), make_images())


def test_probe_budgets_are_linear_probes_on_draws_of_the_labels():
    encoder, images = make_encoder(), make_images()
    x, test = (E.embed(encoder, part) for part in (images.train_images, images.test_images))
    found = E.probe_budgets(x, images.train_labels, test, images.test_labels, (2, 0), draws=3)
    assert found.shape == (3, 2)
    for draw in range(3):
        for j, share in enumerate((2 * 3 / 60, 1.0)):
            probe = E.linear_probe(encoder, images, share, seed=draw)
            assert probe.n_labels == (6, 60)[j] and found[draw, j] == pytest.approx(probe.accuracy)
    with pytest.raises(ValueError, match="draws"):
        E.probe_budgets(x, images.train_labels, test, images.test_labels, draws=0)
    with pytest.raises(ValueError, match="each of budgets"):
        E.probe_budgets(x, images.train_labels, test, images.test_labels, (-1,))


def test_probe_scores_are_those_of_the_two_probes():
    encoder, images = make_encoder(), make_images()
    scores = E.probe_scores(encoder, images, seed=1)
    h, test_h = E.embed(encoder, images.train_images), E.embed(encoder, images.test_images)
    assert scores == {
        "linear": E.linear_probe(encoder, images, seed=1).accuracy,
        "knn": E.knn_accuracy(h, images.train_labels, test_h, images.test_labels),
    }
    assert set(E.probe_scores(None, images, fraction=0.1)) == {"linear", "knn"}  # 6 labels, k of 20


def test_images_and_labels_that_disagree_are_refused():
    images = make_images()
    images.train_labels = images.train_labels[:-1]
    with pytest.raises(ValueError, match="train_labels"):
        E.linear_probe(make_encoder(), images)


# --- fine-tuning --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_fine_tune_learns_and_leaves_the_original_untouched(seed):
    encoder, images = make_encoder(seed), make_images(n_train=90, seed=seed)
    for p in encoder.parameters():
        p.requires_grad_(False)  # frozen by its owner: the copy trains all the same
    before = E.state_hash(encoder)
    r = E.fine_tune(encoder, images, epochs=12, lr=1e-2, batch_size=16, seed=seed)
    assert E.state_hash(encoder) == before == r.state_hash
    assert all(p.grad is None and not p.requires_grad for p in encoder.parameters())
    assert E.state_hash(r.model.encoder) != before
    assert r.accuracy > 0.8 and r.history[-1]["loss"] < r.history[0]["loss"]
    assert [h["epoch"] for h in r.history] == list(range(1, 13))
    assert r.val_accuracy == r.history[-1]["val_accuracy"] and r.n_labels == 90


@pytest.mark.parametrize(("steps", "labels", "batch_size"), [(7, 3, 8), (5, 30, 8), (1, 9, 64)])
def test_fine_tune_by_steps_fills_its_batches_with_further_views(steps, labels, batch_size):
    batches = []

    def augment(x, generator):
        batches.append(len(x))
        return x.float() / 255

    images = make_images(n_train=3 * labels)
    r = E.fine_tune(
        make_encoder(), images, steps=steps, batch_size=batch_size, augment=augment, val_fraction=0.0
    )
    assert len(batches) == steps == r.history[-1]["step"]
    assert all(batch_size // 2 <= n <= batch_size for n in batches)


def test_an_epoch_by_steps_holds_each_picture_equally_often():
    generator = torch.Generator().manual_seed(0)
    for n, batches, copies in ((5, 1, 3), (12, 4, 1)):
        parts = E.tuning._batches(n, batches, copies, generator)
        assert torch.equal(torch.cat(parts).bincount(minlength=n), torch.full((n,), copies))
        assert len(parts) == batches


@pytest.mark.parametrize("seed", SEEDS)
def test_fine_tune_from_the_probe_starts_at_the_probe(seed):
    encoder, images = make_encoder(seed), make_images(n_train=60, seed=seed)
    probe = E.linear_probe(encoder, images, fraction=0.3, seed=seed)
    r = E.fine_tune(
        encoder,
        images,
        fraction=0.3,
        seed=seed,
        steps=1,
        lr=1e-12,
        head="probe",
        batch_norm="frozen",
        val_fraction=0.0,
    )
    torch.testing.assert_close(r.model.head.weight, probe.weight, rtol=1e-4, atol=1e-5)
    assert torch.equal(r.predictions, probe.predictions)


def test_a_probe_of_some_classes_predicts_no_other():
    images = make_images(n_train=60)
    images.train_labels = images.train_labels * 2  # classes 0, 2, 4: nothing is known of 1 and 3
    images.test_labels = images.test_labels * 2
    r = E.fine_tune(make_encoder(), images, steps=3, head="probe", val_fraction=0.0)
    assert set(r.predictions.tolist()) <= {0, 2, 4}


def test_frozen_batch_norm_keeps_its_statistics_and_a_share_of_0_its_weights():
    encoder = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    with torch.no_grad():
        encoder[1].running_mean.uniform_()
    images = make_images()

    def tuned(**how):
        return E.fine_tune(encoder, images, steps=4, **how).model.encoder

    def moved(module, names):
        return {n for n in names if not torch.equal(module.state_dict()[n], encoder.state_dict()[n])}

    buffers, weights = ("1.running_mean", "1.running_var"), ("0.weight", "1.weight")
    assert moved(tuned(), buffers) == set(buffers)
    frozen = tuned(batch_norm="frozen")
    assert moved(frozen, buffers) == set() and moved(frozen, weights) == set(weights)
    assert moved(tuned(batch_norm="frozen", encoder_lr=0.0), (*buffers, *weights)) == set()


def test_fine_tune_reports_what_its_model_predicts():
    images = make_images()
    r = E.fine_tune(make_encoder(), images, epochs=2)
    assert not r.model.training
    logits = E.embed(r.model, images.test_images)
    assert torch.equal(logits.argmax(1), r.predictions)
    assert r.accuracy == pytest.approx(float((r.predictions == images.test_labels).double().mean()))
    assert int(r.confusion.sum()) == 30


def test_fine_tune_is_reproducible_and_leaves_the_global_random_state():
    encoder, images = make_encoder(), make_images()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    a = E.fine_tune(encoder, images, epochs=2, seed=5)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    b = E.fine_tune(encoder, images, epochs=2, seed=5)
    c = E.fine_tune(encoder, images, epochs=2, seed=6)
    assert E.state_hash(a.model) == E.state_hash(b.model) != E.state_hash(c.model)


def test_fine_tune_does_not_starve_a_few_labels_of_steps(monkeypatch):
    monkeypatch.setattr(E.tuning, "_LEAST_STEPS", 25)
    images = make_images()
    r = E.fine_tune(make_encoder(), images, fraction=0.05, lr=1e-2)
    assert r.n_labels == 3 and r.val_accuracy is None
    assert r.history[-1]["step"] == 25
    assert E.fine_tune(make_encoder(), images, batch_size=2, val_fraction=0.0).history[-1]["step"] == 300


def test_fine_tune_augments_as_pretraining_does_unless_told_otherwise(monkeypatch):
    asked = []

    class Spy(SimCLRAugment):
        def __init__(self, size, **how):
            asked.append(how)
            super().__init__(size, **how)

    monkeypatch.setattr(E.tuning, "SimCLRAugment", Spy)
    monkeypatch.setattr("simclr_edu.pretrain.config.SimCLRAugment", Spy)
    encoder, images = make_encoder(), make_images()
    E.fine_tune(encoder, images, steps=1)
    PretrainConfig(data=images.name).augmentation(images.train_images.shape[2])
    E.fine_tune(encoder, images, steps=1, augment="light")
    assert asked[0] == asked[1] and asked[0]["color"] and not asked[2]["color"]


def test_fine_tune_never_makes_a_batch_of_one():
    class Strict(Encoder):
        def forward(self, x):
            assert not self.training or len(x) > 1
            return super().forward(x)

    encoder = Strict()
    r = E.fine_tune(encoder, make_images(n_train=33), epochs=1, batch_size=16, val_fraction=0.0, augment=None)
    assert r.history[-1]["step"] == 3  # 11 + 11 + 11, not 16 + 16 + 1


def test_fine_tune_takes_its_own_augmentation_and_simclr_models():
    seen = []

    def augment(x, generator):
        assert x.dtype == torch.uint8 and isinstance(generator, torch.Generator)
        seen.append(len(x))
        return x.float() / 255

    model = SimCLR(make_encoder(), projection_dim=2)
    r = E.fine_tune(model, make_images(), epochs=1, batch_size=32, augment=augment, val_fraction=0.0)
    assert sum(seen) == 60 and r.model.head.in_features == 6


def test_fine_tune_of_a_shared_validation_split_keeps_singletons_for_training():
    images = make_images(n_train=40, classes=3)
    images.train_labels = images.train_labels.clone()
    images.train_labels[images.train_labels == 2] = 1
    images.train_labels[0] = 2  # the only one of its class
    r = E.fine_tune(make_encoder(), images, epochs=1, val_fraction=0.5)
    assert r.model.head.out_features == 3 and r.val_accuracy is not None


def test_fine_tune_refuses_bad_arguments():
    encoder, images = make_encoder(), make_images()
    for keyword, value in [
        ("epochs", 0),
        ("lr", 0.0),
        ("batch_size", 1),
        ("weight_decay", -1.0),
        ("val_fraction", 0.9),
        ("fraction", 0.0),
        ("augment", "heavy"),
        ("steps", 0),
        ("head", "zero"),
        ("encoder_lr", 1.5),
        ("batch_norm", "off"),
    ]:
        with pytest.raises(ValueError, match=keyword):
            E.fine_tune(encoder, images, **{keyword: value})
    with pytest.raises(ValueError, match="epochs or steps, not both"):
        E.fine_tune(encoder, images, epochs=1, steps=1)
    with pytest.raises(TypeError, match="encoder"):
        E.fine_tune(None, images)
    images.test_labels = images.test_labels + 1
    with pytest.raises(ValueError, match=r"no training label has: \[3\]"):
        E.fine_tune(encoder, images)


def test_fine_tune_stops_when_the_loss_is_not_finite():
    class Bomb(Encoder):
        def forward(self, x):
            return super().forward(x) * (math.inf if self.training else 1)

    with pytest.raises(ArithmeticError, match="learning rate"):
        E.fine_tune(Bomb(), make_images(), epochs=1)


# --- factors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_probe_factor_equals_least_squares_where_the_penalty_hardly_matters(seed):
    x, _ = make_features(400, 5, 3, seed)
    test_x, _ = make_features(100, 5, 3, seed + 10)
    w = torch.arange(5.0)
    y, test_y = x @ w + 3 * x[:, 0].sin(), test_x @ w + 3 * test_x[:, 0].sin()
    peer = LinearRegression().fit(x.double().numpy(), y.double().numpy())
    wanted = peer.score(test_x.double().numpy(), test_y.double().numpy())
    assert 0.5 < wanted < 0.999
    assert E.probe_factor(x, y, test_x, test_y) == pytest.approx(wanted, abs=2e-3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("period", [360.0, 90.0])
def test_probe_factor_of_an_angle(seed, period):
    g = torch.Generator().manual_seed(seed)
    angle = torch.rand(600, generator=g) * period
    turn = angle * (2 * math.pi / period)
    x = torch.stack([turn.sin(), turn.cos()], 1) @ torch.randn(2, 4, generator=g)
    circular = E.probe_factor(x[:500], angle[:500], x[500:], angle[500:], "circular", period)
    linear = E.probe_factor(x[:500], angle[:500], x[500:], angle[500:])
    assert circular == pytest.approx(1, abs=1e-3)
    assert linear < 0.8  # 359 and 1 degrees are neighbours, which a straight line cannot know
    noise = torch.randn(600, 4, generator=g)
    assert abs(E.probe_factor(noise[:500], angle[:500], noise[500:], angle[500:], "circular", period)) < 0.15


def test_probe_factor_of_more_features_than_rows_is_regularised():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(160, 300, generator=g)
    x[:, :3] *= 5
    y = x[:, 0] + 0.1 * torch.randn(160, generator=g)
    score = E.probe_factor(x[:60], y[:60], x[60:], y[60:])
    basis_free = E.logistic.RidgeFit(standardised(x[:60]).float(), y[:60, None].double())
    assert -0.5 < score < 1
    assert torch.isfinite(basis_free.predict(x[60:], 0.1)).all()


def test_probe_factor_of_classes_is_the_accuracy_of_fit_linear():
    x, y = make_features(90, 5, 3, noise=2.0)
    test_x, test_y = make_features(30, 5, 3, 1, noise=2.0)
    wanted = E.fit_linear(x, y, test_x, test_y).accuracy
    assert E.probe_factor(x, y, test_x, test_y, "classification") == wanted


def test_probe_factor_refuses_bad_arguments():
    x, _ = make_features(20, 5, 2)
    y = torch.linspace(0, 1, 20)
    for arguments, error, sentence in [
        ((x, y[:3], x, y), ValueError, "train_values"),
        ((x, y, x, y[:3]), ValueError, "test_values"),
        ((x, y * 0, x, y), ValueError, "train_values must not be constant"),
        ((x, y * math.nan, x, y), ValueError, "finite"),
        ((x[:5], y[:5], x, y), ValueError, "at least 10 rows"),
        ((x, y, x, y, "angular"), ValueError, "kind"),
        ((x, y, x, y, "circular", 0.0), ValueError, "period"),
        ((x, y, x, y, "classification"), TypeError, "integers"),
    ]:
        with pytest.raises(error, match=sentence):
            E.probe_factor(*arguments)
