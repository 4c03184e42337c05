"""Exercises of notebook 10: ten short programs with one classic bug each, to be found and mended.

The programs stand in the notebook. Here is what judges a mended one: an independent reference for each, and
the diagnosis of the bug itself, so that handing the program in unchanged says what is wrong with it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from simclr_edu.exercises import nt_xent, probe
from simclr_edu.exercises._harness import (
    Arguments,
    Exercise,
    Function,
    Mistake,
    Verdict,
    between,
    call_or_stop,
    check,
    examine,
    generator,
    read_number,
    read_tensor,
    report,
    stop,
    whole,
)

# --- 1, 2: the whole loss -----------------------------------------------------------------------------------

_SHIFTED_LABEL = replace(nt_xent.NT_XENT, name="bug 1, the label", ours=None)
_OWN_RIVAL = replace(nt_xent.NT_XENT, name="bug 2, the diagonal", ours=None)

# --- 3: similarity ------------------------------------------------------------------------------------------

_WRONG_AXIS = replace(nt_xent.COSINE_SIMILARITY_MATRIX, name="bug 3, the axis", ours=None)

# --- 4: one anchor's loss at a low temperature --------------------------------------------------------------


def _anchor_cases(seed: int) -> list[Arguments]:
    cases: list[Arguments] = []
    for k in range(3):
        rng = generator(1000 * seed + k)
        cases.append((2 * torch.rand(k + 3, generator=rng) - 1, between(rng, 0.1, 1.5)))
    for k, temperature in enumerate((0.01, 0.005, 0.001)):
        rng = generator(1000 * seed + 10 + k)
        # The positive within a few temperatures of the best negative, so that the loss is neither 0 nor huge.
        near = 0.99 - temperature * torch.rand(3, generator=rng)
        cases.append((torch.cat([near, torch.tensor([-0.3])]), temperature))
    return cases


def _anchor_loss(similarities: Tensor, temperature: float) -> Tensor:
    logits = [s / temperature for s in similarities.tolist()]
    rest = torch.tensor([v - logits[0] for v in logits], dtype=torch.float64)
    return rest.exp().sum().log() if float(rest.max()) < 600 else rest.max()


def _naive(similarities: Tensor, temperature: float) -> Tensor:
    powers = (similarities / temperature).exp()
    return -(powers[0] / powers.sum()).log()


def _clamped(limit: float) -> Function:
    def loss(similarities: Tensor, temperature: float) -> Tensor:
        powers = (similarities / temperature).clamp(max=limit).exp()
        return -(powers[0] / powers.sum()).log()

    return loss


_OVERFLOW = Exercise(
    name="bug 4, the overflow",
    parameters=("similarities", "temperature"),
    cases=_anchor_cases,
    oracles=(_anchor_loss,),
    read=read_number,
    mistakes=(
        Mistake(
            "exp() overflows: in float32 exp(89) is infinity, and 1 / temperature passes 88.7 below 0.0113. "
            "Infinity over infinity is NaN. Stay with logarithms.",
            (
                _naive,
                lambda s, t: (s / t).exp().sum().log() - s[0] / t,
            ),
        ),
        Mistake(
            "The logits were cut off at a limit. No NaN any more, but a wrong loss: the differences between "
            "large logits are gone.",
            tuple(_clamped(limit) for limit in (10.0, 20.0, 50.0, 80.0, 85.0, 88.0)),
        ),
        Mistake(
            "The NaN was replaced by a number after the fact. The loss of that anchor is still unknown.",
            (lambda s, t: _naive(s, t).nan_to_num(0.0), lambda s, t: _naive(s, t).nan_to_num(1.0)),
        ),
        Mistake(
            "The largest logit was subtracted from the powers' logits, but not from the positive's.",
            (lambda s, t: (s / t - (s / t).max()).exp().sum().log() - s[0] / t,),
        ),
        Mistake("The temperature is ignored.", (lambda s, t: s.logsumexp(0) - s[0],)),
        Mistake("The sign is wrong: the loss is not negative.", (lambda s, t: (s / t).log_softmax(0)[0],)),
    ),
)

# --- 5: a size fixed at construction ------------------------------------------------------------------------


def _batch_cases(seed: int) -> list[Arguments]:
    cases = nt_xent._loss_cases(seed)[:4]
    for k, n in enumerate((8, 8, 3)):  # two full batches of the program, then a smaller one
        rng = generator(1000 * seed + 20 + k)
        z1, z2 = torch.randn(2, n, 10, generator=rng)
        cases.append((z1, z2, between(rng, 0.1, 0.9)))
    return cases


def _padded(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """The loss of a small batch filled up to eight pairs with zeros."""
    missing = max(0, 8 - len(z1))
    fill = z1.new_zeros(missing, z1.shape[1])
    return nt_xent._loss_with()(torch.cat([z1, fill]), torch.cat([z2, fill]), temperature)


# That a size is still fixed shows as a function that works for eight pairs only; the harness says so.
_FIXED_SIZE = replace(
    nt_xent.NT_XENT,
    name="bug 5, the last batch",
    ours=None,
    cases=_batch_cases,
    mistakes=(
        Mistake(
            "The small batch was filled up with zeros: they compete as negatives, at similarity 0.",
            (_padded,),
        ),
        *nt_xent.NT_XENT.mistakes,
    ),
)

# --- 6: frozen in name only ---------------------------------------------------------------------------------

_FROZEN_IN_NAME = replace(probe.FREEZE, name="bug 6, the freeze")

# --- 7: the label under data parallelism --------------------------------------------------------------------


def _rank_loop(n: int, rank: int, world_size: int) -> Tensor:
    """From the order of the gathered candidates: all first views, rank by rank, then all second views."""
    candidates = [(view, picture) for view in (0, 1) for picture in range(n * world_size)]
    anchors = [(view, rank * n + k) for view in (0, 1) for k in range(n)]
    return torch.tensor([candidates.index((1 - view, picture)) for view, picture in anchors])


def _columns(start1: Function, start2: Function) -> Function:
    """First column for the anchors of view 1 and of view 2; the others follow on."""

    def columns(n: int, rank: int, world_size: int) -> Tensor:
        own = torch.arange(n)
        return torch.cat([own + start1(n, rank, world_size), own + start2(n, rank, world_size)])

    return columns


_RANK_OFFSET = Exercise(
    name="bug 7, the rank",
    parameters=("n", "rank", "world_size"),
    cases=lambda seed: [
        (2, 1, 2),
        (3, 0, 2),
        (2, 2, 3),
        (4, 0, 1),
        (3 + whole(generator(seed), 0, 3), 1 + seed % 3, 4),
    ],
    oracles=(_rank_loop,),
    mistakes=(
        Mistake(
            "The rank is missing: these labels are right on rank 0 only. On rank r the own pictures stand "
            "r * n rows further on among the gathered ones.",
            (_columns(lambda n, r, k: n * k, lambda n, r, k: 0),),
        ),
        Mistake(
            "These are the labels of a batch that was not gathered: n pairs, 2n columns. There are "
            "2 * n * world_size.",
            (
                _columns(lambda n, r, k: n, lambda n, r, k: 0),
                _columns(lambda n, r, k: n + r * n, lambda n, r, k: r * n),
            ),
        ),
        Mistake(
            "Each anchor points at itself. The positive is the other view of the picture.",
            (_columns(lambda n, r, k: r * n, lambda n, r, k: n * k + r * n),),
        ),
        Mistake(
            "The offset of the rank is missing for one of the two views.",
            (
                _columns(lambda n, r, k: n * k + r * n, lambda n, r, k: 0),
                _columns(lambda n, r, k: n * k, lambda n, r, k: r * n),
            ),
        ),
        Mistake(
            "The offset is r * 2n, as if each rank's two views stood together. Here all first views come "
            "first, then all second views: the offset is r * n.",
            (
                _columns(lambda n, r, k: n * k + 2 * r * n, lambda n, r, k: 2 * r * n),
                _columns(lambda n, r, k: 2 * r * n + n, lambda n, r, k: 2 * r * n),
            ),
        ),
        Mistake(
            "The offset is the rank itself. A rank holds n pictures, so it is r * n.",
            (_columns(lambda n, r, k: n * k + r, lambda n, r, k: r),),
        ),
    ),
)

# --- 8: one draw for the whole batch ------------------------------------------------------------------------


def _diagnose_flip(f: Function, seed: int) -> Verdict:
    names = ("x", "generator")

    def draw(x: Tensor, number: int) -> Tensor:
        """Which pictures were mirrored in one call: (B,) bool."""
        out = read_tensor(call_or_stop(f, (x, generator(number)), names))
        if out.shape != x.shape:
            stop(f"The shape should be {tuple(x.shape)}, but is {tuple(out.shape)}.")
        kept, mirrored = ((out == y).flatten(1).all(1) for y in (x, x.flip(-1)))  # (B,) each
        if (out == x.flip(-2)).flatten(1).all(1).any():
            stop("A picture is upside down. Mirror left and right: the last dimension.")
        if not (kept | mirrored).all():
            k = int((~(kept | mirrored)).nonzero()[0])
            stop(f"Picture {k} is neither itself nor its mirror image.")
        return mirrored

    def examination() -> str:
        x = torch.rand(16, 3, 4, 5, generator=generator(seed))  # no picture is its own mirror image
        before = torch.get_rng_state()
        coins = torch.stack([draw(x, 100 * seed + k) for k in range(40)])  # (40, 16)
        if not torch.equal(before, torch.get_rng_state()):
            stop("It draws from the global random state. Draw from the generator that is passed in.")
        if all(len(row.unique()) == 1 for row in coins):
            if not coins.any():
                stop("No picture was ever mirrored.")
            if coins.all():
                stop("Every picture is mirrored every time. Half of them should be, by chance.")
            stop(
                "One coin decides for the whole batch: in each call all pictures are mirrored or none. Draw "
                "one for each picture, (B,)."
            )
        if (coins == coins[0]).all():
            stop("The same pictures are mirrored whatever the generator. Nothing is drawn from it.")
        if not torch.equal(draw(x, 100 * seed), coins[0]):
            stop("The same seed gives another draw: something is drawn without the generator.")
        share = coins.float().mean().item()
        if abs(share - 0.5) > 0.1:
            stop(f"{share:.0%} of the pictures were mirrored; with probability 1/2 about half are.")
        return f"One coin a picture, from the generator: {share:.0%} of 640 pictures were mirrored."

    return examine("bug 8, the coin", names, f, examination, seed)


# --- 9: features in train mode ------------------------------------------------------------------------------

_TRAIN_MODE = replace(probe.EXTRACT_FEATURES, name="bug 9, the mode", ours=None)

# --- 10: resuming -------------------------------------------------------------------------------------------


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


_RESUME = Exercise(
    name="bug 10, the resume",
    parameters=("checkpoint", "model", "optimizer", "generator"),
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

# --- the ten ------------------------------------------------------------------------------------------------

_EXERCISES: dict[int, Exercise] = {
    1: _SHIFTED_LABEL,
    2: _OWN_RIVAL,
    3: _WRONG_AXIS,
    4: _OVERFLOW,
    5: _FIXED_SIZE,
    6: _FROZEN_IN_NAME,
    7: _RANK_OFFSET,
    9: _TRAIN_MODE,
    10: _RESUME,
}
BUGS = tuple(range(1, 11))


def diagnose_bug_hunt(number: int, f: Function, seed: int = 0) -> Verdict:
    """Judge a mended program without printing; see ``check_bug_hunt``."""
    if number not in BUGS:
        return Verdict(f"bug {number}", False, f"There are bugs {BUGS[0]} to {BUGS[-1]}, got {number!r}.")
    return _diagnose_flip(f, seed) if number == 8 else _EXERCISES[number].diagnose(f, seed)


@check
def check_bug_hunt(number: int, f: Callable[..., Any]) -> None:
    """Check the mended program of one bug of notebook 10, and print a verdict.

    ``number`` is 1 to 10; ``f`` takes the arguments of the program that it mends. Difficulty 2 of 5,
    4 minutes each.
    """
    report(diagnose_bug_hunt(number, f, 0))
