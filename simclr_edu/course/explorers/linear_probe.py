"""The explorer of notebook 06."""

from collections.abc import Mapping

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from simclr_edu.course import figures
from simclr_edu.course.explorers.base import Explorer, make_slider


def label_budget_explorer(
    fractions: figures.ArrayLike,
    results: Mapping[str, figures.ArrayLike],
    chance: float | None = None,
    per_class: int | None = None,
) -> Explorer:
    """Move the share of labels, and reveal one method after the other. Static twin: ``plots.label_budget``.

    Args:
        fractions: ``(F,)`` shares of the training labels, above 0 to 1.
        results: name to accuracies from 0 to 1, as for ``plots.label_budget``, in the order of revealing.
        chance: accuracy of a guess, drawn as a line.
        per_class: pictures that a class has in all; then labels a class are counted, not per cent.

    Raises:
        TypeError, ValueError: as ``plots.label_budget``.
    """
    figures.label_budget(
        fractions, results, chance, per_class=per_class
    )  # complain at once, not at the first move
    values = sorted(float(f) for f in np.asarray(fractions, dtype=float))
    unit = "%" if per_class is None else ""
    options = [(figures.budget_name(f, per_class) + unit, f) for f in values]
    description = "labels used" if per_class is None else "labels a class"

    def figure(fraction: float, methods: int) -> Figure:
        shown = dict(list(results.items())[:methods])
        return figures.label_budget(fractions, shown, chance, at=fraction, per_class=per_class)

    sliders = {
        "fraction": make_slider(ipywidgets.SelectionSlider, description, options=options, value=values[0]),
        "methods": make_slider(
            ipywidgets.IntSlider, "methods shown", min=1, max=max(len(results), 1), value=len(results)
        ),
    }
    return Explorer(sliders, figure)
