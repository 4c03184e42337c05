"""Self-supervised contrastive learning with SimCLR, built one idea a module.

Chen, Kornblith, Norouzi, Hinton: "A Simple Framework for Contrastive Learning of Visual
Representations", 2020, arXiv 2002.05709.
"""

from simclr_edu._command import is_started_as_command, prepare

if is_started_as_command():
    prepare()

import simclr_edu.cores as cores
from simclr_edu._compat import make_torchvision_importable

__version__ = "0.1.0"

make_torchvision_importable()
cores.respect_limits(cores.UNHEARD)
