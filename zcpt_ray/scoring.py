"""Operation scoring functions f(A_t, e, o): how much an op is worth to a partly decided architecture. Greater is better."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zcpt_ray.arch import PartialArch

Judge = Callable[[Sequence[PartialArch]], list[float]]
"""S of each architecture on the step's minibatch, greater is better."""


@dataclass(frozen=True)
class Scoring:
    """`score(judge, arch, pairs)` rates each (edge index, op) of `pairs`; its sign is such that greater is better."""

    name: str
    score: Callable[[Judge, PartialArch, Sequence[tuple[int, str]]], list[float]]
    reference: str


def zc_pt(judge: Judge, arch: PartialArch, pairs: Sequence[tuple[int, str]]) -> list[float]:
    """-S(A - (e, o)): the op whose removal hurts most is worth most (eq. 7)."""
    return [-score for score in judge([arch.perturb(edge, op) for edge, op in pairs])]


def disc_zc(judge: Judge, arch: PartialArch, pairs: Sequence[tuple[int, str]]) -> list[float]:
    """S(A + (e, o)): the edge reduced to the op alone (eq. 6)."""
    return judge([arch.discretize(edge, (op,)) for edge, op in pairs])


SCORINGS: dict[str, Scoring] = {
    scoring.name: scoring for scoring in (Scoring("zc-pt", zc_pt, "eq. 7"), Scoring("disc-zc", disc_zc, "eq. 6"))
}
