"""The candidates of a search: what is measured of them, what is to be measured next, and who has won.

All of it follows from what was measured, in whatever order that came: however many workers there are, and after a
resume, it is the same.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.search.budgets import UNLIMITED, Budget
from zcpt_ray.search.racing import can_win, looks_until
from zcpt_ray.search.records import Validation
from zcpt_ray.search.resolved import Search
from zcpt_ray.spaces import Space

VALIDATION_SLICE = 10
"""Validation minibatches that are scored and stored together, at most."""
SliceKey = tuple[str, int]
"""An encoded architecture and the first minibatch of a slice."""


@dataclass(frozen=True)
class Standing:
    """How a candidate came out: on so many minibatches, and the sum of its scores, as if it were on all V."""

    minibatches: int
    score: float


class Candidates:
    """The distinct architectures that compete on the V minibatches of `search`.

    Each is measured on all of them or, in a race, until it cannot win any more. With neighbours, those of the best
    join once the proposals are there and have been looked at for the first time.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self._budget: Budget | None = None
        self._all_proposed = False
        self.times: Counter[str] = Counter()
        """How often each was proposed; 0 for neighbours."""
        self.missing: dict[SliceKey, range] = {}
        self.untaken: dict[SliceKey, range] = {}
        self.validations: dict[SliceKey, Validation] = {}
        self.measured = self.planned = 0
        total = search.config.num_validations
        self._looks = looks_until(total) if search.config.validation == "race" and total else [total]
        self._look = 0
        self._active: dict[str, None] = {}
        self.standings: dict[str, Standing] = {}
        """How each came out that is out, and at the end all."""
        self._joined = not search.config.neighbours
        self.settled = False
        """Whether there is a winner."""
        self.parents: dict[str, str] = {}
        self.left_out = 0

    def propose(self, arch: str) -> None:
        """One more proposal of it."""
        self.times[arch] += 1
        if self.times[arch] == 1:
            self._enter(arch)

    def add(self, validation: Validation) -> None:
        """What was measured of a slice, maybe of an architecture that nobody has proposed, yet or any more."""
        key = (validation.arch, min(validation.measures))
        if validation.arch in self.times and self._is_planned(key):
            self.measured += len(validation.measures) - self.num_measured(key)
        self.validations[key] = validation
        if key in self.missing and len(validation.measures) >= len(self.missing[key]):
            del self.missing[key]

    def num_measured(self, key: SliceKey) -> int:
        """Minibatches of a slice that are measured."""
        validation = self.validations.get(key)
        return len(validation.measures) if validation else 0

    def within(self, budget: Budget) -> None:
        """Neighbours keep this budget; before it is known none join."""
        self._budget = budget
        self.advance(self._all_proposed)

    def advance(self, all_proposed: bool) -> None:
        """Once nothing is missing: let neighbours join, drop who cannot win, plan what comes next."""
        self._all_proposed = all_proposed
        while all_proposed and not self.missing and not self.settled:
            if self._joined:
                self._look_at()
            elif self._budget is None:
                return
            else:
                self._joined = True
                self._let_neighbours_join(self._budget)

    def resliced(self, validations: Iterable[Validation]) -> Iterator[Validation]:
        """The same by the slices of this search, where they were stored by others'; only of its V minibatches."""
        parts = {part.start: part for look in range(len(self._looks)) for part in self._parts(look)}
        for validation in validations:
            known = validation.measures
            own = parts.get(min(known))
            if own and max(known) < own.stop:
                yield validation
                continue
            for start, part in parts.items():
                if start in known:
                    measures = {index: known[index] for index in part if index in known}
                    seconds = validation.seconds * len(measures) / len(known)
                    yield replace(validation, measures=measures, seconds=seconds)

    def _enter(self, arch: str) -> None:
        self._active[arch] = None
        self._plan([arch], 0)

    def _plan(self, archs: Iterable[str], look: int) -> None:
        parts = self._parts(look)
        for arch in archs:
            for part in parts:
                key = (arch, part.start)
                self.planned += len(part)
                known = self.num_measured(key)
                self.measured += known
                if known < len(part):
                    self.missing[key] = self.untaken[key] = part

    def _is_planned(self, key: SliceKey) -> bool:
        """Whether a slice of an architecture that takes part counts already."""
        arch, start = key
        reached = self._looks[self._look] if arch in self._active else self.standings[arch].minibatches
        return start < reached

    def _parts(self, look: int) -> list[range]:
        """Slices between the look before and this one."""
        start, stop = (self._looks[look - 1] if look else 0), self._looks[look]
        return [range(at, min(at + VALIDATION_SLICE, stop)) for at in range(start, stop, VALIDATION_SLICE)]

    def _look_at(self) -> None:
        """Compare those that are left on what they were measured on; the last look ends it."""
        config, seen = self.search.config, self._looks[self._look]
        scores, left_out = self._scores(list(self._active), seen)
        last = self._look == len(self._looks) - 1
        stays = np.ones(len(self._active), bool)
        if not last and len(scores):
            stays = can_win(scores, config.error, len(self.times), len(self._looks) - 1)
        last = last or stays.sum() == 1
        totals = [math.fsum(column) for column in scores.T] if len(scores) else [0.0] * len(self._active)
        if not len(scores) and left_out:
            totals = [-math.inf] * len(self._active)
        for arch, total, kept in zip(self._active, totals, stays, strict=True):
            if last or not kept:
                whole = total if seen == config.num_validations else total * config.num_validations / seen
                self.standings[arch] = Standing(seen, whole)
        self.left_out = left_out
        if last:
            self.settled = True
            return
        self._active = {arch: None for arch, kept in zip(self._active, stays, strict=True) if kept}
        self._look += 1
        self._plan(self._active, self._look)

    def _let_neighbours_join(self, budget: Budget) -> None:
        scores, _ = self._scores(list(self._active), self._looks[0])
        totals = dict(zip(self._active, scores.sum(0), strict=True))
        best = sorted(self._active, key=lambda arch: (-totals[arch], -self.times[arch], arch))
        for parent in best[: self.search.config.neighbours]:
            for arch in neighbours_of(self.search.space, parent, budget):
                if arch not in self.times:
                    self.times[arch] = 0
                    self.parents[arch] = parent
                    self._enter(arch)

    def _scores(self, archs: list[str], count: int) -> tuple[np.ndarray, int]:
        """Scores [minibatches, archs] on the first `count`, on each compared with all the others.

        Minibatches on which all are infinite, such as those that hold an image twice, are left out, and counted.
        """
        proxy = self.search.validation_proxy
        places = {arch: place for place, arch in enumerate(archs)}
        measured = np.empty((count, len(places), len(proxy.measures)))
        for (arch, _), validation in self.validations.items():
            if arch in places:
                for index, values in validation.measures.items():
                    if index < count:
                        measured[index, places[arch]] = values
        rows = [
            proxy.combine(list(map(tuple, values.tolist()))) if proxy.is_relative else values[:, 0].tolist()
            for values in measured
        ]
        scores = np.array(rows).reshape(count, len(archs))
        counted = np.isfinite(scores).any(1)
        return scores[counted], int((~counted).sum())


def neighbours_of(space: Space, text: str, budget: Budget = UNLIMITED) -> list[str]:
    """Encoded architectures that differ in one edge, within a budget, in the order of edges and candidates."""
    arch = space.decode(text)
    found: dict[str, None] = {}
    for index in PartialArch.all_open(space.edges).open_edges:
        edge = space.edges[index]
        for kept in itertools.combinations(edge.candidates, edge.keep):
            other = (*arch.kept[:index], kept, *arch.kept[index + 1 :])
            if not space.valid(changed := ArchSpec(arch.space, other)):
                continue
            encoded = space.encode(changed)
            if encoded != text and budget.used(PartialArch(space.edges, other)) <= 1:
                found[encoded] = None
    return list(found)
