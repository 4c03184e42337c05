"""Torch, numpy and Python are after an examination as they were before, and during it as when they start."""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def _settings() -> Iterator[None]:
    """Restore what a function of torch's sets for the whole process; inside, all is at its default."""
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    anomaly = torch.is_anomaly_enabled()
    folder, errors = _folder(), np.geterr()
    try:
        torch.set_default_dtype(torch.float32)
        _set_device(torch.device("cpu"))
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(1)  # the tensors are tiny; on a busy machine threads cost a hundred times more
        yield
    finally:
        torch.set_default_dtype(dtype)
        _set_device(device)
        torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)
        torch.autograd.set_detect_anomaly(anomaly)
        np.seterr(**errors)
        if folder is not None and _folder() != folder:
            os.chdir(folder)


def _set_device(device: torch.device) -> None:
    """Set the default device only where it is another: even "cpu", once set, costs every call of torch."""
    if torch.get_default_device() != device:
        torch.set_default_device(None if device.type == "cpu" else device)


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


@contextmanager
def untouched_state(seed: int) -> Iterator[None]:
    """Restore every random state, mode and setting afterwards; inside, draws are those of ``seed``."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    cuda: Any = torch.cuda  # its functions have no types
    devices = range(cuda.device_count()) if cuda.is_initialized() else []
    with ExitStack() as around:
        around.enter_context(_settings())
        around.enter_context(torch.random.fork_rng(devices=devices))
        around.enter_context(torch.inference_mode(False))
        around.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            around.enter_context(torch.autocast(kind, enabled=False))
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reseed the GPUs
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
