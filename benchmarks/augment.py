"""Views per second of SimCLR's augmentation: this package beside torchvision, lightly and kornia.

All in one process on the same images, in turns, so that the ratios hold even where the speed does not.
Run ``python benchmarks/augment.py``; peers that are not installed are named and left out.
"""

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable, Hashable
from functools import partial
from types import ModuleType

import torch
from torch import Tensor

from simclr_edu.augment import SimCLRAugment, blur_kernel_size, torchvision_pipeline

RECIPES = {
    "cifar-32": {"size": 32, "source": 32, "batch": 512, "strength": 0.5, "blur": False},
    "imagenet-224": {"size": 224, "source": 256, "batch": 64, "strength": 1.0, "blur": True},
}
PEER_IMAGES = 64  # a per-image pipeline is timed on so many images at a time


def peer(module: str) -> ModuleType | None:
    """Return an installed peer, or say why it is left out."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        print(f"{module}: skipped, {error}")
        return None


def kornia_pipeline(K: ModuleType, size: int, strength: float, blur: bool) -> Callable[[Tensor], Tensor]:
    """Return kornia's augmentation of a batch; the order of its colour jitter is drawn once per batch."""
    s = strength
    steps = [
        K.RandomResizedCrop((size, size), scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s, p=0.8),
        K.RandomGrayscale(p=0.2),
    ]
    if blur:
        kernel = blur_kernel_size(size)
        steps.append(K.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5))
    return torch.nn.Sequential(*steps)


def contenders(recipe: dict) -> dict[str, tuple[Callable[[], object], int]]:
    """Return, by name, a call to time and the number of views that it makes."""
    from torchvision.transforms.v2.functional import to_pil_image

    size, strength, blur = recipe["size"], recipe["strength"], recipe["blur"]
    shape = (recipe["batch"], 3, recipe["source"], recipe["source"])
    # Noise: the work does not depend on what the images show.
    x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    tensors = list(x[:PEER_IMAGES])
    pictures = [to_pil_image(image) for image in tensors]
    ours = SimCLRAugment(size, strength=strength, blur=blur)
    textbook = torchvision_pipeline(size, strength=strength, blur=blur)
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "simclr_edu": (lambda: ours(x), len(x)),
        "torchvision PIL": (lambda: torch.stack([textbook(p) for p in pictures]), len(pictures)),
        "torchvision v2 tensor": (lambda: torch.stack([textbook(t) for t in tensors]), len(tensors)),
    }
    if (lightly := peer("lightly.transforms")) is not None:
        transform = lightly.SimCLRTransform(input_size=size, cj_strength=strength, gaussian_blur=0.5 * blur)
        calls["lightly"] = (lambda: [transform(p) for p in pictures], 2 * len(pictures))
    if (kornia := peer("kornia.augmentation")) is not None:
        pipeline = kornia_pipeline(kornia, size, strength, blur)
        calls["kornia"] = (lambda: pipeline(x.float() / 255), len(x))
    return calls


def measure(calls: dict, rounds: int) -> dict:
    """Return the median views per second of each, over ``rounds`` turns."""
    speeds: dict[Hashable, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, (call, views) in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first turn warms up
                speeds[name].append(views / (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in speeds.items()}


def by_size(rounds: int, sides: tuple[int, ...] = (32, 64, 96, 128, 224)) -> dict[int, float]:
    """Median views per second of this package against the side of the views, without blur."""
    calls = {}
    for side in sides:
        x = torch.randint(0, 256, (max(16, (512 * 32 * 32) // side**2), 3, side, side), dtype=torch.uint8)
        calls[side] = (partial(SimCLRAugment(side), x), len(x))
    return measure(calls, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=RECIPES, action="append", help="default: all")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    results = {}
    for recipe in arguments.recipe or RECIPES:
        speeds = results[recipe] = measure(contenders(RECIPES[recipe]), arguments.rounds)
        print(f"\n{recipe:24s} views/s   x torchvision PIL")
        for name, speed in speeds.items():
            print(f"{name:22s} {speed:9.0f}   {speed / speeds['torchvision PIL']:8.1f}")
    print(json.dumps({r: {n: round(v, 1) for n, v in s.items()} for r, s in results.items()}))


if __name__ == "__main__":
    main()
