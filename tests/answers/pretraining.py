"""Answers to the exercises of notebook 04: wrong ones with words of their diagnosis, and right ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from answers.cell import cell
from simclr_edu.simclr import ProjectionHead


def rate_start(step, total_steps, warmup_steps, base_lr):
    if step < warmup_steps:
        return base_lr * step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return base_lr * 0.5 * (1 + math.cos(math.pi * progress))


def rate_end(step, total_steps, warmup_steps, base_lr):
    step += 1
    if step <= warmup_steps:
        return base_lr * step / warmup_steps
    return base_lr * math.cos(0.5 * math.pi * (step - warmup_steps) / (total_steps - warmup_steps)) ** 2


def rate_mixed(step, total_steps, warmup_steps, base_lr):
    if step < warmup_steps:
        return np.float64(base_lr) * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps - 1)
    return base_lr * (1 + np.cos(np.pi * progress)) / 2


def head_sequential(in_dim, hidden_dim, out_dim):
    return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))


def head_batchnorm(in_dim, hidden_dim, out_dim):
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim, bias=False),
        nn.BatchNorm1d(hidden_dim),
        nn.ReLU(inplace=True),
        nn.Linear(hidden_dim, out_dim),
    )


class HeadClass(nn.Module):
    def __init__(self, in_dim, hidden_dim, out_dim):
        super().__init__()
        self.second = nn.Linear(hidden_dim, out_dim)
        self.first = nn.Linear(in_dim, hidden_dim)

    def forward(self, h):
        return self.second(F.relu(self.first(h)))


def step_chunk(model, views, optimizer, loss_fn):
    _, z = model(torch.cat(views))
    z1, z2 = z.chunk(2)
    loss = loss_fn(z1, z2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def step_clear_last(model, views, optimizer, loss_fn):
    v1, v2 = views
    model.train()
    z = model(torch.cat([v1, v2], dim=0))[1]
    loss = loss_fn(z[: len(v1)], z[len(v1) :])
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def step_clear_by_hand(model, views, optimizer, loss_fn):
    for p in model.parameters():
        p.grad = None
    z1, z2 = model(torch.cat(views))[1].split(len(views[0]))
    loss = loss_fn(z1, z2)
    loss.backward()
    optimizer.step()
    return loss.detach().item()


class OwnParameters(nn.Module):
    def __init__(self, in_dim, hidden_dim, out_dim, *, turned=False, trained=True, detached=False):
        super().__init__()
        shapes = [(hidden_dim, in_dim), (out_dim, hidden_dim)]
        self.first, self.second = (
            nn.Parameter(torch.randn(shape if turned else shape[::-1]), requires_grad=trained)
            for shape in shapes
        )
        self.shift = nn.Parameter(torch.randn(hidden_dim))
        self.turned, self.detached = turned, detached

    def forward(self, h):
        first, second = (w.T if self.turned else w for w in (self.first, self.second))
        hidden = (h @ first + self.shift).clamp(min=0)
        return (hidden.detach() if self.detached else hidden) @ second


def head_of_the_authors(in_dim, hidden_dim, out_dim):
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim, bias=False),
        nn.BatchNorm1d(hidden_dim),
        nn.ReLU(),
        nn.Linear(hidden_dim, out_dim, bias=False),
        nn.BatchNorm1d(out_dim),
    )


def step_with_closure(model, views, optimizer, loss_fn):
    def closure():
        optimizer.zero_grad()
        loss = loss_fn(*model(torch.cat(views))[1].chunk(2))
        loss.backward()
        return loss

    return optimizer.step(closure).item()


RIGHT = {
    "learning_rate": [
        rate_start,
        rate_end,
        rate_mixed,
    ],
    "projection_head": [
        head_sequential,
        head_batchnorm,
        HeadClass,
        OwnParameters,
        lambda i, m, o: OwnParameters(i, m, o, turned=True),
        lambda i, m, o: nn.Sequential(nn.Linear(i, m), nn.ReLU(), nn.BatchNorm1d(m), nn.Linear(m, o)),
        head_of_the_authors,
    ],
    "train_step": [
        step_chunk,
        step_clear_last,
        step_clear_by_hand,
        step_with_closure,
    ],
}


def rate(decay, *, warm=lambda step, warmup: step / warmup, progress=None):
    progress = progress or (lambda step, total, warmup: (step - warmup) / (total - warmup))

    def schedule(step, total_steps, warmup_steps, base_lr):
        if step < warmup_steps:
            return base_lr * warm(step, warmup_steps)
        return base_lr * decay(progress(step, total_steps, warmup_steps))

    return schedule


def cosine(p):
    return (1 + math.cos(math.pi * p)) / 2


def divides_by_zero(step, total_steps, warmup_steps, base_lr):
    ramp = min(1.0, step / warmup_steps)
    progress = max(0.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return base_lr * ramp * cosine(progress)


class Twice(nn.Module):
    def __init__(self, in_dim, hidden_dim, out_dim):
        super().__init__()
        self.layers = [nn.Linear(in_dim, hidden_dim), nn.Linear(hidden_dim, out_dim)]

    def forward(self, h):
        return self.layers[1](torch.relu(self.layers[0](h)))


def chain(*layers):
    return nn.Sequential(*layers)


def update(loss, optimizer):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def fused(model, views, which=1):
    return model(torch.cat(views))[which].chunk(2)


def two_passes(model, views, optimizer, loss_fn):
    (_, z1), (_, z2) = model(views[0]), model(views[1])
    return update(loss_fn(z1, z2), optimizer)


def no_zero_grad(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    loss.backward()
    optimizer.step()
    return loss.item()


def no_step(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    optimizer.zero_grad()
    loss.backward()
    return loss.item()


def cleared_late(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def no_backward(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


def only_the_loss(model, views, optimizer, loss_fn):
    return loss_fn(*fused(model, views)).item()


def step_first(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    optimizer.step()
    optimizer.zero_grad()
    loss.backward()
    return loss.item()


def step_first_cleared(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    optimizer.zero_grad()
    optimizer.step()
    loss.backward()
    return loss.item()


def on_h(model, views, optimizer, loss_fn):
    return update(loss_fn(*fused(model, views, which=0)), optimizer)


def same_view(model, views, optimizer, loss_fn):
    v1, _ = views
    return update(loss_fn(*fused(model, (v1, v1))), optimizer)


def in_eval(model, views, optimizer, loss_fn):
    model.eval()
    return update(loss_fn(*fused(model, views)), optimizer)


def cut_columns(model, views, optimizer, loss_fn):
    z1, z2 = model(torch.cat(views))[1].chunk(2, dim=1)
    return update(loss_fn(z1, z2), optimizer)


def interleaved(model, views, optimizer, loss_fn):
    z = model(torch.cat(views))[1]
    return update(loss_fn(z[::2], z[1::2]), optimizer)


def two_steps(model, views, optimizer, loss_fn):
    value = update(loss_fn(*fused(model, views)), optimizer)
    optimizer.step()
    return value


def loss_afterwards(model, views, optimizer, loss_fn):
    update(loss_fn(*fused(model, views)), optimizer)
    return loss_fn(*fused(model, views)).item()


def keeps_graph(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    update(loss, optimizer)
    return loss


def detached_tensor(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    update(loss, optimizer)
    return loss.detach()


def under_no_grad(model, views, optimizer, loss_fn):
    with torch.no_grad():
        z1, z2 = fused(model, views)
    return update(loss_fn(z1, z2), optimizer)


def by_hand(model, views, optimizer, loss_fn):
    loss = loss_fn(*fused(model, views))
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.01 * p.grad
    return loss.item()


def own_loss(model, views, optimizer, loss_fn):
    z1, z2 = fused(model, views)
    return update((z1 - z2).square().mean(), optimizer)


def normalised_and_forgotten(model, views, optimizer, loss_fn):
    z1, z2 = fused(model, views, which=0)
    F.normalize(z1, dim=1)
    return update(loss_fn(z1, z2), optimizer)


class Altered(nn.Module):
    def __init__(
        self, in_dim, hidden_dim, out_dim, before=torch.clone, between=torch.relu, after=torch.clone
    ):
        super().__init__()
        self.first, self.second = nn.Linear(in_dim, hidden_dim), nn.Linear(hidden_dim, out_dim)
        self.before, self.between, self.after = before, between, after

    def forward(self, h):
        hidden = self.first(self.before(h))
        hidden = hidden.relu().detach() if self.between is torch.detach else self.between(hidden)
        return self.after(self.second(hidden))


def frozen_first_layer(in_dim, hidden_dim, out_dim):
    head = HeadClass(in_dim, hidden_dim, out_dim)
    head.first.requires_grad_(False)
    return head


def joined_along(dim):
    return lambda model, views, optimizer, loss_fn: update(
        loss_fn(*model(torch.cat(views, dim))[1].chunk(2)), optimizer
    )


def views_stacked(model, views, optimizer, loss_fn):
    return update(loss_fn(*model(torch.stack(views))[1].chunk(2)), optimizer)


def leaves_it_evaluating(model, views, optimizer, loss_fn):
    model.train()
    value = update(loss_fn(*fused(model, views)), optimizer)
    model.eval()
    return value


def leaves_it_frozen(model, views, optimizer, loss_fn):
    value = update(loss_fn(*fused(model, views)), optimizer)
    model.requires_grad_(False)
    return value


WRONG = {
    "learning_rate": [
        (lambda step, total_steps, warmup_steps, base_lr: base_lr * cosine(step / total_steps), "no warm-up"),
        (rate(cosine, warm=lambda step, warmup: 1.0), "no warm-up"),
        (rate(cosine, progress=lambda step, total, warmup: step / total), "warm-up included"),
        (
            rate(cosine, progress=lambda step, total, warmup: (step - warmup) / total),
            "stretched over total_steps",
        ),
        (rate(lambda p: 1 - p), "straight line"),
        (rate(lambda p: 1 + math.cos(math.pi * p)), "factor 1/2 is missing"),
        (rate(lambda p: math.cos(math.pi * p)), "becomes negative"),
        (rate(lambda p: math.cos(math.pi * p / 2)), "quarter of a cosine"),
        (rate(lambda p: (1 - math.cos(math.pi * p)) / 2), "goes up instead of down"),
        (rate(lambda p: (1 + math.cos(p)) / 2), "not from 0 to pi"),
        (rate(lambda p: (1 + math.cos(180 * p)) / 2), "in degrees"),
        (
            lambda step, total_steps, warmup_steps, base_lr: rate(cosine)(
                step, total_steps, warmup_steps, 1.0
            ),
            "base_lr is not used",
        ),
        (rate(lambda p: 1.0), "decay is missing"),
        (divides_by_zero, "warmup_steps may be 0"),
        (
            cell(
                """
                def f(step, total_steps, warmup_steps, base_lr):
                    return tau * min(1.0, step / max(1, warmup_steps)) * (1 - step / total_steps)
                """,
                tau=0.5,
            ),
            "never uses its argument base_lr; it reads tau from outside",
        ),
    ],
    "projection_head": [
        (lambda i, m, o: chain(nn.Linear(i, m), nn.Linear(m, o)), "nothing between the two"),
        (lambda i, m, o: chain(nn.Linear(i, o), nn.ReLU()), "There is one linear layer"),
        (
            lambda i, m, o: chain(nn.Linear(i, m), nn.ReLU(), nn.Linear(m, o), nn.ReLU()),
            "z is never negative",
        ),
        (lambda i, m, o: chain(nn.ReLU(), nn.Linear(i, m), nn.Linear(m, o)), "before the first layer"),
        (lambda i, m, o: chain(nn.Linear(i, m), nn.Tanh(), nn.Linear(m, o)), "is tanh, not ReLU"),
        (lambda i, m, o: chain(nn.Linear(i, m), nn.BatchNorm1d(m), nn.Linear(m, o)), "negative entries"),
        (lambda i, m, o: chain(nn.Linear(i, m), nn.Sigmoid(), nn.Linear(m, o)), "is a sigmoid, not ReLU"),
        (lambda i, m, o: chain(nn.Linear(i, o), nn.ReLU(), nn.Linear(o, m)), "which width goes where"),
        (lambda i, m, o: chain(nn.Linear(i, i), nn.ReLU(), nn.Linear(i, o)), "which width goes where"),
        (
            lambda i, m, o: chain(nn.Linear(i, m), nn.ReLU(), nn.Linear(m, m), nn.ReLU(), nn.Linear(m, o)),
            "3 linear layers",
        ),
        (lambda i, m, o: Twice, "returned a class"),
        (Twice, "no parameters"),
        (lambda i, m, o: [nn.Linear(i, m), nn.ReLU(), nn.Linear(m, o)], "must return one nn.Module"),
        (lambda i, m, o: chain(nn.Linear(m, i), nn.ReLU(), nn.Linear(i, o)), "RuntimeError"),
        (
            lambda i, m, o: ProjectionHead(i, m, o),
            "The work was done by simclr.ProjectionHead. Write it yourself",
        ),
        (
            cell(
                "def f(i, m, o): return nn.Sequential(nn.Linear(i, width), nn.ReLU(), nn.Linear(width, o))",
                width=3,
            ),
            "never uses its argument m; it reads width from outside",
        ),
        (frozen_first_layer, "The parameter first.weight is frozen"),
        (lambda i, m, o: HeadClass(i, m, o).requires_grad_(False), "is frozen"),
        (lambda i, m, o: OwnParameters(i, m, o, trained=False), "The parameter first is frozen"),
        (lambda i, m, o: OwnParameters(i, m, o, detached=True), "The gradient does not reach h"),
        (lambda i, m, o: Altered(i, m, o, between=torch.detach), "The gradient does not reach h"),
        (lambda i, m, o: Altered(i, m, o, before=torch.detach), "The gradient does not reach h"),
        (lambda i, m, o: Altered(i, m, o, after=torch.detach), "z has no gradient"),
        (lambda i, m, o: Altered(i, m, o, after=torch.tanh), "something comes after it"),
        (lambda i, m, o: Altered(i, m, o, before=torch.tanh), "h is to go straight into it"),
        (lambda i, m, o: Altered(i, m, o, between=F.gelu), "is GELU, not ReLU"),
        (lambda i, m, o: chain(nn.Linear(i, m), nn.LeakyReLU(), nn.Linear(m, o)), "a leaky ReLU, not ReLU"),
    ],
    "train_step": [
        (two_passes, "The model ran twice"),
        (no_zero_grad, "never cleared"),
        (no_step, "never took its step"),
        (cleared_late, "cleared between backward and step"),
        (no_backward, "backward is missing"),
        (only_the_loss, "Neither backward nor a step"),
        (step_first, "stepped before backward"),
        (step_first_cleared, "stepped before backward"),
        (on_h, "loss was taken on h"),
        (same_view, "the same view"),
        (in_eval, "evaluation mode"),
        (cut_columns, "along its columns"),
        (interleaved, "even and odd rows"),
        (two_steps, "two steps in one training step"),
        (loss_afterwards, "another pass after the update"),
        (keeps_graph, "still holds the graph"),
        (detached_tensor, "must return a plain float"),
        (under_no_grad, "no graph to go back through"),
        (by_hand, "ran 0 times"),
        (own_loss, "Your function never uses its argument loss_fn."),
        (normalised_and_forgotten, "What F.normalize(...) returns is thrown away"),
        (joined_along(1), "joined along the channels (dimension 1)"),
        (joined_along(2), "joined along the height or width"),
        (joined_along(-1), "joined along the height or width"),
        (views_stacked, "torch.stack makes a new dimension, (2, N, 3, H, W)"),
        (lambda m, v, o, f: update(f(*m(torch.cat(v))), o), "h and z of one batch were given"),
        (lambda m, v, o, f: update(f(*m(v[0])), o), "h and z of one batch were given"),
        (leaves_it_evaluating, "evaluation mode"),
        (leaves_it_frozen, "no graph to go back through"),
    ],
}
