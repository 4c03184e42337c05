"""What the figures take, checked and turned into arrays; and how they write numbers."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from simclr_edu._checks import check_images, check_sequence, check_tensor, in_unit_range

Array = np.ndarray
ArrayLike = Tensor | np.ndarray | Sequence[Any]
Images = Tensor | np.ndarray


def as_array(value: object, name: str) -> Array:
    """Return float64 values, all finite."""
    if isinstance(value, Tensor):
        if check_tensor(value, name).is_complex():
            raise TypeError(f"{name} must hold real numbers, got {value.dtype}")
        value = value.detach().to("cpu", torch.float64).numpy()
    try:
        raw = np.asarray(value)
        if raw.dtype.kind not in "iufbO":  # text such as "0.5" would be converted
            raise TypeError
        out = raw.astype(np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise TypeError(f"{name} must hold numbers, got {type(value).__name__}") from None
    if out.ndim == 0:
        raise TypeError(f"{name} must be a list, array or tensor of numbers, got one {type(value).__name__}")
    if out.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {out.shape}")
    if not np.isfinite(out).all():
        raise ValueError(
            f"{name} must be finite, got {int((~np.isfinite(out)).sum())} NaN or infinite values"
        )
    return out


def as_vector(value: object, name: str, length: int | None = None) -> Array:
    x = as_array(value, name)
    if x.ndim != 1:
        raise ValueError(f"{name} must be a vector of shape (N,), got shape {x.shape}")
    if length is not None and len(x) != length:
        raise ValueError(f"{name} must have {length} values, got {len(x)}")
    return x


def as_similarities(value: object, name: str) -> Array:
    """Check cosine similarities; rounding may carry them a little past 1."""
    x = as_array(value, name)
    if np.abs(x).max() > 1 + 1e-3:
        raise ValueError(
            f"{name} must be cosine similarities from -1 to 1, got {x.min():.3g} to {x.max():.3g}"
        )
    return x


def as_square(value: object, name: str) -> Array:
    x = as_similarities(value, name)
    if x.ndim != 2 or x.shape[0] != x.shape[1]:
        raise ValueError(f"{name} must be a square matrix, got shape {x.shape}")
    return x


def as_accuracies(value: object, name: str, length: int | None = None) -> Array:
    x = as_vector(value, name, length)
    if x.min() < 0 or x.max() > 1:
        raise ValueError(f"{name} must be accuracies from 0 to 1, got {x.min():g} to {x.max():g}")
    return x


def as_spread(value: object | None, name: str, length: int) -> Array | None:
    if value is None:
        return None
    x = as_vector(value, name, length)
    if x.min() < 0:
        raise ValueError(f"{name} must not be negative, got {x.min():g}")
    return x


def as_names(value: object, name: str, length: int | None = None) -> list[str]:
    names = check_sequence(value, name, "a list of names")
    if len(names) == 0:
        raise ValueError(f"{name} must not be empty, got 0 names")
    if length is not None and len(names) != length:
        raise ValueError(f"{name} must have {length} names, got {len(names)}")
    for v in names:
        if not isinstance(v, str | Real):
            raise TypeError(f"each of {name} must be text or a number, got {type(v).__name__}")
    return [str(v) for v in names]


def as_classes(labels: object, class_names: object, length: int) -> tuple[Array, list[str]]:
    names = as_names(class_names, "class_names")
    values = as_vector(labels, "labels", length)
    if (values % 1 != 0).any():
        raise TypeError("labels must be whole numbers, got fractions")
    if values.min() < 0 or values.max() >= len(names):
        raise ValueError(
            f"labels must be from 0 to {len(names) - 1}, one for each class name, "
            f"got {values.min():g} to {values.max():g}"
        )
    return values.astype(np.int64), names


def as_pixels(value: object, name: str) -> Array:
    """Return images (N, 3, H, W) as float32 (N, H, W, 3) in [0, 1]."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "uf":
            raise TypeError(f"{name} must be uint8 or floating point, got an array of {value.dtype}")
        value = torch.from_numpy(np.ascontiguousarray(value))
    x = check_images(value, name).detach().cpu()
    if x.dtype == torch.uint8:
        return (x.float() / 255).permute(0, 2, 3, 1).numpy()
    x = x.float()
    low, high = float(x.min()), float(x.max())
    if not in_unit_range(low, high):
        raise ValueError(
            f"{name} must be in [0, 1], got {low:.3g} to {high:.3g}; undo the normalisation first"
        )
    return x.clamp(0, 1).permute(0, 2, 3, 1).numpy()


def percent(x: float) -> str:
    return f"{100 * x:.0f}%"


def percent_axis(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g}"))


def fixed_decimals(x: float, decimals: int) -> str:
    """Return this many decimals, never -0.00."""
    return f"{round(float(x), decimals) + 0.0:.{decimals}f}"


def short(x: float) -> str:
    return fixed_decimals(x, 2)


def shape_of(value: object) -> str:
    return f"shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__


def dimensions(value: object, name: str) -> tuple[int, ...]:
    """The shape of a tensor or array that is not empty; () for what has none."""
    if isinstance(value, Tensor):
        check_tensor(value, name)
    shape = tuple(getattr(value, "shape", ()))
    if 0 in shape:
        raise ValueError(f"{name} must not be empty, got shape {shape}")
    return shape


def as_points(value: object) -> Array:
    p = as_array(value, "points")
    if p.ndim != 2 or p.shape[1] != 2:
        raise ValueError(f"points must have shape (N, 2), got {p.shape}")
    return p
