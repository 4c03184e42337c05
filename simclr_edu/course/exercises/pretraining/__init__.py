"""Exercises of notebook 04."""

from simclr_edu.course.exercises.pretraining.head import PROJECTION_HEAD
from simclr_edu.course.exercises.pretraining.schedule import LEARNING_RATE
from simclr_edu.course.exercises.pretraining.step import TRAIN_STEP

check_learning_rate, diagnose_learning_rate = LEARNING_RATE.check, LEARNING_RATE.diagnose
check_projection_head, diagnose_projection_head = PROJECTION_HEAD.check, PROJECTION_HEAD.diagnose
check_train_step, diagnose_train_step = TRAIN_STEP.check, TRAIN_STEP.diagnose

__all__ = [
    "LEARNING_RATE",
    "PROJECTION_HEAD",
    "TRAIN_STEP",
    "check_learning_rate",
    "check_projection_head",
    "check_train_step",
    "diagnose_learning_rate",
    "diagnose_projection_head",
    "diagnose_train_step",
]
