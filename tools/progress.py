"""Where a series of notebooks is: what is printed while one runs, and how long the rest will take."""

import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import nbtools

README = nbtools.ROOT / "README.md"
# A row of the map: | [00 Start here](notebooks/00_start_here.ipynb) | ... | 15 min | 40 s |
ROW = re.compile(r"^\|.*\(notebooks/(\w+)\.ipynb\).*\| *([\d.]+) (s|min) *\|$", re.MULTILINE)
UNKNOWN = 60.0  # seconds that a notebook takes which the map does not have


def usual_seconds(readme: Path = README) -> dict[str, float]:
    """Return the seconds that each notebook takes on two idle cores, as the README's map has it."""
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    return {name: float(number) * (60 if unit == "min" else 1) for name, number, unit in ROW.findall(text)}


def in_words(seconds: float) -> str:
    """Return a duration as one reads it: 40 s, 3 min, 2 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


class Progress:
    """Prints how far a series is; in a terminal a line that changes, elsewhere a line a minute.

    Args:
        names: the notebooks of the series, in order.
        taken: seconds of those that have run already.
    """

    def __init__(self, names: list[str], taken: Mapping[str, float]) -> None:
        self.names, self.taken, self.usual = names, dict(taken), usual_seconds()
        self.terminal, self.began, self.said, self.name = sys.stdout.isatty(), 0.0, 0.0, ""

    def begin(self, name: str) -> None:
        """A notebook begins."""
        self.name, self.began, self.said = name, time.monotonic(), time.monotonic()
        print(f"{self._place()} ... (about {in_words(self.left(0))} left)", flush=True)

    def tell(self, done: int, cells: int, share: float) -> None:
        """Say how far the notebook is, if it is time to; called every second."""
        now = time.monotonic()
        if not self.terminal and now - self.said < 60:
            return
        self.said = now
        training = f", training {share:.0%}" if 0 < share < 1 else ""
        gone = now - self.began
        line = f"{self._place()}: cell {done + 1} of {cells}{training}, {in_words(gone)} gone"
        line += f", about {in_words(self.left(gone))} left"
        print(f"\r\033[K{line}" if self.terminal else line, end="" if self.terminal else "\n", flush=True)

    def end(self, how: str, seconds: float | None = None) -> None:
        """The notebook has ended, and how; ``seconds`` if it ran to its end."""
        if seconds is not None:
            self.taken[self.name] = seconds
        print(f"{chr(13)}\033[K" * self.terminal + f"{self._place()}: {how}", flush=True)

    def left(self, gone: float) -> float:
        """Seconds that are left, ``gone`` of this notebook being over: as slow as what has run so far."""
        usual = {name: self.usual.get(name, UNKNOWN) for name in self.names}
        known = [name for name in self.names if name in self.taken]
        slow = sum(self.taken[name] for name in known) / sum(usual[name] for name in known) if known else 1.0
        slow = max(slow, gone / usual[self.name])
        rest = [n for n in self.names[self.names.index(self.name) + 1 :] if n not in self.taken]
        return max(0.0, slow * usual[self.name] - gone) + slow * sum(usual[name] for name in rest)

    def _place(self) -> str:
        return f"[{self.names.index(self.name) + 1}/{len(self.names)}] {self.name}"
