"""One loader for every data set: drawn shapes, bundled digits, torchvision's sets, a folder of your own.

``load_images(name)`` gives an ``ImageSet``: train and test images as uint8 tensors in memory, integer labels
and class names. A set is downloaded once, checked against torchvision's checksums, and never replaced by
another one: what cannot be had is a ``DataError`` that names the ways on.
"""

import contextlib
import difflib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from simclr_edu._checks import check_images, check_int, check_labels
from simclr_edu._network import DOWNLOAD_ERRORS, downloading, reason_of

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")

_N_SHAPES_TRAIN, _N_SHAPES_TEST = 10_000, 2_000
_SHAPES_TRAIN_SEED, _SHAPES_TEST_SEED = 0, 1_000_000  # far apart: a renderer may count up from its seed
_SPLIT_SEED = 0  # for the sets that come without a split
_TEST_FRACTION = 0.2
_DEFAULT_FOLDER_SIZE = 224  # the ImageNet side of the paper
_LARGEST_SHARED_SIZE = 256  # same-sized photographs larger than this are reduced to the default side
_MINIMUM_SIZE = 8
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # all else under an image's name is refused, not run
_FOLDER_LAYOUT = (
    "a folder should hold PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg, "
    "or PATH/CLASS/*.jpg, which is then split with a fixed seed"
)


