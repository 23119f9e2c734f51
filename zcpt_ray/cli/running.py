"""Searches, functions over items and grids on what a command's flags say: this process, or Ray."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from zcpt_ray.cli.flags import Cluster
from zcpt_ray.cli.grid_flags import GridFlags
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.grids import GridOutcome, Trial, Work, run_grid_locally
from zcpt_ray.experiments.single_search import Outcome, RunSearch, run_or_read
from zcpt_ray.experiments.training_trial import train_and_report
from zcpt_ray.reports.progress import watch_grid, watch_search
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.records import SearchResult
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.score_tables import Spread, spread_locally
from zcpt_ray.search.scoring import TrainedSupernet
from zcpt_ray.storage.paths import AnyPath

if TYPE_CHECKING:
    from zcpt_ray.distributed.cluster import TaskResources


def join(cluster: Cluster, show_logs: bool = False) -> "TaskResources":
    """Connect this process to Ray; what each task is to ask for.

    Raises:
        UserError: no such cluster.
    """
    # Here and below, Ray is imported where it is used: a local run does without it, installed or not.
    from zcpt_ray.distributed.cluster import connect

    connect(cluster.address, show_logs)
    return task_resources(cluster)


def task_resources(cluster: Cluster) -> "TaskResources":
    """What each task is to ask Ray for."""
    from zcpt_ray.distributed.cluster import TaskResources

    return TaskResources(cluster.cpus_per_task, cluster.gpus_per_task)


def describe_cluster(device: str, resources: "TaskResources") -> str:
    """One line: where Ray is, what it has, and how many tasks it runs at a time."""
    from zcpt_ray.distributed.cluster import describe, task_options

    return describe(task_options(device, resources))


def spread(cluster: Cluster, device: str, show_logs: bool = False) -> Spread:
    """A way to run a function over items there; workers' log lines are shown if wanted.

    It connects to Ray once it is used: what is wrong with data is said before.

    Raises:
        UserError: when it is used: no such cluster, or one that cannot run it.
    """
    if cluster.local:
        return spread_locally
    from zcpt_ray.distributed.cluster import task_options
    from zcpt_ray.distributed.spread import spread_later

    return spread_later(lambda: task_options(device, join(cluster, show_logs)))


def search_runner(cluster: Cluster, console: Console, quiet: bool = False, shared: AnyPath | None = None) -> RunSearch:
    """A way to run a search there that shows how far it is; `shared` is as for `RunStore`."""

    def run(search: Search, directory: AnyPath) -> SearchResult:
        with nullcontext(lambda _: None) if quiet else watch_search(console) as report:
            if cluster.local:
                return run_search_locally(search, directory, report, shared=shared)
            from zcpt_ray.distributed.search import run_search

            def connect() -> None:
                trains = isinstance(search.scoring.evidence, TrainedSupernet)
                resources = join(cluster, show_logs=trains and not quiet)
                if not quiet:
                    console.print(describe_cluster(search.config.device, resources), highlight=False)

            return run_search(search, directory, task_resources(cluster), report, shared, connect)

    return run


def run_search_there(
    search: Search,
    directory: AnyPath,
    cluster: Cluster,
    console: Console,
    quiet: bool = False,
    shared: AnyPath | None = None,
    tell: Callable[[bool], None] = lambda finished: None,
) -> Outcome:
    """Run a search there, or read its result if it has been finished before, which `tell` is told at the start.

    Raises:
        UserError: as `run_or_read`.
    """

    def train(trials: Sequence[Trial], out: AnyPath) -> GridOutcome:
        if not quiet:
            console.print(f"Train {len(trials)} finalists -> {out}", soft_wrap=True, highlight=False)
        stopping = search.config.finalist_epochs if search.config.finalist_early_stopping else 0
        where = GridFlags(cluster)
        return run_trials(
            trials, train_and_report, out, where, console, search.config.device, stopping, "validation_error"
        )

    if cluster.local and search.config.finalist_early_stopping:
        raise UserError("--finalist-early-stopping needs Ray, where trainings run beside each other: leave out --local")

    return run_or_read(search, directory, search_runner(cluster, console, quiet, shared), tell, train=train)


def run_trials(
    trials: Sequence[Trial],
    work: Work,
    out: AnyPath,
    flags: GridFlags,
    console: Console,
    device: str,
    early_stopping: int = 0,
    judged_by: str = "top1_error",
) -> GridOutcome:
    """Run a grid on Ray Tune, or without Ray one trial after another, and show how far it is.

    On Tune with `early_stopping` over so many epochs, by the reported number `judged_by`.

    Raises:
        UserError: as `distributed.grids.run_grid`.
    """
    with watch_grid(console) as report:
        if flags.cluster.local:
            return run_grid_locally(trials, work, out, report)
        from zcpt_ray.distributed.grids import GridOptions, require_trackers, run_grid

        require_trackers(flags.trackers)
        options = GridOptions(join(flags.cluster), device, early_stopping, judged_by, flags.trackers, flags.experiment)
        console.print(describe_cluster(device, options.resources), highlight=False)
        return run_grid(trials, work, out, options, report)


def run_trainings(
    trials: Sequence[Trial],
    out: AnyPath,
    flags: GridFlags,
    console: Console,
    device: str,
    early_stopping: int,
    workers: int,
) -> GridOutcome:
    """The same of trainings; with more than one worker each has the cluster to itself, one after another.

    Raises:
        UserError: as `run_trials`; several workers without Ray, or with early stopping.
    """
    if workers == 1:
        return run_trials(trials, train_and_report, out, flags, console, device, early_stopping)
    if flags.cluster.local or early_stopping or flags.trackers:
        raise UserError(
            f"--workers {workers} needs Ray, but not Tune, which runs trainings beside each other: leave out --local, "
            "--early-stopping and --trackers"
        )
    from zcpt_ray.distributed.training import Workers, train_in_parallel

    resources = join(flags.cluster)
    team = Workers(workers, resources.cpus, max(1, int(resources.gpus)))
    work = partial(train_and_report, train=lambda plan, directory: train_in_parallel(plan, directory, team))
    with watch_grid(console) as report:
        return run_grid_locally(trials, work, out, report)
