"""Exercise: one training step."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Function,
    Mistake,
    Problem,
    generator,
    read_float,
    whole,
)


class _Model(nn.Module):
    """Images to (h, z), with BatchNorm in the encoder."""

    def __init__(self, rng: torch.Generator, pixels: int, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.projection_head = nn.Linear(width, width)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=rng) / width**0.5 + float(p.ndim == 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(x, Tensor) and x.shape[1:] != (3, 2, 2):
            raise ValueError(f"the model takes images (B, 3, 2, 2), got {tuple(x.shape)}")
        h = self.encoder(x)  # (B, width)
        return h, self.projection_head(h)


def _contrast(z1: Tensor, z2: Tensor) -> Tensor:
    """NT-Xent at temperature 0.5, as the loss of the exercise."""
    z = F.normalize(torch.cat([z1, z2]), dim=1)  # (2N, d)
    logits = (z @ z.T / 0.5).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def _step_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(2):
        rng = generator(1000 * seed + k)
        sizes = (whole(rng, 4, 6), whole(rng, 3, 5) if k else whole(rng, 7, 9))  # two steps, unequal batches
        batches = []
        for size in sizes:
            x = torch.rand(size, 3, 2, 2, generator=rng)
            views = [x + 0.2 * torch.randn(x.shape, generator=rng) + shift for shift in (0.0, 0.7)]
            batches.append(tuple(views))
        cases.append((1000 * seed + k, *batches))
    return cases


def _two_steps(train_step: Function, inputs: Arguments) -> Tensor:
    """Train a small model for two steps: losses, counts, weights and statistics, what else was changed."""
    seed, *batches = inputs
    order: list[str] = []  # what happened first: "backward" or "step"
    model = _Model(generator(seed), pixels=12, width=5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    optimizer.register_step_post_hook(lambda *_: order.append("step"))  # after a closure, if there is one
    weight: Any = model.projection_head.weight  # register_hook has no types
    weight.register_hook(lambda gradient: order.append("backward"))
    losses = []
    for views in batches:
        loss = train_step(model, views, optimizer, _contrast)
        if isinstance(loss, Tensor) and loss.requires_grad:
            raise Problem(
                "It returned the loss as a tensor that still holds the graph of the whole step, so a list "
                "of losses keeps every step in memory. Return a plain float."
            )
        losses.append(float(read_float(loss)))
    state = [t.detach().double().flatten() for t in (*model.parameters(), *model.buffers())]
    counts = [order.count("step"), order.count("backward"), order[:1] == ["step"]]
    left = [not p.requires_grad for p in model.parameters()] + [not m.training for m in model.modules()]
    return torch.cat([torch.tensor([*losses, *counts, *left], dtype=torch.float64), *state])


def _both(model: nn.Module, views: tuple[Tensor, Tensor], which: int = 1) -> tuple[Tensor, Tensor]:
    """h (``which`` 0) or z (1) of the two views, from one pass."""
    out = model(torch.cat(views))[which]  # (2N, d)
    return out[: len(views[0])], out[len(views[0]) :]


def _update(optimizer: torch.optim.Optimizer, loss: Tensor, order: str = "zero backward step") -> float:
    actions: dict[str, Function] = {
        "zero": optimizer.zero_grad,
        "backward": loss.backward,
        "step": optimizer.step,
    }
    for action in order.split():
        actions[action]()
    return float(loss.detach())


def _reference_step(
    model: nn.Module, views: tuple[Tensor, Tensor], optimizer: Any, loss_fn: Function
) -> float:
    return _update(optimizer, loss_fn(*_both(model, views)))


def _in_order(order: str) -> Function:
    """The training step with its three actions in another order, or some of them left out."""
    return lambda model, views, optimizer, loss_fn: _update(optimizer, loss_fn(*_both(model, views)), order)


def _two_passes(model: nn.Module, views: tuple[Tensor, Tensor], optimizer: Any, loss_fn: Function) -> float:
    return _update(optimizer, loss_fn(model(views[0])[1], model(views[1])[1]))


def _two_passes_swapped(
    model: nn.Module, views: tuple[Tensor, Tensor], optimizer: Any, loss_fn: Function
) -> float:
    z2, z1 = model(views[1])[1], model(views[0])[1]
    return _update(optimizer, loss_fn(z1, z2))


def _on_h(model: nn.Module, views: tuple[Tensor, Tensor], optimizer: Any, loss_fn: Function) -> float:
    return _update(optimizer, loss_fn(*_both(model, views, which=0)))


def _on_h_two_passes(
    model: nn.Module, views: tuple[Tensor, Tensor], optimizer: Any, loss_fn: Function
) -> float:
    return _update(optimizer, loss_fn(model(views[0])[0], model(views[1])[0]))


def _h_against_z(batch: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """h and z of one pass as the two views."""
    return lambda model, views, optimizer, loss_fn: _update(optimizer, loss_fn(*model(batch(*views))))


def _one_view(number: int) -> Function:
    """The same view on both sides."""
    return lambda model, views, optimizer, loss_fn: _reference_step(
        model, (views[number],) * 2, optimizer, loss_fn
    )


def _same_z(model: nn.Module, views: tuple[Tensor, Tensor], optimizer: Any, loss_fn: Function) -> float:
    z1, _ = _both(model, views)
    return _update(optimizer, loss_fn(z1, z1))


def _in_eval_mode(model: nn.Module, views: tuple[Tensor, Tensor], optimizer: Any, loss_fn: Function) -> float:
    model.eval()
    return _reference_step(model, views, optimizer, loss_fn)


def _cut_columns(model: nn.Module, views: tuple[Tensor, Tensor], optimizer: Any, loss_fn: Function) -> float:
    z = torch.cat(_both(model, views))
    return _update(
        optimizer, loss_fn(*torch.split(z, [z.shape[1] // 2, z.shape[1] - z.shape[1] // 2], dim=1))
    )


def _cut_columns_evenly(
    model: nn.Module, views: tuple[Tensor, Tensor], optimizer: Any, loss_fn: Function
) -> float:
    return _update(optimizer, loss_fn(*torch.cat(_both(model, views)).chunk(2, dim=1)))


def _every_other_row(
    model: nn.Module, views: tuple[Tensor, Tensor], optimizer: Any, loss_fn: Function
) -> float:
    z = torch.cat(_both(model, views))
    return _update(optimizer, loss_fn(z[0::2], z[1::2]))


def _loss_afterwards(
    model: nn.Module, views: tuple[Tensor, Tensor], optimizer: Any, loss_fn: Function
) -> float:
    _reference_step(model, views, optimizer, loss_fn)
    return float(loss_fn(*_both(model, views)).detach())


def _explain_step(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    counts, right = got[2:4].int().tolist(), wanted[2:4].int().tolist()
    if counts[0] != right[0]:
        return f"In two training steps optimizer.step() ran {counts[0]} times; it should run twice."
    if counts[1] != right[1]:
        return f"In two training steps the gradients were computed {counts[1]} times; it should be twice."
    for name, g, w in zip(("first", "second"), got, wanted, strict=False):
        if not abs(g - w) <= 1e-3:  # NaN differs too
            factor = g / w
            ratio = f", {factor:.4g} times as much" if factor.isfinite() else ""
            if name == "second":
                return (
                    "The first loss is right, but the second is not: the first update went elsewhere, "
                    "since another gradient was applied, or the second batch, of another size, was cut "
                    f"differently. Expected {w:.4f}, got {g:.4f}."
                )
            return (
                f"The loss of the {name} step differs: expected {w:.4f}, got {g:.4f}{ratio}. z of view 1 "
                "and z of view 2 should go into the loss, row k of both from image k, and what it gives "
                "should come back as it is."
            )
    if got[5:_BEGIN].any():
        frozen = "freezes parameters" if got[5 : 5 + _PARAMETERS].any() else "leaves it in evaluation mode"
        return f"The step changes the caller's model otherwise: it {frozen}. The next step would differ."
    return "Both losses are as expected, but the weights or BatchNorm statistics after the steps are not."


_PARAMETERS = len(list(_Model(generator(0), 12, 5).parameters()))
_BEGIN = 5 + _PARAMETERS + len(list(_Model(generator(0), 12, 5).modules()))  # of weights and statistics


def _place_views(inputs: Arguments, got: Tensor | None, wanted: Tensor) -> str:
    first, second = (tuple(views[0].shape) for views in inputs[1:])
    return f"Smallest failing case: a step with views of shape {first}, then one with {second}"


TRAIN_STEP = ComparedExercise(
    name="train_step",
    parameters=("model", "views", "optimizer", "loss_fn"),
    asks="``train_step(model, views, optimizer, loss_fn)``: one step of pretraining",
    details=(
        "``model`` maps images to ``(h, z)`` and contains BatchNorm, ``views`` is ``(v1, v2)``, each (N, "
        "3, H, W), and ``loss_fn(z1, z2)`` a scalar. The views go through the model together; the loss "
        "comes back as a float. N may change from step to step. Apart from weights, statistics and gradients "
        "the model is left as it came."
    ),
    difficulty=3,
    minutes=10,
    cases=_step_cases,
    oracles=(_reference_step,),
    run=_two_steps,
    inputs=("seed", "views", "views"),
    explain=_explain_step,
    place=_place_views,
    mistakes=(
        Mistake(
            "The model ran twice, once per view, so BatchNorm saw each view by itself. Many published codes "
            "do so; the statistics and gradients asked for here are those of one pass over both views.",
            (_two_passes, _two_passes_swapped),
        ),
        Mistake(
            "The gradients were never cleared: those of the second step are added to those of the first.",
            (_in_order("backward step"),),
        ),
        Mistake(
            "The weights did not move: the optimizer never took its step.", (_in_order("zero backward"),)
        ),
        Mistake(
            "The gradients were cleared between backward and step, so the optimizer had nothing to apply.",
            (_in_order("backward zero step"),),
        ),
        Mistake(
            "The gradients were never computed: backward is missing.",
            (_in_order("zero step"), _in_order("step")),
        ),
        Mistake("Neither backward nor a step of the optimizer was run.", (_in_order(""), _in_order("zero"))),
        Mistake(
            "The optimizer stepped before backward, so each update applied the previous gradients, or none.",
            (_in_order("zero step backward"),),
            raises=r"modified by an inplace operation",  # from the second step on
        ),
        Mistake(
            "The loss was taken on h, the encoder's output. SimCLR's loss sees z, after the projection head.",
            (_on_h, _on_h_two_passes),
        ),
        Mistake(
            "h and z of one batch were given to the loss as the two views. The model returns (h, z) for any "
            "batch; the two views are the two halves of the rows of z.",
            (_h_against_z(lambda a, b: torch.cat([a, b])), _h_against_z(lambda a, b: a)),
        ),
        Mistake(
            "Both sides of the loss came from the same view. Use one and the other.",
            (_one_view(0), _one_view(1), _same_z),
        ),
        Mistake(
            "The model was in evaluation mode: BatchNorm used its running statistics and did not update "
            "them.",
            (_in_eval_mode,),
        ),
        Mistake(
            "The views were joined along the channels (dimension 1). Join them along dimension 0, the batch.",
            raises=r"takes images \(B, 3, 2, 2\), got \(\d+, 6, 2, 2\)",
        ),
        Mistake(
            "The views were joined along the height or width of the images. Join them along dimension 0, the "
            "batch.",
            raises=r"takes images \(B, 3, 2, 2\), got \(\d+, 3, (4, 2|2, 4)\)",
        ),
        Mistake(
            "torch.stack makes a new dimension, (2, N, 3, H, W). torch.cat joins the views into one batch, "
            "(2N, 3, H, W).",
            raises=r"takes images \(B, 3, 2, 2\), got \(\d+, \d+, 3, 2, 2\)",
        ),
        Mistake(
            "z was cut along its columns. The two views are the two halves of the rows.",
            (_cut_columns, _cut_columns_evenly),
            raises=r"same shape|mat1 and mat2|Sizes of tensors must match|Expected size",
        ),
        Mistake(
            "z was cut into even and odd rows. After stacking, the first N rows are view 1 and the last N "
            "are view 2.",
            (_every_other_row,),
        ),
        Mistake(
            "The optimizer took two steps in one training step.", (_in_order("zero backward step step"),)
        ),
        Mistake(
            "The loss came from another pass after the update. Return that of the pass that was used.",
            (_loss_afterwards,),
        ),
        Mistake(
            "The loss has no graph to go back through: it was computed under no_grad, or detached too early.",
            raises=r"does not require grad",
        ),
    ),
)
