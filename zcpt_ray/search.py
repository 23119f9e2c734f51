"""Algorithm 1 of the paper as pure functions, and a local loop over them."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from zcpt_ray.arch import PartialArch
from zcpt_ray.configs import SearchConfig
from zcpt_ray.data import DATASETS, Dataset, ImageSet, draw_minibatch, search_half
from zcpt_ray.errors import UserError
from zcpt_ray.orders import ORDERS, Order, Visit
from zcpt_ray.proxies import PROXIES, Proxy, score_archs
from zcpt_ray.records import Decision, Progress, Proposal, RunStore, SearchResult, Validation
from zcpt_ray.registry import lookup
from zcpt_ray.scoring import SCORINGS, Judge, Scoring
from zcpt_ray.seeding import derive_seed, generator
from zcpt_ray.spaces import SPACES, Space


@dataclass(frozen=True)
class Components:
    """The records that a configuration names."""

    space: Space
    dataset: Dataset
    proxy: Proxy
    scoring: Scoring
    order: Order


def resolve(config: SearchConfig) -> Components:
    """Look up every name of `config`.

    Raises:
        UserError: an unknown name; the message lists the known ones.
    """
    return Components(
        lookup(SPACES, config.space, "space"),
        lookup(DATASETS, config.dataset, "dataset"),
        lookup(PROXIES, config.proxy, "proxy"),
        lookup(SCORINGS, config.scoring, "scoring"),
        lookup(ORDERS, config.order, "order"),
    )


def load_data(config: SearchConfig) -> ImageSet:
    """The images that the search may see.

    Raises:
        UserError: an unknown or missing data set, or fewer images than a minibatch needs.
    """
    data = search_half(resolve(config).dataset)
    if config.batch_size > len(data):
        raise UserError(f"batch_size {config.batch_size} is more than the {len(data)} images of {config.dataset}'s search half")
    return data


def local_device(config: SearchConfig) -> str:
    """The torch device to use in this process.

    Raises:
        UserError: a GPU was asked for and there is none.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError("device 'cuda' was asked for, but torch sees no GPU here; use --device cpu or auto")
    return "cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu"


def propose(config: SearchConfig, data: ImageSet, index: int) -> Proposal:
    """Discretize the whole supernet once: proposal `index` of the search, which no other proposal influences.

    The supernet's weights are those of the search seed; order and minibatches are drawn for this index.
    """
    started = time.perf_counter()
    parts, device = resolve(config), local_device(config)
    supernet = parts.space.supernet(data.num_classes, derive_seed(config.seed, "supernet")).to(device)
    arch = PartialArch.all_open(parts.space.edges)
    decisions: list[Decision] = []
    evaluations = 0
    for step, visits in enumerate(_steps(config, parts, index)):
        seed = derive_seed(config.seed, "proposal", index, "minibatch", step)
        batch = draw_minibatch(data, config.batch_size, seed, device)
        scorer = _EdgeScorer(parts.scoring, arch, partial(score_archs, parts.proxy, supernet, batch=batch))
        for visit in visits:
            edge, decision = _decide(arch, visit, scorer, step)
            arch = arch.discretize(edge, decision.kept)
            decisions.append(decision)
        evaluations += scorer.num_evaluations
    encoded = parts.space.encode(arch.finish(parts.space.name))
    return Proposal(index, encoded, tuple(decisions), evaluations, time.perf_counter() - started)


def _steps(config: SearchConfig, parts: Components, index: int) -> Iterator[list[Visit]]:
    """Per step of proposal `index`, the visits (one a lane) that decide an edge in it."""
    for stage_number, lanes in enumerate(parts.space.stages):
        visits = [
            parts.order.visit(lane, generator(config.seed, "proposal", index, "order", stage_number, lane_number))
            for lane_number, lane in enumerate(lanes)
        ]
        for taken in range(max(len(lane) for lane in lanes)):
            yield [visit for lane, visit in zip(lanes, visits, strict=True) if taken < len(lane)]


class _EdgeScorer:
    """Op scores of one step: A_t and the minibatch are fixed, and no edge is scored twice."""

    def __init__(self, scoring: Scoring, arch: PartialArch, judge: Judge) -> None:
        self.scoring = scoring
        self.arch = arch
        self.judge = judge
        self.scores: dict[int, list[float]] = {}
        self.num_evaluations = 0

    def __call__(self, edges: Sequence[int]) -> dict[int, list[float]]:
        pairs = [(edge, op) for edge in edges if edge not in self.scores for op in self.arch.edges[edge].candidates]
        values = self.scoring.score(self.judge, self.arch, pairs) if pairs else []
        for (edge, _), value in zip(pairs, values, strict=True):
            self.scores.setdefault(edge, []).append(value)
        self.num_evaluations += len(pairs)
        return {edge: self.scores[edge] for edge in edges}


def _decide(arch: PartialArch, visit: Visit, scorer: _EdgeScorer, step: int) -> tuple[int, Decision]:
    """Run an order up to its next decision; the edge keeps its best ops, the first ones of equals."""
    wanted = next(visit)
    while isinstance(wanted, tuple):
        wanted = visit.send(scorer(wanted))
    edge = arch.edges[wanted]
    scores = dict(zip(edge.candidates, scorer((wanted,))[wanted], strict=True))
    kept = sorted(edge.candidates, key=lambda op: -scores[op])[: edge.keep]
    return wanted, Decision(step, edge.name, tuple(kept), scores)


def validate(config: SearchConfig, data: ImageSet, arch: str, minibatches: range) -> Validation:
    """End-to-end scores of the network of `arch` on some of the search's V minibatches, the same ones for every candidate.

    The network has the weights that the supernet has under the same names.
    """
    started = time.perf_counter()
    parts, device = resolve(config), local_device(config)
    network = parts.space.network(parts.space.decode(arch), data.num_classes, derive_seed(config.seed, "supernet")).to(device)
    whole = PartialArch(network.edges, tuple(edge.candidates for edge in network.edges))
    scores = {}
    for index in minibatches:
        batch = draw_minibatch(data, config.batch_size, derive_seed(config.seed, "validation", index), device)
        scores[index] = score_archs(parts.proxy, network, [whole], batch)[0]
    return Validation(arch, scores, time.perf_counter() - started)


def run_search_locally(config: SearchConfig, store: RunStore, report: Callable[[Progress], None] = lambda _: None) -> SearchResult:
    """The whole search in this process, taking up what `store` already holds.

    Raises:
        UserError: an unknown name, missing data, no such device, or a NaN score.
    """
    started = time.perf_counter()
    local_device(config)
    data = load_data(config)
    report(store.progress())
    for index in store.missing_proposals():
        store.add_proposal(propose(config, data, index))
        report(store.progress())
    for arch, minibatches in store.missing_slices():
        store.add_validation(validate(config, data, arch, minibatches))
        report(store.progress())
    return store.result(time.perf_counter() - started)
