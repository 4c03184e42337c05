"""Input checks that every public function shares: one sentence, what it got and what it wanted."""

import math
from collections.abc import Iterable
from numbers import Integral, Real

import torch
from torch import Tensor

PIXEL_TOLERANCE = 1e-4  # floats may leave [0, 1] by so much: rounding, after a resize, say


def check_tensor(value: object, name: str) -> Tensor:
    """Return ``value`` if it is a tensor; otherwise raise TypeError naming what it is."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    return value


def check_images(value: object, name: str = "images", *, channels: int | None = 3) -> Tensor:
    """Return ``value`` if it is a non-empty batch of images: ``(B, C, H, W)``, uint8 or floating point.

    Raises:
        TypeError: not a tensor, or neither uint8 nor floating point.
        ValueError: not four-dimensional, empty, or with another number of channels than ``channels``.
    """
    x = check_tensor(value, name)
    if x.ndim != 4:
        raise ValueError(f"{name} must be a batch of shape (B, C, H, W), got shape {tuple(x.shape)}")
    if 0 in x.shape:
        raise ValueError(f"{name} must not be empty, got shape {tuple(x.shape)}")
    if channels is not None and x.shape[1] != channels:
        raise ValueError(f"{name} must have {channels} channels, got shape {tuple(x.shape)}")
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise TypeError(f"{name} must be uint8 (0 to 255) or floating point (0 to 1), got {x.dtype}")
    return x


def in_unit_range(low: float | Tensor, high: float | Tensor) -> bool | Tensor:
    """Whether pixels from ``low`` to ``high`` lie in [0, 1] but for rounding; False for NaN."""
    return (low >= -PIXEL_TOLERANCE) & (high <= 1 + PIXEL_TOLERANCE)


def check_config(value: object, kind: type) -> None:
    """Raise TypeError unless ``value`` is a configuration of this kind."""
    if not isinstance(value, kind):
        raise TypeError(f"config must be a {kind.__name__}, got {type(value).__name__}")


def check_finite(x: Tensor, name: str) -> Tensor:
    """Return ``x`` if it holds neither NaN nor infinity."""
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return x


def check_matrix(value: object, name: str) -> Tensor:
    """Return ``value`` if it is a non-empty floating-point matrix ``(N, d)``."""
    x = check_tensor(value, name)
    if x.ndim != 2:
        raise ValueError(f"{name} must be a matrix of shape (N, d), got shape {tuple(x.shape)}")
    if 0 in x.shape:
        raise ValueError(f"{name} must not be empty, got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {x.dtype}")
    return x


def check_same_width(a: Tensor, b: Tensor, first: str, second: str) -> None:
    """Refuse two matrices that do not go together: of two widths, on two devices or of two dtypes."""
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{first} and {second} must have the same width, got {a.shape[1]} and {b.shape[1]}")
    if a.device != b.device:
        raise ValueError(f"{first} and {second} must be on the same device, got {a.device} and {b.device}")
    if a.dtype != b.dtype:
        raise TypeError(f"{first} and {second} must have the same dtype, got {a.dtype} and {b.dtype}")


def check_same_shape(a: Tensor, b: Tensor, first: str, second: str) -> None:
    """Refuse two matrices of two shapes, or that do not go together otherwise."""
    if a.shape != b.shape:
        raise ValueError(
            f"{first} and {second} must have the same shape, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    check_same_width(a, b, first, second)


def check_labels(value: object, name: str, length: int | None = None) -> Tensor:
    """Return ``value`` if it is a vector of integer class labels ``(N,)``, none negative."""
    x = check_tensor(value, name)
    if x.ndim != 1:
        raise ValueError(f"{name} must be a vector of shape (N,), got shape {tuple(x.shape)}")
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, got {x.dtype}")
    if length is not None and len(x) != length:
        raise ValueError(f"{name} must hold one label per row, got {len(x)} labels for {length} rows")
    if len(x) and int(x.min()) < 0:
        raise ValueError(f"{name} must not be negative, got {int(x.min())}")
    return x


def check_positive(value: object, name: str) -> float:
    """Return ``value`` as a float if it is a finite number greater than zero."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number) or number <= 0:
        raise ValueError(f"{name} must be a finite number greater than 0, got {value}")
    return number


def check_int(value: object, name: str, minimum: int, maximum: int | None = None) -> int:
    """Return ``value`` as an int if it is a whole number from ``minimum`` to ``maximum``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, got {type(value).__name__}")
    number = int(value)
    if number < minimum or (maximum is not None and number > maximum):
        wanted = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise ValueError(f"{name} must be {wanted}, got {value}")
    return number


def check_fraction(value: object, name: str) -> float:
    """Return ``value`` as a float if it lies from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number from 0 to 1, got {type(value).__name__}")
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be from 0 to 1, got {value}")
    return number


def check_choice(value: object, name: str, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return str(value)
