"""What is random about a view, drawn for a whole batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from simclr_edu._checks import check_int, check_tensor
from simclr_edu.device import check_device

RATIO = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10
JITTER_PROBABILITY = 0.8
GRAYSCALE_PROBABILITY = 0.2
BLUR_PROBABILITY = 0.5
BLUR_SIGMA = (0.1, 2.0)
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


LARGEST_FACTOR = 1e3  # of a factor, or of a blur in pixels: beyond it nothing of a picture is left
# Of each attribute: dtype, numbers a view, and the range of its values where they have one.
_FIELDS: dict[str, tuple[torch.dtype, int, float, float]] = {
    "boxes": (torch.int64, 4, 0, 0),
    "flip": (torch.bool, 1, 0, 0),
    "jitter": (torch.bool, 1, 0, 0),
    "brightness": (torch.float32, 1, 0, LARGEST_FACTOR),
    "contrast": (torch.float32, 1, 0, LARGEST_FACTOR),
    "saturation": (torch.float32, 1, 0, LARGEST_FACTOR),
    "hue": (torch.float32, 1, -0.5, 0.5),
    "order": (torch.int64, 4, 0, 3),
    "grayscale": (torch.bool, 1, 0, 0),
    "blur": (torch.bool, 1, 0, 0),
    "sigma": (torch.float32, 1, 1e-3, LARGEST_FACTOR),
}


@dataclass
class AugmentParameters:
    """Everything random about a batch of V views, one row per view, all on one device.

    Attributes:
        boxes: (V, 4) int64, the crop as top, left, height, width in pixels of the input.
        flip: (V,) bool, mirror left and right.
        jitter: (V,) bool, whether the four colour operations are applied.
        brightness: (V,) float32 factor, 1 changes nothing.
        contrast: (V,) float32 factor, 1 changes nothing.
        saturation: (V,) float32 factor, 1 changes nothing.
        hue: (V,) float32 shift in turns of the colour circle, from -0.5 to 0.5, 0 changes nothing.
        order: (V, 4) int64, row v lists the colour operations in the order in which they are applied:
            0 brightness, 1 contrast, 2 saturation, 3 hue.
        grayscale: (V,) bool.
        blur: (V,) bool, whether the view is blurred.
        sigma: (V,) float32, standard deviation of the blur in pixels of the view, greater than 0.

    Raises:
        TypeError, ValueError: an attribute is of another kind or shape.
    """

    boxes: Tensor
    flip: Tensor
    jitter: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    order: Tensor
    grayscale: Tensor
    blur: Tensor
    sigma: Tensor

    def __post_init__(self) -> None:
        for name, (dtype, width, _, _) in _FIELDS.items():
            value = check_tensor(getattr(self, name), name)
            if value.dtype != dtype:
                raise TypeError(f"{name} must be {dtype}, got {value.dtype}")
            shape = (len(self.boxes) if self.boxes.ndim else 0, width)[: 1 + (width > 1)]
            if value.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")

    def check_values(self) -> None:
        """Refuse values outside the ranges that the attributes name, boxes aside: those depend on the images.

        Raises:
            ValueError: it says which attribute.
        """
        for name, (_, _, low, high) in _FIELDS.items():
            value = getattr(self, name)
            if low < high and not ((value >= low) & (value <= high)).all():
                raise ValueError(f"{name} must be from {low:g} to {high:g}, got {value.tolist()}")
        if (self.order.sort(dim=1).values != torch.arange(4, device=self.order.device)).any():
            raise ValueError("each row of order must hold 0, 1, 2 and 3, got another row")

    def __len__(self) -> int:
        """Return the number of views V."""
        return len(self.boxes)

    def __getitem__(self, index: Tensor | slice) -> "AugmentParameters":
        """Return the parameters of the views that ``index`` selects."""
        return AugmentParameters(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device: torch.device | str) -> "AugmentParameters":
        """Return a copy on ``device``.

        Raises:
            TypeError, ValueError: not a device of this machine.
        """
        device = check_device(device)
        return AugmentParameters(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def blur_kernel_size(size: int) -> int:
    """Return the blur kernel for images of ``size`` pixels: a tenth of the side, made odd."""
    return int(0.1 * check_int(size, "size", 1)) | 1


def draw_boxes(uniform: Callable[..., Tensor], height: int, width: int, scale: tuple[float, float]) -> Tensor:
    """Draw (V, 4) crop boxes as torchvision's RandomResizedCrop does, all attempts of all views at once."""
    area = height * width * uniform(*scale, CROP_ATTEMPTS)  # (V, attempts)
    ratio = uniform(math.log(RATIO[0]), math.log(RATIO[1]), CROP_ATTEMPTS).exp()
    w = (area * ratio).sqrt().round().long()
    h = (area / ratio).sqrt().round().long()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(dim=1, keepdim=True)  # (V, 1)
    found = fits.gather(1, first).squeeze(1)
    w, h = w.gather(1, first).squeeze(1), h.gather(1, first).squeeze(1)

    # No attempt fits: the largest central crop whose ratio is allowed.
    central_w, central_h = width, height
    if width / height < RATIO[0]:
        central_h = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        central_w = round(height * RATIO[1])
    w, h = torch.where(found, w, central_w), torch.where(found, h, central_h)
    # A float32 times the number of positions can round up to that number: the minimum keeps it inside.
    top = torch.minimum((uniform(0, 1) * (height - h + 1)).long(), height - h)
    left = torch.minimum((uniform(0, 1) * (width - w + 1)).long(), width - w)
    top = torch.where(found, top, (height - central_h) // 2)
    left = torch.where(found, left, (width - central_w) // 2)
    return torch.stack([top, left, h, w], dim=1)
