"""The search on Ray: proposals and slices of validation are tasks, `CandidatePool` is the actor that holds what they found.

Only the rim is here. What is computed is `search.propose` and `search.validate`, and each depends on nothing but the
configuration and an index: however many workers there are and whichever of them die, the result is that of
`search.run_search_locally`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
import torch
from ray.util.metrics import Counter, Gauge
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zcpt_ray import search
from zcpt_ray.autoscaling import nodes_to_come
from zcpt_ray.cluster import TaskResources, nodes_without, places, plain_errors, task_options, this_node
from zcpt_ray.configs import SearchConfig, run_id
from zcpt_ray.costs import Sizes
from zcpt_ray.files import AnyPath, any_path
from zcpt_ray.records import Progress, Proposal, RunStore, SearchResult, Validation
from zcpt_ray.score_tables import Spread
from zcpt_ray.search import SearchData

POLL_SECONDS = 0.5
SETTLE_SECONDS = 10
IN_FLIGHT = 256
"""Tasks of one kind that are submitted and not finished, at most: enough to keep as many workers busy."""


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


# The memory is a formality: where an actor that asks for nothing would rather be, Ray does not heed.
@ray.remote(num_cpus=0, memory=2**20, max_restarts=-1, max_task_retries=-1)
class CandidatePool:
    """Takes proposals in, drops duplicates, has each distinct candidate validated, and ranks them.

    All that it knows is in its run directory before a call returns: if its process dies, Ray starts it again and it goes on.
    """

    def __init__(self, config: SearchConfig, directory: str, options: dict[str, float]) -> None:
        self.config = config
        self.store = RunStore(config, any_path(directory))
        self.options = options
        self.data: Any = None
        self.places = 0
        self.waiting: list[tuple[str, range]] = []
        self.running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self.scores: dict[int, int] = {}
        tags = {"run": run_id(config), "space": config.space}
        self.proposals_done = Gauge("zcpt_proposals_done", "Proposals that a search has accepted", tuple(tags))
        self.scores_taken = Counter("zcpt_scores", "Scores behind accepted proposals and validations", tuple(tags))
        for metric in (self.proposals_done, self.scores_taken):
            metric.set_default_tags(tags)

    async def missing_proposals(self) -> list[int]:
        """Indices that nobody has proposed yet."""
        return self.store.missing_proposals()

    async def add(self, proposal: Proposal) -> None:
        """Accept a proposal."""
        self.store.add_proposal(proposal)
        self.proposals_done.set(len(self.store.proposals))
        self.scores_taken.inc(proposal.num_evaluations)
        self._start_validation()

    async def scored(self, index: int, scores: int) -> None:
        """Hear how many scores a proposal under way has taken; lost if this process dies, as it is only shown."""
        self.scores[index] = scores

    async def advance(self, data: list[Any], places: int) -> Progress:
        """Keep validation going (after a restart: all that is not stored), and say how far we are.

        `data` is a list that holds the reference to the images, so that Ray passes on the reference; `places` says how many tasks
        the cluster runs at a time, or can come to run.

        Raises:
            Exception: what a validation task raised.
        """
        self.data, self.places = data[0], places
        for task in self.running.values():
            if task.done():  # only one that failed is still here
                task.result()
        self._start_validation()
        return self.store.progress(sum(scores for index, scores in self.scores.items() if index not in self.store.proposals))

    async def result(self, sizes: Sizes, wall: float) -> SearchResult:
        """The ranked candidates, once all is done; `wall` is the driver's time in seconds."""
        resources = {"CPU": float(self.options["num_cpus"]), "GPU": float(self.options.get("num_gpus", 0))}
        return search.select(self.store, sizes, wall, resources)

    def _start_validation(self) -> None:
        """Submit what is missing and not under way, as far as there is room.

        That is what proposals leave: as each may bring a candidate that is validated after it, none should have to wait.
        """
        proposals = min(IN_FLIGHT, self.config.num_proposals - len(self.store.proposals))
        room = min(IN_FLIGHT, max(0, self.places - proposals)) if proposals else IN_FLIGHT
        while self.data is not None and len(self.running) < room:
            if not self.waiting:  # looking through all that is known takes milliseconds
                missing = [(arch, part) for arch, part in self.store.missing_slices() if (arch, part.start) not in self.running]
                self.waiting = missing[::-1]
            if not self.waiting:
                return
            arch, minibatches = self.waiting.pop()
            self.running[arch, minibatches.start] = asyncio.create_task(self._collect(arch, minibatches))

    async def _collect(self, arch: str, minibatches: range) -> None:
        validation = await _validate.options(**self.options).remote(self.config, self.data, arch, minibatches)
        self.store.add_validation(validation)
        self.scores_taken.inc(len(validation.measures))
        del self.running[arch, minibatches.start]
        self._start_validation()


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
        with plain_errors():
            while left or running:
                while left and len(running) < IN_FLIGHT:
                    item = left.pop()
                    running[_call.options(**options).remote(function, reference, item)] = item
                (done,), _ = ray.wait(list(running))
                yield running.pop(done), ray.get(done)

    return spread


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
    # The pool stays where the run directory is, unless every node sees that: then it may move if its node dies.
    anywhere = not nodes_without(directory.absolute() / "config.json")
    here = NodeAffinitySchedulingStrategy(this_node(), soft=anywhere)
    actor: Any = CandidatePool  # the decorator's type has no options()
    pool = actor.options(scheduling_strategy=here).remote(config, str(directory.absolute()), options)
    left: list[int] = []
    waiting: list[Any] = []
    adding: list[Any] = []
    spare = IN_FLIGHT if nodes_to_come() else 0  # a cluster that can grow does so for tasks that wait
    with plain_errors(f"; what is finished is kept in {directory}"):
        try:
            while True:
                if not left and not waiting and not adding:  # at first, and again should the pool have lost any
                    left = ray.get(pool.missing_proposals.remote())[::-1]
                while left and len(waiting) < IN_FLIGHT:
                    waiting.append(_propose.options(**options).remote(config, data, left.pop(), pool))
                if waiting:
                    done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=POLL_SECONDS)
                    adding += [pool.add.remote(proposal) for proposal in done]
                else:
                    time.sleep(POLL_SECONDS)
                added, adding = ray.wait(adding, num_returns=len(adding), timeout=0) if adding else ([], [])
                ray.get(added)
                progress = ray.get(pool.advance.remote([data], places(options) + spare))
                report(progress)
                if progress.proposals_done == config.num_proposals and progress.validations_done == progress.validations_total:
                    result: SearchResult = ray.get(pool.result.remote(sizes, time.perf_counter() - started))
                    return result
        finally:
            if adding:  # whatever went wrong, proposals that are finished are kept
                ray.wait(adding, num_returns=len(adding), timeout=SETTLE_SECONDS)
            ray.kill(pool)
