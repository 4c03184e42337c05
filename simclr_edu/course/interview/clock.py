"""The clock of the mock interview."""

import time

from simclr_edu._checks import check_positive


class Clock:
    """A clock that starts when it is made: ``print(clock)`` says the time used and the time left.

    Args:
        minutes: the time allowed, greater than 0.

    Raises:
        TypeError, ValueError: ``minutes`` is not a finite number above 0.
    """

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * check_positive(minutes, "minutes")
        self._start = time.monotonic()

    @property
    def used(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def restart(self) -> None:
        """Start anew."""
        self._start = time.monotonic()

    def __str__(self) -> str:
        used = self.used
        left = self.seconds - used
        rest = f"{duration(left)} left" if left >= 0 else f"{duration(-left)} over time"
        return f"{duration(used)} used of {duration(self.seconds)}, {rest}"

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>"


def duration(seconds: float) -> str:
    """A time in words: ``"2 min 05 s"``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
