"""The search on Ray: proposals and slices of validation are tasks, `CandidatePool` is the actor that holds what they found.

Only the rim is here. What is computed is `search.propose` and `search.validate`, and each depends on nothing but the
configuration and an index: however many workers there are and whichever of them die, the result is that of
`search.run_search_locally`.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zcpt_ray import search
from zcpt_ray.configs import SearchConfig
from zcpt_ray.costs import Sizes
from zcpt_ray.errors import UserError
from zcpt_ray.files import AnyPath, any_path
from zcpt_ray.records import Progress, Proposal, RunStore, SearchResult, Validation
from zcpt_ray.score_tables import Spread
from zcpt_ray.search import SearchData

POLL_SECONDS = 0.5
SETTLE_SECONDS = 10
CONNECT_SECONDS = 10
IN_FLIGHT = 256


@dataclass(frozen=True)
class TaskResources:
    """What each proposal or validation task asks Ray for; `gpus` may be a fraction, and is 0 on a cluster without GPUs."""

    cpus: int = 1
    gpus: float = 1.0

    def __post_init__(self) -> None:
        if self.cpus < 1 or self.gpus <= 0 or (self.gpus > 1 and self.gpus % 1):
            given = f"got {self.cpus} and {self.gpus}"
            raise UserError(f"a task takes at least 1 CPU and, where there are any, a fraction of a GPU or whole GPUs; {given}")


def connect(address: str = "", show_logs: bool = False) -> None:
    """Join the cluster at `address`, else the one this machine is part of, else start Ray on this machine.

    A process that has joined one stays there. Workers' log lines (epochs of a supernet, say) are shown only if wanted.

    Raises:
        UserError: there is no cluster at `address`.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if address not in ("", "auto", "local"):  # ray.init would try a dead address for minutes
            host, port = address.rsplit("/", 1)[-1].rsplit(":", 1)
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        ray.init(address=address or None, log_to_driver=show_logs, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot join the Ray cluster at {address or 'auto'}: {str(error).splitlines()[0]}") from error


def task_options(device: str, resources: TaskResources) -> dict[str, float]:
    """Ray options of a task that runs on `device` (cpu, cuda or auto), on the cluster as it is now.

    Raises:
        UserError: the cluster has no GPU and one was asked for, or none of its nodes can ever give a task what it needs.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    have_gpu = any(node.get("GPU", 0) for node in nodes)
    if device == "cuda" and not have_gpu:
        raise UserError("device 'cuda' was asked for, but the Ray cluster has no GPU; use --device cpu or auto")
    options = {"num_cpus": resources.cpus, "num_gpus": resources.gpus if have_gpu and device != "cpu" else 0}
    if not any(node.get("CPU", 0) >= options["num_cpus"] and node.get("GPU", 0) >= options["num_gpus"] for node in nodes):
        offers = ", ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in nodes)
        raise UserError(
            f"a task asks for {options['num_cpus']} CPUs and {options['num_gpus']:g} GPUs; the nodes of the cluster have {offers}"
        )
    return options


# A task runs in a worker that has run others before: N proposals do not pay for N starts of CUDA.
@ray.remote(max_retries=10, max_calls=1000)
def _propose(config: SearchConfig, data: SearchData, index: int, pool: Any) -> Proposal:
    _set_up_worker()
    return search.propose(config, data, index, lambda scores: pool.scored.remote(index, scores))


@ray.remote(max_retries=10, max_calls=1000)
def _validate(config: SearchConfig, data: SearchData, arch: str, minibatches: range) -> Validation:
    _set_up_worker()
    return search.validate(config, data, arch, minibatches)


def _set_up_worker() -> None:
    """Log lines, and as many torch threads as CPUs: more threads than cores, in all workers together, run far slower."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("zcpt_ray").setLevel(logging.INFO)
    torch.set_num_threads(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1))))


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class CandidatePool:
    """Takes proposals in, drops duplicates, has each distinct candidate validated, and ranks them.

    All that it knows is in its run directory before a call returns: if its process dies, Ray starts it again and it goes on.
    """

    def __init__(self, config: SearchConfig, directory: str, options: dict[str, float]) -> None:
        self.config = config
        self.store = RunStore(config, any_path(directory))
        self.options = options
        self.running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self.scores: dict[int, int] = {}

    async def missing_proposals(self) -> list[int]:
        """Indices that nobody has proposed yet."""
        return self.store.missing_proposals()

    async def add(self, proposal: Proposal) -> None:
        """Accept a proposal."""
        self.store.add_proposal(proposal)

    async def scored(self, index: int, scores: int) -> None:
        """Hear how many scores a proposal under way has taken; lost if this process dies, as it is only shown."""
        self.scores[index] = scores

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
        return self.store.progress(sum(scores for index, scores in self.scores.items() if index not in self.store.proposals))

    async def result(self, sizes: Sizes, wall: float) -> SearchResult:
        """The ranked candidates, once all is done; `wall` is the driver's time in seconds."""
        return search.select(self.store, sizes, wall)

    async def _collect(self, data: Any, arch: str, minibatches: range) -> None:
        self.store.add_validation(await _validate.options(**self.options).remote(self.config, data, arch, minibatches))


