"""Every setting of a pretraining run."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from simclr_edu._checks import (
    check_choice,
    check_flag,
    check_fraction,
    check_int,
    check_number,
    check_positive,
    check_seed,
    check_text,
)
from simclr_edu.augment import SimCLRAugment
from simclr_edu.encoders import ENCODERS, STEMS

CUSTOM = "custom"  # the encoder's name in a configuration when the caller brought a module of their own
DEFAULT_EPOCHS = 20

# What may differ between a run and its continuation without changing the weights that come out.
_NOT_IN_FINGERPRINT = ("device", "log_every", "checkpoint_every")


@dataclass(frozen=True)
class PretrainConfig:
    """Every setting of a pretraining run; the defaults are those of the ``laptop`` profile.

    Raises:
        TypeError, ValueError: a setting out of range, or both ``epochs`` and ``seconds``.
    """

    data: str = "shapes"
    """Name of the data set, as ``load_images`` takes it."""
    encoder: str = "tiny"
    """tiny, small, resnet18, resnet34, resnet50."""
    stem: str = "cifar"
    """cifar for small images, imagenet for 224 pixels."""
    projection_dim: int = 64
    """Width of z, which only the loss sees."""
    epochs: int | None = None
    """How often every image is seen; 20 if neither epochs nor seconds is given."""
    seconds: float | None = None
    """Train for this long instead, the schedule following the clock: how many steps that makes, and so the
    weights, depends on the machine and its load."""
    batch_size: int = 64
    """Images N a step, all processes together: 2N views, 2(N-1) negatives for each anchor."""
    temperature: float = 0.2
    """Divides the similarities in NT-Xent."""
    optimizer: str = "adamw"
    """adamw or sgd (with Nesterov momentum 0.9)."""
    learning_rate: float = 3e-3
    """At the end of the warm-up."""
    weight_decay: float = 1e-4
    """Not applied to biases and BatchNorm, as in the paper's code."""
    warmup: float = 0.1
    """Share of the run in which the learning rate rises from 0."""
    strength: float | None = None
    """Strength s of the colour jitter; if not given 1 for shapes, whose only shortcut is colour, else 0.5."""
    crop_scale: float = 0.6
    """Smallest area of a crop, as a share of the picture. 0.6 suits one object on a plain ground; photographs
    take smaller crops, the paper 0.08."""
    crop: bool = True
    """Random resized crops."""
    color: bool = True
    """Colour jitter and grayscale."""
    flip: bool = True
    """Horizontal flips."""
    grayscale: float = 0.2
    """Probability of dropping the colour."""
    blur: bool = False
    """Gaussian blur, for 224 pixels."""
    image_size: int | None = None
    """Side of the views in pixels; that of the data if not given."""
    seed: int = 0
    """Seed of weights, order and augmentation."""
    device: str = "auto"
    """auto (CUDA, else MPS, else CPU), cpu, cuda, mps."""
    amp: str = "off"
    """off or bf16: the precision of the forward pass."""
    channels_last: bool = True
    """Memory order of images and filters: faster on CPU and GPU alike."""
    compile: bool = False
    """Compile the model: minutes at the start, faster steps on a GPU."""
    log_every: int = 10
    """Steps between two records of the history."""
    checkpoint_every: int = 200
    """Steps between two checkpoints."""

    def __post_init__(self) -> None:
        check_text(self.data, "data")
        for name in ("crop", "color", "flip", "blur", "channels_last", "compile"):
            check_flag(getattr(self, name), name)
        for name in ("weight_decay", "crop_scale", "jitter_strength"):
            check_number(getattr(self, name), name.removeprefix("jitter_"))
        check_choice(self.encoder, "encoder", (*ENCODERS, CUSTOM))
        check_choice(self.stem, "stem", STEMS)
        check_choice(self.optimizer, "optimizer", ("adamw", "sgd"))
        check_choice(self.amp, "amp", ("off", "bf16"))
        check_choice(self.device, "device", ("auto", "cpu", "cuda", "mps"))
        if self.epochs is not None and self.seconds is not None:
            raise ValueError(f"give epochs or seconds, not both, got {self.epochs} and {self.seconds}")
        if self.epochs is not None:
            check_int(self.epochs, "epochs", 1)
        if self.seconds is not None:
            check_positive(self.seconds, "seconds")
        check_int(self.projection_dim, "projection_dim", 1)
        check_int(self.batch_size, "batch_size", 2)
        for name in ("temperature", "learning_rate"):
            check_positive(getattr(self, name), name)
        if not 0 <= self.weight_decay < 1:
            raise ValueError(f"weight_decay must be from 0 to 1, got {self.weight_decay}")
        for name in ("warmup", "grayscale"):
            check_fraction(getattr(self, name), name)
        if not 0 < self.crop_scale <= 1:
            raise ValueError(f"crop_scale must be above 0 and at most 1, got {self.crop_scale}")
        if not (math.isfinite(self.jitter_strength) and self.jitter_strength >= 0):
            raise ValueError(f"strength must be 0 or more, got {self.strength}")
        if self.image_size is not None:
            check_int(self.image_size, "image_size", 8)
        check_seed(self.seed)
        for name in ("log_every", "checkpoint_every"):
            check_int(getattr(self, name), name, 1)

    @property
    def total_epochs(self) -> int | None:
        """Length of the run in epochs; None where the clock decides."""
        if self.seconds is not None:
            return None
        return DEFAULT_EPOCHS if self.epochs is None else self.epochs

    @property
    def jitter_strength(self) -> float:
        """Strength of the colour jitter in force; 0.5 is the paper's on CIFAR-10 (appendix B.9)."""
        if self.strength is None:
            return 1.0 if self.data in ("shapes", "shapes_easy") else 0.5
        return self.strength

    def augmentation(self, size: int) -> SimCLRAugment:
        """The augmentation that this configuration asks for, at ``size`` pixels."""
        return SimCLRAugment(
            size,
            strength=self.jitter_strength,
            blur=self.blur,
            crop_scale=(self.crop_scale, 1.0),
            crop=self.crop,
            color=self.color,
            flip=self.flip,
            grayscale=self.grayscale,
        )

    def fingerprint(self) -> dict[str, Any]:
        """The settings that decide the weights: a run may only be resumed under the same ones."""
        settings = asdict(self) | {"strength": self.jitter_strength}
        return {k: v for k, v in settings.items() if k not in _NOT_IN_FINGERPRINT}
