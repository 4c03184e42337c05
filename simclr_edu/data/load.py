"""One loader for every data set, by name."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simclr_edu._checks import check_flag, check_int, enough_memory
from simclr_edu.data.folder import centre_square, load_folder
from simclr_edu.data.image_set import MAXIMUM_SIZE, MINIMUM_SIZE, DataError, ImageSet
from simclr_edu.data.pixels import grey_to_rgb, require_memory, resize_to
from simclr_edu.data.stratified import stratified_split
from simclr_edu.data.torchvision_sets import (
    TORCHVISION_SETS,
    archives_of,
    load_cifar,
    load_fashion_mnist,
    load_stl10,
    torchvision_class,
    unpacked_files,
)
from simclr_edu.home import HomeError, data_folder

_N_SHAPES_TRAIN, _N_SHAPES_TEST = 10_000, 2_000
_SHAPES_TRAIN_SEED, _SHAPES_TEST_SEED = 0, 1_000_000  # far apart: a renderer may count up from its seed


def load_images(
    name: str,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    image_size: int | None = None,
) -> ImageSet:
    """Load a data set into memory.

    =================  =====================================================================================
    ``shapes``         10,000 + 2,000 drawn images of 10 silhouettes, factors known; 32 px; no network
    ``shapes_easy``    the same silhouettes larger, nearer the middle and less turned; 32 px; no network
    ``digits``         1,797 real handwritten digits that scikit-learn bundles; 8 px, here 32; no network
    ``cifar10``        50,000 + 10,000 photographs of 10 classes; 32 px (Krizhevsky 2009)
    ``cifar100``       the same for 100 classes
    ``stl10``          5,000 + 8,000 photographs of 10 classes, 100,000 unlabeled; 96 px (Coates et al. 2011)
    ``fashion_mnist``  60,000 + 10,000 grey pictures of clothes; 28 px padded to 32 (Xiao et al. 2017)
    ``folder:PATH``    your own: ``PATH/train/CLASS/*.jpg`` with ``PATH/test/CLASS/*.jpg`` (or ``val``), or
                       ``PATH/CLASS/*.jpg``, of which a fifth of each class is then set aside for the test
    =================  =====================================================================================

    A folder's images may differ in size: each is scaled by its shorter side and cropped at the centre.
    Images directly in the class folders count; other files, hidden files and deeper folders are ignored.
    Grey, palette, 16-bit and CMYK images become RGB, transparent parts white, and the EXIF orientation
    is applied.

    Args:
        name: one of the above.
        root: where the downloaded sets are kept; default ``$SIMCLR_EDU_HOME/data``, else
            ``~/.cache/simclr_edu/data``.
        download: fetch a set that is not there; what is there is never fetched again.
        image_size: side of the images in pixels, at least 8. Default: the size in the table; for a folder,
            the shorter side if all images are of one size and that side is at most 256, else 224.

    Raises:
        DataError: unknown name; a set that is missing and cannot be fetched, damaged, not laid out as
            above, or larger than the free memory.
        TypeError: an argument of another type.
        ValueError: ``image_size`` is below 8 or above 65,535, or ``root`` no path.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string such as 'shapes', got {type(name).__name__}")
    if image_size is not None:
        check_int(image_size, "image_size", MINIMUM_SIZE, MAXIMUM_SIZE)
    download = check_flag(download, "download")
    if root is not None:
        data_folder(root)  # refuses what is no path, whether this set needs a folder or not
    if name.startswith("folder:"):
        return load_folder(name, image_size)
    if name not in _LOADERS:
        raise DataError(f"{_unknown(name)}; choose one of {', '.join(DATASET_NAMES)} or folder:PATH")
    kept = data_folder(root) if name in TORCHVISION_SETS else Path()  # what is drawn needs no folder
    return _LOADERS[name](name, kept, download, image_size)


def available_datasets(root: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Return the sets that load without a network, each with where it comes from; for ``doctor``.

    Files are looked for, not read: a damaged one shows when the set is loaded.

    Raises:
        TypeError, ValueError: ``root`` is no path.
    """
    drawn = dict.fromkeys(("shapes", "shapes_easy"), "drawn on the spot")
    found = drawn | {"digits": "bundled with scikit-learn"}
    try:
        folder = data_folder(root)
    except HomeError:  # then nothing is kept either
        return found
    for name in TORCHVISION_SETS:
        dataset = torchvision_class(name)
        if all((folder / file).is_file() for file, _ in unpacked_files(dataset)):
            found[name] = f"in {folder}"
        elif all((folder / archive.path).is_file() for archive in archives_of(dataset)):
            found[name] = f"in {folder}, to be unpacked when first loaded"
    return found


def sample_photographs(size: int = 224) -> Tensor:
    """Return scikit-learn's two bundled photographs, a temple and a flower: uint8 ``(2, 3, size, size)``.

    Each is cropped to its centre square and resized with antialiasing. No network is needed. Both are on
    Flickr under CC BY 2.0, ``china.jpg`` by danielbuechele, ``flower.jpg`` by vultilion: name them where you
    show them.

    Raises:
        TypeError: ``size`` is not a whole number.
        ValueError: ``size`` is below 8 or above 65,535.
        MemoryError: the photographs do not fit in memory at this size.
    """
    from sklearn.datasets import load_sample_images

    check_int(size, "size", MINIMUM_SIZE, MAXIMUM_SIZE)
    with enough_memory(f"photographs of {size} x {size} pixels"):
        pictures = [centre_square(Image.fromarray(picture), size) for picture in load_sample_images().images]
        return torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2).contiguous()


# Sets that need no network


def _load_shapes(name: str, root: Path, download: bool, image_size: int | None) -> ImageSet:
    from simclr_edu.data import shapes

    size = image_size or 32
    require_memory((_N_SHAPES_TRAIN + _N_SHAPES_TEST) * 3 * size**2, name)
    easy = name == "shapes_easy"
    train_images, train_labels, train_factors = shapes.make_shapes(
        _N_SHAPES_TRAIN, size, _SHAPES_TRAIN_SEED, easy=easy
    )
    test_images, test_labels, test_factors = shapes.make_shapes(
        _N_SHAPES_TEST, size, _SHAPES_TEST_SEED, easy=easy
    )
    return ImageSet(
        name,
        train_images,
        train_labels,
        test_images,
        test_labels,
        class_names=tuple(shapes.CLASS_NAMES),
        source="drawn by simclr_edu.shapes with fixed seeds",
        train_factors=train_factors,
        test_factors=test_factors,
    )


def _load_digits(name: str, root: Path, download: bool, image_size: int | None) -> ImageSet:
    from sklearn.datasets import load_digits

    bundle = load_digits()
    grey = (
        torch.from_numpy(bundle.images * (255 / 16)).round().to(torch.uint8)
    )  # (1797, 8, 8), 0..16 to 0..255
    images = resize_to(grey_to_rgb(grey), image_size or 32, name)
    labels = torch.from_numpy(bundle.target).to(torch.int64)
    train, test = stratified_split(labels)
    return ImageSet(
        name,
        images[train],
        labels[train],
        images[test],
        labels[test],
        class_names=tuple(str(digit) for digit in bundle.target_names),
        source="scikit-learn's bundled digits (UCI, Alpaydin and Kaynak 1998)",
    )


_LOADERS: dict[str, Callable[[str, Path, bool, int | None], ImageSet]] = {
    "shapes": _load_shapes,
    "shapes_easy": _load_shapes,
    "digits": _load_digits,
    "cifar10": load_cifar,
    "cifar100": load_cifar,
    "stl10": load_stl10,
    "fashion_mnist": load_fashion_mnist,
}
DATASET_NAMES = tuple(_LOADERS)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower().replace("-", "_"), DATASET_NAMES, n=1)
    return f"there is no data set {name!r}" + (f" (did you mean {close[0]!r}?)" if close else "")
