"""Algorithm 1 of the paper as pure functions, and a local loop over them."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial

import pandas as pd
import torch

from zcpt_ray.arch import PartialArch
from zcpt_ray.baselines import METHODS, Found, Method, Proposing
from zcpt_ray.benchmarks import READINGS, load_benchmark, require_benchmark
from zcpt_ray.configs import SearchConfig
from zcpt_ray.costs import BudgetShare, Cost, Sizes, budget_share, first_within, search_costs, unlimited
from zcpt_ray.data import Batch, ImageSet, draw_minibatch, local_device
from zcpt_ray.datasets import find_dataset, halves
from zcpt_ray.errors import UserError
from zcpt_ray.oracles import Oracle
from zcpt_ray.orders import ORDERS, Order, Visit
from zcpt_ray.proxies import PROXIES, Proxy, measure_archs
from zcpt_ray.records import Decision, Progress, Proposal, RunStore, SearchResult, Validation
from zcpt_ray.registry import lookup
from zcpt_ray.score_count import ScoreCount, Scored
from zcpt_ray.score_tables import Spread, TableKey, score_table, spread_locally
from zcpt_ray.scoring import SCORINGS, Evidence, Scoring, by_edge
from zcpt_ray.seeding import derive_seed, generator
from zcpt_ray.spaces import Space, find_space
from zcpt_ray.supernet import Supernet
from zcpt_ray.supernet_training import SupernetTrainer

DISCRETIZE = "discretize"
"""The method that is not a baseline: Zero-Cost-PT and everything that only scores ops otherwise."""


@dataclass(frozen=True)
class Components:
    """The records that a configuration names; `method` is None where it discretizes a supernet.

    Not the data set: the images are read once, and a worker that gets them need not know where they came from.
    """

    space: Space
    proxy: Proxy
    scoring: Scoring
    order: Order
    method: Method | None


def resolve(config: SearchConfig) -> Components:
    """Look up every name of `config`, before any work.

    Raises:
        UserError: an unknown name; the message lists the known ones.
    """
    find_dataset(config.dataset)
    return components(config)


def components(config: SearchConfig) -> Components:
    """Look up every name of `config` but the data set's.

    Raises:
        UserError: an unknown name; the message lists the known ones. A method that keeps no budget was given one.
    """
    scoring = lookup(SCORINGS, config.scoring, "scoring")
    method = lookup({DISCRETIZE: None, **METHODS}, config.method, "method")
    if method and not method.budgeted and (config.max_params, config.max_flops) != (None, None):
        raise UserError(f"method {method.name!r} keeps no budget: leave out --max-params and --max-flops")
    space, proxy = find_space(config.space), lookup(PROXIES, scoring.proxy or config.proxy, "proxy")
    if proxy.thin and space.thin is None:
        raise UserError(f"proxy {proxy.name!r} does not serve space {space.name!r}: it has no thin form to count linear regions in")
    return Components(
        space,
        proxy,
        scoring,
        lookup(ORDERS, config.order, "order"),
        method,
    )


@dataclass(frozen=True)
class SearchData:
    """What a search reads: its half of the training images and, where the scoring asks for them, more.

    `held_out` is the other half; `values` what each finished architecture is worth, by its encoding.
    """

    images: ImageSet
    held_out: ImageSet | None = None
    values: dict[str, float] | None = None


def load_data(config: SearchConfig, spread: Spread = spread_locally) -> SearchData:
    """Read what the search needs. Proxy scores of every network that are not there yet are computed, over `spread`.

    Raises:
        UserError: an unknown or missing data set or table, or fewer images than a minibatch needs.
    """
    parts = resolve(config)
    values = benchmark_values(config)  # first: images take longer to read than a missing table to be missed
    images, held_out = halves(find_dataset(config.dataset))
    if config.batch_size > len(images):
        raise UserError(f"batch_size {config.batch_size} is more than the {len(images)} images of {config.dataset}'s search half")
    budget_share(config, images)  # raises if nothing fits
    if values is None:
        values = network_values(config, images, spread)
    return SearchData(images, held_out if parts.scoring.needs == "trained supernet" else None, values)


def benchmark_values(config: SearchConfig) -> dict[str, float] | None:
    """The accuracies [%] that the scoring of `config` asks of the benchmark, by encoded architecture; None where it asks none.

    Raises:
        UserError: the table is missing or does not know the data set.
    """
    if (needs := components(config).scoring.needs) not in READINGS:
        return None
    benchmark = require_benchmark(config.space, f"scoring {config.scoring!r}")
    return _as_floats(benchmark.accuracies(config.dataset, needs))


def network_values(config: SearchConfig, images: ImageSet, spread: Spread = spread_locally) -> dict[str, float] | None:
    """What each finished architecture is worth to the scoring of `config`, by its encoding; None where that asks no oracle.

    Raises:
        UserError: the benchmark table is missing or does not know the data set, or the space is too large to score all networks.
    """
    if components(config).scoring.needs == "proxy score of every network":
        return _as_floats(score_table(TableKey.of(config), images, config.device, spread))
    return benchmark_values(config)


def _as_floats(values: pd.Series) -> dict[str, float]:
    """From encoded architecture to value."""
    return {str(arch): float(value) for arch, value in values.items()}


def propose(config: SearchConfig, data: SearchData, index: int, scored: Scored = lambda _: None) -> Proposal:
    """Proposal `index` of the search, which no other proposal influences."""
    started = time.perf_counter()
    parts = components(config)
    parts = replace(parts, proxy=ScoreCount(scored).of(parts.proxy))
    found = _run_method(config, parts, parts.method, data, index) if parts.method else _discretize(config, parts, data, index)
    return Proposal(index, parts.space.encode(found.arch), found.decisions, found.num_evaluations, time.perf_counter() - started)


def _run_method(config: SearchConfig, parts: Components, method: Method, data: SearchData, index: int) -> Found:
    """A proposal of a baseline; supernet and minibatch are made when it asks for a score."""

    @cache
    def supernet_and_batch() -> tuple[Supernet, Batch]:
        seed = derive_seed(config.seed, "proposal", index, "minibatch", 0)
        batch = draw_minibatch(data.images, config.batch_size, seed, local_device(config.device))
        return untrained_supernet(config, data), batch

    def measure(archs: Sequence[PartialArch], alone: bool) -> list[tuple[float, ...]]:
        supernet, batch = supernet_and_batch()
        return measure_archs(parts.proxy, supernet, archs, batch, alone)

    random, share = generator(config.seed, "proposal", index, "method"), budget_share(config, data.images)
    op_params = lambda: supernet_and_batch()[0].op_params()  # noqa: E731
    return method.propose(Proposing(config, parts.space, parts.proxy, random, measure, op_params, share))


def _discretize(config: SearchConfig, parts: Components, data: SearchData, index: int) -> Found:
    """Discretize the whole supernet once.

    The supernet's weights are those of the search seed; order and minibatches are drawn for this index.
    """
    scorer = OpScorer(config, data, parts)
    arch, share = PartialArch.all_open(parts.space.edges), budget_share(config, data.images)
    decisions: list[Decision] = []
    evaluations = 0
    for step, visits in enumerate(_steps(config, parts, index)):
        scores = scorer.step(arch, derive_seed(config.seed, "proposal", index, "minibatch", step))
        for visit in visits:
            edge, decision = _decide(arch, visit, scores, step, share)
            arch = arch.discretize(edge, decision.kept)
            decisions.append(decision)
        evaluations += scores.num_evaluations
        scorer.decided(arch)
    return Found(arch.finish(parts.space.name), tuple(decisions), evaluations)


def untrained_supernet(config: SearchConfig, data: SearchData) -> Supernet:
    """The supernet with the weights of the search seed, on this process's device."""
    space = find_space(config.space)
    return space.supernet(data.images.num_classes, derive_seed(config.seed, "supernet")).to(local_device(config.device))


