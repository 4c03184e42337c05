"""Judges of answers that are values: loops in float64 on many inputs that the exercise's text allows.

They share nothing with the checks. An answer is wrong if on one input it differs by more than ``FAR``,
raises, changes the input, or loses the dtype or the gradient that the text asks for; right if it is within
``NEAR`` on all of them; between the two it is left out.
"""

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Answer = Callable[..., Any]
NEAR, FAR = 5e-4, 1e-2  # relative to 1 + |value|; the checks accept 1e-3 relative


@dataclass(frozen=True)
class Values:
    """A judge: inputs from a generator, a reference by loops, and what else the text asks for."""

    inputs: Callable[[np.random.Generator], Iterable[tuple[Any, ...]]]
    reference: Callable[..., Any]
    gradient: bool = False  # the result has to carry a gradient
    other: Callable[..., Any] | None = None  # a second convention that the text leaves free
    same_dtype: bool = True

    def verdict(self, answer: Answer, seed: int) -> str:
        rng = np.random.default_rng(seed)
        distances: list[tuple[float, float]] = []
        for inputs in self.inputs(rng):
            given = copy.deepcopy(inputs)
            try:
                got = answer(*given)
            except Exception:
                return "wrong"
            if any(
                not torch.equal(a, b) for a, b in zip(given, inputs, strict=True) if isinstance(a, Tensor)
            ):
                return "wrong"
            if not self._kept_dtype(inputs, got):
                return "wrong"
            references = (self.reference, self.other or self.reference)
            distances.append(tuple(_distance(got, r(*inputs)) for r in references))  # type: ignore[arg-type]
        worst = min(max(column) for column in zip(*distances, strict=True))
        if not worst <= FAR:
            return "wrong"
        if self.gradient and not self._has_gradient(answer, rng):
            return "wrong"
        return "right" if worst <= NEAR else "undecided"

    def _kept_dtype(self, inputs: tuple[Any, ...], got: object) -> bool:
        floats = [v.dtype for v in inputs if isinstance(v, Tensor) and v.is_floating_point()]
        if not self.same_dtype or not floats or not isinstance(got, Tensor) or not got.is_floating_point():
            return True
        return got.dtype == floats[0]

    def _has_gradient(self, answer: Answer, rng: np.random.Generator) -> bool:
        """Central differences along one random direction agree with the gradient."""
        for inputs in self.inputs(rng):
            leaves = tuple(v.double().requires_grad_() if isinstance(v, Tensor) else v for v in inputs)
            if min((v for v in inputs if isinstance(v, float)), default=1.0) < 0.05:
                continue  # the loss is too steep there for differences
            tensors = [v for v in leaves if isinstance(v, Tensor)]
            result = answer(*leaves)
            if not isinstance(result, Tensor) or not result.requires_grad:
                return False
            gradients = torch.autograd.grad(result, tensors, allow_unused=True)
            ways = [torch.from_numpy(rng.standard_normal(v.shape)) for v in tensors]
            along = sum(float((g * w).sum()) for g, w in zip(gradients, ways, strict=True) if g is not None)

            def moved(step: float, leaves: tuple[Any, ...] = leaves, ways: list[Tensor] = ways) -> float:
                rest = iter(ways)
                with torch.no_grad():
                    shifted = (v + step * next(rest) if isinstance(v, Tensor) else v for v in leaves)
                    return float(self.reference(*shifted))

            slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
            if not abs(slope - along) <= 1e-3 * (1 + abs(slope)):
                return False
        return True


def _distance(got: object, wanted: object) -> float:
    """Largest difference relative to 1 + |wanted|; infinite where shape or kind of number differ."""
    b = np.asarray(wanted)
    if isinstance(got, Tensor):
        a = got.detach().cpu().numpy()
        if b.dtype.kind == "i" and (a.dtype != np.int64 or a.shape != b.shape):
            return math.inf
        if b.dtype.kind == "f" and a.dtype.kind != "f":
            return math.inf
    elif isinstance(got, (int, float)) and b.ndim == 0:
        a = np.asarray(got)
    else:
        return math.inf
    if a.shape != b.shape and not (b.ndim == 0 and a.size == 1):
        return math.inf
    with np.errstate(all="ignore"):
        gaps = np.abs(a.astype(float) - b) / (1 + np.abs(b))
    gaps = np.where(a == b, 0.0, gaps)  # minus infinity equals itself
    return float(np.nan_to_num(gaps, nan=math.inf).max(initial=0.0))


