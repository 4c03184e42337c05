"""Exercises of notebook 02."""

from simclr_edu.course.exercises.nt_xent.cosine_similarity import COSINE_SIMILARITY_MATRIX
from simclr_edu.course.exercises.nt_xent.logsumexp import STABLE_LOGSUMEXP
from simclr_edu.course.exercises.nt_xent.loss import NT_XENT
from simclr_edu.course.exercises.nt_xent.positive import POSITIVE_INDEX

check_positive_index, diagnose_positive_index = POSITIVE_INDEX.check, POSITIVE_INDEX.diagnose
check_cosine_similarity_matrix, diagnose_cosine_similarity_matrix = (
    COSINE_SIMILARITY_MATRIX.check,
    COSINE_SIMILARITY_MATRIX.diagnose,
)
check_stable_logsumexp, diagnose_stable_logsumexp = STABLE_LOGSUMEXP.check, STABLE_LOGSUMEXP.diagnose
check_nt_xent, diagnose_nt_xent = NT_XENT.check, NT_XENT.diagnose

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
