"""The command that probes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from torch import nn

from simclr_edu import evaluate
from simclr_edu.data import load_images
from simclr_edu.device import pick_device, seeded
from simclr_edu.encoders import make_encoder
from simclr_edu.home import check_path
from simclr_edu.pretrain import PretrainConfig, load_run

_PIXELS_A_BATCH = 1 << 22  # 83 photographs of 224 pixels


@dataclass(frozen=True)
class Probe:
    """Measure a run, or published weights: linear probe and kNN, beside a random encoder and raw pixels."""

    directory: tyro.conf.Positional[Path | None] = None
    """Directory of the run; not with --weights."""
    data: str | None = None
    """Data set to probe on; the one the run was trained on if not given."""
    image_size: int | None = None
    """Side of the pictures in pixels, with --weights 64 or more; that of the run or the data if not given."""
    weights: str | None = None
    """imagenet, in place of a run: a ResNet as torchvision publishes it, downloaded once. Needs --data."""
    encoder: str | None = None
    """With --weights: resnet18, resnet34 or resnet50; resnet50 if not given."""
    fraction: float = 1.0
    """Share of the training labels to use."""
    seed: int = 0
    """Seed of the random encoder and of the validation split."""

    def run(self) -> dict[str, Any]:
        trained, config = self._subject()
        images = load_images(config.data, image_size=config.image_size)
        with seeded(self.seed):
            untrained = make_encoder(config.encoder, config.stem)
        # Of photographs fewer at a time: in a ResNet-50, 512 of 224 pixels take gigabytes a layer.
        batch_size = max(1, min(512, _PIXELS_A_BATCH // images.image_size**2))
        result: dict[str, Any] = {}
        for prefix, encoder in (("", trained), ("random_encoder_", untrained), ("pixels_", None)):
            if encoder is not None:
                encoder.to(pick_device("auto"))
            scores = evaluate.probe_scores(
                encoder, images, fraction=self.fraction, seed=self.seed, batch_size=batch_size
            )
            result |= {f"{prefix}{score}": round(value, 4) for score, value in scores.items()}
        result |= {"data": config.data, "fraction": self.fraction}
        if self.weights:
            return {**result, "encoder": config.encoder, "weights": self.weights}
        return {**result, "directory": str(self.directory)}

    def _subject(self) -> tuple[nn.Module, PretrainConfig]:
        """The encoder to measure, and a configuration that says which it is and on what it is measured."""
        if self.weights is None:
            if self.directory is None:
                raise ValueError("probe needs the directory of a run, or --weights imagenet and --data NAME")
            if self.encoder is not None:
                raise ValueError("--encoder goes with --weights; a run brings its own encoder")
            run = load_run(check_path(self.directory, "directory"))
            data, size = self.data or run.config.data, self.image_size or run.config.image_size
            return run.encoder, replace(run.config, data=data, image_size=size)
        if self.directory is not None:
            raise ValueError(f"probe measures a run or --weights, not both, got {self.directory} as well")
        if self.data is None:
            raise ValueError(
                "--weights needs --data: folder:PATH, or another set with --image-size 64 or more"
            )
        name = self.encoder or "resnet50"
        trained = make_encoder(name, "imagenet", self.weights)
        return trained, PretrainConfig(
            data=self.data, encoder=name, stem="imagenet", image_size=self.image_size
        )
