"""A search space made of an ordinary network with choices inside: `zc.space_of(Net)`."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, Edge, Graph
from zcpt_ray.engine.decisions import DecisionModule, all_decisions
from zcpt_ray.engine.inspection import Network, eval_mode, out_of_place
from zcpt_ray.engine.module_supernet import ModuleSupernet
from zcpt_ray.engine.pointwise import make_pointwise_safe
from zcpt_ray.errors import UserError
from zcpt_ray.seeding import derive_seed
from zcpt_ray.spaces.base import Space
from zcpt_ray.spaces.decision_tree import DecisionTree

CLASSES = 10
"""Of the network that is looked at first."""


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
    called = name or str(getattr(make, "__name__", type(make).__name__)).lower()
    space = ModuleSpace(make, called, image_size, image_channels)
    space.check()
    return space


class ModuleSpace(Space):
    """See `space_of`. The network is looked at once something is asked of it."""

    recipe = "small-data"
    named_weights = False
    """Whether its modules have `reset_parameters`, so that weights are drawn by name, and know the meta device."""

    def __init__(
        self, make: Callable[..., nn.Module], name: str, image_size: int = 32, image_channels: int = 3
    ) -> None:
        self.make, self.name, self.made_for, self.image_channels = make, name, image_size, image_channels
        self.takes_classes = "num_classes" in _parameters(make)

    @cached_property
    def decision_tree(self) -> DecisionTree:
        """What there is to decide, and when."""
        with torch.random.fork_rng([]):
            return DecisionTree.of(self._made(CLASSES, "meta" if self.named_weights else "cpu"), self.name)

    @property
    def edges(self) -> tuple[Edge, ...]:  # type: ignore[override]
        """The decisions of the network, outer ones first."""
        return self.decision_tree.edges

    @cached_property
    def runs_without_memory(self) -> bool:
        """Whether it does not look at the values that it computes, so that none need be computed to see its costs."""
        if self.named_weights:
            return True
        with torch.random.fork_rng([]), torch.no_grad():
            net = self._made(CLASSES).to("meta").eval()
        try:
            net(torch.empty(2, self.image_channels, self.made_for, self.made_for, device="meta"))
        except Exception:  # what a forward does with such tensors can fail in any way
            return False
        return True

    @cached_property
    def classes(self) -> int:
        """How many logits the network gives that is not told how many to give."""
        with torch.random.fork_rng([]):
            net = self._made(CLASSES)
        list(all_decisions(net))  # which gives them their names, for messages
        return self._logits(net)

    def check(self) -> None:
        """See that there is something to decide, and that the supernet runs.

        Raises:
            UserError: as `space_of`.
        """
        _ = self.edges
        _ = self.classes

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

    def _made(self, num_classes: int, device: str = "cpu") -> nn.Module:
        """A network of its own."""
        try:
            with torch.device(device):
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
            net = self._made(num_classes, "meta" if without_memory and self.named_weights else "cpu")
            for decision, _ in reversed(list(all_decisions(net))):  # inner ones first
                decision.keep(next(edge.candidates for edge in edges if edge.name == decision.decision))
        if without_memory and self.runs_without_memory:
            net.to("meta")
        decisions: dict[str, list[DecisionModule]] = {edge.name: [] for edge in edges}
        for decision, _ in all_decisions(net):
            decisions[decision.decision].append(decision)
        return ModuleSupernet(edges, net, decisions)

    def initialized(self, build: Callable[[], Network], seed: int) -> Network:
        """With the weights that the network gives itself: torch's random numbers start from `seed`."""
        if self.named_weights:
            return super().initialized(build, seed)
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(derive_seed(seed, "network"))
            net = build()
        make_pointwise_safe(net)
        return out_of_place(net)

    def used(self, arch: ArchSpec) -> Iterator[tuple[int, str]]:
        return ((index, ops[0]) for index, ops in enumerate(arch.kept) if self.decision_tree.runs(index, arch.kept))

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
        known = {edge.name: edge.candidates for edge in self.edges}
        for pair in filter(None, (part.strip() for part in text.split(","))):
            name, _, option = (part.strip() for part in pair.partition("="))
            if name in given or name not in known:
                what = "twice" if name in given else f"no choice; choose from {', '.join(known)}"
                raise UserError(f"not an architecture of {self.name}: {text!r}: {name!r} is {what}")
            if option not in known[name]:
                options = ", ".join(known[name])
                raise UserError(
                    f"not an architecture of {self.name}: {name} has no option {option!r}; it has {options}"
                )
            given[name] = option
        kept = tuple((given.get(edge.name, edge.candidates[0]),) for edge in self.edges)
        arch = ArchSpec(self.name, self.decision_tree.canonical(kept))
        if missing := [self.edges[index].name for index, _ in self.used(arch) if self.edges[index].name not in given]:
            raise UserError(
                f"not an architecture of {self.name}: {text!r} does not say {', '.join(missing)}; write as "
                f"{self.encode(self.arch(0))}"
            )
        return arch

    def with_options(self, kept: dict[str, str], text: str, expected: str) -> ArchSpec:
        """The architecture with these options.

        Raises:
            UserError: one of another value, one too many, or one that is missing.
        """
        known = {edge.name: edge.candidates for edge in self.edges}
        options = tuple((kept.get(edge.name, edge.candidates[0]),) for edge in self.edges)
        good = all(name in known and option in known[name] for name, option in kept.items())
        arch = ArchSpec(self.name, options)
        if not good or {self.edges[index].name for index, _ in self.used(arch)} != set(kept):
            raise UserError(f"not a {self.name} architecture: {text!r}; expected {expected}")
        return arch

    @property
    def num_archs(self) -> int:
        """How many there are, those that differ only in parts that do not run counted once."""
        return self.decision_tree.ways()

    def arch(self, index: int) -> ArchSpec:
        return ArchSpec(self.name, self.decision_tree.choice(index))


def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(make).parameters
    except ValueError:  # some of Python's own do not tell
        return {}
