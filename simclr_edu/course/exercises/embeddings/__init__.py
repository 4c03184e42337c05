"""Exercises of notebook 05."""

from simclr_edu.course.exercises.embeddings.class_order import ORDER_BY_CLASS
from simclr_edu.course.exercises.embeddings.effective_rank import EFFECTIVE_RANK
from simclr_edu.course.exercises.embeddings.neighbours import NEAREST_NEIGHBOURS

check_order_by_class, diagnose_order_by_class = ORDER_BY_CLASS.check, ORDER_BY_CLASS.diagnose
check_nearest_neighbours, diagnose_nearest_neighbours = NEAREST_NEIGHBOURS.check, NEAREST_NEIGHBOURS.diagnose
check_effective_rank, diagnose_effective_rank = EFFECTIVE_RANK.check, EFFECTIVE_RANK.diagnose

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
