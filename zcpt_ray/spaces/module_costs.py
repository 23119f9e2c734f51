"""What architectures of a network with choices inside cost: each amount counts where what it is of runs."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import nn

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.engine.decisions import Conditions, DecisionModule
from zcpt_ray.engine.inspection import Ran, counted_products, device_of, eval_mode, hooked, running_layers
from zcpt_ray.engine.module_kinds import WEIGHTED
from zcpt_ray.engine.module_supernet import ModuleSupernet
from zcpt_ray.spaces.base import OpCosts, Space
from zcpt_ray.spaces.module_space import ModuleSpace

Chosen = dict[str, str]
"""An option per decision."""
Running = tuple[tuple[str, tuple[str, ...]], ...]
"""Decisions that something runs inside of, each with the options with which it does."""
T = TypeVar("T")


@dataclass(frozen=True)
class Amount:
    """So much, where any of the conditions is met."""

    size: float
    when: tuple[Running, ...]

    def of(self, chosen: Chosen) -> float:
        """For an architecture."""
        met = any(all(chosen[name] in options for name, options in running) for running in self.when)
        return self.size if met else 0.0


class ConditionalCosts:
    """A `Usage`: amounts of the parts of a network, added up over those that run; in units of `unit`."""

    def __init__(self, space: Space, amounts: Sequence[Amount], typical: Callable[..., list[ArchSpec]], unit: float):
        self.space, self.unit, self.finished = space, unit, typical
        self.amounts = [amount for amount in amounts if amount.size]
        depth: dict[str, int] = defaultdict(int)
        for amount in self.amounts:
            for running in amount.when:
                for place, (name, _) in enumerate(running):
                    depth[name] = max(depth[name], place)
        self.inner_first = sorted((edge.name for edge in space.edges), key=lambda name: -depth[name])

    def of(self, arch: ArchSpec) -> float:
        """How much a finished architecture costs."""
        return self._total({edge.name: ops[0] for edge, ops in zip(self.space.edges, arch.kept, strict=True)})

    def least(self, arch: PartialArch) -> float:
        """Of the cheapest that `arch` can be finished as."""
        return self.of(self.cheapest(arch))

    def typical(self, arch: PartialArch) -> float:
        """On average over some ways to finish `arch`."""
        archs = self.finished(self.space, arch)
        return sum(map(self.of, archs)) / len(archs)

    def cheapest(self, arch: PartialArch) -> ArchSpec:
        """`arch` finished as cheaply as can be: inner decisions first, each as if what it is in did run."""
        allowed = {
            edge.name: edge.candidates if ops is None else ops for edge, ops in zip(arch.edges, arch.kept, strict=True)
        }
        chosen = {name: options[0] for name, options in allowed.items()}
        for name in self.inner_first:
            if len(allowed[name]) > 1:
                costs = {option: self._within(name, {**chosen, name: option}) for option in allowed[name]}
                chosen[name] = min(costs, key=lambda option: costs[option])
        return ArchSpec(self.space.name, tuple((chosen[edge.name],) for edge in self.space.edges))

    def _total(self, chosen: Chosen) -> float:
        return sum(amount.of(chosen) for amount in self.amounts) / self.unit

    def _within(self, name: str, chosen: Chosen) -> float:
        """What runs inside a decision costs, wherever that is."""
        total = 0.0
        for amount in self.amounts:
            inside = [running for running in amount.when if any(each == name for each, _ in running)]
            total += amount.size * any(all(chosen[n] in o for n, o in _from(running, name)) for running in inside)
        return total


def _from(running: Running, name: str) -> Running:
    place = next(index for index, (each, _) in enumerate(running) if each == name)
    return running[place:]


def conditional_amounts(
    net: ModuleSupernet, image_shape: tuple[int, ...], with_biases: bool = True
) -> tuple[list[Amount], list[Amount], list[Amount]]:
    """Parameters, multiply-adds, and bytes of weights and buffers, of a network on the meta device."""
    weights = PartialArch.all_open(net.edges).edge_weights()
    passes: list[tuple[Running, Ran]] = []
    products: list[tuple[Running, int]] = []
    before: dict[nn.Module, int] = {}

    def see(module: nn.Module, _: object, __: object) -> None:
        passes.extend((where(), each) for each in ran[len(passes) :])
        new = counts[module] - before.get(module, 0)
        before[module] = counts[module]
        if new:
            products.append((where(), new))

    with (
        device_of(net),
        torch.no_grad(),
        eval_mode(net),
        running_layers(net, (nn.Module,)) as ran,
        counted_products(net) as counts,
        hooked([module.register_forward_hook(see) for module in net.modules()]),
        _where(net) as where,  # last, so that a part is still inside its decision when what it did is seen
    ):
        net(torch.zeros(1, *image_shape), weights)
    params: dict[tuple[object, ...], list[Running]] = defaultdict(list)
    sizes: dict[tuple[object, ...], tuple[int, int]] = {}
    flops = [Amount(number, (running,)) for running, number in products]
    for running, each in passes:
        key = (each.layer, *(tensor.shape for tensor in each.parameters))
        params[key].append(running)
        tensors = (*each.parameters, *each.layer.buffers(recurse=False))
        sizes[key] = (
            sum(tensor.numel() for tensor in each.parameters),
            sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        )
        if isinstance(each.layer, WEIGHTED):
            flops.append(Amount(each.multiply_adds(with_biases), (running,)))
    by_part = [
        [Amount(sizes[key][place], tuple(dict.fromkeys(when))) for key, when in params.items()] for place in (0, 1)
    ]
    return by_part[0], flops, by_part[1]


def option_amounts(space: ModuleSpace, fixed: float, by_op: OpCosts) -> list[Amount]:
    """What options cost, [edges][candidates], where they run, beside what is `fixed`."""
    amounts = [Amount(fixed, ((),))]
    for edge, reached, costs in zip(space.edges, space.decision_tree.reached, by_op, strict=True):
        for op, cost in zip(edge.candidates, costs, strict=True):
            when = tuple((*(_listed(conditions)), (edge.name, (op,))) for conditions in reached)
            amounts.append(Amount(cost, when))
    return amounts


def _listed(conditions: Conditions) -> Running:
    return tuple((name, tuple(sorted(options))) for name, options in conditions)


@contextmanager
def _where(net: nn.Module) -> Iterator[Callable[[], Running]]:
    """Inside, what is called says which decisions what runs now is in."""
    stack: list[tuple[DecisionModule, tuple[str, ...]]] = []

    def begin(decision: DecisionModule, _: object, __: object) -> None:
        stack.append((decision, decision.running))

    def end(_: object, __: object, ___: object) -> None:
        stack.pop()

    hooks = []
    for decision in [module for module in net.modules() if isinstance(module, DecisionModule)]:
        for _, part, _ in decision.parts():
            hooks.append(part.register_forward_pre_hook(partial(begin, decision)))
            hooks.append(part.register_forward_hook(end))
    with hooked(hooks):
        yield lambda: tuple((decision.decision, options) for decision, options in stack)