def _steps(config: SearchConfig, parts: Components, index: int) -> Iterator[list[Visit]]:
    """Per step of proposal `index`, the visits (one a lane) that decide an edge in it."""
    open_edges = set(PartialArch.all_open(parts.space.edges).open_edges)
    for stage_number, lanes in enumerate(parts.space.stages):
        choices = [[edge for edge in lane if edge in open_edges] for lane in lanes]
        visits = [
            parts.order.visit(lane, generator(config.seed, "proposal", index, "order", stage_number, lane_number))
            for lane_number, lane in enumerate(choices)
        ]
        for taken in range(max(len(lane) for lane in choices)):
            yield [visit for lane, visit in zip(choices, visits, strict=True) if taken < len(lane)]


class OpScorer:
    """Rates the ops of one supernet as a configuration says, from the evidence that its scoring needs.

    A trained supernet is trained here first, which takes its time; `decided` trains it on where the scoring wants that.
    """

    def __init__(self, config: SearchConfig, data: SearchData, parts: Components | None = None) -> None:
        self.config = config
        self.data = data
        self.parts = parts or components(config)
        self.supernet = untrained_supernet(config, data)
        self.op_params = self.supernet.op_params()
        self.oracle = None if data.values is None else Oracle.of(self.parts.space, data.values)
        self.trained = None
        if self.parts.scoring.needs == "trained supernet":
            assert data.held_out is not None
            self.trained = SupernetTrainer(config, self.supernet, data.images, data.held_out)
            self.trained.fit(PartialArch.all_open(self.parts.space.edges))

    def step(self, arch: PartialArch, seed: int) -> "StepScores":
        """The scores of the ops of `arch` on the minibatch that `seed` draws."""
        judge = None
        if self.parts.scoring.needs == "proxy":
            batch = draw_minibatch(self.data.images, self.config.batch_size, seed, local_device(self.config.device))
            judge = partial(_judge, self.parts.proxy, self.supernet, batch)
        return StepScores(self.parts.scoring, Evidence(judge, self.oracle, self.trained), arch, self.op_params)

    def decided(self, arch: PartialArch) -> None:
        """Tell that the supernet is `arch` now."""
        if self.trained and self.parts.scoring.retrains and arch.open_edges:
            self.trained.fit(arch)


