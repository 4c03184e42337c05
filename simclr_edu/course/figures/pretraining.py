"""Figures of notebook 04: the loss while it falls, the learning rate, throughput."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from simclr_edu._checks import check_int
from simclr_edu.course.figures.inputs import (
    Array,
    ArrayLike,
    as_names,
    as_vector,
    percent,
    percent_axis,
    short,
)
from simclr_edu.course.figures.picture import (
    GRAY,
    OKABE_ITO,
    PAGE_WIDTH,
    Picture,
    new_figure,
    styled,
    write_beside_bar,
)

_MANY = 60  # logged values above which a curve is drawn thin, with its running mean


def _running_mean(y: Array) -> Array:
    """Average over the last 5% of the points (at least 5), fewer at the start; never ahead of the data."""
    window = max(5, len(y) // 20)
    total = np.concatenate([[0.0], np.cumsum(y)])
    i = np.arange(1, len(y) + 1)
    start = np.maximum(0, i - window)
    means: Array = (total[i] - total[start]) / (i - start)
    return means


def _series(history: Sequence[Mapping[str, Any]], key: str) -> tuple[Array, Array] | None:
    """Return the steps and values of the rows that have ``key``."""
    rows = [(row["step"], row[key]) for row in history if row.get(key) is not None]
    if not rows:
        return None
    steps, values = zip(*rows, strict=True)
    return as_vector(steps, "step"), as_vector(values, key)


@styled
def loss_curve(
    history: Sequence[Mapping[str, Any]],
    num_pairs: int,
    title: str | None = None,
    knn_title: str = "kNN accuracy",
) -> Picture:
    """Draw the loss with its ln(2N - 1) line and, where logged, contrastive accuracy, kNN and learning rate.

    An encoder that has learned nothing scores about ln(2N - 1), the cross-entropy of a guess among
    2N - 1 candidates: the line tells whether a loss is stuck.

    Args:
        history: rows with ``step`` and ``loss``; ``contrastive_accuracy``, ``knn`` and ``learning_rate`` get
            a panel if some row has them.
        num_pairs: N, the images in a batch.
        title: what to see; the default compares the last loss with the line. More than 60 losses are drawn
            with their running mean, and then it is the mean that the title compares.
        knn_title: of the panel with kNN, to say on how many labels it was measured.

    Raises:
        TypeError, ValueError: no rows, a row without ``step``, no loss, or a value that is not finite.
    """
    if isinstance(history, str | Mapping) or not isinstance(history, Sequence):
        raise TypeError(f"history must be a list of rows, got {type(history).__name__}")
    if not history:
        raise ValueError("history must not be empty, got 0 rows")
    if any("step" not in row for row in history):
        raise ValueError("every row of history must have a step, got one without")
    n = check_int(num_pairs, "num_pairs", 2)
    floor = math.log(2 * n - 1)
    wanted = ("loss", "contrastive_accuracy", "knn", "learning_rate")
    found = {key: s for key in wanted if (s := _series(history, key)) is not None}
    if "loss" not in found:
        raise ValueError("history must hold a loss in some row, got none")
    losses = found["loss"][1]
    averaged = len(losses) > _MANY
    last = float(_running_mean(losses)[-1]) if averaged else float(losses[-1])
    verdict = "well below" if last < 0.8 * floor else "below" if last < 0.98 * floor else "still at"
    now = f"{short(last)} (running mean)" if averaged else short(last)
    title = title or f"The loss, now {now}, is {verdict} the guessing line ln(2N - 1) = {short(floor)}"
    alt = f"The loss goes from {short(losses[0])} to {now} over {len(losses)} logged steps"
    alt += f"; the dashed line is ln(2N - 1) = {short(floor)} for N = {n}"
    for key, name in (("contrastive_accuracy", "contrastive accuracy"), ("knn", "kNN accuracy")):
        if key in found:
            alt += f"; {name} ends at {percent(found[key][1][-1])}"
    count = len(found)
    rows, columns = (1, count) if count < 4 else (2, 2)
    fig = new_figure(PAGE_WIDTH, 3.9 if rows == 1 else 6.0, title, alt + ".", constrained=False)
    height = fig.get_figheight()
    axes = np.atleast_1d(fig.subplots(rows, columns)).ravel()
    fig.subplots_adjust(
        left=0.085, right=0.985, top=1 - 0.75 / height, bottom=0.6 / height, wspace=0.32, hspace=0.5
    )
    last_step = max(float(s[0].max()) for s in found.values())
    for ax, (key, (steps, values)) in zip(axes, found.items(), strict=True):
        many = len(values) > _MANY and key in ("loss", "contrastive_accuracy")
        colour = {"loss": OKABE_ITO["blue"], "contrastive_accuracy": OKABE_ITO["green"]}.get(key, "black")
        if many:
            ax.plot(steps, values, color=colour, alpha=0.45, linewidth=1)
            ax.plot(steps, _running_mean(values), color=colour, label="running mean")
        else:
            ax.plot(steps, values, color=colour, marker="o" if len(values) < 15 else None, clip_on=False)
        ax.set_xlabel("step")
        ax.set_xlim(0, max(last_step, 1) * 1.02)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.grid(axis="y")
    for ax, key in zip(axes, found, strict=True):
        if key == "loss":
            line = ax.axhline(floor, color=OKABE_ITO["vermilion"], linestyle="--", linewidth=2)
            line.set_gid("floor")
            ax.set_ylim(0, max(floor, float(found["loss"][1].max())) * 1.15)
            ax.text(
                0.98,
                floor,
                f"ln(2N - 1) = {short(floor)}",
                transform=ax.get_yaxis_transform(),
                ha="right",
                va="bottom",
            )
            ax.set(title="loss", ylabel="NT-Xent loss (nats)")
        elif key == "contrastive_accuracy":
            ax.axhline(1 / (2 * n - 1), color=GRAY, linestyle=":", linewidth=2)
            # Chance is a fraction of a per cent: on an axis up to 100 the curve would lie on top of it.
            top = min(1.02, max(1.5 * float(found[key][1].max()), 3 / (2 * n - 1)))
            ax.set(title="contrastive accuracy", ylabel="positive ranked first (%)", ylim=(0, top))
            ax.text(
                0.98,
                0.97,  # the curve keeps to the lower half in all but the longest runs
                f"dotted: chance, {100 / (2 * n - 1):.2g}%",
                transform=ax.transAxes,
                ha="right",
                va="top",
                color=GRAY,
            )
            percent_axis(ax.yaxis)
        elif key == "knn":
            ax.set(title=knn_title, ylabel="accuracy (%)", ylim=(0, 1.02))
            percent_axis(ax.yaxis)
        else:
            ax.set(
                title="learning rate",
                ylabel="learning rate",
                ylim=(0, float(found["learning_rate"][1].max()) * 1.15 or 1),
            )
    return fig


@styled
def learning_rate(lrs: ArrayLike, steps_per_epoch: int | None = None, title: str | None = None) -> Picture:
    """Draw the learning rate of every step.

    Args:
        lrs: ``(steps,)`` learning rates.
        steps_per_epoch: with it, the axis counts epochs.
        title: what to see; the default names the peak.

    Raises:
        TypeError, ValueError: not a vector of rates that are 0 or more.
    """
    y = as_vector(lrs, "lrs")
    if y.min() < 0:
        raise ValueError(f"lrs must not be negative, got {y.min():g}")
    per = 1 if steps_per_epoch is None else check_int(steps_per_epoch, "steps_per_epoch", 1)
    unit = "step" if steps_per_epoch is None else "epoch"
    x = np.arange(len(y)) / per
    peak = int(y.argmax())
    title = title or f"Warm-up to {y[peak]:.3g} at {unit} {x[peak]:.3g}, then decay to {y[-1]:.2g}"
    top = f"peaks at {y[peak]:.3g} at {unit} {x[peak]:.3g}"
    alt = f"The learning rate starts at {y[0]:.3g}, {top}, ends at {y[-1]:.2g}."
    fig = new_figure(PAGE_WIDTH, 3.6, title, alt)
    ax = fig.add_subplot()
    ax.plot(x, y, color=OKABE_ITO["blue"])
    ax.plot([x[peak]], [y[peak]], "o", color=OKABE_ITO["vermilion"], markersize=8)
    ax.set(xlabel=unit, ylabel="learning rate", xlim=(0, max(x[-1], 1e-9)), ylim=(0, y.max() * 1.15 or 1))
    ax.grid(axis="y")
    return fig


@styled
def throughput_bars(
    names: Sequence[str], values: ArrayLike, unit: str = "views/s", title: str | None = None
) -> Picture:
    """Draw rates as bars, each with its ratio to the slowest.

    Args:
        names: B names.
        values: ``(B,)`` rates, greater than 0.
        unit: their unit.
        title: what to see; the default compares the fastest with the slowest.

    Raises:
        TypeError, ValueError: lengths that differ, or a rate not greater than 0.
    """
    names = as_names(names, "names")
    v = as_vector(values, "values", len(names))
    if v.min() <= 0:
        raise ValueError(f"values must be greater than 0, got {v.min():g}")
    fast, slow = int(v.argmax()), int(v.argmin())
    title = title or f"{names[fast]} is {v[fast] / v[slow]:.1f} times as fast as {names[slow]}"
    alt = "Bars: " + ", ".join(f"{n} {x:,.0f} {unit}" for n, x in zip(names, v, strict=True)) + "."
    fig = new_figure(PAGE_WIDTH, 1.4 + 0.5 * len(names), title, alt)
    ax = fig.add_subplot()
    y = np.arange(len(names))
    colours = [OKABE_ITO["orange"] if i == fast else OKABE_ITO["blue"] for i in range(len(names))]
    ax.barh(y, v, color=colours, height=0.7)
    for i, x in enumerate(v):
        text = f"{x:,.0f}" if x >= 10 else f"{x:.3g}"
        write_beside_bar(ax, f"{text} ({x / v[slow]:.1f} x)", x, i)
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.set(xlabel=unit, xlim=(0, v.max() * 1.25))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda t, _: f"{t:,.0f}" if v.max() >= 10 else f"{t:g}"))
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.tick_params(axis="y", length=0)
    return fig
