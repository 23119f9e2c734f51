"""How long passes of networks take, beside each other."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

Pass = Callable[[], object]
WARM_UPS = 2
"""Rounds that are not counted."""
FEWEST_ROUNDS, MOST_ROUNDS, TIMED_MS = 11, 80, 150.0
"""How often each network is timed: so often that it runs for so many milliseconds, within these bounds."""


class Latency(NamedTuple):
    """Milliseconds that a forward pass takes: the median, and the quartiles around it."""

    median_ms: float
    low_ms: float
    high_ms: float

    @classmethod
    def of(cls, taken: Sequence[float]) -> "Latency":
        """From the milliseconds of several passes, at least two."""
        low, median, high = statistics.quantiles(taken, n=4)
        return cls(median, low, high)


def time_in_turn(passes: Sequence[Pass], rounds: int) -> np.ndarray:
    """Milliseconds of each pass in each round, [rounds, passes]: each round runs all of them, one after another.

    So what else the machine does meanwhile meets them alike. Each runs twice, and the second time counts: as it would
    when it runs again and again, with its weights in the caches.
    """
    taken = np.empty((WARM_UPS + rounds, len(passes)))
    with torch.no_grad():
        for row in taken:
            for index, run in enumerate(passes):
                run()
                started = time.perf_counter()
                run()
                row[index] = 1000 * (time.perf_counter() - started)
    return taken[WARM_UPS:]


def rounds_for(milliseconds: float) -> int:
    """How often a network that takes so long is timed."""
    return min(max(int(TIMED_MS / milliseconds), FEWEST_ROUNDS), MOST_ROUNDS)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Inside, torch uses so many threads; 0 leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
