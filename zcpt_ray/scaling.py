"""How a search scales on Ray, measured: with real workers, with many whose proxy only sleeps, and the pool on its own."""

import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import ray
from torch import nn

from zcpt_ray.configs import SearchConfig
from zcpt_ray.data import Batch
from zcpt_ray.distributed import CandidatePool, run_search
from zcpt_ray.proxies import PROXIES, Proxy
from zcpt_ray.records import Progress, Proposal
from zcpt_ray.spaces import find_space

SLEEP = 1.0
"""Seconds that a score of `SLEEPING` takes with hardly any CPU: as so many workers are simulated on few cores, it must be long."""
START_UP_SECONDS = 1


def sleep(net: nn.Module, batch: Batch) -> float:
    """A random score after `SLEEP`."""
    time.sleep(SLEEP)
    return random.random()


SLEEPING = Proxy("sleeping", (sleep,), "a simulation", batch_norm="none")


def add_sleeping() -> None:
    """Have this process know the proxy `SLEEPING`."""
    PROXIES[SLEEPING.name] = SLEEPING


@contextmanager
def local_workers(count: int, set_up: Callable[[], None] = add_sleeping) -> Iterator[None]:
    """Inside, a Ray of its own on this machine with `count` workers of one CPU each, all of them started."""
    set_up()
    environment = {"worker_process_setup_hook": set_up}
    ray.init(
        "local", num_cpus=count, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, runtime_env=environment
    )
    try:
        while len(set(ray.get([_start_up.remote() for _ in range(count)]))) < count:
            pass
        yield
    finally:
        ray.shutdown()
        PROXIES.pop(SLEEPING.name, None)


@ray.remote
def _start_up() -> int:
    """Occupy a worker for a moment; the modules that a search needs are there afterwards."""
    time.sleep(START_UP_SECONDS)
    return os.getpid()


def simulate(workers: tuple[int, ...], proposals_each: int = 4, validations: int = 10) -> Iterator[tuple[int, dict[str, float]]]:
    """Seconds of searches whose proxy sleeps, so many proposals a worker.

    `reference` is what one worker, which must come first, takes for as many scores, shared by all.
    """
    per_score = 0.0
    for count in workers:
        config = SearchConfig(
            space="toy-chain-3",
            proxy=SLEEPING.name,
            num_proposals=proposals_each * count,
            num_validations=validations,
            batch_size=2,
        )
        with local_workers(count):
            seconds, last = timed_search(config)
        scores = last.scores + last.validations_done
        per_score = per_score or seconds / scores
        yield count, _row(seconds, per_score * scores / count)


def share(config: SearchConfig, workers: tuple[int, ...]) -> Iterator[tuple[int, dict[str, float]]]:
    """Seconds of the same search with so many workers; `reference` is that of one, which must come first, shared by all."""
    alone = 0.0
    for count in workers:
        with local_workers(count):
            seconds, _ = timed_search(config)
        alone = alone or seconds
        yield count, _row(seconds, alone / count)


def _row(seconds: float, ideal: float) -> dict[str, float]:
    return {"ours": seconds, "reference": ideal, "ratio": ideal / seconds}


def timed_search(config: SearchConfig) -> tuple[float, Progress]:
    """Seconds that a search takes on the Ray of this process, and how far it was at the end."""
    seen: list[Progress] = []
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        run_search(config, Path(folder) / "run", report=seen.append)
        return time.perf_counter() - started, seen[-1]


def pool_rate(count: int) -> float:
    """Distinct candidates a second that `CandidatePool` takes in, each on disk before the next call: no validations, no waiting."""
    config, space = SearchConfig(num_proposals=count), find_space("nasbench201")
    proposals = [Proposal(index, space.encode(space.arch(index)), (), 30, 1.0) for index in range(count)]
    with local_workers(1), TemporaryDirectory() as folder:
        pool = CandidatePool.remote(config, str(Path(folder) / "run"), {"num_cpus": 1})  # type: ignore[attr-defined]
        ray.get(pool.missing_proposals.remote())
        started = time.perf_counter()
        ray.get([pool.add.remote(proposal) for proposal in proposals])
        seconds = time.perf_counter() - started
        assert not ray.get(pool.missing_proposals.remote())
    return count / seconds
