"""Self-checking exercises: each ``check_*`` takes the learner's function and prints a verdict.

``correct``, ``not attempted yet``, or ``not yet`` with the mistake that was made, where it is a classic one.
Nothing is returned and nothing raised. One module per notebook; its ``diagnose_*`` return the verdict.
"""

from simclr_edu.course.exercises.augmentation import check_grayscale, check_horizontal_flip, check_two_views
from simclr_edu.course.exercises.bug_hunt import check_bug_hunt
from simclr_edu.course.exercises.embeddings import (
    check_effective_rank,
    check_nearest_neighbours,
    check_order_by_class,
)
from simclr_edu.course.exercises.linear_probe import check_extract_features, check_freeze, check_label_subset
from simclr_edu.course.exercises.nt_xent import (
    check_cosine_similarity_matrix,
    check_nt_xent,
    check_positive_index,
    check_stable_logsumexp,
)
from simclr_edu.course.exercises.pretraining import (
    check_learning_rate,
    check_projection_head,
    check_train_step,
)
from simclr_edu.course.exercises.temperature import (
    check_gradient_share,
    check_softmax_weights,
    check_uniformity,
)

__all__ = [
    "check_bug_hunt",
    "check_cosine_similarity_matrix",
    "check_effective_rank",
    "check_extract_features",
    "check_freeze",
    "check_gradient_share",
    "check_grayscale",
    "check_horizontal_flip",
    "check_label_subset",
    "check_learning_rate",
    "check_nearest_neighbours",
    "check_nt_xent",
    "check_order_by_class",
    "check_positive_index",
    "check_projection_head",
    "check_softmax_weights",
    "check_stable_logsumexp",
    "check_train_step",
    "check_two_views",
    "check_uniformity",
]
