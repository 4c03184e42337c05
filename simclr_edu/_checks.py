"""Input checks that every public function shares: one sentence, what it got and what it wanted."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

PIXEL_TOLERANCE = 1e-4  # floats may leave [0, 1] by so much: rounding, after a resize, say
LARGEST_SEED = 2**32 - 1  # what every generator takes, numpy's too
LARGEST_COUNT = 2**31 - 1  # of anything: pixels a side, rows, steps
# Float8 and packed kinds are storage: torch has hardly an operation for them.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

# Tensors


def check_tensor(value: object, name: str) -> Tensor:
    """Return ``value`` if it is an ordinary tensor: dense, and with values in it."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if value.is_nested or value.is_quantized or value.layout != torch.strided:
        packed = "nested" if value.is_nested else "quantized" if value.is_quantized else None
        kind = packed or str(value.layout).removeprefix("torch.")
        raise TypeError(f"{name} must be an ordinary dense tensor, got a {kind} one")
    if value.is_meta:
        raise ValueError(f"{name} must hold values, got a tensor on the meta device")
    return value


def check_floats(value: object, name: str) -> Tensor:
    """Return ``value`` if it is a tensor of floating-point numbers that torch can compute with."""
    x = check_tensor(value, name)
    if x.dtype not in FLOATS:
        raise TypeError(f"{name} must be floating point, got {x.dtype}")
    return x


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
    if x.dtype != torch.uint8 and x.dtype not in FLOATS:
        raise TypeError(f"{name} must be uint8 (0 to 255) or floating point (0 to 1), got {x.dtype}")
    return x


def in_unit_range(low: float | Tensor, high: float | Tensor) -> bool | Tensor:
    """Whether pixels from ``low`` to ``high`` lie in [0, 1] but for rounding; False for NaN."""
    return (low >= -PIXEL_TOLERANCE) & (high <= 1 + PIXEL_TOLERANCE)


def check_unit_range(x: Tensor, name: str) -> Tensor:
    """Return pixels unless they are floats outside [0, 1], or NaN. It looks: a GPU is waited for."""
    if x.is_floating_point():
        low, high = (v.item() for v in torch.aminmax(x.detach()))
        if not in_unit_range(low, high):
            raise ValueError(
                f"{name} of {x.dtype} must lie in [0, 1], got values from {low:.4g} to {high:.4g}"
            )
    return x


def check_pixels(value: object, name: str = "images", *, channels: int | None = 3) -> Tensor:
    """Return ``value`` if it is a batch of images as :func:`check_images` has them, and floats lie in [0, 1].

    Floats on a GPU are not looked at: every call would wait for it.
    """
    x = check_images(value, name, channels=channels)
    return check_unit_range(x, name) if x.device.type == "cpu" else x


def check_unit_images(value: object, name: str = "images") -> Tensor:
    """Return ``value`` if it is a batch of float images ``(B, 3, H, W)`` that do not look like 0 to 255.

    Only a CPU looks at the values, a GPU would have to be waited for; neither does a compiled graph.
    """
    x = check_images(value, name)
    if x.dtype == torch.uint8:
        raise TypeError(f"{name} must be floats in [0, 1], got torch.uint8: divide them by 255")
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (v.item() for v in torch.aminmax(x.detach()))
        if not (math.isfinite(low) and math.isfinite(high)) or (low >= 0 and high > 2):
            raise ValueError(f"{name} must be floats in [0, 1], got values from {low:g} to {high:g}")
    return x


def check_same_dtype(x: Tensor, module: nn.Module, name: str) -> None:
    """Refuse floats of another kind than the weights, unless autocast converts them."""
    weight = next((p for p in module.parameters() if p.is_floating_point()), x)
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"{name} must be {weight.dtype} like the weights, got {x.dtype}")


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
    return check_floats(x, name)


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
    """Return ``value`` if it is a non-empty vector of integer class labels ``(N,)``, none negative."""
    x = check_tensor(value, name)
    if x.ndim != 1:
        raise ValueError(f"{name} must be a vector of shape (N,), got shape {tuple(x.shape)}")
    if x.dtype not in INTEGERS:
        raise TypeError(f"{name} must be integers, got {x.dtype}")
    if length is not None and len(x) != length:
        raise ValueError(f"{name} must hold one label per row, got {len(x)} labels for {length} rows")
    if len(x) == 0:
        raise ValueError(f"{name} must not be empty, got 0 labels")
    if int(x.min()) < 0:
        raise ValueError(f"{name} must not be negative, got {int(x.min())}")
    return x


def within_range(x: Tensor, low: float = 1e-10, high: float = 1e15) -> Tensor:
    """Rows ``(N, d)`` whose length float arithmetic can hold: of others each divided by its largest entry.

    The square of 1e30 is infinity in float32, that of 1e-30 is zero: lengths would come out so too. Rows of
    zeros stay zeros. Rows whose largest entry lies from ``low`` to ``high`` keep every digit.
    """
    if not is_far(x, low, high):
        return x
    largest = x.detach().abs().amax(dim=1, keepdim=True)  # (N, 1)
    return x / largest.where((largest > 0) & ((largest > high) | (largest < low)), 1.0)


