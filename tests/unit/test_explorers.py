"""The widgets without a front end: move every slider and compare the picture with its static twin."""

import gc
import html
import itertools
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from simclr_edu.augment import SimCLRAugment
from simclr_edu.course import explorers, figures
from simclr_edu.pretrain import PretrainConfig, pretrain

NAMES = ("disc", "star", "ring")


def picture(seed=0, size=32):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, size, size), generator=g, dtype=torch.uint8)


def views(n=4, d=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g), torch.randn(n, d, generator=g)


def similarities(n=30, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, n)


def maps():
    r = np.random.default_rng(0)
    return {(p, s): r.normal(size=(9, 2)) for p in (5, 30) for s in (0, 1)}


LABELS = np.arange(9) % 3
FRACTIONS = (0.01, 0.1, 1.0)
RESULTS = {"pixels": [0.1, 0.2, 0.3], "SimCLR": [0.8, 0.9, 0.95]}

EXPLORERS = {
    "augmentation": (
        lambda: explorers.augmentation_explorer(picture(), views=3),
        {"strength": 1.0, "crop_minimum": 0.9, "grayscale": 1.0, "blur": True, "draw": 7},
    ),
    "similarity": (lambda: explorers.similarity_explorer(*views()), {"anchor": 3, "temperature": 0.1}),
    "temperature": (lambda: explorers.temperature_explorer(similarities(), 2), {"temperature": 0.1}),
    "loss_floor": (lambda: explorers.loss_floor_explorer(), {"num_pairs": 4096}),
    "tsne": (lambda: explorers.tsne_explorer(maps(), LABELS, NAMES), {"perplexity": 5, "seed": 1}),
    "label_budget": (
        lambda: explorers.label_budget_explorer(FRACTIONS, RESULTS, chance=0.1),
        {"fraction": 0.1, "methods": 1},
    ),
}


def static_twin(name, values):
    """The same picture from ``plots`` alone."""
    if name == "similarity":
        z = torch.nn.functional.normalize(torch.cat(views()).double(), dim=1)
        return figures.anchor_softmax(z @ z.T, values["anchor"], values["temperature"])
    if name == "temperature":
        return figures.temperature_effect(similarities(), 2, values["temperature"])
    if name == "loss_floor":
        return figures.loss_floor(values["num_pairs"])
    if name == "tsne":
        title = f"t-SNE at perplexity {values['perplexity']}, seed {values['seed']}: "
        title += "distances between groups mean little"
        return figures.embedding_scatter(
            maps()[values["perplexity"], values["seed"]], LABELS, NAMES, title=title
        )
    if name == "label_budget":
        shown = dict(list(RESULTS.items())[: values["methods"]])
        return figures.label_budget(FRACTIONS, shown, 0.1, at=values["fraction"])
    augment = SimCLRAugment(
        32,
        strength=values["strength"],
        blur=values["blur"],
        crop_scale=(values["crop_minimum"], 1.0),
        grayscale=values["grayscale"],
    )
    x = picture()[None]
    made = augment(x.repeat(3, 1, 1, 1), generator=torch.Generator().manual_seed(values["draw"]))
    title = f"3 views: strength {values['strength']:g}, "
    title += f"crops from {100 * values['crop_minimum']:g}% of the area"
    return figures.image_grid(
        torch.cat([x.float() / 255, made]),
        ["original", "view 1", "view 2", "view 3"],
        columns=4,
        title=title,
    )


def png(fig):
    return figures.to_png(fig, small=False)


def values_of(explorer):
    return {name: control.value for name, control in explorer.controls.items()}


def test_the_label_budget_counts_labels_a_class_where_it_is_told_their_number():
    explorer = explorers.label_budget_explorer((0.01, 1.0), {"a": [0.1, 0.2]}, chance=0.1, per_class=100)
    slider = explorer.controls["fraction"]
    assert [name for name, _ in slider.options] == ["1", "all"] and slider.description == "labels a class"
    slider.value = 1.0
    twin = figures.label_budget((0.01, 1.0), {"a": [0.1, 0.2]}, 0.1, at=1.0, per_class=100)
    assert explorer.image.value == png(twin)


def count_figures():
    gc.collect()
    return sum(issubclass(type(o), Figure) for o in gc.get_objects())


@pytest.mark.parametrize("name", EXPLORERS)
def test_moving_any_control_redraws_as_the_static_twin(name):
    make, moves = EXPLORERS[name]
    explorer = make()
    assert isinstance(explorer, ipywidgets.VBox)
    assert set(moves) == set(explorer.controls)
    assert explorer.image.value == png(static_twin(name, values_of(explorer)))
    children, seen = explorer.children, {explorer.image.value}
    for control, value in moves.items():
        explorer.controls[control].value = value
        assert explorer.image.value not in seen, f"{control} changed nothing"
        seen.add(explorer.image.value)
    assert explorer.children == children
    twin = static_twin(name, values_of(explorer))
    assert explorer.image.value == png(twin)
    assert html.escape(twin.alt_text) in explorer.caption.value


