"""One operation at a time, on a batch, with one parameter per image.

Each is equal to torchvision's function of the same name called image by image on float images. No gradient
flows through any of them.
"""

import torch
from torch import Tensor

from simclr_edu._checks import (
    INTEGERS,
    check_floats,
    check_images,
    check_int,
    check_pixels,
    check_tensor,
    enough_memory,
)
from simclr_edu.augment import colour, resample
from simclr_edu.augment.bands import Resize, Scratch, block_for, make_blur, resize_numbers
from simclr_edu.augment.parameters import BRIGHTNESS, CONTRAST, LARGEST_FACTOR, SATURATION


@torch.no_grad()
def crop_and_resize(x: Tensor, boxes: Tensor, size: int, flip: Tensor | None = None) -> Tensor:
    """Cut one box out of each image and resize it, antialiased bilinear, to ``size`` x ``size``.

    A resize mixes rows, then columns: each new row is a weighted mean of a few old ones. Crop and
    flip cost nothing, they only change which rows and columns are picked.

    Args:
        x: (B, C, H, W) uint8 or float in [0, 1].
        boxes: (B, 4) integers: top, left, height, width in pixels, inside the image.
        size: side of the result in pixels.
        flip: (B,) bool, images to mirror left and right; None for none.

    Returns:
        (B, C, size, size) float32 in [0, 1].

    Raises:
        TypeError: an argument is not a tensor of the right kind.
        ValueError: shapes do not fit, or a box is empty or reaches outside the image.
    """
    check_pixels(x, "x", channels=None)
    size = check_int(size, "size", 1)
    check_boxes(boxes, x)
    if flip is None:
        flip = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    _check_per_image(flip, "flip", x, torch.bool)
    with exact(x), enough_memory(f"{len(x)} images of {size} x {size} pixels"):
        if block := block_for(x, size):
            out = torch.empty(len(x), x.shape[1], size, size)
            resize = Resize(x, boxes, flip, size, block, Scratch(resize_numbers(x, size)))
            for v in range(len(x)):
                resize(v, v, out[v])
        else:
            out = resample.crop_and_resize(x, boxes, flip, size)
        return out.clamp_(0, 1)


@torch.no_grad()
def horizontal_flip(x: Tensor, flip: Tensor) -> Tensor:
    """Mirror left and right the images (B, C, H, W) where ``flip`` (B,) bool is True; any dtype."""
    check_images(x, "x", channels=None)
    _check_per_image(flip, "flip", x, torch.bool)
    return torch.where(flip[:, None, None, None], x.flip(-1), x)


@torch.no_grad()
def adjust_brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply each image by its factor, then clamp to [0, 1].

    Args:
        x: (B, 3, H, W) uint8 or float in [0, 1].
        factor: (B,) floats, from 0 to 1000; 1 changes nothing.

    Returns:
        (B, 3, H, W) float32 in [0, 1].

    Raises:
        TypeError: an argument is not a tensor of the right kind.
        ValueError: shapes do not fit, or a factor is out of range.
    """
    return _adjust(x, factor, BRIGHTNESS)


@torch.no_grad()
def adjust_contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its own mean gray: ``factor * x + (1 - factor) * mean``, clamped to [0, 1].

    Arguments, result and errors as for :func:`adjust_brightness`; 0 gives a flat gray image.
    """
    return _adjust(x, factor, CONTRAST)


