"""Bug 10: what a resumed run forgot."""

from typing import Any

import torch
from torch import Tensor, nn

from simclr_edu.course.exercises.kit import Arguments, ComparedExercise, Function, Mistake, generator


def _start(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, torch.Generator]:
    rng = generator(seed)
    model = nn.Linear(4, 2)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=rng))
    return model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), generator(seed + 1)


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, rng: torch.Generator, steps: int) -> None:
    """Steps of a small regression whose batches come from the generator."""
    for _ in range(steps):
        x = torch.randn(8, 4, generator=rng)
        loss = (model(x) - x[:, :2]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _resumed(resume: Function, inputs: Arguments) -> Tensor:
    """The weights after four steps, a restart with ``resume``, and four more."""
    (seed,) = inputs
    model, optimizer, rng = _start(seed)
    _train(model, optimizer, rng, 4)
    checkpoint: dict[str, Any] = {
        "model": {k: v.clone() for k, v in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "generator": rng.get_state(),
    }
    model, optimizer, rng = _start(seed + 77)  # a new process: everything starts anew
    resume(checkpoint, model, optimizer, rng)
    _train(model, optimizer, rng, 4)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def _restore(*names: str) -> Function:
    def resume(
        checkpoint: dict[str, Any],
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> None:
        if "model" in names:
            model.load_state_dict(checkpoint["model"])
        if "optimizer" in names:
            optimizer.load_state_dict(checkpoint["optimizer"])
        if "generator" in names:
            generator.set_state(checkpoint["generator"])

    return resume


RESUME = ComparedExercise(
    name="bug 10, the resume",
    parameters=("checkpoint", "model", "optimizer", "generator"),
    asks="``f(checkpoint, model, optimizer, generator)``: restore everything that a run needs to go on",
    details="It changes its last three arguments and returns nothing.",
    difficulty=2,
    minutes=4,
    cases=lambda seed: [(1000 * seed + k,) for k in range(3)],
    oracles=(_restore("model", "optimizer", "generator"),),
    run=_resumed,
    inputs=("seed",),
    rtol=0.0,
    atol=1e-7,
    explain=lambda inputs, got, wanted: (
        "The weights after resuming are not those of a run that was never stopped."
    ),
    place=lambda inputs, got, wanted: "",
    mistakes=(
        Mistake(
            "Only the weights are restored. The optimizer's momentum starts from zero and the batches are "
            "drawn from the beginning again.",
            (_restore("model"),),
        ),
        Mistake(
            "The state of the random generator is not restored: the run draws other batches.",
            (_restore("model", "optimizer"),),
        ),
        Mistake(
            "The optimizer's state is not restored: its momentum starts from zero.",
            (_restore("model", "generator"),),
        ),
        Mistake(
            "The weights are not restored: the model goes on from fresh ones.",
            (_restore("optimizer", "generator"), _restore("optimizer"), _restore("generator")),
        ),
        Mistake("Nothing was restored.", (_restore(),)),
    ),
)
