"""What the architectures of a space cost: parameters and multiply-adds of the networks that one would train, and what
else adds up over their ops or can be seen of them without running them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.engine.activations import activation_bytes
from zcpt_ray.engine.inspection import module_costs
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.module_supernet import ModuleSupernet
from zcpt_ray.spaces.base import OpCosts, Space
from zcpt_ray.spaces.module_costs import ConditionalCosts, conditional_amounts
from zcpt_ray.spaces.module_space import ModuleSpace
from zcpt_ray.spaces.whole_networks import WholeNetworks

MILLION = 1e6
IMAGENET_CLASSES = 1000
IMAGENET_SHAPE = (3, 224, 224)
FINISHED = 16
"""Ways to finish an architecture that stand for all."""
T = TypeVar("T", int, float)


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-adds of one image as NAS-Bench-201 counts: convolutions, linear layers, attention."""

    params: int
    flops: int


class Usage(Protocol):
    """How much architectures of a space take up of something."""

    def of(self, arch: ArchSpec) -> float:
        """How much a finished one takes up; infinite where nobody knows."""

    def least(self, arch: PartialArch) -> float:
        """The least that `arch` can be finished with."""

    def typical(self, arch: PartialArch) -> float:
        """What the ways to finish `arch` take up on average, about."""


@dataclass(frozen=True)
class AddedUp:
    """A `Usage` that adds up: so much per op, [edges][candidates], beside a `fixed` part; in units of `unit`."""

    space: Space
    fixed: float
    by_op: OpCosts
    unit: float = 1.0

    def of(self, arch: ArchSpec) -> float:
        pairs = [(edge, self.space.edges[edge].candidates.index(op)) for edge, op in self.space.used(arch)]
        return (self.fixed + sum(self.by_op[edge][op] for edge, op in pairs)) / self.unit

    def least(self, arch: PartialArch) -> float:
        return self.of(self.space.cheapest(arch, self.by_op))

    def typical(self, arch: PartialArch) -> float:
        return sum(map(self.of, finished_at_random(self.space, arch))) / FINISHED


class BuiltOneByOne:
    """Parameters, multiply-adds and bytes of weights and buffers of the networks of a space, each in millions."""

    def __init__(self, space: WholeNetworks, num_classes: int, image_shape: tuple[int, ...]) -> None:
        self.space, self.num_classes, self.image_shape = space, num_classes, image_shape
        self.known: dict[ArchSpec, tuple[float, ...]] = {}

    def of(self, arch: ArchSpec) -> tuple[float, ...]:
        """Of a finished architecture."""
        if arch not in self.known:
            with torch.device("meta"):
                net = self.space.trained_form(self.space.single_path(arch), self.num_classes)
            params, flops = module_costs(net, self.image_shape, self.space.counts_biases)
            kept = [tensor.numel() * tensor.element_size() for tensor in (*net.parameters(), *net.buffers())]
            self.known[arch] = tuple(sum(each) / MILLION for each in (params.values(), flops.values(), kept))
        return self.known[arch]


@dataclass(frozen=True)
class OneOf:
    """A `Usage`: one of the numbers of `built`. Of what is not finished nobody knows the least."""

    built: BuiltOneByOne
    place: int

    def of(self, arch: ArchSpec) -> float:
        return self.built.of(arch)[self.place]

    def least(self, arch: PartialArch) -> float:
        if arch.open_edges or not self.built.space.valid(finished := arch.finish(self.built.space.name)):
            return 0.0
        return self.of(finished)

    def typical(self, arch: PartialArch) -> float:
        return self.least(arch)


class PeakMemory:
    """A `Usage`: MB of activations at a time, where the network runs one image in float32 as it is written.

    The least is that of the ops which allocate least, edge by edge; of a network with choices inside, of those with
    fewest multiply-adds.
    """

    def __init__(self, space: Space, num_classes: int, image_shape: tuple[int, ...]) -> None:
        self.space, self.num_classes, self.image_shape = space, num_classes, image_shape
        self.known: dict[ArchSpec, float] = {}
        with torch.device("meta"):
            net = space.trained_form(space.edges, num_classes)
            ops = candidate_ops(net)
            _, allocated = activation_bytes(net, image_shape, ops)
        by_op = op_totals(space, ops, allocated)
        self.cheapest: Callable[[PartialArch], ArchSpec] = lambda arch: space.cheapest(arch, by_op)
        if isinstance(net, ModuleSupernet):
            _, flops, _ = conditional_amounts(net, image_shape)
            self.cheapest = ConditionalCosts(space, flops, finished_at_random, MILLION).cheapest

    def of(self, arch: ArchSpec) -> float:
        if arch not in self.known:
            with torch.device("meta"):
                net = self.space.trained_form(self.space.single_path(arch), self.num_classes)
            self.known[arch] = activation_bytes(net, self.image_shape)[0] / MILLION
        return self.known[arch]

    def least(self, arch: PartialArch) -> float:
        return self.of(self.cheapest(arch))

    def typical(self, arch: PartialArch) -> float:
        """The least: one large layer makes the peak, whatever the others are."""
        return self.least(arch)


