"""Views a second of SimCLR's augmentation: beside torchvision, lightly, kornia and albumentations.

All in one process on the same images, in turns, so that the ratios hold even where the speed does not.
albumentations runs on one thread, on two of its own, and with OpenCV's; it counts with the best of them. The
others use torch's threads, or one where they work picture by picture. All keep freed memory, as in
pretraining.
Run ``python benchmarks/augment.py``; peers that are not installed are named and left out.
"""

import argparse
import importlib
import json
import os
import statistics
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from simclr_edu.augment import SimCLRAugment, blur_kernel_size, torchvision_pipeline
from simclr_edu.device import keep_freed_memory

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


def albumentations_pipeline(A: ModuleType, size: int, strength: float, blur: bool) -> Callable[..., dict]:
    """Return albumentations' augmentation of one image, uint8 HWC, to a uint8 tensor ``(3, size, size)``."""
    s = strength
    steps = [
        A.RandomResizedCrop((size, size), scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s, p=0.8),
        A.ToGray(p=0.2),
    ]
    if blur:  # the size of the kernel follows from sigma, its default: less work than a tenth of the side
        steps.append(A.GaussianBlur(sigma_limit=(0.1, 2.0), p=0.5))
    return A.Compose([*steps, A.ToTensorV2()])


def albumentations_calls(
    arrays: list[np.ndarray], make: Callable[[], Callable[..., dict]]
) -> dict[str, Callable[[], Tensor]]:
    """Return, by name, calls that make one float view in [0, 1] of each image, on so many threads each."""
    import cv2

    def views(pipeline: Callable[..., dict], part: list[np.ndarray]) -> list[Tensor]:
        return [pipeline(image=array)["image"] for array in part]

    def run(threads: int, opencv_threads: int) -> Tensor:
        cv2.setNumThreads(opencv_threads)  # of the whole process, so set by each turn
        if threads == 1:
            made = [views(pipelines[0], arrays)]
        else:
            made = list(pool.map(views, pipelines[:threads], [arrays[t::threads] for t in range(threads)]))
        # Floats for the whole batch at once are cheaper than an image at a time.
        return torch.stack([view for part in made for view in part]).float().div_(255)

    cores = torch.get_num_threads()
    pool = ThreadPoolExecutor(cores)
    pipelines = [make() for _ in range(cores)]  # one a thread: each holds random generators of its own
    calls = {"albumentations, 1 thread": partial(run, 1, 1)}
    if cores > 1:
        calls[f"albumentations, {cores} threads"] = partial(run, cores, 1)
        calls[f"albumentations, OpenCV's {cores} threads"] = partial(run, 1, cores)
    return calls


def best_peers(speeds: dict[str, float]) -> dict[str, tuple[str, float]]:
    """Return by package its fastest row, name and views a second, this package left out."""
    best: dict[str, tuple[str, float]] = {}
    for name, speed in speeds.items():
        package = name.replace(",", " ").split()[0]
        if package != "simclr_edu" and speed > best.get(package, ("", 0.0))[1]:
            best[package] = (name, speed)
    return best


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
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its newest version
    if (albumentations := peer("albumentations")) is not None:
        arrays = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in tensors]  # (S, S, 3)
        make = partial(albumentations_pipeline, albumentations, size, strength, blur)
        for name, call in albumentations_calls(arrays, make).items():
            calls[name] = (call, len(arrays))
    return calls


def measure(calls: dict, rounds: int) -> dict:
    """Return the median views per second of each, over ``rounds`` turns."""
    # As ``pretrain`` does: 64 views of 224 pixels are 38 MB, which each call would fetch anew.
    keep_freed_memory()
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
        print(f"\n{recipe:36s} views/s   simclr_edu is faster")
        for name, speed in speeds.items():
            print(f"{name:34s} {speed:9.0f}   {speeds['simclr_edu'] / speed:8.2f} x")
    print(json.dumps({r: {n: round(v, 1) for n, v in s.items()} for r, s in results.items()}))


if __name__ == "__main__":
    main()
