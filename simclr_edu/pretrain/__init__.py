"""Pretraining: configuration, the loop, and runs that can be stopped, resumed and loaded.

The method on one screen is ``train_step``: two views of a batch, one pass through encoder and projection
head, NT-Xent, one step of the optimizer (Chen et al. 2020, Algorithm 1). The rest keeps the loop honest
(it stops on a loss that is not finite), fast (batched augmentation on the device of the data) and
repeatable: on a CPU the same configuration gives the same weights, interrupted or not.
"""

from simclr_edu.pretrain.config import CUSTOM, DEFAULT_EPOCHS, PretrainConfig
from simclr_edu.pretrain.loop import pretrain
from simclr_edu.pretrain.run import (
    COURSE_RUN,
    SHIPPED,
    Callback,
    NonFiniteLossError,
    PretrainWarning,
    Run,
    StopPretraining,
    course_run,
    load_run,
)
from simclr_edu.pretrain.schedule import learning_rate

__all__ = [
    "COURSE_RUN",
    "CUSTOM",
    "DEFAULT_EPOCHS",
    "SHIPPED",
    "Callback",
    "NonFiniteLossError",
    "PretrainConfig",
    "PretrainWarning",
    "Run",
    "StopPretraining",
    "course_run",
    "learning_rate",
    "load_run",
    "pretrain",
]
