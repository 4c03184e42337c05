"""The two views: SimCLR's random augmentation, for a whole batch at once.

Chen et al. 2020 (arXiv 2002.05709), section 3 and appendix A. The steps, in this order: random
resized crop, horizontal flip, colour jitter with its four operations in random order, grayscale, and
(for large images) Gaussian blur. Every image draws its own parameters.

The package keeps two things apart. ``SimCLRAugment.draw`` rolls the dice and returns plain tensors;
``SimCLRAugment.apply`` is deterministic and turns images into views by those parameters. Each
operation is also a public function with one parameter per image, equal to the function of the same
name in ``torchvision.transforms.v2.functional`` called image by image on float images.
"""

from simclr_edu.augment.operations import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    crop_and_resize,
    gaussian_blur,
    horizontal_flip,
    to_grayscale,
)
from simclr_edu.augment.parameters import AugmentParameters, blur_kernel_size
from simclr_edu.augment.pipeline import SimCLRAugment
from simclr_edu.augment.textbook import torchvision_pipeline

__all__ = [
    "AugmentParameters",
    "SimCLRAugment",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "blur_kernel_size",
    "crop_and_resize",
    "gaussian_blur",
    "horizontal_flip",
    "to_grayscale",
    "torchvision_pipeline",
]
