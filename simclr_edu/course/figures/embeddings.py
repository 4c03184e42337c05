"""Figures of notebook 05: similarities by class, neighbours, t-SNE, factors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from simclr_edu._checks import check_int
from simclr_edu.course.figures.inputs import (
    Array,
    ArrayLike,
    Images,
    as_array,
    as_classes,
    as_names,
    as_pixels,
    as_points,
    as_similarities,
    as_square,
    as_vector,
    dimensions,
    percent,
    percent_axis,
    shape_of,
    short,
)
from simclr_edu.course.figures.mosaic import cross_out, draw_mosaic
from simclr_edu.course.figures.picture import (
    CLASS_COLOURS,
    CLASS_MARKERS,
    NEGATIVE,
    OKABE_ITO,
    PAGE_WIDTH,
    POSITIVE,
    SIMILARITY_STYLE,
    Picture,
    new_figure,
    styled,
)


@styled
def neighbours_before_after(
    queries: Images,
    before: Images,
    after: Images,
    same_before: ArrayLike,
    same_after: ArrayLike,
    names: Sequence[str] = ("random encoder", "SimCLR"),
    title: str | None = None,
) -> Picture:
    """Show each query with its nearest neighbours under two encoders, side by side.

    Args:
        queries: ``(Q, 3, H, W)``.
        before: ``(Q, K, 3, H, W)``, the neighbours under the first encoder, nearest first.
        after: ``(Q, K, 3, H, W)``, under the second.
        same_before: ``(Q, K)`` of bool; neighbours of another class than the query get a cross.
        same_after: ``(Q, K)`` of bool, for the second.
        names: of the two encoders.
        title: what to see; the default counts the neighbours of the query's class.

    Raises:
        TypeError, ValueError: shapes that do not fit together.
    """
    q = as_pixels(queries, "queries")
    names = as_names(names, "names", 2)
    shape = dimensions(before, "before")
    if len(shape) != 5 or shape[0] != len(q) or dimensions(after, "after") != shape:
        got = f"{shape_of(before)} and {shape_of(after)}"
        raise ValueError(f"before and after must both have shape ({len(q)}, K, 3, H, W), got {got}")
    if shape[3:] != q.shape[1:3]:
        raise ValueError(f"neighbours must be images of the queries' size, got {shape_of(before)}")
    k, (height, width) = shape[1], q.shape[1:3]
    groups, sames = [], []
    for name, images, same in (("before", before, same_before), ("after", after, same_after)):
        pixels = as_pixels(images.reshape(-1, *shape[2:]), name)
        groups.append(pixels.reshape(len(q), k, height, width, 3))
        sames.append(as_array(same, f"same_{name}").astype(bool))
        if sames[-1].shape != (len(q), k):
            raise ValueError(f"same_{name} must have shape ({len(q)}, {k}), got {sames[-1].shape}")
    gap = np.ones((len(q), 1, height, width, 3), dtype=np.float32)
    tiles = np.concatenate([q[:, None], groups[0], gap, groups[1]], axis=1)  # (Q, 2 + 2K, H, W, 3)
    counts = [f"{name}: {int(s.sum())} of {s.size}" for name, s in zip(names, sames, strict=True)]
    title = title or f"Neighbours of the query's class: {'; '.join(counts)} (a cross marks another class)"
    found = f"Of the query's class: {'; '.join(counts)}."
    alt = f"{len(q)} queries, each with its {k} nearest neighbours. {found}"
    blank = [""] * (2 + 2 * k)
    fig, ax, corner = draw_mosaic(tiles, title, alt, column_names=["query", *blank[1:]])
    for r in range(len(q)):
        ax.add_patch(
            Rectangle(corner(r, 0), width, height, fill=False, edgecolor="black", linewidth=3, clip_on=False)
        )
    crossed = []
    for name, same, start in zip(names, sames, (1, 2 + k), strict=True):
        middle = (corner(0, start)[0] + corner(0, start + k - 1)[0] + width) / 2
        ax.text(middle, 0, name, ha="center", va="bottom")
        crossed += [corner(int(r), int(c) + start) for r, c in np.argwhere(~same)]
    cross_out(ax, crossed, height, width)
    return fig


def _by_class(ax: Axes, x: Array, labels: Array, names: list[str], y_names: bool = True) -> Any:
    """Draw ``x`` with rows and columns sorted by class and lines between the classes."""
    order = np.argsort(labels, kind="stable")
    image = ax.imshow(x[order][:, order], **SIMILARITY_STYLE)
    counts = np.bincount(labels, minlength=len(names))
    ends = np.cumsum(counts)
    bounds = [e - 0.5 for e in ends[:-1] if 0 < e < len(labels)]
    n = len(labels)
    segments = [[(b, -0.5), (b, n - 0.5)] for b in bounds] + [[(-0.5, b), (n - 0.5, b)] for b in bounds]
    ax.add_collection(LineCollection(segments, colors="black", linewidths=0.8, gid="classes"))
    present = np.flatnonzero(counts)
    centres = (ends - counts / 2 - 0.5)[present]
    ax.set_xticks(centres, [names[c] for c in present], rotation=90)
    ax.set_yticks(centres, [names[c] for c in present] if y_names else [])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), xlabel="image, sorted by class")
    return image


def _class_means(x: Array, labels: Array) -> tuple[float, float]:
    """Return the mean similarity within a class (self left out) and between classes."""
    same = labels[:, None] == labels[None, :]
    within = same & ~np.eye(len(labels), dtype=bool)
    if same.all() or not within.any():
        raise ValueError("labels must hold at least 2 classes, one of them at least twice")
    return float(x[within].mean()), float(x[~same].mean())


@styled
def before_after_similarity(
    sim_before: ArrayLike,
    sim_after: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    title: str | None = None,
) -> Picture:
    """Draw the similarity matrix of the same images before and after pretraining, sorted by class.

    Args:
        sim_before: ``(N, N)`` cosine similarities under the untrained encoder.
        sim_after: ``(N, N)`` under the pretrained one.
        labels: ``(N,)`` class of each image.
        class_names: a name for each class.
        title: what to see.

    Raises:
        TypeError, ValueError: not two square matrices of one size, or labels that do not fit.
    """
    before, after = as_square(sim_before, "sim_before"), as_square(sim_after, "sim_after")
    if before.shape != after.shape:
        raise ValueError(
            f"sim_before and sim_after must have one shape, got {before.shape} and {after.shape}"
        )
    y, names = as_classes(labels, class_names, len(before))
    means = [_class_means(x, y) for x in (before, after)]
    gains = means[1][0] - means[1][1] > means[0][0] - means[0][1]
    title = title or (
        "Pretraining without labels finds classes: blocks appear along the diagonal"
        if gains
        else "Pretraining did not separate the classes: no more contrast than before"
    )
    (within, between), (within_after, between_after) = [(short(a), short(b)) for a, b in means]
    alt = f"""
        Two similarity matrices of {len(before)} images sorted by class.
        Before pretraining the mean similarity is {within} within a class and {between} between classes;
        after it, {within_after} and {between_after}.
    """
    fig = new_figure(PAGE_WIDTH, 5.1, title, alt)
    axes = fig.subplots(1, 2)
    for k, (ax, x, name) in enumerate(zip(axes, (before, after), ("before", "after"), strict=True)):
        image = _by_class(ax, x, y, names, y_names=k == 0)
        ax.set_title(f"{name}: {short(means[k][0])} within, {short(means[k][1])} between")
    axes[0].set_ylabel("image, sorted by class")
    fig.colorbar(image, ax=axes, label="cosine similarity (no unit)", shrink=0.8, pad=0.02)
    return fig


@styled
def factor_bars(
    names: Sequence[str],
    h_values: ArrayLike,
    z_values: ArrayLike,
    label: str = "probe score (1 is perfect)",
    title: str | None = None,
) -> Picture:
    """Draw how well each known factor can be read from h and from z (Chen et al. 2020, table 3).

    Args:
        names: F factors.
        h_values: ``(F,)`` probe scores on h, accuracy or R squared, at most 1.
        z_values: ``(F,)`` on z = g(h).
        label: name of the axis.
        title: what to see; the default names the factor that the head loses most of.

    Raises:
        TypeError, ValueError: lengths that differ, or a score above 1.
    """
    names = as_names(names, "names")
    h, z = as_vector(h_values, "h_values", len(names)), as_vector(z_values, "z_values", len(names))
    if max(h.max(), z.max()) > 1 + 1e-9:
        raise ValueError(f"h_values and z_values must be at most 1, got {max(h.max(), z.max()):g}")
    most = int((h - z).argmax())
    lost = h[most] > z[most]
    title = title or (
        f"The projection head discards most of: {names[most]} ({short(h[most])} in h, {short(z[most])} in z)"
        if lost
        else "z keeps every factor as well as h does"
    )
    alt = "Probe scores. " + "; ".join(
        f"{n}: {short(a)} from h, {short(b)} from z" for n, a, b in zip(names, h, z, strict=True)
    )
    fig = new_figure(PAGE_WIDTH, 1.6 + 0.62 * len(names), title, alt + ".")
    ax = fig.add_subplot()
    y = np.arange(len(names))
    for values, at, colour, hatch, name in (
        (h, y - 0.2, OKABE_ITO["blue"], "", "h (encoder)"),
        (z, y + 0.2, OKABE_ITO["orange"], "//", "z (projection head)"),
    ):
        ax.barh(
            at, values, height=0.37, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=name
        )
        for yi, v in zip(at, values, strict=True):
            ax.annotate(short(v), (max(v, 0), yi), xytext=(5, 0), textcoords="offset points", va="center")
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(xlabel=label, xlim=(min(0.0, h.min(), z.min()) * 1.05, 1.1))
    ax.tick_params(axis="y", length=0)
    fig.legend(loc="outside lower center", ncols=2, frameon=False)
    return fig


@styled
def embedding_scatter(
    points: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    title: str | None = None,
    method: str = "t-SNE",
) -> Picture:
    """Draw embeddings reduced to two dimensions, a colour and a marker for each class.

    Args:
        points: ``(N, 2)``.
        labels: ``(N,)`` class of each point.
        class_names: a name for each class.
        title: what to see.
        method: what made the points, for the axes.

    Raises:
        TypeError, ValueError: not N points in the plane, or labels that do not fit.
    """
    p = as_points(points)
    y, names = as_classes(labels, class_names, len(p))
    present = np.unique(y)
    title = title or "Points that lie together have similar representations"
    listed = ", ".join(names[c] for c in present)
    alt = f"{method} map of {len(p)} images, coloured by their {len(present)} classes: {listed}."
    fig = new_figure(8.0, 6.0, title, alt, constrained=False)
    ax = fig.add_axes((0.07, 0.1, 0.68, 0.8))
    _scatter(ax, p, y, names, float(np.clip(12000 / len(p), 10, 60)))
    ax.set(xlabel=f"{method} dimension 1 (no unit)", ylabel=f"{method} dimension 2 (no unit)")
    _enlarge(fig.legend(loc="center left", bbox_to_anchor=(0.76, 0.5), frameon=False, title="class"))
    return fig


def _scatter(ax: Axes, points: Array, labels: Array, names: list[str], size: float) -> None:
    """Draw points (N, 2), a colour and a marker for each class, without ticks."""
    for c in np.unique(labels):
        chosen = points[labels == c]
        ax.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=size,
            color=CLASS_COLOURS[c % len(CLASS_COLOURS)],
            marker=CLASS_MARKERS[c % len(CLASS_MARKERS)],
            edgecolors="white",
            linewidths=0.3,
            label=names[c],
        )
    ax.set(xticks=[], yticks=[])


def _enlarge(legend: Any) -> None:
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([70])


@styled
def embedding_maps(
    maps: Mapping[str, ArrayLike],
    labels: ArrayLike,
    class_names: Sequence[str],
    title: str | None = None,
    method: str = "t-SNE",
) -> Picture:
    """Draw several maps of the same images side by side, a colour and a marker for each class.

    Args:
        maps: name to points ``(N, 2)``, one to three maps.
        labels: ``(N,)`` class of each point, or any other grouping of them.
        class_names: a name for each class.
        title: what to see.
        method: what made the points, for the axes.

    Raises:
        TypeError, ValueError: not one to three maps of N points in the plane, or labels that do not fit.
    """
    if not isinstance(maps, Mapping) or not 1 <= len(maps) <= 3:
        got = len(maps) if isinstance(maps, Mapping) else type(maps).__name__
        raise ValueError(f"maps must map one to three names to points, got {got}")
    drawn = {str(name): as_array(points, f"points of {name!r}") for name, points in maps.items()}
    count = len(next(iter(drawn.values())))
    for name, p in drawn.items():
        if p.shape != (count, 2):
            raise ValueError(f"points of {name!r} must have shape ({count}, 2), got {p.shape}")
    y, names = as_classes(labels, class_names, count)
    title = title or "Points that lie together have similar representations"
    listed = ", ".join(names[c] for c in np.unique(y))
    alt = f"{method} maps of {count} images ({'; '.join(drawn)}), coloured by: {listed}."
    fig = new_figure(PAGE_WIDTH, 2.0 + (PAGE_WIDTH - 0.4) / max(2, len(drawn)), title, alt)
    axes = np.atleast_1d(fig.subplots(1, len(drawn)))
    for ax, (name, p) in zip(axes, drawn.items(), strict=True):
        _scatter(ax, p, y, names, float(np.clip(9000 / count, 10, 50)))
        ax.set(title=name, xlabel=f"{method} dimension 1 (no unit)")
    axes[0].set_ylabel(f"{method} dimension 2 (no unit)")
    handles, shown = axes[0].get_legend_handles_labels()
    _enlarge(fig.legend(handles, shown, loc="outside lower center", ncols=5, frameon=False))
    return fig


@styled
def histogram_pair(
    positive: ArrayLike, negative: ArrayLike, bins: int = 50, title: str | None = None
) -> Picture:
    """Draw the similarities of positive and of negative pairs, each as shares that add up to 100%.

    Args:
        positive: similarities of positive pairs, any shape.
        negative: similarities of negative pairs, any shape.
        bins: bins from -1 to 1.
        title: what to see; the default states both means.

    Raises:
        TypeError, ValueError: not cosine similarities.
    """
    groups = [
        as_similarities(v, n).ravel().clip(-1, 1) for v, n in ((positive, "positive"), (negative, "negative"))
    ]
    bins = check_int(bins, "bins", 2, 1000)
    edges = np.linspace(-1, 1, bins + 1)
    shares = [np.histogram(g, edges)[0] / len(g) for g in groups]
    means = [float(g.mean()) for g in groups]
    (positives, negatives), gap = (short(m) for m in means), short(means[0] - means[1])
    title = title or f"Positives at {positives} on average, negatives at {negatives}: a gap of {gap}"
    overlap = float(np.minimum(*shares).sum())
    alt = f"""
        Histograms of cosine similarity: {len(groups[0])} positive pairs with mean {positives}
        and {len(groups[1])} negative pairs with mean {negatives}; they overlap by {percent(overlap)}.
    """
    fig = new_figure(PAGE_WIDTH, 4.0, title, alt)
    ax = fig.add_subplot()
    for share, mean, colour, hatch, name in (
        (shares[1], means[1], NEGATIVE, "", "negative pairs"),
        (shares[0], means[0], POSITIVE, "//", "positive pairs"),
    ):
        bars = ax.stairs(
            share, edges, fill=True, facecolor=colour, alpha=0.55, edgecolor=colour, hatch=hatch, label=name
        )
        bars.set_gid(name)
        ax.axvline(mean, color=colour, linestyle="--", linewidth=2)
    ax.set(xlabel="cosine similarity (no unit); dashed lines are the means", ylabel="share of pairs (%)")
    ax.set(xlim=(-1, 1), ylim=(0, float(max(s.max() for s in shares)) * 1.15))
    percent_axis(ax.yaxis)
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.legend(frameon=False, loc="upper left")
    return fig