class DataError(ValueError):
    """A data set that is missing, damaged or not laid out as it should be; the message is one sentence."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Train and test images of one data set, in memory.

    Attributes:
        name: what ``load_images`` was asked for.
        train_images: uint8 ``(N, 3, S, S)``, values 0 to 255.
        train_labels: int64 ``(N,)``, an index into ``class_names``.
        test_images: uint8 ``(M, 3, S, S)``.
        test_labels: int64 ``(M,)``.
        class_names: one name a class. A set with a single class can be pretrained on, but not probed.
        source: where the images come from, for a caption.
        train_factors: what each train image was drawn from, ``(N, ...)`` each, where that is known.
        test_factors: the same for the test images.
        unlabeled_images: uint8 ``(U, 3, S, S)``, images without labels (``stl10`` only).

    Raises:
        TypeError: an attribute is of another type or dtype.
        ValueError: shapes, lengths or label ranges disagree.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    source: str
    train_factors: dict[str, Tensor] | None = None
    test_factors: dict[str, Tensor] | None = None
    unlabeled_images: Tensor | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.class_names, tuple) or not all(isinstance(c, str) for c in self.class_names):
            raise TypeError(f"class_names must be a tuple of strings, got {self.class_names!r}")
        if not self.class_names or len(set(self.class_names)) < len(self.class_names):
            raise ValueError(
                f"class_names must be at least one name and all different, got {self.class_names}"
            )
        self._check_split("train", self.train_images, self.train_labels, self.train_factors)
        self._check_split("test", self.test_images, self.test_labels, self.test_factors)
        if self.unlabeled_images is not None:
            self._check_pixels("unlabeled_images", self.unlabeled_images)

    def _check_split(
        self, split: str, images: Tensor, labels: Tensor, factors: dict[str, Tensor] | None
    ) -> None:
        self._check_pixels(f"{split}_images", images)
        check_labels(labels, f"{split}_labels", len(images))
        if labels.dtype != torch.int64:
            raise TypeError(f"{split}_labels must be int64, got {labels.dtype}")
        if int(labels.max()) >= self.num_classes:
            raise ValueError(
                f"{split}_labels must be below {self.num_classes} (classes), got {int(labels.max())}"
            )
        for key, values in (factors or {}).items():
            if len(values) != len(images):
                raise ValueError(
                    f"{split}_factors[{key!r}] must hold one value per image, "
                    f"got {len(values)} for {len(images)}"
                )

    def _check_pixels(self, what: str, images: Tensor) -> None:
        check_images(images, what)
        if images.dtype != torch.uint8:
            raise TypeError(f"{what} must be uint8, got {images.dtype}")
        if images.shape[2] != images.shape[3]:
            raise ValueError(f"{what} must be square, got shape {tuple(images.shape)}")
        if images.shape[1:] != self.train_images.shape[1:]:
            wanted = tuple(self.train_images.shape[1:])
            raise ValueError(f"{what} must be {wanted} like train_images, got {tuple(images.shape[1:])}")

    def __repr__(self) -> str:
        unlabeled = "" if self.unlabeled_images is None else f" + {len(self.unlabeled_images):,} unlabeled"
        return (
            f"ImageSet({self.name!r}: {len(self.train_images):,} train + {len(self.test_images):,} test"
            f"{unlabeled} images of {self.image_size} x {self.image_size} px, {self.num_classes} classes)"
        )

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return self.train_images.shape[2]

    @property
    def pretrain_images(self) -> Tensor:
        """Images to pretrain on, uint8 ``(P, 3, S, S)``: the train images, after the unlabeled ones if any.

        With unlabeled images this is a new tensor at each call: keep it rather than asking again.
        """
        if self.unlabeled_images is None:
            return self.train_images
        return torch.cat([self.unlabeled_images, self.train_images])  # (U + N, 3, S, S)

    def subset(self, n_train: int, n_test: int, seed: int = 0) -> "ImageSet":
        """Return a smaller set with the same class proportions, and each class in it if the numbers allow.

        Unlabeled images are kept as they are.

        Args:
            n_train: train images to keep, 1 to all.
            n_test: test images to keep, 1 to all.
            seed: which images; the same seed gives the same subset.

        Raises:
            TypeError: a number is not whole.
            ValueError: a number is out of range.
        """
        check_int(n_train, "n_train", 1, len(self.train_images))
        check_int(n_test, "n_test", 1, len(self.test_images))
        check_int(seed, "seed", 0)
        train = _stratified_choice(self.train_labels, n_train, seed)
        test = _stratified_choice(self.test_labels, n_test, seed)
        return replace(
            self,
            train_images=self.train_images[train],
            train_labels=self.train_labels[train],
            train_factors=_take(self.train_factors, train),
            test_images=self.test_images[test],
            test_labels=self.test_labels[test],
            test_factors=_take(self.test_factors, test),
        )

    def with_validation(self, n: int, seed: int = 0) -> "ImageSet":
        """Return a set whose test images are ``n`` of the train images, taken out of those.

        For choosing a setting: what is compared on it leaves the real test images unread. Each class has its
        share of both parts. Unlabeled images are kept as they are.

        Args:
            n: images to take out, 1 to all but one.
            seed: which images; the same seed gives the same split.

        Raises:
            TypeError: a number is not whole.
            ValueError: a number is out of range.
        """
        check_int(n, "n", 1, len(self.train_images) - 1)
        validation = _stratified_choice(self.train_labels, n, check_int(seed, "seed", 0))
        kept = torch.ones(len(self.train_labels), dtype=torch.bool)
        kept[validation] = False
        train = kept.nonzero()[:, 0]
        return replace(
            self,
            train_images=self.train_images[train],
            train_labels=self.train_labels[train],
            train_factors=_take(self.train_factors, train),
            test_images=self.train_images[validation],
            test_labels=self.train_labels[validation],
            test_factors=_take(self.train_factors, validation),
        )


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
        ValueError: ``image_size`` is below 8.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string such as 'shapes', got {type(name).__name__}")
    if image_size is not None:
        check_int(image_size, "image_size", _MINIMUM_SIZE)
    if name.startswith("folder:"):
        return _load_folder(name, image_size)
    if name not in _LOADERS:
        raise DataError(f"{_unknown(name)}; choose one of {', '.join(DATASET_NAMES)} or folder:PATH")
    return _LOADERS[name](name, data_folder(root), bool(download), image_size)


def available_datasets(root: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Return the sets that load without a network, each with where it comes from; for ``doctor``.

    Files are looked for, not read: a damaged one shows when the set is loaded.
    """
    folder = data_folder(root)
    drawn = dict.fromkeys(("shapes", "shapes_easy"), "drawn on the spot")
    found = drawn | {"digits": "bundled with scikit-learn"}
    for name in _TORCHVISION:
        dataset = _torchvision_class(name)
        if all((folder / file).is_file() for file, _ in _unpacked_files(dataset)):
            found[name] = f"in {folder}"
        elif all((folder / archive.path).is_file() for archive in _archives(dataset)):
            found[name] = f"in {folder}, to be unpacked when first loaded"
    return found


