"""Operation scoring functions f(A_t, e, o): how much an op is worth to a partly decided architecture. Greater is
better.

Section 2 of the paper and appendices A.3 and A.4. Each row of `SCORINGS` says what evidence it needs; the search
provides that and no more. Where the paper's numbers come from another reading than its text, there is a row for each:
`*-released` is the former.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, Protocol

from zcpt_ray.arch import PartialArch
from zcpt_ray.search.oracles import Oracle

Pairs = Sequence[tuple[int, str]]
"""(edge index, op), those of an edge in a row."""


class Judge(Protocol):
    """A zero-cost proxy on a supernet and a minibatch that are fixed."""

    def __call__(self, archs: Sequence[PartialArch], edges: Sequence[int]) -> list[float]:
        """S of each of `archs`, of which each is about the edge in `edges` that stands there."""


class SupernetJudge(Protocol):
    """A supernet whose weights, and alphas where they are not fixed, were trained."""

    def alpha(self, edge: int, op: str) -> float:
        """The softmax weight of an op on its edge, in [0, 1]."""

    def accuracy(self, arch: PartialArch) -> float:
        """Accuracy of `arch` with the supernet's weights on the held-out half, in [0, 1]."""

    def accuracy_after_training(self, arch: PartialArch) -> float:
        """The same once a copy was trained as `arch` for `retrain_epochs`."""


@dataclass(frozen=True)
class Evidence:
    """What op scores are taken from in one step of a search; None where the scoring at hand does not need it."""

    judge: Judge | None = None
    oracle: Oracle | None = None
    trained: SupernetJudge | None = None


@dataclass(frozen=True)
class ProxyScores:
    """Asks the proxy on the untrained supernet and the step's minibatch."""


@dataclass(frozen=True)
class BenchmarkAccuracy:
    """Asks one reading of a tabular benchmark for every network (`benchmarks.tables.READINGS`)."""

    reading: str


@dataclass(frozen=True)
class EveryScore:
    """Asks the proxy's score of every network of the space, from a score table."""


@dataclass(frozen=True)
class TrainedSupernet:
    """Asks a supernet that was trained; with `retrains` it is trained on after each decision."""

    retrains: bool = False


@dataclass(frozen=True)
class Scoring:
    """`score(evidence, arch, pairs)` rates each of `pairs`; its sign is such that greater is better.

    `evidence` says what it asks; the search provides that and no more. `proxy` fixes the proxy.
    """

    name: str
    score: Callable[[Evidence, PartialArch, Pairs], list[float]]
    evidence: ProxyScores | BenchmarkAccuracy | EveryScore | TrainedSupernet
    reference: str
    proxy: str | None = None
    scope: Literal["edge", "step"] = "step"
    """Among which ops a proxy ranks that ranks: those of an edge, or all that are scored together in a step."""

    @property
    def asks_proxy(self) -> bool:
        """Whether the proxy that a search names has to do with the scores."""
        return isinstance(self.evidence, ProxyScores | EveryScore)


def zc_pt(evidence: Evidence, arch: PartialArch, pairs: Pairs) -> list[float]:
    """-S(A - (e, o)): the op whose removal hurts most is worth most (eq. 7)."""
    assert evidence.judge
    return [-score for score in evidence.judge([arch.perturb(*pair) for pair in pairs], [edge for edge, _ in pairs])]


def disc_zc(evidence: Evidence, arch: PartialArch, pairs: Pairs) -> list[float]:
    """S(A + (e, o)): the edge reduced to the op alone (eq. 6)."""
    assert evidence.judge
    return evidence.judge([arch.reduce_to(*pair) for pair in pairs], [edge for edge, _ in pairs])


def best(evidence: Evidence, arch: PartialArch, pairs: Pairs) -> list[float]:
    """The greatest value of a network that A + (e, o) can become (eq. 1; eq. 14 where values are proxy scores)."""
    assert evidence.oracle
    return [evidence.oracle.best(arch, pair) for pair in pairs]


def average(evidence: Evidence, arch: PartialArch, pairs: Pairs) -> list[float]:
    """The mean value of the networks that A + (e, o) can become (eq. 2)."""
    assert evidence.oracle
    return [evidence.oracle.mean(arch, pair) for pair in pairs]


def darts(evidence: Evidence, arch: PartialArch, pairs: Pairs) -> list[float]:
    """The trained architecture parameter, after the softmax over its edge (eq. 3)."""
    assert evidence.trained
    return [evidence.trained.alpha(*pair) for pair in pairs]


def darts_pt(evidence: Evidence, arch: PartialArch, pairs: Pairs) -> list[float]:
    """-V(A - (e, o)): the op without which the trained supernet classifies worst is worth most (eq. 5)."""
    assert evidence.trained
    return [-evidence.trained.accuracy(arch.perturb(*pair)) for pair in pairs]


def disc_acc(evidence: Evidence, arch: PartialArch, pairs: Pairs) -> list[float]:
    """V(A + (e, o)) after a few epochs of training (eq. 4)."""
    assert evidence.trained
    return [evidence.trained.accuracy_after_training(arch.reduce_to(*pair)) for pair in pairs]


def by_edge(pairs: Pairs, scores: Sequence[float]) -> dict[int, list[float]]:
    """Scores of the ops of each edge, in the order of `pairs`."""
    rows = groupby(zip(pairs, scores, strict=True), key=lambda row: row[0][0])
    return {edge: [score for _, score in group] for edge, group in rows}


SCORINGS: dict[str, Scoring] = {
    scoring.name: scoring
    for scoring in (
        Scoring("zc-pt", zc_pt, ProxyScores(), "eq. 7"),
        Scoring("disc-zc", disc_zc, ProxyScores(), "eq. 6"),
        Scoring("tenas", zc_pt, ProxyScores(), "A.3: zc-pt with the proxy tenas", proxy="tenas"),
        Scoring("best-acc", best, BenchmarkAccuracy("test accuracy"), "eq. 1, A.3: mean over training seeds"),
        Scoring(
            "best-acc-released",
            best,
            BenchmarkAccuracy("best test accuracy"),
            "eq. 1, table A12: the best of all training seeds",
        ),
        Scoring("avg-acc", average, BenchmarkAccuracy("test accuracy"), "eq. 2, A.3: mean over training seeds"),
        Scoring(
            "avg-acc-released",
            average,
            BenchmarkAccuracy("validation accuracy"),
            "eq. 2, table A12: validation accuracy",
        ),
        Scoring("best-zc", best, EveryScore(), "eq. 14"),
        Scoring("darts", darts, TrainedSupernet(), "eq. 3; Liu et al. 2019"),
        Scoring("darts-pt", darts_pt, TrainedSupernet(retrains=True), "eq. 5; Wang et al. 2021"),
        Scoring("disc-acc", disc_acc, TrainedSupernet(retrains=True), "eq. 4; Wang et al. 2021"),
    )
}
