"""CIFAR, STL-10 and Fashion-MNIST: torchvision's classes and checksums, downloaded once."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simclr_edu._downloads import DOWNLOAD_ERRORS, downloading, reason_of, remove_leftovers
from simclr_edu.data.image_set import DataError, ImageSet
from simclr_edu.data.pixels import grey_to_rgb, require_memory, resize_to

# torchvision's sets: we place and check the files, torchvision's classes read them


@dataclass(frozen=True)
class _Archive:
    """One file to download: where it goes below the root, where it may come from, its checksum."""

    path: Path
    urls: tuple[str, ...]
    md5: str


def load_cifar(name: str, root: Path, download: bool, image_size: int | None) -> ImageSet:
    dataset = _ready_dataset(name, root, download)

    def split(train: bool) -> tuple[Tensor, Tensor, Any]:
        part = dataset(root, train=train)
        images = torch.from_numpy(part.data).permute(0, 3, 1, 2)  # (N, 3, 32, 32)
        return resize_to(images, image_size or 32, name), torch.tensor(part.targets), part

    with _readable(name, root, dataset):
        train_images, train_labels, part = split(train=True)
        test_images, test_labels, _ = split(train=False)
    source = "CIFAR (Krizhevsky 2009), read by torchvision"
    return ImageSet(name, train_images, train_labels, test_images, test_labels, tuple(part.classes), source)


def load_stl10(name: str, root: Path, download: bool, image_size: int | None) -> ImageSet:
    dataset = _ready_dataset(name, root, download)
    largest = max((root / file).stat().st_size for file, _ in unpacked_files(dataset))
    require_memory(2 * largest, name)  # torchvision's array and ours, side by side

    def split(which: str) -> tuple[Tensor, Any]:
        part = dataset(root, split=which)
        return resize_to(torch.from_numpy(part.data), image_size or 96, name), part

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


def load_fashion_mnist(name: str, root: Path, download: bool, image_size: int | None) -> ImageSet:
    dataset = _ready_dataset(name, root, download)

    def split(train: bool) -> tuple[Tensor, Tensor]:
        part = dataset(root, train=train)
        padded = torch.nn.functional.pad(part.data, (2, 2, 2, 2))  # (N, 32, 32): black, as the background is
        return resize_to(grey_to_rgb(padded), image_size or 32, name), part.targets.to(torch.int64)

    with _readable(name, root, dataset):
        train_images, train_labels = split(train=True)
        test_images, test_labels = split(train=False)
    source = "Fashion-MNIST (Xiao et al. 2017), read by torchvision"
    return ImageSet(
        name, train_images, train_labels, test_images, test_labels, tuple(dataset.classes), source
    )


TORCHVISION_SETS = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "stl10": "STL10",
    "fashion_mnist": "FashionMNIST",
}


def torchvision_class(name: str) -> Any:
    from torchvision import datasets

    return getattr(datasets, TORCHVISION_SETS[name])


def archives_of(dataset: Any) -> list[_Archive]:
    """What to download for one of torchvision's classes, as the class itself says."""
    if hasattr(dataset, "resources"):  # the MNIST family: four files, each with its mirrors
        folder = Path(dataset.__name__) / "raw"
        return [
            _Archive(folder / file, tuple(mirror + file for mirror in dataset.mirrors), md5)
            for file, md5 in dataset.resources
        ]
    return [_Archive(Path(dataset.filename), (dataset.url,), dataset.tgz_md5)]


def unpacked_files(dataset: Any) -> list[tuple[Path, str | None]]:
    """The files inside the archives, below the root, each with its checksum if torchvision has one."""
    if hasattr(dataset, "resources"):
        return [(archive.path.with_suffix(""), None) for archive in archives_of(dataset)]
    files = [*dataset.train_list, *dataset.test_list]
    if hasattr(dataset, "meta"):
        files.append([dataset.meta["filename"], dataset.meta["md5"]])
    return [(Path(dataset.base_folder) / file, md5) for file, md5 in files]


def _ready_dataset(name: str, root: Path, download: bool) -> Any:
    """Return torchvision's class for ``name`` once its files are unpacked below ``root`` and checked."""
    from torchvision.datasets.utils import extract_archive

    dataset = torchvision_class(name)
    if not _is_unpacked(dataset, root):
        for archive in archives_of(dataset):
            _place_archive(name, root, archive, dataset, download)
        try:
            for archive in archives_of(dataset):
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
    from torchvision.datasets.utils import check_integrity

    return all(check_integrity(root / file, md5) for file, md5 in unpacked_files(dataset))


def _place_archive(name: str, root: Path, archive: _Archive, dataset: Any, download: bool) -> None:
    """Make sure that the archive is below ``root`` and whole, downloading it only if it is not there."""
    from torchvision.datasets.utils import check_integrity

    target = root / archive.path
    if target.exists():
        if not check_integrity(target, archive.md5):
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
    """Download to a temporary folder beside ``target`` and move the whole, checked file into place.

    torchvision's ``download_url`` writes to the place itself: cut off, it leaves its half there.
    """
    from torchvision.datasets.utils import download_url

    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".download-{target.name}-"
    remove_leftovers(target.parent, prefix + "*")
    with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as folder:
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
        folder = root / unpacked_files(dataset)[0][0].parent
        raise DataError(
            f"{name} in {folder} is damaged ({reason_of(error)}); delete that folder and load again"
        ) from error


def _missing(name: str, root: Path, dataset: Any, reason: str) -> str:
    """Say in one sentence that a set is not there, why, and what the ways on are."""
    archives = archives_of(dataset)
    files = ", ".join(archive.path.name for archive in archives)
    origin = ", ".join(sorted({url.rpartition("/")[0] for archive in archives for url in archive.urls}))
    found = any((root / file).exists() for file, _ in unpacked_files(dataset))
    return (
        f"{name} is {'incomplete or damaged' if found else 'not'} in {root} and {reason}; "
        f"either use 'shapes' or 'digits', which need no network, "
        f"or put {files} (from {origin}) into {root / archives[0].path.parent} by hand, "
        f"or use your own images with 'folder:PATH'"
    )