def sample_photographs(size: int = 224) -> Tensor:
    """Return scikit-learn's two bundled photographs, a temple and a flower: uint8 ``(2, 3, size, size)``.

    Each is cropped to its centre square and resized with antialiasing. No network is needed.

    Raises:
        TypeError: ``size`` is not a whole number.
        ValueError: ``size`` is below 8.
    """
    from sklearn.datasets import load_sample_images

    check_int(size, "size", _MINIMUM_SIZE)
    pictures = [_centre_square(Image.fromarray(picture), size) for picture in load_sample_images().images]
    return torch.from_numpy(np.stack([np.asarray(p) for p in pictures])).permute(0, 3, 1, 2).contiguous()


def home_folder() -> Path:
    """Return the folder of data, runs and results: ``$SIMCLR_EDU_HOME``, else ``~/.cache/simclr_edu``."""
    return Path(os.environ.get("SIMCLR_EDU_HOME") or "~/.cache/simclr_edu").expanduser()


def data_folder(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the downloaded sets: ``root``, or ``data`` in ``home_folder()``."""
    return home_folder() / "data" if root is None else Path(root).expanduser()


# Sets that need no network


def _load_shapes(name: str, root: Path, download: bool, image_size: int | None) -> ImageSet:
    from simclr_edu import shapes

    size = image_size or 32
    _require_memory((_N_SHAPES_TRAIN + _N_SHAPES_TEST) * 3 * size**2, name)
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
    images = _resize(_grey_to_rgb(grey), image_size or 32, name)
    labels = torch.from_numpy(bundle.target).to(torch.int64)
    train, test = _stratified_split(labels)
    return ImageSet(
        name,
        images[train],
        labels[train],
        images[test],
        labels[test],
        class_names=tuple(str(digit) for digit in bundle.target_names),
        source="scikit-learn's bundled digits (UCI, Alpaydin and Kaynak 1998)",
    )


# torchvision's sets: we place and check the files, torchvision's classes read them


@dataclass(frozen=True)
class _Archive:
    """One file to download: where it goes below the root, where it may come from, its checksum."""

    path: Path
    urls: tuple[str, ...]
    md5: str


def _load_cifar(name: str, root: Path, download: bool, image_size: int | None) -> ImageSet:
    dataset = _ready_dataset(name, root, download)

    def split(train: bool) -> tuple[Tensor, Tensor, Any]:
        part = dataset(root, train=train)
        images = torch.from_numpy(part.data).permute(0, 3, 1, 2)  # (N, 3, 32, 32)
        return _resize(images, image_size or 32, name), torch.tensor(part.targets), part

    with _readable(name, root, dataset):
        train_images, train_labels, part = split(train=True)
        test_images, test_labels, _ = split(train=False)
    source = "CIFAR (Krizhevsky 2009), read by torchvision"
    return ImageSet(name, train_images, train_labels, test_images, test_labels, tuple(part.classes), source)


def _load_stl10(name: str, root: Path, download: bool, image_size: int | None) -> ImageSet:
    dataset = _ready_dataset(name, root, download)
    largest = max((root / file).stat().st_size for file, _ in _unpacked_files(dataset))
    _require_memory(2 * largest, name)  # torchvision's array and ours, side by side

    def split(which: str) -> tuple[Tensor, Any]:
        part = dataset(root, split=which)
        return _resize(torch.from_numpy(part.data), image_size or 96, name), part

    with _readable(name, root, dataset):
        unlabeled_images, _ = split("unlabeled")
        train_images, train = split("train")
        test_images, test = split("test")
        class_names = tuple(train.classes)
    return ImageSet(
        name,
        train_images,
        torch.from_numpy(train.labels).to(torch.int64),
        test_images,
        torch.from_numpy(test.labels).to(torch.int64),
        class_names,
        source="STL-10 (Coates et al. 2011), read by torchvision",
        unlabeled_images=unlabeled_images,
    )


def _load_fashion_mnist(name: str, root: Path, download: bool, image_size: int | None) -> ImageSet:
    dataset = _ready_dataset(name, root, download)

    def split(train: bool) -> tuple[Tensor, Tensor]:
        part = dataset(root, train=train)
        padded = torch.nn.functional.pad(part.data, (2, 2, 2, 2))  # (N, 32, 32): black, as the background is
        return _resize(_grey_to_rgb(padded), image_size or 32, name), part.targets.to(torch.int64)

    with _readable(name, root, dataset):
        train_images, train_labels = split(train=True)
        test_images, test_labels = split(train=False)
    source = "Fashion-MNIST (Xiao et al. 2017), read by torchvision"
    return ImageSet(
        name, train_images, train_labels, test_images, test_labels, tuple(dataset.classes), source
    )


_TORCHVISION = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "stl10": "STL10",
    "fashion_mnist": "FashionMNIST",
}
_LOADERS: dict[str, Callable[[str, Path, bool, int | None], ImageSet]] = {
    "shapes": _load_shapes,
    "shapes_easy": _load_shapes,
    "digits": _load_digits,
    "cifar10": _load_cifar,
    "cifar100": _load_cifar,
    "stl10": _load_stl10,
    "fashion_mnist": _load_fashion_mnist,
}
DATASET_NAMES = tuple(_LOADERS)


def _torchvision_class(name: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, _TORCHVISION[name])


def _archives(dataset: Any) -> list[_Archive]:
    """What to download for one of torchvision's classes, as the class itself says."""
    if hasattr(dataset, "resources"):  # the MNIST family: four files, each with its mirrors
        folder = Path(dataset.__name__) / "raw"
        return [
            _Archive(folder / file, tuple(mirror + file for mirror in dataset.mirrors), md5)
            for file, md5 in dataset.resources
        ]
    return [_Archive(Path(dataset.filename), (dataset.url,), dataset.tgz_md5)]


def _unpacked_files(dataset: Any) -> list[tuple[Path, str | None]]:
    """The files inside the archives, below the root, each with its checksum if torchvision has one."""
    if hasattr(dataset, "resources"):
        return [(archive.path.with_suffix(""), None) for archive in _archives(dataset)]
    files = [*dataset.train_list, *dataset.test_list]
    if hasattr(dataset, "meta"):
        files.append([dataset.meta["filename"], dataset.meta["md5"]])
    return [(Path(dataset.base_folder) / file, md5) for file, md5 in files]


def _ready_dataset(name: str, root: Path, download: bool) -> Any:
    """Return torchvision's class for ``name`` once its files are unpacked below ``root`` and checked."""
    from torchvision.datasets.utils import extract_archive

    dataset = _torchvision_class(name)
    if not _is_unpacked(dataset, root):
        for archive in _archives(dataset):
            _place_archive(name, root, archive, dataset, download)
        try:
            for archive in _archives(dataset):
                extract_archive(root / archive.path, (root / archive.path).parent)
        except (OSError, EOFError) as error:
            raise DataError(f"{name} could not be unpacked in {root} ({reason_of(error)})") from error
        if not _is_unpacked(dataset, root):
            raise DataError(
                f"{name} in {root} is not what torchvision expects, although its archive's checksum is"
            )
    # The checksums have just been compared for all splits; torchvision would do it once more for each
    # (10 s apiece for stl10). The name is kept because the MNIST family builds its path from it.
    return type(dataset.__name__, (dataset,), {"_check_integrity": lambda self: True})


def _is_unpacked(dataset: Any, root: Path) -> bool:
    return all(
        (root / file).is_file() and md5 in (None, _md5(root / file)) for file, md5 in _unpacked_files(dataset)
    )


def _place_archive(name: str, root: Path, archive: _Archive, dataset: Any, download: bool) -> None:
    """Make sure that the archive is below ``root`` and whole, downloading it only if it is not there."""
    target = root / archive.path
    if target.exists():
        if _md5(target) != archive.md5:
            raise DataError(
                f"{target} is damaged (wrong checksum); delete it and load {name} again, or replace it"
            )
        return
    if not download:
        raise DataError(_missing(name, root, dataset, "downloading is switched off"))
    problems = []
    for url in archive.urls:
        try:
            return _download(url, target, archive.md5)
        except DOWNLOAD_ERRORS as error:
            problems.append(reason_of(error))
    raise DataError(_missing(name, root, dataset, f"the download failed: {problems[-1]}"))


def _download(url: str, target: Path, md5: str) -> None:
    """Download to a temporary folder beside ``target`` and move the whole, checked file into place."""
    from torchvision.datasets.utils import download_url

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as folder:
        with downloading():
            download_url(url, folder, target.name, md5)
        os.replace(Path(folder) / target.name, target)


@contextlib.contextmanager
def _readable(name: str, root: Path, dataset: Any) -> Iterator[None]:
    """Turn what torchvision raises on damaged files into a DataError that names their folder."""
    try:
        yield
    except DataError:
        raise
    except (OSError, EOFError, ValueError, RuntimeError, AssertionError, KeyError, AttributeError) as error:
        folder = root / _unpacked_files(dataset)[0][0].parent
        raise DataError(
            f"{name} in {folder} is damaged ({reason_of(error)}); delete that folder and load again"
        ) from error


def _missing(name: str, root: Path, dataset: Any, reason: str) -> str:
    """Say in one sentence that a set is not there, why, and what the ways on are."""
    archives = _archives(dataset)
    files = ", ".join(archive.path.name for archive in archives)
    origin = ", ".join(sorted({url.rpartition("/")[0] for archive in archives for url in archive.urls}))
    found = any((root / file).exists() for file, _ in _unpacked_files(dataset))
    return (
        f"{name} is {'incomplete or damaged' if found else 'not'} in {root} and {reason}; "
        f"either use 'shapes' or 'digits', which need no network, "
        f"or put {files} (from {origin}) into {root / archives[0].path.parent} by hand, "
        f"or use your own images with 'folder:PATH'"
    )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


# A folder of a person's own images


def _load_folder(name: str, image_size: int | None) -> ImageSet:
    text = name.removeprefix("folder:")
    folder = Path(text).expanduser()
    if not text.strip():
        raise DataError(f"folder: needs a path, as in folder:my_images; {_FOLDER_LAYOUT}")
    if not folder.exists():
        raise DataError(f"the folder {folder} does not exist; {_FOLDER_LAYOUT}")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file, not a folder; {_FOLDER_LAYOUT}")
    try:
        class_names, train, test = _find_images(folder)
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read ({reason_of(error)})") from error
    files = train[0] + test[0]
    size = image_size or _default_size(files)
    _require_memory(
        len(files) * 3 * size**2, f"{len(files):,} images of {size} x {size} pixels from {folder}"
    )
    images = _decode_all(files, size)
    n_train = len(train[0])
    return ImageSet(
        name, images[:n_train], train[1], images[n_train:], test[1], class_names, f"the folder {folder}"
    )


_Split = tuple[list[Path], Tensor]  # files and their labels


def _find_images(folder: Path) -> tuple[tuple[str, ...], _Split, _Split]:
    """Return the class names and the train and test files, whichever of the layouts the folder has."""
    train_folder = folder / "train"
    # A class may be called "train" too (trains, locomotives): only a folder of folders is a split.
    if not (train_folder.is_dir() and _subfolders(train_folder)):
        classes = _files_by_class(folder)
        small = [name for name, files in classes.items() if len(files) < 2]
        if small:
            raise DataError(
                f"class {small[0]!r} in {folder} has one image, but the split into train and test needs two"
            )
        files, labels = _flatten(classes)
        train, test = _stratified_split(labels)
        return (
            tuple(classes),
            ([files[i] for i in train.tolist()], labels[train]),
            ([files[i] for i in test.tolist()], labels[test]),
        )
    test_folder = next((folder / split for split in ("test", "val") if (folder / split).is_dir()), None)
    if test_folder is None:
        raise DataError(f"{folder} has a train folder but neither test nor val beside it; {_FOLDER_LAYOUT}")
    train_classes, test_classes = _files_by_class(train_folder), _files_by_class(test_folder)
    for here, there, absent in (
        (train_classes, test_classes, test_folder),
        (test_classes, train_classes, train_folder),
    ):
        alone = [name for name in here if name not in there]
        if alone:
            raise DataError(
                f"class {alone[0]!r} is missing from {absent}; train and test need the same classes"
            )
    return tuple(train_classes), _flatten(train_classes), _flatten(test_classes)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in IMAGE_EXTENSIONS and not p.name.startswith(".") and not p.is_dir()
    )


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    classes = {sub.name: _image_files(sub) for sub in _subfolders(folder)}
    if not classes and _image_files(folder):
        raise DataError(
            f"{folder} holds images but no class folders (one is enough, if there are no labels); "
            f"{_FOLDER_LAYOUT}"
        )
    if not any(classes.values()):
        kinds = " ".join(extension[1:] for extension in IMAGE_EXTENSIONS)
        raise DataError(f"no images ({kinds}) in class folders in {folder}; {_FOLDER_LAYOUT}")
    for name, files in classes.items():
        if not files:
            raise DataError(f"the class folder {folder / name} holds no images; {_FOLDER_LAYOUT}")
    return classes


