"""Exercises of notebook 04."""

from simclr_edu.course.exercises.pretraining.head import check_projection_head, diagnose_projection_head
from simclr_edu.course.exercises.pretraining.schedule import (
    LEARNING_RATE,
    check_learning_rate,
    diagnose_learning_rate,
)
from simclr_edu.course.exercises.pretraining.step import TRAIN_STEP, check_train_step, diagnose_train_step

__all__ = [
    "LEARNING_RATE",
    "TRAIN_STEP",
    "check_learning_rate",
    "check_projection_head",
    "check_train_step",
    "diagnose_learning_rate",
    "diagnose_projection_head",
    "diagnose_train_step",
]