def _t(array: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(dtype)


def _images(rng: np.random.Generator) -> Iterable[Tensor]:
    for size in (1, 2, 3, 5, 8):
        height, width = rng.integers(2, 7, 2)
        yield _t(rng.random((size, 3, height, width)))
    yield _t(rng.random((4, 3, 3, 5)), torch.float64)


def _flip_inputs(rng: np.random.Generator) -> Iterable[tuple[Tensor, Tensor]]:
    for x in _images(rng):
        for _ in range(2):
            yield x, torch.from_numpy(rng.random(len(x)) < 0.5)
        yield x, torch.ones(len(x), dtype=torch.bool)
        yield x, torch.zeros(len(x), dtype=torch.bool)


def _flip(x: Tensor, coin: Tensor) -> np.ndarray:
    out = x.numpy().astype(float)
    for i, heads in enumerate(coin.tolist()):
        if heads:
            out[i] = out[i][:, :, ::-1].copy()
    return out


def _gray(x: Tensor) -> np.ndarray:
    a = x.numpy().astype(float)
    luma = 0.299 * a[:, 0] + 0.587 * a[:, 1] + 0.114 * a[:, 2]
    return np.stack([luma, luma, luma], axis=1)


def _positive(n: int) -> np.ndarray:
    return np.array([i + n if i < n else i - n for i in range(2 * n)], dtype=np.int64)


def _logit_inputs(rng: np.random.Generator) -> Iterable[tuple[Tensor]]:
    for rows, columns in ((1, 1), (1, 4), (4, 1), (3, 3), (4, 6), (7, 2)):
        for scale, shift in ((1, 0), (30, 0), (1, 5000), (1, -5000), (3000, 0), (1e-3, 0)):
            yield (_t(scale * rng.standard_normal((rows, columns)) + shift),)
    x = 10 * rng.standard_normal((4, 5))
    x[1, 2] = x[3, 0] = -np.inf
    yield (_t(x),)


def _logsumexp(x: Tensor) -> np.ndarray:
    a = x.double().numpy()
    top = a.max(1)
    return top + np.log(np.exp(a - top[:, None]).sum(1))


def _cosine(z: Tensor) -> np.ndarray:
    a = z.detach().double().numpy()
    out = np.zeros((len(a), len(a)))
    for i, u in enumerate(a):
        for j, v in enumerate(a):
            out[i, j] = (u @ v) / math.sqrt((u @ u) * (v @ v))
    return out


def _row_inputs(rng: np.random.Generator) -> Iterable[tuple[Tensor]]:
    for rows, width in ((1, 3), (2, 2), (3, 3), (5, 2), (4, 7)):
        for scale in (1.0, 30.0, 0.01):
            yield (_t(scale * rng.standard_normal((rows, width))),)
    yield (_t(rng.standard_normal((4, 3)), torch.float64),)


def _pair_inputs(rng: np.random.Generator) -> Iterable[tuple[Tensor, Tensor, float]]:
    for n, width in ((1, 3), (2, 2), (3, 5), (4, 4), (6, 3), (8, 8)):
        for temperature in (0.5, float(rng.uniform(0.07, 0.3)), float(rng.uniform(1, 2)), 0.01):
            z = rng.standard_normal((n, width))
            near = z + rng.choice([0.1, 1.0]) * rng.standard_normal(z.shape)
            yield _t(z), _t(rng.choice([0.1, 1, 20.0]) * near), temperature


def _nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> float:
    s = _cosine(torch.cat([z1, z2])) / temperature
    n, total = len(z1), 0.0
    for i in range(2 * n):
        others = [s[i, k] for k in range(2 * n) if k != i]
        top = max(others)
        total += top + math.log(sum(math.exp(v - top) for v in others)) - s[i, (i + n) % (2 * n)]
    return total / (2 * n)


def _candidate_inputs(rng: np.random.Generator) -> Iterable[tuple[Tensor, float]]:
    for number in (2, 3, 5, 9, 30):
        for temperature in (0.5, 0.1, float(rng.uniform(1, 4)), 0.02, 0.005):
            s = rng.uniform(-1, 1, number)
            yield _t(s), temperature
            s[0] = 0.999 if rng.random() < 0.5 else -0.99
            yield _t(s), temperature
    yield _t(rng.uniform(-1, 1, 6), torch.float64), 0.3


def _weights(similarities: Tensor, temperature: float) -> np.ndarray:
    logits = similarities.double().numpy() / temperature
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def _share(similarities: Tensor, temperature: float) -> np.ndarray:
    return _weights(similarities[1:], temperature)


def _unit_inputs(rng: np.random.Generator) -> Iterable[tuple[Any, ...]]:
    for rows, width in ((2, 2), (3, 3), (4, 4), (6, 3), (12, 8)):
        z = rng.standard_normal((rows, width))
        z = _t(z / np.linalg.norm(z, axis=1, keepdims=True))
        yield (z, 2.0)
        yield (z, float(rng.uniform(0.3, 5)))


def _unit_inputs_and_default(rng: np.random.Generator) -> Iterable[tuple[Any, ...]]:
    for inputs in _unit_inputs(rng):
        yield inputs
        yield inputs[:1]


def _uniformity(z: Tensor, t: float = 2.0) -> float:
    a = z.detach().double().numpy()
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    return math.log(sum(math.exp(-t * ((a[i] - a[j]) ** 2).sum()) for i, j in pairs) / len(pairs))


def _step_inputs(rng: np.random.Generator) -> Iterable[tuple[int, int, int, float]]:
    for total, warmup in ((10, 3), (8, 1), (25, 5), (12, 0), (6, 5), (100, 10)):
        base = float(rng.uniform(0.05, 3))
        for step in range(total):
            yield step, total, warmup, base


def _rate(step: int, total_steps: int, warmup_steps: int, base_lr: float, ahead: int = 0) -> float:
    if step < warmup_steps:
        return base_lr * (step + ahead) / warmup_steps
    t = (step - warmup_steps) / (total_steps - warmup_steps)
    return base_lr * 0.5 * (1 + math.cos(math.pi * t))


def _rate_of_the_end(step: int, total_steps: int, warmup_steps: int, base_lr: float) -> float:
    return _rate(step, total_steps, warmup_steps, base_lr, 1)


def _label_inputs(rng: np.random.Generator) -> Iterable[tuple[Tensor]]:
    for size, classes in ((1, 1), (5, 2), (12, 3), (30, 10), (200, 4)):
        yield (torch.from_numpy(rng.integers(0, classes, size)),)
        yield (torch.from_numpy(rng.integers(0, classes, size) * 7 + 3),)


def _order(labels: Tensor) -> np.ndarray:
    return np.array(sorted(range(len(labels)), key=lambda i: int(labels[i])), dtype=np.int64)


def _neighbour_inputs(rng: np.random.Generator) -> Iterable[tuple[Tensor, Tensor, int]]:
    for queries, gallery, width, k in ((1, 4, 3, 2), (3, 7, 2, 1), (5, 5, 5, 5), (6, 20, 4, 3), (4, 9, 8, 9)):
        scales = rng.choice([0.1, 1, 10], (gallery, 1))
        yield _t(rng.standard_normal((queries, width))), _t(scales * rng.standard_normal((gallery, width))), k


def _neighbours(queries: Tensor, gallery: Tensor, k: int) -> np.ndarray:
    both = _cosine(torch.cat([queries, gallery]))[: len(queries), len(queries) :]
    return np.argsort(-both, axis=1, kind="stable")[:, :k].astype(np.int64)


def _matrix_inputs(rng: np.random.Generator) -> Iterable[tuple[Tensor]]:
    for rows, width, rank in ((6, 3, 3), (3, 6, 2), (10, 10, 4), (20, 5, 5), (12, 4, 1)):
        x = rng.standard_normal((rows, rank)) @ (rng.standard_normal((rank, width)) * rng.uniform(0.2, 3))
        for scale in (1.0, 50.0, 0.02):
            centred = x - x.mean(0)
            if np.linalg.norm(centred) > 1e-6:
                yield (_t(scale * centred, torch.float64),)
                yield (_t(scale * centred),)


def _rank(x: Tensor) -> float:
    a = x.double().numpy()
    s = np.linalg.svd(a - a.mean(0), compute_uv=False)
    p = s[s > 0] / s.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


VALUES = {
    "horizontal_flip": Values(_flip_inputs, _flip),
    "grayscale": Values(lambda rng: ((x,) for x in _images(rng)), _gray),
    "positive_index": Values(lambda rng: ((n,) for n in (1, 2, 3, 4, 7, 16)), _positive),
    "stable_logsumexp": Values(_logit_inputs, _logsumexp),
    "cosine_similarity_matrix": Values(_row_inputs, _cosine),
    "nt_xent": Values(_pair_inputs, _nt_xent, gradient=True),
    "softmax_weights": Values(_candidate_inputs, _weights),
    "gradient_share": Values(_candidate_inputs, _share),
    "uniformity": Values(_unit_inputs_and_default, _uniformity),
    "learning_rate": Values(_step_inputs, _rate, other=_rate_of_the_end),
    "order_by_class": Values(_label_inputs, _order),
    "nearest_neighbours": Values(_neighbour_inputs, _neighbours),
    "effective_rank": Values(_matrix_inputs, _rank, same_dtype=False),
}
