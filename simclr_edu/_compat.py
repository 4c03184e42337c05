"""Let torchvision's pure-PyTorch parts load beside a torch that its compiled part was not built for.

Where the package is installed, ``simclr_edu_torchvision`` has done so already, and says why it is needed.
This is for a package that is only on the path, and for a torchvision that fails so for another reason.
"""

import torch

from simclr_edu_torchvision import DETECTION_OPERATORS


def make_torchvision_importable() -> None:
    """Import torchvision, declaring the detection operators first if its extension did not load.

    Raises:
        ImportError: torchvision is missing, or fails for any other reason than those operators.
    """
    for _ in range(len(DETECTION_OPERATORS) + 1):
        try:
            import torchvision  # noqa: F401
        except RuntimeError as error:
            missing = [n for n in DETECTION_OPERATORS if f"operator {n} does not exist" in str(error)]
            if not missing:
                raise ImportError(
                    f"torchvision does not load beside torch {torch.__version__}: {error}"
                ) from error
            torch.library.define(missing[0], DETECTION_OPERATORS[missing[0]])
        else:
            return
    raise ImportError(f"torchvision does not load beside torch {torch.__version__}; install a matching pair")
