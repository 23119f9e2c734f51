"""What the jobs that run grids share: where they run, how far they are, and the list of what failed."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import rich.progress as bars
from rich.console import Console

from zcpt_ray.cli import LINE_SECONDS, Cluster
from zcpt_ray.files import AnyPath
from zcpt_ray.grids import GridOutcome, GridProgress, Trial, Work, run_grid_locally


@dataclass(frozen=True)
class GridFlags:
    """Where a grid runs, and what else hears of it."""

    cluster: Cluster = field(default_factory=Cluster)
    trackers: tuple[str, ...] = ()
    """Also log to mlflow, wandb: they read servers and keys from the environment variables they always read."""
    experiment: str = "zcpt_ray"
    """What trackers call the experiment."""


def run_trials(
    trials: Sequence[Trial], work: Work, out: AnyPath, flags: GridFlags, console: Console, device: str, early_stopping: int = 0
) -> GridOutcome:
    """Run a grid on Ray Tune, or without Ray one trial after another, and show how far it is.

    Raises:
        UserError: as `tuning.run_grid`.
    """
    with watch_grid(console) as report:
        if flags.cluster.local:
            return run_grid_locally(trials, work, out, report)
        from zcpt_ray.cluster import describe, task_options  # a local job does without Ray, installed or not
        from zcpt_ray.tuning import GridOptions, run_grid

        options = GridOptions(flags.cluster.join(), device, early_stopping, flags.trackers, flags.experiment)
        console.print(describe(task_options(device, options.resources)), highlight=False)
        return run_grid(trials, work, out, options, report)


@contextmanager
def watch_grid(console: Console) -> Iterator[Callable[[GridProgress], None]]:
    """A live bar on a terminal, and a line now and then elsewhere: trials done, running, failed, time left."""
    columns = (*bars.Progress.get_default_columns()[:3], bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console, disable=not console.is_terminal) as drawn:
        task = drawn.add_task("trials", total=1.0)
        started = printed = time.monotonic()
        first: float | None = None  # what was there already says nothing of the time that the rest takes

        def report(now: GridProgress) -> None:
            nonlocal printed, first
            line = f"trials: {now.done} of {now.total} done, {now.running} running, {now.failed} failed"
            drawn.update(task, completed=now.share, description=line)
            first = now.share if first is None else first
            if not console.is_terminal and time.monotonic() - printed > LINE_SECONDS:
                printed = time.monotonic()
                gained = now.share - first
                left = f", {(printed - started) * (1 - now.share) / gained:.0f} s left" if gained else ""
                console.print(f"{line}; {now.share:.0%}{left}", highlight=False)

        yield report


def end_with_failures(failures: Mapping[str, str], labels: Mapping[str, str]) -> None:
    """A line for each trial that failed, then exit code 1; nothing if none did."""
    for name, why in failures.items():
        print(f"failed: {labels[name]}: {why}", file=sys.stderr)
    if failures:
        sys.exit(1)
