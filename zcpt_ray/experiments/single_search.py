"""One search with its run directory: read if it is finished, run otherwise."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from zcpt_ray.benchmarks.tables import load_benchmark
from zcpt_ray.experiments.finalists import TrainFinalists, judged, require_finalists, train_here
from zcpt_ray.experiments.latency_limits import confirmed
from zcpt_ray.reports.tables import pareto_table, write_table
from zcpt_ray.search.records import SearchResult
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_files import claim_run
from zcpt_ray.search.validation import with_benchmark
from zcpt_ray.storage.paths import AnyPath, any_path

RunSearch = Callable[[Search, AnyPath], SearchResult]
"""Runs a search in its directory: in this process, or on Ray."""


class Outcome(NamedTuple):
    """A result, where it is, and whether it was there already."""

    result: SearchResult
    directory: AnyPath
    was_finished: bool


def run_directory(search: Search, out: str | Path | None = None) -> AnyPath:
    """`out`, or runs/ and a name made from space, data set and run."""
    config = search.config
    return any_path(out or f"runs/{Path(config.space).stem}-{Path(config.dataset).name}-{search.run_id}")


def _is_finished(search: Search, directory: AnyPath) -> bool:
    """Whether the result of this very search is there.

    Raises:
        UserError: the directory belongs to another run, or its result is damaged.
    """
    claim_run(search, directory)
    return (directory / "result.json").exists() and SearchResult.load(directory).config == search.config


def run_or_read(
    search: Search,
    directory: AnyPath,
    run: RunSearch,
    tell: Callable[[bool], None] = lambda finished: None,
    measured: bool = True,
    train: TrainFinalists = train_here,
) -> Outcome:
    """The result of a search, which is in its directory afterwards, with what a benchmark knows and a Pareto table.

    `tell` is called once it is known whether it is finished, before it is run. If it is `measured`, candidates that
    take longer here than a limit of milliseconds of this machine are left out. Finalists, if there are to be any, are
    trained by `train`.

    Raises:
        UserError: a directory of another run, an unreadable benchmark table, or what `run` raises.
    """
    finished = _is_finished(search, directory)
    tell(finished)
    load_benchmark(search.config.space)  # so that an unreadable table is noticed now
    require_finalists(search)
    result = SearchResult.load(directory) if finished else run(search, directory)
    if measured and not finished:
        result = confirmed(result, search.space)
    if not finished:
        result = judged(result, search, directory, train)
    known = with_benchmark(result)
    if known != result or not finished:
        known.save(directory)
    if not finished:
        write_table(pareto_table(known), directory / "pareto")
    return Outcome(known, directory, finished)
