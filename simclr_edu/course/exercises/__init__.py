"""Self-checking exercises: each ``check_*`` takes the learner's function and prints a verdict.

``correct``, ``not attempted yet``, or ``not yet`` with the mistake that was made, where it is a classic one.
Nothing is returned and nothing raised. One package per notebook, one file an exercise; their ``diagnose_*``
return the verdict. ``EXERCISES`` has them by name: what each asks, how hard it is, its cases, its oracles.
"""

from simclr_edu.course.exercises import (
    augmentation,
    embeddings,
    linear_probe,
    nt_xent,
    pretraining,
    temperature,
)
from simclr_edu.course.exercises.augmentation import check_grayscale, check_horizontal_flip, check_two_views
from simclr_edu.course.exercises.bug_hunt import check_bug_hunt
from simclr_edu.course.exercises.embeddings import (
    check_effective_rank,
    check_nearest_neighbours,
    check_order_by_class,
)
from simclr_edu.course.exercises.kit import Exercise
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

EXERCISES: dict[str, Exercise] = {
    exercise.name: exercise
    for exercise in (
        augmentation.HORIZONTAL_FLIP,
        augmentation.GRAYSCALE,
        augmentation.TWO_VIEWS,
        nt_xent.POSITIVE_INDEX,
        nt_xent.COSINE_SIMILARITY_MATRIX,
        nt_xent.STABLE_LOGSUMEXP,
        nt_xent.NT_XENT,
        temperature.SOFTMAX_WEIGHTS,
        temperature.GRADIENT_SHARE,
        temperature.UNIFORMITY,
        pretraining.LEARNING_RATE,
        pretraining.PROJECTION_HEAD,
        pretraining.TRAIN_STEP,
        embeddings.ORDER_BY_CLASS,
        embeddings.NEAREST_NEIGHBOURS,
        embeddings.EFFECTIVE_RANK,
        linear_probe.FREEZE,
        linear_probe.EXTRACT_FEATURES,
        linear_probe.LABEL_SUBSET,
    )
}

__all__ = [
    "EXERCISES",
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
