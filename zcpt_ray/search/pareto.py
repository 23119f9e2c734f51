"""NSGA-II (Deb et al. 2002) over score and size: proposals along the front of what is good for its size."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.errors import UserError
from zcpt_ray.proxies.base import Measured
from zcpt_ray.search.proposing import MethodContext, Proposed

POPULATION_SIZE = 40


def propose_on_the_front(p: MethodContext) -> Proposed:
    """One architecture of the front that NSGA-II finds in `evaluations` scores: end to end, on one minibatch.

    What it should be small in is what the search limits first, parameters without a limit. Proposals are spread over
    the front: the first is the smallest, the last that with the best score. Aggregates rank all that was measured.

    Raises:
        UserError: pymoo is missing.
    """
    front = _Front(p)
    front.evolve(p.config.evaluations)
    members = front.members()
    share = p.index / (p.config.num_proposals - 1) if p.config.num_proposals > 1 else 1.0
    return Proposed(members[round(share * (len(members) - 1))], num_evaluations=len(front.measured))


class _Front:
    """What was measured, as the choices of open edges."""

    def __init__(self, p: MethodContext) -> None:
        self.p = p
        self.open_edges = PartialArch.all_open(p.space.edges).open_edges
        edges = [p.space.edges[index] for index in self.open_edges]
        self.choices = [list(itertools.combinations(edge.candidates, edge.keep)) for edge in edges]
        self.measured: dict[tuple[int, ...], Measured] = {}
        self.size = self._size()

    def evolve(self, evaluations: int) -> None:
        """Ask NSGA-II for architectures, and tell what they are worth."""
        algorithm = _nsga2(len(self.choices), [len(choices) - 1 for choices in self.choices], self.p.random)
        while len(self.measured) < evaluations:
            asked = algorithm.ask()
            before = len(self.measured)
            for choice in map(self._key, asked.get("X")):
                if choice not in self.measured and len(self.measured) < evaluations:
                    arch = PartialArch(self.p.space.edges, self.arch(choice).kept)
                    (self.measured[choice],) = self.p.measure([arch], True)
            if len(self.measured) == before:
                return
            known = [x for x in asked if self._key(x.X) in self.measured]
            values = self.values()
            for individual in (*known, *([] if algorithm.pop is None else algorithm.pop)):
                key = self._key(individual.X)
                individual.set("F", np.array(values[key]))
                individual.set("G", np.array([self._excess(key)]))
            algorithm.tell(infills=asked[[self._key(x.X) in self.measured for x in asked]])

    def values(self) -> dict[tuple[int, ...], tuple[float, float]]:
        """By choice the score, negative, and the size: both are to be small."""
        scores = self.p.proxy.combine(list(self.measured.values()))
        return {
            key: (-score if np.isfinite(score) else 1e30, self.size(self.arch(key)))
            for key, score in zip(self.measured, scores, strict=True)
        }

    def members(self) -> list[ArchSpec]:
        """The front within the budget, smallest first; what is nearest to the budget where nothing is within."""
        values = self.values()
        least = min(map(self._excess, values))
        fitting = [key for key in values if self._excess(key) <= max(least, 0)]
        fitting.sort(key=lambda key: (values[key][1], values[key][0], key))
        front, best = [], np.inf
        for key in fitting:
            if values[key][0] < best:
                best = values[key][0]
                front.append(self.arch(key))
        return front or [self.arch(fitting[0])]

    def arch(self, choice: tuple[int, ...]) -> ArchSpec:
        """A finished architecture."""
        kept = [edge.candidates if len(edge.candidates) == edge.keep else () for edge in self.p.space.edges]
        for index, choices, number in zip(self.open_edges, self.choices, choice, strict=True):
            kept[index] = choices[number]
        return ArchSpec(self.p.space.name, tuple(kept))

    def _key(self, x: Any) -> tuple[int, ...]:
        return tuple(int(number) for number in np.round(x))

    def _excess(self, choice: tuple[int, ...]) -> float:
        """How far above the budget, as a share of it; at most 0 within."""
        return self.p.budget.used(PartialArch(self.p.space.edges, self.arch(choice).kept)) - 1

    def _size(self) -> Callable[[ArchSpec], float]:
        usages = list(self.p.budget.usages.values())
        if usages:
            return usages[0].of
        params, edges = self.p.op_params(), self.p.space.edges

        def size(arch: ArchSpec) -> float:
            places = ((e, edges[e].candidates.index(op)) for e, kept in enumerate(arch.kept) for op in kept)
            return float(sum(params[edge][op] for edge, op in places))

        return size


def _nsga2(variables: int, highest: list[int], random: np.random.Generator) -> Any:
    try:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem
        from pymoo.operators.crossover.sbx import SBX
        from pymoo.operators.mutation.pm import PM
        from pymoo.operators.repair.rounding import RoundingRepair
        from pymoo.operators.sampling.rnd import IntegerRandomSampling
    except ImportError as error:
        raise UserError("method 'nsga2' needs pymoo: pip install 'zcpt_ray[pareto]'") from error
    problem = Problem(n_var=variables, n_obj=2, n_ieq_constr=1, xl=[0] * variables, xu=highest, vtype=int)
    algorithm = NSGA2(
        pop_size=POPULATION_SIZE,
        sampling=IntegerRandomSampling(),
        crossover=SBX(vtype=float, repair=RoundingRepair()),
        mutation=PM(vtype=float, repair=RoundingRepair()),
    )
    algorithm.setup(problem, termination=("n_gen", 10**9), seed=int(random.integers(2**31)), verbose=False)
    return algorithm
