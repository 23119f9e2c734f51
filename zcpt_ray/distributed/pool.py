"""The actor that holds what a search on Ray has found, and the tasks that validate it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import ray
from ray.util.metrics import Counter, Gauge

from zcpt_ray.distributed.cluster import IN_FLIGHT, as_task, calls_of_a_worker, set_up_worker
from zcpt_ray.distributed.watchdog import Process, watched
from zcpt_ray.errors import UserError
from zcpt_ray.search.budgets import Budget
from zcpt_ray.search.inputs import SearchData
from zcpt_ray.search.records import Progress, Proposal, ScoredStep, SearchResult, Validation
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_store import Record, RunStore
from zcpt_ray.search.validation import Slice, select, together, validate
from zcpt_ray.spaces.costs import Costs
from zcpt_ray.storage.paths import any_path


def _validate(search: Search, data: SearchData, part: Slice, pool: Any, watchdog: Any) -> list[Validation]:
    set_up_worker()
    archs, minibatches = part
    name = f"of {archs[0]}{' and others' * (len(archs) > 1)}, minibatches from {minibatches.start} on,"
    with watched(watchdog, "validation", name) as alive:

        def scored(scores: int) -> None:
            alive()
            pool.validated.remote(part, scores)

        return validate(search, data.images, archs, minibatches, scored)


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
        self.watchdog: Any = None
        self.data: Any = None
        self.places = 0
        self.waiting: list[Slice] = []
        self.running: dict[Slice, asyncio.Task[None]] = {}
        self.scores: dict[int, int] = {}
        self.validating: dict[Slice, int] = {}
        self.pending: list[Record] = []
        self.writing = asyncio.Lock()
        self.failure: UserError | None = None
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

    async def process(self) -> Process:
        """Where this is."""
        return Process.this()

    async def add(self, found: Proposal | ScoredStep) -> None:
        """Accept a proposal, or a step of one under way."""
        await self._keep([found])
        if isinstance(found, Proposal):
            self.proposals_done.set(len(self.store.proposals))
            self._count(found.num_evaluations)
            self._start_validation()

    async def scored(self, index: int, scores: int) -> None:
        """Hear how many scores a proposal under way has taken; lost if this process dies, as it is only shown."""
        self.scores[index] = scores

    async def validated(self, part: Slice, scores: int) -> None:
        """Hear how many scores a slice under way has taken; as `scored`."""
        self.validating[part] = scores

    async def advance(self, given: tuple[Any, Any, Budget], places: int) -> Progress:
        """Keep validation going (after a restart: all that is not stored), and say how far we are.

        `given` are the reference to the images, which Ray passes on as it is for the tuple around it, the watchdog, and
        the budget;
        `places` says how many tasks the cluster runs at a time, or can come to run.

        Raises:
            Exception: what a validation task raised.
        """
        (self.data, self.watchdog, budget), self.places = given, places
        self.store.candidates.within(budget)
        for task in self.running.values():
            if task.done():  # only one that failed is still here
                task.result()
        self._start_validation()
        return self.store.progress(
            sum(scores for index, scores in self.scores.items() if index not in self.store.proposals),
            sum(scores for part, scores in self.validating.items() if part in self.running),
        )

    async def result(self, costs: Costs, budget: Budget, wall: float) -> SearchResult:
        """The ranked candidates, once all is done; `wall` are the driver's seconds."""
        resources = {"CPU": float(self.options["num_cpus"]), "GPU": float(self.options.get("num_gpus", 0))}
        return select(self.store, costs, budget, wall, resources)

    def _count(self, scores: int) -> None:
        """Add to the metric; Ray refuses to add 0, as a random proposal has it."""
        if scores:
            self.scores_taken.inc(scores)

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
        validations = await task.remote(self.search, self.data, part, here, self.watchdog)
        await self._keep(validations)
        self._count(sum(len(validation.measures) for validation in validations))
        del self.running[part]
        self.validating.pop(part, None)
        self._start_validation()

    async def _keep(self, records: Sequence[Record]) -> None:
        """Accept them once they are on disk, or in the store; what comes while others are written is written together.

        Raises:
            UserError: it could not be written, now or before.
        """
        self.pending += records
        async with self.writing:
            if self.failure:
                raise self.failure
            new, self.pending = self.store.new(self.pending), []
            try:
                await asyncio.to_thread(self.store.write, new)
            except UserError as error:
                self.failure = error
                raise
            self.store.accept(new)
