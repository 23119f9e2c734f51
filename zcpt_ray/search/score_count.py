"""How many scores a proposal has taken so far: to be shown, for some take many minutes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from zcpt_ray.arch import PartialArch
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.proxies.base import Measuring, Proxy

TELL_SECONDS = 2
"""How often a proposal under way says how far it is, at most."""

Scored = Callable[[int], None]
"""Is told now and then how many scores a proposal has taken."""


class ScoreCount:
    """Counts the scores of one proposal and tells `scored`; equal supernets that are measured once count once."""

    def __init__(self, scored: Scored) -> None:
        self.scored = scored
        self.count = 0
        self.told = time.monotonic()

    def add(self, number: int) -> None:
        """So many more."""
        self.count += number
        if time.monotonic() - self.told > TELL_SECONDS:
            self.told = time.monotonic()
            self.scored(self.count)

    def of(self, proxy: Proxy) -> Proxy:
        """`proxy`, counted as it measures: one by one, or those that it measures at once."""
        if variants := proxy.measure_variants:

            def counted_variants(
                supernet: Supernet, archs: Sequence[PartialArch], batch: Batch, alone: bool
            ) -> Measuring:
                measuring = variants(supernet, archs, batch, alone)
                self.add(len(archs))
                return measuring

            return replace(proxy, measure_variants=counted_variants)
        *others, last = proxy.measures

        def counted(net: nn.Module, batch: Batch) -> float:
            value = last(net, batch)
            self.add(1)
            return value

        return replace(proxy, measures=(*others, counted))
