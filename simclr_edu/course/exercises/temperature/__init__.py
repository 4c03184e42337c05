"""Exercises of notebook 03."""

from simclr_edu.course.exercises.temperature.share import (
    GRADIENT_SHARE,
    check_gradient_share,
    diagnose_gradient_share,
)
from simclr_edu.course.exercises.temperature.uniform import UNIFORMITY, check_uniformity, diagnose_uniformity
from simclr_edu.course.exercises.temperature.weights import (
    SOFTMAX_WEIGHTS,
    check_softmax_weights,
    diagnose_softmax_weights,
)

__all__ = [
    "GRADIENT_SHARE",
    "SOFTMAX_WEIGHTS",
    "UNIFORMITY",
    "check_gradient_share",
    "check_softmax_weights",
    "check_uniformity",
    "diagnose_gradient_share",
    "diagnose_softmax_weights",
    "diagnose_uniformity",
]
