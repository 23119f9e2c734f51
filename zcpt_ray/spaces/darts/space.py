"""The DARTS space (Liu et al. 2019) and its subspaces S1 to S4 (Zela et al. 2020).

A network is a stack of normal and reduction cells; each kind of cell has four inner nodes, fourteen edges from earlier
nodes to these, and one decision about the op on each. Then each node keeps two of its inputs (topology selection of
algorithm 1): while that is open a node sums all of them. Normal and reduction cells are two lanes of each stage: a step
decides one edge of either.
"""

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from zcpt_ray.arch import ArchSpec, Edge, Graph, PartialArch
from zcpt_ray.engine.layers import CifarStem, GlobalPool, ImageNetStem, Layer, Twice
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import OpCosts, Space, Stage
from zcpt_ray.spaces.darts.candidates import DARTS_OP_NAMES, KINDS, NUM_EDGES, S1, Candidates, everywhere
from zcpt_ray.spaces.darts.cell import DartsCell
from zcpt_ray.spaces.darts.genotype import KeptPairs, read_genotype, write_genotype
from zcpt_ray.spaces.darts.network import EvaluationNetwork
from zcpt_ray.spaces.darts.wiring import DARTS_ENDS, INNER_NODES, DartsWiring

DARTS_NODE_NAMES = ("c(k-2)", "c(k-1)", *(str(node) for node in range(2, 2 + INNER_NODES)))
"""For people; the output is c(k)."""
SMALL = "-small"
"""How the names of smaller forms of the spaces end."""
STEM_MULTIPLIER = 3
"""Channels of the CIFAR stem, in units of C."""


