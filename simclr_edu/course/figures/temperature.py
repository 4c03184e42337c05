"""Figures of notebook 03: what the temperature does to weights, gradients and runs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from simclr_edu._checks import check_int, check_mapping, check_positive
from simclr_edu.course.figures.inputs import (
    Array,
    ArrayLike,
    as_accuracies,
    as_names,
    as_similarities,
    as_spread,
    as_vector,
    percent,
    percent_axis,
    short,
)
from simclr_edu.course.figures.picture import (
    CLASS_MARKERS,
    COLOUR_CYCLE,
    GRAY,
    OKABE_ITO,
    PAGE_WIDTH,
    Picture,
    new_figure,
    styled,
)
from simclr_edu.course.figures.softmax import as_temperatures, loss_of, softmax_bars, softmax_of


@styled
def softmax_row(
    similarities: ArrayLike,
    positive_index: int,
    temperatures: Sequence[float] = (0.1, 0.5, 1.0),
    title: str | None = None,
) -> Picture:
    """Draw one anchor's similarities and the softmax weights that each temperature makes of them.

    Args:
        similarities: ``(K,)`` cosine similarities to the candidates, the anchor itself left out, so
            K = 2N - 1.
        positive_index: which candidate is the positive.
        temperatures: one row of weights for each, up to 4.
        title: what to see.

    Raises:
        TypeError, ValueError: not a vector of similarities, an index out of range, a temperature not
            greater than 0.
    """
    s = as_vector(as_similarities(similarities, "similarities"), "similarities")
    k = check_int(positive_index, "positive_index", 0, len(s) - 1)
    taus = as_temperatures(temperatures)
    if len(taus) > 4:
        raise ValueError(f"temperatures must be at most 4 to stay legible, got {len(taus)}")
    weights = [softmax_of(s, t) for t in taus]
    title = title or "The lower the temperature, the more weight on the most similar candidates"
    parts = ", ".join(f"{short(w[k])} at temperature {t:g}" for t, w in zip(taus, weights, strict=True))
    positive = f"the positive, at {short(s[k])}, gets softmax weight {parts}"
    alt = f"Similarities of one anchor to {len(s)} candidates; {positive}."
    rows = 1 + len(taus)
    fig = new_figure(PAGE_WIDTH, 1.1 + 1.2 * rows, title, alt, constrained=False)
    height = fig.get_figheight()
    axes = fig.subplots(rows, 1, sharex=True)
    fig.subplots_adjust(left=0.1, right=0.98, top=1 - 0.72 / height, bottom=0.6 / height, hspace=0.6)
    for ax, values, name in zip(
        axes, [s, *weights], ["similarity", *(f"weight, temperature {t:g}" for t in taus)], strict=True
    ):
        softmax_bars(ax, values, k)
        ax.set_xlim(-0.6, len(s) - 0.4)
        ax.set_title(name, loc="left", pad=3)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.yaxis.set_major_locator(MaxNLocator(3))
    axes[0].set(ylim=(-1.05, 1.05), yticks=[-1, 0, 1], ylabel="cosine")
    for ax, w in zip(axes[1:], weights, strict=True):
        ax.set(ylabel="weight", ylim=(0, max(w) * 1.25))
        ax.annotate(
            f"positive {short(w[k])}", (k, w[k]), xytext=(0, 2), textcoords="offset points", ha="center"
        )
    axes[-1].set_xlabel("candidate (2N - 1 of them; orange is the positive; each row has its own scale)")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return fig


_HARDNESS = ("hardest 10%", "next 40%", "easiest 50%")
_HARDNESS_COLOURS = (OKABE_ITO["vermilion"], OKABE_ITO["sky"], "#DDDDDD")


def _hardness_cuts(k: int) -> list[int]:
    """Return how many of ``k`` negatives, hardest first, end the first and the second group."""
    first = max(1, round(0.1 * k))
    return [first, min(max(first + 1, round(0.5 * k)), k - 1)]


def _share_bars(ax: Axes, shares: Array, names: Sequence[str]) -> None:
    """Draw one stacked bar of three shares for each row of ``shares`` (R, 3)."""
    left = np.zeros(len(shares))
    y = np.arange(len(shares))
    for g, group in enumerate(_HARDNESS):
        ax.barh(
            y,
            shares[:, g],
            left=left,
            color=_HARDNESS_COLOURS[g],
            edgecolor="white",
            label=group,
            height=0.75,
        )
        for i, share in enumerate(shares[:, g]):
            if share >= 0.045:
                ink = "white" if g == 0 else "black"
                ax.text(left[i] + share / 2, i, percent(share), ha="center", va="center_baseline", color=ink)
        left = left + shares[:, g]
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="share (%)")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    percent_axis(ax.xaxis)


@styled
def gradient_share(
    similarities: ArrayLike, temperatures: Sequence[float] = (0.1, 0.5, 1.0), title: str | None = None
) -> Picture:
    """Draw which negatives the gradient comes from, for each temperature.

    The gradient of NT-Xent with respect to the similarity of negative j is its softmax weight over the
    temperature, so its share among the negatives is exp(s_j / tau) / sum_k exp(s_k / tau).

    Args:
        similarities: ``(K,)`` cosine similarities of the negatives, K at least 3.
        temperatures: one bar for each.
        title: what to see.

    Raises:
        TypeError, ValueError: not a vector of similarities, or a temperature not greater than 0.
    """
    s = as_vector(as_similarities(similarities, "similarities"), "similarities")
    if len(s) < 3:
        raise ValueError(f"similarities must hold at least 3 negatives, got {len(s)}")
    taus = as_temperatures(temperatures)
    s = np.sort(s)[::-1]
    cuts = _hardness_cuts(len(s))
    first = cuts[0]
    shares = np.array(
        [[len(p) / len(s) for p in np.split(s, cuts)]]
        + [[p.sum() for p in np.split(softmax_of(s, t), cuts)] for t in taus]
    )
    names = ["their number", *(f"gradient, temperature {t:g}" for t in taus)]
    title = title or "At a low temperature the hardest negatives carry nearly all of the gradient"
    parts = ", ".join(f"{percent(r[0])} at temperature {t:g}" for t, r in zip(taus, shares[1:], strict=True))
    hardest = f"the {first} most similar to the anchor, {percent(shares[0, 0])} of them"
    alt = f"Of {len(s)} negatives {hardest}, carry this share of the gradient: {parts}."
    fig = new_figure(PAGE_WIDTH, 1.9 + 0.5 * len(names), title, alt)
    ax = fig.add_subplot()
    _share_bars(ax, shares, names)
    handles, groups = ax.get_legend_handles_labels()
    fig.legend(
        handles,
        groups,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        title="negatives by similarity to the anchor",
    )
    return fig


@styled
def temperature_effect(
    similarities: ArrayLike, positive_index: int, temperature: float = 0.5, title: str | None = None
) -> Picture:
    """Draw what one temperature does: the softmax weights, and which negatives the gradient comes from.

    Args:
        similarities: ``(K,)`` cosine similarities of one anchor to its candidates, itself left out; K at
            least 4.
        positive_index: which candidate is the positive.
        temperature: greater than 0.
        title: what to see; the default states the anchor's loss.

    Raises:
        TypeError, ValueError: not a vector of similarities, or an index or temperature out of range.
    """
    s = as_vector(as_similarities(similarities, "similarities"), "similarities")
    if len(s) < 4:
        raise ValueError(f"similarities must hold at least 4 candidates, got {len(s)}")
    k = check_int(positive_index, "positive_index", 0, len(s) - 1)
    tau = check_positive(temperature, "temperature")
    order = np.argsort(-s, kind="stable")
    weights = softmax_of(s, tau)[order]
    place = int(np.flatnonzero(order == k)[0])
    negatives = np.sort(np.delete(s, k))[::-1]
    cuts = _hardness_cuts(len(negatives))
    shares = np.array(
        [
            [len(p) / len(negatives) for p in np.split(negatives, cuts)],
            [p.sum() for p in np.split(softmax_of(negatives, tau), cuts)],
        ]
    )
    loss = float(loss_of(s[None], np.array([k]), tau)[0])
    weight, hardest, carried = short(weights[place]), percent(shares[0, 0]), percent(shares[1, 0])
    title = title or f"Temperature {tau:.3g}: the positive weighs {weight}, so the loss is {short(loss)}"
    alt = f"""
        At temperature {tau:.3g} the positive has softmax weight {weight} among {len(s)} candidates,
        and the hardest {hardest} of the negatives carry {carried} of the gradient.
    """
    fig = new_figure(PAGE_WIDTH, 4.6, title, alt, constrained=False)
    ax = fig.add_axes((0.14, 0.49, 0.84, 0.38))
    x = np.arange(len(s))
    softmax_bars(ax, weights, place)
    ax.set(xlabel="candidate, most similar first (orange is the positive)", ylabel="softmax weight")
    ax.set(xlim=(-0.6, len(s) - 0.4), ylim=(0, max(float(weights.max()) * 1.2, 1e-6)))
    ax.axhline(1 / len(s), color=GRAY, linestyle=":", linewidth=2)
    ax.text(x[-1] + 0.4, 1 / len(s), "uniform", ha="right", va="bottom", color=GRAY)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    below = fig.add_axes((0.14, 0.13, 0.84, 0.17))
    _share_bars(below, shares, ("negatives", "gradient"))
    below.set_xlabel("share (%): hardest 10% (red), next 40% (blue), easiest 50% (gray)")
    return fig


@styled
def temperature_results(
    taus: ArrayLike,
    probe_mean: ArrayLike,
    probe_std: ArrayLike | None,
    contrastive_mean: ArrayLike,
    contrastive_std: ArrayLike | None,
    paper_probe: Mapping[float, float] | None = None,
    paper_contrastive: Mapping[float, float] | None = None,
    title: str | None = None,
) -> Picture:
    """Draw linear probe and contrastive accuracy against the temperature, the paper's below ours.

    Every panel has an axis of its own: the heights of two different data sets do not compare.

    Args:
        taus: ``(T,)`` temperatures.
        probe_mean: ``(T,)`` mean linear probe accuracy, 0 to 1.
        probe_std: ``(T,)`` its standard deviation over seeds; None draws none.
        contrastive_mean: ``(T,)`` mean contrastive accuracy, 0 to 1.
        contrastive_std: ``(T,)`` its standard deviation.
        paper_probe: temperature to accuracy (0 to 1) in Chen et al. 2020, table 5.
        paper_contrastive: the same for contrastive accuracy.
        title: what to see.

    Raises:
        TypeError, ValueError: lengths that differ, or values out of range.
    """
    t = np.array([check_positive(v, "temperature") for v in as_vector(taus, "taus").tolist()])
    order = np.argsort(t)
    panels = []
    for name, mean, std, paper in (
        ("linear probe", probe_mean, probe_std, paper_probe),
        ("contrastive accuracy", contrastive_mean, contrastive_std, paper_contrastive),
    ):
        key = name.replace(" ", "_")
        m = as_accuracies(mean, f"mean of {key}", len(t))[order]
        s = as_spread(std, f"std of {key}", len(t))
        p = check_mapping({} if paper is None else paper, f"paper_{key}")
        p = {check_positive(tau, f"each temperature of the paper's {key}"): p[tau] for tau in p}
        p = dict(sorted(p.items()))
        if p:
            as_accuracies(list(p.values()), f"paper's {key}")
        panels.append((name, m, s[order] if s is not None else None, p))
    t = t[order]
    title = title or "Linear probe and contrastive accuracy do not peak at the same temperature"
    parts = []
    for name, m, _, p in panels:
        for whose, values in (("ours", dict(zip(t.tolist(), m, strict=True))), ("the paper's", p)):
            listed = ", ".join(f"{percent(v)} at temperature {k:g}" for k, v in values.items())
            parts += [f"{name}, {whose}: {listed}"] if values else []
    drawn_paper = any(p for _, _, _, p in panels)
    fig = new_figure(
        PAGE_WIDTH,
        5.8 if drawn_paper else 3.6,
        title,
        "Accuracy against temperature. " + "; ".join(parts) + ".",
    )
    axes = fig.subplots(1 + drawn_paper, 2, sharex=True, squeeze=False)
    ticks = sorted({*t.tolist(), *(k for _, _, _, p in panels for k in p)})
    for column, (name, m, s, p) in zip(axes.T, panels, strict=True):
        column[0].errorbar(t, m, yerr=s, color=OKABE_ITO["blue"], marker="o", capsize=4)
        column[0].set_title(f"{name}, ours" + (" (mean, std of seeds)" if s is not None else ""))
        if p:
            column[1].plot(list(p), list(p.values()), "s--", color=OKABE_ITO["orange"], markersize=7)
            column[1].set_title(f"{name}, paper")
        for ax in column:
            ax.set_xscale("log")
            ax.set_xticks(ticks, [f"{v:g}" for v in ticks])
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set(xlabel="temperature (no unit, log scale)", ylabel="accuracy (%)")
            ax.tick_params(labelbottom=True)
            percent_axis(ax.yaxis)
            ax.grid(axis="y")
    return fig


@styled
def uniformity_alignment(
    names: Sequence[str], alignment: ArrayLike, uniformity: ArrayLike, title: str | None = None
) -> Picture:
    """Draw encoders by alignment and uniformity, both better when lower.

    Source: Wang and Isola 2020, arXiv 2005.10242.

    Args:
        names: E names.
        alignment: ``(E,)`` mean squared distance of positive pairs, 0 or more.
        uniformity: ``(E,)`` log of the mean Gaussian potential, 0 or less; 0 is collapse.
        title: what to see.

    Raises:
        TypeError, ValueError: lengths that differ, or values out of range.
    """
    names = as_names(names, "names")
    a, u = as_vector(alignment, "alignment", len(names)), as_vector(uniformity, "uniformity", len(names))
    if a.min() < 0:
        raise ValueError(f"alignment must not be negative, got {a.min():g}")
    if u.max() > 1e-6:
        raise ValueError(f"uniformity must not be positive, got {u.max():g}")
    title = title or "Lower left would be best: positives close together, everything spread out"
    alt = "Alignment and uniformity: " + "; ".join(
        f"{n} {short(x)} and {short(y)}" for n, x, y in zip(names, a, u, strict=True)
    )
    fig = new_figure(8.0, 5.0, title, alt + ".")
    ax = fig.add_subplot()
    for k, name in enumerate(names):
        ax.plot(
            a[k],
            u[k],
            CLASS_MARKERS[k % len(CLASS_MARKERS)],
            color=COLOUR_CYCLE[k % len(COLOUR_CYCLE)],
            markersize=12,
        )
        right = a[k] > a.min() + 0.7 * np.ptp(a) and np.ptp(a) > 0
        ax.annotate(
            name,
            (a[k], u[k]),
            xytext=(-11 if right else 11, 0),
            textcoords="offset points",
            va="center",
            ha="right" if right else "left",
        )
    ax.margins(0.15)
    ax.set(
        xlabel="alignment: mean squared distance of positives (no unit)",
        ylabel="uniformity: ln of mean exp(-2 d²)",
    )
    ax.grid()
    return fig
