"""Cells whose nodes are sums of edges of candidate ops, folded into few convolutions for fast evaluation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.arch import Edge
from zcpt_ray.layers import EdgeWeights, Folded, Layer, ReluCode, active_code
from zcpt_ray.ops import OPS, CandidateOp, LinearForm, LinearOp, ReLUConvBN, box_sum_3x3, weighted_sum


class MixedOp(nn.Module):
    """The candidate ops of one edge, mixed by its weights (numbers, or tensors that are being trained)."""

    def __init__(self, ops: Mapping[str, CandidateOp]) -> None:
        super().__init__()
        self.ops = list(ops.values())
        for name, op in ops.items():
            self.add_module(name, op)

    def forward(self, x: Tensor, weights: Sequence[float]) -> Tensor | None:
        """The weighted sum of what the ops give, or None if none gives anything."""
        outputs = [(weight, op(x, active=bool(weight > 0))) for weight, op in zip(weights, self.ops, strict=True)]
        total: Tensor | None = None
        for weight, output in outputs:
            if output is not None:
                total = scaled(output, weight) if total is None else total + scaled(output, weight)
        return total


class Cell(Layer):
    """A graph of nodes; a node is the sum of the edges that end in it, and the last node is the output.

    `edges` maps the index of an edge in the weights to (edge, source node, target node); node 0 is the input. `ops` makes a
    candidate op for a number of channels. Where each is a `LinearOp` the cell folds into few convolutions.
    """

    def __init__(
        self, edges: dict[int, tuple[Edge, int, int]], channels: int, ops: Mapping[str, Callable[[int], CandidateOp]] = OPS
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

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        candidates: dict[int, list[LinearForm]] = {}
        for index, ops in self.candidate_ops().items():
            candidates[index] = [op.linear_form() for op in ops if isinstance(op, LinearOp)]
            if len(candidates[index]) < len(ops):
                return super().folding()

        @cache
        def edge_form(index: int, weights: tuple[float, ...]) -> LinearForm:
            return weighted_sum(candidates[index], weights)

        def fold(weights: EdgeWeights) -> Folded:
            forms = {(source, target): edge_form(i, weights[i]) for i, (_, source, target) in self.edges.items()}
            sums = [_NodeSum({s: form for (s, t), form in forms.items() if t == node}) for node in range(1, self.num_nodes)]
            counts = [self._count_reads(source, forms) for source in range(self.num_nodes - 1)]

            def run(x: Tensor) -> tuple[Tensor, list[ReluCode]]:
                nodes = [_Node(x)]
                for node_sum in sums:
                    nodes.append(_Node(node_sum(nodes)))
                read = [(node, reads) for node, reads in zip(nodes, counts, strict=False) if any(reads)]
                return nodes[-1].value, [ReluCode(active_code(node.active), *reads) for node, reads in read]

            return run

        return fold

    def _mixed(self, edge: Edge) -> MixedOp:
        mixed = self.get_submodule(edge.name)
        assert isinstance(mixed, MixedOp)
        return mixed

    def _count_reads(self, source: int, forms: dict[tuple[int, int], LinearForm]) -> tuple[int, int, int]:
        """How many ReLUs, blocks and silent ReLUs read a node."""
        outgoing = [op for edge, start, _ in self.edges.values() if start == source for op in self._mixed(edge).ops]
        blocks = sum(isinstance(op, ReLUConvBN) for op in outgoing)
        relus = sum(form.relus for (start, _), form in forms.items() if start == source)
        return relus, blocks, blocks - relus


def scaled(x: Tensor, weight: float) -> Tensor:
    """`weight` (a number, or a tensor that is being trained) times `x`, for nothing where that is x."""
    return x if isinstance(weight, float) and weight == 1 else weight * x


def add_up(outputs: Iterable[Tensor | None], like: Tensor) -> Tensor:
    """Their sum; zeros `like` that tensor if there is none."""
    total: Tensor | None = None
    for output in outputs:
        if output is not None:
            total = output if total is None else total + output
    return torch.zeros_like(like) if total is None else total


class _Node:
    """A node's value and what several of its readers need of it, computed once."""

    def __init__(self, value: Tensor) -> None:
        self.value = value

    @cached_property
    def active(self) -> Tensor:
        return F.relu(self.value)

    @cached_property
    def box(self) -> tuple[Tensor, Tensor]:
        return box_sum_3x3(self.value)


class _NodeSum:
    """The value of a node from earlier ones; `forms` maps a source node to the folded edge from it.

    Kernels of one size are joined along their input channels, so that one convolution sums over the sources too.
    """

    def __init__(self, forms: dict[int, LinearForm]) -> None:
        self.forms = forms
        self.convs: list[tuple[list[int], Tensor, Tensor]] = []
        for size in (1, 3):
            pairs = [(s, f.kernel, f.bias) for s, f in forms.items() if f.kernel is not None and f.kernel.shape[-1] == size]
            if pairs:
                sources, kernels, biases = zip(*pairs, strict=True)
                kernel = torch.cat(kernels, dim=1).contiguous(memory_format=torch.channels_last)
                self.convs.append((list(sources), kernel, torch.stack(biases).sum(0)))

    def __call__(self, nodes: list[_Node]) -> Tensor:
        total: Tensor | None = None
        for sources, kernel, bias in self.convs:
            active = [nodes[source].active for source in sources]
            joined = active[0] if len(active) == 1 else torch.cat(active, dim=1)
            output = F.conv2d(joined, kernel, bias, padding=kernel.shape[-1] // 2)
            total = output if total is None else total.add_(output)
        if total is None:
            total = torch.zeros_like(nodes[0].value)
        for source, form in self.forms.items():
            if form.skip:
                total.add_(nodes[source].value, alpha=form.skip)
            if form.pool:
                box, inverse_count = nodes[source].box
                total.addcmul_(box, form.pool * inverse_count)
        return total
