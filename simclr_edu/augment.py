"""The two views: SimCLR's random augmentation, for a whole batch at once.

Chen et al. 2020 (arXiv 2002.05709), section 3 and appendix A. The steps, in this order: random
resized crop, horizontal flip, colour jitter with its four operations in random order, grayscale, and
(for large images) Gaussian blur. Every image draws its own parameters.

The module keeps two things apart. ``SimCLRAugment.draw`` rolls the dice and returns plain tensors;
``SimCLRAugment.apply`` is deterministic and turns images into views by those parameters. Each
operation is also a public function with one parameter per image, equal to the function of the same
name in ``torchvision.transforms.v2.functional`` called image by image on float images.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor, nn

from simclr_edu._checks import check_fraction, check_images, check_int, check_tensor

# The luma weights of ITU-R 601-2, as torchvision and Pillow round them. They add up to 0.9999.
_LUMA = (0.2989, 0.587, 0.114)
_RATIO = (3 / 4, 4 / 3)
_CROP_ATTEMPTS = 10
_JITTER_PROBABILITY = 0.8
_BLUR_PROBABILITY = 0.5
_BLUR_SIGMA = (0.1, 2.0)
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)
# Up to this side, columns are mixed by a matrix product, which then beats two transposes.
_PRODUCT_SIDE = 64
# Above it, on a CPU, so many new rows or columns at a time are mixed by a small product.
_BAND = 32
# Images are worked on in pieces of about this many floats, so that a piece stays in the cache.
_PIECE = 1 << 20


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
        sigma: (V,) float32, standard deviation of the blur in pixels of the view.
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

    def __len__(self) -> int:
        """Return the number of views V."""
        return len(self.boxes)

    def __getitem__(self, index: Tensor | slice) -> "AugmentParameters":
        """Return the parameters of the views that ``index`` selects."""
        return AugmentParameters(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def to(self, device: torch.device | str) -> "AugmentParameters":
        """Return a copy on ``device``."""
        return AugmentParameters(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


# --- one operation at a time -------------------------------------------------------------------------


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
    check_images(x, "x", channels=None)
    size = check_int(size, "size", 1)
    _check_boxes(boxes, x)
    if flip is None:
        flip = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    _check_per_image(flip, "flip", x, torch.bool)
    with _exact(x):
        return _crop_and_resize(x, boxes, flip, size)


def horizontal_flip(x: Tensor, flip: Tensor) -> Tensor:
    """Mirror left and right the images (B, C, H, W) where ``flip`` (B,) bool is True; any dtype."""
    check_images(x, "x", channels=None)
    _check_per_image(flip, "flip", x, torch.bool)
    return torch.where(flip[:, None, None, None], x.flip(-1), x)


def adjust_brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply each image by its factor, then clamp to [0, 1].

    Args:
        x: (B, 3, H, W) uint8 or float in [0, 1].
        factor: (B,) floats, at least 0; 1 changes nothing.

    Returns:
        (B, 3, H, W) float32 in [0, 1].

    Raises:
        TypeError: an argument is not a tensor of the right kind.
        ValueError: shapes do not fit, or a factor is negative or not finite.
    """
    return _adjust(x, factor, _BRIGHTNESS)


def adjust_contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its own mean gray: ``factor * x + (1 - factor) * mean``, clamped to [0, 1].

    Arguments, result and errors as for :func:`adjust_brightness`; 0 gives a flat gray image.
    """
    return _adjust(x, factor, _CONTRAST)


def adjust_saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its gray version: ``factor * x + (1 - factor) * gray``, clamped to [0, 1].

    Arguments, result and errors as for :func:`adjust_brightness`; 0 gives a gray image.
    """
    return _adjust(x, factor, _SATURATION)


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
    check_images(x, "x")
    _check_per_image(factor, "factor", x, None, -0.5, 0.5)
    with _exact(x):
        out = _as_float(x, copy=True)
        _shift_hue(out, factor.float())
    return out


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
    check_images(x, "x")
    with _exact(x):
        return _luma(_as_float(x)).unsqueeze(1).repeat(1, 3, 1, 1)


