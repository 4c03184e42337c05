"""Exercises of notebook 06."""

from simclr_edu.course.exercises.linear_probe.features import EXTRACT_FEATURES
from simclr_edu.course.exercises.linear_probe.freezing import FREEZE
from simclr_edu.course.exercises.linear_probe.subset import LABEL_SUBSET

check_freeze, diagnose_freeze = FREEZE.check, FREEZE.diagnose
check_extract_features, diagnose_extract_features = EXTRACT_FEATURES.check, EXTRACT_FEATURES.diagnose
check_label_subset, diagnose_label_subset = LABEL_SUBSET.check, LABEL_SUBSET.diagnose

__all__ = [
    "EXTRACT_FEATURES",
    "FREEZE",
    "LABEL_SUBSET",
    "check_extract_features",
    "check_freeze",
    "check_label_subset",
    "diagnose_extract_features",
    "diagnose_freeze",
    "diagnose_label_subset",
]