class StepScores:
    """Op scores of one step: A_t and the evidence are fixed, and no edge is scored twice. `op_params` settles equals."""

    def __init__(self, scoring: Scoring, evidence: Evidence, arch: PartialArch, op_params: Sequence[Sequence[int]]) -> None:
        self.scoring = scoring
        self.evidence = evidence
        self.arch = arch
        self.op_params = op_params
        self.scores: dict[int, list[float]] = {}
        self.num_evaluations = 0

    def __call__(self, edges: Sequence[int]) -> dict[int, list[float]]:
        """Per edge, the scores of its ops in the order of its candidates."""
        pairs = [(edge, op) for edge in edges if edge not in self.scores for op in self.arch.edges[edge].candidates]
        if pairs:
            self.scores |= by_edge(pairs, self.scoring.score(self.evidence, self.arch, pairs))
        self.num_evaluations += len(pairs)
        return {edge: self.scores[edge] for edge in edges}

    def best(self, edge: int, arch: PartialArch, share: BudgetShare = unlimited) -> tuple[str, ...]:
        """The ops that `edge` keeps: those with the best scores, of equals the one with more parameters, then the later one.

        With a budget, the best with which `arch`, what the supernet has become by now, can still be finished within it.
        """
        candidates, params = self.arch.edges[edge].candidates, self.op_params[edge]
        scores = self([edge])[edge]
        order = sorted(range(len(candidates)), key=lambda i: (scores[i], params[i], i), reverse=True)
        keep = self.arch.edges[edge].keep
        choices = [tuple(candidates[i] for i in sorted(kept)) for kept in itertools.combinations(order, keep)]
        return first_within(choices, lambda kept: share(arch.discretize(edge, kept)))


