"""Images, labels and class names of one data set, in memory."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from simclr_edu._checks import (
    check_images,
    check_int,
    check_labels,
    check_mapping,
    check_seed,
    check_tensor,
    check_text,
)
from simclr_edu.data.stratified import stratified_choice

MINIMUM_SIZE, MAXIMUM_SIZE = 8, 65_535  # pixels a side; a JPEG has no more


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
        check_text(self.name, "name")
        check_text(self.source, "source")
        if not isinstance(self.class_names, tuple):
            raise TypeError(f"class_names must be a tuple of strings, got {type(self.class_names).__name__}")
        for class_name in self.class_names:
            check_text(class_name, "each of class_names")
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
        for key, values in check_mapping({} if factors is None else factors, f"{split}_factors").items():
            if check_tensor(values, f"{split}_factors[{key!r}]").ndim == 0 or len(values) != len(images):
                raise ValueError(
                    f"{split}_factors[{key!r}] must hold one value per image, "
                    f"got {len(values) if values.ndim else 'a scalar'} for {len(images)}"
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
        check_seed(seed)
        train = stratified_choice(self.train_labels, n_train, seed)
        test = stratified_choice(self.test_labels, n_test, seed)
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
        validation = stratified_choice(self.train_labels, n, check_seed(seed))
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


# Choosing images, class by class


def _take(factors: dict[str, Tensor] | None, indices: Tensor) -> dict[str, Tensor] | None:
    return None if factors is None else {key: values[indices] for key, values in factors.items()}