def _flatten(classes: dict[str, list[Path]]) -> _Split:
    files = [file for group in classes.values() for file in group]
    counts = torch.tensor([len(group) for group in classes.values()])
    return files, torch.repeat_interleave(torch.arange(len(classes)), counts)


def _default_size(files: list[Path]) -> int:
    """The shorter side that all images share, if it is moderate; else the ImageNet side."""

    def sides(file: Path) -> tuple[int, int]:
        with Image.open(file, formats=_FORMATS) as image:  # reads the header only
            short, long = sorted(image.size)  # a camera held upright counts as the same
            return short, long

    shared = set(_in_parallel(sides, files))
    side = shared.pop()[0]
    return max(side, _MINIMUM_SIZE) if not shared and side <= _LARGEST_SHARED_SIZE else _DEFAULT_FOLDER_SIZE


def _decode_all(files: list[Path], size: int) -> Tensor:
    """Decode images into uint8 ``(N, 3, size, size)``."""
    images = np.empty((len(files), 3, size, size), dtype=np.uint8)

    def decode(numbered: tuple[int, Path]) -> None:
        with Image.open(numbered[1], formats=_FORMATS) as image:
            # JPEG can be decoded at a half, quarter or eighth of its size, many times faster; twice
            # the side that is wanted leaves the antialiasing to the resize.
            image.draft(None, (2 * size, 2 * size))
            ImageOps.exif_transpose(image, in_place=True)
            images[numbered[0]] = np.asarray(_centre_square(_to_rgb(image), size)).transpose(2, 0, 1)

    _in_parallel(decode, list(enumerate(files)), path_of=lambda numbered: numbered[1])
    return torch.from_numpy(images)


