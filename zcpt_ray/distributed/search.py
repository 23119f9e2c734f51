"""The search on Ray: proposals and slices of validation are tasks, `CandidatePool` is the actor that holds what they
found.

Only the rim is here. What is computed is `propose` and `validate` of the search package, and each depends on nothing
but the configuration and an index: however many workers there are and whichever of them die, the result is that of
`search.local.run_search_locally`.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zcpt_ray.distributed.autoscaling import nodes_to_come
from zcpt_ray.distributed.cluster import (
    IN_FLIGHT,
    TaskResources,
    as_task,
    calls_of_a_worker,
    nodes_without,
    places,
    plain_errors,
    set_up_worker,
    task_options,
    this_node,
)
from zcpt_ray.distributed.own_code import send_by_value
from zcpt_ray.distributed.pool import CandidatePool
from zcpt_ray.distributed.spread import spread_later
from zcpt_ray.distributed.watchdog import Hung, Looks, Process, patience, watched
from zcpt_ray.search.inputs import SearchData, load_data, require_same_data
from zcpt_ray.search.proposal import propose
from zcpt_ray.search.records import Progress, Proposal, SearchResult
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.resources import costs_on
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.storage.paths import AnyPath

POLL_SECONDS = 0.5
SETTLE_SECONDS = 10


def _propose(search: Search, data: SearchData, index: int, pool: Any, watchdog: Any) -> Proposal:
    set_up_worker()
    with watched(watchdog, "proposal", index) as alive:

        def scored(scores: int) -> None:
            alive()
            pool.scored.remote(index, scores)

        known = ray.get(pool.steps_of.remote(index))
        return propose(search, data, index, scored, known, lambda step: pool.add.remote(step))


def run_search(
    search: Search,
    directory: AnyPath,
    resources: TaskResources | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    shared: AnyPath | None = None,
    connect: Callable[[], None] = lambda: None,
) -> SearchResult:
    """The search on the Ray cluster this process is connected to, taking up what the run directory already holds.

    `shared` is as for `RunStore`. `connect` is called before the cluster is first asked, once data have been read.

    Raises:
        UserError: missing data, a cluster that cannot run it, a run directory of another run, a NaN score, or something
            of the user's own that cannot be sent to workers.
    """
    started = time.perf_counter()

    @functools.cache
    def find_options() -> dict[str, float]:
        connect()
        return task_options(search.config.device, resources or TaskResources())

    send_by_value(search)
    store = RunStore(search, directory, shared)  # a directory of another run is refused here, before any work
    with store.at_work():
        found = load_data(search, spread_later(find_options))
        options = find_options()
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
    reference, data = ray.put(search), ray.put(found)
    costs = costs_on(search, found.images), found.budget
    looks = Looks()
    given = data, looks.watchdog, found.budget
    # The pool stays where the run directory is, unless every node sees that: then it may move if its node dies.
    anywhere = not nodes_without(directory.absolute() / "config.json")
    here = NodeAffinitySchedulingStrategy(this_node(), soft=anywhere)
    actor: Any = CandidatePool  # the decorator's type has no options()
    pool = actor.options(scheduling_strategy=here).remote(
        search, str(directory.absolute()), options, str(shared.absolute()) if shared else ""
    )
    task = as_task(_propose, calls_of_a_worker(options)).options(**options)
    calls = _Calls(pool)
    left: list[int] = []
    waiting: list[Any] = []
    adding: list[Any] = []
    spare = IN_FLIGHT if nodes_to_come() else 0  # a cluster that can grow does so for tasks that wait
    with plain_errors(f"; what is finished is kept in {directory}"):
        try:
            while True:
                if not left and not waiting and not adding:  # at first, and again should the pool have lost any
                    left = calls.answer(pool.missing_proposals.remote())[::-1]
                while left and len(waiting) < IN_FLIGHT:
                    waiting.append(task.remote(reference, data, left.pop(), pool, looks.watchdog))
                if waiting:
                    done, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=POLL_SECONDS)
                    adding += [pool.add.remote(proposal) for proposal in done]
                else:
                    time.sleep(POLL_SECONDS)
                added, adding = ray.wait(adding, num_returns=len(adding), timeout=0) if adding else ([], [])
                ray.get(added)
                looks.look()
                progress: Progress = calls.answer(pool.advance.remote(given, places(options) + spare))
                report(progress)
                if progress.is_complete:
                    result: SearchResult = calls.answer(pool.result.remote(*costs, time.perf_counter() - started))
                    return result
        finally:
            if adding:  # whatever went wrong, proposals that are finished are kept
                ray.wait(adding, num_returns=len(adding), timeout=SETTLE_SECONDS)
            ray.kill(pool)


class _Calls:
    """Calls of the pool: if it does not answer, it is killed, starts again with what is on disk, and answers then."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.process: Process | None = None

    def answer(self, asked: Any) -> Any:
        """What has been asked for."""
        limit = patience()
        while True:
            try:
                found, self.process = ray.get([asked, self.pool.process.remote()], timeout=limit)
            except ray.exceptions.GetTimeoutError:
                if self.process:
                    Hung("the pool of candidates", self.process, limit).kill("it starts again")
                limit *= 2
            else:
                return found
