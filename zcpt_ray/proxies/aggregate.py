"""Several proxies as one: networks that are compared are ranked by each, and their ranks are added up.

Ranks need a cohort: the ops of an edge or of a step (`SearchConfig.scope`), the candidates of a search in validation,
all networks of a table. Of equals each has their mean rank; -inf is a value like others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from zcpt_ray.arch import PartialArch
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.proxies.base import Measured, Measuring, Proxy, start_measuring

AGGREGATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "log-rank": lambda ranks: np.log(ranks / ranks.shape[1]).sum(0),
    "mean-rank": lambda ranks: (ranks / ranks.shape[1]).mean(0),
    "borda": lambda ranks: (ranks - 1).sum(0),
}
"""What ranks [members, networks], 1 for the worst, make.

log-rank (Lee and Ham 2024) is 0 for the best by all; mean-rank is a share of the cohort; Borda's count is how many
others a network beats, over all members.
"""


@dataclass(frozen=True)
class RankAggregate:
    """Ranks networks by each of `members`. Each is measured as it is on its own, many at once where it can."""

    members: tuple[Proxy, ...]
    aggregation: str = "log-rank"

    def combine(self, measured: Sequence[Measured]) -> list[float]:
        """The scores of networks that are compared with each other."""
        ranks, start = [], 0
        for member in self.members:
            stop = start + len(member.measures)
            ranks.append(rankdata(member.combine([values[start:stop] for values in measured])))
            start = stop
        scores: list[float] = AGGREGATIONS[self.aggregation](np.stack(ranks)).tolist()
        return scores

    def measure_variants(
        self, supernet: Supernet, archs: Sequence[PartialArch], batch: Batch, alone: bool
    ) -> Measuring:
        """What all members measure of each of `archs`; see `Proxy`."""
        parts = [start_measuring(member, supernet, archs, batch, alone) for member in self.members]
        return lambda: [sum(of_one, ()) for of_one in zip(*(part() for part in parts), strict=True)]

    def proxy(self, name: str, reference: str) -> Proxy:
        """This as a proxy."""
        members = self.members
        modes: set[Literal["batch", "running", "bypassed", "none"]] = {member.batch_norm for member in members}
        return Proxy(
            name,
            tuple(measure for member in members for measure in member.measures),
            reference,
            batch_norm="batch" if "batch" in modes else "running" if "running" in modes else members[0].batch_norm,
            dtype="float64" if any("float64" in member.dtype for member in members) else "float32",
            needs=tuple(dict.fromkeys(need for member in members for need in member.needs)),
            least_images=max(member.images_needed() for member in members),
            removed_op="as for each member",
            nan="as for each member",
            reads=tuple(dict.fromkeys(each for member in members for each in member.reads)),
            thin=any(member.thin for member in members),
            members=members,
            combine=self.combine,
            measure_variants=self.measure_variants if any(member.measure_variants for member in members) else None,
        )


def aggregate(members: Sequence[Proxy], aggregation: str = "log-rank", name: str = "", reference: str = "") -> Proxy:
    """Several proxies as one, that only ranks networks against each other.

    Raises:
        UserError: less than two, one twice, or an unknown aggregation.
    """
    names = [member.name for member in members]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"an aggregate needs at least two proxies, each once, got {', '.join(names) or 'none'}")
    if aggregation not in AGGREGATIONS:
        raise UserError(f"unknown aggregation {aggregation!r}; choose from {', '.join(AGGREGATIONS)}")
    joined = "+".join(names)
    return RankAggregate(tuple(members), aggregation).proxy(name or joined, reference or f"{aggregation} of {joined}")
