"""One loader for every data set: drawn shapes, bundled digits, torchvision's sets, a folder of your own.

``load_images(name)`` gives an ``ImageSet``: train and test images as uint8 tensors in memory, integer labels
and class names. A set is downloaded once, checked against torchvision's checksums, and never replaced by
another one: what cannot be had is a ``DataError`` that names the ways on.
"""

from simclr_edu.data.folder import IMAGE_EXTENSIONS
from simclr_edu.data.image_set import DataError, ImageSet
from simclr_edu.data.load import DATASET_NAMES, available_datasets, load_images, sample_photographs

__all__ = [
    "DATASET_NAMES",
    "IMAGE_EXTENSIONS",
    "DataError",
    "ImageSet",
    "available_datasets",
    "load_images",
    "sample_photographs",
]
