"""Crop, resize and blur of batches: each new pixel is a weighted sum of a few old ones, rows then columns."""

import math

import torch
from torch import Tensor, nn

# Up to this side, columns are mixed by a matrix product, which then beats two transposes.
_PRODUCT_SIDE = 64


def resize_taps(
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


def gaussian_kernels(sigma: Tensor, kernel_size: int) -> Tensor:
    """Return the Gaussian kernel of each sigma (V,): (V, kernel_size), adding up to 1.

    Weights below a ten-millionth of the largest are 0: they change nothing in float32, and where they are
    denormal numbers, they slow a product down 50-fold.
    """
    half = kernel_size // 2
    offset = torch.arange(-half, half + 1, device=sigma.device)
    kernels = torch.exp(-0.5 * (offset / sigma[:, None]).square())
    kernels.masked_fill_(kernels < 1e-7, 0)
    return kernels / kernels.sum(dim=1, keepdim=True)


def crop_and_resize(x: Tensor, boxes: Tensor, flip: Tensor, size: int) -> Tensor:
    """Return the boxes (V, 4) of (V, C, H, W) as (V, C, size, size) floats in [0, 1] but for rounding."""
    top, left, box_height, box_width = boxes.unbind(1)
    rows, shares_y = resize_taps(top, box_height, x.shape[2], size)
    columns, shares_x = resize_taps(left, box_width, x.shape[3], size, flip)
    if x.dtype == torch.uint8:
        shares_y /= 255
    x = x.float().contiguous()
    return _mix_columns(_mix_rows(x, rows, shares_y), columns, shares_x)


def gaussian_blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Return (V, C, H, W), contiguous, each blurred by its sigma (V,); the border is reflected."""
    kernels = gaussian_kernels(sigma, kernel_size)
    x = _mix_rows(x, *_blur_taps(kernels, x.shape[2]))
    return _mix_columns(x, *_blur_taps(kernels, x.shape[3]))


def _blur_taps(kernels: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the pixels around each pixel, reflected at the border, and their weights: (V, side, K)."""
    half = kernels.shape[1] // 2
    offset = torch.arange(-half, half + 1, device=kernels.device)
    pixel = (torch.arange(side, device=kernels.device)[:, None] + offset).abs()
    pixel = side - 1 - (side - 1 - pixel).abs()  # (side, K)
    return pixel.expand(len(kernels), -1, -1), kernels[:, None].expand(-1, side, -1)


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