def _in_parallel(
    function: Callable, items: list, path_of: Callable = lambda item: item, chunk: int = 64
) -> list:
    """Apply ``function`` to every item in threads; images that fail are named together in one DataError."""
    failures: list[tuple[Path, BaseException]] = []

    def work(start: int) -> list:
        results = []
        for item in items[start : start + chunk]:
            try:
                results.append(function(item))
            except Exception as error:  # Pillow raises nearly anything on damaged files
                failures.append((path_of(item), error))
        return results

    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)  # Pillow decodes outside the interpreter lock
    try:
        parts = list(pool.map(work, range(0, len(items), chunk)))
    finally:
        pool.shutdown(cancel_futures=True)
    if failures:
        path, error = min(failures, key=lambda failure: failure[0])
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise DataError(f"{path}{more} cannot be read as an image: {reason_of(error)}") from error
    return [result for part in parts for result in part]


# Pixels


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB; what is transparent becomes white."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        # Pillow's own conversion clips 16-bit values at 255: nearly all of such an image would be white.
        values = np.asarray(image).astype(np.int64) // 257  # 65,535 to 255
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("32-bit values have no known range, save it with 8 or 16 bits")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _centre_square(image: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side to ``size``, with antialiasing, and crop the centre."""
    width, height = image.size
    if width == height == size:
        return image
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


def _resize(images: Tensor, size: int, name: str, chunk: int = 1024) -> Tensor:
    """Return uint8 ``(N, 3, size, size)``, contiguous, resized with antialiasing if need be."""
    if images.shape[2] == size:
        return images.contiguous()
    _require_memory(len(images) * 3 * size**2, f"{name} at {size} x {size} pixels")
    resized = torch.empty(len(images), 3, size, size, dtype=torch.uint8)
    for start in range(0, len(images), chunk):  # all at once, the float copy would be 4 times the images
        part = images[start : start + chunk].float()
        part = torch.nn.functional.interpolate(part, size=(size, size), mode="bilinear", antialias=True)
        resized[start : start + chunk] = part.round().clamp(0, 255).to(torch.uint8)
    return resized


def _grey_to_rgb(images: Tensor) -> Tensor:
    return images.unsqueeze(1).expand(-1, 3, -1, -1)  # (N, H, W) to (N, 3, H, W)


# Choosing images, class by class


def _rank_within_class(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Number the images of each class from 0 in a random order, int64 ``(N,)``."""
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]
    counts = torch.bincount(labels)
    starts = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels)) - starts[labels[by_class]]
    return rank


