"""What the jobs that run grids share: where they run, how far they are, and the list of what failed."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import rich.progress as bars
from rich.console import Console

from zcpt_ray.cli import LINE_SECONDS, Cluster
from zcpt_ray.errors import UserError
from zcpt_ray.files import AnyPath
from zcpt_ray.grids import GridOutcome, GridProgress, Trial, Work, run_grid_locally
from zcpt_ray.training_grid import train_and_report


@dataclass(frozen=True)
class GridFlags:
    """Where a grid runs, and what else hears of it."""

    cluster: Cluster = field(default_factory=Cluster)
    trackers: tuple[str, ...] = ()
    """Also log to mlflow, wandb: they read servers and keys from the environment variables they always read."""
    experiment: str = "zcpt_ray"
    """What trackers call the experiment."""

    def __post_init__(self) -> None:
        if self.trackers and self.cluster.local:
            raise UserError("--trackers hear of trials from Ray Tune: leave out --local")


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
        from zcpt_ray.tuning import GridOptions, require_trackers, run_grid

        require_trackers(flags.trackers)
        options = GridOptions(flags.cluster.join(), device, early_stopping, flags.trackers, flags.experiment)
        console.print(describe(task_options(device, options.resources)), highlight=False)
        return run_grid(trials, work, out, options, report)


def run_trainings(
    trials: Sequence[Trial], out: AnyPath, flags: GridFlags, console: Console, device: str, early_stopping: int, workers: int
) -> GridOutcome:
    """The same of trainings; with more than one worker each training has the cluster to itself, one after another.

    Raises:
        UserError: as `run_trials`; several workers without Ray, or with early stopping.
    """
    if workers == 1:
        return run_trials(trials, train_and_report, out, flags, console, device, early_stopping)
    if flags.cluster.local or early_stopping or flags.trackers:
        raise UserError(
            f"--workers {workers} needs Ray, but not Tune, which runs trainings beside each other: leave out --local, "
            f"--early-stopping and --trackers"
        )
    from zcpt_ray.parallel_training import Workers, train_in_parallel

    resources = flags.cluster.join()
    team = Workers(workers, resources.cpus, max(1, int(resources.gpus)))
    work = partial(train_and_report, train=lambda config, directory: train_in_parallel(config, directory, team))
    with watch_grid(console) as report:
        return run_grid_locally(trials, work, out, report)


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
    """A line for each reason, with the trials that failed for it, then exit code 1; nothing if none did."""
    for reason in dict.fromkeys(failures.values()):
        failed = [labels[name] for name, why in failures.items() if why == reason]
        print(f"failed: {'; '.join(failed)}: {reason}", file=sys.stderr)
    if failures:
        sys.exit(1)
