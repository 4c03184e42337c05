"""The encoder f: images to representations h.

Every encoder here takes float images in [0, 1] and normalises them itself, so that pretraining, probing
and a notebook's own cell can never disagree about it. Weights are random, or for the ResNets, on request,
those that torchvision publishes.
"""

import contextlib
import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from simclr_edu._checks import check_choice, check_images, check_int, check_module, check_unit_images
from simclr_edu._downloads import DOWNLOAD_ERRORS, downloading, reason_of, remove_leftovers
from simclr_edu._randomness import drawing_from

RESNETS: tuple[str, ...] = ("resnet18", "resnet34", "resnet50")
ENCODERS: tuple[str, ...] = ("tiny", "small", *RESNETS)
STEMS: tuple[str, ...] = ("cifar", "imagenet")
WEIGHTS: tuple[str, ...] = ("imagenet",)

# Five halvings leave 2 x 2 positions of 64 pixels, and a single one of 32.
_SMALLEST_PRETRAINED = 64


class WeightsError(ValueError):
    """Published weights that are missing or damaged; the message is one sentence that names the ways on."""


class Centre(nn.Module):
    """Map images from [0, 1] to [-2, 2]: ``(x - 0.5) / 0.25``, the same for every data set."""

    def forward(self, x: Tensor) -> Tensor:
        return (check_unit_images(x) - 0.5) * 4.0  # (B, 3, H, W)


class Normalise(nn.Module):
    """``(x - mean) / std`` for each channel: what published weights were trained with.

    Mean and std are buffers and so part of a checkpoint, which an encoder that normalises otherwise refuses.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (check_unit_images(x) - self.mean) / self.std  # (B, 3, H, W)


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU; BatchNorm brings the bias."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(),
    )


def _linear(c_in: int, c_out: int) -> tuple[nn.Module, ...]:
    """Linear layer, BatchNorm, ReLU; BatchNorm brings the bias."""
    return nn.Linear(c_in, c_out, bias=False), nn.BatchNorm1d(c_out), nn.ReLU()


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


def _pooled_convolutions(widths: tuple[int, int, int], out: int) -> tuple[nn.Module, ...]:
    """What ``tiny`` and ``small`` have in common, from pixels to features ``(B, out)``, by its widths."""
    a, b, c = widths
    return (
        Centre(),
        _conv(3, a, 3, stride=2),  # (B, a, 16, 16) from 32 pixels
        _conv(a, b, 3, stride=2),  # (B, b, 8, 8)
        _conv(b, c, 3, stride=2),  # (B, c, 4, 4)
        ResidualBlock(c),
        _conv(c, out, 1),  # (B, out, 4, 4)
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


class TinyEncoder(nn.Module):
    """A convolutional network small enough to pretrain in 90 seconds on two CPU cores.

    Images ``(B, 3, H, W)`` in [0, 1] to representations h ``(B, 128)``. Three strided convolutions take 32
    pixels to 16, 8, 4: few channels while the picture is large, where a CPU waits for memory. Then a
    residual block, and a 1x1 convolution that widens the representation: it costs little at this size,
    and a linear probe lives on the width. Two linear layers follow the pooling. They are what SimCLRv2 makes
    of the first layers of a deep projection head: kept, they serve better where labels are few
    (Chen et al. 2020, arXiv 2006.10029, section 2).
    """

    feature_dim = 128

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_pooled_convolutions((16, 32, 64), self.feature_dim),  # (B, 128)
            *_linear(self.feature_dim, self.feature_dim),  # (B, 128)
            *_linear(self.feature_dim, self.feature_dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.layers(x)  # (B, 128)
        return h


class SmallEncoder(nn.Module):
    """A step up from ``tiny``, for photographs on a CPU: twice its channels, and an h four times as wide.

    Images ``(B, 3, H, W)`` in [0, 1] to h ``(B, 512)``: the convolutions of ``tiny`` and no linear layers.
    How it was chosen, on held-out pictures of CIFAR-10, stands in ``benchmarks/README.md``.
    """

    feature_dim = 512

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_pooled_convolutions((32, 64, 128), self.feature_dim))

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.layers(x)  # (B, 512)
        return h


class ResNetEncoder(nn.Module):
    """torchvision's ResNet without its classifier, with one of two stems.

    Images ``(B, 3, H, W)`` in [0, 1] to h ``(B, 512)``, or ``(B, 2048)`` for ``resnet50``. The
    ``imagenet`` stem (7x7 stride 2, then max-pool) shrinks a picture four times before the first
    block: right at 224 pixels, ruinous at 32. The ``cifar`` stem (3x3 stride 1, no max-pool) is that of
    Chen et al. 2020, appendix B.9. Published weights bring their own normalisation; see :func:`make_encoder`.
    """

    def __init__(self, name: str, stem: str, weights: str | None = None) -> None:
        super().__init__()
        from torchvision import models as torchvision_models

        build = getattr(torchvision_models, name)
        self.pretrained = weights is not None
        if self.pretrained:
            published = torchvision_models.get_model_weights(name)["IMAGENET1K_V1"]
            state = _published_state(name, published.url)
            with drawing_from(torch.Generator()):  # what is drawn here is replaced, so nobody's seed moves
                backbone = build(weights=None)
            backbone.load_state_dict(state)
            preset = published.transforms()
            self.centre: nn.Module = Normalise(preset.mean, preset.std)
        else:
            backbone = build(weights=None)
            self.centre = Centre()
        self.feature_dim: int = backbone.fc.in_features
        backbone.fc = nn.Identity()
        if stem == "cifar":
            backbone.conv1 = nn.Conv2d(3, 64, 3, 1, padding=1, bias=False)
            backbone.maxpool = nn.Identity()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        if self.pretrained:
            check_images(x, "images")
            if min(x.shape[2:]) < _SMALLEST_PRETRAINED:
                raise ValueError(
                    f"images must have {_SMALLEST_PRETRAINED} pixels a side or more for ImageNet weights, "
                    f"got {x.shape[2]} x {x.shape[3]}: load them larger (load_images has image_size)"
                )
        h: Tensor = self.backbone(self.centre(x))  # (B, feature_dim)
        return h


def _published_state(name: str, url: str) -> dict[str, Any]:
    """torchvision's weights from where torch.hub keeps them, downloaded if they are not there.

    The last part of the file's name begins its SHA-256. torch.hub compares the two after a download only;
    here a file that lies there already, put there by hand or cut short, is compared as well.
    """
    path = Path(torch.hub.get_dir()).expanduser() / "checkpoints" / url.rpartition("/")[2]
    if not path.exists():
        _download(name, url, path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest.startswith(_hash_in(path)):
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state
        problem = "its checksum is wrong"
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        problem = reason_of(error)
    raise WeightsError(
        f"{path} does not hold the ImageNet weights of {name} ({problem}); "
        f"delete it and try again, or replace it"
    )


def _download(name: str, url: str, path: Path) -> None:
    """Download to ``path``, whole and checked, or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, f"{path.name}.*.partial")  # as torch.hub calls what is on its way
        with downloading():
            torch.hub.download_url_to_file(url, str(path), _hash_in(path))
    except DOWNLOAD_ERRORS as error:
        origin, _, file = url.rpartition("/")
        raise WeightsError(
            f"the ImageNet weights of {name} are not in {path.parent} and the download failed: "
            f"{reason_of(error)}; either put {file} (from {origin}) into that folder by hand, "
            f"or use an encoder that needs no network: pretrain.course_run().encoder, "
            f"or make_encoder without weights, which are random then"
        ) from error