def is_far(x: Tensor, low: float = 1e-10, high: float = 1e15) -> bool:
    """Whether some row of ``x`` has a largest entry that is not zero and not from ``low`` to ``high``."""
    if low == 0:  # several times quicker than a maximum for each row
        least, most = torch.aminmax(x.detach())
        return bool(most > high) or bool(least < -high)
    largest = torch.linalg.vector_norm(x.detach(), math.inf, dim=1)
    return bool(((largest > high) | ((largest > 0) & (largest < low))).any())


# Numbers


def _number(value: object, name: str, wanted: str) -> float:
    """A real number as a float; NaN for what no float holds, which every range refuses."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {wanted}, got {_kind(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _kind(value: object) -> str:
    """What a wrong argument is: its type, and a text in full, as "False" for False is a common slip."""
    return f"str {value!r}" if isinstance(value, str) and len(value) < 40 else type(value).__name__


def _shown(value: object) -> str:
    """A number in a message: not all thousand digits of one."""
    text = str(value)
    return text if len(text) <= 24 else f"{text[:20]}... ({len(text)} characters)"


def check_number(value: object, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return ``value`` as a float if it is a finite number from ``low`` to ``high``."""
    if high < math.inf:
        wanted = f"from {low:g} to {high:g}"
    else:
        wanted = "finite" + (f" and at least {low:g}" if low > -math.inf else "")
    number = _number(value, name, "a number" + (f" {wanted}" if high < math.inf else ""))
    if not (low <= number <= high and math.isfinite(number)):
        raise ValueError(f"{name} must be {wanted}, got {_shown(value)}")
    return number


def check_positive(value: object, name: str, maximum: float = math.inf) -> float:
    """Return ``value`` as a float if it is a finite number greater than zero, and at most ``maximum``."""
    wanted = "a finite number greater than 0" + (f", at most {maximum:g}" if maximum < math.inf else "")
    number = _number(value, name, "a number")
    if not (math.isfinite(number) and 0 < number <= maximum):
        raise ValueError(f"{name} must be {wanted}, got {_shown(value)}")
    return number


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, got {_kind(value)}")
    return int(value)


def check_int(value: object, name: str, minimum: int, maximum: int = LARGEST_COUNT) -> int:
    """Return ``value`` as an int if it is a whole number from ``minimum`` to ``maximum``."""
    number = _whole(value, name)
    if not minimum <= number <= maximum:
        wanted = f"from {minimum} to {maximum}"
        if number < minimum and maximum > 50_000:  # a limit that nobody meant to reach
            wanted = f"at least {minimum}"
        raise ValueError(f"{name} must be {wanted}, got {_shown(value)}")
    return number


def check_seed(value: object, name: str = "seed") -> int:
    """Return ``value`` as an int if every generator takes it as a seed."""
    number = _whole(value, name)
    if not 0 <= number <= LARGEST_SEED:
        raise ValueError(f"{name} must be from 0 to {LARGEST_SEED}, got {_shown(value)}")
    return number


def check_fraction(value: object, name: str) -> float:
    """Return ``value`` as a float if it lies from 0 to 1."""
    return check_number(value, name, 0, 1)


# Everything else


def check_flag(value: object, name: str) -> bool:
    """Return ``value`` if it is True or False: the text "False" would count as True."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):  # numpy's has two names
        raise TypeError(f"{name} must be True or False, got {_kind(value)}")
    return bool(value)


def check_text(value: object, name: str) -> str:
    """Return ``value`` if it is a string with something in it."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"{name} must not be empty, got {value!r}")
    return value


def check_choice(value: object, name: str, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        plain = value is None or (isinstance(value, str | Real) and len(str(value)) < 80)
        got = repr(value) if plain else type(value).__name__
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {got}")
    return value


def check_config(value: object, kind: type) -> None:
    """Raise TypeError unless ``value`` is a configuration of this kind."""
    check_kind(value, "config", kind)


def check_kind(value: object, name: str, kind: type, what: str = "") -> Any:
    """Return ``value`` if it is an instance of ``kind``, in words ``what``."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIO" else "a"
        raise TypeError(f"{name} must be {what or f'{article} {kind.__name__}'}, got {_kind(value)}")
    return value


def check_module(value: object, name: str) -> nn.Module:
    """Return ``value`` if it is a module."""
    module: nn.Module = check_kind(value, name, nn.Module, "a torch.nn.Module")
    return module


def check_generator(value: object, name: str = "generator") -> torch.Generator | None:
    """Return ``value`` if it is a source of random numbers, or None for torch's own."""
    return None if value is None else check_kind(value, name, torch.Generator, "a torch.Generator or None")


def check_callable(value: object, name: str) -> Any:
    """Return ``value`` if it can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function or another callable, got {_kind(value)}")
    return value


def check_sequence(value: object, name: str, what: str = "a list") -> Sequence[Any]:
    """Return ``value`` if it is a list, a tuple or the like, and no text."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be {what}, got {_kind(value)}")
    return value


def check_mapping(value: object, name: str, what: str = "a dictionary") -> Mapping[Any, Any]:
    """Return ``value`` if it maps names to things."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be {what}, got {_kind(value)}")
    return value


@contextlib.contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Inside, memory that cannot be had is said in a sentence; torch says it with a line of C++.

    Raises:
        MemoryError: ``what`` does not fit.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(f"there is not enough memory for {what}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this exception says that memory ran out: on a CPU torch has no type of its own for that."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")
    return isinstance(error, RuntimeError) and any(words in str(error) for words in said)