@torch.no_grad()
def adjust_saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its gray version: ``factor * x + (1 - factor) * gray``, clamped to [0, 1].

    Arguments, result and errors as for :func:`adjust_brightness`; 0 gives a gray image.
    """
    return _adjust(x, factor, SATURATION)


@torch.no_grad()
def adjust_hue(x: Tensor, factor: Tensor) -> Tensor:
    """Turn the colour circle of each image by its factor, in turns; saturation and value stay.

    Args:
        x: (B, 3, H, W) uint8 or float in [0, 1].
        factor: (B,) floats from -0.5 to 0.5; 0 changes nothing.

    Returns:
        (B, 3, H, W) float32 in [0, 1].

    Raises:
        TypeError: an argument is not a tensor of the right kind.
        ValueError: shapes do not fit, or a factor is outside [-0.5, 0.5].
    """
    check_pixels(x, "x")
    _check_per_image(factor, "factor", x, None, -0.5, 0.5)
    with exact(x):
        room = _room_of(x)
        colour.turn_hue(room, colour.hue_matrices(factor.float()))
    return room[:, :3].contiguous()


@torch.no_grad()
def to_grayscale(x: Tensor) -> Tensor:
    """Replace the three channels by their luma ``0.2989 R + 0.587 G + 0.114 B``.

    Args:
        x: (B, 3, H, W) uint8 or float in [0, 1].

    Returns:
        (B, 3, H, W) float32 in [0, 1], the three channels equal.

    Raises:
        TypeError: not a tensor of images.
        ValueError: not three channels.
    """
    check_pixels(x, "x")
    with exact(x):
        return colour.luma(_as_float(x)).unsqueeze(1).repeat(1, 3, 1, 1)


@torch.no_grad()
def gaussian_blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur each image with its own Gaussian; the border is reflected.

    Args:
        x: (B, C, H, W) uint8 or float in [0, 1].
        sigma: (B,) floats greater than 0, at most 1000, in pixels.
        kernel_size: odd number of pixels; half of it must be smaller than the image's side.

    Returns:
        (B, C, H, W) float32 in [0, 1].

    Raises:
        TypeError: an argument is not a tensor of the right kind.
        ValueError: shapes do not fit, sigma is not positive, or the kernel is even or too large.
    """
    check_pixels(x, "x", channels=None)
    kernel_size = check_int(kernel_size, "kernel_size", 1)
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd, got {kernel_size}")
    if kernel_size // 2 >= min(x.shape[2:]):
        raise ValueError(f"kernel_size {kernel_size} is too large for images of shape {tuple(x.shape)}")
    _check_per_image(sigma, "sigma", x, None, torch.finfo(torch.float32).tiny)
    with exact(x):
        x, sigma = _as_float(x), sigma.float()
        channels, height, width = x.shape[1:]
        if block := block_for(x, height):
            out, scratch = torch.empty_like(x), Scratch(channels * height * width)
            blur = make_blur(sigma, kernel_size, (channels, height, width), block, scratch)
            for v, image in enumerate(x):
                blur(image, v, out[v])
            return out
        return resample.gaussian_blur(x, sigma, kernel_size).clamp_(0, 1)


def exact(x: Tensor) -> torch.autocast:
    """Return a context in which products stay in float32 even inside the caller's autocast."""
    return torch.autocast(x.device.type, enabled=False)


def _as_float(x: Tensor) -> Tensor:
    """Return contiguous float32 images in [0, 1]."""
    if x.dtype == torch.uint8:
        return x.float().div_(255).contiguous()
    return x.float().contiguous()


def _room_of(x: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    room = colour.with_room(n, channels, height, width, x.device)
    room[:, :3] = _as_float(x)
    return room


def check_boxes(boxes: Tensor, x: Tensor, n: int | None = None) -> None:
    """Refuse what is not (n, 4) integers, boxes inside the images ``x``; n is their number if None."""
    check_tensor(boxes, "boxes")
    if boxes.dtype not in INTEGERS:
        raise TypeError(f"boxes must be integers, got {boxes.dtype}")
    n = len(x) if n is None else n
    if boxes.shape != (n, 4):
        raise ValueError(f"boxes must have shape ({n}, 4), got {tuple(boxes.shape)}")
    height, width = x.shape[2:]
    corner, side = boxes[:, :2].long(), boxes[:, 2:].long()
    limit = torch.tensor([height, width], device=boxes.device)
    # No sum of the two: that of huge numbers is negative.
    if (corner < 0).any() or (side < 1).any() or (side > limit).any() or (corner > limit - side).any():
        raise ValueError(f"boxes (top, left, height, width) must lie inside the {height} x {width} image")


def _check_per_image(
    value: Tensor,
    name: str,
    x: Tensor,
    dtype: torch.dtype | None,
    low: float = 0.0,
    high: float = LARGEST_FACTOR,
) -> None:
    check_tensor(value, name)
    if value.device != x.device:
        raise ValueError(f"{name} must be on the device of x, {x.device}, got {value.device}")
    if value.shape != (len(x),):
        raise ValueError(f"{name} must hold one value per image, shape ({len(x)},), got {tuple(value.shape)}")
    if dtype is torch.bool:
        if value.dtype != torch.bool:
            raise TypeError(f"{name} must be bool, got {value.dtype}")
        return
    check_floats(value, name)
    if not ((value >= low) & (value <= high)).all():
        raise ValueError(f"{name} must be finite and from {low:g} to {high:g}, got {value.tolist()}")


def _adjust(x: Tensor, factor: Tensor, operation: int) -> Tensor:
    check_pixels(x, "x")
    _check_per_image(factor, "factor", x, None)
    with exact(x):
        room = _room_of(x)
        operations = torch.full(factor.shape, operation, device=x.device)
        colour.blend(room, *colour.blend_matrices(operations, factor.float()))
    return room[:, :3].contiguous()
