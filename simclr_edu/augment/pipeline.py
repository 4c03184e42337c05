"""The whole augmentation as a module: draw the parameters, then apply them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simclr_edu._checks import (
    check_flag,
    check_fraction,
    check_generator,
    check_int,
    check_number,
    check_pixels,
    check_sequence,
    enough_memory,
)
from simclr_edu._settings import check_default_dtype, check_precision, plain_settings
from simclr_edu.augment.operations import check_boxes, exact
from simclr_edu.augment.parameters import (
    BLUR_PROBABILITY,
    BLUR_SIGMA,
    GRAYSCALE_PROBABILITY,
    JITTER_PROBABILITY,
    AugmentParameters,
    blur_kernel_size,
    draw_boxes,
)
from simclr_edu.augment.pieces import make_views
from simclr_edu.device import check_device


class SimCLRAugment(nn.Module):
    """SimCLR's augmentation for a batch, every random choice drawn per image.

    The defaults are the CIFAR-10 recipe (strength 0.5, no blur; appendix B.9); ImageNet's is
    ``SimCLRAugment(224, strength=1.0, blur=True)``. Colour operations equal torchvision's on float
    images, crop and blur too, to about 1e-5.

    Args:
        size: side of the views in pixels.
        strength: s, colour jitter uses (0.8 s, 0.8 s, 0.8 s, 0.2 s) for brightness, contrast,
            saturation, hue. From 0 to 2.5.
        blur: blur half of the views, sigma uniform from 0.1 to 2 pixels, kernel 10% of the side.
        crop_scale: smallest and largest area of the crop as a fraction of the image.
        crop: False resizes the whole image instead of a random crop.
        color: False switches off jitter and grayscale.
        flip: False switches off the flip.
        grayscale: probability of turning a view gray.
        mean: per channel (or one number), subtracted from the views. None, the default, leaves the
            views in [0, 1]: this package's encoders normalise by themselves.
        std: per channel (or one number), the views are divided by it. Goes with ``mean``.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        size: int,
        strength: float = 0.5,
        blur: bool = False,
        crop_scale: tuple[float, float] = (0.08, 1.0),
        crop: bool = True,
        color: bool = True,
        flip: bool = True,
        grayscale: float = GRAYSCALE_PROBABILITY,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
    ) -> None:
        super().__init__()
        self.size = check_int(size, "size", 1)
        self.strength = check_strength(strength)
        self.blur, self.crop = check_flag(blur, "blur"), check_flag(crop, "crop")
        self.color, self.flip = check_flag(color, "color"), check_flag(flip, "flip")
        self.crop_scale = _check_scale(crop_scale)
        self.grayscale = check_fraction(grayscale, "grayscale")
        self.kernel_size = blur_kernel_size(self.size)
        if (mean is None) != (std is None):
            raise ValueError(f"mean and std go together, got mean={mean} and std={std}")
        self.mean, self.std = _check_channel_values(mean, "mean"), _check_channel_values(std, "std")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std must be greater than 0, got {std}")

    def extra_repr(self) -> str:
        """Name the settings in ``print(augment)``."""
        return (
            f"size={self.size}, strength={self.strength}, blur={self.blur}, crop_scale={self.crop_scale}, "
            f"crop={self.crop}, color={self.color}, flip={self.flip}, grayscale={self.grayscale}"
        )

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return one random view of each image.

        Args:
            x: (B, C, H, W) uint8, or float in [0, 1]; C is 3, or 1 with ``color=False``.
            generator: source of every random choice; None takes torch's global CPU generator. The same
                generator state gives the same views on every device.

        Returns:
            (B, C, size, size) float32 on the device of ``x``, contiguous.

        Raises:
            TypeError: ``x`` is not a tensor of images.
            ValueError: ``x`` has the wrong shape or, on the CPU, values outside [0, 1] or NaN; or torch is
                set to another default dtype than float32 or, on the CPU, to products in less than float32.
        """
        return self._views(x, 1, generator)

    def two_views(
        self, x: Tensor, generator: torch.Generator | None = None, part: tuple[int, int] = (0, 1)
    ) -> tuple[Tensor, Tensor]:
        """Return two independent random views of each image, each as :meth:`forward` returns one.

        Args:
            x: as for :meth:`forward`.
            generator: as for :meth:`forward`.
            part: (k, K) if ``x`` is the k-th, from 0, of K equal parts of a batch. The choices are then drawn
                for the whole batch and the own ones kept: K processes with generators in the same state make
                the views that one process makes of the whole batch.

        Returns:
            First and second views, each (B, C, size, size).

        Raises:
            TypeError, ValueError: as :meth:`forward`, or ``part`` is out of range.
        """
        first, second = self._views(x, 2, generator, part).chunk(2)
        return first, second

    @plain_settings()
    def _views(
        self, x: Tensor, views: int, generator: torch.Generator | None, part: tuple[int, int] = (0, 1)
    ) -> Tensor:
        self._check_input(x)
        check_generator(generator)
        if len(check_sequence(part, "part", "a pair (k, K)")) != 2:
            raise ValueError(f"part must be a pair (k, K), got {len(part)} values")
        k, parts = check_int(part[0], "part[0]", 0), check_int(part[1], "part[1]", 1)
        if k >= parts:
            raise ValueError(f"part must be (k, K) with k from 0 to K - 1, got {part}")
        # Drawn on the CPU even for images on a GPU: a few thousand numbers, the same views on every
        # device, and the split into groups needs no wait for the GPU.
        device = "cpu" if generator is None else generator.device
        n = len(x)
        parameters = self.draw(views * parts * n, x.shape[2], x.shape[3], generator, device)
        if parts > 1:  # rows (view, part, image) of the whole batch: this part's images in every view
            rows = torch.arange(views * parts * n, device=device).view(views, parts, n)[:, k].flatten()
            parameters = parameters[rows]
        return self._make_views(x, parameters)

    @plain_settings()
    def draw(
        self,
        batch: int,
        height: int,
        width: int,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> AugmentParameters:
        """Draw the parameters of ``batch`` views of images of ``height`` x ``width`` pixels.

        Args:
            batch: number of views V.
            height: of the input images, in pixels.
            width: of the input images, in pixels.
            generator: source of the numbers; None takes torch's global CPU generator.
            device: where the parameters go; the numbers are drawn on the generator's device.

        Returns:
            The parameters, one row per view.

        Raises:
            TypeError, ValueError: a number, the generator or the device does not fit.
        """
        check_generator(generator)
        device = check_device(device)
        check_default_dtype("the augmentation")
        batch = check_int(batch, "batch", 1)
        height, width = check_int(height, "height", 1), check_int(width, "width", 1)
        source = torch.device("cpu") if generator is None else generator.device

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.rand(batch, *shape, generator=generator, device=source) * (high - low) + low

        def chance(probability: float) -> Tensor:
            return torch.rand(batch, generator=generator, device=source) < probability

        # The same numbers are drawn whatever is switched off, so that two settings can be compared
        # view by view under one seed.
        s = self.strength
        low, high = max(0.0, 1 - 0.8 * s), 1 + 0.8 * s
        boxes = draw_boxes(uniform, height, width, self.crop_scale)
        if not self.crop:
            boxes = torch.tensor([0, 0, height, width], device=source).repeat(batch, 1)
        return AugmentParameters(
            boxes=boxes,
            flip=chance(0.5 * self.flip),
            jitter=chance(JITTER_PROBABILITY * self.color),
            brightness=uniform(low, high),
            contrast=uniform(low, high),
            saturation=uniform(low, high),
            hue=uniform(-0.2 * s, 0.2 * s),
            order=uniform(0, 1, 4).argsort(dim=1),
            grayscale=chance(self.grayscale * self.color),
            blur=chance(BLUR_PROBABILITY * self.blur),
            sigma=uniform(*BLUR_SIGMA),
        ).to(device)

    @plain_settings()
    def apply(  # type: ignore[override]  # nn.Module.apply(fn) is something else, and still works
        self, x: Tensor, parameters: AugmentParameters | None = None
    ) -> Tensor:
        """Make the views that ``parameters`` describe; nothing here is random.

        Args:
            x: (B, C, H, W) uint8, or float in [0, 1].
            parameters: of V views, where V is B or a multiple of it; view v is made from image v mod B.

        Returns:
            (V, C, size, size) float32 on the device of ``x``, contiguous.

        Raises:
            TypeError: an argument is of the wrong kind.
            ValueError: ``x`` or the number of views does not fit, or a box reaches outside the image.
        """
        if parameters is None and not isinstance(x, Tensor) and callable(x):
            return super().apply(x)  # nn.Module.apply(fn), which containers call on their children
        self._check_input(x)
        if not isinstance(parameters, AugmentParameters):
            raise TypeError(f"parameters must be AugmentParameters, got {type(parameters).__name__}")
        if len(parameters) == 0 or len(parameters) % len(x):
            raise ValueError(f"parameters must describe a multiple of {len(x)} views, got {len(parameters)}")
        parameters.check_values()
        check_boxes(parameters.boxes, x, len(parameters))
        return self._make_views(x, parameters)

    def _check_input(self, x: Tensor) -> None:
        # Values only on the CPU: on a GPU, looking at them would make every call wait for it.
        check_pixels(x, "x", channels=3 if self.color else None)
        if x.shape[1] not in (1, 3):
            raise ValueError(f"x must have 1 or 3 channels, got shape {tuple(x.shape)}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, x.shape[1]):
                raise ValueError(f"{name} has {len(values)} values, but x has {x.shape[1]} channels")
        check_default_dtype("the augmentation")
        check_precision(x.device, "the augmentation")

    @torch.no_grad()
    def _make_views(self, x: Tensor, parameters: AugmentParameters) -> Tensor:
        with exact(x), enough_memory(f"{len(parameters)} views of {self.size} x {self.size} pixels"):
            out = make_views(x, parameters, self.size, self.kernel_size)
        if self.mean is not None and self.std is not None:
            out.sub_(out.new_tensor(self.mean)[:, None, None]).div_(out.new_tensor(self.std)[:, None, None])
        return out


def check_strength(value: object) -> float:
    """Return a strength of the colour jitter as a float, or refuse it."""
    return check_number(value, "strength", 0, 2.5)  # 0.2 * 2.5 turns is half the colour circle


def _check_scale(value: Sequence[float]) -> tuple[float, float]:
    if len(check_sequence(value, "crop_scale", "two numbers (smallest, largest area)")) != 2:
        raise ValueError(f"crop_scale must be two numbers (smallest, largest area), got {value!r}")
    low, high = check_fraction(value[0], "crop_scale[0]"), check_fraction(value[1], "crop_scale[1]")
    if not 0 < low <= high:
        raise ValueError(f"crop_scale must be 0 < smallest <= largest <= 1, got {tuple(value)}")
    return low, high


def _check_channel_values(value: Sequence[float] | float | None, name: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    if isinstance(value, Tensor) and value.ndim == 1 and not value.is_meta:
        value = value.tolist()
    values = value if isinstance(value, list | tuple) else (value,)
    if len(values) not in (1, 3):
        raise ValueError(f"{name} must be a number or one number per channel, 1 or 3, got {len(values)}")
    return tuple(check_number(v, name) for v in values)
