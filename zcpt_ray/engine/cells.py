"""Cells whose nodes are sums of edges of candidate ops, as they are written and folded into few convolutions."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache, reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.arch import Edge
from zcpt_ray.engine.convolutions import add_convolution, convolve
from zcpt_ray.engine.folding import EdgeWeights, FoldedLayer, Folding, SeparateFolding, StackedLayer
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.ops import CELL_OPS, CandidateOp, LinearForm, LinearOp, ReLUConvBN, skip_and_pool, weighted_sum
from zcpt_ray.engine.relu_codes import ReluCode, active_code

KEPT_NODES = 64
"""How many nodes a cell keeps folded: those that variants and steps have in common are not folded again."""


class MixedOp(nn.Module):
    """The candidate ops of one edge, mixed by its weights (numbers, or tensors that are being trained)."""

    def __init__(self, ops: Mapping[str, CandidateOp]) -> None:
        super().__init__()
        self.ops = list(ops.values())
        for name, op in ops.items():
            self.add_module(name, op)

    def forward(self, x: Tensor, weights: Sequence[float]) -> Tensor | None:
        """The weighted sum of what the ops give, or None if none gives anything."""
        outputs = [(weight, op(x, active=takes_part(weight))) for weight, op in zip(weights, self.ops, strict=True)]
        total: Tensor | None = None
        for weight, output in outputs:
            if output is not None:
                total = scaled(output, weight) if total is None else total + scaled(output, weight)
        return total


class Cell(Layer):
    """A graph of nodes; a node is the sum of the edges that end in it, and the last node is the output.

    `edges` maps the index of an edge in the weights to (edge, source node, target node); node 0 is the input. `ops`
    makes a candidate op for a number of channels. Where each is a `LinearOp` the cell folds into few convolutions.
    """

    def __init__(
        self,
        edges: dict[int, tuple[Edge, int, int]],
        channels: int,
        ops: Mapping[str, Callable[[int], CandidateOp]] = CELL_OPS,
    ) -> None:
        super().__init__()
        self.edges = edges
        self.num_nodes = 1 + max(target for _, _, target in edges.values())
        for edge, _, _ in edges.values():
            self.add_module(edge.name, MixedOp({op: ops[op](channels) for op in edge.candidates}))

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        nodes = [x]
        for node in range(1, self.num_nodes):
            incoming = [(i, edge, source) for i, (edge, source, target) in self.edges.items() if target == node]
            outputs = (self._mixed(edge)(nodes[source], weights[i]) for i, edge, source in incoming)
            nodes.append(add_up(outputs, like=x))
        return nodes[-1]

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        return {index: self._mixed(edge).ops for index, (edge, _, _) in self.edges.items()}

    def folding(self) -> Folding:
        ops: dict[int, list[LinearOp]] = {}
        for index, candidates in self.candidate_ops().items():
            ops[index] = [op for op in candidates if isinstance(op, LinearOp)]
            if len(ops[index]) < len(candidates):
                return super().folding()
        return CellFolding({index: (source, target) for index, (_, source, target) in self.edges.items()}, ops)

    def _mixed(self, edge: Edge) -> MixedOp:
        mixed = self.get_submodule(edge.name)
        assert isinstance(mixed, MixedOp)
        return mixed


def takes_part(weight: float | Tensor) -> bool:
    """Whether something of this weight is there at all. What was removed weighs 0; a tensor is a weight in training.

    Nobody looks into the tensor: on a GPU that would wait for all that runs there.
    """
    return isinstance(weight, Tensor) or weight > 0


def scaled(x: Tensor, weight: float | Tensor) -> Tensor:
    """`weight` times `x`; `x` itself where the weight is the number 1. A weight that is being trained is a tensor."""
    return x if isinstance(weight, float) and weight == 1 else weight * x


def add_up(outputs: Iterable[Tensor | None], like: Tensor) -> Tensor:
    """The sum of what there is; zeros of the shape of `like` where there is nothing."""
    total: Tensor | None = None
    for output in outputs:
        if output is not None:
            total = output if total is None else total + output
    return torch.zeros_like(like) if total is None else total


class CellFolding(SeparateFolding):
    """A cell of linear ops: what an edge does is one `LinearForm`, made once for each choice of its weights.

    `ends` maps the index of an edge in the weights to (source node, target node), `ops` to its candidate ops.
    """

    stacks = True

    def __init__(self, ends: Mapping[int, tuple[int, int]], ops: Mapping[int, Sequence[LinearOp]]) -> None:
        self.ends = ends
        self.candidates = {index: [op.linear_form() for op in candidates] for index, candidates in ops.items()}
        self.num_nodes = 1 + max(target for _, target in ends.values())
        self.blocks = [0] * self.num_nodes  # per node, the ReLU-conv-BN blocks that have it as their input
        for index, (source, _) in ends.items():
            self.blocks[source] += sum(isinstance(op, ReLUConvBN) for op in ops[index])
        self.node = lru_cache(KEPT_NODES)(self._node)
        self.edge_form = lru_cache(KEPT_NODES)(self._edge_form)

    def fold(self, weights: EdgeWeights) -> "FoldedCell":
        incoming: list[list[tuple[int, int, tuple[float, ...]]]] = [[] for _ in range(self.num_nodes)]
        relus = [0] * self.num_nodes
        for index, (source, target) in self.ends.items():
            incoming[target].append((index, source, weights[index]))
            relus[source] += self.edge_form(index, weights[index]).relus
        return FoldedCell([self.node(tuple(edges)) for edges in incoming[1:]], relus, self.blocks)

    def fold_stacked(self, weights: Sequence[EdgeWeights]) -> "StackedCells":
        return StackedCells([self.fold(each) for each in weights])

    def _node(self, edges: tuple[tuple[int, int, tuple[float, ...]], ...]) -> "FoldedNode":
        """Of the edges that end in it, each with its index, its source and its weights."""
        return FoldedNode([(source, self.edge_form(index, weights)) for index, source, weights in edges])

    def _edge_form(self, index: int, weights: tuple[float, ...]) -> LinearForm:
        return weighted_sum(self.candidates[index], weights)


class FoldedCell(FoldedLayer):
    """The nodes of a cell one after another; per node, the ReLUs and the ReLU-conv-BN blocks that read it."""

    def __init__(self, nodes: Sequence["FoldedNode"], relus: Sequence[int], blocks: Sequence[int]) -> None:
        self.nodes = nodes
        self.reads = [(node, *counts) for node, counts in enumerate(zip(relus, blocks, strict=True)) if any(counts)]

    def __call__(self, x: Tensor) -> tuple[Tensor, list[ReluCode]]:
        values = [NodeValue(x)]
        for node in self.nodes:
            values.append(NodeValue(node.value(values)))
        codes = [
            ReluCode(active_code(values[node].active), relus, blocks, blocks - relus)
            for node, relus, blocks in self.reads
        ]
        return values[-1].value, codes


class StackedCells(StackedLayer):
    """Foldings of one cell, each with a state of its own: nodes that are folded alike run once for all."""

    def __init__(self, cells: Sequence[FoldedCell]) -> None:
        self.cells = cells

    def __call__(self, x: Tensor) -> tuple[Tensor, list[list[ReluCode]]]:
        values = [NodeValue(x)]
        for nodes in zip(*(cell.nodes for cell in self.cells), strict=True):
            values.append(NodeValue(self._stacked(nodes, values)))
        read = {node for cell in self.cells for node, _, _ in cell.reads}
        codes = {node: active_code(values[node].active).split(len(self.cells)) for node in read}
        return values[-1].value, [
            [ReluCode(codes[node][position], relus, blocks, blocks - relus) for node, relus, blocks in cell.reads]
            for position, cell in enumerate(self.cells)
        ]

    def _stacked(self, nodes: Sequence["FoldedNode"], values: Sequence["NodeValue"]) -> Tensor:
        """A node's values, of all cells."""
        if len(set(nodes)) == 1:
            return nodes[0].value(values)
        split = [value.split(len(nodes)) for value in values]
        return torch.cat([node.value([parts[position] for parts in split]) for position, node in enumerate(nodes)])


