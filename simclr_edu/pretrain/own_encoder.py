"""An encoder of the caller's: whether it is the same one again, and what of it a checkpoint cannot hold.

A checkpoint holds its parameters and buffers. Its code it cannot hold, nor a plain attribute that changes as
it trains, nor the state of numpy's generator: the first is compared, the others are named.
"""

import contextlib
import copy
import dis
import hashlib
import pickle
import random
import re
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from simclr_edu._randomness import GlobalDrawError, refusing_global_draws

_LIBRARIES = ("torch", "torchvision", "simclr_edu")
_TOLERANCE = 0.01  # of an answer: other devices and versions of torch round otherwise


class OwnEncoder:
    """Watches an encoder of the caller's through a run.

    Args:
        encoder: before its first step.
        image_size: side of the views that it sees.
        shared: other threads draw from torch's global generator meanwhile, so the encoder must not.
    """

    def __init__(self, encoder: nn.Module, image_size: int, shared: bool) -> None:
        self._encoder, self._size, self._shared = encoder, image_size, shared
        self.may_draw = not shared
        self._attributes = _attributes(encoder)
        self._drew: dict[str, None] = {}  # an ordered set
        self._identity = {
            "structure": re.sub(r" at 0x[0-9a-fA-F]+", "", repr(encoder)),
            "code": _code_of(encoder),
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        }

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Around a forward pass: note or refuse what it draws.

        Raises:
            ValueError: it drew from torch's global generator, which is shared with other threads.
        """
        numpy_before, python_before = _numpy_state(), random.getstate()
        try:
            with refusing_global_draws() if self._shared else contextlib.nullcontext():
                yield
        except GlobalDrawError:
            raise ValueError(
                "the encoder draws random numbers from torch's global generator, as dropout does, and other "
                "threads draw from it too: train it in the main thread, or give it a generator"
            ) from None
        if not self._shared:  # where others draw as well, nobody can tell who did
            if _numpy_state() != numpy_before:
                self._drew["numpy's global generator"] = None
            if random.getstate() != python_before:
                self._drew["Python's global generator"] = None

    def state(self) -> dict[str, Any]:
        """What goes into a checkpoint."""
        before, now = self._attributes, _attributes(self._encoder)
        changed = [name for name in before | now if before.get(name) != now.get(name)]
        lost = [*self._drew, *(f"the attribute {name}" for name in changed)]
        return {**self._identity, "answer": self._answer(), "not_restored": lost}

    def check(self, saved: dict[str, Any]) -> str | None:
        """How this encoder, the saved weights loaded, differs from the saved one; None if it does not."""
        if saved["structure"] != self._identity["structure"]:
            there, here = saved["structure"].splitlines(), self._identity["structure"].splitlines()
            line = next((k for k, (a, b) in enumerate(zip(there, here, strict=False)) if a != b), None)
            what = (
                "it has other parts"
                if line is None
                else f"{there[line].strip()} is {here[line].strip()} here"
            )
            return f"its structure changed ({what})"
        if saved["python"] == self._identity["python"] and saved["code"] != self._identity["code"]:
            return "its code changed"
        answer = self._answer()
        if saved["answer"] is not None and answer is not None:
            scale = float(saved["answer"].norm()) + 1e-12
            if not float((answer - saved["answer"]).norm()) <= _TOLERANCE * scale:
                return "with the same weights it gives other representations"
        return None

    def _answer(self) -> Tensor | None:
        """What it makes of two fixed pictures, ``(2, D)``; None where that is not always the same."""
        pictures = torch.rand(
            2, 3, self._size, self._size, generator=torch.Generator().manual_seed(0), dtype=torch.float32
        )
        answers: list[Tensor] = []
        try:
            # A copy: asking must not move what the encoder counts. And no draws, which would move others'.
            asked = copy.deepcopy(self._encoder).eval()
            first = next(asked.parameters())
            with torch.no_grad(), refusing_global_draws():
                answers = [asked(pictures.to(first.device, first.dtype)).float().cpu() for _ in range(2)]
        except Exception:  # whatever somebody else's code may raise: then there is no answer to compare
            return None
        return answers[0] if torch.equal(*answers) else None


def _numpy_state() -> bytes:
    return pickle.dumps(np.random.get_state(legacy=False))  # noqa: NPY002 it is this one that is watched


def _attributes(encoder: nn.Module) -> dict[str, bytes]:
    """A digest of each attribute of each part that torch does not save."""
    found = {}
    for place, module in encoder.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_") or name == "training" or isinstance(value, types.FunctionType):
                continue
            with contextlib.suppress(Exception):  # what cannot be pickled cannot be compared
                digest = hashlib.sha256(pickle.dumps(value)).digest()
                found[".".join(filter(None, ("encoder", place, name)))] = digest
    return found


def _code_of(encoder: nn.Module) -> str:
    """SHA-256 over what the classes of the parts do, and what they call and use of the same origin."""
    digest, seen = hashlib.sha256(), set()

    def feed_code(code: types.CodeType, documentation: str | None, names: dict[str, Any]) -> None:
        digest.update(code.co_code)
        digest.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                feed_code(constant, None, names)
            elif constant != documentation:
                digest.update(_text(constant).encode())
        for instruction in dis.get_instructions(code):
            if instruction.opname == "LOAD_GLOBAL":  # not every name: most are attributes
                feed(names.get(instruction.argval), instruction.argval)

    def feed(value: Any, name: str) -> None:
        function = getattr(
            value, "__func__", getattr(value, "fget", value)
        )  # of a class method or a property
        if isinstance(function, types.FunctionType):
            if function not in seen and _is_own(function.__module__):
                seen.add(function)
                digest.update(f"{name} {_text(function.__defaults__)};".encode())
                feed_code(function.__code__, function.__doc__, function.__globals__)
        else:
            digest.update(f"{name} {_text(value)};".encode())

    for kind in dict.fromkeys(type(module) for module in encoder.modules()):
        for base in kind.__mro__:
            if _is_own(base.__module__):
                for name, value in vars(base).items():
                    if not name.startswith("__") or isinstance(value, types.FunctionType):
                        feed(value, name)
    return digest.hexdigest()


def _is_own(module: str | None) -> bool:
    """Whether a module is the caller's, and no library: a library's new version is not another encoder."""
    root = (module or "").split(".")[0]
    file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
    return not (root in _LIBRARIES or root in sys.stdlib_module_names or "site-packages" in file)


def _text(value: Any) -> str:
    """A plain value as text, the same in every process; of anything else its type."""
    if isinstance(value, tuple):
        return f"({', '.join(_text(item) for item in value)})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(_text(item) for item in value))}}}"
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        return f"{type(value).__name__} {value!r}"
    return type(value).__name__
