"""What an architecture costs, parameters and multiply-adds, and what the cheapest way to finish a partly decided one costs."""

from dataclasses import dataclass

import torch
from torch import nn

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.layers import Layer
from zcpt_ray.proxies.base import running_layers
from zcpt_ray.proxies.flops import multiply_adds
from zcpt_ray.spaces import Space


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-adds of convolutions and linear layers on one image, counted as by NAS-Bench-201."""

    params: int
    flops: int


class Costs:
    """Costs in `space`, of the network that would be trained on images [C, H, W] of `image_shape`.

    Ops add up, so the network that holds every candidate is all that has to be looked at, once and without memory. An auxiliary
    head does not count.
    """

    def __init__(self, space: Space, num_classes: int, image_shape: tuple[int, ...]) -> None:
        self.space = space
        with torch.device("meta"):
            net = space.trained_form(space.edges, num_classes).eval()
            with torch.no_grad(), running_layers(net, (nn.Module,)) as ran:
                net(torch.empty(1, *image_shape))
        params, flops = dict.fromkeys(net.modules(), 0), dict.fromkeys(net.modules(), 0)
        for module, output in ran:
            params[module] = sum(parameter.numel() for parameter in module.parameters(False))
            if isinstance(module, nn.Conv2d | nn.Linear):
                flops[module] = multiply_adds(module, output)
        self.params, self.flops = (self._by_op(net, counts) for counts in (params, flops))
        self.fixed = Cost(sum(params.values()) - _total(self.params), sum(flops.values()) - _total(self.flops))

    def of(self, arch: ArchSpec) -> Cost:
        """What a finished architecture costs."""
        pairs = [(edge, self.space.edges[edge].candidates.index(op)) for edge, op in self.space.used(arch)]
        return Cost(
            self.fixed.params + sum(self.params[edge][op] for edge, op in pairs),
            self.fixed.flops + sum(self.flops[edge][op] for edge, op in pairs),
        )

    def least(self, arch: PartialArch) -> Cost:
        """The fewest parameters and the fewest multiply-adds that `arch` can be finished with; not always by one architecture."""
        by_params, by_flops = (self.of(self.space.cheapest(arch, costs)) for costs in (self.params, self.flops))
        return Cost(by_params.params, by_flops.flops)

    def _by_op(self, net: nn.Module, counts: dict[nn.Module, int]) -> list[list[int]]:
        found = [[0] * len(edge.candidates) for edge in self.space.edges]
        for layer in net.modules():
            if isinstance(layer, Layer):
                for index, ops in layer.candidate_ops().items():
                    for position, op in enumerate(ops):
                        found[index][position] += sum(counts[module] for module in op.modules())
        return found


def _total(costs: list[list[int]]) -> int:
    return sum(map(sum, costs))
