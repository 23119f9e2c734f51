"""Spaces without a supernet: their networks differ in the shapes of most tensors, so no op can be mixed with another.

Searches score each network whole (`--method random` or `evolution`), as do `zcpt rank` and `zcpt correlate`.
"""

import itertools
from abc import abstractmethod
from functools import cached_property

from torch import nn

from zcpt_ray.arch import ArchSpec, Edge
from zcpt_ray.engine.module_supernet import ModuleSupernet
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import Space


class WholeNetworks(Space):
    """A space of networks that are made one by one: a subclass says `edges`, `made`, `encode` and `decode`.

    Not every choice need be an architecture: `valid`.
    """

    has_supernet = False

    @abstractmethod
    def made(self, arch: ArchSpec, num_classes: int) -> nn.Module:
        """The network: images [B, 3, H, W] -> logits [B, num_classes]."""

    @property
    def refusal(self) -> str:
        """Why ops cannot be scored here, and what can be done."""
        return (
            f"space {self.name!r} has no supernet, as its networks differ in shape everywhere: use --method random or"
            " evolution, which score networks, or zcpt rank"
        )

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        if any(len(edge.candidates) > 1 for edge in edges):
            raise UserError(self.refusal)
        arch = ArchSpec(self.name, tuple(edge.candidates for edge in edges))
        return ModuleSupernet(edges, self.made(arch, num_classes), {edge.name: () for edge in edges})

    def supernet(self, num_classes: int, seed: int) -> Supernet:
        """What makes each network that is asked for."""
        return self.networks(num_classes, seed)

    @cached_property
    def _valid(self) -> list[ArchSpec]:
        choices = itertools.product(*(edge.candidates for edge in self.edges))
        archs = (ArchSpec(self.name, tuple((op,) for op in choice)) for choice in choices)
        return [arch for arch in archs if self.valid(arch)]

    @property
    def num_archs(self) -> int:
        """How many choices are architectures."""
        return len(self._valid)

    def arch(self, index: int) -> ArchSpec:
        return self._valid[index]
