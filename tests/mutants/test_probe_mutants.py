"""Three classic ways to get a probe wrong, each planted on purpose, and what finds it out.

Bug museum 9 and 10: the backbone left in train mode, the backbone not frozen, a hyperparameter picked on
the test set. The detector is the same each time: it passes on the package, and fails on the mutant.
"""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from simclr_edu import evaluate as E

SEEDS = (0, 1, 2)


def make_encoder(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        encoder(torch.rand(32, 3, 8, 8))
    return encoder


def make_images(seed, n=48):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, 8, 8), generator=g).to(torch.uint8), torch.arange(n) % 3


# --- the mutants --------------------------------------------------------------------------------------


def embed_in_train_mode(encoder, images, batch_size=512):
    """Gradients off, weights fixed, and still not frozen: BatchNorm is in train mode."""
    encoder.train()
    with torch.no_grad():
        return torch.cat([encoder(b.float() / 255) for b in images.split(batch_size)])


def probe_with_the_backbone_in_the_optimizer(encoder, images, labels, test_images, test_labels):
    """'Linear probe' whose optimizer was given every parameter: really fine-tuning."""
    encoder.eval()
    head = nn.Linear(6, 3)
    optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.1)
    for _ in range(3):
        loss = nn.functional.cross_entropy(head(encoder(images.float() / 255)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float((head(encoder(test_images.float() / 255)).argmax(1) == test_labels).float().mean())


def fit_linear_choosing_on_test(train_x, train_y, test_x, test_y, seed=0):
    """The best l2 of the grid, judged by the very accuracy that is then reported."""
    results = [E.fit_linear(train_x, train_y, test_x, test_y, l2=l2, seed=seed) for l2 in E.L2_GRID]
    return max(results, key=lambda r: r.accuracy)


# --- the detectors ------------------------------------------------------------------------------------


def stays_the_same(encoder, use):
    before = E.state_hash(encoder)
    use(encoder)
    return E.state_hash(encoder) == before


def depends_on_the_batch(embed, seed):
    """Is one image's embedding another one when other images share its batch?"""
    images, _ = make_images(seed)
    return not torch.allclose(
        embed(make_encoder(seed), images, 48), embed(make_encoder(seed), images, 6), atol=1e-5
    )


def fitted_with_permuted_test_labels(fit, seed):
    """Strength and weights of the probe for the true test labels and for three permutations of them."""
    g = torch.Generator().manual_seed(seed)
    y, test_y = torch.arange(60) % 3, torch.arange(45) % 3
    centres = torch.randn(3, 20, generator=g)
    train_x = centres[y] + 3 * torch.randn(60, 20, generator=g)
    test_x = centres[test_y] + 3 * torch.randn(45, 20, generator=g)
    permuted = [test_y] + [test_y[torch.randperm(45, generator=g)] for _ in range(3)]
    return [fit(train_x, y, test_x, labels, seed=seed) for labels in permuted]


# --- (a) train mode -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_train_mode_moves_the_running_statistics_and_the_hash_shows_it(seed):
    images, _ = make_images(seed)
    assert stays_the_same(make_encoder(seed), lambda e: E.embed(e, images, 16))
    assert not stays_the_same(make_encoder(seed), lambda e: embed_in_train_mode(e, images, 16))


def test_weights_alone_would_not_have_shown_it():
    """Why the hash covers buffers: the mutant leaves every parameter as it was."""
    encoder, (images, _) = make_encoder(0), make_images(0)
    before = [p.clone() for p in encoder.parameters()]
    embed_in_train_mode(encoder, images)
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))
    assert int(encoder[1].num_batches_tracked) == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_train_mode_makes_an_embedding_depend_on_its_batch(seed):
    assert not depends_on_the_batch(E.embed, seed)
    assert depends_on_the_batch(embed_in_train_mode, seed)


def test_linear_probe_refuses_an_embedding_made_in_train_mode(monkeypatch):
    """The package's own guard: with the mutant in place of embed, linear_probe stops."""
    images, labels = make_images(0)
    data = SimpleNamespace(train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    assert E.linear_probe(make_encoder(0), data).state_hash == E.state_hash(make_encoder(0))
    monkeypatch.setattr(E.frozen, "embed", lambda e, x, batch_size, device, level: embed_in_train_mode(e, x))
    with pytest.raises(RuntimeError, match="not frozen"):
        E.linear_probe(make_encoder(0), data)


# --- (b) not frozen -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_backbone_in_the_optimizer_is_shown_by_the_hash(seed):
    x, y = make_images(seed)
    data = SimpleNamespace(train_images=x, train_labels=y, test_images=x, test_labels=y)
    assert stays_the_same(make_encoder(seed), lambda e: E.linear_probe(e, data))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        assert not stays_the_same(
            make_encoder(seed), lambda e: probe_with_the_backbone_in_the_optimizer(e, x, y, x, y)
        )


def test_the_honest_probe_leaves_no_gradient_on_the_encoder():
    x, y = make_images(0)
    data = SimpleNamespace(train_images=x, train_labels=y, test_images=x, test_labels=y)
    honest, mutant = make_encoder(0), make_encoder(0)
    E.linear_probe(honest, data)
    probe_with_the_backbone_in_the_optimizer(mutant, x, y, x, y)
    assert all(p.grad is None for p in honest.parameters())
    assert any(p.grad is not None for p in mutant.parameters())


# --- (c) chosen on test -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_permuting_the_test_labels_changes_nothing_that_was_fitted(seed):
    results = fitted_with_permuted_test_labels(E.fit_linear, seed)
    for other in results[1:]:
        assert other.l2 == results[0].l2 and other.val_accuracy == results[0].val_accuracy
        assert torch.equal(other.weight, results[0].weight) and torch.equal(other.bias, results[0].bias)
        assert torch.equal(other.predictions, results[0].predictions)


def test_choosing_l2_on_test_is_found_out_by_the_permutation():
    chosen = [{r.l2 for r in fitted_with_permuted_test_labels(fit_linear_choosing_on_test, s)} for s in SEEDS]
    assert any(len(strengths) > 1 for strengths in chosen)


def test_choosing_on_test_looks_better_than_it_is():
    """On test labels that are pure chance the mutant reports more than the honest probe."""
    honest, mutant = [], []
    for seed in range(12):
        g = torch.Generator().manual_seed(seed)
        x, test_x = torch.randn(40, 10, generator=g), torch.randn(40, 10, generator=g)
        y, test_y = torch.arange(40) % 2, torch.randint(0, 2, (40,), generator=g)
        honest.append(E.fit_linear(x, y, test_x, test_y, seed=seed).accuracy)
        mutant.append(fit_linear_choosing_on_test(x, y, test_x, test_y, seed=seed).accuracy)
    assert all(m >= h - 1e-9 for m, h in zip(mutant, honest, strict=True))
    assert sum(mutant) > sum(honest)
