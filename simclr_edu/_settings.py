"""torch's settings that a caller may have changed, kept from changing what is computed here without a word.

Some belong to the thread (autocast, no_grad, the default device): they are put aside for the time of a call.
The default dtype and the precision of matrix products belong to the whole process. Setting them for a while
would change what other threads compute, so whoever depends on them refuses, see :func:`check_settings`.
"""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def plain_settings(gradients: bool = False) -> Iterator[None]:
    """Within: no autocast, tensors made on the CPU unless said otherwise; works as a decorator too.

    Args:
        gradients: gradients flow, also inside the caller's ``no_grad`` or ``inference_mode``.
    """
    with contextlib.ExitStack() as stack:
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if gradients:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
        yield


def check_default_dtype(what: str) -> None:
    """Refuse another default dtype than float32: new layers would have it.

    Raises:
        ValueError: it is not float32.
    """
    if (dtype := torch.get_default_dtype()) != torch.float32:
        raise ValueError(
            f"{what} needs torch's default dtype to be float32, got {dtype}: "
            "call torch.set_default_dtype(torch.float32)"
        )


def check_precision(device: torch.device, what: str) -> None:
    """Refuse, on a CPU, products that are not computed in full float32. On a GPU they may well not be.

    Raises:
        ValueError: products of matrices or convolutions may be rounded to less.
    """
    if device.type != "cpu":
        return
    found = {torch.get_float32_matmul_precision()}
    for kind in ("matmul", "conv"):  # the finer settings of newer versions of torch
        found.add(getattr(getattr(torch.backends.mkldnn, kind, None), "fp32_precision", "none"))
    if less := sorted(found - {"highest", "ieee", "none"}):
        raise ValueError(
            f"{what} on a CPU needs products in full float32, got the precision {' and '.join(less)}: "
            'call torch.set_float32_matmul_precision("highest")'
        )
