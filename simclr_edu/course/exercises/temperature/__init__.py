"""Exercises of notebook 03."""

from simclr_edu.course.exercises.temperature.share import GRADIENT_SHARE
from simclr_edu.course.exercises.temperature.uniform import UNIFORMITY
from simclr_edu.course.exercises.temperature.weights import SOFTMAX_WEIGHTS

check_softmax_weights, diagnose_softmax_weights = SOFTMAX_WEIGHTS.check, SOFTMAX_WEIGHTS.diagnose
check_gradient_share, diagnose_gradient_share = GRADIENT_SHARE.check, GRADIENT_SHARE.diagnose
check_uniformity, diagnose_uniformity = UNIFORMITY.check, UNIFORMITY.diagnose

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
