"""Figures of notebook 06: accuracy against labels, confusion."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import NullLocator

from simclr_edu._checks import check_fraction, check_int
from simclr_edu.course.figures.inputs import (
    Array,
    ArrayLike,
    as_array,
    as_names,
    as_vector,
    percent,
    percent_axis,
)
from simclr_edu.course.figures.picture import (
    CLASS_MARKERS,
    COLOUR_CYCLE,
    GRAY,
    LINE_STYLES,
    PAGE_WIDTH,
    Picture,
    new_figure,
    styled,
)


@styled
def label_budget(
    fractions: ArrayLike,
    results: Mapping[str, ArrayLike],
    chance: float | None = None,
    at: float | None = None,
    title: str | None = None,
    per_class: int | None = None,
) -> Picture:
    """Draw accuracy against the share of labels used, one line a method.

    Args:
        fractions: ``(F,)`` shares of the training labels, above 0 to 1.
        results: name to accuracies from 0 to 1, ``(F,)``, or ``(S, F)`` for S seeds or draws of the labels
            (mean and standard deviation are drawn).
        chance: accuracy of a guess, drawn as a line.
        at: the fraction that the title speaks of, marked by an upright line; None takes the smallest and
            marks nothing.
        title: what to see; the default names the best method.
        per_class: pictures that a class has in all; then labels a class are counted, not per cent.

    Raises:
        TypeError, ValueError: lengths that differ, or values out of range.
    """
    x = as_vector(fractions, "fractions")
    if x.min() <= 0 or x.max() > 1:
        raise ValueError(f"fractions must be above 0 and at most 1, got {x.min():g} to {x.max():g}")
    if not isinstance(results, Mapping) or not results:
        raise ValueError("results must map at least one name to accuracies, got none")
    order = np.argsort(x)
    x = x[order]
    lines: dict[str, tuple[Array, Array | None]] = {}
    for name, values in results.items():
        v = as_array(values, f"accuracies of {name!r}")
        if v.ndim not in (1, 2) or v.shape[-1] != len(x):
            raise ValueError(
                f"accuracies of {name!r} must have shape ({len(x)},) or (S, {len(x)}), got {v.shape}"
            )
        if v.min() < 0 or v.max() > 1:
            raise ValueError(f"accuracies of {name!r} must be from 0 to 1, got {v.min():g} to {v.max():g}")
        v = v[..., order]
        one = v.ndim == 1
        lines[str(name)] = (v, None) if one else (v.mean(axis=0), v.std(axis=0, ddof=min(1, len(v) - 1)))
    count = None if per_class is None else check_int(per_class, "per_class", 1)
    ticks = [budget_name(f, count) for f in x]
    unit = "%" if count is None else "labels a class"
    guess = None if chance is None else check_fraction(chance, "chance")
    at = None if at is None else check_fraction(at, "at")
    if at is not None and not np.isclose(x, at).any():
        raise ValueError(f"at must be one of the fractions {x.tolist()}, got {at}")
    here = 0 if at is None else int(np.isclose(x, at).argmax())
    best = max(lines, key=lambda k: lines[k][0][here])
    what = f"{ticks[here]}% of the labels" if count is None else f"{ticks[here]} labels a class"
    what = what.replace("all labels a class", "all labels")
    what = "1 label a class" if what == "1 labels a class" else what
    title = title or f"With {what}, {best} is best: {100 * lines[best][0][here]:.1f}%"
    alt = f"Accuracy against the share of labels, from {ticks[0]} to {ticks[-1]} {unit}. " + "; ".join(
        f"{name}: {100 * m[0]:.1f}% to {100 * m[-1]:.1f}%" for name, (m, _) in lines.items()
    )
    fig = new_figure(PAGE_WIDTH, 4.6, title, alt + ".")
    ax = fig.add_subplot()
    handles: list[tuple[float, Any]] = []  # each with the height at which its line ends
    for k, (name, (m, s)) in enumerate(lines.items()):
        bars = ax.errorbar(
            x,
            m,
            yerr=s,
            label=name,
            color=COLOUR_CYCLE[k % len(COLOUR_CYCLE)],
            marker=CLASS_MARKERS[k % len(CLASS_MARKERS)],
            linestyle=LINE_STYLES[k % len(LINE_STYLES)],
            markersize=8,
            capsize=4,
        )
        handles.append((float(m[-1]), bars))
    if guess is not None:
        handles.append((guess, ax.axhline(guess, color=GRAY, linestyle=":", label="chance")))
    if at is not None:
        ax.axvline(x[here], color=GRAY, linewidth=8, alpha=0.3, gid="at")
    ax.set_xscale("log")
    ax.set_xticks(x, ticks)
    ax.xaxis.set_minor_locator(NullLocator())
    label = "training labels used (%, log scale)" if count is None else "labels a class (log scale)"
    ax.set(xlabel=label, ylabel="test accuracy (%)", ylim=(0, 1.02))
    percent_axis(ax.yaxis)
    ax.grid(axis="y")
    handles.sort(key=lambda pair: -pair[0])  # from top to bottom as the curves end
    fig.legend(handles=[handle for _, handle in handles], loc="outside right center", frameon=False)
    return fig


def budget_name(fraction: float, per_class: int | None = None) -> str:
    """A share of the labels in words for an axis: per cent, or labels a class of ``per_class`` in all.

    Raises:
        TypeError, ValueError: not a share from 0 to 1, or not a whole number of at least 1.
    """
    fraction = check_fraction(fraction, "fraction")
    per_class = None if per_class is None else check_int(per_class, "per_class", 1)
    if per_class is None:
        return f"{100 * fraction:g}"
    return "all" if fraction == 1 else f"{round(fraction * per_class)}"


@styled
def confusion(matrix: ArrayLike, class_names: Sequence[str], title: str | None = None) -> Picture:
    """Draw a confusion matrix: rows the true class, columns the prediction, cells in per cent of the row.

    Args:
        matrix: ``(C, C)`` counts, entry (i, j) for images of class i predicted as j.
        class_names: C names.
        title: what to see; the default names the commonest confusion.

    Raises:
        TypeError, ValueError: not a square matrix of counts, or another number of names.
    """
    names = as_names(class_names, "class_names")
    x = as_array(matrix, "matrix")
    if x.shape != (len(names), len(names)):
        raise ValueError(f"matrix must have shape ({len(names)}, {len(names)}), got {x.shape}")
    if x.min() < 0 or x.sum() == 0:
        raise ValueError("matrix must hold counts, none negative and not all zero")
    share = x / np.maximum(x.sum(axis=1, keepdims=True), 1e-12)
    accuracy = float(np.trace(x) / x.sum())
    off = share - np.diag(np.diag(share))
    i, j = np.unravel_index(int(off.argmax()), off.shape)
    worst = f"{names[i]} taken for {names[j]} ({percent(off[i, j])})" if off.max() > 0 else "none"
    correct = f"{100 * accuracy:.1f}% correct"
    title = title or f"{correct}; commonest confusion: {worst}"
    alt = f"Confusion matrix of {len(names)} classes, {correct}; the commonest confusion: {worst}."
    fig = new_figure(7.8, 6.6, title, alt)
    ax = fig.add_subplot()
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    bar = fig.colorbar(image, ax=ax, label="share of the true class (%)", shrink=0.9)
    percent_axis(bar.ax.yaxis)
    ticks = np.arange(len(names))
    ax.set_xticks(ticks, names, rotation=90)
    ax.set_yticks(ticks, names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="predicted class", ylabel="true class")
    if len(names) <= 20:
        for r in range(len(names)):
            for c in range(len(names)):
                if share[r, c] >= 0.005:
                    ink = "white" if share[r, c] > 0.55 else "black"
                    ax.text(
                        c, r, f"{100 * share[r, c]:.0f}", ha="center", va="center", color=ink, fontsize=10
                    )
    return fig
