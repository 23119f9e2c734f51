"""A search space made of an ordinary network with choices inside: `zc.space_of(Net)`."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, Edge, Graph
from zcpt_ray.engine.decisions import Decision
from zcpt_ray.engine.inspection import Network, eval_mode, out_of_place
from zcpt_ray.engine.module_supernet import ModuleSupernet, all_decisions
from zcpt_ray.engine.pointwise import make_pointwise_safe
from zcpt_ray.errors import UserError
from zcpt_ray.seeding import derive_seed
from zcpt_ray.spaces.base import Space

CLASSES = 10
"""Of the network that is looked at first."""
Condition = tuple[str, frozenset[str]]
"""A decision, and with which of its options something runs."""
Conditions = tuple[Condition, ...]


def space_of(make: Callable[..., nn.Module], *, name: str = "", image_size: int = 32, image_channels: int = 3) -> Space:
    """The search space of a network that holds `Choice`, `Repeat` or `Width` modules, which are its edges.

    Args:
        make: The network's class, or a function that gives it: it maps images float32 [B, C, H, W] to logits
            [B, num_classes]. With a parameter `num_classes`, it serves every data set; without, those that have as many
            classes as it has logits. Weights are those that it draws from torch's random numbers.
        name: What the space is called; by default as the class or function, in small letters.
        image_size: Pixels a side of the images that it is made for.
        image_channels: Of those images.

    An architecture is written `block=conv3,depth=2`: what is decided, outer decisions first, without those in parts
    that do not run.

    Raises:
        UserError: no decision in it, options that give different shapes, or a network that does not run.
    """
    if isinstance(make, nn.Module) or not callable(make):
        raise UserError(
            f"space_of takes a class or a function that makes the network, so that each seed gives other weights;"
            f" got a {type(make).__name__}"
        )
    return ModuleSpace(
        make, name or str(getattr(make, "__name__", type(make).__name__)).lower(), image_size, image_channels
    )


class ModuleSpace(Space):
    """See `space_of`."""

    recipe = "small-data"

    def __init__(
        self, make: Callable[..., nn.Module], name: str, image_size: int = 32, image_channels: int = 3
    ) -> None:
        self.make, self.name, self.made_for, self.image_channels = make, name, image_size, image_channels
        self.takes_classes = "num_classes" in _parameters(make)
        with torch.random.fork_rng([]):
            net = self._made(CLASSES)
        found = list(all_decisions(net))
        self.edges = _edges(found, name)
        self.reached: dict[str, list[Conditions]] = {edge.name: [] for edge in self.edges}
        for decision, conditions in found:
            self.reached[decision.decision].append(conditions)
        self.classes = self._logits(net)

    def check(self) -> None:
        """See that the supernet runs; `space_of` has done so."""
        with torch.random.fork_rng([]):
            self._logits(self._made(CLASSES))

    def _logits(self, net: nn.Module) -> int:
        """How many logits the network gives.

        Raises:
            UserError: it does not run, or gives something else.
        """
        with torch.device("cpu"), torch.random.fork_rng([]):
            images = torch.randn(2, self.image_channels, self.made_for, self.made_for)
        try:
            with torch.no_grad(), eval_mode(net):
                logits = net(images)
        except UserError as error:
            raise UserError(f"space {self.name!r}: {error}") from error
        except Exception as error:  # it may do anything
            raise UserError(
                f"space {self.name!r} does not run on images of {self.image_channels}x{self.made_for}x{self.made_for}"
                f" (image_size of space_of says another size): {str(error).splitlines()[0] if str(error) else error!r}"
            ) from error
        if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 2:
            given = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(f"space {self.name!r}: the network must give logits [B, num_classes], gives {given}")
        return int(logits.shape[1])

    def _made(self, num_classes: int) -> nn.Module:
        """A network of its own, on the CPU."""
        try:
            with torch.device("cpu"):
                net = self.make(num_classes=num_classes) if self.takes_classes else self.make()
        except UserError as error:
            raise UserError(f"space {self.name!r}: {error}") from error
        except Exception as error:  # it may do anything
            raise UserError(f"space {self.name!r} cannot be built: {error!r}") from error
        if not isinstance(net, nn.Module):
            raise UserError(f"space {self.name!r}: a torch.nn.Module is to be made, got a {type(net).__name__}")
        return net

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> ModuleSupernet:
        """The network, with its weights drawn from torch's random numbers as they are now.

        Raises:
            UserError: it has another number of logits.
        """
        if not self.takes_classes and num_classes != self.classes:
            raise UserError(
                f"the network of space {self.name!r} gives {self.classes} logits, and there are {num_classes} classes:"
                " give it a parameter num_classes"
            )
        without_memory = torch.get_default_device().type == "meta"
        with torch.random.fork_rng([]) if without_memory else nullcontext():
            net = self._made(num_classes)
            for decision, _ in reversed(list(all_decisions(net))):
                decision.keep(_named(edges, decision.decision).candidates)
        if without_memory:
            net.to("meta")
        decisions: dict[str, list[Decision]] = {edge.name: [] for edge in edges}
        for decision, _ in all_decisions(net):
            decisions[decision.decision].append(decision)
        return ModuleSupernet(edges, net, decisions)

    def initialized(self, build: Callable[[], Network], seed: int) -> Network:
        """With the weights that the network gives itself: torch's random numbers start from `seed`."""
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(derive_seed(seed, "network"))
            net = build()
        make_pointwise_safe(net)
        return out_of_place(net)

    def _canonical(self, arch: ArchSpec) -> ArchSpec:
        """One of those that are the same network: edges in parts that do not run keep their first option."""
        kept = [list(ops) for ops in arch.kept]
        for index, edge in enumerate(self.edges):  # outer ones come first
            if not self._runs(index, kept):
                kept[index] = [edge.candidates[0]]
        return ArchSpec(self.name, tuple(map(tuple, kept)))

    def used(self, arch: ArchSpec) -> Iterator[tuple[int, str]]:
        return ((index, ops[0]) for index, ops in enumerate(arch.kept) if self._runs(index, arch.kept))

    def _runs(self, index: int, kept: Sequence[Sequence[str]]) -> bool:
        """Whether an edge is in a part that runs."""
        by_name = {edge.name: ops[0] for edge, ops in zip(self.edges, kept, strict=True)}
        return any(
            all(by_name[name] in options for name, options in conditions)
            for conditions in self.reached[self.edges[index].name]
        )

    def graphs(self, arch: ArchSpec) -> dict[str, Graph]:
        """A chain of the edges that run."""
        used = [(self.edges[index].name, op) for index, op in self.used(arch)]
        names = ("input", *(name for name, _ in used))
        return {"choices": [(names[i], names[i + 1], op) for i, (_, op) in enumerate(used)]}

    def encode(self, arch: ArchSpec) -> str:
        """`block=conv3,depth=2`, of the edges that run."""
        return ",".join(f"{self.edges[index].name}={op}" for index, op in self.used(arch))

    def decode(self, text: str) -> ArchSpec:
        given: dict[str, str] = {}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            name, _, option = (part.strip() for part in pair.partition("="))
            if name in given or name not in self.reached:
                what = "twice" if name in given else f"no choice; choose from {', '.join(self.reached)}"
                raise UserError(f"not an architecture of {self.name}: {text!r}: {name!r} is {what}")
            if option not in _named(self.edges, name).candidates:
                known = ", ".join(_named(self.edges, name).candidates)
                raise UserError(f"not an architecture of {self.name}: {name} has no option {option!r}; it has {known}")
            given[name] = option
        arch = self._canonical(
            ArchSpec(self.name, tuple((given.get(edge.name, edge.candidates[0]),) for edge in self.edges))
        )
        if missing := [self.edges[index].name for index, _ in self.used(arch) if self.edges[index].name not in given]:
            raise UserError(
                f"not an architecture of {self.name}: {text!r} does not say {', '.join(missing)}; write as "
                f"{self.encode(self.arch(0))}"
            )
        return arch

    @cached_property
    def _homes(self) -> dict[Conditions, list[int]]:
        """The edges by what all the ways to reach them have in common."""
        homes: dict[Conditions, list[int]] = {}
        for index, edge in enumerate(self.edges):
            first, *others = self.reached[edge.name]
            same = [all(other[:size] == first[:size] for other in others) for size in range(1, len(first) + 1)]
            homes.setdefault(first[: sum(same)], []).append(index)
        return homes

    def _ways(self, home: Conditions) -> int:
        """In how many ways the edges that have a home, and what is inside, can be decided."""
        return math.prod(
            sum(self._ways_with(home, index, option) for option in self.edges[index].candidates)
            for index in self._homes.get(home, [])
        )

    def _ways_with(self, home: Conditions, index: int, option: str) -> int:
        return math.prod(self._ways(inner) for inner in self._inside(home, index, option))

    def _inside(self, home: Conditions, index: int, option: str) -> list[Conditions]:
        """The homes that an option of an edge opens."""
        name = self.edges[index].name
        inner = dict.fromkeys(other[: len(home) + 1] for other in self._homes if len(other) > len(home))
        return [key for key in inner if key[:-1] == home and key[-1][0] == name and option in key[-1][1]]

    @property
    def num_archs(self) -> int:
        """How many there are, those that differ only in parts that do not run counted once."""
        return self._ways(())

    def arch(self, index: int) -> ArchSpec:
        kept = {edge.name: edge.candidates[0] for edge in self.edges}
        self._place((), index, kept)
        return self._canonical(ArchSpec(self.name, tuple((kept[edge.name],) for edge in self.edges)))

    def _place(self, home: Conditions, index: int, kept: dict[str, str]) -> None:
        for edge in reversed(self._homes.get(home, [])):
            ways = [self._ways_with(home, edge, option) for option in self.edges[edge].candidates]
            index, inside = divmod(index, sum(ways))
            for option, count in zip(self.edges[edge].candidates, ways, strict=True):
                if inside < count:
                    kept[self.edges[edge].name] = option
                    for inner in self._inside(home, edge, option):
                        inside, place = divmod(inside, self._ways(inner))
                        self._place(inner, place, kept)
                    break
                inside -= count


