"""Sliders around the figures of :mod:`simclr_edu.course.figures`, and the interview's buttons.

Every widget redraws with one pure function of ``figures``, its static twin, so that a page without a
kernel shows the same picture for one setting. A redraw replaces the bytes of one ``ipywidgets.Image``:
nothing flickers, no output grows and no figure stays open. Below the picture stands its alt text, which
screen readers announce when it changes. Sliders work with the arrow keys.

All work without a front end too: setting ``explorer.controls["temperature"].value`` redraws
``explorer.image``.
"""

from simclr_edu.course.explorers.augmentation import augmentation_explorer
from simclr_edu.course.explorers.base import Explorer
from simclr_edu.course.explorers.embeddings import tsne_explorer
from simclr_edu.course.explorers.interview import (
    Countdown,
    FlashCardDeck,
    QuizBoard,
    countdown,
    flash_cards,
    quiz,
)
from simclr_edu.course.explorers.linear_probe import label_budget_explorer
from simclr_edu.course.explorers.nt_xent import loss_floor_explorer, similarity_explorer
from simclr_edu.course.explorers.pretraining import LiveTraining
from simclr_edu.course.explorers.temperature import temperature_explorer

__all__ = [
    "Countdown",
    "Explorer",
    "FlashCardDeck",
    "LiveTraining",
    "QuizBoard",
    "augmentation_explorer",
    "countdown",
    "flash_cards",
    "label_budget_explorer",
    "loss_floor_explorer",
    "quiz",
    "similarity_explorer",
    "temperature_explorer",
    "tsne_explorer",
]
