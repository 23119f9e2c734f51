"""The cell of the DARTS spaces, folded for fast evaluation.

A node is the sum of its edges, and each separable convolution ends in a pointwise one. So one code and one ReLU serve
all ops that read a node. The convolutions of one kind that lead to a node run side by side over the channels of all its
inputs. Their last pointwise ones are one matrix product over those channels, with the edge weights folded in. A node's
pools are computed once.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.engine.folded_cells import KEPT_NODES
from zcpt_ray.engine.folding import EdgeWeights, FoldedLayer, SeparateFolding
from zcpt_ray.engine.ops import CandidateOp, ReLUConvBN, fold_bn, scale_and_shift
from zcpt_ray.engine.relu_codes import ReluCode, active_code
from zcpt_ray.spaces.darts.node_terms import (
    NodeValues,
    PlainTerm,
    PoolTerm,
    ReducedTerm,
    SeparableTerm,
    Term,
    WeightedStages,
)
from zcpt_ray.spaces.darts.ops import FactorizedReduce, PoolBN, Separable, SeparableStage, pad_to_even
from zcpt_ray.spaces.darts.wiring import INNER_NODES, DartsWiring


class DartsCellFolding(SeparateFolding):
    """A DARTS cell whose batch norms are folded. `ops` maps an edge's position to its candidate ops."""

    def __init__(
        self,
        wiring: DartsWiring,
        ops: Mapping[int, Sequence[CandidateOp]],
        preprocess: Sequence[ReLUConvBN | FactorizedReduce],
        reduction: bool,
    ) -> None:
        self.wiring = wiring
        self.ops = ops
        self.preprocess = [FoldedPreprocess(module) for module in preprocess]
        self.reduction = reduction
        separable = [op for candidates in ops.values() for op in candidates if isinstance(op, Separable)]
        self.stages = {op: op.stages() for op in separable}
        self.node = lru_cache(KEPT_NODES)(self._node)

    def fold(self, weights: EdgeWeights) -> "FoldedDartsCell":
        relus = [0] * (1 + INNER_NODES)
        incoming: dict[int, list[tuple[int, CandidateOp, float]]] = {target: [] for target in range(2, 2 + INNER_NODES)}
        for i, source, target in self.wiring.edges():
            input_weight = self.wiring.input_weight(weights, source, target)
            for op, op_weight in zip(self.ops[i], weights[self.wiring.ops[i]], strict=True):
                if weight := input_weight * op_weight:
                    incoming[target].append((source, op, weight))
                    relus[source] += isinstance(op, Separable | FactorizedReduce)
        nodes = [self.node(tuple(parts)) for parts in incoming.values()]
        return FoldedDartsCell(self.preprocess, nodes, relus, self.reduction)

    def _node(self, parts: tuple[tuple[int, CandidateOp, float], ...]) -> "FoldedDartsNode":
        """Of what leads to it: source, op and weight."""
        plan = NodePlan()
        for source, op, weight in parts:
            if isinstance(op, Separable):
                plan.add_separable(source, self.stages[op], weight)
            else:
                plan.add(source, op, weight)
        return plan.fold()


class FoldedPreprocess:
    """What makes a cell's input of an earlier cell's output: ReLU and one convolution."""

    def __init__(self, written: ReLUConvBN | FactorizedReduce) -> None:
        if isinstance(written, FactorizedReduce):
            self.kernel, self.bias = written.kernel_and_bias()
            self.blocks, self.stride = 0, 2
        else:
            self.kernel, self.bias = fold_bn(written.conv.weight, written.bn)
            self.blocks, self.stride = 1, 1

    def __call__(self, x: Tensor) -> tuple[Tensor, ReluCode]:
        """[B, C, H, W] -> the cell's input, and the code of what the ReLU reads."""
        active = F.relu(x)
        code = ReluCode(active_code(active), 1, self.blocks)
        return F.conv2d(pad_to_even(active) if self.stride == 2 else active, self.kernel, self.bias, self.stride), code


