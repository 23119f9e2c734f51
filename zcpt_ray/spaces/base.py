"""What a search space is."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import wraps

from torch import nn

from zcpt_ray.arch import ArchSpec, Edge, Graph, PartialArch
from zcpt_ray.engine.initialization import initialize
from zcpt_ray.engine.inspection import Network
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.spaces.one_by_one import NetworksOneByOne
from zcpt_ray.spaces.texts import tidy

Stage = tuple[tuple[int, ...], ...]
"""Lanes of edge indices. Each step of a stage decides one edge of every lane, on one minibatch."""

OpCosts = Sequence[Sequence[float]]
"""Per edge, per candidate op: what it costs."""


class Space(ABC):
    """A set of edges, the supernet that holds every candidate, and the networks it contains.

    `made_for` are the pixels a side of the images that its networks are made for; others are taken too. `recipe` and,
    on ImageNet, `imagenet_recipe` are how the literature trains its networks.
    """

    name: str
    edges: tuple[Edge, ...]
    made_for: int = 32
    table_classes: int = 10
    """Classes of the networks that its table of trained networks, if there is one, is of."""
    counts_biases: bool = True
    """Whether a bias is a multiply-add, as in NAS-Bench-201's table."""
    networks_apart: bool = False
    """Whether many networks of their own are better made one by one than found in a supernet, which is large."""
    has_supernet: bool = True
    """Without one, its networks are scored whole (`spaces.whole_networks`)."""
    recipe: str = "cifar"
    imagenet_recipe: str = "imagenet-mobilenet"

    def __init_subclass__(cls) -> None:
        """Have `decode` of every space read texts that are `tidy`."""
        if read := vars(cls).get("decode"):
            cls.decode = wraps(read)(lambda self, text: read(self, tidy(text)))  # type: ignore[method-assign]

    def recipe_on(self, dataset: str) -> str:
        """The recipe for its networks on a data set."""
        return self.imagenet_recipe if dataset == "imagenet" else self.recipe

    @property
    def edge_titles(self) -> dict[str, str]:
        """What people call edges whose names tell them little, by name."""
        return {}

    @property
    def stages(self) -> tuple[Stage, ...]:
        """In which groups edges are decided; by default all in one lane of one stage."""
        return ((tuple(range(len(self.edges))),),)

    @property
    def num_archs(self) -> int:
        """How many finished architectures there are."""
        return math.prod(math.comb(len(edge.candidates), edge.keep) for edge in self.edges)

    def arch(self, index: int) -> ArchSpec:
        """Architecture `index` of `num_archs`, counted with the last edge running fastest."""
        kept = []
        for edge in reversed(self.edges):
            choices = list(itertools.combinations(edge.candidates, edge.keep))
            index, choice = divmod(index, len(choices))
            kept.append(choices[choice])
        return ArchSpec(self.name, tuple(reversed(kept)))

    def supernet(self, num_classes: int, seed: int) -> Supernet:
        """The untrained supernet; equal seeds give equal weights."""
        return self._initialized(self.edges, num_classes, seed)

    def network(self, arch: ArchSpec, num_classes: int, seed: int) -> Supernet:
        """The untrained stand-alone network of `arch`; with the supernet's seed it has the supernet's weights.

        Raises:
            ValueError: `arch` belongs to another space, or keeps ops that this one does not offer.
        """
        return self._initialized(self.single_path(arch), num_classes, seed)

    def networks(self, num_classes: int, seed: int) -> Supernet:
        """What finished architectures are scored with on their own: here each in a network that is made for it."""

        def make(kept: tuple[tuple[str, ...], ...]) -> Supernet:
            return self.network(ArchSpec(self.name, kept), num_classes, seed)

        return NetworksOneByOne(self.edges, make, self.refusal)

    @property
    def refusal(self) -> str:
        """Why `networks` do not score what is not finished."""
        return f"only finished networks of space {self.name!r} are scored here"

    @property
    def thin(self) -> "Space | None":
        """The same edges in a network that is as small as can be, for images of one channel and 3x3 pixels.

        Linear regions are counted on it. None where there is no such form: the proxy tenas does not serve the space
        then.
        """
        return None

    def graphs(self, arch: ArchSpec) -> dict[str, Graph]:
        """How the architecture is drawn: the links of each of its parts, by name. By default one chain of its edges."""
        names = ("input", *(edge.name for edge in self.edges))
        return {"layers": [(names[i], names[i + 1], " + ".join(ops)) for i, ops in enumerate(arch.kept)]}

    @property
    def imagenet_form(self) -> "Space | None":
        """The same edges in networks for ImageNet (224 px), where architectures are taken there to be trained."""
        return None

    @abstractmethod
    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        """The network whose edges offer the candidates that `edges` say: all of them, or what an architecture keeps."""

    @property
    def trained_sizes(self) -> Mapping[str, int]:
        """The sizes that `trained_form` takes, with what they usually are: `channels`, `num_cells`; by default none.

        `zcpt train` has a flag for each.
        """
        return {}

    @property
    def smallest_sizes(self) -> Mapping[str, int]:
        """Sizes for a run that only shows that everything runs."""
        return {}

    @property
    def smoke_name(self) -> str:
        """The space that a smoke run searches in this one's place: the same choices in smaller networks."""
        return self.name

    def trained_form(
        self, edges: tuple[Edge, ...], num_classes: int, auxiliary: bool = False, **sizes: int
    ) -> nn.Module:
        """The network that one would train; by default the one that is searched.

        `sizes` are some of `trained_sizes`. With `auxiliary` it gives, in train mode, the logits of an auxiliary head
        too, where the space has one.

        Raises:
            ValueError: a size that is not one of `trained_sizes`.
        """
        self.whole_sizes(sizes)
        return self.build(edges, num_classes)

    def table_form(self, arch: ArchSpec, num_classes: int) -> nn.Module:
        """The network that the space's table of trained networks is of; by default the one that one would train."""
        return self.trained_form(self.single_path(arch), num_classes)

    def whole_sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """`trained_sizes`, some of them replaced by `sizes`.

        Raises:
            ValueError: a size that is not one of `trained_sizes`.
        """
        if unknown := [name for name in sizes if name not in self.trained_sizes]:
            known = ", ".join(self.trained_sizes) or "none"
            raise ValueError(f"space {self.name!r} has no size {unknown[0]!r}; its sizes are: {known}")
        return {**self.trained_sizes, **sizes}

    def set_drop_path(self, net: nn.Module, probability: float) -> None:  # noqa: B027
        """Say how probable it is, in train mode, that an edge of a `trained_form` gives nothing for an image.

        By default networks have no drop path.
        """

    def example(self) -> ArchSpec:
        """Some architecture of the space."""
        return ArchSpec(self.name, tuple(edge.candidates[: edge.keep] for edge in self.edges))

    def valid(self, arch: ArchSpec) -> bool:
        """Whether a choice is an architecture of the space; by default each is."""
        return True

    def used(self, arch: ArchSpec) -> Iterator[tuple[int, str]]:
        """(edge, op) of what runs in a finished architecture: by default all that it keeps."""
        return ((edge, op) for edge, ops in enumerate(arch.kept) for op in ops)

    def cheapest(self, arch: PartialArch, costs: OpCosts) -> ArchSpec:
        """`arch` finished as cheaply as can be: by default every open edge keeps its cheapest ops."""
        kept = []
        for edge, ops, prices in zip(self.edges, arch.kept, costs, strict=True):
            order = sorted(range(len(prices)), key=lambda op: prices[op])[: edge.keep]
            kept.append(tuple(edge.candidates[op] for op in sorted(order)) if ops is None else ops)
        return ArchSpec(self.name, tuple(kept))

    @abstractmethod
    def encode(self, arch: ArchSpec) -> str:
        """The architecture as text, as the space's benchmark writes it."""

    @abstractmethod
    def decode(self, text: str) -> ArchSpec:
        """The inverse of `encode`. What is around the text in a file, such as line ends, is taken off before.

        Raises:
            UserError: `text` does not name an architecture of this space.
        """

    def _initialized(self, edges: tuple[Edge, ...], num_classes: int, seed: int) -> Supernet:
        net = self.initialized(lambda: self.build(edges, num_classes), seed)
        if thin := self.thin:
            net.make_thin = lambda: thin._initialized(edges, num_classes, seed)
        return net

    def initialized(self, build: Callable[[], Network], seed: int) -> Network:
        """One of its networks, as `build` describes it, with the weights of a seed."""
        return initialize(build, seed)

    def single_path(self, arch: ArchSpec) -> tuple[Edge, ...]:
        """The edges with only what `arch` keeps as candidates.

        Raises:
            ValueError: `arch` belongs to another space, or keeps ops that this one does not offer.
        """
        if arch.space != self.name or len(arch.kept) != len(self.edges):
            raise ValueError(f"space {self.name!r} cannot build {arch}")
        for edge, ops in zip(self.edges, arch.kept, strict=True):
            if len(ops) != edge.keep or not set(ops) <= set(edge.candidates):
                raise ValueError(f"edge {edge.name!r} keeps {edge.keep} of {', '.join(edge.candidates)}, got {ops}")
        return tuple(replace(edge, candidates=ops) for edge, ops in zip(self.edges, arch.kept, strict=True))
