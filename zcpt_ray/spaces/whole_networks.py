"""Spaces without a supernet: their networks differ in the shapes of most tensors, so no op can be mixed with another.

Searches score each network whole (`--method random` or `evolution`), as do `zcpt rank` and `zcpt correlate`.
"""

import itertools
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, Edge, PartialArch
from zcpt_ray.engine.folding import EdgeWeights, WatchedFolding
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.supernet import Foldings, ReluSite, Supernet
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


class NetworksOfSpace(Supernet):
    """In the place of a supernet: it makes each network that is asked for, with the weights of one seed."""

    def __init__(self, space: "WholeNetworks", num_classes: int, seed: int) -> None:
        nn.Module.__init__(self)
        self.edges = space.edges
        self.layers = []
        self.space, self.num_classes, self.seed = space, num_classes, seed
        self.register_buffer("place", torch.empty(0), persistent=False)  # on the device that networks are for
        self._foldings = Foldings()

    def masked(self, arch: PartialArch) -> "WholeNetwork":
        """The network of a finished architecture.

        Raises:
            UserError: something is not decided.
        """
        if arch.open_edges or arch.removed:
            raise UserError(self.space.no_supernet)
        finished = ArchSpec(self.space.name, tuple(ops for ops in arch.kept if ops is not None))
        net = self.space.network(finished, self.num_classes, self.seed).to(self.get_buffer("place").device)
        assert isinstance(net, WholeNetwork)
        return net

    def key(self, arch: PartialArch) -> Hashable:
        return arch.kept

    def op_params(self) -> list[list[int]]:
        raise UserError(self.space.no_supernet)

    def relu_sites(self, archs: Sequence[PartialArch], images: Tensor) -> Iterator[ReluSite]:
        for index, arch in enumerate(archs):
            net = self.masked(arch)
            for site in net.relu_sites([PartialArch.whole(net.edges)], images):
                yield replace(site, archs=(index,))


class WholeNetworks(Space):
    """A space of networks that are made one by one: a subclass says `edges`, `made`, `encode` and `decode`.

    Not every choice need be an architecture: `valid`.
    """

    has_supernet = False

    @abstractmethod
    def made(self, arch: ArchSpec, num_classes: int) -> nn.Module:
        """The network: images [B, 3, H, W] -> logits [B, num_classes]."""

    @property
    def no_supernet(self) -> str:
        """Why ops cannot be scored here, and what can be done."""
        return (
            f"space {self.name!r} has no supernet, as its networks differ in shape everywhere: use --method random or"
            " evolution, which score networks, or zcpt rank"
        )

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        if any(len(edge.candidates) > 1 for edge in edges):
            raise UserError(self.no_supernet)
        arch = ArchSpec(self.name, tuple(edge.candidates for edge in edges))
        return WholeNetwork(edges, self.made(arch, num_classes))

    def supernet(self, num_classes: int, seed: int) -> Supernet:
        """What makes each network that is asked for."""
        return NetworksOfSpace(self, num_classes, seed)

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