class Costs:
    """Costs in `space`, of the network that would be trained on images [C, H, W] of `image_shape`.

    Ops add up, so the network that holds every candidate is all that has to be looked at, once and without memory. An
    auxiliary head does not count.
    """

    def __init__(self, space: Space, num_classes: int, image_shape: tuple[int, ...]) -> None:
        self.space = space
        self.num_classes = num_classes
        self.image_shape = image_shape
        self.params_m: Usage
        self.flops_m: Usage
        self.file_mb: Usage
        if isinstance(space, WholeNetworks):
            built = BuiltOneByOne(space, num_classes, image_shape)
            self.params_m, self.flops_m, self.file_mb = (OneOf(built, place) for place in range(3))
            return
        with torch.device("meta"):
            net = space.trained_form(space.edges, num_classes)
        if isinstance(net, ModuleSupernet):
            self.params_m, self.flops_m, self.file_mb = (
                ConditionalCosts(space, amounts, finished_at_random, MILLION)
                for amounts in conditional_amounts(net, image_shape, space.counts_biases)
            )
            return
        params, flops = module_costs(net, image_shape, space.counts_biases)
        kept = {module: sum(t.numel() * t.element_size() for t in _own_tensors(module)) for module in net.modules()}
        added = [self._added_up(net, counts) for counts in (params, flops, kept)]
        self.params_m, self.flops_m, self.file_mb = added
        self.params, self.flops = (each.by_op for each in added[:2])

    def of(self, arch: ArchSpec) -> Cost:
        """What a finished architecture costs."""
        return Cost(*(round(MILLION * usage.of(arch)) for usage in (self.params_m, self.flops_m)))

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
            params, flops = module_costs(network, shape, self.space.counts_biases)
            cost = Cost(sum(params.values()), sum(flops.values()))
            if cost not in costs.values():
                costs[name] = cost
        return costs

    def _added_up(self, net: nn.Module, counts: dict[nn.Module, int]) -> AddedUp:
        ops = candidate_ops(net)
        whole = {op: sum(counts.get(module, 0) for module in op.modules()) for op in ops}
        by_op = op_totals(self.space, ops, whole)
        return AddedUp(self.space, sum(counts.values()) - sum(map(sum, by_op)), by_op, MILLION)


def cost_in_table(space: Space, arch: ArchSpec, num_classes: int | None, image_size: int | None) -> Cost:
    """Of the network that the space's table is of, by default with that table's classes and images."""
    size = image_size or space.made_for
    if isinstance(space, ModuleSpace):  # looked at once for all architectures
        return _costs_of(space, num_classes or space.table_classes, size).of(arch)
    with torch.device("meta"):
        net = space.table_form(arch, num_classes or space.table_classes)
    params, flops = module_costs(net, (3, size, size), space.counts_biases)
    return Cost(sum(params.values()), sum(flops.values()))


@lru_cache(maxsize=8)
def _costs_of(space: Space, num_classes: int, image_size: int) -> Costs:
    return Costs(space, num_classes, (3, image_size, image_size))


def finished_at_random(space: Space, arch: PartialArch) -> list[ArchSpec]:
    """`arch` finished in `FINISHED` ways, which are the same whatever it keeps."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(FINISHED):
        drawn = [random.permutation(len(edge.candidates))[: edge.keep] for edge in space.edges]
        kept = [
            ops or tuple(edge.candidates[i] for i in sorted(places))
            for edge, ops, places in zip(space.edges, arch.kept, drawn, strict=True)
        ]
        found.append(ArchSpec(space.name, tuple(kept)))
    return found


def candidate_ops(net: nn.Module) -> dict[nn.Module, tuple[int, int]]:
    """The candidate ops of a network, each with its edge and its place among what the edge offers."""
    return {
        op: (edge, position)
        for layer in net.modules()
        if isinstance(layer, Layer)
        for edge, ops in layer.candidate_ops().items()
        for position, op in enumerate(ops)
    }


def op_totals(space: Space, ops: Mapping[nn.Module, tuple[int, int]], amounts: Mapping[nn.Module, T]) -> list[list[T]]:
    """Per edge of `space`, per candidate, the amounts of its ops added up; cells repeat an edge."""
    found: list[list[Any]] = [[0] * len(edge.candidates) for edge in space.edges]
    for op, (edge, position) in ops.items():
        found[edge][position] += amounts.get(op, 0)
    return found


def _own_tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)
