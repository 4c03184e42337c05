"""Figures of notebook 02: unit vectors, similarity matrices, one anchor's softmax, the floor of the loss."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator

from simclr_edu._checks import check_choice, check_int, check_positive
from simclr_edu.course.figures.inputs import (
    ArrayLike,
    Images,
    as_array,
    as_names,
    as_pixels,
    as_similarities,
    as_square,
    dimensions,
    fixed_decimals,
    shape_of,
    short,
)
from simclr_edu.course.figures.mosaic import cross_out, draw_mosaic
from simclr_edu.course.figures.picture import (
    COLOUR_CYCLE,
    GRAY,
    OKABE_ITO,
    PAGE_WIDTH,
    POSITIVE,
    SIMILARITY_STYLE,
    Picture,
    new_figure,
    styled,
)
from simclr_edu.course.figures.softmax import loss_of, softmax_bars, softmax_of


@styled
def nearest_neighbours(
    queries: Images,
    neighbours: Images,
    similarities: ArrayLike,
    same_class: ArrayLike | None = None,
    title: str | None = None,
    query: str = "query",
) -> Picture:
    """Show each query on the left and its nearest neighbours beside it, with their similarity.

    Args:
        queries: ``(Q, 3, H, W)``.
        neighbours: ``(Q, K, 3, H, W)``, nearest first.
        similarities: ``(Q, K)`` cosine similarities.
        same_class: ``(Q, K)`` of bool; neighbours of another class than the query get a cross.
        title: what to see.
        query: what to write above each picture on the left.

    Raises:
        TypeError, ValueError: shapes that do not fit together.
    """
    q = as_pixels(queries, "queries")
    shape = dimensions(neighbours, "neighbours")
    if len(shape) != 5 or shape[0] != len(q):
        raise ValueError(f"neighbours must have shape ({len(q)}, K, 3, H, W), got {shape_of(neighbours)}")
    k = shape[1]
    near = as_pixels(neighbours.reshape(-1, *shape[2:]), "neighbours")
    if near.shape[1:] != q.shape[1:]:
        raise ValueError(f"neighbours must be images of the queries' size, got {shape_of(neighbours)}")
    sim = as_similarities(similarities, "similarities")
    if sim.shape != (len(q), k):
        raise ValueError(f"similarities must have shape ({len(q)}, {k}), got {sim.shape}")
    tiles = np.concatenate([q[:, None], near.reshape(len(q), k, *q.shape[1:])], axis=1)  # (Q, 1 + K, H, W, 3)
    alt = f"{len(q)} queries, each with its {k} nearest neighbours; mean similarity {short(sim.mean())}"
    captions = [c for row in sim for c in (query, *(short(s) for s in row))]
    same = None
    if same_class is not None:
        same = as_array(same_class, "same_class").astype(bool)
        if same.shape != sim.shape:
            raise ValueError(f"same_class must have shape {sim.shape}, got {same.shape}")
        alt += f"; {int(same.sum())} of {same.size} neighbours are of the query's class"
    default = "Nearest neighbours of each query by cosine similarity"
    if same is not None:
        default += "; a cross marks another class"
    fig, ax, corner = draw_mosaic(tiles, title or default, alt + ".", captions)
    height, width = q.shape[1:3]
    for r in range(len(q)):
        ax.add_patch(
            Rectangle(corner(r, 0), width, height, fill=False, edgecolor="black", linewidth=3, clip_on=False)
        )
    if same is not None:
        cross_out(ax, [corner(int(r), int(c) + 1) for r, c in np.argwhere(~same)], height, width)
    return fig


@styled
def arrows(vectors: ArrayLike, names: Sequence[str], title: str | None = None) -> Picture:
    """Draw embeddings in the plane as arrows on the unit circle, view 1 of all images stacked on view 2.

    Args:
        vectors: ``(2N, 2)``, drawn at length 1; the two views of an image share a colour.
        names: ``(2N,)`` names.
        title: what to see.

    Raises:
        TypeError, ValueError: not an even number of vectors in the plane, one of length 0, or too few names.
    """
    v = as_array(vectors, "vectors")
    if v.ndim != 2 or v.shape[1] != 2 or len(v) % 2:
        raise ValueError(f"vectors must have shape (2N, 2), got {v.shape}")
    names = as_names(names, "names", len(v))
    largest = np.abs(v).max(axis=1, keepdims=True)
    if largest.min() == 0:
        raise ValueError("vectors must have a direction, got one of length 0")
    v = v / largest  # the square of what is very large or small is infinite or 0
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    degrees = np.degrees(np.arctan2(v[:, 1], v[:, 0])) % 360
    title = title or "Embeddings as arrows: only the angle between two of them counts"
    alt = "Arrows of length 1 from one point: " + ", ".join(
        f"{n} at {d:.0f} degrees" for n, d in zip(names, degrees, strict=True)
    )
    fig = new_figure(PAGE_WIDTH, 3.6, title, alt + ".")
    ax = fig.add_subplot()
    turn = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(turn), np.sin(turn), color=GRAY, linestyle=":", linewidth=1.5)
    half = len(v) // 2
    for k, (x, y) in enumerate(v):
        colour = COLOUR_CYCLE[k % half % len(COLOUR_CYCLE)]
        ax.annotate(
            "",
            (x, y),
            (0, 0),
            arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.5, "shrinkA": 0, "shrinkB": 0},
        )
        ax.text(1.08 * x, 1.08 * y, f"{names[k]} at {degrees[k]:.0f}°", va="center", ha=_side(float(x)))
    low = min(0.0, float(v[:, 1].min()))
    ax.set(xlim=(-2, 2), ylim=(low - 0.15, 1.2), aspect="equal")
    ax.set(xlabel="first coordinate (no unit)", ylabel="second (no unit)", xticks=[-1, 0, 1], yticks=[0, 1])
    return fig


def _side(x: float) -> str:
    """Where a label beside a point of the unit circle begins."""
    return "center" if abs(x) < 0.2 else "left" if x > 0 else "right"


@styled
def similarity_matrix(
    sim: ArrayLike,
    kind: str = "pairs",
    labels: Sequence[str] | None = None,
    title: str | None = None,
    decimals: int = 2,
) -> Picture:
    """Draw a cosine similarity matrix, the positives outlined and the diagonal crossed out.

    Args:
        sim: ``(2N, 2N)`` for ``kind="pairs"``, view 1 of all N images stacked on view 2, so that the
            positive of row i is column (i + N) mod 2N. Any square matrix for ``kind="plain"``.
        kind: ``"pairs"`` outlines the 2N positives and crosses out the 2N self-similarities; ``"plain"``
            marks nothing.
        labels: a name for each row; the default for pairs of up to 8 images is ``1a, 2a, ..., 1b, 2b, ...``.
        title: what to see.
        decimals: of the numbers in the cells of up to 12 rows, 1 to 3.

    Raises:
        TypeError, ValueError: not a square matrix of cosine similarities, or of odd size for pairs.
    """
    x = as_square(sim, "sim")
    check_choice(kind, "kind", ("pairs", "plain"))
    check_int(decimals, "decimals", 1, 3)
    n = len(x)
    if kind == "pairs" and (n % 2 or n < 4):
        raise ValueError(f"sim must have 2N rows with N at least 2 for kind='pairs', got {n} rows")
    half = n // 2
    if labels is not None:
        ticks = as_names(labels, "labels", n)
    elif kind == "pairs" and n <= 16:
        ticks = [f"{i % half + 1}{'ab'[i // half]}" for i in range(n)]
    else:
        ticks = []
    index = np.arange(n)
    if kind == "pairs":
        positives = x[index, (index + half) % n]
        negative = ~np.eye(n, dtype=bool) & (np.roll(np.eye(n, dtype=bool), half, axis=1) == 0)
        title = title or f"Each row: 1 positive (outlined), {n - 2} negatives, itself left out (crossed)"
        alike, unlike = (fixed_decimals(v.mean(), decimals) for v in (positives, x[negative]))
        alt = f"""
            Cosine similarity matrix of {n} views, {half} pairs:
            mean similarity {alike} over the {n} outlined positives and {unlike} over the negatives;
            the diagonal is crossed out.
        """
    else:
        title = title or "Cosine similarities: red is alike, blue is opposite"
        low, high, mean = short(x.min()), short(x.max()), short(x.mean())
        alt = f"Cosine similarity matrix of {n} rows, from {low} to {high}, mean {mean}."
    fig = new_figure(7.4 if n <= 16 else 6.9, 6.2, title, alt)
    ax = fig.add_subplot()
    image = ax.imshow(x, **SIMILARITY_STYLE)
    fig.colorbar(image, ax=ax, label="cosine similarity (no unit)", shrink=0.9)
    what = "view" if kind == "pairs" else "embedding"
    ax.set_xlabel(f"candidate {what}")
    ax.set_ylabel(f"anchor {what}" if kind == "pairs" else what)
    ax.spines[:].set_visible(False)
    if ticks:
        ax.set_xticks(index, ticks, rotation=90 if max(map(len, ticks)) > 3 else 0)
        ax.set_yticks(index, ticks)
        ax.tick_params(length=0)
    if kind == "pairs":
        boxes = PatchCollection([Rectangle(((i + half) % n - 0.5, i - 0.5), 1, 1) for i in index])
        boxes.set(facecolor="none", edgecolor="black", linewidth=2.5 if n <= 32 else 1.0, gid="positives")
        ax.add_collection(boxes)
        d = 0.5
        cross = [[(i - d, i - d), (i + d, i + d)] for i in index] + [
            [(i - d, i + d), (i + d, i - d)] for i in index
        ]
        lines = LineCollection(cross, colors="black", linewidths=1.2 if n <= 32 else 0.5, gid="self")
        ax.add_collection(lines)
        ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
    if n <= 12:
        for i in range(n):
            for j in range(n):
                if kind == "pairs" and i == j:
                    continue
                colour = "white" if abs(x[i, j]) > 0.65 else "black"
                size = 10 if decimals < 3 else 9
                value = fixed_decimals(x[i, j], decimals)
                ax.text(j, i, value, ha="center", va="center", fontsize=size, color=colour)
    return fig


@styled
def anchor_softmax(
    sim: ArrayLike, anchor: int = 0, temperature: float = 0.5, title: str | None = None
) -> Picture:
    """Draw the similarity matrix with one anchor's row framed, and the softmax over that row.

    Args:
        sim: ``(2N, 2N)`` cosine similarities, view 1 of all images stacked on view 2.
        anchor: row, from 0 to 2N - 1.
        temperature: greater than 0.
        title: what to see; the default states the loss of the anchor and of the batch.

    Raises:
        TypeError, ValueError: not such a matrix, or an anchor or temperature out of range.
    """
    x = as_square(sim, "sim")
    n = len(x)
    if n % 2 or n < 4:
        raise ValueError(f"sim must have 2N rows with N at least 2, got {n} rows")
    i = check_int(anchor, "anchor", 0, n - 1)
    tau = check_positive(temperature, "temperature")
    index = np.arange(n)
    positives = (index + n // 2) % n
    # Minus infinity takes the anchor itself out of the softmax.
    losses = loss_of(np.where(np.eye(n, dtype=bool), -np.inf, x), positives, tau)
    weights = np.zeros(n)
    weights[index != i] = softmax_of(x[i, index != i], tau)
    p = int(positives[i])
    weight, loss, mean = short(weights[p]), short(losses[i]), short(losses.mean())
    own = f"its loss is -ln({weight}) = {loss}"
    title = title or f"Anchor {i}, temperature {tau:.3g}: {own}, the batch's {mean}"
    alt = f"""
        Similarity matrix of {n} views with the row of anchor {i} framed;
        beside it the softmax of that row at temperature {tau:.3g}:
        the positive, candidate {p}, weighs {weight}. Mean loss {mean}.
    """
    fig = new_figure(PAGE_WIDTH, 4.4, title, alt, constrained=False)
    ax = fig.add_axes((0.07, 0.14, 0.37, 0.37 * PAGE_WIDTH / 4.4))
    ax.imshow(x, **SIMILARITY_STYLE, aspect="auto")
    ax.add_patch(
        Rectangle((-0.5, i - 0.5), n, 1, fill=False, edgecolor="black", linewidth=2.5, clip_on=False)
    )
    boxes = PatchCollection([Rectangle((positives[r] - 0.5, r - 0.5), 1, 1) for r in index])
    boxes.set(facecolor="none", edgecolor=POSITIVE, linewidth=1.5, gid="positives")
    ax.add_collection(boxes, autolim=False)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="candidate (red is alike, blue opposite)", ylabel="anchor")
    right = fig.add_axes((0.56, 0.14, 0.42, 0.37 * PAGE_WIDTH / 4.4))
    softmax_bars(right, weights, p)
    right.plot([i], [0], "x", color="black", markersize=9, markeredgewidth=2, clip_on=False)
    right.set(xlabel="candidate (orange: positive, cross: itself)", ylabel="softmax weight")
    right.set(xlim=(-0.6, n - 0.4), ylim=(0, float(weights.max()) * 1.15))
    for axis in (ax.xaxis, ax.yaxis, right.xaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    return fig


@styled
def loss_floor(num_pairs: int | None = None, max_pairs: int = 8192, title: str | None = None) -> Picture:
    """Draw ln(2N - 1), what an encoder that guesses scores, against the batch size N.

    Args:
        num_pairs: a batch size to point out; None points out 256 and 4096.
        max_pairs: right end of the axis.
        title: what to see.

    Raises:
        TypeError, ValueError: not whole numbers in range.
    """
    top = check_int(max_pairs, "max_pairs", 4)
    marks = [256, 4096] if num_pairs is None else [check_int(num_pairs, "num_pairs", 2, top)]
    marks = [m for m in marks if m <= top]
    title = title or "Guessing costs ln(2N - 1): losses of different batch sizes do not compare"
    values = ", ".join(f"{math.log(2 * m - 1):.2f} at N = {m}" for m in marks)
    rises = "rises with the logarithm of the batch size N"
    alt = f"The loss of a guessing encoder, ln(2N - 1), {rises}: {values}."
    fig = new_figure(PAGE_WIDTH, 4.0, title, alt, constrained=False)
    height = fig.get_figheight()
    ax = fig.add_axes((0.08, 0.65 / height, 0.88, 1 - 1.15 / height))
    n = np.geomspace(2, top, 200)
    ax.plot(n, np.log(2 * n - 1), color=OKABE_ITO["blue"])
    for m in marks:
        y = math.log(2 * m - 1)
        ax.plot([m, m, 2], [0, y, y], color=GRAY, linestyle=":", linewidth=1.5)
        ax.plot([m], [y], "o", color=OKABE_ITO["vermilion"], markersize=9)
        left = m > math.sqrt(2 * top)
        ax.annotate(
            f"N = {m}: {2 * m - 1} candidates, {short(y)}",
            (m, y),
            xytext=(-8 if left else 10, 8 if left else -14),
            textcoords="offset points",
            ha="right" if left else "left",
        )
    ax.set_xscale("log", base=2)
    ticks = [t for t in (2, 8, 32, 128, 512, 2048, 8192, 32768) if t <= top]
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel="batch size N (images)", ylabel="loss of a guess (nats)", xlim=(2, top), ylim=(0, None))
    ax.set_ylim(0, math.log(2 * top - 1) * 1.12)
    ax.grid(axis="y")
    return fig