def _stratified_split(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return sorted indices of train and test images; a fifth of each class, at least one, is test."""
    counts = torch.bincount(labels)
    n_test = (counts * _TEST_FRACTION).round().long().clamp(min=1)
    is_test = _rank_within_class(labels, torch.Generator().manual_seed(_SPLIT_SEED)) < n_test[labels]
    return torch.where(~is_test)[0], torch.where(is_test)[0]


def _stratified_choice(labels: Tensor, n: int, seed: int) -> Tensor:
    """Return ``n`` sorted indices in which each class has its share, and at least one if ``n`` allows."""
    generator = torch.Generator().manual_seed(seed)
    share = _rank_within_class(labels, generator).double() / torch.bincount(labels)[labels]
    shuffled = torch.randperm(len(labels), generator=generator)  # which classes get the odd ones is random
    return shuffled[torch.argsort(share[shuffled], stable=True)][:n].sort().values


def _take(factors: dict[str, Tensor] | None, indices: Tensor) -> dict[str, Tensor] | None:
    return None if factors is None else {key: values[indices] for key, values in factors.items()}


# Memory and messages


def _require_memory(needed: int, what: str) -> None:
    """Raise DataError if ``needed`` bytes are more than the machine has free (where that can be asked)."""
    free = _free_memory()
    if free is not None and needed > free:
        raise DataError(
            f"{what} would need {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
            f"choose a smaller image_size or fewer images"
        )


def _free_memory() -> int | None:
    """Bytes that can still be allocated, within a container's limit on Linux; None where nothing says so."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # macOS: the whole memory
        except (AttributeError, ValueError, OSError):
            return None  # Windows: not known without another dependency
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError, StopIteration):  # "max" means no limit and is no number
        limit, used = (int((group / file).read_text()) for file in ("memory.max", "memory.current"))
        stat = (group / "memory.stat").read_text().splitlines()
        # Files that are cached count as used, but are given back on demand.
        cache = next(int(line.split()[1]) for line in stat if line.startswith("file "))
        free = min(free, limit - used + cache)
    return free


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower().replace("-", "_"), DATASET_NAMES, n=1)
    return f"there is no data set {name!r}" + (f" (did you mean {close[0]!r}?)" if close else "")