def _edges(found: Sequence[tuple[Decision, Conditions]], name: str) -> tuple[Edge, ...]:
    """An edge for each decision.

    Raises:
        UserError: there is none, or two of one name have other options.
    """
    options: dict[str, tuple[str, ...]] = {}
    for decision, _ in found:
        if options.setdefault(decision.decision, decision.options) != decision.options:
            ours, theirs = (", ".join(each) for each in (options[decision.decision], decision.options))
            raise UserError(f"space {name!r}: decision {decision.decision!r} has options {ours} and {theirs}")
    if not any(len(each) > 1 for each in options.values()):
        raise UserError(f"space {name!r}: nothing to decide; a network needs a zc.Choice, zc.Repeat or zc.Width")
    if odd := [each for each in options if set(each) & set(",=")]:
        raise UserError(f"space {name!r}: a decision cannot be called {odd[0]!r}: , and = separate them")
    if odd := [option for each in options.values() for option in each if set(option) & set(",=")]:
        raise UserError(f"space {name!r}: an option cannot be called {odd[0]!r}: , and = separate them")
    return tuple(Edge(called, each) for called, each in options.items())


def _named(edges: Sequence[Edge], name: str) -> Edge:
    return next(edge for edge in edges if edge.name == name)


def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(make).parameters
    except ValueError:  # some of Python's own do not tell
        return {}