def _judge(proxy: Proxy, supernet: Supernet, batch: Batch, archs: Sequence[PartialArch], groups: Sequence[int]) -> list[float]:
    """S of each architecture, compared with those of its group."""
    measured = measure_archs(proxy, supernet, archs, batch)
    scores = [0.0] * len(archs)
    for group in set(groups):
        members = [index for index, other in enumerate(groups) if other == group]
        for index, score in zip(members, proxy.combine([measured[i] for i in members]), strict=True):
            scores[index] = score
    return scores


def _decide(arch: PartialArch, visit: Visit, scores: StepScores, step: int, share: BudgetShare = unlimited) -> tuple[int, Decision]:
    """Run an order up to its next decision."""
    wanted = next(visit)
    while isinstance(wanted, tuple):
        wanted = visit.send(scores(wanted))
    edge = arch.edges[wanted]
    by_op = dict(zip(edge.candidates, scores([wanted])[wanted], strict=True))
    return wanted, Decision(step, edge.name, scores.best(wanted, arch, share), by_op)


def validate(config: SearchConfig, data: SearchData, arch: str, minibatches: range) -> Validation:
    """What the proxy measures of the network of `arch` on some of the V minibatches, which are the same for every candidate.

    The network has the weights that the supernet has under the same names.
    """
    started = time.perf_counter()
    parts, device = components(config), local_device(config.device)
    network = parts.space.network(parts.space.decode(arch), data.images.num_classes, derive_seed(config.seed, "supernet")).to(
        device
    )
    whole = PartialArch.whole(network.edges)
    measures = {}
    for index in minibatches:
        batch = draw_minibatch(data.images, config.batch_size, derive_seed(config.seed, "validation", index), device)
        (measures[index],) = measure_archs(parts.proxy, network, [whole], batch)
    return Validation(arch, measures, time.perf_counter() - started)


def select(store: RunStore, sizes: Sizes, wall: float, resources: dict[str, float]) -> SearchResult:
    """The ranked candidates of a run that is complete; `wall` are the seconds that its last call took, `resources` a task's."""
    parts, costs = components(store.config), search_costs(store.config.space, sizes)

    def cost(arch: str) -> tuple[int, int]:
        found = costs.of(parts.space.decode(arch))
        return found.params, found.flops

    result = store.result(wall, parts.proxy.combine, cost)
    fitting = tuple(c for c in result.candidates if Cost(c.params, c.flops).share_of(store.config) <= 1)
    if not fitting:
        raise UserError(f"none of the {len(result.candidates)} candidates fits both budgets; more --num-proposals may find one")
    networks = costs.networks(parts.space.decode(fitting[0].arch))
    known = {name: asdict(cost) for name, cost in networks.items()}
    return replace(result, best=fitting[0], candidates=fitting, costs=known, resources=resources)


def with_benchmark(result: SearchResult) -> SearchResult:
    """The same with what the benchmark's table, if there is one, knows of the best architecture and of the candidates."""
    benchmark = load_benchmark(result.config.space)
    if benchmark is None:
        return result
    known = benchmark.count_known(candidate.arch for candidate in result.candidates)
    return replace(result, benchmark=benchmark.query(result.best.arch), num_known=known)


def run_search_locally(
    config: SearchConfig, store: RunStore, report: Callable[[Progress], None] = lambda _: None, data: SearchData | None = None
) -> SearchResult:
    """The whole search in this process, taking up what `store` already holds; `data` is what `load_data` gave, if it is there.

    Raises:
        UserError: an unknown name, missing data, no such device, or a NaN score.
    """
    started = time.perf_counter()
    resources = {"CPU": float(torch.get_num_threads()), "GPU": float(local_device(config.device) == "cuda")}
    data = data or load_data(config)
    report(store.progress())
    for index in store.missing_proposals():
        store.add_proposal(propose(config, data, index, lambda scores: report(store.progress(under_way=scores))))
        report(store.progress())
    for arch, minibatches in store.missing_slices():
        store.add_validation(validate(config, data, arch, minibatches))
        report(store.progress())
    return select(store, Sizes.of(data.images), time.perf_counter() - started, resources)
