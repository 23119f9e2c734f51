"""What the search jobs share: flags, progress, tables, exit codes."""

import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import pandas as pd
import rich.progress as bars
import tyro
from rich.console import Console

from zcpt_ray.baselines import METHODS
from zcpt_ray.benchmark_tables import TABLES
from zcpt_ray.benchmarks import load_benchmark, table_path
from zcpt_ray.configs import SearchConfig, TrainConfig, run_id, smoke
from zcpt_ray.datasets import DATASETS, find_dataset
from zcpt_ray.errors import UserError
from zcpt_ray.files import AnyPath, any_path
from zcpt_ray.orders import ORDERS
from zcpt_ray.proxies import PROXIES
from zcpt_ray.records import Progress, RunStore, SearchResult
from zcpt_ray.results import benchmark_table, candidate_table, pareto_table, readable, terminal_table, write_table
from zcpt_ray.score_tables import Spread, spread_locally
from zcpt_ray.scoring import SCORINGS
from zcpt_ray.search import DISCRETIZE, resolve, run_search_locally, with_benchmark
from zcpt_ray.search_report import report_best
from zcpt_ray.spaces import SPACES, find_space

if TYPE_CHECKING:
    from zcpt_ray.cluster import TaskResources

LINE_SECONDS = 10
"""How often progress is printed where there is no terminal to draw on."""


@dataclass(frozen=True)
class Cluster:
    """Where a job runs."""

    local: bool = False
    """Run in this process, without Ray."""
    address: str = ""
    """Ray cluster to join; by default the one this machine is part of, or a new one here, which `--address local` always starts."""
    cpus_per_task: int = 1
    """CPUs, and so threads, of each task."""
    gpus_per_task: float = 1.0
    """GPUs of each task, where the cluster has any; a fraction lets tasks share one."""

    def __post_init__(self) -> None:
        if self.local and (self.address, self.cpus_per_task, self.gpus_per_task) != ("", 1, 1.0):
            raise UserError("--local runs in this process: leave out --address, --cpus-per-task and --gpus-per-task")

    def spread(self, config: SearchConfig, show_logs: bool = False) -> Spread:
        """A way to run a function over items there, on what `config.device` asks for; workers' log lines are shown if wanted.

        Raises:
            UserError: no such cluster, or one that cannot run it.
        """
        if self.local:
            return spread_locally
        from zcpt_ray.cluster import task_options
        from zcpt_ray.distributed import spread_over

        return spread_over(task_options(config.device, self.join(show_logs)))

    def join(self, show_logs: bool = False) -> "TaskResources":
        """Connect this process to Ray; what each task is to ask for.

        Raises:
            UserError: no such cluster.
        """
        from zcpt_ray.cluster import TaskResources, connect  # a local job does without Ray, installed or not

        connect(self.address, show_logs)
        return TaskResources(self.cpus_per_task, self.gpus_per_task)


@dataclass(frozen=True)
class SearchJob:
    """A search and where it runs."""

    config: SearchConfig
    smoke: bool = False
    """As small as it goes, seconds or a minute or two: shows that everything runs, not what the method finds."""
    out: str | None = None
    """Run directory, local or a URI as s3://bucket/run; by default runs/ and a name made from the configuration. The same command
    goes on where it stopped, and with more proposals or validations it takes what is there."""
    cluster: Cluster = field(default_factory=Cluster)


NAMES: dict[str, Iterable[str]] = {
    "spaces": SPACES,
    "datasets": (*DATASETS, "or a folder of images"),
    "proxies": PROXIES,
    "scorings": SCORINGS,
    "orders": ORDERS,
    "methods": (DISCRETIZE, *METHODS),
}
"""What the flags of a configuration may name; `--help` of every job lists it."""


class JobOptions(Protocol):
    """Flags of a job, those of a configuration among them."""

    @property
    def config(self) -> SearchConfig | TrainConfig:
        """The configuration."""


Options = TypeVar("Options", bound=JobOptions)
Config = TypeVar("Config", SearchConfig, TrainConfig)


@dataclass(frozen=True)
class Report:
    """Prints tables and saves them in a folder."""

    out: AnyPath
    console: Console

    def table(self, table: pd.DataFrame, name: str, title: str) -> None:
        """Save a table under its name and print it."""
        write_table(table, self.out / name)
        self.console.print(terminal_table(readable(table), title))


def main(description: str, defaults: SearchConfig) -> None:
    """Parse flags, run the search, print its tables; exits with 2 after bad input, which it reports in one line."""
    start(lambda job: run(job, open_console()), SearchJob(defaults), description)


def start(
    job: Callable[[Options], object],
    defaults: Options,
    description: str,
    names: Mapping[str, Iterable[str]] | None = None,
    unused: Mapping[str, str] | None = None,
) -> None:
    """Parse flags and run `job`; exits with 2 after bad input, which it reports in one line.

    `names` are listed by `--help` beside `NAMES`. `unused` says of fields of the configuration why the job has no use for them:
    `--help` lists them too, and any value but the default is refused.
    """
    unused = unused or {}
    listing = [f"{kind}: {', '.join(table)}" for kind, table in {**(names or {}), **NAMES}.items()]
    if unused:
        listing.append("not used here: " + "; ".join(f"{_flag(field)} ({why})" for field, why in unused.items()))
    text = "\n\n".join([description, *listing])
    with one_line_errors():
        options = tyro.cli(type(defaults), default=defaults, description=text, config=(tyro.conf.OmitArgPrefixes,))
        for field, why in unused.items():
            given = getattr(options.config, field)
            if given != getattr(defaults.config, field):
                raise UserError(f"{_flag(field)} {given} is not used here: {why}")
        job(dataclasses.replace(options, config=_located(options.config)))  # type: ignore[type-var]