def _hash_in(path: Path) -> str:
    """The first digits of the SHA-256 that a published file carries in its name, NAME-HASH.pth."""
    return path.stem.rpartition("-")[2]


def make_encoder(
    name: str,
    stem: str = "cifar",
    weights: str | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Build an encoder, with random weights or with published ones.

    ``weights="imagenet"`` are torchvision's ``IMAGENET1K_V1``: a ResNet trained with the labels of ImageNet,
    by one plain recipe for all three sizes (the later ``V2`` of ``resnet50`` has another). They are
    downloaded once, to the folder where torch.hub keeps them, and their checksum is compared each time. The
    encoder applies their mean and standard deviation itself.

    Args:
        name: ``tiny``, ``small``, ``resnet18``, ``resnet34`` or ``resnet50``.
        stem: ``cifar`` for small images, ``imagenet`` for 224 pixels; ``tiny`` and ``small`` have one stem of
            their own and take no notice.
        weights: ``imagenet`` for a ResNet with the ``imagenet`` stem; random if not given.
        generator: source of the random weights, on a CPU; torch's global generator if not given. The same
            state of either gives the same weights.

    Returns:
        A module that maps float images ``(B, 3, H, W)`` in [0, 1] to h ``(B, D)``, with ``.feature_dim`` = D,
        in training mode as any new module. Images may have any size, square or not; with published weights
        each side from 64 pixels up: smaller ones, uint8 and other than 3 channels are refused.

    Raises:
        ValueError: an unknown name, stem or weights, or weights for an encoder that has none.
        WeightsError: the weights cannot be downloaded, or the file is damaged; nothing is put in their place.
    """
    check_choice(name, "encoder", ENCODERS)
    check_choice(stem, "stem", STEMS)
    if weights is not None:
        check_choice(weights, "weights", WEIGHTS)
        if name not in RESNETS or stem != "imagenet":
            own_stem = f" with stem {stem!r}" if name in RESNETS else ""
            raise ValueError(
                f"weights 'imagenet' were trained in {', '.join(RESNETS)} with stem 'imagenet', "
                f"there are none for {name}{own_stem}"
            )
    with drawing_from(generator):
        if name in RESNETS:
            return ResNetEncoder(name, stem, weights)
        return TinyEncoder() if name == "tiny" else SmallEncoder()


@contextlib.contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards each submodule is in the mode that it was in.

    Raises:
        TypeError: not a module.
    """
    check_module(module, "module")
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training


def feature_dim(encoder: nn.Module, image_size: int = 32) -> int:
    """Width D of the representation: ``encoder.feature_dim``, or else measured with one blank image.

    Raises:
        TypeError: the encoder is not a module, or the size no whole number.
        ValueError: the encoder does not return a matrix ``(B, D)``.
    """
    declared = getattr(check_module(encoder, "encoder"), "feature_dim", None)
    check_int(image_size, "image_size", 1)
    if isinstance(declared, int):
        return check_int(declared, "encoder.feature_dim", 1)
    reference = next(encoder.parameters(), torch.empty(0))
    with evaluation_mode(encoder), torch.inference_mode():
        blank = torch.zeros(1, 3, image_size, image_size, device=reference.device, dtype=reference.dtype)
        h = encoder(blank)
    if not isinstance(h, Tensor) or h.ndim != 2:
        got = tuple(h.shape) if isinstance(h, Tensor) else type(h).__name__
        raise ValueError(f"encoder must return a matrix of shape (B, D), got {got}")
    return h.shape[1]
