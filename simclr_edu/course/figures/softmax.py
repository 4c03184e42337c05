"""One anchor's softmax over its candidates, as numbers and as bars."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from torch.nn.functional import cross_entropy

from simclr_edu._checks import check_positive
from simclr_edu.course.figures.inputs import Array, as_vector
from simclr_edu.course.figures.picture import NEGATIVE, POSITIVE
from simclr_edu.diagnostics import softmax_weights


def softmax_of(x: Array, temperature: float) -> Array:
    """Softmax weights (K,) of similarities (K,) divided by the temperature."""
    return softmax_weights(torch.from_numpy(x.copy()), temperature).numpy()


def as_temperatures(value: object) -> list[float]:
    values = value if isinstance(value, list | tuple) else as_vector(value, "temperatures").tolist()
    if not values:
        raise ValueError("temperatures must not be empty, got none")
    return [check_positive(t, "temperature") for t in values]


def softmax_bars(ax: Axes, values: Array, positive: int) -> None:
    """Draw bars as one collection, which is several times faster than a patch each."""
    at = np.arange(len(values))
    boxes = [
        [(i - 0.45, 0), (i - 0.45, v), (i + 0.45, v), (i + 0.45, 0)] for i, v in zip(at, values, strict=True)
    ]
    ax.add_collection(
        PolyCollection(boxes, facecolors=np.where(at == positive, POSITIVE, NEGATIVE), gid="bars")
    )


def loss_of(sim: Array, positive: Array, temperature: float) -> Array:
    """Each row's cross-entropy (R,) of ``sim`` (R, K) / temperature against column ``positive`` (R,)."""
    logits = torch.tensor(sim / temperature)
    return cross_entropy(logits, torch.tensor(positive), reduction="none").numpy()
