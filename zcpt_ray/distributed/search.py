"""The search on Ray: proposals and slices of validation are tasks, `CandidatePool` is the actor that holds what they
found.

Only the rim is here. What is computed is `propose` and `validate` of the search package, and each depends on nothing
but the configuration and an index: however many workers there are and whichever of them die, the result is that of
`search.local.run_search_locally`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.util.metrics import Counter, Gauge
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zcpt_ray.distributed.autoscaling import nodes_to_come
from zcpt_ray.distributed.cluster import (
    TaskResources,
    as_task,
    calls_of_a_worker,
    nodes_without,
    places,
    plain_errors,
    set_up_process,
    task_options,
    this_node,
)
from zcpt_ray.distributed.own_code import send_by_value
from zcpt_ray.search.inputs import SearchData, costs_on, load_data, require_same_data
from zcpt_ray.search.proposal import propose
from zcpt_ray.search.records import Progress, Proposal, ScoredStep, SearchResult, Validation
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.search.score_tables import Spread
from zcpt_ray.search.validation import Slice, select, together, validate
from zcpt_ray.spaces.costs import Costs
from zcpt_ray.storage.paths import AnyPath, any_path

POLL_SECONDS = 0.5
SETTLE_SECONDS = 10
IN_FLIGHT = 256
"""Tasks of one kind that are submitted and not finished, at most: enough to keep as many workers busy."""


def _propose(search: Search, data: SearchData, index: int, pool: Any) -> Proposal:
    _set_up_worker()
    known = ray.get(pool.steps_of.remote(index))
    return propose(
        search,
        data,
        index,
        lambda scores: pool.scored.remote(index, scores),
        known,
        lambda step: pool.keep.remote(step),
    )


def _validate(search: Search, data: SearchData, part: Slice, pool: Any) -> list[Validation]:
    _set_up_worker()
    return validate(search, data.images, *part, lambda scores: pool.validated.remote(part, scores))


def _set_up_worker() -> None:
    """Log lines, threads and GPUs."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("zcpt_ray").setLevel(logging.INFO)
    given = ray.get_runtime_context().get_assigned_resources()
    set_up_process({"num_cpus": given.get("CPU", 1), "num_gpus": given.get("GPU", 0)})


# The memory is a formality: where an actor that asks for nothing would rather be, Ray does not heed.
@ray.remote(num_cpus=0, memory=2**20, max_restarts=-1, max_task_retries=-1)
class CandidatePool:
    """Takes proposals in, drops duplicates, has each distinct candidate validated, and ranks them.

    All that it knows is in its run directory before a call returns: if its process dies, Ray starts it again and it
    goes on.
    """

    def __init__(self, search: Search, directory: str, options: dict[str, float], shared: str = "") -> None:
        self.search = search
        self.store = RunStore(search, any_path(directory), any_path(shared) if shared else None)
        self.options = options
        self.data: Any = None
        self.places = 0
        self.waiting: list[Slice] = []
        self.running: dict[Slice, asyncio.Task[None]] = {}
        self.scores: dict[int, int] = {}
        self.validating: dict[Slice, int] = {}
        tags = {"run": search.run_id, "space": search.config.space}
        self.proposals_done = Gauge("zcpt_proposals_done", "Proposals that a search has accepted", tuple(tags))
        self.scores_taken = Counter("zcpt_scores", "Scores behind accepted proposals and validations", tuple(tags))
        for metric in (self.proposals_done, self.scores_taken):
            metric.set_default_tags(tags)

    async def missing_proposals(self) -> list[int]:
        """Indices that nobody has proposed yet."""
        return self.store.missing_proposals()

    async def steps_of(self, index: int) -> list[ScoredStep]:
        """What is known of a proposal that was under way."""
        return self.store.steps_of(index)

    async def keep(self, step: ScoredStep) -> None:
        """Keep a step of a proposal under way."""
        self.store.add_step(step)

    async def add(self, proposal: Proposal) -> None:
        """Accept a proposal."""
        self.store.add_proposal(proposal)
        self.proposals_done.set(len(self.store.proposals))
        self.scores_taken.inc(proposal.num_evaluations)
        self._start_validation()

    async def scored(self, index: int, scores: int) -> None:
        """Hear how many scores a proposal under way has taken; lost if this process dies, as it is only shown."""
        self.scores[index] = scores

    async def validated(self, part: Slice, scores: int) -> None:
        """Hear how many scores a slice under way has taken; as `scored`."""
        self.validating[part] = scores

    async def advance(self, data: list[Any], places: int) -> Progress:
        """Keep validation going (after a restart: all that is not stored), and say how far we are.

        `data` is a list that holds the reference to the images, so that Ray passes on the reference; `places` says how
        many tasks the cluster runs at a time, or can come to run.

        Raises:
            Exception: what a validation task raised.
        """
        self.data, self.places = data[0], places
        for task in self.running.values():
            if task.done():  # only one that failed is still here
                task.result()
        self._start_validation()
        return self.store.progress(
            sum(scores for index, scores in self.scores.items() if index not in self.store.proposals),
            sum(scores for part, scores in self.validating.items() if part in self.running),
        )

    async def result(self, costs: Costs, wall: float) -> SearchResult:
        """The ranked candidates, once all is done; `wall` are the driver's seconds."""
        resources = {"CPU": float(self.options["num_cpus"]), "GPU": float(self.options.get("num_gpus", 0))}
        return select(self.store, costs, wall, resources)

    def _start_validation(self) -> None:
        """Submit what is missing and not under way, as far as there is room.

        That is what proposals leave: as each may bring a candidate that is validated after it, none should have to
        wait.
        """
        proposals = min(IN_FLIGHT, self.search.config.num_proposals - len(self.store.proposals))
        room = min(IN_FLIGHT, max(0, self.places - proposals)) if proposals else IN_FLIGHT
        while self.data is not None and len(self.running) < room:
            if not self.waiting:
                missing = self.store.take_missing_slices()
                self.waiting = together(missing, min(room, self.places) - len(self.running))[::-1]
            if not self.waiting:
                return
            part = self.waiting.pop()
            self.running[part] = asyncio.create_task(self.collect(part))

    async def collect(self, part: Slice) -> None:
        """Have a slice validated, and accept what comes of it."""
        here = ray.get_runtime_context().current_actor
        task = as_task(_validate, calls_of_a_worker(self.options)).options(**self.options)
        validations = await task.remote(self.search, self.data, part, here)
        self.store.add_validations(validations)
        self.scores_taken.inc(sum(len(validation.measures) for validation in validations))
        del self.running[part]
        self.validating.pop(part, None)
        self._start_validation()


