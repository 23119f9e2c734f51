"""Algorithm 1 of the paper, first part: one proposal, a discretization of the whole supernet edge by edge."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from zcpt_ray.arch import PartialArch
from zcpt_ray.datasets.minibatches import Batch, draw_minibatch
from zcpt_ray.devices import local_device
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import measure_archs
from zcpt_ray.search.budgets import UNLIMITED, Budget
from zcpt_ray.search.inputs import SearchData
from zcpt_ray.search.oracles import Oracle
from zcpt_ray.search.orders import EdgeScores, Visit
from zcpt_ray.search.proposing import MethodContext, Proposed
from zcpt_ray.search.records import Decision, Proposal, ScoredStep
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.score_count import ScoreCount, Scored
from zcpt_ray.search.scoring import Evidence, ProxyScores, TrainedSupernet
from zcpt_ray.search.step_scores import Confidence, ProxyJudge, StepScores
from zcpt_ray.search.supernet_trainer import SupernetTrainer
from zcpt_ray.seeding import derive_seed, generator


def propose(
    search: Search,
    data: SearchData,
    index: int,
    scored: Scored = lambda _: None,
    known: Sequence[ScoredStep] = (),
    keep: Callable[[ScoredStep], None] = lambda _: None,
) -> Proposal:
    """Proposal `index` of the search, which no other proposal influences.

    `scored` is told now and then how many scores it has taken, `keep` gets each step that is decided. The steps that
    are `known` are not scored again.
    """
    before = max((step.seconds for step in known), default=0.0)
    started = time.perf_counter() - before
    counted = replace(search, proxy=ScoreCount(scored).of(search.proxy))
    if search.method:
        found = _run_method(counted, data, index)
    else:
        steps = KnownSteps(index, started, {(step.step, step.turn): step for step in known}, keep)
        found = _discretize(counted, data, index, steps)
    seconds = time.perf_counter() - started
    return Proposal(index, search.space.encode(found.arch), found.decisions, found.num_evaluations, seconds)


def untrained_supernet(search: Search, num_classes: int, index: int = 0) -> Supernet:
    """The supernet with the weights that proposal `index` starts from, on this process's device."""
    seed = search.weights_seed(index % search.config.proposal_weights)
    return search.space.supernet(num_classes, seed).to(local_device(search.config.device))


@dataclass(frozen=True)
class ProposalScores:
    """Scores of one proposal of a baseline; supernet and minibatch are made when it asks for the first."""

    search: Search
    data: SearchData
    index: int

    @cached_property
    def supernet(self) -> Supernet:
        """With this proposal's weights."""
        return untrained_supernet(self.search, self.data.images.num_classes, self.index)

    @cached_property
    def batch(self) -> Batch:
        """Of this proposal."""
        config = self.search.config
        seed = derive_seed(config.seed, "proposal", self.index, "minibatch", 0)
        return draw_minibatch(self.data.images, config.batch_size, seed, local_device(config.device))

    def measure(self, archs: Sequence[PartialArch], alone: bool) -> list[tuple[float, ...]]:
        """Measures of supernets, or (`alone`) of networks on their own."""
        return measure_archs(self.search.proxy, self.supernet, archs, self.batch, alone)

    def op_params(self) -> list[list[int]]:
        """Per edge, per op, its parameters in the supernet."""
        return self.supernet.op_params()


def _run_method(search: Search, data: SearchData, index: int) -> Proposed:
    """A proposal of a baseline."""
    assert search.method
    scores = ProposalScores(search, data, index)
    random = generator(search.config.seed, "proposal", index, "method")
    context = MethodContext(
        search.config, search.space, search.proxy, random, scores.measure, scores.op_params, data.budget, index
    )
    return search.method.propose(context)


@dataclass(frozen=True)
class KnownSteps:
    """What is known of a proposal under way, and where what comes is kept; it `started` at that time."""

    index: int
    started: float
    known: Mapping[tuple[int, int], ScoredStep]
    keep: Callable[[ScoredStep], None]

    def fill(self, scores: "StepScores", step: int, turn: int) -> None:
        """Give a step the scores that are known."""
        if found := self.known.get((step, turn)):
            scores.scores |= found.scores
            scores.cohorts |= found.cohorts
            scores.certain |= set(found.scores)
            scores.num_evaluations += sum(map(len, found.scores.values()))

    def add(self, scores: "StepScores", step: int, turn: int) -> None:
        """Keep the scores of a step that is decided."""
        if (step, turn) not in self.known:
            seconds = time.perf_counter() - self.started
            self.keep(ScoredStep(self.index, step, turn, dict(scores.scores), seconds, dict(scores.cohorts)))


