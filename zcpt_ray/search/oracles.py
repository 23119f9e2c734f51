"""What a partly decided architecture can still become: the best and the mean over all networks within reach."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zcpt_ray.arch import PartialArch
from zcpt_ray.spaces import Space


@dataclass(frozen=True)
class Oracle:
    """A value per finished architecture of a space: its accuracy, or its score. Greater is better.

    `kept[e]` says per architecture what it keeps on edge e, `values` what it is worth.
    """

    kept: tuple[np.ndarray, ...]
    values: np.ndarray

    @classmethod
    def of(cls, space: Space, values: Mapping[str, float]) -> "Oracle":
        """From encoded architectures to values; architectures that are not in it are out of reach.

        Raises:
            UserError: a key does not name an architecture of `space`.
        """
        kept = [tuple(_name(ops) for ops in space.decode(text).kept) for text in values]
        return cls(tuple(np.array(column) for column in zip(*kept, strict=True)), np.array(list(values.values())))

    def best(self, arch: PartialArch, pair: tuple[int, str] | None = None) -> float:
        """The greatest value within reach of `arch` (eq. 1 and 14), with op o on edge e if a pair (e, o) is given.

        -inf if nothing is within reach.
        """
        return float(self._reachable(arch, pair).max(initial=-np.inf))

    def mean(self, arch: PartialArch, pair: tuple[int, str] | None = None) -> float:
        """The mean of the same values (eq. 2); -inf if there are none."""
        reachable = self._reachable(arch, pair)
        return float(reachable.mean()) if len(reachable) else -np.inf

    def _reachable(self, arch: PartialArch, pair: tuple[int, str] | None) -> np.ndarray:
        reachable = np.ones(len(self.values), bool)
        for column, ops in zip(self.kept, arch.kept, strict=True):
            if ops is not None:
                reachable &= column == _name(ops)
        for edge, op in arch.removed:
            reachable &= ~self._holds(edge, op)
        if pair:
            reachable &= self._holds(*pair)
        return self.values[reachable]

    def _holds(self, edge: int, op: str) -> np.ndarray:
        return np.isin(self.kept[edge], [name for name in np.unique(self.kept[edge]) if op in name.split("+")])


def _name(ops: tuple[str, ...]) -> str:
    return "+".join(sorted(ops))