def _call(function: Callable[[Any, Any], Any], shared: Any, item: Any) -> Any:
    _set_up_worker()
    return function(shared, item)


def spread_over(options: dict[str, float]) -> Spread:
    """Calls of any function as tasks, each with the given Ray options; results come in the order they finish.

    Raises:
        UserError: what a call raised, or a worker that died too often.
    """

    def spread(function: Callable[[Any, Any], Any], shared: Any, items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        send_by_value()
        reference, left = ray.put(shared), list(reversed(items))
        task = as_task(_call, calls_of_a_worker(options)).options(**options)
        running: dict[Any, Any] = {}
        with plain_errors():
            while left or running:
                while left and len(running) < IN_FLIGHT:
                    item = left.pop()
                    running[task.remote(function, reference, item)] = item
                (done,), _ = ray.wait(list(running))
                yield running.pop(done), ray.get(done)

    return spread


def run_search(
    search: Search,
    directory: AnyPath,
    resources: TaskResources | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    shared: AnyPath | None = None,
) -> SearchResult:
    """The search on the Ray cluster this process is connected to, taking up what the run directory already holds.

    `shared` is as for `RunStore`.

    Raises:
        UserError: missing data, a cluster that cannot run it, a run directory of another run, a NaN score, or something
        of the user's own that cannot be sent to workers.
    """
    started = time.perf_counter()
    options = task_options(search.config.device, resources or TaskResources())
    send_by_value(search)
    store = RunStore(search, directory, shared)  # a directory of another run is refused here, before any work
    with store.at_work():
        found = load_data(search, spread_over(options))
        require_same_data(store.folders, search.config, found.images)
        return _run(search, directory, options, report, shared, found, started)


def _run(
    search: Search,
    directory: AnyPath,
    options: dict[str, float],
    report: Callable[[Progress], None],
    shared: AnyPath | None,
    found: SearchData,
    started: float,
) -> SearchResult:
    reference, data, costs = ray.put(search), ray.put(found), costs_on(search, found.images)
    # The pool stays where the run directory is, unless every node sees that: then it may move if its node dies.
    anywhere = not nodes_without(directory.absolute() / "config.json")
    here = NodeAffinitySchedulingStrategy(this_node(), soft=anywhere)
    actor: Any = CandidatePool  # the decorator's type has no options()
    pool = actor.options(scheduling_strategy=here).remote(
        reference, str(directory.absolute()), options, str(shared.absolute()) if shared else ""
    )
    task = as_task(_propose, calls_of_a_worker(options)).options(**options)
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
                    waiting.append(task.remote(reference, data, left.pop(), pool))
                if waiting:
                    done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=POLL_SECONDS)
                    adding += [pool.add.remote(proposal) for proposal in done]
                else:
                    time.sleep(POLL_SECONDS)
                added, adding = ray.wait(adding, num_returns=len(adding), timeout=0) if adding else ([], [])
                ray.get(added)
                progress = ray.get(pool.advance.remote([data], places(options) + spare))
                report(progress)
                if progress.is_complete:
                    result: SearchResult = ray.get(pool.result.remote(costs, time.perf_counter() - started))
                    return result
        finally:
            if adding:  # whatever went wrong, proposals that are finished are kept
                ray.wait(adding, num_returns=len(adding), timeout=SETTLE_SECONDS)
            ray.kill(pool)
