"""A folder of your own images."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from simclr_edu._downloads import reason_of
from simclr_edu.data.image_set import MINIMUM_SIZE, DataError, ImageSet
from simclr_edu.data.pixels import require_memory
from simclr_edu.data.stratified import stratified_split
from simclr_edu.home import check_path

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_DEFAULT_FOLDER_SIZE = 224  # the ImageNet side of the paper
_LARGEST_SHARED_SIZE = 256  # same-sized photographs larger than this are reduced to the default side
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # all else under an image's name is refused, not run
_FOLDER_LAYOUT = (
    "a folder should hold PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg, "
    "or PATH/CLASS/*.jpg, which is then split with a fixed seed"
)


# A folder of a person's own images


def load_folder(name: str, image_size: int | None) -> ImageSet:
    text = name.removeprefix("folder:")
    if not text.strip():
        raise DataError(f"folder: needs a path, as in folder:my_images; {_FOLDER_LAYOUT}")
    folder = check_path(text, "folder:")
    if not folder.exists():
        raise DataError(f"the folder {folder} does not exist; {_FOLDER_LAYOUT}")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file, not a folder; {_FOLDER_LAYOUT}")
    try:
        class_names, train, test = _find_images(folder)
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read ({reason_of(error)})") from error
    _refuse_copies(train[0], test[0])
    files = train[0] + test[0]
    size = image_size or _default_size(files)
    require_memory(len(files) * 3 * size**2, f"{len(files):,} images of {size} x {size} pixels from {folder}")
    images = _decode_all(files, size)
    n_train = len(train[0])
    return ImageSet(
        name, images[:n_train], train[1], images[n_train:], test[1], class_names, f"the folder {folder}"
    )


T = TypeVar("T")
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
        train, test = stratified_split(labels)
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
    files = sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in IMAGE_EXTENSIONS and not p.name.startswith(".") and not p.is_dir()
    )
    for file in files:  # a pipe would be waited for, a device may never end
        if file.exists() and not file.is_file():
            raise DataError(f"{file} is no file that can be read as an image, but a pipe, socket or device")
    return files


def _refuse_copies(train: list[Path], test: list[Path]) -> None:
    """Refuse test files that are copies of training files, byte for byte: these it would only recognise.

    Only files of a size that occurs on both sides are read.
    """

    def by_size(files: list[Path]) -> dict[int, list[Path]]:
        sizes: dict[int, list[Path]] = {}
        for file in files:
            if file.exists():  # a broken link is named when it is decoded
                sizes.setdefault(file.stat().st_size, []).append(file)
        return sizes

    def digest(_: int, file: Path) -> bytes:
        return hashlib.blake2b(file.read_bytes()).digest()

    here, there = by_size(train), by_size(test)
    shared = here.keys() & there.keys()
    of_train, of_test = ([f for size in shared for f in sizes[size]] for sizes in (here, there))
    originals = dict(zip(_in_parallel(digest, of_train), of_train, strict=True))
    copies = [
        (file, originals[found])
        for file, found in zip(of_test, _in_parallel(digest, of_test), strict=True)
        if found in originals
    ]
    if copies:
        copy, original = min(copies)
        more = f" (and {len(copies) - 1} more)" if len(copies) > 1 else ""
        raise DataError(
            f"{copy}{more} is a copy of {original}, which is trained on: a test on it says nothing, "
            f"delete one of the two"
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

    def sides(number: int, file: Path) -> tuple[int, int]:
        with Image.open(file, formats=_FORMATS) as image:  # reads the header only
            short, long = sorted(image.size)  # a camera held upright counts as the same
            return short, long

    shared = set(_in_parallel(sides, files))
    side = shared.pop()[0]
    return max(side, MINIMUM_SIZE) if not shared and side <= _LARGEST_SHARED_SIZE else _DEFAULT_FOLDER_SIZE


def _decode_all(files: list[Path], size: int) -> Tensor:
    """Decode images into uint8 ``(N, 3, size, size)``."""
    images = np.empty((len(files), 3, size, size), dtype=np.uint8)

    def decode(number: int, file: Path) -> None:
        with Image.open(file, formats=_FORMATS) as image:
            # JPEG can be decoded at a half, quarter or eighth of its size, many times faster; twice
            # the side that is wanted leaves the antialiasing to the resize.
            image.draft(None, (2 * size, 2 * size))
            ImageOps.exif_transpose(image, in_place=True)
            images[number] = np.asarray(centre_square(_to_rgb(image), size)).transpose(2, 0, 1)

    _in_parallel(decode, files)
    return torch.from_numpy(images)


def _in_parallel(function: Callable[[int, Path], T], files: list[Path], chunk: int = 64) -> list[T]:
    """``function(number, file)`` of every file, in threads; one DataError names those that fail."""
    failures: list[tuple[Path, BaseException]] = []

    def work(start: int) -> list[T]:
        results = []
        for number, file in enumerate(files[start : start + chunk], start):
            try:
                results.append(function(number, file))
            except Exception as error:  # Pillow raises nearly anything on damaged files
                failures.append((file, error))
        return results

    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)  # Pillow decodes outside the interpreter lock
    try:
        parts = list(pool.map(work, range(0, len(files), chunk)))
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


def centre_square(image: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side to ``size``, with antialiasing, and crop the centre."""
    width, height = image.size
    if width == height == size:
        return image
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)