class NodeValue:
    """A node's value and what several of its readers need of it, computed once."""

    def __init__(self, value: Tensor) -> None:
        self.value = value
        self.mixtures: dict[tuple[float, float], Tensor] = {}

    @cached_property
    def active(self) -> Tensor:
        """Its ReLU."""
        return F.relu(self.value)

    def split(self, parts: int) -> list["NodeValue"]:
        """The same of equal parts of the images, in order."""
        split = [NodeValue(value) for value in self.value.chunk(parts)]
        for part, active in zip(split, self.active.chunk(parts), strict=True):
            part.active = active
        return split

    def mixture(self, skip: float, pool: float) -> Tensor:
        """`skip` times the value plus `pool` times its average pool; not to be changed."""
        if (skip, pool) not in self.mixtures:
            alone = self.value if skip == 1 else self.value * skip
            self.mixtures[skip, pool] = skip_and_pool(self.value, skip, pool) if pool else alone
        return self.mixtures[skip, pool]


class FoldedNode:
    """A node as the sum of its edges, each given as (source node, what the edge does).

    On a CPU, where a convolution adds to what is there, each edge has its own. On a GPU kernels of one size are joined
    along their input channels, so that one convolution sums over the sources too.
    """

    def __init__(self, forms: Sequence[tuple[int, LinearForm]]) -> None:
        self.linear = [(source, form.skip, form.pool) for source, form in forms if form.skip or form.pool]
        biases = [form.bias for _, form in forms if form.bias is not None]
        self.bias = reduce(torch.add, biases) if biases else None
        kernels = [([source], form.kernel) for source, form in forms if form.kernel is not None]
        self.accumulates = all(kernel.device.type == "cpu" for _, kernel in kernels)
        self.convs = kernels if self.accumulates else _joined(kernels)

    def value(self, nodes: Sequence[NodeValue]) -> Tensor:
        """The node's value, from those of the nodes before it."""
        mixtures = [nodes[source].mixture(skip, pool) for source, skip, pool in self.linear]
        convs, bias = self.convs, self.bias
        if not convs:
            return reduce(torch.add, mixtures) if mixtures else torch.zeros_like(nodes[0].value)
        if self.accumulates and mixtures:
            total = reduce(torch.add, mixtures) if len(mixtures) > 1 else mixtures[0].clone()
            mixtures = []
        else:
            (sources, kernel), *convs = convs
            total = convolve(_read(nodes, sources), kernel, bias, padding=kernel.shape[-1] // 2)
            bias = None
        for sources, kernel in convs:
            add_convolution(total, _read(nodes, sources), kernel, bias, padding=kernel.shape[-1] // 2)
            bias = None
        for mixture in mixtures:
            total.add_(mixture)
        return total


def _joined(kernels: Sequence[tuple[list[int], Tensor]]) -> list[tuple[list[int], Tensor]]:
    """Kernels of one size, each with the nodes it reads, as one over the channels of all of these."""
    by_size: dict[int, list[tuple[list[int], Tensor]]] = defaultdict(list)
    for sources, kernel in kernels:
        by_size[kernel.shape[-1]].append((sources, kernel))
    joined = []
    for group in by_size.values():
        kernel = torch.cat([part for _, part in group], dim=1).contiguous(memory_format=torch.channels_last)
        joined.append(([source for sources, _ in group for source in sources], kernel))
    return joined


def _read(nodes: Sequence[NodeValue], sources: Sequence[int]) -> Tensor:
    """What ReLUs give of some nodes, side by side."""
    active = [nodes[source].active for source in sources]
    return active[0] if len(active) == 1 else torch.cat(active, dim=1)
