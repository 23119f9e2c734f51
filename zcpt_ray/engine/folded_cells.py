"""Cells of linear ops, folded into few convolutions.

What an edge does is a convolution of its source's ReLU and a mixture of its source and its source's average pool: at
most two `LinearForm`s, the terms of the node that it ends in. Cells that read the same have many terms in common.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache, reduce
from itertools import takewhile

import torch
import torch.nn.functional as F
from torch import Tensor

from zcpt_ray.engine.convolutions import add_convolution, convolve
from zcpt_ray.engine.folding import EdgeWeights, Folding, JointFoldedLayer, SharedCode, StackedLayer
from zcpt_ray.engine.ops import LinearForm, LinearOp, ReLUConvBN, skip_and_pool, weighted_sum
from zcpt_ray.engine.relu_codes import ReluCode, active_code

KEPT_NODES = 64
"""How many nodes a cell keeps folded: those that variants and steps have in common are not folded again."""
Term = tuple[int, LinearForm]
"""What a node adds up: a source, and what is done to it. Forms that are made of the same weights are one object."""
UNCHANGED = LinearForm(skip=1.0)


class CellFolding(Folding):
    """A cell of linear ops.

    `ends` maps the index of an edge in the weights to (source node, target node), `ops` to its candidate ops.
    """

    joint = 8
    stacks = True

    def __init__(self, ends: Mapping[int, tuple[int, int]], ops: Mapping[int, Sequence[LinearOp]]) -> None:
        self.ends = ends
        self.candidates = {index: [op.linear_form() for op in candidates] for index, candidates in ops.items()}
        self.num_nodes = 1 + max(target for _, target in ends.values())
        self.blocks = [0] * self.num_nodes  # per node, the ReLU-conv-BN blocks that have it as their input
        for index, (source, _) in ends.items():
            self.blocks[source] += sum(isinstance(op, ReLUConvBN) for op in ops[index])
        self.node = lru_cache(KEPT_NODES)(FoldedNode)
        self.form = lru_cache(KEPT_NODES)(self._form)

    def fold_jointly(self, weights: Sequence[EdgeWeights]) -> "JointCells":
        return JointCells([self._cell(each) for each in weights], self.node)

    def fold_stacked(self, weights: Sequence[EdgeWeights]) -> "StackedCells":
        return StackedCells([self._cell(each) for each in weights], self.node)

    def _cell(self, weights: EdgeWeights) -> "FoldedCell":
        terms: list[list[Term]] = [[] for _ in range(self.num_nodes)]
        relus = [0] * self.num_nodes
        for index, (source, target) in self.ends.items():
            for convolves in (True, False):
                kinds = [(form.kernel is not None) is convolves for form in self.candidates[index]]
                form = self.form(index, tuple(w * kind for w, kind in zip(weights[index], kinds, strict=True)))
                if form is not None:
                    terms[target].append((source, form))
                    relus[source] += form.relus
        return FoldedCell([tuple(each) for each in terms[1:]], relus, self.blocks)

    def _form(self, index: int, weights: tuple[float, ...]) -> LinearForm | None:
        """The weighted sum of an edge's ops; None where it is nothing."""
        return weighted_sum(self.candidates[index], weights) if any(weights) else None


class FoldedCell:
    """A cell for fixed edge weights: the terms of its nodes, and the ReLUs and ReLU-conv-BN blocks that read a node."""

    def __init__(self, nodes: Sequence[tuple[Term, ...]], relus: Sequence[int], blocks: Sequence[int]) -> None:
        self.nodes = nodes
        self.reads = [(node, *counts) for node, counts in enumerate(zip(relus, blocks, strict=True)) if any(counts)]


