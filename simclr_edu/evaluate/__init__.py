"""What a frozen representation is worth: kNN, linear probe, fine-tuning, and probes of known factors.

The protocol is that of Chen et al. 2020, section 2.3 ("linear evaluation protocol"): the encoder stays
as it is, a linear classifier is fitted on h, and its test accuracy stands for the quality of h. Two rules
keep such a figure honest, and this module enforces both. The encoder is frozen, BatchNorm statistics
included: a hash of every parameter and buffer must be the same before and after. And the test set is
touched once: whatever is chosen, is chosen on a split of the training set.
"""

from simclr_edu.evaluate.factors import probe_factor
from simclr_edu.evaluate.frozen import LEVELS, embed, state_hash
from simclr_edu.evaluate.labels import label_subset
from simclr_edu.evaluate.logistic import DEFAULT_L2, L2_GRID
from simclr_edu.evaluate.neighbours import knn_accuracy, knn_predict
from simclr_edu.evaluate.probe import (
    ProbeResult,
    confusion_matrix,
    fit_linear,
    linear_probe,
    probe_budgets,
    probe_scores,
)
from simclr_edu.evaluate.tuning import FineTuneResult, fine_tune

__all__ = [
    "DEFAULT_L2",
    "L2_GRID",
    "LEVELS",
    "FineTuneResult",
    "ProbeResult",
    "confusion_matrix",
    "embed",
    "fine_tune",
    "fit_linear",
    "knn_accuracy",
    "knn_predict",
    "label_subset",
    "linear_probe",
    "probe_budgets",
    "probe_factor",
    "probe_scores",
    "state_hash",
]