class Darts(Space):
    """A space over DARTS cells.

    Its networks have `num_cells` cells, of C = `channels` at first; those at 1/3 and 2/3 of the depth reduce.
    `op_weight` is what an op of an open edge weighs. In `darts` it is 1/8: as in the released code of the paper, `none`
    takes part in the softmax, but not in the network, and cannot be kept; in `darts-with-none` it can. `imagenet`: a
    stem of three strided convolutions, for images of 224 px.
    """

    imagenet_recipe = "imagenet-darts"

    def __init__(
        self,
        name: str,
        candidates: Candidates,
        op_weight: float | None = None,
        channels: int = 16,
        num_cells: int = 8,
        imagenet: bool = False,
    ) -> None:
        self.name = name
        self.candidates = candidates
        self.op_weight = op_weight
        self.channels = channels
        self.num_cells = num_cells
        self.imagenet = imagenet
        ops = [
            Edge(f"{kind}/{i}", candidates[kind][i], op_weight=op_weight) for kind in KINDS for i in range(NUM_EDGES)
        ]
        inputs = [
            Edge(f"{kind}/node{target}", tuple(str(source) for source in range(target)), keep=2, op_weight=1)
            for kind in KINDS
            for target in range(2, 2 + INNER_NODES)
        ]
        self.edges = (*ops, *inputs)

    @property
    def edge_titles(self) -> dict[str, str]:
        """By the nodes that an edge joins, as in `normal 3<-c(k-2)`."""
        ends = {
            f"{kind}/{i}": f"{kind} {DARTS_NODE_NAMES[t]}<-{DARTS_NODE_NAMES[s]}"
            for kind in KINDS
            for i, (s, t) in enumerate(DARTS_ENDS)
        }
        return ends | {
            f"{kind}/node{node}": f"{kind} inputs of {node}" for kind in KINDS for node in range(2, 2 + INNER_NODES)
        }

    @property
    def stages(self) -> tuple[Stage, ...]:
        """First ops, then inputs of nodes; in either a lane for normal and one for reduction cells."""
        ops = tuple(tuple(self._op(kind, i) for i in range(NUM_EDGES)) for kind in KINDS)
        return ops, tuple(tuple(self._inputs(kind, target) for target in range(2, 2 + INNER_NODES)) for kind in KINDS)

    @property
    def small(self) -> "Darts":
        """The same choices in cells of 4 channels at first, 3 cells: for runs that only show that everything runs."""
        return Darts(
            f"{self.name}{SMALL}", self.candidates, self.op_weight, channels=4, num_cells=3, imagenet=self.imagenet
        )

    @property
    def thin(self) -> "Darts":
        return DartsCells(self.name, self.candidates, self.op_weight, channels=1, num_cells=2)

    @property
    def imagenet_form(self) -> "Darts | None":
        return None if self.imagenet else Darts(self.name, self.candidates, self.op_weight, imagenet=True)

    def graphs(self, arch: ArchSpec) -> dict[str, Graph]:
        """Two cells; what leads to their output is put side by side there."""
        drawn = {}
        for kind in KINDS:
            pairs = self.kept_pairs(arch, kind)
            links = [
                (DARTS_NODE_NAMES[source], DARTS_NODE_NAMES[2 + i // 2], op) for i, (op, source) in enumerate(pairs)
            ]
            drawn[kind] = [*links, *((name, "c(k)", "") for name in DARTS_NODE_NAMES[2:])]
        return drawn

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        layers, features = self.layers(edges, self.channels, self.num_cells, searching=True)
        return Supernet(edges, {**layers, "pool": GlobalPool()}, features, num_classes)

    def layers(
        self, edges: tuple[Edge, ...], channels: int, num_cells: int, searching: bool
    ) -> tuple[dict[str, Layer], int]:
        """Stem and cells of a network whose edges offer what `edges` say, and the channels that the last cell gives."""
        stem: Layer = ImageNetStem(channels) if self.imagenet else CifarStem(3, STEM_MULTIPLIER * channels)
        layers: dict[str, Layer] = {"stem": stem}
        before = (channels, channels) if self.imagenet else 2 * (STEM_MULTIPLIER * channels,)
        halve_first = self.imagenet
        wiring = {kind: self._wiring(kind, edges) for kind in KINDS}
        for index in range(num_cells):
            reduction = index in reductions(num_cells)
            channels *= 2 if reduction else 1
            kind = KINDS[reduction]
            layers[f"cell{index}"] = DartsCell(wiring[kind], before, channels, reduction, halve_first, searching)
            before, halve_first = (before[1], INNER_NODES * channels), reduction
        return layers, before[1]

    @property
    def trained_sizes(self) -> Mapping[str, int]:
        """CIFAR: 20 cells, C = 36. ImageNet: 14 cells, C = 48."""
        return {"channels": 48, "num_cells": 14} if self.imagenet else {"channels": 36, "num_cells": 20}

    @property
    def smallest_sizes(self) -> Mapping[str, int]:
        return {"channels": 4, "num_cells": 3}

    @property
    def smoke_name(self) -> str:
        return self.name if self.name.endswith(SMALL) else f"{self.name}{SMALL}"

    def trained_form(
        self, edges: tuple[Edge, ...], num_classes: int, auxiliary: bool = False, **sizes: int
    ) -> EvaluationNetwork:
        """With affine batch norms. The auxiliary head is over the second reduction cell."""
        size = self.whole_sizes(sizes)
        channels, num_cells = size["channels"], size["num_cells"]
        layers, features = self.layers(edges, channels, num_cells, searching=False)
        after = f"cell{reductions(num_cells)[1]}" if auxiliary else None
        return EvaluationNetwork(edges, layers, features, num_classes, after, self.imagenet)

    def table_form(self, arch: ArchSpec, num_classes: int) -> nn.Module:
        """That of NAS-Bench-301: 8 cells, C = 32, batch norms inside ops without weights."""
        net = self.trained_form(self.single_path(arch), num_classes, channels=32, num_cells=8)
        layers = [module for module in net.modules() if isinstance(module, Layer)]
        for op in [op for layer in layers for ops in layer.candidate_ops().values() for op in ops]:
            for norm in [module for module in op.modules() if isinstance(module, nn.BatchNorm2d)]:
                norm.register_parameter("weight", None)
                norm.register_parameter("bias", None)
        return net

    def set_drop_path(self, net: nn.Module, probability: float) -> None:
        if isinstance(net, EvaluationNetwork):
            net.set_drop_path(probability)

    def used(self, arch: ArchSpec) -> Iterator[tuple[int, str]]:
        """Ops of edges that a node keeps."""
        for kind in KINDS:
            for i, (source, target) in enumerate(DARTS_ENDS):
                if str(source) in arch.kept[self._inputs(kind, target)]:
                    yield self._op(kind, i), arch.kept[self._op(kind, i)][0]

    def cheapest(self, arch: PartialArch, costs: OpCosts) -> ArchSpec:
        """Every open node keeps the two inputs whose ops are cheapest."""
        kept = list(super().cheapest(arch, costs).kept)
        for kind in KINDS:
            for target in range(2, 2 + INNER_NODES):
                if arch.kept[self._inputs(kind, target)] is None:
                    into = {source: self._op(kind, i) for i, (source, end) in enumerate(DARTS_ENDS) if end == target}
                    price = {
                        s: costs[edge][self.edges[edge].candidates.index(kept[edge][0])] for s, edge in into.items()
                    }
                    kept[self._inputs(kind, target)] = tuple(
                        str(s) for s in sorted(sorted(price, key=price.__getitem__)[:2])
                    )
        return ArchSpec(self.name, tuple(kept))

    def encode(self, arch: ArchSpec) -> str:
        """`Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=...)`.

        What an edge holds that no node kept is not in it.
        """
        return write_genotype({kind: self.kept_pairs(arch, kind) for kind in KINDS})

    def decode(self, text: str) -> ArchSpec:
        """Edges that no node keeps hold their first candidate."""
        try:
            return self._from_pairs(read_genotype(text))
        except (ValueError, TypeError) as error:
            raise UserError(
                f"not a genotype of {self.name}: {text!r}: {error}; expected Genotype(normal=[(op, input), ...],"
                " normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6)), two pairs for each of the nodes"
                " 2 to 5"
            ) from error

    def kept_pairs(self, arch: ArchSpec, kind: str) -> list[tuple[str, int]]:
        """(op, source) of the edges of a kind of cell that are kept, two per node, by source."""
        pairs = []
        for i, (source, target) in enumerate(DARTS_ENDS):
            if str(source) in arch.kept[self._inputs(kind, target)]:
                pairs.append((arch.kept[self._op(kind, i)][0], source))
        return pairs

    def _from_pairs(self, pairs: KeptPairs) -> ArchSpec:
        kept: list[tuple[str, ...]] = [edge.candidates[:1] for edge in self.edges]
        for kind in KINDS:
            if len(pairs[kind]) != 2 * INNER_NODES:
                raise ValueError(f"{kind} has {len(pairs[kind])} pairs")
            for target in range(2, 2 + INNER_NODES):
                incoming = sorted(pairs[kind][2 * target - 4 : 2 * target - 2], key=lambda pair: pair[1])
                kept[self._inputs(kind, target)] = tuple(str(source) for _, source in incoming)
                for op, source in incoming:
                    if (source, target) not in DARTS_ENDS:
                        raise ValueError(f"{kind}, node {target} cannot have the input {source}")
                    kept[self._op(kind, DARTS_ENDS.index((source, target)))] = (op,)
        arch = ArchSpec(self.name, tuple(kept))
        self.single_path(arch)
        return arch

    def _op(self, kind: str, i: int) -> int:
        return KINDS.index(kind) * NUM_EDGES + i

    def _inputs(self, kind: str, target: int) -> int:
        return len(KINDS) * NUM_EDGES + KINDS.index(kind) * INNER_NODES + target - 2

    def _wiring(self, kind: str, edges: Sequence[Edge]) -> DartsWiring:
        ops = tuple(self._op(kind, i) for i in range(NUM_EDGES))
        inputs = {target: self._inputs(kind, target) for target in range(2, 2 + INNER_NODES)}
        sources = {target: tuple(int(source) for source in edges[index].candidates) for target, index in inputs.items()}
        return DartsWiring(ops, tuple(edges[index].candidates for index in ops), inputs, sources)


class DartsCells(Darts):
    """A normal and a reduction cell that read the image itself: what TE-NAS counts linear regions on."""

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        normal, reduction = (self._wiring(kind, edges) for kind in KINDS)
        channels = self.channels
        first = DartsCell(normal, (channels, channels), channels, False, halve_first=False, searching=True)
        before, channels = (channels, INNER_NODES * channels), 2 * channels
        second = DartsCell(reduction, before, channels, True, halve_first=False, searching=True)
        layers = {"image": Twice(), "cell0": first, "cell1": second, "pool": GlobalPool()}
        return Supernet(edges, layers, INNER_NODES * channels, num_classes)


def reductions(num_cells: int) -> tuple[int, int]:
    """The cells that halve the resolution."""
    return num_cells // 3, 2 * num_cells // 3


DARTS_SPACES = (
    Darts("darts", everywhere(*DARTS_OP_NAMES), op_weight=1 / 8),
    Darts("darts-imagenet", everywhere(*DARTS_OP_NAMES), op_weight=1 / 8, imagenet=True),
    Darts("darts-with-none", everywhere("none", *DARTS_OP_NAMES)),
    Darts("darts-s1", S1),
    Darts("darts-s2", everywhere("skip_connect", "sep_conv_3x3")),
    Darts("darts-s3", everywhere("none", "skip_connect", "sep_conv_3x3")),
    Darts("darts-s4", everywhere("noise", "sep_conv_3x3")),
)
"""The full space, with the CIFAR stem and with that for ImageNet, and the subspaces."""
SMALL_DARTS_SPACES = tuple(space.small for space in DARTS_SPACES)
"""`darts-small`, ...: the same in networks that are scored in no time, for smoke runs."""