def _discretize(search: Search, data: SearchData, index: int, steps: KnownSteps) -> Proposed:
    """Discretize the whole supernet once.

    The supernet's weights are one of `proposal_weights` sets; order and minibatches are drawn for this index.
    """
    scorer = OpScorer(search, data, index)
    arch = PartialArch.all_open(search.space.edges)
    decisions: list[Decision] = []
    evaluations = 0
    for step, visits in enumerate(_steps(search, index)):
        seed = derive_seed(search.config.seed, "proposal", index, "minibatch", step)
        turns = [visits] if search.config.lanes == "together" else [[visit] for visit in visits]
        for turn, part in enumerate(turns):
            scores = scorer.step(arch, seed)
            steps.fill(scores, step, turn)
            for visit in part:
                edge, decision = decide(arch, visit, scores, step, data.budget)
                arch = arch.discretize(edge, decision.kept)
                decisions.append(decision)
            evaluations += scores.num_evaluations
            steps.add(scores, step, turn)
        scorer.decided(arch)
    return Proposed(arch.finish(search.space.name), tuple(decisions), evaluations)


def _steps(search: Search, index: int) -> Iterator[list[Visit]]:
    """Per step of proposal `index`, the visits (one a lane) that decide an edge in it."""
    seed, open_edges = search.config.seed, set(PartialArch.all_open(search.space.edges).open_edges)
    for stage_number, lanes in enumerate(search.space.stages):
        choices = [[edge for edge in lane if edge in open_edges] for lane in lanes]
        visits = [
            search.order.visit(lane, generator(seed, "proposal", index, "order", stage_number, lane_number))
            for lane_number, lane in enumerate(choices)
        ]
        for taken in range(max(len(lane) for lane in choices)):
            yield [visit for lane, visit in zip(choices, visits, strict=True) if taken < len(lane)]


class OpScorer:
    """Rates the ops of the supernet of proposal `index` as a search says, from the evidence that its scoring needs.

    A trained supernet is trained here first, which takes its time; `decided` trains it on where the scoring wants that.
    """

    def __init__(self, search: Search, data: SearchData, index: int = 0) -> None:
        self.search = search
        self.data = data
        self.supernet = untrained_supernet(search, data.images.num_classes, index)
        self.op_params = self.supernet.op_params()
        self.oracle = None if data.values is None else Oracle.of(search.space, data.values)
        self.trained: SupernetTrainer | None = None
        if isinstance(search.scoring.evidence, TrainedSupernet):
            assert data.held_out is not None
            self.trained = SupernetTrainer(search, self.supernet, data.images, data.held_out)
            self.trained.fit(PartialArch.all_open(search.space.edges))

    def step(self, arch: PartialArch, seed: int) -> "StepScores":
        """The scores of the ops of `arch` on the minibatch that `seed` draws."""
        evidence = Evidence(None, self.oracle, self.trained)
        if not isinstance(self.search.scoring.evidence, ProxyScores):
            return StepScores(self.search.scoring, evidence, arch, self.op_params)
        probability = self.search.config.confidence
        more = Confidence(probability, lambda n: self._judge(derive_seed(seed, "more", n))) if probability else None
        judged = replace(evidence, judge=self._judge(seed))
        return StepScores(self.search.scoring, judged, arch, self.op_params, more)

    def _judge(self, seed: int) -> ProxyJudge:
        config = self.search.config
        batch = draw_minibatch(self.data.images, config.batch_size, seed, local_device(config.device))
        return ProxyJudge(self.search.proxy, self.supernet, batch, self.search.scope)

    def decided(self, arch: PartialArch) -> None:
        """Tell that the supernet is `arch` now."""
        evidence = self.search.scoring.evidence
        if self.trained and isinstance(evidence, TrainedSupernet) and evidence.retrains and arch.open_edges:
            self.trained.fit(arch)


def _next(visit: Visit, sent: EdgeScores | None, arch: PartialArch) -> int | tuple[int, ...]:
    """What an order yields when it is sent something: an open edge, or a tuple of some."""
    try:
        wanted = visit.send(sent)  # type: ignore[arg-type]
    except StopIteration:
        raise UserError(f"the order ended while edges {list(arch.open_edges)} were still open") from None
    for edge in wanted if isinstance(wanted, tuple) else (wanted,):
        if edge not in arch.open_edges:
            raise UserError(
                f"the order yielded {wanted!r}; it must yield one of the open edges {list(arch.open_edges)}, or a tuple"
            )
    return wanted


def decide(
    arch: PartialArch, visit: Visit, scores: StepScores, step: int, budget: Budget = UNLIMITED
) -> tuple[int, Decision]:
    """Run an order up to its next decision.

    Raises:
        UserError: the order ends too early, or names something else than an open edge.
    """
    wanted = _next(visit, None, arch)
    while isinstance(wanted, tuple):
        wanted = _next(visit, scores(wanted), arch)
    edge, kept = arch.edges[wanted], scores.best(wanted, arch, budget)
    by_op = dict(zip(edge.candidates, scores([wanted])[wanted], strict=True))
    return wanted, Decision(step, edge.name, kept, by_op, scores.cohorts.get(wanted, 0))
