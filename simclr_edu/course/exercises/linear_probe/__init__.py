"""Exercises of notebook 06."""

from simclr_edu.course.exercises.linear_probe.features import (
    EXTRACT_FEATURES,
    check_extract_features,
    diagnose_extract_features,
)
from simclr_edu.course.exercises.linear_probe.freezing import FREEZE, check_freeze, diagnose_freeze
from simclr_edu.course.exercises.linear_probe.subset import check_label_subset, diagnose_label_subset

__all__ = [
    "EXTRACT_FEATURES",
    "FREEZE",
    "check_extract_features",
    "check_freeze",
    "check_label_subset",
    "diagnose_extract_features",
    "diagnose_freeze",
    "diagnose_label_subset",
]
