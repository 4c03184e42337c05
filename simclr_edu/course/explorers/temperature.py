"""The explorer of notebook 03."""

from simclr_edu.course import figures
from simclr_edu.course.explorers.base import Explorer, temperature_slider


def temperature_explorer(similarities: figures.ArrayLike, positive_index: int) -> Explorer:
    """Move the temperature: the softmax weights of one anchor, and which negatives carry the gradient.

    Static twin: ``plots.temperature_effect``.

    Args:
        similarities: ``(K,)`` cosine similarities to the candidates, the anchor itself left out.
        positive_index: which candidate is the positive.

    Raises:
        TypeError, ValueError: as ``plots.temperature_effect``.
    """
    return Explorer(
        {"temperature": temperature_slider()},
        lambda temperature: figures.temperature_effect(similarities, positive_index, temperature),
    )
