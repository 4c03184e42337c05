"""Exercises of notebook 01."""

from simclr_edu.course.exercises.augmentation.grayscale import GRAYSCALE, check_grayscale, diagnose_grayscale
from simclr_edu.course.exercises.augmentation.horizontal_flip import (
    HORIZONTAL_FLIP,
    check_horizontal_flip,
    diagnose_horizontal_flip,
)
from simclr_edu.course.exercises.augmentation.two_views import check_two_views, diagnose_two_views

__all__ = [
    "GRAYSCALE",
    "HORIZONTAL_FLIP",
    "check_grayscale",
    "check_horizontal_flip",
    "check_two_views",
    "diagnose_grayscale",
    "diagnose_horizontal_flip",
    "diagnose_two_views",
]
