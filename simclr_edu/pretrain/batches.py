"""The images of a run: checked, told apart from others, and dealt out batch by batch."""

import hashlib

import torch
from torch import Tensor

from simclr_edu import distributed
from simclr_edu._checks import in_unit_range
from simclr_edu.pretrain.config import PretrainConfig

_EVERY_IMAGE = "all:"  # begins the fingerprints that every image counts in


class Batches:
    """The batches of a run by the number of their step: the same ones, resumed or not.

    With several processes each gets its own part. The last, smaller batch of an epoch is left out: NT-Xent
    depends on N.
    """

    def __init__(self, images: Tensor, config: PretrainConfig, device: torch.device) -> None:
        self._images, self._config, self._device = _resident(images, device), config, device
        self.side = images.shape[-1]  # pixels
        self.steps_per_epoch = len(images) // config.batch_size
        self._order, self._epoch = torch.empty(0, dtype=torch.long), -1

    def __getitem__(self, step: int) -> Tensor:
        """The images ``(N, 3, H, W)`` of a step, on the device."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._order = _order(self._config, len(self._images), epoch).to(self._images.device)
            self._epoch = epoch
        size = self._config.batch_size
        rows = distributed.own_part(self._order[position * size : (position + 1) * size])
        return self._images[rows].to(self._device, non_blocking=True)


def fingerprint_images(images: Tensor) -> str:
    """Shape, type and every byte of the images: a second for half a gigabyte, and a single pixel counts."""
    digest = hashlib.sha256(f"{tuple(images.shape)} {images.dtype}".encode())
    for start in range(0, len(images), 4096):
        digest.update(_bytes(images[start : start + 4096]))
    return f"{_EVERY_IMAGE}{digest.hexdigest()}"


def same_images(images: Tensor, fingerprint: str, saved: str) -> bool:
    """Whether ``images``, of this ``fingerprint``, are those of a checkpoint.

    The first checkpoints looked at a thousand images, evenly spaced: those are compared as they did.
    """
    if saved.startswith(_EVERY_IMAGE):
        return saved == fingerprint
    digest = hashlib.sha256(f"{tuple(images.shape)} {images.dtype}".encode())
    digest.update(_bytes(images[:: max(1, len(images) // 1000)]))
    return saved == digest.hexdigest()


def _bytes(images: Tensor) -> memoryview:
    flat = images.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data  # as bytes: numpy knows no bfloat16


def check_pixels(images: Tensor) -> None:
    """Refuse floats outside [0, 1] before the first step: a single NaN would spread to every weight."""
    if images.is_floating_point():
        flat = images.flatten(1)  # (N, 3HW)
        good = torch.as_tensor(in_unit_range(flat.amin(1), flat.amax(1)))  # (N,)
        if not good.all():
            i = int((~good).nonzero()[0])
            raise ValueError(
                f"float images must lie in [0, 1], got values from {float(flat[i].min()):g} to "
                f"{float(flat[i].max()):g} in image {i}"
            )


def _order(config: PretrainConfig, n: int, epoch: int) -> Tensor:
    """The order of the images in ``epoch``, from seed and epoch alone: a resumed run finds it again."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + epoch)
    return torch.randperm(n, generator=generator)


def _resident(images: Tensor, device: torch.device) -> Tensor:
    """The images on ``device`` if they leave it half of its free memory, else where they are."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if images.numel() * images.element_size() > free / 2:
            return images.pin_memory()
    return images.to(device)
