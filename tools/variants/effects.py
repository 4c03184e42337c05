"""Judges of answers that do something: train, freeze, draw, build. They share nothing with the checks."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Answer = Callable[..., Any]


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# A judge returns "right", "wrong" or "undecided"; whatever the answer raises makes it wrong.
def two_views(answer: Answer, seed: int) -> str:
    """Each row of either view is an output of the augmentation for that image itself, all drawn apart."""
    for size in (1, 2, 3, 6):
        x = torch.rand(size, 3, 4, 5, generator=_rng(seed + size))
        before, seen = x.clone(), []  # (what went in, what came out) for every image of every call

        def augment(batch: Tensor, seen: list[tuple[Tensor, Tensor]] = seen) -> Tensor:
            assert batch.ndim == 4
            out = torch.stack([image + 1 + len(seen) + k for k, image in enumerate(batch)])
            seen += list(zip(batch.clone(), out.clone(), strict=True))
            return out

        views = answer(augment, x)
        if not isinstance(views, (tuple, list)) or len(views) != 2 or not torch.equal(x, before):
            return "wrong"
        used: list[int] = []
        for view in views:
            if not isinstance(view, Tensor) or view.shape != x.shape:
                return "wrong"
            for row, image in zip(view, x, strict=True):
                found = [k for k, (i, o) in enumerate(seen) if torch.equal(i, image) and torch.equal(o, row)]
                if not found:
                    return "wrong"
                used.append(found[0])
        if len(set(used)) < len(used):
            return "wrong"
    return "right"


def projection_head(answer: Answer, seed: int) -> str:
    """z is W2 relu(W1 h + b1) + b2 of the module's own parameters, which differ from module to module."""
    for sizes in ((5, 7, 3), (8, 4, 6), (3, 9, 2)):
        torch.manual_seed(seed)
        head, other = answer(*sizes), answer(*sizes)
        if not isinstance(head, nn.Module):
            return "wrong"
        shapes = {tuple(p.shape): p for p in head.parameters()}
        inside, hidden, out = sizes
        if not {(hidden, inside), (out, hidden)} <= set(shapes):
            return "wrong"
        if set(shapes) != {(hidden, inside), (hidden,), (out, hidden), (out,)}:
            return "undecided"  # without a bias
        if not all(p.requires_grad for p in head.parameters()):
            return "wrong"
        h = torch.randn(6, inside, generator=_rng(seed))
        z = head(h)
        between = (h @ shapes[hidden, inside].T + shapes[(hidden,)]).clamp(min=0)
        wanted = between @ shapes[out, hidden].T + shapes[(out,)]
        if z.shape != wanted.shape or not torch.allclose(z, wanted, 1e-3, 1e-5):
            return "wrong"
        got = torch.autograd.grad(z.square().sum(), list(head.parameters()), allow_unused=True)
        if any(g is None for g in got):
            return "wrong"
        if all(torch.equal(a, b) for a, b in zip(head.parameters(), other.parameters(), strict=True)):
            return "wrong"
    return "right"


class _Small(nn.Module):
    """Images to (h, z); no bias before BatchNorm, whose gradient would be rounding that Adam blows up."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(48, width, False), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(x)
        return h, self.head(h)


def _contrast(z1: Tensor, z2: Tensor) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    s = (z @ z.T / 0.4).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    return F.cross_entropy(s, torch.arange(len(z)).roll(len(z1)))


def _reference_step(model: Any, views: Any, optimizer: Any, loss_fn: Any) -> float:
    optimizer.zero_grad()
    z = model(torch.cat(views))[1]
    loss = loss_fn(z[: len(views[0])], z[len(views[0]) :])
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def train_step(answer: Answer, seed: int) -> str:
    """Three steps end with the reference's losses, weights and statistics."""
    optimizers = (
        lambda ps: torch.optim.SGD(ps, lr=0.2, momentum=0.9),
        lambda ps: torch.optim.Adam(ps, lr=0.02, eps=1e-3),
    )
    worst = 0.0
    for make in optimizers:
        torch.manual_seed(seed)
        model = _Small(6)
        twin = copy.deepcopy(model)
        one, two = make(model.parameters()), make(twin.parameters())
        for size in (5, 8, 4):
            views = (torch.randn(size, 3, 4, 4), torch.randn(size, 3, 4, 4))
            given = tuple(v.clone() for v in views)
            got, wanted = answer(model, given, one, _contrast), _reference_step(twin, views, two, _contrast)
            if isinstance(got, Tensor) and got.requires_grad:
                return "wrong"
            if not all(map(torch.equal, given, views)) or not model.training:
                return "wrong"
            if not isinstance(got, (int, float, Tensor)) or isinstance(got, bool):
                return "wrong"
            worst = max(worst, abs(float(got) - wanted))
            states = zip(model.state_dict().values(), twin.state_dict().values(), strict=True)
            worst = max(worst, *(float((a.double() - b.double()).abs().max()) for a, b in states))
    if not worst <= 1e-2:
        return "wrong"
    return "right" if worst <= 1e-3 else "undecided"


