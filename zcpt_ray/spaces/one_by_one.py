"""In the place of a supernet, where networks are scored on their own: each is made when it is asked for."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from zcpt_ray.arch import Edge, PartialArch
from zcpt_ray.engine.supernet import Foldings, ReluSite, Supernet
from zcpt_ray.errors import UserError


class NetworksOneByOne(Supernet):
    """`make` gives the network of a finished architecture; `refusal` says why nothing else can be scored."""

    def __init__(
        self, edges: tuple[Edge, ...], make: Callable[[tuple[tuple[str, ...], ...]], Supernet], refusal: str
    ) -> None:
        nn.Module.__init__(self)
        self.edges = edges
        self.layers = []
        self.make, self.refusal = make, refusal
        self.register_buffer("place", torch.empty(0), persistent=False)  # on the device that networks are for
        self._foldings = Foldings()

    def masked(self, arch: PartialArch) -> Supernet:
        """The network of a finished architecture.

        Raises:
            UserError: something is not decided.
        """
        if arch.open_edges or arch.removed:
            raise UserError(self.refusal)
        return self.make(tuple(ops for ops in arch.kept if ops is not None)).to(self.get_buffer("place").device)

    def key(self, arch: PartialArch) -> Hashable:
        return arch.kept

    def op_params(self) -> list[list[int]]:
        raise UserError(self.refusal)

    def relu_sites(self, archs: Sequence[PartialArch], images: Tensor) -> Iterator[ReluSite]:
        for index, arch in enumerate(archs):
            net = self.masked(arch)
            for site in net.relu_sites([PartialArch.whole(net.edges)], images):
                yield replace(site, archs=(index,))
