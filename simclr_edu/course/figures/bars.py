"""Bars with their spread."""

from collections.abc import Sequence

import numpy as np

from simclr_edu._checks import check_fraction
from simclr_edu.course.figures.inputs import ArrayLike, as_accuracies, as_names, as_spread, percent_axis
from simclr_edu.course.figures.picture import (
    OKABE_ITO,
    PAGE_WIDTH,
    Picture,
    new_figure,
    styled,
    write_beside_bar,
)


@styled
def bar_with_error(
    names: Sequence[str],
    means: ArrayLike,
    stds: ArrayLike | None = None,
    chance: float | None = None,
    label: str = "linear probe accuracy (%)",
    title: str | None = None,
) -> Picture:
    """Draw one accuracy a bar, with error bars and the chance line.

    Args:
        names: B names.
        means: ``(B,)`` accuracies from 0 to 1.
        stds: ``(B,)`` standard deviations over seeds, 0 where there is none; None draws no error bars.
        chance: accuracy of a guess, drawn as a line.
        label: name of the axis.
        title: what to see; the default names the best.

    Raises:
        TypeError, ValueError: lengths that differ, or values out of range.
    """
    names = as_names(names, "names")
    m = as_accuracies(means, "means", len(names))
    s = as_spread(stds, "stds", len(names))
    guess = None if chance is None else check_fraction(chance, "chance")
    best = int(m.argmax())
    title = title or f"{names[best]} is best with {100 * m[best]:.1f}%"
    alt = "Bars: " + ", ".join(f"{n} {100 * v:.1f}%" for n, v in zip(names, m, strict=True))
    alt += f"; chance is {100 * guess:.0f}%." if guess is not None else "."
    fig = new_figure(PAGE_WIDTH, 1.5 + 0.5 * len(names), title, alt)
    ax = fig.add_subplot()
    y = np.arange(len(names))
    known = None if s is None else np.where(s > 0, s, np.nan)  # no cap where there is no spread
    ax.barh(y, m, xerr=known, color=OKABE_ITO["blue"], height=0.7, error_kw={"capsize": 4, "elinewidth": 1.8})
    for i, v in enumerate(m):
        end = v + (s[i] if s is not None else 0)
        spread = f" ± {100 * s[i]:.1f}" if s is not None and s[i] else ""
        write_beside_bar(ax, f"{100 * v:.1f}{spread}", end, i)
    if guess is not None:
        line = ax.axvline(guess, color=OKABE_ITO["vermilion"], linestyle="--")
        fig.legend([line], ["chance"], loc="outside lower right", frameon=False)  # never on top of a bar
    ax.set_yticks(y, names)
    ax.invert_yaxis()
    ax.set(xlabel=label, xlim=(0, min(1.18, max(0.5, 1.25 * float(m.max())))), xticks=np.arange(0, 1.01, 0.2))
    ax.spines["bottom"].set_bounds(0, min(1.0, ax.get_xlim()[1]))  # past 100% there is only room for a number
    ax.tick_params(axis="y", length=0)
    percent_axis(ax.xaxis)
    return fig
