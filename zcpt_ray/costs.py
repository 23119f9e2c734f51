"""What an architecture costs, parameters and multiply-adds, and what the cheapest way to finish a partly decided one costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch
from torch import nn

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.configs import SearchConfig
from zcpt_ray.data import ImageSet, draw_minibatch
from zcpt_ray.errors import UserError
from zcpt_ray.layers import Layer, eval_mode
from zcpt_ray.proxies.base import running_layers
from zcpt_ray.proxies.flops import multiply_adds
from zcpt_ray.spaces import Space, find_space

MILLION = 1e6
IMAGENET_CLASSES = 1000
IMAGENET_SHAPE = (3, 224, 224)
T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-adds of convolutions and linear layers on one image, counted as by NAS-Bench-201."""

    params: int
    flops: int

    def share_of(self, config: SearchConfig) -> float:
        """Of the budget of `config`, the part used up, by what is scarcer; more than 1 is too much. 0 without a budget."""
        limits = ((self.params, config.max_params), (self.flops, config.max_flops))
        return max((used / (limit * MILLION) for used, limit in limits if limit is not None), default=0.0)

    def __str__(self) -> str:
        return f"{self.params / MILLION:.3f} M parameters and {self.flops / MILLION:.1f} M multiply-adds"


class Costs:
    """Costs in `space`, of the network that would be trained on images [C, H, W] of `image_shape`.

    Ops add up, so the network that holds every candidate is all that has to be looked at, once and without memory. An auxiliary
    head does not count.
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
        """Of every network that a finished architecture makes: the one that is scored, and, where they are others, the one that one
        would train and the one for ImageNet."""
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
        """The fewest parameters and the fewest multiply-adds that `arch` can be finished with; not always by one architecture."""
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


BudgetShare = Callable[[PartialArch], float]
"""Of the budget, the part that the cheapest way to finish an architecture uses up; more than 1 is too much."""


def unlimited(arch: PartialArch) -> float:
    """The share where there is no budget."""
    return 0.0


@dataclass(frozen=True)
class Sizes:
    """What costs depend on of a data set: number of classes, and shape [C, H, W] of an image."""

    num_classes: int
    image_shape: tuple[int, ...]

    @classmethod
    def of(cls, images: ImageSet) -> "Sizes":
        """Those of minibatches of `images`."""
        return cls(images.num_classes, tuple(draw_minibatch(images, 1, seed=0).images.shape[1:]))


@cache
def search_costs(space: str, sizes: Sizes) -> Costs:
    """What the architectures of a space cost."""
    return Costs(find_space(space), sizes.num_classes, sizes.image_shape)


def budget_share(config: SearchConfig, images: ImageSet) -> BudgetShare:
    """How much of the budget of `config` is used up.

    Raises:
        UserError: nothing in the space fits.
    """
    if config.max_params is None and config.max_flops is None:
        return unlimited
    costs = search_costs(config.space, Sizes.of(images))
    least = costs.least(PartialArch.all_open(costs.space.edges))
    if least.share_of(config) > 1:
        raise UserError(f"nothing in {config.space!r} fits the budget: the smallest network has {least}")
    return lambda arch: costs.least(arch).share_of(config)


def first_within(choices: Sequence[T], share: Callable[[T], float]) -> T:
    """The first choice within the budget; the one that exceeds it least where two budgets leave none."""
    return next((choice for choice in choices if share(choice) <= 1), None) or min(choices, key=share)


def module_costs(net: nn.Module, image_shape: tuple[int, ...]) -> tuple[dict[nn.Module, int], dict[nn.Module, int]]:
    """Parameters and multiply-adds of each module's own of a network without memory; 0 for what does not run in eval mode."""
    with torch.device("meta"), torch.no_grad(), eval_mode(net), running_layers(net, (nn.Module,)) as ran:
        net(torch.empty(1, *image_shape))
    params, flops = dict.fromkeys(net.modules(), 0), dict.fromkeys(net.modules(), 0)
    for module, output in ran:
        params[module] = sum(parameter.numel() for parameter in module.parameters(False))
        if isinstance(module, nn.Conv2d | nn.Linear):
            flops[module] = multiply_adds(module, output)
    return params, flops


def _total(costs: list[list[int]]) -> int:
    return sum(map(sum, costs))
