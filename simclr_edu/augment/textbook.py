"""The textbook pipeline, one image at a time: what tests and benchmarks compare with."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from simclr_edu._checks import check_flag, check_int
from simclr_edu.augment.parameters import (
    BLUR_PROBABILITY,
    BLUR_SIGMA,
    GRAYSCALE_PROBABILITY,
    JITTER_PROBABILITY,
    blur_kernel_size,
)
from simclr_edu.augment.pipeline import check_strength


def torchvision_pipeline(size: int, strength: float = 0.5, blur: bool = False) -> Callable[[object], Tensor]:
    """Return the textbook pipeline: torchvision transforms composed, one image at a time.

    Args:
        size: side of the view in pixels.
        strength: s of the colour jitter, as in :class:`SimCLRAugment`.
        blur: as in :class:`SimCLRAugment`.

    Returns:
        A callable from one PIL image or uint8 tensor (3, H, W) to a float32 tensor (3, size, size)
        in [0, 1], random on torch's global generator.

    Raises:
        TypeError, ValueError: an argument of another kind or out of its range.
    """
    from torchvision.transforms import v2

    size = check_int(size, "size", 1)
    s = check_strength(strength)
    steps: list[nn.Module] = [
        v2.RandomResizedCrop(size, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)], p=JITTER_PROBABILITY),
        v2.RandomGrayscale(p=GRAYSCALE_PROBABILITY),
    ]
    if check_flag(blur, "blur"):
        steps.append(
            v2.RandomApply([v2.GaussianBlur(blur_kernel_size(size), BLUR_SIGMA)], p=BLUR_PROBABILITY)
        )
    pipeline: Callable[[object], Tensor] = v2.Compose(
        [*steps, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    )
    return pipeline
