"""Exercises of notebook 01."""

from simclr_edu.course.exercises.augmentation.grayscale import GRAYSCALE
from simclr_edu.course.exercises.augmentation.horizontal_flip import HORIZONTAL_FLIP
from simclr_edu.course.exercises.augmentation.two_views import TWO_VIEWS

check_horizontal_flip, diagnose_horizontal_flip = HORIZONTAL_FLIP.check, HORIZONTAL_FLIP.diagnose
check_grayscale, diagnose_grayscale = GRAYSCALE.check, GRAYSCALE.diagnose
check_two_views, diagnose_two_views = TWO_VIEWS.check, TWO_VIEWS.diagnose

__all__ = [
    "GRAYSCALE",
    "HORIZONTAL_FLIP",
    "TWO_VIEWS",
    "check_grayscale",
    "check_horizontal_flip",
    "check_two_views",
    "diagnose_grayscale",
    "diagnose_horizontal_flip",
    "diagnose_two_views",
]
