"""Every figure of the course as a pure function: data in, matplotlib figure out.

No function touches pyplot or its list of open figures, so nothing is displayed twice and nothing
leaks. Each returns a :class:`Picture`: a matplotlib ``Figure`` with ``alt_text``, a sentence made
from the data. There is one way to display it: as the last expression of a cell, or by ``show(fig)``
anywhere else. Both put the same ``<img alt="...">`` into the notebook, which exported HTML and slides
keep; ``%matplotlib inline`` is not needed.

Arguments may be tensors (any device) or arrays. Images are ``(N, 3, H, W)``, uint8 or float in [0, 1].
Accuracies go in as fractions from 0 to 1 and are drawn in per cent. Colours are those of Okabe and Ito
("Color Universal Design", 2008), told apart with every common kind of colour blindness; where colour
names a class, a marker or a pattern does too.
"""

from simclr_edu.course.figures.augmentation import augmentation_steps, colour_histograms, view_pairs
from simclr_edu.course.figures.bars import bar_with_error
from simclr_edu.course.figures.embeddings import (
    before_after_similarity,
    embedding_maps,
    embedding_scatter,
    factor_bars,
    histogram_pair,
    neighbours_before_after,
)
from simclr_edu.course.figures.hover_map import EmbeddingMap, embedding_map
from simclr_edu.course.figures.inputs import Array, ArrayLike
from simclr_edu.course.figures.linear_probe import budget_name, confusion, label_budget
from simclr_edu.course.figures.mosaic import image_grid
from simclr_edu.course.figures.nt_xent import (
    anchor_softmax,
    arrows,
    loss_floor,
    nearest_neighbours,
    similarity_matrix,
)
from simclr_edu.course.figures.picture import OKABE_ITO, Picture, show, to_html, to_png
from simclr_edu.course.figures.pretraining import learning_rate, loss_curve, throughput_bars
from simclr_edu.course.figures.temperature import (
    gradient_share,
    softmax_row,
    temperature_effect,
    temperature_results,
    uniformity_alignment,
)

__all__ = [
    "OKABE_ITO",
    "Array",
    "ArrayLike",
    "EmbeddingMap",
    "Picture",
    "anchor_softmax",
    "arrows",
    "augmentation_steps",
    "bar_with_error",
    "before_after_similarity",
    "budget_name",
    "colour_histograms",
    "confusion",
    "embedding_map",
    "embedding_maps",
    "embedding_scatter",
    "factor_bars",
    "gradient_share",
    "histogram_pair",
    "image_grid",
    "label_budget",
    "learning_rate",
    "loss_curve",
    "loss_floor",
    "nearest_neighbours",
    "neighbours_before_after",
    "show",
    "similarity_matrix",
    "softmax_row",
    "temperature_effect",
    "temperature_results",
    "throughput_bars",
    "to_html",
    "to_png",
    "uniformity_alignment",
    "view_pairs",
]
