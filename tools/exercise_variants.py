"""Try answers on the exercises' checks that nobody typed, and print how often the checks are right.

python tools/exercise_variants.py [EXERCISE ...] [--wrong 60] [--right 20] [--seed 0] [--show]

Right answers are rewritten and wrong ones are made by single slips (tools/variants). A judge of each exercise
that shares nothing with its check says which is which. Of every exercise it prints how many right answers
were refused, how many wrong ones accepted, and for how many of the refused the check named the mistake
instead of only saying that something differs. --show prints each that went wrong.
"""

import argparse
import random
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from variants.judging import TooLongError, judge, load
from variants.mutations import mutations
from variants.programs import ANSWERS, programs
from variants.rewrites import rewrites

from simclr_edu.course.exercises import EXERCISES
from simclr_edu.course.exercises.kit import Verdict

# The first sentence of a diagnosis that describes a difference and names no mistake.
UNNAMED = re.compile(r"^(The values differ|Both losses are as expected, but)")


@dataclass
class Rates:
    """What a check did with the answers to one exercise."""

    right: int = 0
    refused: list[str] = field(default_factory=list)
    wrong: int = 0
    accepted: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)


def make(exercise: str, kind: str, number: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield (what was done, program): ``number`` right or wrong answers, as the judge finds them."""
    sources = programs(exercise)
    if kind == "right":
        made = [entry for k, s in enumerate(sources) for entry in rewrites(s, number, seed + k)]
    else:
        made = [entry for s in sources for entry in mutations(s)]
    random.Random(seed).shuffle(made)
    for what, program in made:
        if number == 0:
            return
        try:
            word = judge(exercise, program, seed)
        except TooLongError:
            continue
        if word == kind:
            number -= 1
            yield what, program


def try_on(exercise: str, wrong: int, right: int, seed: int) -> Rates:
    """Run one exercise's check on generated answers."""
    rates = Rates()
    for what, program in make(exercise, "right", right, seed):
        rates.right += 1
        verdict = _diagnose(exercise, program, seed)
        if not verdict.passed:
            rates.refused.append(f"{what}\n{program}\n  -> {verdict}")
    for what, program in make(exercise, "wrong", wrong, seed):
        rates.wrong += 1
        verdict = _diagnose(exercise, program, seed)
        if verdict.passed:
            rates.accepted.append(f"{what}\n{program}\n  -> {verdict}")
        elif UNNAMED.match(verdict.diagnosis):
            rates.unnamed.append(f"{what}\n{program}\n  -> {verdict}")
    return rates


def _diagnose(exercise: str, program: str, seed: int) -> Verdict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return EXERCISES[exercise].diagnose(load(program), seed)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 0 if no right answer was refused, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("exercises", nargs="*", metavar="EXERCISE", help=f"of {', '.join(ANSWERS)}")
    parser.add_argument("--wrong", type=int, default=60, help="wrong answers of each exercise")
    parser.add_argument("--right", type=int, default=20, help="right answers of each exercise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print the answers that went wrong")
    options = parser.parse_args(arguments)
    if unknown := [e for e in options.exercises if e not in ANSWERS]:
        parser.error(f"there is no exercise {unknown[0]!r}; they are {', '.join(ANSWERS)}")
    print(f"{'exercise':26} {'right':>5} {'refused':>8} {'wrong':>6} {'accepted':>9} {'named':>6}")
    sums = [0] * 5
    for exercise in options.exercises or ANSWERS:
        rates = try_on(exercise, options.wrong, options.right, options.seed)
        rejected = rates.wrong - len(rates.accepted)
        row = [
            rates.right,
            len(rates.refused),
            rates.wrong,
            len(rates.accepted),
            rejected - len(rates.unnamed),
        ]
        sums = [a + b for a, b in zip(sums, row, strict=True)]
        print(
            f"{exercise:26} {row[0]:5} {row[1]:8} {row[2]:6} {row[3]:9} {row[4] / max(1, rejected):6.0%}",
            flush=True,
        )
        if options.show:
            for title, entries in (
                ("REFUSED", rates.refused),
                ("ACCEPTED", rates.accepted),
                ("UNNAMED", rates.unnamed),
            ):
                for entry in entries:
                    print(f"\n--- {title} {exercise}: {entry}")
    right, refused, wrong, accepted, named = sums
    print(
        f"{'all':26} {right:5} {refused:8} {wrong:6} {accepted:9} {named / max(1, wrong - accepted):6.0%}\n"
        f"right refused {refused / max(1, right):.1%}, wrong accepted {accepted / max(1, wrong):.1%}"
    )
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