@pytest.mark.parametrize("name", EXPLORERS)
def test_controls_are_described_and_the_status_is_announced(name):
    explorer = EXPLORERS[name][0]()
    assert all(control.description for control in explorer.controls.values())
    assert 'aria-live="polite"' in explorer.caption.value
    assert explorer.children[: len(explorer.controls)] == tuple(explorer.controls.values())


def some_values(control):
    """Two values of a control, to move between."""
    if hasattr(control, "options"):
        values = [o[1] if isinstance(o, tuple) else o for o in control.options]
        return values[0], values[-1]
    if isinstance(control.value, bool):
        return False, True
    if hasattr(control, "base"):
        return 0.1, 1.0
    return control.min, control.max


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPLORERS)
def test_many_moves_leave_no_figure_and_no_widget_behind(name):
    import matplotlib.pyplot as plt

    explorer = EXPLORERS[name][0]()
    moves = [(control, value) for control in explorer.controls.values() for value in some_values(control)]
    for control, value in moves:  # fonts, caches and lazy imports stay, and are not counted
        control.value = value
    children, figures = explorer.children, count_figures()
    alive = len(ipywidgets.widgets.widget._instances)
    pictures = [explorer.image.value]
    while len(pictures) <= 40:  # in the browser each widget is moved 200 times
        control, value = moves[len(pictures) % len(moves)]
        if control.value == value:  # the other one, so that each of them is a move
            value = next(v for v in some_values(control) if v != value)
        control.value = value
        pictures.append(explorer.image.value)
    assert all(a != b for a, b in itertools.pairwise(pictures)), "a move that drew nothing new"
    assert explorer.children == children
    assert count_figures() <= figures
    assert len(ipywidgets.widgets.widget._instances) == alive
    assert plt.get_fignums() == []


def test_augmentation_factory_is_called_with_the_settings():
    calls = []

    def factory(**kwargs):
        calls.append(kwargs)
        return lambda x, generator: x.float() / 255

    explorer = explorers.augmentation_explorer(picture(), seed=4, augment_factory=factory, views=2)
    explorer.controls["strength"].value = 1.25
    assert calls[-1] == {
        "size": 32,
        "strength": 1.25,
        "blur": False,
        "crop_scale": (0.08, 1.0),
        "grayscale": 0.2,
    }
    assert explorer.controls["draw"].value == 4


