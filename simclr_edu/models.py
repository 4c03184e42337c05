"""The encoder f and the projection head g: images to h to z.

The encoder maps an image to its representation h, which downstream tasks use; the projection head
maps h to z, which only the contrastive loss sees and which is thrown away after pretraining
(Chen et al. 2020, sections 2.1 and 4.2).

Every encoder here takes float images in [0, 1] and centres them itself, so that pretraining, probing
and a notebook's own cell can never disagree about normalisation.
"""

import torch
from torch import Tensor, nn

from simclr_edu._checks import check_choice, check_images, check_int

ENCODERS: tuple[str, ...] = ("tiny", "resnet18", "resnet34", "resnet50")
STEMS: tuple[str, ...] = ("cifar", "imagenet")


class Centre(nn.Module):
    """Map images from [0, 1] to [-2, 2]: ``(x - 0.5) / 0.25``, the same for every data set."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5) * 4.0  # (B, 3, H, W)


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU; BatchNorm brings the bias."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(),
    )


class ResidualBlock(nn.Module):
    """A 3x3 filter for each channel, a 1x1 convolution that mixes channels, and a shortcut.

    Depthwise separable (Howard et al. 2017, arXiv 1704.04861) with the identity shortcut of He et al. 2016:
    an eighth of the multiplications of a full 3x3 convolution. ``(B, C, H, W)`` to the same shape.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.depthwise(x))
        return torch.relu(self.bn2(self.pointwise(y)) + x)


class TinyEncoder(nn.Module):
    """A convolutional network small enough to pretrain in 90 seconds on two CPU cores.

    Images ``(B, 3, H, W)`` in [0, 1] to representations h ``(B, 128)``. Three strided convolutions take 32
    pixels to 16, 8, 4: few channels while the picture is large, where a CPU waits for memory. Then a
    residual block, and a 1x1 convolution that widens the representation: it costs little at this size,
    and a linear probe lives on the width.
    """

    feature_dim = 128

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Centre(),
            _conv(3, 16, 3, stride=2),  # (B, 16, 16, 16) from 32 pixels
            _conv(16, 32, 3, stride=2),  # (B, 32, 8, 8)
            _conv(32, 64, 3, stride=2),  # (B, 64, 4, 4)
            ResidualBlock(64),
            _conv(64, self.feature_dim, 1),  # (B, 128, 4, 4)
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # (B, 128)


class ResNetEncoder(nn.Module):
    """torchvision's ResNet without its classifier, with one of two stems.

    Images ``(B, 3, H, W)`` in [0, 1] to h ``(B, 512)``, or ``(B, 2048)`` for ``resnet50``. The
    ``imagenet`` stem (7x7 stride 2, then max-pool) shrinks a picture four times before the first
    block: right at 224 pixels, ruinous at 32. The ``cifar`` stem (3x3 stride 1, no max-pool) is that of
    Chen et al. 2020, appendix B.9.
    """

    def __init__(self, name: str, stem: str) -> None:
        super().__init__()
        from torchvision import models as torchvision_models

        backbone = getattr(torchvision_models, name)(weights=None)
        self.feature_dim: int = backbone.fc.in_features
        backbone.fc = nn.Identity()
        if stem == "cifar":
            backbone.conv1 = nn.Conv2d(3, 64, 3, 1, padding=1, bias=False)
            backbone.maxpool = nn.Identity()
        self.centre = Centre()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone(self.centre(x))  # (B, feature_dim)


def make_encoder(name: str, stem: str = "cifar") -> nn.Module:
    """Build an encoder with random weights.

    Args:
        name: ``tiny``, ``resnet18``, ``resnet34`` or ``resnet50``.
        stem: ``cifar`` for small images, ``imagenet`` for 224 pixels; ``tiny`` has one stem of its own
            and takes no notice.

    Returns:
        A module that maps float images ``(B, 3, H, W)`` in [0, 1] to h ``(B, D)``, with ``.feature_dim`` = D.

    Raises:
        ValueError: an unknown name or stem.
    """
    check_choice(name, "encoder", ENCODERS)
    check_choice(stem, "stem", STEMS)
    return TinyEncoder() if name == "tiny" else ResNetEncoder(name, stem)


class ProjectionHead(nn.Module):
    """The projection head g: a two-layer perceptron from h ``(B, in_dim)`` to z ``(B, out_dim)``.

    Chen et al. 2020, section 4.2: z = W2 ReLU(W1 h). BatchNorm after the first layer, as in the authors'
    published code; z is not normalised here, the loss does that.

    Args:
        in_dim: width of h, at least 1.
        hidden_dim: width of the hidden layer; ``in_dim`` if not given.
        out_dim: width of z, at least 1.

    Raises:
        TypeError, ValueError: a width that is not a whole number of at least 1.
    """

    def __init__(self, in_dim: int, hidden_dim: int | None = None, out_dim: int = 128) -> None:
        super().__init__()
        in_dim, out_dim = check_int(in_dim, "in_dim", 1), check_int(out_dim, "out_dim", 1)
        hidden_dim = in_dim if hidden_dim is None else check_int(hidden_dim, "hidden_dim", 1)
        self.layers = nn.Sequential(
            nn.Linear(in_dim, hidden_dim, bias=False),  # BatchNorm brings its own bias
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, out_dim),
        )

    def forward(self, h: Tensor) -> Tensor:
        return self.layers(h)  # (B, out_dim)


class SimCLR(nn.Module):
    """Encoder and projection head together: images ``(B, 3, H, W)`` to ``(h (B, D), z (B, projection_dim))``.

    Args:
        encoder: any module that maps images to ``(B, D)``; D is read from ``.feature_dim``, or else
            measured with one blank image of 32 pixels.
        projection_dim: width of z, at least 1.

    Raises:
        TypeError, ValueError: the encoder is not a module or does not return ``(B, D)``; a bad width.
    """

    def __init__(self, encoder: nn.Module, projection_dim: int = 128) -> None:
        super().__init__()
        if not isinstance(encoder, nn.Module):
            raise TypeError(f"encoder must be a torch.nn.Module, got {type(encoder).__name__}")
        self.encoder = encoder
        self.projection_head = ProjectionHead(feature_dim(encoder), out_dim=projection_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        check_images(x, "images")
        h = self.encoder(x)  # (B, D)
        return h, self.projection_head(h)  # (B, D), (B, projection_dim)


def feature_dim(encoder: nn.Module, image_size: int = 32) -> int:
    """Width D of the representation: ``encoder.feature_dim``, or else measured with one blank image.

    Raises:
        ValueError: the encoder does not return a matrix ``(B, D)``.
    """
    declared = getattr(encoder, "feature_dim", None)
    if isinstance(declared, int):
        return declared
    was_training = [(m, m.training) for m in encoder.modules()]
    reference = next(encoder.parameters(), torch.empty(0))
    encoder.eval()
    try:
        with torch.inference_mode():
            blank = torch.zeros(1, 3, image_size, image_size, device=reference.device, dtype=reference.dtype)
            h = encoder(blank)
    finally:
        for module, mode in was_training:
            module.training = mode
    if not isinstance(h, Tensor) or h.ndim != 2:
        got = tuple(h.shape) if isinstance(h, Tensor) else type(h).__name__
        raise ValueError(f"encoder must return a matrix of shape (B, D), got {got}")
    return h.shape[1]