def _located(config: Config) -> Config:
    """The same with whole paths, as workers may have another working directory."""
    space = str(Path(config.space).absolute()) if config.space not in SPACES and Path(config.space).exists() else config.space
    own = config.dataset not in DATASETS and Path(config.dataset).exists()
    return dataclasses.replace(config, space=space, dataset=str(Path(config.dataset).absolute()) if own else config.dataset)


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")


def open_console() -> Console:
    """As wide as the terminal; where there is none, wide enough for an architecture in a table."""
    return Console(width=None if sys.stdout.isatty() else 150)


def require_some(**flags: Sequence[object]) -> None:
    """Refuse flags that were given without a value.

    Raises:
        UserError: one of them is empty.
    """
    for name, values in flags.items():
        if not values:
            raise UserError(f"--{name} needs at least one")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Bad input ends the process with one line and exit code 2; ctrl-C with 130. What takes long says how far it is."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("zcpt_ray").setLevel(logging.INFO)
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def run(job: SearchJob, console: Console) -> SearchResult:
    """Run the search of `job`, or read its result if it has been finished before, and print the tables."""
    config = smoke(job.config) if job.smoke else job.config
    resolve(config)
    name = f"{Path(config.space).stem}-{find_dataset(config.dataset).name}-{run_id(config)}"
    directory = any_path(job.out or f"runs/{name}")
    store = RunStore(config, directory)
    _note_space(config, directory)
    load_benchmark(config.space)  # so that an unreadable table is noticed now
    finished = (directory / "result.json").exists() and (result := SearchResult.load(directory)).config == config
    if finished:
        console.print(f"This search is finished; its result is in {directory}. Delete that folder to run it again.")
    else:
        console.print(
            f"{config.space} on {config.dataset}, {config.proxy}, {config.order} order, seed {config.seed} -> {directory}"
        )
        with watch(console) as report:
            if job.cluster.local:
                result = run_search_locally(config, store, report)
            else:
                result = _run_on_ray(job, config, directory, report, console)
        result.save(directory)
        write_table(pareto_table(result), directory / "pareto")
    if (known := with_benchmark(result)) != result:
        result = known
        result.save(directory)
    print_result(result, console)
    report_best(result, directory, console, anew=not finished)
    return result


def _note_space(config: SearchConfig, directory: AnyPath) -> None:
    """Keep in the run directory what a user's space file held.

    Raises:
        UserError: the run there was begun with another content of the file.
    """
    if fingerprint := find_space(config.space).fingerprint:
        noted = directory / "space.txt"
        if noted.exists() and noted.read_text() != fingerprint:
            raise UserError(f"{config.space} has changed since the run in {directory} was begun; choose another --out")
        noted.write_text(fingerprint)


def print_result(result: SearchResult, console: Console) -> None:
    """Candidates, the chosen one, what it cost, and what the benchmark knows of it."""
    console.print(terminal_table(candidate_table(result), "Candidates, best first"))
    if (result.config.max_params, result.config.max_flops) != (None, None):
        console.print(terminal_table(readable(pareto_table(result)), "Score against size"))
    console.print(f"Best: {result.best.arch}", highlight=False, soft_wrap=True)
    seconds = ", ".join(f"{phase} {value:.1f} s" for phase, value in result.seconds.items())
    console.print(f"{result.num_evaluations} proxy evaluations; {seconds}")
    path = table_path(result.config.space)
    if result.benchmark:
        console.print(terminal_table(benchmark_table(result.benchmark), "The best candidate in the benchmark's table"))
    elif result.benchmark is not None:
        console.print(f"Test errors of the best candidate: not in the partial table {path}", soft_wrap=True)
    elif path:
        console.print(f"No test errors: there is no {path}. {TABLES[result.config.space].remedy}".rstrip(), soft_wrap=True)
    if path and not TABLES[result.config.space].complete and result.num_known is not None:
        known = f"{result.num_known} of {len(result.candidates)} distinct candidates"
        console.print(f"Coverage: the partial table knows {known}; ranks are within it")


@contextmanager
def watch(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Live bars on a terminal, and a line now and then elsewhere."""
    columns = (*bars.Progress.get_default_columns()[:2], bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console, disable=not console.is_terminal) as drawn:
        proposals, validations = (drawn.add_task(name, total=None) for name in ("proposals", "validation"))
        printed = time.monotonic()

        def report(progress: Progress) -> None:
            nonlocal printed
            taken = f"proposals ({progress.scores} scores)" if progress.scores else "proposals"
            drawn.update(proposals, completed=progress.proposals_done, total=progress.proposals_total, description=taken)
            drawn.update(validations, completed=progress.validations_done, total=progress.validations_total or None)
            if not console.is_terminal and time.monotonic() - printed > LINE_SECONDS:
                printed = time.monotonic()
                console.print("; ".join(_line(task) for task in drawn.tasks if task.total))

        yield report


def _line(task: bars.Task) -> str:
    left = f", {task.time_remaining:.0f} s left" if task.time_remaining else ""
    return f"{task.description} {task.completed:g}/{task.total:g}{left}"


def _run_on_ray(
    job: SearchJob, config: SearchConfig, directory: AnyPath, report: Callable[[Progress], None], console: Console
) -> SearchResult:
    from zcpt_ray.cluster import describe, task_options
    from zcpt_ray.distributed import run_search

    resources = job.cluster.join(show_logs=resolve(config).scoring.needs == "trained supernet")
    console.print(describe(task_options(config.device, resources)), highlight=False)
    return run_search(config, directory, resources, report)