def gaussian_blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur each image with its own Gaussian; the border is reflected.

    Args:
        x: (B, C, H, W) uint8 or float in [0, 1].
        sigma: (B,) floats greater than 0, in pixels.
        kernel_size: odd number of pixels; half of it must be smaller than the image's side.

    Returns:
        (B, C, H, W) float32 in [0, 1].

    Raises:
        TypeError: an argument is not a tensor of the right kind.
        ValueError: shapes do not fit, sigma is not positive, or the kernel is even or too large.
    """
    check_images(x, "x", channels=None)
    kernel_size = check_int(kernel_size, "kernel_size", 1)
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd, got {kernel_size}")
    if kernel_size // 2 >= min(x.shape[2:]):
        raise ValueError(f"kernel_size {kernel_size} is too large for images of shape {tuple(x.shape)}")
    _check_per_image(sigma, "sigma", x, None, torch.finfo(torch.float32).tiny)
    with _exact(x):
        return _gaussian_blur(_as_float(x), sigma.float(), kernel_size)


# --- all of them together ----------------------------------------------------------------------------


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
        grayscale: float = 0.2,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
    ) -> None:
        super().__init__()
        self.size = check_int(size, "size", 1)
        self.strength = _check_strength(strength)
        self.blur, self.crop, self.color, self.flip = bool(blur), bool(crop), bool(color), bool(flip)
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
            ValueError: ``x`` has the wrong shape or, on the CPU, values outside [0, 1] or NaN.
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

    def _views(
        self, x: Tensor, views: int, generator: torch.Generator | None, part: tuple[int, int] = (0, 1)
    ) -> Tensor:
        self._check_input(x)
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
        """
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
        boxes = _draw_boxes(uniform, height, width, self.crop_scale)
        if not self.crop:
            boxes = torch.tensor([0, 0, height, width], device=source).repeat(batch, 1)
        return AugmentParameters(
            boxes=boxes,
            flip=chance(0.5 * self.flip),
            jitter=chance(_JITTER_PROBABILITY * self.color),
            brightness=uniform(low, high),
            contrast=uniform(low, high),
            saturation=uniform(low, high),
            hue=uniform(-0.2 * s, 0.2 * s),
            order=uniform(0, 1, 4).argsort(dim=1),
            grayscale=chance(self.grayscale * self.color),
            blur=chance(_BLUR_PROBABILITY * self.blur),
            sigma=uniform(*_BLUR_SIGMA),
        ).to(device)

    def apply(self, x: Tensor, parameters: AugmentParameters | None = None) -> Tensor:  # type: ignore[override]
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
        _check_boxes(parameters.boxes, x, len(parameters))
        return self._make_views(x, parameters)

    def _check_input(self, x: Tensor) -> None:
        check_images(x, "x", channels=3 if self.color else None)
        if x.shape[1] not in (1, 3):
            raise ValueError(f"x must have 1 or 3 channels, got shape {tuple(x.shape)}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, x.shape[1]):
                raise ValueError(f"{name} has {len(values)} values, but x has {x.shape[1]} channels")
        _check_unit_range(x)

    @torch.no_grad()
    def _make_views(self, x: Tensor, parameters: AugmentParameters) -> Tensor:
        n_images, channels, height, width = x.shape
        # Sorted by where hue comes in the order of operations, views that need the same step lie side
        # by side (see _jitter), and the steps work on slices.
        p = parameters
        group = torch.where(p.jitter, (p.order == _HUE).int().argmax(1) + 1, 0)
        group, index = group.sort(stable=True)
        p = p[index]
        edges = [0, *torch.bincount(group, minlength=5).cumsum(0).tolist()]
        grays, blurs = p.grayscale.tolist(), p.blur.tolist()
        p, index = p.to(x.device), index.to(x.device)

        out = torch.empty(len(p), channels, self.size, self.size, device=x.device)
        step = max(1, _PIECE // (channels * max(height * width, self.size**2)))
        blur = partial(_gaussian_blur, kernel_size=self.kernel_size)
        with _exact(x):
            for start in range(0, len(p), step):
                piece = slice(start, min(start + step, len(p)))
                here, part = index[piece], p[piece]
                views = _crop_and_resize(x.index_select(0, here % n_images), part.boxes, part.flip, self.size)
                local = [min(max(e - start, 0), len(views)) for e in edges]
                _jitter(views, part, local)
                _to_subset(views, grays[piece], _gray3)
                _to_subset(views, blurs[piece], blur, part.sigma)
                if _block(views, self.size):
                    for i, view in zip(here.tolist(), views, strict=True):
                        out[i] = view
                else:
                    out.index_copy_(0, here, views)
        if self.mean is not None and self.std is not None:
            out.sub_(out.new_tensor(self.mean)[:, None, None]).div_(out.new_tensor(self.std)[:, None, None])
        return out


def torchvision_pipeline(size: int, strength: float = 0.5, blur: bool = False) -> Callable[[object], Tensor]:
    """Return the textbook pipeline: torchvision transforms composed, one image at a time.

    Args:
        size: side of the view in pixels.
        strength: s of the colour jitter, as in :class:`SimCLRAugment`.
        blur: as in :class:`SimCLRAugment`.

    Returns:
        A callable from one PIL image or uint8 tensor (3, H, W) to a float32 tensor (3, size, size)
        in [0, 1], random on torch's global generator.
    """
    from torchvision.transforms import v2

    size = check_int(size, "size", 1)
    s = _check_strength(strength)
    steps: list[nn.Module] = [
        v2.RandomResizedCrop(size, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)], p=_JITTER_PROBABILITY),
        v2.RandomGrayscale(p=0.2),
    ]
    if blur:
        steps.append(
            v2.RandomApply([v2.GaussianBlur(blur_kernel_size(size), _BLUR_SIGMA)], p=_BLUR_PROBABILITY)
        )
    return v2.Compose([*steps, v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


def blur_kernel_size(size: int) -> int:
    """Return the blur kernel for images of ``size`` pixels: a tenth of the side, made odd."""
    return int(0.1 * check_int(size, "size", 1)) | 1


# --- drawing -----------------------------------------------------------------------------------------


def _draw_boxes(
    uniform: Callable[..., Tensor], height: int, width: int, scale: tuple[float, float]
) -> Tensor:
    """Draw (V, 4) crop boxes as torchvision's RandomResizedCrop does, all attempts of all views at once."""
    area = height * width * uniform(*scale, _CROP_ATTEMPTS)  # (V, attempts)
    ratio = uniform(math.log(_RATIO[0]), math.log(_RATIO[1]), _CROP_ATTEMPTS).exp()
    w = (area * ratio).sqrt().round().long()
    h = (area / ratio).sqrt().round().long()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(dim=1, keepdim=True)  # (V, 1)
    found = fits.gather(1, first).squeeze(1)
    w, h = w.gather(1, first).squeeze(1), h.gather(1, first).squeeze(1)

    # No attempt fits: the largest central crop whose ratio is allowed.
    central_w, central_h = width, height
    if width / height < _RATIO[0]:
        central_h = round(width / _RATIO[0])
    elif width / height > _RATIO[1]:
        central_w = round(height * _RATIO[1])
    w, h = torch.where(found, w, central_w), torch.where(found, h, central_h)
    # A float32 times the number of positions can round up to that number: the minimum keeps it inside.
    top = torch.minimum((uniform(0, 1) * (height - h + 1)).long(), height - h)
    left = torch.minimum((uniform(0, 1) * (width - w + 1)).long(), width - w)
    top = torch.where(found, top, (height - central_h) // 2)
    left = torch.where(found, left, (width - central_w) // 2)
    return torch.stack([top, left, h, w], dim=1)


# --- applying ----------------------------------------------------------------------------------------


def _exact(x: Tensor) -> torch.autocast:
    """Return a context in which products stay in float32 even inside the caller's autocast."""
    return torch.autocast(x.device.type, enabled=False)


def _as_float(x: Tensor, copy: bool = False) -> Tensor:
    """Return contiguous float32 images in [0, 1], a new tensor if ``copy``."""
    if x.dtype == torch.uint8:
        return x.float().div_(255).contiguous()
    return x.to(torch.float32, copy=copy).contiguous()


def _resize_taps(
    start: Tensor, length: Tensor, n_in: int, n_out: int, mirror: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return which input pixels make each output pixel, and their shares: two (V, n_out, K) tensors.

    The shares are a triangle around the output pixel's centre, as wide as two input pixels when
    enlarging and two output pixels when shrinking (that is the antialiasing), cut off at the box
    and scaled to add up to 1.
    """
    device = start.device
    scale = length.float() / n_out  # (V,) input pixels per output pixel
    position = torch.arange(n_out, device=device) + 0.5  # (n_out,)
    if mirror is not None:
        position = torch.where(mirror[:, None], n_out - position, position)  # (V, n_out)
    centre = scale[:, None] * position  # (V, n_out), in input pixels from the box's edge
    reach = scale.clamp(min=1)[:, None]  # (V, 1), half the triangle's width
    taps = math.ceil(2 * max(1.0, n_in / n_out))
    first = (centre - reach - 0.5).ceil_()
    pixel = first[:, :, None] + torch.arange(taps, device=device)  # (V, n_out, K), whole numbers as floats
    weights = (reach[:, :, None] - (pixel + 0.5 - centre[:, :, None]).abs_()).clamp_(min=0)
    last = (length.float() - 1)[:, None, None]
    inside = torch.minimum(pixel.clamp(min=0), last)
    weights.masked_fill_(inside != pixel, 0)
    weights /= weights.sum(dim=2, keepdim=True)
    return inside.add_(start[:, None, None]).long(), weights


def _gaussian(offset: Tensor, sigma: Tensor) -> Tensor:
    """Return the Gaussian of each sigma (V,) at the offsets (K,), 1 at its centre: (V, K)."""
    return torch.exp(-0.5 * (offset / sigma[:, None]).square())


def _blur_taps(sigma: Tensor, kernel_size: int, side: int) -> tuple[Tensor, Tensor]:
    """Return the pixels around each pixel, reflected at the border, and their Gaussian weights."""
    half = kernel_size // 2
    offset = torch.arange(-half, half + 1, device=sigma.device)
    kernel = _gaussian(offset, sigma)
    kernel /= kernel.sum(dim=1, keepdim=True)  # (V, K)
    pixel = (torch.arange(side, device=sigma.device)[:, None] + offset).abs()
    pixel = side - 1 - (side - 1 - pixel).abs()  # (side, K)
    return pixel.expand(len(sigma), -1, -1), kernel[:, None].expand(-1, side, -1)


def _use_products(x: Tensor) -> bool:
    """Say whether to mix pixels by dense matrix products, the quickest way on a GPU."""
    return x.device.type != "cpu"


def _mixing_matrix(pixels: Tensor, weights: Tensor, n_in: int) -> Tensor:
    """Return (V, n_out, n_in): the weights of the taps (V, n_out, K), at their places, else 0."""
    matrix = weights.new_zeros(*pixels.shape[:2], n_in)
    return matrix.scatter_add_(2, pixels, weights)


def _mix_rows(x: Tensor, pixels: Tensor, weights: Tensor) -> Tensor:
    """Make row i of each (V, C, H, W) image from the rows ``pixels[:, i]``, weighted and added."""
    n, channels, height, width = x.shape
    if _use_products(x):
        return _mixing_matrix(pixels, weights, height)[:, None] @ x
    # An embedding bag is just this: pick rows of a table, weight and add them, without ever
    # storing what was picked.
    n_out, taps = pixels.shape[1:]
    offset = torch.arange(0, n * channels * height, height).view(n, channels, 1, 1)
    rows = (pixels[:, None] + offset).view(-1, taps)
    shares = weights[:, None].expand(-1, channels, -1, -1).reshape(-1, taps)
    out = nn.functional.embedding_bag(rows, x.view(-1, width), mode="sum", per_sample_weights=shares)
    return out.view(n, channels, n_out, width)


def _mix_columns(x: Tensor, pixels: Tensor, weights: Tensor) -> Tensor:
    """Make column j of each (V, C, H, W) image from the columns ``pixels[:, j]``, weighted and added."""
    n, channels, height, width = x.shape
    if width > _PRODUCT_SIDE and not _use_products(x):
        return _mix_rows(x.transpose(2, 3).contiguous(), pixels, weights).transpose(2, 3).contiguous()
    matrix = _mixing_matrix(pixels, weights, width)  # (V, n_out, W)
    rows = torch.bmm(x.view(n, channels * height, width), matrix.transpose(1, 2))
    return rows.view(n, channels, height, -1)


def _block(x: Tensor, side: int) -> int:
    """Return in how many pixels at a time a side is mixed by banded products, 0 if not by them."""
    if _use_products(x) or side <= _PRODUCT_SIDE:
        return 0
    block = max(b for b in range(1, _BAND + 1) if side % b == 0)
    return block if block >= _BAND // 4 else 0


def _mix_bands(
    x: Tensor, rows: Tensor, row_step: int, columns: Tensor, column_step: int, out: Tensor
) -> None:
    """Mix rows, then columns, of one image (C, H, W) into ``out`` (C, height, width).

    A new pixel needs only old ones nearby. So block b of the new rows is a small dense product of
    ``rows[b]`` (block, K) with the K old rows from ``b * row_step`` on, and so for the columns: most of
    a dense product's zeros are left out, and nothing is transposed.
    """
    channels, height, width = out.shape
    middle = x.new_empty(channels, height, x.shape[2])
    for old, new in zip(x, middle, strict=True):
        window = old.as_strided(
            (len(rows), rows.shape[2], x.shape[2]), (row_step * x.shape[2], x.shape[2], 1)
        )
        torch.bmm(rows, window, out=new.view(len(rows), -1, x.shape[2]))
    window = middle.as_strided(
        (len(columns), channels * height, columns.shape[2]), (column_step, x.shape[2], 1)
    )
    blocks = out.view(channels * height, len(columns), -1).permute(1, 0, 2)
    torch.bmm(window, columns.transpose(1, 2), out=blocks)


def _resize_bands(length: Tensor, n_in: int, n_out: int, block: int) -> tuple[Tensor, list[int], list[int]]:
    """Return the shares (V, blocks, block, K) for :func:`_mix_bands`, each view's step and its own K.

    Pixel 0 of a box is number 2 of its window, as the first triangle may reach over the edge.
    """
    pixels, weights = _resize_taps(torch.zeros_like(length), length, n_in, n_out)
    step = length * block // n_out
    first = step[:, None] * (torch.arange(n_out) // block)
    pixels += 2 - first[:, :, None]
    taps = pixels.amax(dim=(1, 2)) + 1
    bands = weights.new_zeros(len(length), n_out, int(taps.max())).scatter_add_(2, pixels, weights)
    return bands.view(len(length), n_out // block, block, -1), step.tolist(), taps.tolist()


def _crop_and_resize_in_bands(x: Tensor, boxes: Tensor, flip: Tensor, size: int, block: int) -> Tensor:
    rows, row_steps, row_taps = _resize_bands(boxes[:, 2], x.shape[2], size, block)
    columns, column_steps, column_taps = _resize_bands(boxes[:, 3], x.shape[3], size, block)
    if x.dtype == torch.uint8:
        rows /= 255
    out = torch.empty(len(x), x.shape[1], size, size)
    last = size // block - 1
    for v, ((top, left, height, width), mirror) in enumerate(zip(boxes.tolist(), flip.tolist(), strict=True)):
        crop = x[v, :, top : top + height, left : left + width]
        # Room for windows that reach over the edge, where their shares are 0.
        tall = max(height + 2, row_steps[v] * last + row_taps[v])
        wide = max(width + 2, column_steps[v] * last + column_taps[v])
        room = torch.zeros(x.shape[1], tall, wide)
        room[:, 2 : height + 2, 2 : width + 2] = crop
        row, column = rows[v, ..., : row_taps[v]], columns[v, ..., : column_taps[v]]
        _mix_bands(room, row, row_steps[v], column, column_steps[v], out[v])
        if mirror:
            out[v] = out[v].flip(-1)
    return out.clamp_(0, 1)


def _gaussian_blur_in_bands(x: Tensor, sigma: Tensor, kernel_size: int, blocks: tuple[int, int]) -> Tensor:
    half = kernel_size // 2
    kernels = _gaussian(torch.arange(-half, half + 1), sigma)
    # Far taps of a narrow kernel are denormal numbers, which slow a product down 50-fold for nothing.
    kernels.masked_fill_(kernels < 1e-12, 0)
    kernels /= kernels.sum(dim=1, keepdim=True)
    out = torch.empty_like(x)
    for image, kernel, new in zip(x, kernels, out, strict=True):
        room = nn.functional.pad(image, (half, half, half, half), mode="reflect")
        rows, columns = (_blur_band(kernel, n // b, b) for n, b in zip(x.shape[2:], blocks, strict=True))
        _mix_bands(room, rows, blocks[0], columns, blocks[1], new)
    return out.clamp_(0, 1)


def _blur_band(kernel: Tensor, blocks: int, block: int) -> Tensor:
    """Return (blocks, block, block + taps - 1): the kernel, one pixel further in each row."""
    band = kernel.new_zeros(block, block + len(kernel))  # one too wide: read row by row it shifts
    band[:, : len(kernel)] = kernel
    return band.flatten()[:-block].view(1, block, -1).expand(blocks, -1, -1)


def _crop_and_resize(x: Tensor, boxes: Tensor, flip: Tensor, size: int) -> Tensor:
    if block := _block(x, size):
        return _crop_and_resize_in_bands(x, boxes, flip, size, block)
    top, left, box_height, box_width = boxes.unbind(1)
    rows, shares_y = _resize_taps(top, box_height, x.shape[2], size)
    columns, shares_x = _resize_taps(left, box_width, x.shape[3], size, flip)
    if x.dtype == torch.uint8:
        shares_y /= 255
    x = x.float().contiguous()
    # Shares add up to 1 but for rounding, which the clamp takes away.
    return _mix_columns(_mix_rows(x, rows, shares_y), columns, shares_x).clamp_(0, 1)


def _gaussian_blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    blocks = _block(x, x.shape[2]), _block(x, x.shape[3])
    if min(blocks) > 0:
        return _gaussian_blur_in_bands(x, sigma, kernel_size, blocks)
    x = _mix_rows(x, *_blur_taps(sigma, kernel_size, x.shape[2]))
    return _mix_columns(x, *_blur_taps(sigma, kernel_size, x.shape[3])).clamp_(0, 1)


def _luma(x: Tensor) -> Tensor:
    """Return the gray images (V, H, W) of (V, 3, H, W)."""
    n, _, height, width = x.shape
    weights = x.new_tensor(_LUMA).expand(n, 1, 3)
    return torch.bmm(weights, x.view(n, 3, -1)).view(n, height, width)


def _gray3(x: Tensor) -> Tensor:
    return _luma(x).unsqueeze(1).expand_as(x)


def _jitter(x: Tensor, p: AugmentParameters, edges: list[int]) -> None:
    """Apply the four colour operations in place, each view in its own order.

    The views come sorted: ``x[edges[0]:edges[1]]`` have no jitter, then those with 0, 1, 2 and 3
    operations before hue. So hue is done once, for all; before it, step k concerns the views with
    more than k operations to go; after it, step k those with at most 2 - k done. Each step is a slice,
    in which the views differ only in three coefficients.
    """
    if edges[1] == edges[5]:
        return
    simple = p.order[p.order != _HUE].view(-1, 3)  # (V, 3): the order of the other three
    factors = torch.stack([p.brightness, p.contrast, p.saturation], dim=1).gather(1, simple)  # (V, 3)
    done = (p.order == _HUE).int().argmax(1)  # (V,): how many of the three come before hue
    for k in range(3):
        part = slice(edges[k + 2], edges[5])
        _blend(x[part], factors[part, k], simple[part, k])
    part = slice(edges[1], edges[5])
    _shift_hue(x[part], p.hue[part])
    for k in range(3):
        part = slice(edges[1], edges[4 - k])
        step = (done[part] + k)[:, None]
        _blend(x[part], factors[part].gather(1, step).squeeze(1), simple[part].gather(1, step).squeeze(1))


def _blend(x: Tensor, factor: Tensor, operation: Tensor) -> None:
    """Brightness, contrast or saturation in place: ``factor * x + (1 - factor) * other``, clamped.

    ``other`` is black, the image's mean gray, or each pixel's gray.
    """
    if len(x) == 0:
        return
    gray = _luma(x)  # (V, H, W)
    mean = gray.mean(dim=(1, 2))
    rest = 1 - factor
    to_gray = torch.where(operation == _SATURATION, rest, 0)
    offset = torch.where(operation == _CONTRAST, rest * mean, 0)
    gray.mul_(to_gray[:, None, None]).add_(offset[:, None, None])
    x.mul_(factor[:, None, None, None]).add_(gray[:, None]).clamp_(0, 1)


def _shift_hue(x: Tensor, turns: Tensor) -> None:
    """Turn the hue in place, exactly, without branches, divisions or a round trip through HSV.

    A shift by a third of a turn permutes the channels, so a shift of between -1 and 1 sixth remains.
    Let it be t >= 0. In HSV each channel is a trapezoid of the hue between ``low`` and ``high``, the
    smallest and largest channel, and for trapezoids shifted by t <= 1 this holds on every sixth:

        red' = clamp(red - green + (2 t - 1) blue + (1 - t) (low + high), low, high)

    and the same with the channels rotated; for t < 0 the two other channels change places. So the
    whole turn is one 3 x 3 matrix per image, an offset and a clamp.
    """
    n, _, height, width = x.shape
    sixths = 6 * turns
    thirds = (sixths / 2).round()
    rest = sixths - 2 * thirds  # (V,), -1 to 1
    t = rest.abs()
    one, minus, other = torch.ones_like(t), -torch.ones_like(t), 2 * t - 1
    forward = torch.stack([one, minus, other], dim=1)  # red' from red, green, blue
    backward = torch.stack([one, other, minus], dim=1)
    first = torch.where(rest[:, None] >= 0, forward, backward)  # (V, 3)
    channel = torch.arange(3, device=x.device)
    place = (channel - channel[:, None] + thirds.long()[:, None, None]) % 3  # (V, 3, 3)
    matrix = first[:, None].expand(-1, 3, -1).gather(2, place)

    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)  # (V, 1, H, W)
    offset = (low + high).mul_((1 - t)[:, None, None, None])
    turned = torch.bmm(matrix, x.view(n, 3, -1)).view_as(x).add_(offset)
    torch.clamp(turned, low, high, out=x)


def _to_subset(x: Tensor, chosen: list[bool], function: Callable[..., Tensor], *values: Tensor) -> None:
    """Replace the chosen images, in place, by ``function`` of them and of their ``values``."""
    if any(chosen):
        if _block(x, x.shape[-1]):  # image by image: copies of large slices are quicker than index_copy_
            for i in (i for i, c in enumerate(chosen) if c):
                x[i : i + 1] = function(*(v[i : i + 1] for v in (x, *values)))
            return
        index = torch.tensor([i for i, c in enumerate(chosen) if c], device=x.device)
        picked = (v.index_select(0, index) for v in (x, *values))
        x.index_copy_(0, index, function(*picked))


# --- checks ------------------------------------------------------------------------------------------


def _check_strength(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"strength must be a number from 0 to 2.5, got {type(value).__name__}")
    if not 0 <= value <= 2.5:  # 0.2 * 2.5 turns is half the colour circle
        raise ValueError(f"strength must be from 0 to 2.5, got {value}")
    return float(value)


def _check_scale(value: Sequence[float]) -> tuple[float, float]:
    if not isinstance(value, Sequence) or len(value) != 2:
        raise TypeError(f"crop_scale must be two numbers (smallest, largest area), got {value!r}")
    low, high = check_fraction(value[0], "crop_scale[0]"), check_fraction(value[1], "crop_scale[1]")
    if not 0 < low <= high:
        raise ValueError(f"crop_scale must be 0 < smallest <= largest <= 1, got {tuple(value)}")
    return low, high


def _check_channel_values(value: Sequence[float] | float | None, name: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    values = tuple(value) if isinstance(value, (Sequence, Tensor)) else (value,)
    try:
        values = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number or one number per channel, got {value!r}") from None
    if len(values) not in (1, 3) or not all(math.isfinite(v) for v in values):
        raise ValueError(f"{name} must be 1 or 3 finite numbers, got {value!r}")
    return values


def _check_unit_range(x: Tensor) -> None:
    # Only on the CPU: on a GPU, looking at the values would make every call wait for it.
    if x.is_floating_point() and x.device.type == "cpu":
        low, high = (v.item() for v in torch.aminmax(x))
        if not (low >= -1e-4 and high <= 1 + 1e-4):  # written so that NaN fails
            raise ValueError(f"x of {x.dtype} must lie in [0, 1], got values from {low:g} to {high:g}")


def _check_boxes(boxes: Tensor, x: Tensor, n: int | None = None) -> None:
    check_tensor(boxes, "boxes")
    if boxes.is_floating_point() or boxes.dtype == torch.bool:
        raise TypeError(f"boxes must be integers, got {boxes.dtype}")
    n = len(x) if n is None else n
    if boxes.shape != (n, 4):
        raise ValueError(f"boxes must have shape ({n}, 4), got {tuple(boxes.shape)}")
    height, width = x.shape[2:]
    corner, side = boxes[:, :2], boxes[:, 2:]
    end = corner + side
    if (corner < 0).any() or (side < 1).any() or (end[:, 0] > height).any() or (end[:, 1] > width).any():
        raise ValueError(f"boxes (top, left, height, width) must lie inside the {height} x {width} image")


def _check_per_image(
    value: Tensor, name: str, x: Tensor, dtype: torch.dtype | None, low: float = 0.0, high: float = math.inf
) -> None:
    check_tensor(value, name)
    if value.shape != (len(x),):
        raise ValueError(f"{name} must hold one value per image, shape ({len(x)},), got {tuple(value.shape)}")
    if dtype is torch.bool:
        if value.dtype != torch.bool:
            raise TypeError(f"{name} must be bool, got {value.dtype}")
        return
    if not value.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {value.dtype}")
    if not ((value >= low) & (value <= high) & value.isfinite()).all():
        raise ValueError(f"{name} must be finite and from {low:g} to {high:g}, got {value.tolist()}")


def _adjust(x: Tensor, factor: Tensor, operation: int) -> Tensor:
    check_images(x, "x")
    _check_per_image(factor, "factor", x, None)
    with _exact(x):
        out = _as_float(x, copy=True)
        _blend(out, factor.float(), torch.full(factor.shape, operation, device=x.device))
    return out
