"""Draws from a generator of one's own, in this thread alone, where a layer takes no generator.

``nn.Linear`` draws its first weights from torch's global generator. That one belongs to the caller, and to
every thread at once: seeding it, or setting it back afterwards, changes what a notebook's cell draws
meanwhile, and the cell changes what the layer gets. The calls that draw are caught here one by one instead,
which torch offers for each thread (``TorchDispatchMode``): the numbers are those that the global generator in
the same state would have given, to the bit.
"""

import contextlib
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class GlobalDrawError(RuntimeError):
    """Something drew from torch's global generator where it must not."""


class _Redirect(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]  # typed in newer versions of torch
    """What draws from the global generator draws from ``generator`` instead; None refuses it."""

    def __init__(self, generator: torch.Generator | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]  # typed in newer versions of torch
        self._generator = generator

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None:
            takes = any(argument.name == "generator" for argument in func._schema.arguments)
            if self._generator is None or not takes:
                raise GlobalDrawError(f"{func} drew from torch's global random generator")
            kwargs = kwargs | {"generator": self._generator}
        return func(*args, **kwargs)


def drawing_from(generator: torch.Generator | None) -> contextlib.AbstractContextManager[object]:
    """Within, this thread's layers draw their first weights from ``generator``, on a CPU.

    None changes nothing: layers draw from torch's global generator, as is usual.

    Raises:
        GlobalDrawError: something drew that cannot take a generator, such as ``torch.rand`` without one.
    """
    return contextlib.nullcontext() if generator is None else _Redirect(generator)


def refusing_global_draws() -> contextlib.AbstractContextManager[object]:
    """Within, a draw from torch's global generator in this thread raises GlobalDrawError."""
    return _Redirect(None)
