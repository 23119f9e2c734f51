"""What the architectures of a space cost: parameters and multiply-adds of the networks that one would train."""

from dataclasses import dataclass

import torch
from torch import nn

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.engine.inspection import module_costs
from zcpt_ray.engine.layers import Layer
from zcpt_ray.spaces.base import Space

MILLION = 1e6
IMAGENET_CLASSES = 1000
IMAGENET_SHAPE = (3, 224, 224)


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-adds of convolutions and linear layers on one image, counted as by NAS-Bench-201."""

    params: int
    flops: int

    def __str__(self) -> str:
        return f"{self.params / MILLION:.3f} M parameters and {self.flops / MILLION:.1f} M multiply-adds"


class Costs:
    """Costs in `space`, of the network that would be trained on images [C, H, W] of `image_shape`.

    Ops add up, so the network that holds every candidate is all that has to be looked at, once and without memory. An
    auxiliary head does not count.
    """

    def __init__(self, space: Space, num_classes: int, image_shape: tuple[int, ...]) -> None:
        self.space = space
        self.num_classes = num_classes
        self.image_shape = image_shape
        with torch.device("meta"):
            net = space.trained_form(space.edges, num_classes)
        params, flops = module_costs(net, image_shape)
        self.params, self.flops = (self._by_op(net, counts) for counts in (params, flops))
        self.fixed = Cost(sum(params.values()) - _total(self.params), sum(flops.values()) - _total(self.flops))

    def of(self, arch: ArchSpec) -> Cost:
        """What a finished architecture costs."""
        pairs = [(edge, self.space.edges[edge].candidates.index(op)) for edge, op in self.space.used(arch)]
        return Cost(
            self.fixed.params + sum(self.params[edge][op] for edge, op in pairs),
            self.fixed.flops + sum(self.flops[edge][op] for edge, op in pairs),
        )

    def networks(self, arch: ArchSpec) -> dict[str, Cost]:
        """The cost of every network that a finished architecture makes, by what the network is for.

        One is scored. Where they are others, one would be trained, and one would be trained on ImageNet.
        """
        edges = self.space.single_path(arch)
        with torch.device("meta"):
            built = {
                "scored": (self.space.build(edges, self.num_classes), self.image_shape),
                "trained": (self.space.trained_form(edges, self.num_classes), self.image_shape),
            }
            if form := self.space.imagenet_form:
                built["trained on ImageNet"] = form.trained_form(edges, IMAGENET_CLASSES), IMAGENET_SHAPE
        costs: dict[str, Cost] = {}
        for name, (network, shape) in built.items():
            params, flops = module_costs(network, shape)
            cost = Cost(sum(params.values()), sum(flops.values()))
            if cost not in costs.values():
                costs[name] = cost
        return costs

    def least(self, arch: PartialArch) -> Cost:
        """The fewest parameters and the fewest multiply-adds that `arch` can be finished with.

        It is not always one architecture that has both.
        """
        by_params, by_flops = (self.of(self.space.cheapest(arch, costs)) for costs in (self.params, self.flops))
        return Cost(by_params.params, by_flops.flops)

    def _by_op(self, net: nn.Module, counts: dict[nn.Module, int]) -> list[list[int]]:
        found = [[0] * len(edge.candidates) for edge in self.space.edges]
        for layer in net.modules():
            if isinstance(layer, Layer):
                for index, ops in layer.candidate_ops().items():
                    for position, op in enumerate(ops):
                        found[index][position] += sum(counts.get(module, 0) for module in op.modules())
        return found


def _total(costs: list[list[int]]) -> int:
    return sum(map(sum, costs))
