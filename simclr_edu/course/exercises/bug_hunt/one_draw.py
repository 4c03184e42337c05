"""Bug 8: one draw for the whole batch."""

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    ExaminedExercise,
    Function,
    call_or_stop,
    generator,
    read_tensor,
    stop,
)

_ARGUMENTS = ("x", "generator")


def _examine(f: Function, seed: int) -> str:

    def draw(x: Tensor, number: int) -> Tensor:
        """Which pictures were mirrored in one call: (B,) bool."""
        out = read_tensor(call_or_stop(f, (x, generator(number)), _ARGUMENTS))
        if out.shape != x.shape:
            stop(f"The shape should be {tuple(x.shape)}, but is {tuple(out.shape)}.")
        kept, mirrored = ((out == y).flatten(1).all(1) for y in (x, x.flip(-1)))  # (B,) each
        if (out == x.flip(-2)).flatten(1).all(1).any():
            stop("A picture is upside down. Mirror left and right: the last dimension.")
        if not (kept | mirrored).all():
            k = int((~(kept | mirrored)).nonzero()[0])
            stop(f"Picture {k} is neither itself nor its mirror image.")
        return mirrored

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


ONE_DRAW = ExaminedExercise(
    name="bug 8, the coin",
    parameters=_ARGUMENTS,
    asks="``f(x, generator)``: mirror each picture with probability 1/2, by a coin of its own",
    details="``x`` is (B, 3, H, W) float; what is random comes from the generator.",
    difficulty=2,
    minutes=4,
    examination=_examine,
)
