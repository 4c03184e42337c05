"""The explorer of notebook 01."""

from collections.abc import Callable

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from simclr_edu._checks import check_callable, check_images, check_int, check_tensor
from simclr_edu.course import figures
from simclr_edu.course.explorers.base import Explorer, make_slider


def augmentation_explorer(
    image: Tensor,
    seed: int = 0,
    augment_factory: Callable[..., Callable[..., Tensor]] | None = None,
    views: int = 7,
) -> Explorer:
    """Move the strengths of the augmentation and see views of one picture.

    The random choices stay as they are while a strength moves, so one sees what that strength does; the
    slider ``draw`` rolls the dice anew. Static twin: ``plots.image_grid``.

    Args:
        image: one picture, uint8 ``(3, H, W)``.
        seed: of the first draw.
        augment_factory: makes the augmentation; called with ``size``, ``strength``, ``blur``,
            ``crop_scale`` and ``grayscale``, it returns a callable ``(images, generator=...)``. The
            default is ``simclr_edu.augment.SimCLRAugment``.
        views: number of views, 1 to 15.

    Raises:
        TypeError, ValueError: not one uint8 picture, or a number out of range.
    """
    picture = check_tensor(image, "image")
    if picture.ndim != 3:
        raise ValueError(f"image must be one picture of shape (3, H, W), got shape {tuple(picture.shape)}")
    if picture.dtype != torch.uint8:
        raise TypeError(f"image must be uint8 (0 to 255), got {picture.dtype}")
    check_images(picture[None], "image")
    count = check_int(views, "views", 1, 15)
    first = check_int(seed, "seed", 0, 2**31 - 100)  # what a slider holds, with 99 after it
    if augment_factory is None:
        from simclr_edu.augment import SimCLRAugment

        augment_factory = SimCLRAugment
    factory, side = check_callable(augment_factory, "augment_factory"), int(picture.shape[1])
    batch = picture[None].expand(count, -1, -1, -1)  # (views, 3, H, W)
    names = ["original", *(f"view {k + 1}" for k in range(count))]

    def figure(strength: float, crop_minimum: float, grayscale: float, blur: bool, draw: int) -> Figure:
        augment = factory(
            size=side, strength=strength, blur=blur, crop_scale=(crop_minimum, 1.0), grayscale=grayscale
        )
        made = augment(batch, generator=torch.Generator().manual_seed(draw))  # (views, 3, side, side)
        original = picture[None].float() / 255
        if original.shape != made[:1].shape:  # the views are square
            original = torch.nn.functional.interpolate(original, made.shape[2:], mode="area")
        return figures.image_grid(
            torch.cat([original, made.cpu()]),
            names,
            columns=4,
            title=f"{count} views: strength {strength:g}, crops from {100 * crop_minimum:g}% of the area",
        )

    sliders = {
        "strength": make_slider(
            ipywidgets.FloatSlider, "jitter strength", min=0, max=1.5, step=0.05, value=0.5
        ),
        "crop_minimum": make_slider(
            ipywidgets.FloatSlider, "smallest crop", min=0.02, max=1, step=0.02, value=0.08
        ),
        "grayscale": make_slider(
            ipywidgets.FloatSlider, "grayscale chance", min=0, max=1, step=0.05, value=0.2
        ),
        "blur": make_slider(ipywidgets.Checkbox, "blur half of them", value=False),
        "draw": make_slider(ipywidgets.IntSlider, "new draw (seed)", min=first, max=first + 99, value=first),
    }
    return Explorer(sliders, figure)