def _encoders(seed: int) -> list[nn.Module]:
    torch.manual_seed(seed)
    inner = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    made = [
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)),
        nn.Sequential(nn.Conv2d(3, 4, 3), inner, nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 6), nn.BatchNorm1d(6), nn.PReLU(), nn.LayerNorm(6)),
    ]
    for encoder in made:
        for _ in range(3):
            encoder(torch.rand(8, 3, 6, 6))
    return made


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def _same_state(module: nn.Module, state: dict[str, Tensor]) -> bool:
    now = module.state_dict()
    return list(now) == list(state) and all(torch.equal(now[k], v) for k, v in state.items())


def freeze(answer: Answer, seed: int) -> str:
    """No parameter wants a gradient, no module trains, and nothing else has changed."""
    for encoder in _encoders(seed):
        before, parts = _state(encoder), [id(m) for m in encoder.modules()]
        answer(encoder)
        if any(p.requires_grad for p in encoder.parameters()) or any(m.training for m in encoder.modules()):
            return "wrong"
        if not _same_state(encoder, before) or parts != [id(m) for m in encoder.modules()]:
            return "wrong"
    return "right"


def extract_features(answer: Answer, seed: int) -> str:
    """The features of the encoder in evaluation mode, in order, whatever the batch size."""
    for number, encoder in enumerate(_encoders(seed)):
        images = torch.randint(0, 256, (11, 3, 6, 6), generator=_rng(seed + number), dtype=torch.uint8)
        wanted = copy.deepcopy(encoder).eval()(images.double().float() / 255).detach()
        for size in (1, 4, 11, 64):
            encoder.train()
            before, given = _state(encoder), images.clone()
            got = answer(encoder, given, size)
            if not isinstance(got, Tensor) or got.requires_grad or got.dtype != wanted.dtype:
                return "wrong"
            if got.shape != wanted.shape or not torch.allclose(got, wanted, 1e-3, 1e-4):
                return "wrong"
            if not _same_state(encoder, before) or not torch.equal(given, images):
                return "wrong"
            if not all(p.requires_grad for p in encoder.parameters()):
                return "wrong"  # it froze what it was lent
    return "right"


def label_subset(answer: Answer, seed: int) -> str:
    """Counts by class, no image twice, the generator decides, every image alike, the classes apart."""
    for counts, fraction in (([20] * 6, 0.1), ([60, 33, 9, 3], 0.3), ([10, 20, 30], 1.0), ([7, 7, 40], 0.5)):
        names = torch.arange(len(counts)) * 2 + 1
        labels = names.repeat_interleave(torch.tensor(counts))
        labels = labels[torch.randperm(len(labels), generator=_rng(seed))]
        before, state = labels.clone(), torch.get_rng_state()
        drawn = [answer(labels, fraction, _rng(k)) for k in (5, 5, 6, 7)]
        if not torch.equal(state, torch.get_rng_state()) or not torch.equal(labels, before):
            return "wrong"
        for indices in drawn:
            if not isinstance(indices, Tensor) or indices.dtype != torch.int64 or indices.ndim != 1:
                return "wrong"
            if len(indices) == 0 or int(indices.min()) < 0 or int(indices.max()) >= len(labels):
                return "wrong"
            if len(indices.unique()) < len(indices):
                return "wrong"
            for name, count in zip(names.tolist(), counts, strict=True):
                got, due = int((labels[indices] == name).sum()), fraction * count
                if not (math.floor(due + 1e-6) <= got <= math.ceil(due - 1e-6) or got == 1 > due):
                    return "wrong"
        if not torch.equal(drawn[0], drawn[1]):
            return "wrong"
        if fraction < 1 and all(set(d.tolist()) == set(drawn[0].tolist()) for d in drawn[2:]):
            return "wrong"
    return _spread(answer)


def _spread(answer: Answer) -> str:
    """Over 400 seeds each of 20 images is drawn about equally often, and two classes do not go together."""
    labels = torch.arange(2).repeat(10)  # class 0 at even places
    times, together, draws = torch.zeros(20), 0, 400
    for seed in range(draws):
        indices = answer(labels, 0.3, _rng(1000 + seed))
        times[indices] += 1
        even, odd = (sorted(int(i) // 2 for i in indices if i % 2 == side) for side in (0, 1))
        together += even == odd
    # Expected 120 each with a deviation of 9; both classes alike with a chance of 1 in 120.
    if bool(((times - 120).abs() > 60).any()) or together > 40:
        return "wrong"
    return "right"


EFFECTS: dict[str, Callable[[Answer, int], str]] = {
    "two_views": two_views,
    "projection_head": projection_head,
    "train_step": train_step,
    "freeze": freeze,
    "extract_features": extract_features,
    "label_subset": label_subset,
}
