"""Self-supervised contrastive learning with SimCLR, built one idea a module.

Chen, Kornblith, Norouzi, Hinton: "A Simple Framework for Contrastive Learning of Visual
Representations", 2020, arXiv 2002.05709.
"""

import simclr_edu.cores as cores  # first: torch must not be loaded before it
from simclr_edu._compat import make_torchvision_importable

__version__ = "0.1.0"

make_torchvision_importable()
cores.respect_limits(cores.UNHEARD)