class FoldedDartsCell(FoldedLayer):
    """A DARTS cell for fixed edge weights: its inner nodes one after another.

    `relus` counts, per node, the ReLUs that read it.
    """

    def __init__(
        self,
        preprocess: Sequence[FoldedPreprocess],
        nodes: Sequence["FoldedDartsNode"],
        relus: Sequence[int],
        reduction: bool,
    ) -> None:
        self.preprocess = preprocess
        self.nodes = nodes
        self.relus = [(node, count) for node, count in enumerate(relus) if count]
        self.reduction = reduction

    def __call__(self, x: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], list[ReluCode]]:
        inputs, read = zip(*(module(tensor) for module, tensor in zip(self.preprocess, x, strict=True)), strict=True)
        values, codes = NodeValues(list(inputs)), list(read)
        for node in self.nodes:
            values.append(node.value(values, codes, zeros_of_node(values.values, self.reduction)))
        codes += [ReluCode(active_code(values.active((node,))), count, 0) for node, count in self.relus]
        return (x[1], torch.cat(values.values[2:], dim=1)), codes


def zeros_of_node(values: Sequence[Tensor], reduction: bool) -> Tensor:
    """What an inner node is before anything is added; `values` are those of the nodes before it."""
    like = values[-1] if len(values) > 2 or not reduction else values[1][:, :, ::2, ::2]
    return torch.zeros_like(like, memory_format=torch.channels_last)


@dataclass(frozen=True)
class FoldedDartsNode:
    """An inner node as a sum: the biases [C] of all that leads to it, or None where there are none, and the terms."""

    bias: Tensor | None
    terms: Sequence[Term]

    def value(self, nodes: NodeValues, codes: list[ReluCode], zeros: Tensor) -> Tensor:
        """The node's value, added to `zeros` in place; codes are added to `codes`."""
        total = zeros if self.bias is None else zeros.add_(self.bias[:, None, None])
        for term in self.terms:
            term.add_to(total, nodes, codes)
        return total


class NodePlan:
    """What leads to one node, sorted by what can run as one."""

    def __init__(self) -> None:
        self.separable: dict[Hashable, list[WeightedStages]] = defaultdict(list)
        self.reduced: list[tuple[int, FactorizedReduce, float]] = []
        self.terms: list[Term] = []
        self.biases: list[Tensor] = []

    def add_separable(self, source: int, stages: tuple[SeparableStage, ...], weight: float) -> None:
        """Note that `weight` times a separable convolution of node `source` leads here."""
        self.separable[tuple(stage.shape for stage in stages)].append(WeightedStages(source, stages, weight))

    def add(self, source: int, op: CandidateOp, weight: float) -> None:
        """Note that `weight` times another `op` of node `source` leads here."""
        if isinstance(op, FactorizedReduce):
            self.reduced.append((source, op, weight))
        elif isinstance(op, PoolBN):
            scale: Tensor | float = weight
            if isinstance(op.bn, nn.BatchNorm2d):
                factor, shift = scale_and_shift(op.bn)
                scale = weight * factor[:, None, None]
                self.biases.append(weight * shift)
            self.terms.append(PoolTerm(source, op.pool, op.stride, scale))
        else:
            self.terms.append(PlainTerm(source, op, weight))

    def fold(self) -> FoldedDartsNode:
        """The node for this plan."""
        terms, biases = list(self.terms), list(self.biases)
        for group in self.separable.values():
            terms.append(SeparableTerm.of(group))
            biases.append(reduce(torch.add, (part.weight * part.stages[-1].bias for part in group)))
        if self.reduced:
            kernels, shifts = zip(*(op.kernel_and_bias() for _, op, _ in self.reduced), strict=True)
            weights = [weight for _, _, weight in self.reduced]
            kernel = torch.cat([weight * kernel for weight, kernel in zip(weights, kernels, strict=True)], dim=1)
            terms.append(ReducedTerm(tuple(source for source, _, _ in self.reduced), kernel))
            biases.append(reduce(torch.add, (weight * shift for weight, shift in zip(weights, shifts, strict=True))))
        return FoldedDartsNode(reduce(torch.add, biases) if biases else None, terms)
