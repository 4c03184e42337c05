"""Profiles: what to train, on which machine, at what cost. A profile is data; the code path is one.

The profile is ``laptop`` on every machine, one with a GPU included, so that the course is the same
everywhere; ``gpu`` is asked for, by the environment variable ``SIMCLR_EDU_PROFILE``.
"""

import os
import platform
from dataclasses import dataclass, replace

import torch

from simclr_edu import __version__
from simclr_edu._checks import check_choice, check_kind, check_seed, check_text
from simclr_edu.device import bf16_is_fast, check_device, pick_device
from simclr_edu.home import home_problem
from simclr_edu.pretrain import PretrainConfig


@dataclass(frozen=True)
class Profile:
    """A data set, a pretraining configuration, and what running it costs."""

    name: str
    config: PretrainConfig
    cost: str

    def __post_init__(self) -> None:
        check_text(self.name, "name")
        check_text(self.cost, "cost")
        check_kind(self.config, "config", PretrainConfig)


LAPTOP = Profile(
    name="laptop",
    config=PretrainConfig(device="cpu"),
    cost="CPU only, no network; the main pretraining run takes a minute or two on 2 cores",
)

# The recipe is that of dkobak/simclr-cifar10 (ResNet-18, batch 512, SGD, crops of at least 20%, grayscale
# 0.1), whose author reports 83.2% kNN and 85.6% linear after 100 epochs and 20 minutes on an A100.
GPU = Profile(
    name="gpu",
    config=PretrainConfig(
        data="cifar10",
        encoder="resnet18",
        stem="cifar",
        projection_dim=128,
        epochs=100,
        batch_size=512,
        temperature=0.5,
        optimizer="sgd",
        learning_rate=0.12,
        weight_decay=5e-4,
        crop_scale=0.2,
        grayscale=0.1,
        amp="bf16",
        compile=True,
    ),
    cost="downloads CIFAR-10 (170 MB) once; 100 epochs of ResNet-18; the time depends on the GPU",
)

PROFILES = {profile.name: profile for profile in (LAPTOP, GPU)}


def current_profile() -> Profile:
    """``laptop``, or the profile that ``SIMCLR_EDU_PROFILE`` names.

    The GPU profile asks for bfloat16 only where the device has it, and compiles only for CUDA.

    Raises:
        ValueError: ``SIMCLR_EDU_PROFILE`` names no profile.
    """
    name = check_choice(os.environ.get("SIMCLR_EDU_PROFILE") or "laptop", "SIMCLR_EDU_PROFILE", PROFILES)
    profile = PROFILES[name]
    if name == "gpu":
        device = pick_device("auto")
        amp = "bf16" if bf16_is_fast(device) else "off"
        profile = replace(profile, config=replace(profile.config, amp=amp, compile=device.type == "cuda"))
    return profile


def gpu_note() -> str:
    """What to know about a GPU that is there and not used, or asked for and not there; else nothing."""
    device, asked = pick_device("auto"), current_profile().name == "gpu"
    if asked and device.type == "cpu":
        return (
            "no GPU is there: this profile trains for days on a CPU, for which SIMCLR_EDU_PROFILE=laptop is"
        )
    if asked or device.type == "cpu":
        return ""
    kind = {"cuda": "CUDA", "mps": "Apple"}[device.type]
    return (
        f"a GPU ({kind}) is there and not used, so that the course is the same on every machine; "
        "SIMCLR_EDU_PROFILE=gpu (make course PROFILE=gpu) asks for it"
    )


def device_name(device: torch.device) -> str:
    """The device in words: the GPU's own name, or the processor with its cores in use.

    Raises:
        TypeError, ValueError: not a device of this machine.
    """
    device = check_device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple GPU ({platform.machine()})"
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def describe(seed: int = 0) -> str:
    """What this notebook runs on and what it will cost: profile, device, versions, seed; what is amiss.

    Raises:
        TypeError, ValueError: not a seed.
    """
    check_seed(seed)
    profile = current_profile()
    device = pick_device(profile.config.device)
    lines = (
        f"profile {profile.name} | {device_name(device)} | Python {platform.python_version()} | "
        f"torch {torch.__version__} | simclr_edu {__version__} | seed {seed}\n"
        f"cost: {profile.cost}"
    )
    return "\n".join(filter(None, (lines, gpu_note(), home_problem())))
