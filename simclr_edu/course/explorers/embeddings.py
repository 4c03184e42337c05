"""The explorer of notebook 05."""

from collections.abc import Mapping, Sequence

import ipywidgets
from matplotlib.figure import Figure

from simclr_edu._checks import check_mapping, check_positive, check_seed
from simclr_edu.course import figures
from simclr_edu.course.explorers.base import Explorer, make_slider


def tsne_explorer(
    precomputed: Mapping[tuple[float, int], figures.ArrayLike],
    labels: figures.ArrayLike,
    class_names: Sequence[str],
) -> Explorer:
    """Move the perplexity and the seed of maps made beforehand. Static twin: ``plots.embedding_scatter``.

    Args:
        precomputed: ``{(perplexity, seed): points (N, 2)}``, with every perplexity for every seed.
        labels: ``(N,)`` class of each point.
        class_names: a name for each class.

    Raises:
        ValueError: no maps, or a combination is missing.
        TypeError, ValueError: as ``plots.embedding_scatter``.
    """
    if not check_mapping(precomputed, "precomputed"):
        raise ValueError("precomputed must hold at least one map, got none")
    for key in precomputed:
        if not isinstance(key, tuple) or len(key) != 2:
            raise TypeError(f"each key of precomputed must be (perplexity, seed), got {type(key).__name__}")
        check_positive(key[0], "each perplexity")
        check_seed(key[1], "each seed")
    perplexities = sorted({perplexity for perplexity, _ in precomputed})
    seeds = sorted({seed for _, seed in precomputed})
    if missing := [(p, s) for p in perplexities for s in seeds if (p, s) not in precomputed]:
        raise ValueError(f"precomputed must hold every perplexity for every seed, missing {missing[0]}")

    for points in precomputed.values():  # complain at once, not at the first move
        figures.embedding_scatter(points, labels, class_names)

    def figure(perplexity: float, seed: int) -> Figure:
        title = f"t-SNE at perplexity {perplexity:g}, seed {seed}: distances between groups mean little"
        return figures.embedding_scatter(precomputed[perplexity, seed], labels, class_names, title=title)

    middle = perplexities[len(perplexities) // 2]
    sliders = {
        "perplexity": make_slider(
            ipywidgets.SelectionSlider, "perplexity", options=perplexities, value=middle
        ),
        "seed": make_slider(ipywidgets.SelectionSlider, "seed", options=seeds, value=seeds[0]),
    }
    return Explorer(sliders, figure)
