"""Spaces without a supernet: their networks differ in the shapes of most tensors, so no op can be mixed with another.

Searches score each network whole (`--method random` or `evolution`), as do `zcpt rank` and `zcpt correlate`.
"""

import itertools
from abc import abstractmethod
from functools import cached_property

from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, Edge
from zcpt_ray.engine.folding import EdgeWeights, WatchedFolding
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.supernet import Foldings, Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import Space


class WholeNetwork(Supernet):
    """A finished network, which is not a chain of layers."""

    def __init__(self, edges: tuple[Edge, ...], net: nn.Module) -> None:
        nn.Module.__init__(self)
        self.edges = edges
        self.net = net
        self.layers = [_Whole(net)]
        self._foldings = Foldings()

    def forward(self, images: Tensor, weights: EdgeWeights | None = None) -> Tensor:
        """[B, C, H, W] -> logits [B, num_classes]."""
        logits: Tensor = self.net(images)
        return logits


class _Whole(Layer):
    """A network as the one link of a chain."""

    images_apart = False

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.__dict__["net"] = net  # no child: its modules have one name each

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.__dict__["net"](x)
        return out

    def folding(self) -> WatchedFolding:
        return WatchedFolding(self)


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
        return WholeNetwork(edges, self.made(arch, num_classes))

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
