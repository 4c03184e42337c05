"""Called by torch while it is imported: lets torchvision be imported after it, in any order.

Package registries carry torchvision for Linux as one build, linked against CUDA. Beside a CPU-only torch its
compiled part cannot load; torchvision allows for that, except that it then registers shape rules for two
detection operators that were never declared, and its import stops with "operator torchvision::nms does not
exist". Transforms, models and data sets, all that the course uses, need neither: declaring the two is enough.

torch calls the entry points of the group torch.backends when it is imported, and that is before torchvision's
import can fail. This module stands alone and imports no more than it needs: every program that imports torch
beside an installed course pays for it.
"""

import re
from importlib.util import find_spec
from pathlib import Path

# Name and schema as in torchvision/csrc/ops.
DETECTION_OPERATORS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def declare_operators() -> None:
    """Declare the detection operators if torchvision was built for CUDA and torch was not."""
    import torch  # not above: torch imports this module

    spec = find_spec("torchvision")
    if torch.version.cuda is not None or spec is None or spec.origin is None:
        return
    version = Path(spec.origin).with_name("version.py")
    if version.is_file() and re.search(r"\+cu\d", version.read_text(encoding="utf-8")):
        for name, schema in DETECTION_OPERATORS.items():
            # Twice is an error of torch's, and would be one of whoever imports torch here.
            if not hasattr(torch.ops.torchvision, name.partition("::")[2]):
                torch.library.define(name, schema)
