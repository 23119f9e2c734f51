"""The DARTS space (Liu et al. 2019) and its subspaces S1 to S4 (Zela et al. 2020).

A network is a stack of normal and reduction cells; each kind of cell has four inner nodes, fourteen edges from earlier nodes to
these, and one decision about the op on each. Then each node keeps two of its inputs (topology selection of algorithm 1): while that
is open a node sums all of them. Normal and reduction cells are two lanes of each stage: a step decides one edge of either.
"""

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from zcpt_ray.arch import ArchSpec, Edge, Graph, PartialArch
from zcpt_ray.darts_cell import ENDS, NODES, DartsCell, Wiring
from zcpt_ray.darts_network import EvaluationNetwork
from zcpt_ray.errors import UserError
from zcpt_ray.layers import CifarStem, GlobalPool, ImageNetStem, Layer
from zcpt_ray.spaces.base import OpCosts, Space, Stage
from zcpt_ray.supernet import Supernet

OPS = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")
KINDS = ("normal", "reduce")
NUM_EDGES = len(ENDS)
NODE_NAMES = ("c(k-2)", "c(k-1)", *(str(node) for node in range(2, 2 + NODES)))
"""For people; the output is c(k)."""
STEM_MULTIPLIER = 3
"""Channels of the CIFAR stem, in units of C."""

Candidates = dict[str, tuple[tuple[str, ...], ...]]
"""Per kind of cell, the candidate ops of each of its 14 edges."""