def test_augmentation_explorer_takes_pictures_that_are_not_square():
    x = torch.randint(0, 256, (3, 12, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert "4 images of 12 x 12" in explorers.augmentation_explorer(x, views=3).caption.value


# --- live training ------------------------------------------------------------------------------------


def fake_run(n=1):
    run = SimpleNamespace(history=[], config=SimpleNamespace(batch_size=64))
    for i in range(n):
        run.history.append({"step": i, "loss": 4.0 - 0.1 * i, "progress": (i + 1) / 100})
    return run


def test_live_training_draws_the_history_of_the_run():
    live, run = explorers.LiveTraining(), fake_run(3)
    live(run)
    assert live.draws == 1
    assert live.image.value == png(figures.loss_curve(run.history, 64))
    assert html.escape(figures.loss_curve(run.history, 64).alt_text) in live.caption.value


def test_live_training_waits_but_never_misses_the_last_record(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(explorers.pretraining.time, "monotonic", lambda: clock[0])
    live, run = explorers.LiveTraining(every=2.0), fake_run()
    for k in range(1, 100):
        clock[0] += 0.1
        run.history.append({"step": k, "loss": 3.0, "progress": (k + 1) / 100})
        live(run)
    assert 4 <= live.draws <= 7
    assert live.image.value == png(figures.loss_curve(run.history, 64))


def test_live_training_takes_single_records():
    live = explorers.LiveTraining(num_pairs=32, every=1e-9)
    rows = [{"step": k, "loss": 3.0 - k} for k in range(3)]
    for row in rows:
        live(row)
    assert live.draws == 3
    assert live.image.value == png(figures.loss_curve(rows, 32))
    with pytest.raises(ValueError, match="num_pairs must be given"):
        explorers.LiveTraining()(rows[0])


def test_live_training_waits_for_a_first_record():
    live = explorers.LiveTraining()
    live(SimpleNamespace(history=[], config=SimpleNamespace(batch_size=8)))
    assert live.draws == 0 and live.image.value == b""


TINY = PretrainConfig(batch_size=8, epochs=10, log_every=1, checkpoint_every=3, device="cpu")


def pictures(n=16):
    g = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, 8, 8), generator=g, dtype=torch.uint8)


def enabled(live):
    return {name for name, button in live.buttons.items() if not button.disabled}


def stop_after(live, draws):
    """Click Stop, as a person would, when the curve has been drawn so often."""

    def click(change):
        if live.draws >= draws - 1:
            live.buttons["stop"].click()

    live.image.observe(click, names="value")
    return lambda: live.image.unobserve(click, names="value")


@pytest.mark.slow
def test_buttons_start_stop_and_resume_to_the_weights_of_an_unbroken_run():
    live = explorers.LiveTraining(every=1e-9, config=TINY, images=pictures())
    assert enabled(live) == {"start"} and live.run is None
    undo = stop_after(live, draws=5)
    live.buttons["start"].click()
    assert live.wait(60)
    assert 0 < live.run.step < 20 and not live.run.finished
    assert enabled(live) == {"start", "resume"}
    stopped_at = live.run.step
    undo()
    live.buttons["resume"].click()
    assert live.wait(60)
    assert live.run.finished and [r["step"] for r in live.run.history] == list(range(1, 21))
    assert live.run.step == 20 > stopped_at
    assert enabled(live) == {"start"}
    assert live.image.value == png(figures.loss_curve(live.run.history, 8))
    whole = pretrain(TINY, pictures(), progress=False)
    for a, b in zip(whole.model.parameters(), live.run.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_start_after_a_stop_begins_anew():
    live = explorers.LiveTraining(every=1e-9, config=TINY, images=pictures())
    undo = stop_after(live, draws=3)
    live.buttons["start"].click()
    assert live.wait(60) and not live.run.finished
    undo()
    live.buttons["start"].click()
    assert live.wait(60) and live.run.finished
    assert [r["step"] for r in live.run.history] == list(range(1, 21))


@pytest.mark.slow
def test_stop_is_possible_only_while_it_trains():
    live = explorers.LiveTraining(every=1e-9, config=TINY, images=pictures())
    seen = []
    live.image.observe(lambda change: seen.append(enabled(live)), names="value")
    live.buttons["start"].click()
    assert live.wait(60)
    assert seen and all(s == {"stop"} for s in seen)


def test_what_goes_wrong_in_the_thread_is_said_in_the_widget():
    live = explorers.LiveTraining(config=TINY, images=pictures(4))
    live.buttons["start"].click()
    assert live.wait(60)
    assert 'role="alert"' in live.caption.value and "batch_size 8 needs as many images" in live.caption.value
    assert enabled(live) == {"start"}


def test_as_a_callback_it_has_no_buttons():
    assert explorers.LiveTraining().buttons == {}


# --- threads ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_redraws_in_several_threads_draw_what_one_thread_draws():
    # JupyterLab may run a slider's redraw beside a cell that draws.
    wanted = [png(figures.loss_floor(2**k)) for k in range(1, 5)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert list(pool.map(lambda k: png(figures.loss_floor(2**k)), range(1, 5))) == wanted


# --- bad input ----------------------------------------------------------------------------------------

BAD = [
    (
        lambda: explorers.augmentation_explorer(picture()[None]),
        ValueError,
        r"one picture of shape \(3, H, W\)",
    ),
    (lambda: explorers.augmentation_explorer(picture().float()), TypeError, "image must be uint8"),
    (lambda: explorers.augmentation_explorer("photo"), TypeError, "image must be a torch.Tensor, got str"),
    (lambda: explorers.augmentation_explorer(picture(), views=0), ValueError, "views must be from 1 to 15"),
    (lambda: explorers.similarity_explorer(views()[0], views(5)[0]), ValueError, "one shape, got"),
    (lambda: explorers.similarity_explorer(*views(1)), ValueError, "the number of pairs must be from 2"),
    (lambda: explorers.temperature_explorer([0.1, 0.2, 0.3, 0.4], 4), ValueError, "positive_index"),
    (lambda: explorers.tsne_explorer({}, LABELS, NAMES), ValueError, "at least one map"),
    (
        lambda: explorers.tsne_explorer({(5, 0): 0, (30, 1): 0}, LABELS, NAMES),
        ValueError,
        r"missing \(5, 1\)",
    ),
    (lambda: explorers.label_budget_explorer([0.1], {}), ValueError, "at least one name"),
    (lambda: explorers.LiveTraining(every=0), ValueError, "every must be a finite number"),
    (lambda: explorers.LiveTraining(config=TINY), ValueError, "config must come with images"),
    (lambda: explorers.LiveTraining(images=pictures()), ValueError, "images must come with config"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_bad_input_gives_a_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()
