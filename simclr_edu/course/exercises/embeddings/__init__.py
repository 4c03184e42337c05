"""Exercises of notebook 05."""

from simclr_edu.course.exercises.embeddings.class_order import (
    ORDER_BY_CLASS,
    check_order_by_class,
    diagnose_order_by_class,
)
from simclr_edu.course.exercises.embeddings.effective_rank import (
    EFFECTIVE_RANK,
    check_effective_rank,
    diagnose_effective_rank,
)
from simclr_edu.course.exercises.embeddings.neighbours import (
    NEAREST_NEIGHBOURS,
    check_nearest_neighbours,
    diagnose_nearest_neighbours,
)

__all__ = [
    "EFFECTIVE_RANK",
    "NEAREST_NEIGHBOURS",
    "ORDER_BY_CLASS",
    "check_effective_rank",
    "check_nearest_neighbours",
    "check_order_by_class",
    "diagnose_effective_rank",
    "diagnose_nearest_neighbours",
    "diagnose_order_by_class",
]
