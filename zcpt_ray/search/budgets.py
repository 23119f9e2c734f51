"""Budgets of a search: at most so much of some resources, kept while proposals are made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.spaces.costs import Usage

T = TypeVar("T")


@dataclass(frozen=True)
class Budget:
    """At most so much of each resource, by its name in `RESOURCES`; `usages` say how much architectures take up."""

    limits: Mapping[str, float] = field(default_factory=dict)
    usages: Mapping[str, Usage] = field(default_factory=dict)

    def amounts(self, arch: ArchSpec) -> dict[str, float]:
        """How much a finished architecture takes up of what is limited."""
        return {name: usage.of(arch) for name, usage in self.usages.items()}

    def used_by(self, amounts: Mapping[str, float]) -> float:
        """The part of the budget that is used up, by what is scarcest; more than 1 is too much. 0 without limits."""
        return max((amounts[name] / limit for name, limit in self.limits.items()), default=0.0)

    def first_on_its_way(self, archs: Sequence[PartialArch]) -> PartialArch:
        """The first of `archs`, which have one more edge decided, that can be finished within the budget and is on its
        way into it, or is least behind.

        What its ways to finish take up on average should come down from that of the whole space to the limit evenly,
        edge by edge. Otherwise the edges that are decided first use the budget up, and the others get what costs
        nothing.
        """
        if not self.limits:
            return archs[0]
        start = PartialArch.all_open(archs[0].edges)
        share = 1 - len(archs[0].open_edges) / len(start.open_edges)
        allowed = {}
        for name, limit in self.limits.items():
            typical = self.usages[name].typical(start)
            allowed[name] = max(limit, typical - (typical - limit) * share)

        def behind(arch: PartialArch) -> float:
            return max(self.usages[name].typical(arch) / amount for name, amount in allowed.items())

        fitting = [arch for arch in archs if self.used(arch) <= 1] or [min(archs, key=self.used)]
        return first_within(fitting, behind)

    def used(self, arch: PartialArch) -> float:
        """The part that the cheapest way to finish `arch` uses up, were there one for all resources."""
        return self.used_by({name: usage.least(arch) for name, usage in self.usages.items()})


UNLIMITED = Budget()


def first_within(choices: Sequence[T], used: Callable[[T], float]) -> T:
    """The first choice within the budget, that is with `used` at most 1.

    Where two limits leave none, the one that exceeds the budget least.
    """
    return next((choice for choice in choices if used(choice) <= 1), None) or min(choices, key=used)
