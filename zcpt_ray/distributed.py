"""The search on Ray: proposals and slices of validation are tasks, `CandidatePool` is the actor that holds what they found.

Only the rim is here. What is computed is `search.propose` and `search.validate`, and each depends on nothing but the
configuration and an index: however many workers there are and whichever of them die, the result is that of
`search.run_search_locally`.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch

from zcpt_ray import search
from zcpt_ray.configs import SearchConfig
from zcpt_ray.data import ImageSet
from zcpt_ray.errors import UserError
from zcpt_ray.records import Progress, Proposal, RunStore, SearchResult, Validation

POLL_SECONDS = 0.5
SETTLE_SECONDS = 10


@dataclass(frozen=True)
class TaskResources:
    """What each proposal or validation task asks Ray for; `gpus` may be a fraction, and is 0 on a cluster without GPUs."""

    cpus: int = 1
    gpus: float = 1.0

    def __post_init__(self) -> None:
        if self.cpus < 1 or self.gpus <= 0:
            raise UserError(
                f"a task needs at least 1 CPU and more than 0 GPUs (where there are any), got {self.cpus} and {self.gpus}"
            )


def connect(address: str = "") -> None:
    """Join the cluster at `address`, else the one this machine is part of, else start Ray on this machine; quietly."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR)


def task_options(config: SearchConfig, resources: TaskResources) -> dict[str, float]:
    """Ray options of a task on the cluster as it is now.

    Raises:
        UserError: the cluster has no GPU and one was asked for, or it can never give a task what it needs.
    """
    total = ray.cluster_resources()
    have_gpu = total.get("GPU", 0) > 0
    if config.device == "cuda" and not have_gpu:
        raise UserError("device 'cuda' was asked for, but the Ray cluster has no GPU; use --device cpu or auto")
    options = {"num_cpus": resources.cpus, "num_gpus": resources.gpus if have_gpu and config.device != "cpu" else 0}
    for name, key in (("CPU", "num_cpus"), ("GPU", "num_gpus")):
        largest = max(node["Resources"].get(name, 0) for node in ray.nodes() if node["Alive"])
        if options[key] > largest:
            raise UserError(f"a task asks for {options[key]} {name}s, and the largest node of the cluster has {largest:g}")
    return options


# A task runs in a worker that has run others before: N proposals do not pay for N starts of CUDA.
@ray.remote(max_retries=10, max_calls=1000)
def _propose(config: SearchConfig, data: ImageSet, index: int) -> Proposal:
    _use_assigned_cpus()
    return search.propose(config, data, index)


@ray.remote(max_retries=10, max_calls=1000)
def _validate(config: SearchConfig, data: ImageSet, arch: str, minibatches: range) -> Validation:
    _use_assigned_cpus()
    return search.validate(config, data, arch, minibatches)


def _use_assigned_cpus() -> None:
    """As many torch threads as CPUs: more of them than cores, in all workers together, slow each other down badly."""
    torch.set_num_threads(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class CandidatePool:
    """Takes proposals in, drops duplicates, has each distinct candidate validated, and ranks them.

    All that it knows is in its run directory before a call returns: if its process dies, Ray starts it again and it goes on.
    """

    def __init__(self, config: SearchConfig, directory: str, options: dict[str, float]) -> None:
        self.config = config
        self.store = RunStore(config, Path(directory))
        self.options = options
        self.running: dict[tuple[str, int], asyncio.Task[None]] = {}

    async def missing_proposals(self) -> list[int]:
        """Indices that nobody has proposed yet."""
        return self.store.missing_proposals()

    async def add(self, proposal: Proposal) -> None:
        """Accept a proposal."""
        self.store.add_proposal(proposal)

    async def advance(self, data: list[Any]) -> Progress:
        """Start what validation is missing and not under way (after a restart: all that is not stored), and say how far we are.

        `data` is a list that holds the reference to the images, so that Ray passes on the reference.

        Raises:
            Exception: what a validation task raised.
        """
        for task in self.running.values():
            if task.done():
                task.result()
        for arch, minibatches in self.store.missing_slices():
            if (arch, minibatches.start) not in self.running:
                self.running[arch, minibatches.start] = asyncio.create_task(self._collect(data[0], arch, minibatches))
        return self.store.progress()

    async def result(self, wall: float) -> SearchResult:
        """The ranked candidates, once all is done; `wall` is the driver's time in seconds."""
        return self.store.result(wall)

    async def _collect(self, data: Any, arch: str, minibatches: range) -> None:
        self.store.add_validation(await _validate.options(**self.options).remote(self.config, data, arch, minibatches))


def run_search(
    config: SearchConfig,
    directory: Path,
    resources: TaskResources | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> SearchResult:
    """The search on the Ray cluster this process is connected to, taking up what the run directory already holds.

    Raises:
        UserError: an unknown name, missing data, a cluster that cannot run it, a run directory of another run, a NaN score.
    """
    started = time.perf_counter()
    search.resolve(config)
    options = task_options(config, resources or TaskResources())
    RunStore(config, directory)  # so that a directory of another run is refused here, before any work
    data = ray.put(search.load_data(config))
    pool = CandidatePool.remote(  # type: ignore[attr-defined]
        config, str(directory.absolute()), options
    )
    adding: list[Any] = []
    try:
        missing = ray.get(pool.missing_proposals.remote())
        waiting = [_propose.options(**options).remote(config, data, index) for index in missing]
        while True:
            if waiting:
                done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=POLL_SECONDS)
                adding += [pool.add.remote(proposal) for proposal in done]
            else:
                time.sleep(POLL_SECONDS)
            added, adding = ray.wait(adding, num_returns=len(adding), timeout=0) if adding else ([], [])
            ray.get(added)
            progress = ray.get(pool.advance.remote([data]))
            report(progress)
            if progress.proposals_done == config.num_proposals and progress.validations_done == progress.validations_total:
                result: SearchResult = ray.get(pool.result.remote(time.perf_counter() - started))
                return result
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    finally:
        if adding:  # whatever went wrong, proposals that are finished are kept
            ray.wait(adding, num_returns=len(adding), timeout=SETTLE_SECONDS)
        ray.kill(pool)
