"""Exercise: warm-up, then a cosine."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from simclr_edu.course.exercises.kit import (
    Arguments,
    ComparedExercise,
    Function,
    Mistake,
    between,
    difference,
    generator,
    read_float,
    whole,
)


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


def _explain_schedule(inputs: Arguments, got: Tensor, wanted: Tensor) -> str:
    """Say which part of the schedule is wrong: the warm-up, the decay or both, and how the decay runs."""
    total, warmup, base = inputs
    if not got.isfinite().all():
        return difference(got, wanted)

    def agrees(schedules: tuple[Function, ...], steps: range) -> bool:
        return any(all(abs(float(got[s]) - f(s, *inputs)) <= 1e-5 * base for s in steps) for f in schedules)

    def shown(steps: range) -> str:
        some = [*steps] if len(steps) <= 4 else [steps[0], steps[1], steps[len(steps) // 2], steps[-1]]
        return ", ".join(f"{float(got[s]) / base:.3g} (step {s})" for s in some)

    right = _schedules(_half_cosine)
    first, second = range(warmup), range(warmup, total)
    said = []
    if not agrees(right, first):
        said.append(
            f"The warm-up (steps 0 to {warmup - 1}) should rise in equal steps to base_lr; as parts of "
            f"base_lr yours is {shown(first)}."
        )
    if not agrees(right, second):
        said.append(
            f"The decay (from step {warmup} on) should fall from base_lr to 0 as half a cosine, half-way at "
            f"0.5; as parts of base_lr yours is {shown(second)}."
        )
    if len(said) == 1 and warmup:
        said.append("The other part is right.")
    return " ".join(said) or difference(got, wanted)


LEARNING_RATE = ComparedExercise(
    name="learning_rate",
    parameters=("step", "total_steps", "warmup_steps", "base_lr"),
    asks="``f(step, total_steps, warmup_steps, base_lr)``: warm-up, then cosine to 0",
    details=(
        "``step`` runs from 0 to total_steps - 1, ``warmup_steps`` may be 0, the result is a float. "
        "Whether the rate is that of a step's start or end is free."
    ),
    difficulty=2,
    minutes=8,
    cases=_schedule_cases,
    oracles=_schedules(_half_cosine),
    run=_all_steps,
    inputs=("total_steps", "warmup_steps", "base_lr"),
    place=_place_step,
    explain=_explain_schedule,
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
