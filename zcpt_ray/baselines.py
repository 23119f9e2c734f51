"""What Zero-Cost-PT is compared with (section 5.1): other ways to propose an architecture, and the searches they make up.

Every method fills the same proposals, so validation, records, tables and Ray serve them all.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.configs import SearchConfig
from zcpt_ray.costs import BudgetShare, first_within, unlimited
from zcpt_ray.proxies.base import Measured, Proxy
from zcpt_ray.records import Decision
from zcpt_ray.registry import lookup
from zcpt_ray.scoring import SCORINGS, Evidence, by_edge
from zcpt_ray.seeding import generator
from zcpt_ray.spaces import Space

Measure = Callable[[Sequence[PartialArch], bool], list[Measured]]
"""Measures of supernets, or (True) of networks on their own, on the proposal's minibatch; to be asked for only once needed."""


@dataclass(frozen=True)
class Proposing:
    """What a method may use for one proposal."""

    config: SearchConfig
    space: Space
    proxy: Proxy
    random: np.random.Generator
    measure: Measure
    op_params: Callable[[], list[list[int]]]
    share: BudgetShare = unlimited


@dataclass(frozen=True)
class Found:
    """The architecture that a method proposes, how it came about, and how many scores that took."""

    arch: ArchSpec
    decisions: tuple[Decision, ...] = ()
    num_evaluations: int = 0


@dataclass(frozen=True)
class Method:
    """A way to propose an architecture other than to discretize a supernet edge by edge."""

    name: str
    propose: Callable[[Proposing], Found]
    reference: str
    asks_proxy: bool
    budgeted: bool = True
    """Whether its proposals keep within a budget."""


def random_arch(space: Space, random: np.random.Generator, share: BudgetShare = unlimited) -> ArchSpec:
    """Each edge keeps ops drawn evenly, of those with which the rest can be finished within a budget."""
    return _drawn(space, lambda edge: random.permutation(len(space.edges[edge].candidates)).tolist(), share)


def _drawn(space: Space, order: Callable[[int], Sequence[int]], share: BudgetShare) -> ArchSpec:
    """Edge by edge the first ops in an `order`, as indices, that a budget allows."""
    arch = PartialArch.all_open(space.edges)
    for index in arch.open_edges:
        edge = space.edges[index]
        choices = [tuple(edge.candidates[i] for i in sorted(kept)) for kept in itertools.combinations(order(index), edge.keep)]
        arch = arch.discretize(index, first_within(choices, lambda kept: share(arch.discretize(index, kept))))  # noqa: B023
    return arch.finish(space.name)


def propose_random(p: Proposing) -> Found:
    """Any architecture, as likely as any other. With V > 0 and a proxy this is NASWOT (Mellor et al. 2021)."""
    return Found(random_arch(p.space, p.random, p.share))


def propose_largest(p: Proposing) -> Found:
    """Every edge keeps the ops with most parameters, of equals any (the paper's max-param)."""
    params = p.op_params()

    def order(edge: int) -> list[int]:
        return sorted(p.random.permutation(len(params[edge])).tolist(), key=lambda i: -params[edge][i])

    return Found(_drawn(p.space, order, p.share))


POPULATION, TOURNAMENT = 50, 10


def propose_evolved(p: Proposing) -> Found:
    """Regularised evolution (Real et al. 2019) of `evaluations` networks, scored end to end on one minibatch.

    The best of 10 drawn from the last 50 is the parent; its child differs in one edge. The best ever scored is proposed.
    """
    history: list[tuple[ArchSpec, Measured]] = []
    alive: deque[int] = deque(maxlen=POPULATION)
    for _ in range(p.config.evaluations):
        if len(history) < POPULATION:
            child = random_arch(p.space, p.random, p.share)
        else:
            drawn = p.random.choice(list(alive), TOURNAMENT, replace=False)
            scores = p.proxy.combine([history[i][1] for i in drawn])
            child = mutate(p.space, history[drawn[int(np.argmax(scores))]][0], p.random, p.share)
        (measured,) = p.measure([PartialArch(p.space.edges, child.kept)], True)
        alive.append(len(history))
        history.append((child, measured))
    fitting = [entry for entry in history if p.share(PartialArch(p.space.edges, entry[0].kept)) <= 1] or history
    scores = p.proxy.combine([measured for _, measured in fitting])
    return Found(fitting[int(np.argmax(scores))][0], num_evaluations=len(history))


