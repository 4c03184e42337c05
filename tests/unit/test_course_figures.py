"""The figures: what each shows is read back from its artists and compared with numbers worked out here."""

import gc
import inspect
import io
import math

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from simclr_edu.course import figures

SEEDS = (0, 1, 2)
NAMES = ("disc", "star", "ring")


def rng(seed=0):
    return np.random.default_rng(seed)


def images(n=4, size=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), generator=g, dtype=torch.uint8)


def similarities(n=8, d=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    z = torch.nn.functional.normalize(torch.randn(n, d, generator=g, dtype=torch.float64), dim=1)
    return z @ z.T


def history(steps=30, knn=True):
    return [
        {
            "step": i,
            "loss": 6.0 - 0.1 * i,
            "contrastive_accuracy": i / 100,
            "learning_rate": 0.1,
            **({"knn": 0.5} if knn and i % 10 == 0 else {}),
        }
        for i in range(steps)
    ]


def labels(n, seed=0):
    return rng(seed).permutation(np.arange(n) % 3)


FIGURES = {
    "image_grid": lambda: figures.image_grid(images(5), list("abcde"), columns=3),
    "view_pairs": lambda: figures.view_pairs(images(3, 16), images(3), images(3)),
    "augmentation_steps": lambda: figures.augmentation_steps(
        [("original", images()), ("crop", images(4, 16))]
    ),
    "colour_histograms": lambda: figures.colour_histograms(images(1)[0], images(1, 12)[0]),
    "nearest_neighbours": lambda: figures.nearest_neighbours(
        images(2), images(6).view(2, 3, 3, 8, 8), np.full((2, 3), 0.5), np.eye(2, 3, dtype=bool)
    ),
    "neighbours_before_after": lambda: figures.neighbours_before_after(
        images(2), *[images(6, seed=s).view(2, 3, 3, 8, 8) for s in (1, 2)], np.eye(2, 3), np.ones((2, 3))
    ),
    "arrows": lambda: figures.arrows([[1, 0], [0, 2], [1, 1], [-1, 1]], ["1a", "2a", "1b", "2b"]),
    "similarity_matrix": lambda: figures.similarity_matrix(similarities()),
    "before_after_similarity": lambda: figures.before_after_similarity(
        similarities(9), similarities(9, seed=1), labels(9), NAMES
    ),
    "softmax_row": lambda: figures.softmax_row(similarities()[0, 1:], 3),
    "gradient_share": lambda: figures.gradient_share(similarities(40)[0, 1:]),
    "temperature_effect": lambda: figures.temperature_effect(similarities()[0, 1:], 3, 0.2),
    "anchor_softmax": lambda: figures.anchor_softmax(similarities(), 2, 0.2),
    "loss_curve": lambda: figures.loss_curve(history(), 64),
    "loss_floor": lambda: figures.loss_floor(),
    "temperature_results": lambda: figures.temperature_results(
        [0.5, 0.1], [0.8, 0.9], [0.01, 0.02], [0.7, 0.8], [0.01, 0.01], {0.1: 0.644}, {0.1: 0.878}
    ),
    "learning_rate": lambda: figures.learning_rate([0.0, 0.1, 0.2, 0.1, 0.0], steps_per_epoch=2),
    "bar_with_error": lambda: figures.bar_with_error(["a", "b"], [0.5, 0.7], [0.1, 0.1], chance=0.1),
    "label_budget": lambda: figures.label_budget(
        [0.01, 1], {"probe": [0.5, 0.9], "scratch": [[0.2, 0.8], [0.3, 0.9]]}, chance=0.1, at=1.0
    ),
    "confusion": lambda: figures.confusion([[8, 2, 0], [0, 5, 5], [1, 0, 9]], NAMES),
    "factor_bars": lambda: figures.factor_bars(["hue", "class"], [0.9, 0.9], [0.1, 0.9]),
    "throughput_bars": lambda: figures.throughput_bars(["slow", "fast"], [100.0, 1700.0]),
    "embedding_scatter": lambda: figures.embedding_scatter(rng().normal(size=(12, 2)), labels(12), NAMES),
    "embedding_maps": lambda: figures.embedding_maps(
        {"one": rng().normal(size=(12, 2)), "two": rng(1).normal(size=(12, 2))}, labels(12), NAMES
    ),
    "histogram_pair": lambda: figures.histogram_pair(np.linspace(0.2, 1, 50), np.linspace(-1, 0.4, 80)),
    "uniformity_alignment": lambda: figures.uniformity_alignment(["a", "b"], [0.2, 0.4], [-3.0, -1.0]),
}
MOSAICS = {"image_grid", "view_pairs", "augmentation_steps", "nearest_neighbours", "neighbours_before_after"}


@pytest.fixture(scope="module")
def drawn():
    return {name: make() for name, make in FIGURES.items()}


def bars(ax):
    """Heights of the bars that were drawn as one collection."""
    found = [c for c in ax.collections if c.get_gid() == "bars"]
    return np.array([p.vertices[:, 1].max() + p.vertices[:, 1].min() for p in found[0].get_paths()])


def by_gid(ax, gid):
    found = [a for a in ax.get_children() if a.get_gid() == gid]
    assert len(found) == 1, f"{len(found)} artists with gid {gid}"
    return found[0]


def test_every_public_figure_function_is_tested_here():
    public = {name for name, f in inspect.getmembers(figures, inspect.isfunction) if name in figures.__all__}
    # embedding_map is a page, not a figure: test_embedding_map.py. budget_name is a text.
    assert public - {"show", "to_html", "to_png", "embedding_map", "budget_name"} == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_title_labels_alt_text_and_size(name, drawn):
    fig = drawn[name]
    assert isinstance(fig, Figure)
    assert len(fig.get_suptitle()) > 8
    assert fig.alt_text.endswith(".") and len(fig.alt_text.split()) >= 6
    assert "nan" not in fig.alt_text and "-0.00" not in fig.alt_text
    assert fig.get_figwidth() * fig.dpi <= 900
    if name not in MOSAICS:
        axes = [ax for ax in fig.axes if ax.get_label() != "<colorbar>" and ax.axison]
        # Panels of one row or column may share a label; the two crops beside the histograms are pictures.
        shared = {"colour_histograms": 1, "softmax_row": 1}
        assert sum(bool(ax.get_xlabel()) for ax in axes) >= shared.get(name, len(axes))
        assert any(ax.get_ylabel() or ax.get_yticklabels() for ax in axes)
        assert all(ax.get_ylabel() for ax in fig.axes if ax.get_label() == "<colorbar>")


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_drawn_outside_the_picture(name, drawn):
    fig = drawn[name]
    with matplotlib.rc_context(figures.picture._STYLE):
        fig.canvas.draw()
        box = fig.get_tightbbox(fig.canvas.get_renderer())
    assert box.x0 >= -0.02 and box.y0 >= -0.02
    assert box.x1 <= fig.get_figwidth() + 0.02 and box.y1 <= fig.get_figheight() + 0.02


@pytest.mark.parametrize("name", FIGURES)
def test_own_title_replaces_the_default(name):
    code = FIGURES[name].__code__
    function = getattr(figures, name)
    assert name in code.co_names
    assert inspect.signature(function).parameters["title"].default is None


def test_own_title_is_shown():
    assert figures.loss_floor(title="My title").get_suptitle() == "My title"
    assert figures.image_grid(images(), title="Mine").get_suptitle() == "Mine"


def test_the_same_data_give_the_same_bytes():
    for name in ("loss_curve", "image_grid", "confusion"):
        assert figures.to_png(FIGURES[name]()) == figures.to_png(FIGURES[name]())


def test_pyplot_and_the_readers_settings_stay_as_they_are():
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    for make in FIGURES.values():
        make()
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


@pytest.mark.slow
def test_no_figure_stays_in_memory():
    figures.loss_floor()
    gc.collect()
    before = sum(issubclass(type(o), Figure) for o in gc.get_objects())
    for _ in range(5):
        figures.to_png(figures.loss_floor())
    gc.collect()
    assert sum(issubclass(type(o), Figure) for o in gc.get_objects()) == before


# --- showing ------------------------------------------------------------------------------------------


def test_png_has_the_size_of_the_figure():
    fig = figures.loss_floor()
    image = Image.open(io.BytesIO(figures.to_png(fig)))
    assert image.size == (900, 400)


def test_large_pictures_are_reduced_to_256_colours():
    noise = images(8, 224)
    png = figures.to_png(figures.image_grid(noise, columns=4))
    assert Image.open(io.BytesIO(png)).mode == "P"
    assert Image.open(io.BytesIO(figures.to_png(figures.loss_floor()))).mode == "RGB"


def test_html_escapes_the_alt_text_and_states_the_size():
    fig = figures.bar_with_error(['<b>"x"</b>', "y"], [0.1, 0.2])
    page = figures.to_html(fig)
    assert page.startswith("<img alt=") and "<b>" not in page and "&lt;b&gt;&quot;x&quot;" in page
    assert 'width="900"' in page and page.count("<img") == 1


def test_a_figure_without_alt_text_is_refused():
    with pytest.raises(ValueError, match="alt_text"):
        figures.to_html(Figure())
    with pytest.raises(TypeError, match="must be a matplotlib Figure, got str"):
        figures.to_png("figure")


def test_show_and_last_expression_display_the_same_once(monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, raw: shown.append((data, raw)))
    fig = figures.loss_floor()
    assert figures.show(fig) is None
    fig._ipython_display_()
    assert len(shown) == 2 and shown[0] == shown[1]
    data, raw = shown[0]
    assert raw and set(data) == {"text/html", "text/plain"}
    assert fig.alt_text in data["text/plain"]


def test_other_figures_can_be_shown_once_they_have_alt_text():
    fig = Figure()
    fig.subplots().plot([1, 2])
    fig.alt_text = "A line."
    assert 'alt="A line."' in figures.to_html(fig)


# --- pictures of pictures -----------------------------------------------------------------------------


def test_grid_shows_the_very_pixels():
    x = images(3, 8)
    canvas = figures.image_grid(x, columns=2).axes[0].images[0].get_array()
    tile = x[1].permute(1, 2, 0).numpy()
    found = [
        (r, c)
        for r in range(canvas.shape[0] - 7)
        for c in range(canvas.shape[1] - 7)
        if np.array_equal(canvas[r : r + 8, c : c + 8], tile)
    ]
    assert len(found) == 1 and found[0][1] > 8


def test_float_and_uint8_images_look_the_same():
    x = images()
    a = figures.to_png(figures.image_grid(x))
    assert (
        a
        == figures.to_png(figures.image_grid(x.float() / 255))
        == figures.to_png(figures.image_grid(x.numpy()))
    )


@settings(deadline=None, max_examples=15)
@given(n=st.integers(1, 20), columns=st.integers(1, 12), h=st.integers(1, 9), w=st.integers(1, 9))
def test_any_number_of_images_of_any_size(n, columns, h, w):
    fig = figures.image_grid(torch.zeros(n, 3, h, w), columns=columns)
    assert fig.get_figwidth() <= 9.0 + 1e-9
    assert f"{n} image" in fig.alt_text


def test_neighbours_of_another_class_are_crossed():
    same = np.array([[True, False, False], [True, True, True]])
    fig = figures.nearest_neighbours(images(2), images(6).view(2, 3, 3, 8, 8), np.full((2, 3), 0.5), same)
    assert len(by_gid(fig.axes[0], "other class").get_segments()) == 2 * 2
    assert "4 of 6" in fig.alt_text
    named = figures.nearest_neighbours(images(1), images(2)[None], [[0.5, 0.4]], query="anchor")
    assert [t.get_text() for t in named.axes[0].texts] == ["anchor", "0.50", "0.40"]


@pytest.mark.parametrize("seed", SEEDS)
def test_colour_overlap_is_one_for_shuffled_pixels_and_zero_for_apart(seed):
    x = images(1, 8, seed)[0]
    order = torch.randperm(64, generator=torch.Generator().manual_seed(seed))
    y = x.flatten(1)[:, order].view(3, 8, 8)
    assert "100%, 100% and 100%" in figures.colour_histograms(x, y).alt_text
    black, white = torch.zeros(3, 4, 4), torch.ones(3, 4, 4)
    assert "0%, 0% and 0%" in figures.colour_histograms(black, white).alt_text


# --- similarities -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 40])
def test_positives_are_outlined_and_the_diagonal_crossed(n):
    ax = figures.similarity_matrix(similarities(2 * n)).axes[0]
    boxes = [p.vertices[:4].mean(axis=0) for p in by_gid(ax, "positives").get_paths()]
    assert len(boxes) == 2 * n
    assert {(round(x), round(y)) for x, y in boxes} == {((i + n) % (2 * n), i) for i in range(2 * n)}
    crosses = by_gid(ax, "self").get_segments()
    assert len(crosses) == 2 * 2 * n
    assert all(np.allclose(s.mean(axis=0), s.mean()) for s in crosses)


def test_cells_have_the_decimals_asked_for():
    texts = {
        t.get_text() for t in figures.similarity_matrix(np.full((4, 4), 0.9876), decimals=3).axes[0].texts
    }
    assert texts == {"0.988"}


def test_arrows_say_their_angle_whatever_their_length():
    fig = figures.arrows([[2, 0], [0, 3], [1, 1], [-1, 0]], ["1a", "2a", "1b", "2b"])
    assert "1a at 0 degrees, 2a at 90 degrees, 1b at 45 degrees, 2b at 180 degrees" in fig.alt_text


def test_plain_matrix_has_no_marks():
    ax = figures.similarity_matrix(similarities(7), kind="plain").axes[0]
    assert len(ax.collections) == 0
    assert np.allclose(ax.images[0].get_array(), similarities(7))


def test_before_after_title_follows_the_data():
    y = np.repeat([0, 1, 2], 3)
    apart, flat = (y[:, None] == y[None]).astype(float), np.ones((9, 9))
    assert "blocks appear" in figures.before_after_similarity(flat, apart, y, NAMES).get_suptitle()
    assert "did not" in figures.before_after_similarity(apart, flat, y, NAMES).get_suptitle()


# --- softmax, temperature, loss -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_softmax_weights_are_those_of_torch(seed):
    s = similarities(10, seed=seed)[0, 1:]
    fig = figures.softmax_row(s, 4, [0.05, 0.5])
    assert np.allclose(bars(fig.axes[0]), s)
    for ax, tau in zip(fig.axes[1:], (0.05, 0.5), strict=True):
        assert np.allclose(bars(ax), torch.softmax(s / tau, dim=0))
    assert f"{torch.softmax(s / 0.05, 0)[4]:.2f} at temperature 0.05" in fig.alt_text


def test_tiny_temperatures_do_not_overflow():
    fig = figures.softmax_row([0.9, 1.0, -1.0], 1, [1e-4])
    assert np.allclose(bars(fig.axes[1]), [0, 1, 0])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_gradient_share_is_that_of_autograd(seed, tau):
    """The oracle: differentiate the cross-entropy with respect to every similarity."""
    s = similarities(42, seed=seed)[0, 1:].clone().requires_grad_()  # candidate 0 is the positive
    (-torch.log_softmax(s / tau, dim=0)[0]).backward()
    grad = s.grad[1:]
    hard = s.detach()[1:].argsort(descending=True)[:4]
    share = float(grad[hard].sum() / grad.sum())
    fig = figures.gradient_share(s.detach()[1:], [tau])
    widths = np.array([p.get_width() for p in fig.axes[0].patches]).reshape(3, 2)  # (group, bar)
    assert np.isclose(widths[0, 1], share)
    assert np.allclose(widths.sum(axis=0), 1)
    assert np.isclose(widths[0, 0], 0.1)
    effect = figures.temperature_effect(s.detach(), 0, tau)
    widths = np.array([p.get_width() for p in effect.axes[1].patches]).reshape(3, 2)
    assert np.isclose(widths[0, 1], share)
    loss = -torch.log_softmax(s.detach() / tau, dim=0)[0]
    assert f"loss is {float(loss):.2f}" in effect.get_suptitle()


@pytest.mark.parametrize("k", range(3, 12))
def test_every_group_of_negatives_has_members(k):
    widths = [p.get_width() for p in figures.gradient_share(np.linspace(-1, 1, k), [0.5]).axes[0].patches]
    assert min(widths[::2]) > 0 and math.isclose(sum(widths[::2]), 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_anchor_softmax_states_the_loss_of_the_package(seed, tau):
    from simclr_edu.losses import nt_xent_loop

    g = torch.Generator().manual_seed(seed)
    z1, z2 = torch.randn(5, 6, generator=g), torch.randn(5, 6, generator=g)
    z = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
    fig = figures.anchor_softmax(z @ z.T, 3, tau)
    assert f"batch's {float(nt_xent_loop(z1, z2, tau)):.2f}" in fig.get_suptitle()
    weights = bars(fig.axes[1])
    assert weights[3] == 0 and math.isclose(weights.sum(), 1)


@pytest.mark.parametrize("n", [2, 64, 256])
def test_loss_curve_has_the_guessing_line(n):
    fig = figures.loss_curve(history(knn=False), n)
    line = by_gid(fig.axes[0], "floor")
    assert np.allclose(line.get_ydata(), math.log(2 * n - 1))


def test_loss_curve_has_a_panel_for_what_is_there():
    assert [ax.get_title() for ax in figures.loss_curve(history(), 8).axes] == [
        "loss",
        "contrastive accuracy",
        "kNN accuracy",
        "learning rate",
    ]
    assert [ax.get_title() for ax in figures.loss_curve([{"step": 0, "loss": 1.0}], 8).axes] == ["loss"]


@pytest.mark.parametrize(("loss", "word"), [(math.log(127), "still at"), (4.5, "below"), (1.0, "well below")])
def test_loss_curve_title_says_whether_it_is_stuck(loss, word):
    rows = [{"step": i, "loss": loss} for i in range(10)]
    assert f"is {word} the guessing line" in figures.loss_curve(rows, 64).get_suptitle()


@pytest.mark.parametrize("count", [60, 61])
def test_loss_curve_title_says_what_its_figure_is(count):
    losses = np.linspace(4, 2, count)
    title = figures.loss_curve([{"step": i, "loss": v} for i, v in enumerate(losses)], 64).get_suptitle()
    mean = figures.pretraining._running_mean(losses)[-1]
    assert ("now 2.00, is" in title) if count == 60 else (f"now {mean:.2f} (running mean), is" in title)


@pytest.mark.parametrize("accuracy", [1 / 511, 0.05, 0.2, 0.9])
def test_chance_and_contrastive_accuracy_are_told_apart(accuracy):
    rows = [{"step": i, "loss": 5.0, "contrastive_accuracy": accuracy} for i in range(4)]
    ax = figures.loss_curve(rows, 256).axes[1]
    assert 0.3 < accuracy / ax.get_ylim()[1] < 0.95  # above the words at the bottom, below the frame


def test_loss_curve_names_the_knn_panel():
    titles = [ax.get_title() for ax in figures.loss_curve(history(), 8, knn_title="kNN, 10 labels").axes]
    assert "kNN, 10 labels" in titles


@pytest.mark.parametrize("seed", SEEDS)
def test_running_mean(seed):
    y = rng(seed).normal(size=300)
    mean = figures.pretraining._running_mean(y)
    assert np.allclose(mean, [y[max(0, i - 14) : i + 1].mean() for i in range(300)])


def test_loss_floor_curve():
    line = figures.loss_floor(256).axes[0].lines[0]
    assert np.allclose(line.get_ydata(), np.log(2 * line.get_xdata() - 1))
    assert "511 candidates, 6.24" in figures.loss_floor(256).axes[0].texts[0].get_text()


def test_temperature_results_sorts_and_lists_ours_and_the_papers():
    fig = FIGURES["temperature_results"]()
    x, y = fig.axes[0].containers[0].lines[0].get_data()
    assert list(x) == [0.1, 0.5] and list(y) == [0.9, 0.8]
    assert "linear probe, ours: 90% at temperature 0.1, 80% at temperature 0.5" in fig.alt_text
    assert "contrastive accuracy, the paper's: 88% at temperature 0.1" in fig.alt_text
    ours, papers = fig.axes[1].get_ylim(), fig.axes[3].get_ylim()
    assert ours != papers, "each panel has an axis of its own"


def test_learning_rate_counts_epochs():
    ax = figures.learning_rate([0, 1, 2, 1], steps_per_epoch=2).axes[0]
    assert list(ax.lines[0].get_xdata()) == [0, 0.5, 1, 1.5]


# --- results and embeddings ---------------------------------------------------------------------------


def test_bars_have_the_lengths_given():
    ax = figures.bar_with_error(["a", "b"], [0.25, 0.5], chance=0.1).axes[0]
    assert [p.get_width() for p in ax.patches] == [0.25, 0.5]
    assert list(ax.lines[-1].get_xdata()) == [0.1, 0.1]


def test_label_budget_averages_seeds_and_marks_the_fraction():
    fig = figures.label_budget([0.1, 1.0], {"a": [[0.2, 0.6], [0.4, 0.8]], "b": [0.1, 0.9]}, at=1.0)
    assert np.allclose(fig.axes[0].containers[0].lines[0].get_ydata(), [0.3, 0.7])
    assert by_gid(fig.axes[0], "at").get_xdata()[0] == 1.0
    assert fig.get_suptitle() == "With 100% of the labels, b is best: 90.0%"


def test_label_budget_legend_follows_the_curves_and_only_chance_is_dotted():
    ends = {"a": 0.3, "b": 0.9, "c": 0.05, "d": 0.6, "e": 0.4}
    fig = figures.label_budget([0.1, 1.0], {k: [0.0, v] for k, v in ends.items()}, chance=0.1)
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["b", "d", "e", "a", "chance", "c"]
    lines = [c.lines[0] for c in fig.axes[0].containers]
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 5
    assert ":" not in [line.get_linestyle() for line in lines]


def test_label_budget_counts_labels_a_class_where_it_is_told_their_number():
    results = {"a": [[0.2, 0.6, 0.7], [0.4, 0.8, 0.9]], "b": [0.25, 0.9, 0.95]}
    fig = figures.label_budget([0.001, 0.01, 1.0], results, at=0.001, per_class=1000)
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "10", "all"]
    assert ax.get_xlabel() == "labels a class (log scale)"
    assert fig.get_suptitle() == "With 1 label a class, a is best: 30.0%"
    assert "from 1 to all labels a class" in fig.alt_text
    assert figures.label_budget([0.01, 1.0], {"b": [0.9, 0.95]}, at=1.0, per_class=1000).get_suptitle() == (
        "With all labels, b is best: 95.0%"
    )
    # The spread of two draws that differ by .2 is .2 / sqrt(2), a standard deviation of a sample.
    bars = ax.containers[0].lines[2][0].get_segments()
    assert np.allclose([top[1] - bottom[1] for bottom, top in bars], 2 * 0.2 / np.sqrt(2))


def test_neighbours_before_after_crosses_both_sides():
    fig = FIGURES["neighbours_before_after"]()
    assert len(by_gid(fig.axes[0], "other class").get_segments()) == 2 * 4
    assert "random encoder: 2 of 6; SimCLR: 6 of 6" in fig.get_suptitle().replace("\n", " ")
    assert "2 of 6" in fig.alt_text and "6 of 6" in fig.alt_text


def test_embedding_maps_draw_every_point_in_every_panel():
    fig = FIGURES["embedding_maps"]()
    assert [ax.get_title() for ax in fig.axes] == ["one", "two"]
    assert [sum(len(c.get_offsets()) for c in ax.collections) for ax in fig.axes] == [12, 12]
    assert [t.get_text() for t in fig.legends[0].get_texts()] == list(NAMES)


def test_confusion_is_normalised_by_row():
    fig = figures.confusion([[8, 2, 0], [0, 5, 5], [1, 0, 9]], NAMES)
    assert np.allclose(fig.axes[0].images[0].get_array().sum(axis=1), 1)
    assert fig.get_suptitle() == "73.3% correct; commonest confusion: star taken for ring (50%)"


def test_factor_title_names_what_the_head_loses():
    assert "hue" in FIGURES["factor_bars"]().get_suptitle()
    assert "every factor" in figures.factor_bars(["hue"], [0.5], [0.5]).get_suptitle()


def test_throughput_ratio():
    assert figures.throughput_bars(["a", "b"], [100, 1700]).get_suptitle() == "b is 17.0 times as fast as a"


@pytest.mark.parametrize("seed", SEEDS)
def test_histograms_add_up_to_everything(seed):
    r = rng(seed)
    fig = figures.histogram_pair(r.uniform(-1, 1, 333), r.uniform(-1, 1, (20, 20)), bins=13)
    for name in ("positive pairs", "negative pairs"):
        assert math.isclose(by_gid(fig.axes[0], name).get_data().values.sum(), 1)


def test_scatter_draws_every_point_once_with_its_own_marker():
    y = labels(30)
    ax = figures.embedding_scatter(rng().normal(size=(30, 2)), y, NAMES).axes[0]
    assert [len(c.get_offsets()) for c in ax.collections] == [10, 10, 10]
    assert len({c.get_paths()[0].vertices.tobytes() for c in ax.collections}) == 3


def test_palette_is_okabe_ito():
    assert list(figures.OKABE_ITO.values())[:3] == ["#0072B2", "#E69F00", "#009E73"]
    assert len(set(figures.OKABE_ITO.values())) == 8


# --- bad input ----------------------------------------------------------------------------------------

S = [[1.0, 0.5], [0.5, 1.0]]
BAD = [
    (lambda: figures.image_grid(images()[0]), ValueError, "must be a batch"),
    (lambda: figures.image_grid([1, 2]), TypeError, "must be a torch.Tensor"),
    (lambda: figures.image_grid(images().float()), ValueError, r"must be in \[0, 1\].*normalisation"),
    (lambda: figures.image_grid(torch.full((1, 3, 4, 4), math.nan)), ValueError, r"must be in \[0, 1\]"),
    (lambda: figures.image_grid(images(), ["a"]), ValueError, "titles must have 4 names, got 1"),
    (lambda: figures.view_pairs(images(3), images(3), images(2)), ValueError, "equally many, got 3, 3, 2"),
    (lambda: figures.augmentation_steps([]), ValueError, "non-empty list"),
    (lambda: figures.colour_histograms(images(), images()), ValueError, "one image of shape"),
    (
        lambda: figures.nearest_neighbours(images(), images(), [[1.0]]),
        ValueError,
        r"neighbours must have shape \(4, K",
    ),
    (
        lambda: figures.neighbours_before_after(
            images(2), images(6).view(2, 3, 3, 8, 8), images(4).view(2, 2, 3, 8, 8), [[1]], [[1]]
        ),
        ValueError,
        "must both have shape",
    ),
    (
        lambda: figures.neighbours_before_after(
            images(1), images(2)[None], images(2)[None], np.ones((1, 2)), np.ones((2, 1))
        ),
        ValueError,
        r"same_after must have shape \(1, 2\), got \(2, 1\)",
    ),
    (lambda: figures.embedding_maps({}, [0], NAMES), ValueError, "one to three names"),
    (
        lambda: figures.embedding_maps({"a": np.zeros((3, 2)), "b": np.zeros((4, 2))}, [0] * 3, NAMES),
        ValueError,
        r"points of 'b' must have shape \(3, 2\)",
    ),
    (lambda: figures.similarity_matrix(np.zeros((2, 3))), ValueError, "square matrix"),
    (
        lambda: figures.similarity_matrix(np.zeros((4, 4)), decimals=4),
        ValueError,
        "decimals must be from 1 to 3",
    ),
    (lambda: figures.arrows(np.ones((4, 3)), list("abcd")), ValueError, "shape .2N, 2., got .4, 3."),
    (lambda: figures.arrows(np.zeros((2, 2)), ["a", "b"]), ValueError, "one of length 0"),
    (lambda: figures.arrows(np.ones((2, 2)), ["a"]), ValueError, "names must have 2 names"),
    (lambda: figures.similarity_matrix(np.zeros((5, 5))), ValueError, "2N rows.*got 5"),
    (lambda: figures.similarity_matrix(np.full((4, 4), 3.0)), ValueError, "cosine similarities from -1 to 1"),
    (lambda: figures.similarity_matrix(np.full((4, 4), np.nan)), ValueError, "finite, got 16"),
    (lambda: figures.similarity_matrix(np.zeros((4, 4)), kind="x"), ValueError, "kind must be one of"),
    (lambda: figures.before_after_similarity(S, np.eye(3), [0, 1], NAMES), ValueError, "one shape"),
    (lambda: figures.softmax_row([0.1, 0.2], 2), ValueError, "positive_index must be from 0 to 1, got 2"),
    (lambda: figures.softmax_row([0.1, 0.2], 0, [0.0]), ValueError, "temperature must be a finite number"),
    (lambda: figures.softmax_row([0.1, 0.2], 0, []), ValueError, "temperatures must not be empty"),
    (lambda: figures.gradient_share([0.1]), ValueError, "at least 3 negatives, got 1"),
    (lambda: figures.anchor_softmax(np.eye(4), 4), ValueError, "anchor must be from 0 to 3, got 4"),
    (lambda: figures.loss_curve([], 8), ValueError, "history must not be empty"),
    (lambda: figures.loss_curve([{"loss": 1.0}], 8), ValueError, "must have a step"),
    (lambda: figures.loss_curve([{"step": 1}], 8), ValueError, "must hold a loss"),
    (lambda: figures.loss_curve([{"step": 1, "loss": math.nan}], 8), ValueError, "loss must be finite"),
    (lambda: figures.loss_curve({"step": 1, "loss": 1}, 8), TypeError, "list of rows, got dict"),
    (lambda: figures.loss_floor(1), ValueError, "num_pairs must be from 2"),
    (lambda: figures.temperature_results([1], [90], [1], [1], [0]), ValueError, "accuracies from 0 to 1"),
    (lambda: figures.learning_rate([-1.0]), ValueError, "must not be negative"),
    (lambda: figures.bar_with_error(["a"], [0.1, 0.2]), ValueError, "means must have 1 values, got 2"),
    (lambda: figures.bar_with_error("ab", [0.1, 0.2]), TypeError, "names must be a list of names, got str"),
    (lambda: figures.label_budget([0, 1], {"a": [0, 1]}), ValueError, "fractions must be above 0"),
    (lambda: figures.label_budget([0.1, 1], {"a": [0.5]}), ValueError, r"must have shape \(2,\)"),
    (lambda: figures.label_budget([0.1, 1], {"a": [0.5, 1]}, at=0.3), ValueError, "at must be one of"),
    (lambda: figures.label_budget([0.1, 1], {"a": [0.5, 1]}, per_class=0), ValueError, "per_class"),
    (lambda: figures.confusion(np.zeros((3, 3)), NAMES), ValueError, "not all zero"),
    (lambda: figures.confusion(np.eye(2), NAMES), ValueError, r"shape \(3, 3\), got \(2, 2\)"),
    (lambda: figures.factor_bars(["a"], [2.0], [0.0]), ValueError, "at most 1, got 2"),
    (lambda: figures.throughput_bars(["a"], [0.0]), ValueError, "greater than 0"),
    (lambda: figures.embedding_scatter(np.zeros((4, 3)), [0] * 4, NAMES), ValueError, r"shape \(N, 2\)"),
    (lambda: figures.histogram_pair([2.0], [0.0]), ValueError, "positive must be cosine similarities"),
    (
        lambda: figures.uniformity_alignment(["a"], [-1.0], [0.0]),
        ValueError,
        "alignment must not be negative",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_input_gives_a_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_grid_names_its_rows_and_refuses_another_number_of_names():
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    fig = figures.image_grid(images, columns=2, row_names=["upper", "lower"])
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["upper", "lower"]
    assert "upper" in fig.alt_text and "lower" in fig.alt_text
    with pytest.raises(ValueError, match="row_names"):
        figures.image_grid(images, columns=2, row_names=["only one"])


def test_histograms_can_share_one_scale():
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for top in (0.4, 0.8):
        fig = figures.colour_histograms(*images, top=top)
        assert {ax.get_ylim()[1] for ax in fig.axes if ax.get_xlabel()} == {top}
    with pytest.raises(ValueError, match="top"):
        figures.colour_histograms(*images, top=1.5)