@ray.remote(max_retries=10, max_calls=1000)
def _call(function: Callable[[Any, Any], Any], shared: Any, item: Any) -> Any:
    _set_up_worker()
    return function(shared, item)


def spread_over(options: dict[str, float]) -> Spread:
    """Calls of any function as tasks, each with the given Ray options; results come in the order they finish.

    Raises:
        UserError: what a call raised, or a worker that died too often.
    """

    def spread(function: Callable[[Any, Any], Any], shared: Any, items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        reference, left = ray.put(shared), list(reversed(items))
        running: dict[Any, Any] = {}
        with _plain_errors():
            while left or running:
                while left and len(running) < IN_FLIGHT:
                    item = left.pop()
                    running[_call.options(**options).remote(function, reference, item)] = item
                (done,), _ = ray.wait(list(running))
                yield running.pop(done), ray.get(done)

    return spread


@contextmanager
def _plain_errors(kept: str = "") -> Iterator[None]:
    """What a task raised for the user to read, as itself; a process that died too often, in one line."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise UserError(f"a Ray process died too often: {str(error).strip().splitlines()[0]}{kept}") from error


def run_search(
    config: SearchConfig,
    directory: AnyPath,
    resources: TaskResources | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> SearchResult:
    """The search on the Ray cluster this process is connected to, taking up what the run directory already holds.

    Raises:
        UserError: an unknown name, missing data, a cluster that cannot run it, a run directory of another run, a NaN score.
    """
    started = time.perf_counter()
    search.resolve(config)
    options = task_options(config.device, resources or TaskResources())
    RunStore(config, directory)  # so that a directory of another run is refused here, before any work
    found = search.load_data(config, spread_over(options))
    data, sizes = ray.put(found), Sizes.of(found.images)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)  # where the run directory is
    actor: Any = CandidatePool  # the decorator's type has no options()
    pool = actor.options(scheduling_strategy=here).remote(config, str(directory.absolute()), options)
    waiting: list[Any] = []
    adding: list[Any] = []
    with _plain_errors(f"; what is finished is kept in {directory}"):
        try:
            while True:
                if not waiting and not adding:  # at first, and again should the pool have lost any
                    missing = ray.get(pool.missing_proposals.remote())
                    waiting = [_propose.options(**options).remote(config, data, index, pool) for index in missing]
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
                    result: SearchResult = ray.get(pool.result.remote(sizes, time.perf_counter() - started))
                    return result
        finally:
            if adding:  # whatever went wrong, proposals that are finished are kept
                ray.wait(adding, num_returns=len(adding), timeout=SETTLE_SECONDS)
            ray.kill(pool)