def mutate(space: Space, arch: ArchSpec, random: np.random.Generator, share: BudgetShare = unlimited) -> ArchSpec:
    """`arch` with one edge drawn anew, of those that leave a choice, so that it is another one; itself if a budget allows none."""
    for index in random.permutation(PartialArch.all_open(space.edges).open_edges).tolist():
        edge = space.edges[index]
        others = [kept for kept in itertools.combinations(edge.candidates, edge.keep) if set(kept) != set(arch.kept[index])]
        for position in random.permutation(len(others)):
            kept = (*arch.kept[:index], others[position], *arch.kept[index + 1 :])
            other = ArchSpec(arch.space, kept)
            if space.encode(other) != space.encode(arch) and share(PartialArch(space.edges, kept)) <= 1:
                return other
    return arch


def propose_pruned(p: Proposing) -> Found:
    """TE-NAS (Chen et al. 2021): every round takes the least important op from each edge, until `keep` are left.

    An op is as important as its removal hurts: with the proxy tenas, the sum of ranks of the NTK's condition number and of the
    number of linear regions, over all ops of the supernet.
    """
    arch, decisions, evaluations = PartialArch.all_open(p.space.edges), [], 0
    left = [list(edge.candidates) for edge in p.space.edges]
    for step in range(max(len(edge.candidates) - edge.keep for edge in p.space.edges)):
        pairs = [(i, op) for i, edge in enumerate(p.space.edges) if len(left[i]) > edge.keep for op in left[i]]
        judge = Evidence(judge=lambda archs, _: p.proxy.combine(p.measure(archs, False)))
        scores = by_edge(pairs, SCORINGS["zc-pt"].score(judge, arch, pairs))
        evaluations += len(pairs)
        for index, values in scores.items():
            worst = left[index][int(np.argmin(values))]
            decisions.append(Decision(step, p.space.edges[index].name, (), dict(zip(left[index], values, strict=True))))
            left[index].remove(worst)
            arch = arch.perturb(index, worst)
    return Found(ArchSpec(p.space.name, tuple(tuple(ops) for ops in left)), tuple(decisions), evaluations)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("random", propose_random, "section 5.1", asks_proxy=False),
        Method("max-param", propose_largest, "section 5.1, appendix A.7", asks_proxy=False),
        Method("evolution", propose_evolved, "Real et al. 2019; Abdelfattah et al. 2021", asks_proxy=True),
        Method("prune", propose_pruned, "Chen et al. 2021", asks_proxy=True, budgeted=False),
    )
}

SEARCHES: dict[str, dict[str, Any]] = {
    "zero-cost-pt": {},
    "zero-cost-disc": {"scoring": "disc-zc"},
    "random": {"method": "random", "num_proposals": 1, "num_validations": 0},
    "naswot": {"method": "random", "num_proposals": 1000, "num_validations": 1},
    "max-param": {"method": "max-param", "num_proposals": 1, "num_validations": 0},
    "zero-cost-evo": {"method": "evolution", "num_proposals": 1, "num_validations": 0},
    "te-nas": {"method": "prune", "proxy": "tenas", "num_proposals": 1, "num_validations": 0},
    "darts": {"scoring": "darts", "order": "fixed", "num_proposals": 1, "num_validations": 0},
    "darts-pt": {"scoring": "darts-pt", "num_proposals": 1, "num_validations": 0},
    "darts-pt-fixed-alpha": {"scoring": "darts-pt", "num_proposals": 1, "num_validations": 0, "fixed_alpha": True},
}
"""The paper's searches by name: what each changes in a `SearchConfig` (and its `training`)."""


def named_search(name: str, config: SearchConfig) -> SearchConfig:
    """`config` as the search called `name` has it; what the name does not fix stays.

    Raises:
        UserError: an unknown name.
    """
    changes = dict(lookup(SEARCHES, name, "search"))
    training = dataclasses.replace(config.training, fixed_alpha=bool(changes.pop("fixed_alpha", config.training.fixed_alpha)))
    return dataclasses.replace(config, training=training, **changes)


def search_label(name: str, config: SearchConfig) -> str:
    """The name, and the proxy where the search uses one that its name does not fix."""
    method, needs = METHODS.get(config.method), SCORINGS[config.scoring].needs
    asks = bool(config.num_validations) or (method.asks_proxy if method else needs.startswith("proxy"))
    return f"{name} {config.proxy}" if asks and "proxy" not in SEARCHES[name] else name


def naswot_draws(scores: pd.Series, errors: pd.Series, size: int = 1000, draws: int = 500, seed: int = 0) -> np.ndarray:
    """NASWOT from a table of scores: per draw the test error [%] of the best scored of `size` random networks, [draws].

    `scores` and `errors` are indexed by encoded architecture. This is how the paper states NASWOT: N = 1000, 500 runs.
    """
    aligned = errors.loc[scores.index].to_numpy()
    random = generator(seed, "naswot draws")
    picks = (random.choice(len(scores), size, replace=False) for _ in range(draws))
    return np.array([aligned[pick[np.argmax(scores.to_numpy()[pick])]] for pick in picks])
