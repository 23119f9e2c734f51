"""What there is to decide in a network with choices inside, and which decisions are in parts that may not run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from torch import nn

from zcpt_ray.arch import Edge
from zcpt_ray.engine.decisions import Conditions, DecisionModule, all_decisions
from zcpt_ray.errors import UserError

Kept = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class DecisionTree:
    """The edges of a network, outer ones first, and per edge the ways it is reached."""

    edges: tuple[Edge, ...]
    reached: tuple[tuple[Conditions, ...], ...]

    @classmethod
    def of(cls, net: nn.Module, space: str) -> "DecisionTree":
        """Of a network.

        Raises:
            UserError: nothing to decide, decisions of one name with other options, or names that cannot be written.
        """
        found = list(all_decisions(net))
        edges = _edges([decision for decision, _ in found], space)
        options = {edge.name: frozenset(edge.candidates) for edge in edges}
        reached = tuple(
            _simplified([conditions for decision, conditions in found if decision.decision == edge.name], options)
            for edge in edges
        )
        return cls(edges, reached)

    def runs(self, index: int, kept: Sequence[Sequence[str]]) -> bool:
        """Whether an edge is in a part that runs."""
        by_name = {edge.name: ops[0] for edge, ops in zip(self.edges, kept, strict=True)}
        return any(all(by_name[name] in options for name, options in conditions) for conditions in self.reached[index])

    def canonical(self, kept: Sequence[Sequence[str]]) -> Kept:
        """One of the choices that are the same network: edges in parts that do not run keep their first option."""
        found = [tuple(ops) for ops in kept]
        for index, edge in enumerate(self.edges):  # outer ones come first
            if not self.runs(index, found):
                found[index] = edge.candidates[:1]
        return tuple(found)

    def ways(self, home: Conditions = ()) -> int:
        """In how many ways all can be decided, or the edges that have a home and what is inside of them."""
        return math.prod(
            sum(self._ways_with(home, index, option) for option in self.edges[index].candidates)
            for index in self._homes.get(home, [])
        )

    def choice(self, number: int) -> Kept:
        """One of the ways, by its number, the last edge running fastest."""
        kept = {edge.name: edge.candidates[0] for edge in self.edges}
        self._place((), number, kept)
        return self.canonical([(kept[edge.name],) for edge in self.edges])

    @cached_property
    def _homes(self) -> dict[Conditions, list[int]]:
        """The edges by what all the ways to reach them have in common."""
        homes: dict[Conditions, list[int]] = {}
        for index, (first, *others) in enumerate(self.reached):
            same = [all(other[:size] == first[:size] for other in others) for size in range(1, len(first) + 1)]
            homes.setdefault(first[: sum(same)], []).append(index)
        return homes

    def _ways_with(self, home: Conditions, index: int, option: str) -> int:
        return math.prod(self.ways(inner) for inner in self._inside(home, index, option))

    def _inside(self, home: Conditions, index: int, option: str) -> list[Conditions]:
        """The homes that an option of an edge opens."""
        name = self.edges[index].name
        inner = dict.fromkeys(other[: len(home) + 1] for other in self._homes if len(other) > len(home))
        return [key for key in inner if key[:-1] == home and key[-1][0] == name and option in key[-1][1]]

    def _place(self, home: Conditions, number: int, kept: dict[str, str]) -> None:
        for index in reversed(self._homes.get(home, [])):
            edge = self.edges[index]
            ways = [self._ways_with(home, index, option) for option in edge.candidates]
            number, inside = divmod(number, sum(ways))
            for option, count in zip(edge.candidates, ways, strict=True):
                if inside < count:
                    kept[edge.name] = option
                    for inner in self._inside(home, index, option):
                        inside, place = divmod(inside, self.ways(inner))
                        self._place(inner, place, kept)
                    break
                inside -= count


def _simplified(reached: list[Conditions], options: Mapping[str, frozenset[str]]) -> tuple[Conditions, ...]:
    """The same ways to reach something in fewer words: with or without what does not matter."""
    found = list(dict.fromkeys(reached))
    while joined := next(filter(None, (_joined(a, b, options) for a, b in combinations(found, 2))), None):
        one, other, both = joined
        found = [both, *(each for each in found if each not in (one, other, both))]
    return tuple(each for each in found if not any(set(other) < set(each) for other in found))


def _joined(
    one: Conditions, other: Conditions, options: Mapping[str, frozenset[str]]
) -> tuple[Conditions, Conditions, Conditions] | None:
    """Two ways that differ in the options of one decision, and what either of them is."""
    differing = [place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]]
    if len(one) != len(other) or len(differing) != 1 or one[differing[0]][0] != other[differing[0]][0]:
        return None
    place, (name, chosen) = differing[0], one[differing[0]]
    either = chosen | other[place][1]
    middle = () if either == options[name] else ((name, either),)
    return one, other, (*one[:place], *middle, *one[place + 1 :])


def _edges(found: Sequence[DecisionModule], space: str) -> tuple[Edge, ...]:
    options: dict[str, tuple[str, ...]] = {}
    for decision in found:
        if options.setdefault(decision.decision, decision.options) != decision.options:
            ours, theirs = (", ".join(each) for each in (options[decision.decision], decision.options))
            raise UserError(f"space {space!r}: decision {decision.decision!r} has options {ours} and {theirs}")
    if not any(len(each) > 1 for each in options.values()):
        raise UserError(f"space {space!r}: nothing to decide; a network needs a zc.Choice, zc.Repeat or zc.Width")
    names = [*options, *(option for each in options.values() for option in each)]
    if odd := [name for name in names if set(name) & set(",=") or name != name.strip() or not name]:
        raise UserError(f"space {space!r}: neither decisions nor options can be called {odd[0]!r}; no , = or spaces")
    return tuple(Edge(called, each) for called, each in options.items())
