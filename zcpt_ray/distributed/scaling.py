"""How work scales on Ray, measured: searches with real workers and with many whose proxy only sleeps, the pool on its
own, score tables, and grids on Tune.
"""

import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import ray
from torch import nn

from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.distributed.grids import GridOptions, run_grid
from zcpt_ray.distributed.pool import CandidatePool
from zcpt_ray.distributed.search import run_search
from zcpt_ray.distributed.spread import spread_over
from zcpt_ray.experiments.grids import Metrics, Trial
from zcpt_ray.proxies import Proxy
from zcpt_ray.search.inputs import SearchData, load_data
from zcpt_ray.search.proposal import propose
from zcpt_ray.search.records import Progress, Proposal
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.score_tables import TABLE_SLICE, ScoreTable
from zcpt_ray.search.validation import validate
from zcpt_ray.storage.paths import AnyPath

SLEEP = 1.0
"""Seconds that a score of `SLEEPING` takes with hardly any CPU: as so many workers are simulated on few cores, it must
be long.
"""
START_UP_SECONDS = 1


def sleep(net: nn.Module, batch: Batch) -> float:
    """A random score after `SLEEP`."""
    time.sleep(SLEEP)
    return random.random()


SLEEPING = Proxy("sleeping", (sleep,), "a simulation", batch_norm="none")


@contextmanager
def local_workers(count: int) -> Iterator[None]:
    """Inside, a Ray of its own on this machine with `count` workers of one CPU each, all started."""
    ray.init("local", num_cpus=count, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        search = Search.of(SearchConfig(space="toy-chain-3", batch_size=2))
        shared, data = ray.put(search), ray.put(load_data(search))
        while len(set(ray.get([_start_up.remote(shared, data) for _ in range(count)]))) < count:
            pass
        yield
    finally:
        ray.shutdown()


@ray.remote
def _start_up(search: Search, data: SearchData) -> int:
    """Occupy a worker for a moment with what a search does, so that it does nothing for the first time afterwards."""
    validate(search, data.images, [propose(search, data, 0).arch], range(1))
    time.sleep(START_UP_SECONDS)
    return os.getpid()


def sleeping_searches(workers: Sequence[int], proposals_each: int = 4, validations: int = 10) -> dict[int, Search]:
    """By number of workers, a search whose proxy sleeps, with so many proposals a worker."""
    base = Search.of(SearchConfig(space="toy-chain-3", num_validations=validations, batch_size=2))
    sleeping = replace(base, proxy=SLEEPING)
    return {count: sleeping.with_config(num_proposals=proposals_each * count) for count in workers}


def time_searches(searches: Mapping[int, Search]) -> Iterator[tuple[int, dict[str, float]]]:
    """Seconds of searches, each with its number of workers.

    `reference` is what one worker, which must come first, takes for as many scores, shared by all.
    """
    per_score = 0.0
    for workers, search in searches.items():
        with local_workers(workers):
            seconds, last = timed_search(search)
        scores = last.scores + last.validations_done
        per_score = per_score or seconds / scores
        ideal = per_score * scores / workers
        yield workers, {"ours": seconds, "reference": ideal, "ratio": ideal / seconds}


def timed_search(search: Search) -> tuple[float, Progress]:
    """Seconds that a search takes on the Ray of this process once it is under way, and how far it was at the end."""
    seen: list[tuple[float, Progress]] = []
    with TemporaryDirectory() as folder:
        run_search(search, Path(folder) / "run", report=lambda progress: seen.append((time.perf_counter(), progress)))
    return seen[-1][0] - seen[0][0], seen[-1][1]


def pool_rate(count: int) -> float:
    """Distinct candidates a second that `CandidatePool` takes in, each on disk before the next call."""
    search = Search.of(SearchConfig(num_proposals=count))
    space = search.space
    proposals = [Proposal(index, space.encode(space.arch(index)), (), 30, 1.0) for index in range(count)]
    with local_workers(1), TemporaryDirectory() as folder:
        pool = CandidatePool.remote(search, str(Path(folder) / "run"), {"num_cpus": 1})  # type: ignore[attr-defined]
        ray.get(pool.missing_proposals.remote())
        started = time.perf_counter()
        ray.get([pool.add.remote(proposal) for proposal in proposals])
        seconds = time.perf_counter() - started
        if ray.get(pool.missing_proposals.remote()):
            raise RuntimeError("the pool has lost candidates")
    return count / seconds


def sleeping_search(proposals: int, validations: int, workers: int) -> dict[str, float]:
    """Seconds of a whole search whose scores sleep; `reference` is their sleep alone, shared by all workers."""
    search = next(iter(sleeping_searches((1,), proposals, validations).values()))
    with local_workers(workers):
        seconds, last = timed_search(search)
    ideal = SLEEP * (last.scores + last.validations_done) / workers
    return {"ours": seconds, "reference": ideal, "ratio": ideal / seconds}


def sleeping_table(networks: int, workers: int) -> dict[str, float]:
    """Seconds of the score table of so many networks of NAS-Bench-201, whose slices sleep; as `sleeping_search`."""
    search = Search.of(SearchConfig(batch_size=2, proxy="params"))
    images = load_data(search).images
    space = search.space
    archs = [space.encode(space.arch(index)) for index in range(space.num_archs)]
    with local_workers(workers), TemporaryDirectory() as folder:
        table = ScoreTable(search, images.fingerprint, Path(folder))
        parts = table.missing()[: -(-networks // TABLE_SLICE)]
        started = time.perf_counter()
        for part, measured in spread_over({"num_cpus": 1, "num_gpus": 0})(_sleep_slice, archs, parts):
            table.add(part, measured)
        if len(parts) * TABLE_SLICE >= space.num_archs:
            table.load()
        seconds = time.perf_counter() - started
    ideal = SLEEP * len(parts) / workers
    return {"ours": seconds, "reference": ideal, "ratio": ideal / seconds}


def _sleep_slice(archs: list[str], part: range) -> pd.DataFrame:
    time.sleep(SLEEP)
    return pd.DataFrame({"arch": [archs[index] for index in part], "measure0": [float(index) for index in part]})


def grid_rate(count: int) -> float:
    """Seconds that Tune takes for a trial that does nothing, on two workers that have started."""

    def nothing(payload: int, out: AnyPath, emit: Callable[[Metrics], object]) -> None:
        emit({"fraction": 1.0})

    trials = [Trial(f"trial{index}", index, {"index": index}) for index in range(count)]
    with local_workers(2), TemporaryDirectory() as folder:
        started = time.perf_counter()
        outcome = run_grid(trials, nothing, Path(folder), GridOptions(device="cpu"))
        if len(outcome.metrics) != count or outcome.failures:
            raise RuntimeError("Tune has lost trials")
        return (time.perf_counter() - started) / count
