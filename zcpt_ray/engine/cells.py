"""Cells whose nodes are sums of edges of candidate ops."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from zcpt_ray.arch import Edge
from zcpt_ray.engine.folded_cells import CellFolding
from zcpt_ray.engine.folding import EdgeWeights, Folding
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.ops import CELL_OPS, CandidateOp, LinearOp


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
