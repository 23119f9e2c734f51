"""Scores of the ops of one step, and which ops they keep."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zcpt_ray.arch import PartialArch
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.proxies import Proxy, measure_archs
from zcpt_ray.search.budgets import UNLIMITED, Budget
from zcpt_ray.search.racing import error_of_lead
from zcpt_ray.search.scoring import Evidence, Scoring, by_edge

MOST_MINIBATCHES = 8
"""On which a decision may rest."""


@dataclass(frozen=True)
class ProxyJudge:
    """A proxy on a supernet and a minibatch that are fixed."""

    proxy: Proxy
    supernet: Supernet
    batch: Batch
    scope: str = "step"

    def __call__(self, archs: Sequence[PartialArch], edges: Sequence[int]) -> list[float]:
        """S of each architecture, compared with all of them, or with those of its edge."""
        measured = measure_archs(self.proxy, self.supernet, archs, self.batch)
        groups = edges if self.scope == "edge" else [0] * len(archs)
        scores = [0.0] * len(archs)
        for group in set(groups):
            members = [index for index, other in enumerate(groups) if other == group]
            combined = self.proxy.combine([measured[i] for i in members])
            for index, score in zip(members, combined, strict=True):
                scores[index] = score
        return scores

    def cohort(self, edge: int, edges: Sequence[int]) -> int:
        """Among how many architectures the scores about `edge` are ranks; 0 where they are none."""
        if not self.proxy.is_relative:
            return 0
        return edges.count(edge) if self.scope == "edge" else len(edges)


@dataclass(frozen=True)
class Confidence:
    """How certain it should be which ops an edge keeps; `judge` gives further minibatches, by number from 1 on."""

    probability: float
    judge: Callable[[int], ProxyJudge]

    def reached(self, scores: np.ndarray, keep: int) -> bool:
        """Whether the worst op that is kept is better than the best that is not, by a paired t-test.

        `scores` are [minibatches, ops]. All looks share the error (Bonferroni).
        """
        order = np.argsort(-scores.mean(0), kind="stable")
        if keep >= len(order) or not np.isfinite(scores[:, order[keep - 1 : keep + 1]]).all():
            return True
        margins = scores[:, [order[keep - 1]]] - scores[:, [order[keep]]]
        never_changes = len(scores) > 1 and not np.ptp(margins)
        return never_changes or bool(error_of_lead(margins)[0] <= (1 - self.probability) / (MOST_MINIBATCHES - 1))


class StepScores:
    """Op scores of one step: A_t and the evidence are fixed, no edge is scored twice. `op_params` settles equals."""

    def __init__(
        self,
        scoring: Scoring,
        evidence: Evidence,
        arch: PartialArch,
        op_params: Sequence[Sequence[int]],
        confidence: Confidence | None = None,
    ) -> None:
        self.scoring = scoring
        self.evidence = evidence
        self.confidence = confidence
        self.arch = arch
        self.op_params = op_params
        self.scores: dict[int, list[float]] = {}
        self.cohorts: dict[int, int] = {}
        self.certain: set[int] = set()
        self.num_evaluations = 0

    def __call__(self, edges: Sequence[int]) -> dict[int, list[float]]:
        """Per edge, the scores of its ops in the order of its candidates."""
        pairs = [(edge, op) for edge in edges if edge not in self.scores for op in self.arch.edges[edge].candidates]
        if pairs:
            self.scores |= by_edge(pairs, self.scoring.score(self.evidence, self.arch, pairs))
            if isinstance(self.evidence.judge, ProxyJudge):
                asked = [edge for edge, _ in pairs]
                self.cohorts |= {edge: self.evidence.judge.cohort(edge, asked) for edge in set(asked)}
        self.num_evaluations += len(pairs)
        return {edge: self.scores[edge] for edge in edges}

    def best(self, edge: int, arch: PartialArch, budget: Budget = UNLIMITED) -> tuple[str, ...]:
        """The ops that `edge` keeps: those with the best scores, on more minibatches where these leave it open.

        Of equals it is the one with more parameters, then the later one.
        With a budget, the best with which `arch`, what the supernet has become by now, is on its way into it.
        """
        candidates, params = self.arch.edges[edge].candidates, self.op_params[edge]
        keep = self.arch.edges[edge].keep
        if self.confidence and edge not in self.certain:
            self._make_certain(edge, keep, self.confidence)
        scores = self([edge])[edge]
        order = sorted(range(len(candidates)), key=lambda i: (scores[i], params[i], i), reverse=True)
        choices = [tuple(candidates[i] for i in sorted(kept)) for kept in itertools.combinations(order, keep)]
        kept = budget.first_on_its_way([arch.discretize(edge, kept) for kept in choices]).kept[edge]
        assert kept is not None
        return kept

    def _make_certain(self, edge: int, keep: int, confidence: Confidence) -> None:
        """Score the ops of an edge on more minibatches until it is certain which are kept; the mean counts."""
        rows = [self([edge])[edge]]
        pairs = [(edge, op) for op in self.arch.edges[edge].candidates]
        while len(rows) < MOST_MINIBATCHES and not confidence.reached(np.array(rows), keep):
            evidence = replace(self.evidence, judge=confidence.judge(len(rows)))
            rows.append(self.scoring.score(evidence, self.arch, pairs))
            self.num_evaluations += len(pairs)
        self.scores[edge] = np.mean(rows, 0).tolist()
        self.certain.add(edge)