S1: Candidates = {
    "normal": (
        ("skip_connect", "dil_conv_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "sep_conv_3x3"),
        ("skip_connect", "dil_conv_3x3"),
        ("max_pool_3x3", "skip_connect"),
        ("skip_connect", "sep_conv_3x3"),
        ("skip_connect", "sep_conv_3x3"),
        ("skip_connect", "dil_conv_3x3"),
        ("skip_connect", "sep_conv_3x3"),
        ("max_pool_3x3", "skip_connect"),
        ("skip_connect", "dil_conv_3x3"),
        ("dil_conv_3x3", "dil_conv_5x5"),
        ("dil_conv_3x3", "dil_conv_5x5"),
    ),
    "reduce": (
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "dil_conv_3x3"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "sep_conv_3x3"),
        ("skip_connect", "dil_conv_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("max_pool_3x3", "avg_pool_3x3"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "dil_conv_5x5"),
        ("skip_connect", "dil_conv_5x5"),
    ),
}
"""The two ops per edge that the first search of DARTS weighed most."""


def everywhere(*ops: str) -> Candidates:
    """The same candidates on every edge."""
    return dict.fromkeys(KINDS, (ops,) * NUM_EDGES)


class Darts(Space):
    """A space over DARTS cells: `num_cells` cells, of C = `channels` at first, those at 1/3 and 2/3 of the depth reduce.

    `share` is what an op of an open edge weighs. In `darts` it is 1/8: as in the released code of the paper, `none` takes part in
    the softmax, but not in the network, and cannot be kept; in `darts-with-none` it can. `imagenet`: a stem of three strided
    convolutions, for images of 224 px.
    """

    def __init__(
        self,
        name: str,
        candidates: Candidates,
        share: float | None = None,
        channels: int = 16,
        num_cells: int = 8,
        imagenet: bool = False,
    ) -> None:
        self.name = name
        self.candidates = candidates
        self.share = share
        self.channels = channels
        self.num_cells = num_cells
        self.imagenet = imagenet
        ops = [Edge(f"{kind}/{i}", candidates[kind][i], share=share) for kind in KINDS for i in range(NUM_EDGES)]
        inputs = [
            Edge(f"{kind}/node{target}", tuple(str(source) for source in range(target)), keep=2, share=1)
            for kind in KINDS
            for target in range(2, 2 + NODES)
        ]
        self.edges = (*ops, *inputs)

    @property
    def edge_titles(self) -> dict[str, str]:
        """By the nodes that an edge joins, as in `normal 3<-c(k-2)`."""
        ends = {f"{kind}/{i}": f"{kind} {NODE_NAMES[t]}<-{NODE_NAMES[s]}" for kind in KINDS for i, (s, t) in enumerate(ENDS)}
        return ends | {f"{kind}/node{node}": f"{kind} inputs of {node}" for kind in KINDS for node in range(2, 2 + NODES)}

    @property
    def stages(self) -> tuple[Stage, ...]:
        """First ops, then inputs of nodes; in either a lane for normal and one for reduction cells."""
        ops = tuple(tuple(self._op(kind, i) for i in range(NUM_EDGES)) for kind in KINDS)
        return ops, tuple(tuple(self._inputs(kind, target) for target in range(2, 2 + NODES)) for kind in KINDS)

    @property
    def small(self) -> "Darts":
        """The same choices in cells of 4 channels at first, 3 cells: for runs that only show that everything runs."""
        return Darts(f"{self.name}-small", self.candidates, self.share, channels=4, num_cells=3, imagenet=self.imagenet)

    @property
    def imagenet_form(self) -> "Darts | None":
        return None if self.imagenet else Darts(self.name, self.candidates, self.share, imagenet=True)

    def graphs(self, arch: ArchSpec) -> dict[str, Graph]:
        """Two cells; what leads to their output is put side by side there."""
        drawn = {}
        for kind in KINDS:
            pairs = self.kept_pairs(arch, kind)
            links = [(NODE_NAMES[source], NODE_NAMES[2 + i // 2], op) for i, (op, source) in enumerate(pairs)]
            drawn[kind] = [*links, *((name, "c(k)", "") for name in NODE_NAMES[2:])]
        return drawn

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        layers, features = self.layers(edges, self.channels, self.num_cells, searching=True)
        return Supernet(edges, {**layers, "pool": GlobalPool()}, features, num_classes)

    def layers(self, edges: tuple[Edge, ...], channels: int, num_cells: int, searching: bool) -> tuple[dict[str, Layer], int]:
        """Stem and cells of a network whose edges offer what `edges` say, and the channels of the last cell's output."""
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
            before, halve_first = (before[1], NODES * channels), reduction
        return layers, before[1]

    def trained_form(self, edges: tuple[Edge, ...], num_classes: int) -> EvaluationNetwork:
        """CIFAR: 20 cells, C = 36. ImageNet: 14 cells, C = 48. The auxiliary head is over the second reduction cell."""
        return self.evaluation_network(edges, num_classes)

    def evaluation_network(
        self,
        edges: tuple[Edge, ...],
        num_classes: int,
        channels: int | None = None,
        num_cells: int | None = None,
        auxiliary: bool = True,
    ) -> EvaluationNetwork:
        """The network that is trained, with affine batch norms, of the usual size or another; cells hold what `edges` offer."""
        usual_channels, usual_cells = (48, 14) if self.imagenet else (36, 20)
        channels, num_cells = channels or usual_channels, num_cells or usual_cells
        layers, features = self.layers(edges, channels, num_cells, searching=False)
        after = f"cell{reductions(num_cells)[1]}" if auxiliary else None
        return EvaluationNetwork(edges, layers, features, num_classes, after, self.imagenet)

    def used(self, arch: ArchSpec) -> Iterator[tuple[int, str]]:
        """Ops of edges that a node keeps."""
        for kind in KINDS:
            for i, (source, target) in enumerate(ENDS):
                if str(source) in arch.kept[self._inputs(kind, target)]:
                    yield self._op(kind, i), arch.kept[self._op(kind, i)][0]

    def cheapest(self, arch: PartialArch, costs: OpCosts) -> ArchSpec:
        """Every open node keeps the two inputs whose ops are cheapest."""
        kept = list(super().cheapest(arch, costs).kept)
        for kind in KINDS:
            for target in range(2, 2 + NODES):
                if arch.kept[self._inputs(kind, target)] is None:
                    into = {source: self._op(kind, i) for i, (source, end) in enumerate(ENDS) if end == target}
                    price = {s: costs[edge][self.edges[edge].candidates.index(kept[edge][0])] for s, edge in into.items()}
                    kept[self._inputs(kind, target)] = tuple(str(s) for s in sorted(sorted(price, key=price.__getitem__)[:2]))
        return ArchSpec(self.name, tuple(kept))

    def encode(self, arch: ArchSpec) -> str:
        """`Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))`.

        What an edge holds that no node kept is not in it.
        """
        parts = []
        for kind in KINDS:
            pairs = ", ".join(f"({op!r}, {source})" for op, source in self.kept_pairs(arch, kind))
            parts.append(f"{kind}=[{pairs}], {kind}_concat=range(2, {2 + NODES})")
        return f"Genotype({', '.join(parts)})"

    def decode(self, text: str) -> ArchSpec:
        """Edges that no node keeps hold their first candidate."""
        try:
            return self._from_pairs(_parse(text))
        except (ValueError, SyntaxError, TypeError, KeyError) as error:
            raise UserError(
                f"not a genotype of {self.name}: {text!r}: {error}; expected Genotype(normal=[(op, input), ...], "
                f"normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6)), two pairs for each of the nodes 2 to 5"
            ) from error

    def kept_pairs(self, arch: ArchSpec, kind: str) -> list[tuple[str, int]]:
        """(op, source) of the edges of a kind of cell that are kept, two per node, by source."""
        pairs = []
        for i, (source, target) in enumerate(ENDS):
            if str(source) in arch.kept[self._inputs(kind, target)]:
                pairs.append((arch.kept[self._op(kind, i)][0], source))
        return pairs

    def _from_pairs(self, pairs: dict[str, list[tuple[str, int]]]) -> ArchSpec:
        kept: list[tuple[str, ...]] = [edge.candidates[:1] for edge in self.edges]
        for kind in KINDS:
            if len(pairs[kind]) != 2 * NODES:
                raise ValueError(f"{kind} has {len(pairs[kind])} pairs")
            for target in range(2, 2 + NODES):
                incoming = sorted(pairs[kind][2 * target - 4 : 2 * target - 2], key=lambda pair: pair[1])
                kept[self._inputs(kind, target)] = tuple(str(source) for _, source in incoming)
                for op, source in incoming:
                    if (source, target) not in ENDS:
                        raise ValueError(f"{kind}, node {target} cannot have the input {source}")
                    kept[self._op(kind, ENDS.index((source, target)))] = (op,)
        arch = ArchSpec(self.name, tuple(kept))
        self.single_path(arch)
        return arch

    def _op(self, kind: str, i: int) -> int:
        return KINDS.index(kind) * NUM_EDGES + i

    def _inputs(self, kind: str, target: int) -> int:
        return len(KINDS) * NUM_EDGES + KINDS.index(kind) * NODES + target - 2

    def _wiring(self, kind: str, edges: Sequence[Edge]) -> Wiring:
        ops = tuple(self._op(kind, i) for i in range(NUM_EDGES))
        inputs = {target: self._inputs(kind, target) for target in range(2, 2 + NODES)}
        sources = {target: tuple(int(source) for source in edges[index].candidates) for target, index in inputs.items()}
        return Wiring(ops, tuple(edges[index].candidates for index in ops), inputs, sources)


def reductions(num_cells: int) -> tuple[int, int]:
    """The cells that halve the resolution."""
    return num_cells // 3, 2 * num_cells // 3


def _parse(text: str) -> dict[str, list[tuple[str, int]]]:
    """The lists of pairs of a genotype's text; nothing in it is executed."""
    call = ast.parse(text.strip(), mode="eval").body
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Genotype") or call.args:
        raise ValueError("no Genotype with named arguments")
    arguments = {keyword.arg: keyword.value for keyword in call.keywords}
    for kind in KINDS:
        if not _concat_is_all(arguments[f"{kind}_concat"]):
            raise ValueError(f"{kind}_concat must be range(2, {2 + NODES})")
    found: dict[str, list[tuple[str, int]]] = {}
    for kind in KINDS:
        found[kind] = [(str(op), int(source)) for op, source in ast.literal_eval(arguments[kind])]
    return found


def _concat_is_all(node: ast.expr) -> bool:
    numbers: Any = [ast.literal_eval(part) for part in node.args] if isinstance(node, ast.Call) else ast.literal_eval(node)
    return list(range(*numbers) if isinstance(node, ast.Call) else numbers) == list(range(2, 2 + NODES))


DARTS_SPACES = (
    Darts("darts", everywhere(*OPS), share=1 / 8),
    Darts("darts-imagenet", everywhere(*OPS), share=1 / 8, imagenet=True),
    Darts("darts-with-none", everywhere("none", *OPS)),
    Darts("darts-s1", S1),
    Darts("darts-s2", everywhere("skip_connect", "sep_conv_3x3")),
    Darts("darts-s3", everywhere("none", "skip_connect", "sep_conv_3x3")),
    Darts("darts-s4", everywhere("noise", "sep_conv_3x3")),
)
"""The full space, with the CIFAR stem and with that for ImageNet, and the subspaces."""
SMALL_DARTS_SPACES = tuple(space.small for space in DARTS_SPACES)
"""`darts-small`, ...: the same in networks that are scored in no time, for smoke runs."""
