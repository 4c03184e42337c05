"""Exercises of notebook 02."""

from simclr_edu.course.exercises.nt_xent.cosine_similarity import (
    COSINE_SIMILARITY_MATRIX,
    check_cosine_similarity_matrix,
    diagnose_cosine_similarity_matrix,
)
from simclr_edu.course.exercises.nt_xent.logsumexp import (
    STABLE_LOGSUMEXP,
    check_stable_logsumexp,
    diagnose_stable_logsumexp,
)
from simclr_edu.course.exercises.nt_xent.loss import NT_XENT, check_nt_xent, diagnose_nt_xent
from simclr_edu.course.exercises.nt_xent.positive import (
    POSITIVE_INDEX,
    check_positive_index,
    diagnose_positive_index,
)

__all__ = [
    "COSINE_SIMILARITY_MATRIX",
    "NT_XENT",
    "POSITIVE_INDEX",
    "STABLE_LOGSUMEXP",
    "check_cosine_similarity_matrix",
    "check_nt_xent",
    "check_positive_index",
    "check_stable_logsumexp",
    "diagnose_cosine_similarity_matrix",
    "diagnose_nt_xent",
    "diagnose_positive_index",
    "diagnose_stable_logsumexp",
]
