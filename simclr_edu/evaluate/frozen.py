"""The frozen encoder: what it makes of images, and proof that it stayed as it was."""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from simclr_edu._checks import (
    FLOATS,
    check_choice,
    check_finite,
    check_images,
    check_int,
    check_module,
    check_unit_range,
    enough_memory,
)
from simclr_edu._settings import check_precision, plain_settings
from simclr_edu.data import ImageSet
from simclr_edu.device import check_device
from simclr_edu.encoders import evaluation_mode
from simclr_edu.evaluate.labels import labelled_rows

LEVELS: tuple[str, ...] = ("h", "z")


def state_hash(module: nn.Module) -> str:
    """Fingerprint of everything a module has learned: SHA-256 over all its parameters and buffers.

    Name, dtype, shape and bytes of each go in, running statistics of BatchNorm too; device and memory
    layout do not. Two equal hashes before and after a probe prove that the encoder stayed frozen.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: not a module.
        ValueError: a parameter or buffer has no values yet (a lazy module that has not run).
    """
    check_module(module, "module")
    digest = hashlib.sha256()
    named = [("parameter", module.named_parameters()), ("buffer", module.named_buffers())]
    for kind, tensors in named:
        for name, tensor in tensors:
            if nn.parameter.is_lazy(tensor):
                raise ValueError(f"{kind} {name} has no values yet: run the module once before hashing it")
            digest.update(f"{kind} {name} {tensor.dtype} {tuple(tensor.shape)};".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@plain_settings()
def embed(
    encoder: nn.Module,
    images: Tensor,
    batch_size: int = 512,
    device: torch.device | str | None = None,
    level: str = "h",
) -> Tensor:
    """Run images through a frozen encoder, in eval mode and without gradients.

    Args:
        encoder: maps float images in [0, 1] to h ``(B, D)``, or to ``(h, z)`` as ``models.SimCLR`` does.
        images: ``(N, 3, H, W)``, uint8 or floats in [0, 1].
        batch_size: images a forward pass; the result does not depend on it.
        device: where to run; the encoder's own if not given. The encoder is moved there and left there.
        level: ``h`` or ``z``, which of ``(h, z)`` to return; a plain encoder only has ``h``.

    Returns:
        ``(N, D)`` float32 on the CPU. Every submodule is back in its former mode, also after an error.

    Raises:
        TypeError: encoder or images are of the wrong kind.
        ValueError: images out of range, the encoder's output is not a finite matrix ``(B, D)``, or torch is
            set to products in less than float32 on a CPU.
    """
    check_encoder(encoder)
    check_images(images, "images", channels=None)
    batch_size = check_int(batch_size, "batch_size", 1)
    check_choice(level, "level", LEVELS)
    if device is not None:
        encoder.to(check_device(device))
    where, dtype = device_and_dtype(encoder)
    check_precision(where, "embedding")
    out: Tensor | None = None
    what = f"a pass of {min(batch_size, len(images))} images through the encoder (take a smaller batch_size)"
    with evaluation_mode(encoder), torch.inference_mode(), enough_memory(what):
        for start in range(0, len(images), batch_size):
            batch = to_unit_floats(images[start : start + batch_size].to(where), dtype)  # (B, 3, H, W)
            features = select_level(encoder(batch), level)
            _check_features(features, len(batch))
            if out is None:
                with torch.inference_mode(False):  # an ordinary tensor, which autograd accepts later
                    out = torch.empty(len(images), features.shape[1], dtype=torch.float32)
            out[start : start + len(batch)] = features
    assert out is not None  # check_images refuses an empty batch
    return check_finite(out, "the encoder's output")


def device_and_dtype(encoder: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Those of the first floating-point parameter or buffer; CPU and float32 for an encoder without any."""
    for tensor in [*encoder.parameters(), *encoder.buffers()]:
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32


def to_unit_floats(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pixels as floats in [0, 1]: uint8 divided by 255, floats as they are if they lie there."""
    if images.dtype == torch.uint8:
        return images.to(dtype) / 255
    return check_unit_range(images, "images").to(dtype)


def select_level(output: Any, level: str) -> Tensor:
    """h or z of what an encoder returned."""
    pair = isinstance(output, tuple) and len(output) == 2
    if level != "h" and not pair:
        raise ValueError(f"level {level} needs a model that returns (h, z), got {type(output).__name__}")
    chosen: Tensor = output[LEVELS.index(level)] if pair else output
    return chosen


def _check_features(features: Any, batch: int) -> None:
    shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    if (
        not isinstance(features, Tensor)
        or features.ndim != 2
        or len(features) != batch
        or not features.shape[1]
    ):
        raise ValueError(f"encoder must return a matrix of shape ({batch}, D), got {shape}")
    if features.dtype not in FLOATS:
        raise ValueError(f"encoder must return floats, got {features.dtype}")


def check_encoder(encoder: object) -> None:
    check_module(encoder, "encoder")


def check_unchanged(encoder: nn.Module, before: str) -> None:
    if state_hash(encoder) != before:
        raise RuntimeError(
            "the encoder changed while it was being evaluated, so it was not frozen: a layer updates its "
            "weights or buffers in eval mode"
        )


def probe_features(
    encoder: nn.Module | None,
    images: ImageSet,
    fraction: float,
    seed: int,
    level: str,
    batch_size: int,
    device: torch.device | str | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, str | None]:
    """Features and labels of the labelled train images and of the test images, and the encoder's hash."""
    check_choice(level, "level", LEVELS)
    if encoder is not None:
        check_encoder(encoder)
    train, train_y, test, test_y = labelled_rows(images, fraction, seed)
    if encoder is None:
        if level != "h" or device is not None:
            raise ValueError("raw pixels have no level and no device: leave both out when encoder is None")
        return to_unit_floats(train).flatten(1), train_y, to_unit_floats(test).flatten(1), test_y, None
    before = state_hash(encoder)
    train_x, test_x = (embed(encoder, x, batch_size, device, level) for x in (train, test))
    check_unchanged(encoder, before)
    return train_x, train_y, test_x, test_y, before
