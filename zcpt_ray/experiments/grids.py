"""Grids of searches and trainings: trials that keep what they have done, so that each can be started again at any
time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zcpt_ray.errors import UserError
from zcpt_ray.storage.paths import AnyPath, require_storage

Metrics = dict[str, Any]
"""What a trial reports; `fraction`, in [0, 1], says how far it is."""


@dataclass(frozen=True)
class Trial:
    """One of a grid: what `Work` gets, a name that no other has, and what its columns in Tune's tables say."""

    name: str
    payload: Any
    columns: Mapping[str, Any]


Work = Callable[[Any, AnyPath, Callable[[Metrics], object]], None]
"""What a trial does with its payload in the grid's directory, calling the last argument to report; called again after a
failure.
"""


@dataclass(frozen=True)
class GridProgress:
    """How many trials there are in each state, and how much of all work is done, in [0, 1]."""

    total: int
    done: int
    running: int
    failed: int
    fraction: float


@dataclass(frozen=True)
class GridOutcome:
    """What became of the trials, by name: what each reported last, and why it failed.

    `stopped` are those that early stopping ended.
    """

    metrics: dict[str, Metrics]
    failures: dict[str, str]
    stopped: tuple[str, ...] = ()


def run_grid_locally(
    trials: Sequence[Trial], work: Work, out: AnyPath, report: Callable[[GridProgress], None] = lambda _: None
) -> GridOutcome:
    """One trial after another in this process, without Ray. One that ends in an error of the user's stops no other.

    Raises:
        UserError: `out` cannot be written.
    """
    require_storage(out)
    metrics: dict[str, Metrics] = {}
    failures: dict[str, str] = {}
    for index, trial in enumerate(trials):

        def emit(row: Metrics) -> None:
            metrics[trial.name] = row  # noqa: B023
            fraction = (index + row["fraction"]) / len(trials)  # noqa: B023
            report(GridProgress(len(trials), index - len(failures), 1, len(failures), fraction))  # noqa: B023

        try:
            work(trial.payload, out, emit)
        except UserError as error:
            failures[trial.name] = str(error)
        report(GridProgress(len(trials), index + 1 - len(failures), 0, len(failures), (index + 1) / len(trials)))
    return GridOutcome(metrics, failures)