class JointCells(JointFoldedLayer):
    """Cells that read the same: a sum that several of them begin with runs once.

    `sums` run one after another. Their sources count values: 0 is what the cells read, then come the sums before.
    """

    def __init__(self, cells: Sequence[FoldedCell], node: Callable[[tuple[Term, ...]], "FoldedNode"]) -> None:
        self.node = node
        self.sums: list[FoldedNode] = []
        values = [[0] for _ in cells]  # per cell, of each of its nodes
        for number in range(len(cells[0].nodes)):
            terms = [
                [(known[source], form) for source, form in cell.nodes[number]]
                for cell, known in zip(cells, values, strict=True)
            ]
            holders = Counter(term for each in terms for term in each)
            ordered = {position: sorted(each, key=lambda term: -holders[term]) for position, each in enumerate(terms)}
            for position, value in self._add(ordered).items():
                values[position].append(value)
        self.outputs = [known[-1] for known in values]
        reads: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for position, (cell, known) in enumerate(zip(cells, values, strict=True)):
            for read, relus, blocks in cell.reads:
                reads[known[read], relus, blocks].append(position)
        self.reads = {read: tuple(positions) for read, positions in reads.items()}

    def __call__(self, x: Tensor) -> tuple[list[Tensor], list[SharedCode]]:
        values = [NodeValue(x)]
        for each in self.sums:
            values.append(NodeValue(each.value(values)))
        codes = {value: active_code(values[value].active) for value in {value for value, _, _ in self.reads}}
        shared = [
            (ReluCode(codes[value], relus, blocks, blocks - relus), positions)
            for (value, relus, blocks), positions in self.reads.items()
        ]
        return [values[value].value for value in self.outputs], shared

    def _add(self, terms: Mapping[int, Sequence[Term]], start: tuple[Term, ...] = ()) -> dict[int, int]:
        """By cell, the value that is the sum of `start` and its terms; sums that are not there yet are added."""
        shared = [
            each[0] for each in takewhile(lambda column: len(set(column)) == 1, zip(*terms.values(), strict=False))
        ]
        left = {cell: each[len(shared) :] for cell, each in terms.items()}
        if shared or not any(left.values()):
            self.sums.append(self.node((*start, *shared)))
            start = ((len(self.sums), UNCHANGED),)
        if not any(left.values()):
            return dict.fromkeys(terms, len(self.sums))
        branches: dict[Term | None, dict[int, Sequence[Term]]] = defaultdict(dict)
        for cell, each in left.items():
            branches[each[0] if each else None][cell] = each
        return {cell: value for branch in branches.values() for cell, value in self._add(branch, start).items()}


class StackedCells(StackedLayer):
    """Foldings of one cell, each with a state of its own: nodes that are folded alike run once for all."""

    def __init__(self, cells: Sequence[FoldedCell], node: Callable[[tuple[Term, ...]], "FoldedNode"]) -> None:
        self.cells = cells
        self.nodes = [[node(terms) for terms in cell.nodes] for cell in cells]

    def __call__(self, x: Tensor) -> tuple[Tensor, list[list[ReluCode]]]:
        values = [NodeValue(x)]
        for nodes in zip(*self.nodes, strict=True):
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
        if (skip, pool) == (1, 0):
            return self.value
        if (skip, pool) not in self.mixtures:
            self.mixtures[skip, pool] = skip_and_pool(self.value, skip, pool) if pool else self.value * skip
        return self.mixtures[skip, pool]


class FoldedNode:
    """A node as the sum of its terms.

    On a CPU, where a convolution adds to what is there, each edge has its own. On a GPU kernels of one size are joined
    along their input channels, so that one convolution sums over the sources too.
    """

    def __init__(self, terms: tuple[Term, ...]) -> None:
        self.linear = [(source, form.skip, form.pool) for source, form in terms if form.skip or form.pool]
        biases = [form.bias for _, form in terms if form.bias is not None]
        self.bias = reduce(torch.add, biases) if biases else None
        kernels = [([source], form.kernel) for source, form in terms if form.kernel is not None]
        self.accumulates = all(kernel.device.type == "cpu" for _, kernel in kernels)
        self.convs = kernels if self.accumulates else _joined(kernels)

    def value(self, nodes: Sequence[NodeValue]) -> Tensor:
        """The node's value, from those of the nodes before it."""
        mixtures = [nodes[source].mixture(skip, pool) for source, skip, pool in self.linear]
        convs, bias = self.convs, self.bias
        if not convs:
            return _sum_of(mixtures) if mixtures else torch.zeros_like(nodes[0].value)
        if self.accumulates and mixtures:
            total = _sum_of(mixtures) if len(mixtures) > 1 else mixtures[0].clone()
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


def _sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor as it is, more of them added to a new one."""
    if len(tensors) == 1:
        return tensors[0]
    total = tensors[0] + tensors[1]
    for tensor in tensors[2:]:
        total.add_(tensor)
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
