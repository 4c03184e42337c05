"""The embedded data set: balanced, seeded, drawn from its factors, hard for pixels for the right reason."""

import hashlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simclr_edu.data import shapes

SEEDS = (0, 1, 7)
LUMA = torch.tensor([0.299, 0.587, 0.114])


def one_image(label: int, size: int = 64, **changes: float) -> torch.Tensor:
    factors = shapes.sample_factors(1, seed=3)
    factors |= {"noise": torch.zeros(1), "x": torch.tensor([0.5]), "y": torch.tensor([0.5])}
    factors |= {name: torch.tensor([float(value)]) for name, value in changes.items()}
    return shapes.render(torch.tensor([label]), factors, size=size)[0]


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 60), size=st.integers(8, 50), seed=st.integers(0, 1000), texture=st.booleans())
def test_shapes_types_and_balance(n, size, seed, texture):
    images, labels, factors = shapes.make_shapes(n, size=size, seed=seed, texture=texture)
    assert images.shape == (n, 3, size, size) and images.dtype == torch.uint8
    assert labels.shape == (n,) and labels.dtype == torch.int64
    counts = labels.bincount(minlength=10)
    assert counts.max() - counts.min() <= 1
    assert set(factors) == set(shapes.FACTOR_UNITS)
    assert all(f.shape == (n,) and torch.isfinite(f).all() for f in factors.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_seed_decides_everything_and_the_global_generator_nothing(seed):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a = shapes.make_shapes(50, seed=seed)
    torch.rand(5)
    b = shapes.make_shapes(50, seed=seed)
    other = shapes.make_shapes(50, seed=seed + 1)
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    assert not torch.equal(a[0], other[0])
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_two_images_of_train_and_test_are_the_same():
    train, test = shapes.make_shapes(500, seed=0)[0], shapes.make_shapes(500, seed=1)[0]
    digests = {hashlib.sha256(x.numpy().tobytes()).digest() for x in torch.cat([train, test])}
    assert len(digests) == 1000


@pytest.mark.parametrize("seed", SEEDS)
def test_foreground_and_background_always_contrast(seed):
    f = shapes.sample_factors(5000, seed=seed)
    for side in ("background_luma_a", "background_luma_b"):
        assert ((f["luma"] - f[side]).abs() >= 0.3 - 1e-6).all()
    light = (f["luma"] > f["background_luma_a"]).float().mean()
    assert 0.45 < light < 0.55  # the sign of the contrast is a coin


@pytest.mark.parametrize("seed", SEEDS)
def test_place_size_and_rotation_fill_their_ranges_and_silhouettes_stay_inside(seed):
    f = shapes.sample_factors(5000, seed=seed)
    assert 0.25 <= f["scale"].min() < 0.252 and 0.378 < f["scale"].max() <= 0.38
    assert -28 <= f["rotation"].min() < -27.8 and 27.8 < f["rotation"].max() <= 28
    for side in ("x", "y"):
        border = torch.minimum(f[side], 1 - f[side])  # of the centre, (5000,)
        assert (border >= 0.95 * f["scale"] - 1e-6).all()
        for low in (0.25, 0.30, 0.35):  # small silhouettes reach further out than large ones
            alike = (f["scale"] >= low) & (f["scale"] < low + 0.02)
            assert border[alike].min() < 0.95 * (low + 0.02) + 0.005


@pytest.mark.parametrize("seed", SEEDS)
def test_the_easy_set_is_larger_nearer_the_middle_and_less_turned(seed):
    f = shapes.sample_factors(5000, seed=seed, easy=True)
    for name, low, high in (
        ("scale", 0.28, 0.40),
        ("x", 0.34, 0.66),
        ("y", 0.34, 0.66),
        ("rotation", -20, 20),
    ):
        slack = (high - low) / 200
        assert low - 1e-6 <= f[name].min() < low + slack and high - slack < f[name].max() <= high + 1e-6


def test_easy_changes_place_size_and_rotation_alone():
    hard, easy = shapes.sample_factors(200, seed=4), shapes.sample_factors(200, seed=4, easy=True)
    changed = {name for name in shapes.FACTOR_UNITS if not torch.equal(hard[name], easy[name])}
    assert changed == {"x", "y", "scale", "rotation"}


def test_the_easy_set_stays_the_set_that_published_figures_were_measured_on():
    images, labels, _ = shapes.make_shapes(100, seed=0, easy=True)
    digests = [hashlib.sha256(x.numpy().tobytes()).hexdigest()[:16] for x in (images, labels)]
    assert digests == ["9c8b616be7a4a7a9", "56a603b293f7896f"]


@pytest.mark.parametrize("seed", SEEDS)
def test_factors_do_not_depend_on_the_class(seed):
    _, labels, factors = shapes.make_shapes(10_000, size=8, seed=seed)
    for name, values in factors.items():
        if name == "texture":
            continue
        means = torch.stack([values[labels == k].mean() for k in range(10)])
        # Each class mean has standard error std / sqrt(1000); five of them is far out for ten classes.
        assert ((means - values.mean()).abs() < 5 * values.std() / math.sqrt(1000)).all(), name


def test_luma_of_the_drawn_colours_is_the_factor():
    labels = torch.zeros(200, dtype=torch.long)  # discs: the centre pixel is foreground
    f = shapes.sample_factors(200, seed=5) | {"noise": torch.zeros(200)}
    f |= {"x": torch.full((200,), 0.5), "y": torch.full((200,), 0.5)}
    images = shapes.render(labels, f, size=33).float() / 255
    centre = images[:, :, 16, 16]  # (200, 3)
    assert torch.allclose((centre * LUMA).sum(1), f["luma"], atol=0.01)


@pytest.mark.parametrize("hue", [0, 60, 120, 180, 240, 300])
def test_hue_is_the_hue_that_the_standard_library_reads_back(hue):
    import colorsys

    red, green, blue = (one_image(0, hue=hue, luma=0.5)[:, 32, 32].float() / 255).tolist()
    assert abs(colorsys.rgb_to_hsv(red, green, blue)[0] * 360 - hue) % 360 < 2


def test_position_is_where_the_silhouette_is():
    for x, y in ((0.4, 0.6), (0.6, 0.4), (0.5, 0.5)):
        image = one_image(0, x=x, y=y, luma=0.95, background_luma_a=0.1, background_luma_b=0.1).float()
        weight = (image * LUMA[:, None, None]).sum(0)
        weight = (weight - weight.median()).clamp(min=0)
        centre = (torch.arange(64) + 0.5) / 64
        assert abs(float((weight.sum(0) * centre).sum() / weight.sum()) - x) < 0.01
        assert abs(float((weight.sum(1) * centre).sum() / weight.sum()) - y) < 0.01


def test_scale_is_the_radius_of_the_disc():
    for scale in (0.2, 0.3, 0.4):
        image = one_image(0, scale=scale, luma=0.95, background_luma_a=0.1, background_luma_b=0.1)
        gray = (image.float() * LUMA[:, None, None]).sum(0) / 255
        area = ((gray - 0.1) / 0.85).clamp(0, 1).mean()
        assert abs(float(area) - math.pi * (0.9 * scale) ** 2) < 0.01


def test_rotation_turns_counter_clockwise():
    bar = shapes.CLASS_NAMES.index("bar")
    upright = one_image(bar, rotation=90).float().mean(0)
    flat = one_image(bar, rotation=0).float().mean(0)
    assert torch.allclose(upright, flat.rot90(), atol=60)
    column = (flat - flat.median()).abs().sum(0)
    row = (flat - flat.median()).abs().sum(1)
    assert (column > 500).sum() > (row > 500).sum()  # wider than tall


def test_every_silhouette_is_different_and_none_fills_the_picture():
    masks = torch.stack(
        [
            one_image(k, luma=0.9, background_luma_a=0.1, background_luma_b=0.1, rotation=0).float().mean(0)
            > 128
            for k in range(10)
        ]
    ).float()
    share = masks.flatten(1).mean(1)
    assert ((share > 0.02) & (share < 0.5)).all()
    overlap = (masks[:, None] * masks[None]).sum((2, 3)) / (masks[:, None] + masks[None]).clamp(max=1).sum(
        (2, 3)
    )
    assert overlap.fill_diagonal_(0).max() < 0.9


def test_texture_is_off_by_default_and_visible_when_on():
    assert (shapes.sample_factors(20)["texture"] == 0).all()
    plain, striped = one_image(0, texture=0.0).float(), one_image(0, texture=0.2).float()
    assert (plain - striped).abs().mean() > 5


def test_rendering_in_slices_changes_nothing(monkeypatch):
    whole = shapes.make_shapes(40, seed=2)[0]
    monkeypatch.setattr(shapes, "_CHUNK_PIXELS", 7 * 32 * 32)
    assert torch.equal(shapes.make_shapes(40, seed=2)[0], whole)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: shapes.make_shapes(0), "n must be at least 1, got 0"),
        (lambda: shapes.make_shapes(2.5), "n must be a whole number, got float"),
        (lambda: shapes.make_shapes(5, size=4), "size must be at least 8, got 4"),
        (lambda: shapes.render(torch.tensor([10]), shapes.sample_factors(1)), "from 0 to 9, got 10"),
        (
            lambda: shapes.render(torch.tensor([0, 1]), shapes.sample_factors(1)),
            r"must have shape \(2,\), got \(1,\)",
        ),
        (lambda: shapes.render(torch.tensor([0]), {"hue": torch.zeros(1)}), "missing background_angle"),
        (
            lambda: shapes.render(torch.tensor([0.0]), shapes.sample_factors(1)),
            "must be integers, got torch.float32",
        ),
        (
            lambda: shapes.render(
                torch.tensor([0]), shapes.sample_factors(1) | {"hue": torch.tensor([math.nan])}
            ),
            "must be finite",
        ),
    ],
)
def test_mistakes_are_sentences(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()
