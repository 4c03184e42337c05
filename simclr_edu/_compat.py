"""Let torchvision's pure-PyTorch parts load beside a torch that its compiled part was not built for.

Package registries carry torchvision for Linux as one build, linked against CUDA. Beside a CPU-only
torch its compiled extension cannot load; torchvision allows for that, except that it then registers
shape rules for two detection operators that were never declared, and the import stops with
``operator torchvision::nms does not exist``. Transforms, models and data sets, all that this course
uses, need neither operator: declaring the two (not implementing them) is enough.
"""

import torch

# Name and schema as in torchvision/csrc/ops: declared here only when the import asks for them.
_DETECTION_OPERATORS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def make_torchvision_importable() -> None:
    """Import torchvision, declaring the detection operators first if its extension did not load.

    Raises:
        ImportError: torchvision is missing, or fails for any other reason than those operators.
    """
    for _ in range(len(_DETECTION_OPERATORS) + 1):
        try:
            import torchvision  # noqa: F401
        except RuntimeError as error:
            missing = [n for n in _DETECTION_OPERATORS if f"operator {n} does not exist" in str(error)]
            if not missing:
                raise ImportError(
                    f"torchvision does not load beside torch {torch.__version__}: {error}"
                ) from error
            torch.library.define(missing[0], _DETECTION_OPERATORS[missing[0]])
        else:
            return
    raise ImportError(f"torchvision does not load beside torch {torch.__version__}; install a matching pair")
