"""What Zero-Cost-PT is compared with (section 5.1): other ways to propose an architecture, and the searches they make
up.

Every method fills the same proposals, so validation, records, tables and Ray serve them all.
"""

import itertools
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.errors import UserError
from zcpt_ray.proxies.base import Measured
from zcpt_ray.search.budgets import UNLIMITED, Budget, first_within
from zcpt_ray.search.pareto import propose_on_the_front
from zcpt_ray.search.proposing import Method, MethodContext, Proposed
from zcpt_ray.search.records import Decision
from zcpt_ray.search.scoring import SCORINGS, Evidence, by_edge
from zcpt_ray.spaces import Space

DRAWS = 1000
"""Random choices that are tried until one is an architecture."""


def random_arch(space: Space, random: np.random.Generator, budget: Budget = UNLIMITED) -> ArchSpec:
    """Each edge keeps ops drawn evenly, of those with which the rest can be finished within a budget.

    Raises:
        UserError: no architecture of the space came in many draws.
    """
    for _ in range(DRAWS):
        arch = _drawn(space, lambda edge: random.permutation(len(space.edges[edge].candidates)).tolist(), budget)
        if space.valid(arch) and (space.has_supernet or budget.used(PartialArch(space.edges, arch.kept)) <= 1):
            return arch
    raise UserError(f"of {DRAWS} random choices within the budget none is an architecture of {space.name}")


def _drawn(space: Space, rank_ops: Callable[[int], Sequence[int]], budget: Budget) -> ArchSpec:
    """Edge by edge the first ops that a budget allows.

    `rank_ops` gives the indices of an edge's ops, wanted ones first.
    """
    arch = PartialArch.all_open(space.edges)
    for index in arch.open_edges:
        edge = space.edges[index]
        kept = [
            tuple(edge.candidates[i] for i in sorted(ops)) for ops in itertools.combinations(rank_ops(index), edge.keep)
        ]
        arch = first_within([arch.discretize(index, ops) for ops in kept], budget.used)
    return arch.finish(space.name)


def propose_random(p: MethodContext) -> Proposed:
    """Any architecture, as likely as any other. With V > 0 and a proxy this is NASWOT (Mellor et al. 2021)."""
    return Proposed(random_arch(p.space, p.random, p.budget))


def propose_largest(p: MethodContext) -> Proposed:
    """Every edge keeps the ops with most parameters, of equals any (the paper's max-param)."""
    params = p.op_params()

    def largest_first(edge: int) -> list[int]:
        return sorted(p.random.permutation(len(params[edge])).tolist(), key=lambda i: -params[edge][i])

    return Proposed(_drawn(p.space, largest_first, p.budget))


POPULATION, TOURNAMENT = 50, 10


def propose_evolved(p: MethodContext) -> Proposed:
    """Regularised evolution (Real et al. 2019) of `evaluations` networks, scored end to end on one minibatch.

    The best of 10 drawn from the last 50 is the parent; its child differs in one edge. The best ever scored is
    proposed.
    """
    history: list[tuple[ArchSpec, Measured]] = []
    alive: deque[int] = deque(maxlen=POPULATION)
    for _ in range(p.config.evaluations):
        if len(history) < POPULATION:
            child = random_arch(p.space, p.random, p.budget)
        else:
            drawn = p.random.choice(list(alive), TOURNAMENT, replace=False)
            scores = p.proxy.combine([history[i][1] for i in drawn])
            child = mutate(p.space, history[drawn[int(np.argmax(scores))]][0], p.random, p.budget)
        (measured,) = p.measure([PartialArch(p.space.edges, child.kept)], True)
        alive.append(len(history))
        history.append((child, measured))
    fitting = [entry for entry in history if p.budget.used(PartialArch(p.space.edges, entry[0].kept)) <= 1] or history
    scores = p.proxy.combine([measured for _, measured in fitting])
    return Proposed(fitting[int(np.argmax(scores))][0], num_evaluations=len(history))


def mutate(space: Space, arch: ArchSpec, random: np.random.Generator, budget: Budget = UNLIMITED) -> ArchSpec:
    """Another architecture: `arch` with one edge drawn anew; itself if a budget allows no other."""
    for index in random.permutation(PartialArch.all_open(space.edges).open_edges).tolist():
        edge = space.edges[index]
        others = [
            kept for kept in itertools.combinations(edge.candidates, edge.keep) if set(kept) != set(arch.kept[index])
        ]
        for position in random.permutation(len(others)):
            kept = (*arch.kept[:index], others[position], *arch.kept[index + 1 :])
            other = ArchSpec(arch.space, kept)
            differs = space.valid(other) and space.encode(other) != space.encode(arch)
            if differs and budget.used(PartialArch(space.edges, kept)) <= 1:
                return other
    return arch


def propose_pruned(p: MethodContext) -> Proposed:
    """TE-NAS (Chen et al. 2021): every round takes the least important op from each edge, until `keep` are left.

    Stage after stage: on DARTS first the ops, then the inputs of nodes. An op is as important as its removal hurts:
    with the proxy tenas, the sum of ranks of the NTK's condition number and of the number of linear regions, over all
    ops that a round may take.
    """
    arch, decisions, evaluations = PartialArch.all_open(p.space.edges), [], 0
    left = [list(edge.candidates) for edge in p.space.edges]
    stages = [[edge for lane in lanes for edge in lane] for lanes in p.space.stages]
    rounds = [stage for stage in stages for _ in range(max(len(left[i]) - p.space.edges[i].keep for i in stage))]
    for step, stage in enumerate(rounds):
        pairs = [(i, op) for i in stage if len(left[i]) > p.space.edges[i].keep for op in left[i]]
        judge = Evidence(judge=lambda archs, _: p.proxy.combine(p.measure(archs, False)))
        scores = by_edge(pairs, SCORINGS["zc-pt"].score(judge, arch, pairs))
        evaluations += len(pairs)
        for index, values in scores.items():
            worst = left[index][int(np.argmin(values))]
            decisions.append(Decision(step, p.space.edges[index].name, (), dict(zip(left[index], values, strict=True))))
            left[index].remove(worst)
            arch = arch.perturb(index, worst)
    return Proposed(ArchSpec(p.space.name, tuple(tuple(ops) for ops in left)), tuple(decisions), evaluations)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("random", propose_random, "section 5.1", asks_proxy=False, asks_supernet=False),
        Method("max-param", propose_largest, "section 5.1, appendix A.7", asks_proxy=False),
        Method(
            "evolution",
            propose_evolved,
            "Real et al. 2019; Abdelfattah et al. 2021",
            asks_proxy=True,
            asks_supernet=False,
        ),
        Method("nsga2", propose_on_the_front, "Deb et al. 2002; score against size", asks_proxy=True),
        Method("prune", propose_pruned, "Chen et al. 2021", asks_proxy=True, budgeted=False),
    )
}
