"""Exercises of notebook 04: the schedule, the projection head, one training step."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simclr_edu.exercises._harness import (
    RETURNED_NOTHING,
    Arguments,
    Exercise,
    Function,
    Mistake,
    Problem,
    Verdict,
    between,
    call_or_stop,
    check,
    examine,
    generator,
    kind,
    read_float,
    report,
    stop,
    whole,
)

# --- learning rate ------------------------------------------------------------------------------------------


def _schedule_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k, total in enumerate([8, 13, 20]):
        rng = generator(1000 * seed + k)
        warmup, base = whole(rng, 2, 2 + k), between(rng, 0.05, 0.6) + (0 if k else 1.5)
        cases.append((total, warmup, base))
    return [*cases, (7, 0, 0.3)]  # no warm-up at all


def _all_steps(schedule: Function, inputs: Arguments) -> Tensor:
    """The rate at every step, (total_steps,)."""
    rates = [schedule(step, *inputs) for step in range(inputs[0])]
    for rate in rates:
        if not isinstance(rate, float):
            read_float(rate)  # raises on anything but a number
    return torch.tensor(rates, dtype=torch.float64)


def _place_step(inputs: Arguments, got: Tensor | None, wanted: Tensor) -> str:
    names = ("total_steps", "warmup_steps", "base_lr")
    case = ", ".join(f"{name} = {value:g}" for name, value in zip(names, inputs, strict=True))
    if got is None:
        return f"Smallest failing case: {case}"
    step = int((~torch.isclose(got, wanted, 1e-5, 1e-7)).nonzero()[0])  # NaN differs too
    return f"Smallest failing case: step {step} of {case}: expected {wanted[step]:.4g}, got {got[step]:.4g}"


def _schedule(
    warm: Callable[[int, int], float], decay: Callable[[int, int, int], float]
) -> Callable[[int, int, int, float], float]:
    """A schedule from the share of the warm-up (step, warmup) and that of the decay (step, total, warmup)."""

    def rate(step: int, total_steps: int, warmup_steps: int, base_lr: float) -> float:
        if step < warmup_steps:
            return base_lr * warm(step, warmup_steps)
        return base_lr * decay(step, total_steps, warmup_steps)

    return rate


# Where in a step its rate is read is a convention: at its start, middle or end. All are accepted.
_WARM: tuple[Callable[[int, int], float], ...] = (
    lambda s, w: s / w,
    lambda s, w: (s + 1) / w,
    lambda s, w: (s + 0.5) / w,
)
_PROGRESS: tuple[Callable[[int, int, int], float], ...] = (
    lambda s, t, w: (s - w) / (t - w),
    lambda s, t, w: (s - w) / (t - w - 1),
    lambda s, t, w: (s - w + 1) / (t - w),
    lambda s, t, w: (s - w + 0.5) / (t - w),
)


def _half_cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _through(
    decay: Callable[[float], float], progress: Callable[[int, int, int], float]
) -> Callable[[int, int, int], float]:
    return lambda s, t, w: decay(progress(s, t, w))


def _schedules(decay: Callable[[float], float]) -> tuple[Function, ...]:
    """The schedules with this decay as a function of progress, in every accepted convention."""
    return tuple(_schedule(warm, _through(decay, progress)) for warm in _WARM for progress in _PROGRESS)


def _whole_run(progress: Callable[[int, int, int], float]) -> tuple[Function, ...]:
    return tuple(_schedule(warm, lambda s, t, w: _half_cosine(progress(s, t, w))) for warm in _WARM)


def _without_base(schedule: Function) -> Function:
    return lambda step, total_steps, warmup_steps, base_lr: schedule(step, total_steps, warmup_steps, 1.0)


LEARNING_RATE = Exercise(
    name="learning_rate",
    parameters=("step", "total_steps", "warmup_steps", "base_lr"),
    cases=_schedule_cases,
    oracles=_schedules(_half_cosine),
    run=_all_steps,
    inputs=("total_steps", "warmup_steps", "base_lr"),
    place=_place_step,
    rtol=1e-5,
    atol=1e-7,
    mistakes=(
        Mistake(
            "There is no warm-up: the rate should rise in equal steps during the first warmup_steps.",
            (
                *(_schedule(lambda s, w: 1.0, _through(_half_cosine, p)) for p in _PROGRESS),
                lambda s, t, w, b: b * _half_cosine(s / t),
                lambda s, t, w, b: b * _half_cosine((s + 1) / t),
                lambda s, t, w, b: b * _half_cosine(s / (t - 1)),
            ),
        ),
        Mistake(
            "The cosine runs over all steps, warm-up included, so the rate jumps down where the warm-up "
            "ends. Its progress starts at 0 after the warm-up.",
            (
                *_whole_run(lambda s, t, w: s / t),
                *_whole_run(lambda s, t, w: (s + 1) / t),
                *_whole_run(lambda s, t, w: s / (t - 1)),
            ),
        ),
        Mistake(
            "The cosine is stretched over total_steps, but only total_steps - warmup_steps are left after "
            "the warm-up: it does not reach 0.",
            (*_whole_run(lambda s, t, w: (s - w) / t), *_whole_run(lambda s, t, w: (s - w + 1) / t)),
        ),
        Mistake("The decay is a straight line, not a cosine.", _schedules(lambda p: 1 - p)),
        Mistake(
            "The factor 1/2 is missing: 1 + cos starts at 2, so the rate doubles after the warm-up.",
            _schedules(lambda p: 1 + math.cos(math.pi * p)),
        ),
        Mistake(
            "The rate becomes negative: cos runs from 1 to -1, and has to be moved to run from 1 to 0.",
            (
                *_schedules(lambda p: math.cos(math.pi * p)),
                *_schedules(lambda p: 0.5 * math.cos(math.pi * p)),
            ),
        ),
        Mistake(
            "That is a quarter of a cosine wave. The half wave, flat at both ends, is asked for.",
            _schedules(lambda p: math.cos(math.pi * p / 2)),
        ),
        Mistake(
            "The decay goes up instead of down: the sign before the cosine is wrong.",
            _schedules(lambda p: 0.5 * (1 - math.cos(math.pi * p))),
        ),
        Mistake(
            "The cosine's angle goes from 0 to 1, not from 0 to pi: the rate hardly falls.",
            _schedules(lambda p: 0.5 * (1 + math.cos(p))),
        ),
        Mistake(
            "The angle is in degrees; math.cos takes radians.",
            _schedules(lambda p: 0.5 * (1 + math.cos(180 * p))),
        ),
        Mistake(
            "base_lr is not used: the factor from 0 to 1 came back.",
            tuple(_without_base(schedule) for schedule in _schedules(_half_cosine)),
        ),
        Mistake(
            "The rate stays at base_lr after the warm-up: the decay is missing.", _schedules(lambda p: 1.0)
        ),
        Mistake(
            "warmup_steps may be 0: then there is no warm-up to divide by.",
            raises="ZeroDivisionError",
        ),
    ),
)


def diagnose_learning_rate(f: Function, seed: int = 0) -> Verdict:
    """Judge a schedule without printing; see ``check_learning_rate``."""
    return LEARNING_RATE.diagnose(f, seed)


@check
def check_learning_rate(f: Callable[[int, int, int, float], float]) -> None:
    """Check ``f(step, total_steps, warmup_steps, base_lr)``: warm-up, then cosine to 0; print a verdict.

    ``step`` runs from 0 to total_steps - 1, ``warmup_steps`` may be 0, the result is a float. Whether the
    rate is that of a step's start or end is free. Difficulty 2 of 5, 8 minutes.
    """
    report(diagnose_learning_rate(f))


# --- projection head ----------------------------------------------------------------------------------------


def _watch_layers(head: nn.Module, h: Tensor) -> tuple[Any, list[nn.Linear], list[Tensor], list[Tensor]]:
    """Output of the head, its Linear layers in the order of use, and the input and output of each."""
    layers: list[nn.Linear] = []
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        layers.append(layer)
        inputs.append(given[0].detach().clone())
        outputs.append(result.detach().clone())  # cloned: an in-place ReLU would overwrite it

    handles = [m.register_forward_hook(note) for m in head.modules() if isinstance(m, nn.Linear)]
    try:
        z = head(h)
    finally:
        for handle in handles:
            handle.remove()
    return z, layers, inputs, outputs


def _judge_head(make: Function, sizes: tuple[int, int, int], h: Tensor) -> None:
    in_dim, hidden_dim, out_dim = sizes
    asked = f"\n  Failing case: in_dim = {in_dim}, hidden_dim = {hidden_dim}, out_dim = {out_dim}."
    head = call_or_stop(make, sizes, ("in_dim", "hidden_dim", "out_dim"), ours=())
    if head is None or head is Ellipsis:
        raise Problem(RETURNED_NOTHING, nothing=True)
    if isinstance(head, type):
        stop("It returned a class, not a module. Call the class to make one.")
    if not isinstance(head, nn.Module):
        stop(
            f"It must return one nn.Module, but it returned {kind(head)}. nn.Sequential makes one out of "
            "layers."
        )
    z, layers, inputs, outputs = _watch_layers(head, h)
    if z is None or z is Ellipsis:
        raise Problem("The module's forward returned nothing (None). Is the return missing?", nothing=True)
    if not isinstance(z, Tensor):
        stop(f"The module must map h to one tensor z, but it returned {kind(z)}.")
    if not any(True for _ in head.parameters()):
        stop(
            "The module has no parameters, so nothing would train. Layers in a plain Python list are not "
            "registered."
        )
    if len(layers) == 0:
        stop("I find no nn.Linear layer that was used.")
    if len(layers) == 1:
        stop("There is only one linear layer. SimCLR's head has two, and the non-linear one does better.")
    if layers[0] is layers[1]:
        stop("The same linear layer was used twice. Each of the two has its own weights.")
    if len(layers) > 2:
        stop(f"There are {len(layers)} linear layers. This head has two.")
    widths = [(layer.in_features, layer.out_features) for layer in layers]
    if widths != [(in_dim, hidden_dim), (hidden_dim, out_dim)]:
        stop(f"The two layers are {widths[0]} and {widths[1]} wide; check which width goes where." + asked)
    if z.shape != (len(h), out_dim):
        stop(f"z should have shape {(len(h), out_dim)}, but has {tuple(z.shape)}." + asked)
    before, between_layers = outputs[0], inputs[1]
    if torch.equal(inputs[0], h.relu()):
        stop("The ReLU comes before the first layer. It belongs between the two.")
    if bool((z >= 0).all()):
        stop(
            "z is never negative: there is a ReLU (or softmax) after the last layer, so z fills one corner "
            "of the sphere."
        )
    if torch.equal(before, between_layers):
        stop("There is nothing between the two layers: two linear maps in a row are one linear map.")
    if bool((between_layers < 0).any()):
        stop("What reaches the second layer has negative entries, so there is no ReLU between the two.")
    if not bool((between_layers == 0).any()):
        stop("What reaches the second layer is never exactly 0: that is another non-linearity, not ReLU.")


def diagnose_projection_head(make: Function, seed: int = 0) -> Verdict:
    """Judge a projection head without printing; see ``check_projection_head``."""

    def examination() -> str:
        for k in range(3):
            rng = generator(1000 * seed + k)
            in_dim = whole(rng, 4, 7)
            sizes = (in_dim, in_dim + whole(rng, 4, 7), 16 + k)
            _judge_head(make, sizes, torch.randn(12, in_dim, generator=rng))
        return "Two linear layers, a ReLU between them, the right widths."

    return examine("projection_head", ("in_dim", "hidden_dim", "out_dim"), make, examination, seed)


@check
def check_projection_head(make: Callable[[int, int, int], nn.Module]) -> None:
    """Check ``make(in_dim, hidden_dim, out_dim)``: two linear layers, a ReLU between; print a verdict.

    A class whose constructor takes the three widths will do as well, and BatchNorm after the first layer is
    allowed. It maps h (B, in_dim) to z (B, out_dim) (Chen et al. 2020, section 4.2).
    Difficulty 2 of 5, 5 minutes.
    """
    report(diagnose_projection_head(make))


# --- training step ------------------------------------------------------------------------------------------


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
    """Train a small model for two steps: losses, counts of steps and backward passes, weights, statistics."""
    seed, *batches = inputs
    order: list[str] = []  # what happened first: "backward" or "step"
    model = _Model(generator(seed), pixels=12, width=5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    optimizer.register_step_pre_hook(lambda *_: order.append("step"))
    model.projection_head.weight.register_hook(lambda gradient: order.append("backward"))
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
    return torch.cat([torch.tensor([*losses, *counts], dtype=torch.float64), *state])


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
    return _update(optimizer, loss_fn(*z.split([z.shape[1] // 2, z.shape[1] - z.shape[1] // 2], dim=1)))


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
            return f"The loss of the {name} step differs: expected {w:.4f}, got {g:.4f}."
    return "Both losses are as expected, but the weights or BatchNorm statistics after the steps are not."


def _place_views(inputs: Arguments, got: Tensor | None, wanted: Tensor) -> str:
    first, second = (tuple(views[0].shape) for views in inputs[1:])
    return f"Smallest failing case: a step with views of shape {first}, then one with {second}"


TRAIN_STEP = Exercise(
    name="train_step",
    parameters=("model", "views", "optimizer", "loss_fn"),
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
            "Both sides of the loss came from the same view. Use one and the other.",
            (_one_view(0), _one_view(1), _same_z),
        ),
        Mistake(
            "The model was in evaluation mode: BatchNorm used its running statistics and did not update "
            "them.",
            (_in_eval_mode,),
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


def diagnose_train_step(train_step: Function, seed: int = 0) -> Verdict:
    """Judge a training step without printing; see ``check_train_step``."""
    return TRAIN_STEP.diagnose(train_step, seed)


@check
def check_train_step(train_step: Callable[..., float]) -> None:
    """Check ``train_step(model, views, optimizer, loss_fn)``: one step of pretraining, and print a verdict.

    ``model`` maps images to ``(h, z)`` and contains BatchNorm, ``views`` is ``(v1, v2)``, each (N, 3, H, W),
    and ``loss_fn(z1, z2)`` a scalar. The views go through the model together; the loss comes back as a float.
    N may change from step to step. Difficulty 3 of 5, 10 minutes.
    """
    report(diagnose_train_step(train_step))
