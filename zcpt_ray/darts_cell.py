"""The cell of the DARTS spaces: as it is written, and folded for fast evaluation.

A node is the sum of its edges, and each separable convolution ends in a pointwise one. So one code and one ReLU serve all ops that
read a node; the convolutions of one kind that lead to a node run side by side over the channels of all its inputs, and their last
pointwise ones are one matrix product over those channels, with the edge weights folded in. A node's pools are computed once.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.cells import MixedOp, scaled
from zcpt_ray.darts_ops import DARTS_OPS, FactorizedReduce, Pool, PoolBN, Separable, Stage, max_pool, pad_to_even
from zcpt_ray.layers import EdgeWeights, Folded, Layer, ReluCode, active_code
from zcpt_ray.ops import CandidateOp, Noise, ReLUConvBN, Skip, box_sum_3x3, fold_bn, scale_and_shift

NODES = 4
"""Inner nodes of a cell, after its two inputs."""
ENDS = tuple((source, target) for target in range(2, 2 + NODES) for source in range(target))
"""Source and target node of each of the 14 edges; nodes 0 and 1 are the outputs of the two cells before."""


@dataclass(frozen=True)
class Wiring:
    """Which edges of a space a kind of cell has: `ops[i]` is the index of its i-th op edge, `inputs[n]` of node n's inputs.

    `candidates[i]` are the ops there are on op edge i, `sources[n]` the sources that node n may have.
    """

    ops: tuple[int, ...]
    candidates: tuple[tuple[str, ...], ...]
    inputs: dict[int, int]
    sources: dict[int, tuple[int, ...]]

    def edges(self) -> list[tuple[int, int, int]]:
        """(position, source, target) of the edges that there are."""
        return [(i, source, target) for i, (source, target) in enumerate(ENDS) if source in self.sources[target]]


class DartsCell(Layer):
    """(output of the cell before the last, output of the last cell) -> (the latter, this cell's output of 4C channels)."""

    def __init__(
        self, wiring: Wiring, in_channels: tuple[int, int], channels: int, reduction: bool, halve_first: bool, searching: bool
    ) -> None:
        super().__init__()
        self.wiring = wiring
        self.reduction = reduction
        self.drop_path: Tensor | None = None
        affine = not searching
        first, last = in_channels
        self.preprocess0 = FactorizedReduce(first, channels, affine) if halve_first else _preprocess(first, channels, affine)
        self.preprocess1 = _preprocess(last, channels, affine)
        for i, source, _ in wiring.edges():
            stride = 2 if reduction and source < 2 else 1
            self.add_module(f"edge{i}", MixedOp({op: DARTS_OPS[op](channels, stride, searching) for op in wiring.candidates[i]}))
        self.images_apart = not any(isinstance(module, Noise) for module in self.modules())

    def forward(self, x: tuple[Tensor, Tensor], weights: EdgeWeights) -> tuple[Tensor, Tensor]:
        nodes = [self.preprocess0(x[0]), self.preprocess1(x[1])]
        for target in range(2, 2 + NODES):
            total: Tensor | None = None
            for i, source, end in self.wiring.edges():
                if end == target and (weight := self._input_weight(weights, source, target)) > 0:
                    mixed = self._mixed(i)
                    output = mixed(nodes[source], weights[self.wiring.ops[i]])
                    if output is not None:
                        output = scaled(self._drop(output, mixed), weight)
                        total = output if total is None else total + output
            nodes.append(self._zeros(nodes) if total is None else total)
        return x[1], torch.cat(nodes[2:], dim=1)

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        return {self.wiring.ops[i]: self._mixed(i).ops for i, _, _ in self.wiring.edges()}

    def key(self, weights: EdgeWeights) -> Hashable:
        return super().key(weights), tuple(tuple(weights[index]) for index in self.wiring.inputs.values())

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        preprocess = [_folded_preprocess(module) for module in (self.preprocess0, self.preprocess1)]
        ops = [op for candidates in self.candidate_ops().values() for op in candidates]
        stages: dict[CandidateOp, tuple[Stage, ...]] = {op: op.stages() for op in ops if isinstance(op, Separable)}

        def fold(weights: EdgeWeights) -> Folded:
            relus = [0] * (1 + NODES)
            plans = {target: _NodePlan() for target in range(2, 2 + NODES)}
            for i, source, target in self.wiring.edges():
                share = self._input_weight(weights, source, target)
                for op, weight in zip(self._mixed(i).ops, weights[self.wiring.ops[i]], strict=True):
                    if share * weight:
                        plans[target].add(op, stages.get(op, ()), source, share * weight)
                        relus[source] += isinstance(op, Separable | FactorizedReduce)
            sums = {target: plan.finish() for target, plan in plans.items()}

            def run(x: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], list[ReluCode]]:
                codes: list[ReluCode] = []
                nodes = _Nodes([read(tensor, codes) for read, tensor in zip(preprocess, x, strict=True)])
                for node_sum in sums.values():
                    nodes.values.append(node_sum(nodes, codes, self._zeros(nodes.values)))
                codes += [ReluCode(active_code(nodes.active((node,))), count, 0) for node, count in enumerate(relus) if count]
                return (x[1], torch.cat(nodes.values[2:], dim=1)), codes

            return run

        return fold

    def _input_weight(self, weights: EdgeWeights, source: int, target: int) -> float:
        return weights[self.wiring.inputs[target]][self.wiring.sources[target].index(source)]

    def _mixed(self, position: int) -> MixedOp:
        mixed = self.get_submodule(f"edge{position}")
        assert isinstance(mixed, MixedOp)
        return mixed

    def _zeros(self, nodes: Sequence[Tensor]) -> Tensor:
        """What an inner node is before anything is added."""
        like = nodes[-1] if len(nodes) > 2 or not self.reduction else nodes[1][:, :, ::2, ::2]
        return torch.zeros_like(like, memory_format=torch.channels_last)

    def _drop(self, output: Tensor, mixed: MixedOp) -> Tensor:
        """Drop path: an edge that is not the identity gives nothing for some images, and more for the others."""
        if not self.training or self.drop_path is None or isinstance(mixed.ops[0], Skip):
            return output
        keep = 1 - self.drop_path
        kept = torch.bernoulli(keep.expand(len(output), 1, 1, 1))
        return output * (kept / keep).to(output.dtype)


def _preprocess(in_channels: int, channels: int, affine: bool) -> ReLUConvBN:
    return ReLUConvBN(in_channels, channels, 1, affine=affine)


def _folded_preprocess(module: ReLUConvBN | FactorizedReduce) -> Callable[[Tensor, list[ReluCode]], Tensor]:
    """What makes a cell's input of an earlier cell's output, and adds the code it reads to a list."""
    if isinstance(module, FactorizedReduce):
        kernel, bias = module.kernel_and_bias()
        blocks, stride = 0, 2
    else:
        kernel, bias = fold_bn(module.conv.weight, module.bn)
        blocks, stride = 1, 1

    def run(x: Tensor, codes: list[ReluCode]) -> Tensor:
        active = F.relu(x)
        codes.append(ReluCode(active_code(active), 1, blocks))
        return F.conv2d(pad_to_even(active) if stride == 2 else active, kernel, bias, stride)

    return run


class _Nodes:
    """The values of a cell's nodes so far, and what several ops read of them, computed once."""

    def __init__(self, values: list[Tensor]) -> None:
        self.values = values
        self.known: dict[Hashable, Tensor] = {}

    def active(self, sources: tuple[int, ...]) -> Tensor:
        """ReLU of some nodes, side by side: [B, len(sources) C, H, W]."""
        if sources not in self.known:
            if len(sources) == 1:
                self.known[sources] = F.relu(self.values[sources[0]])
            else:
                self.known[sources] = torch.cat([self.active((source,)) for source in sources], dim=1)
        return self.known[sources]

    def pooled(self, source: int, pool: Pool, stride: int) -> Tensor:
        """`pool` of a node."""
        key = source, pool, stride
        if key not in self.known:
            self.known[key] = fast_pool(pool, self.values[source], stride)
        return self.known[key]


Term = Callable[[_Nodes, list[ReluCode], Tensor], None]
"""Adds what some ops give to the value of their target, and the codes they see to a list."""


class _NodePlan:
    """What leads to one node, sorted by what can run as one."""

    def __init__(self) -> None:
        self.separable: dict[tuple[tuple[int, int, int], ...], list[tuple[int, tuple[Stage, ...], float]]] = defaultdict(list)
        self.reduced: list[tuple[int, FactorizedReduce, float]] = []
        self.terms: list[Term] = []
        self.bias: Tensor | float = 0.0

    def add(self, op: CandidateOp, stages: tuple[Stage, ...], source: int, weight: float) -> None:
        """Note that `op` leads here; `stages` are those of a separable one."""
        if isinstance(op, Separable):
            self.separable[tuple(stage.shape for stage in stages)].append((source, stages, weight))
        elif isinstance(op, FactorizedReduce):
            self.reduced.append((source, op, weight))
        elif isinstance(op, PoolBN):
            scale: Tensor | float = weight
            if isinstance(op.bn, nn.BatchNorm2d):
                factor, shift = scale_and_shift(op.bn)
                scale, self.bias = weight * factor[:, None, None], self.bias + weight * shift
            self.terms.append(partial(_add_pool, source, op, scale))
        else:
            self.terms.append(partial(_add_plain, source, op, weight))

    def finish(self) -> Callable[[_Nodes, list[ReluCode], Tensor], Tensor]:
        """(earlier nodes, codes so far, zeros) -> the node's value."""
        terms = list(self.terms)
        for group in self.separable.values():
            terms.append(_separable_term(group))
            self.bias = self.bias + sum(weight * stages[-1].bias for _, stages, weight in group)
        if self.reduced:
            kernels, biases = zip(*(op.kernel_and_bias() for _, op, _ in self.reduced), strict=True)
            weights = [weight for _, _, weight in self.reduced]
            kernel = torch.cat([weight * kernel for weight, kernel in zip(weights, kernels, strict=True)], dim=1)
            terms.append(partial(_add_reduced, tuple(source for source, _, _ in self.reduced), kernel))
            self.bias = self.bias + sum(weight * bias for weight, bias in zip(weights, biases, strict=True))
        bias = self.bias

        def node_sum(nodes: _Nodes, codes: list[ReluCode], zeros: Tensor) -> Tensor:
            total = zeros.add_(bias[:, None, None]) if isinstance(bias, Tensor) else zeros
            for term in terms:
                term(nodes, codes, total)
            return total

        return node_sum


def _separable_term(group: list[tuple[int, tuple[Stage, ...], float]]) -> Term:
    """Convolutions of equal shape that lead to one node run side by side; their last pointwise ones are one matrix product."""
    sources = tuple(source for source, _, _ in group)
    *first, last = zip(*(stages for _, stages, _ in group), strict=True)
    steps = [(_joined_depthwise(s), torch.cat([x.pointwise for x in s]), torch.cat([x.bias for x in s])) for s in first]
    depthwise = _joined_depthwise(last)
    joined = torch.cat([weight * stages[-1].pointwise for _, stages, weight in group], dim=1)[:, :, 0, 0].T.contiguous()

    def add(nodes: _Nodes, codes: list[ReluCode], total: Tensor) -> None:
        x = nodes.active(sources)
        for first_depthwise, pointwise, bias in steps:
            x = F.conv2d(first_depthwise(x), pointwise, bias, groups=len(sources))
            x = F.relu_(x)
            codes.append(ReluCode(active_code(x), 1, 0))
        _pixels(total).addmm_(_pixels(depthwise(x)), joined)

    return add


def _joined_depthwise(stages: Sequence[Stage]) -> Callable[[Tensor], Tensor]:
    """Depthwise convolutions of one shape, side by side."""
    size, stride, dilation = stages[0].shape
    kernel = torch.cat([stage.depthwise for stage in stages])
    return lambda x: F.conv2d(x, kernel, None, stride, dilation * (size // 2), dilation, groups=len(kernel))


def _pixels(x: Tensor) -> Tensor:
    """[B, C, H, W] in channels_last order -> the same memory as [B H W, C]."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _add_reduced(sources: tuple[int, ...], kernel: Tensor, nodes: _Nodes, codes: list[ReluCode], total: Tensor) -> None:
    total.add_(F.conv2d(pad_to_even(nodes.active(sources)), kernel, stride=2))


def _add_pool(source: int, op: PoolBN, scale: Tensor | float, nodes: _Nodes, codes: list[ReluCode], total: Tensor) -> None:
    pooled = nodes.pooled(source, op.pool, op.stride)
    total.addcmul_(pooled, scale) if isinstance(scale, Tensor) else total.add_(pooled, alpha=scale)


def _add_plain(source: int, op: CandidateOp, weight: float, nodes: _Nodes, codes: list[ReluCode], total: Tensor) -> None:
    if (output := op(nodes.values[source])) is not None:
        total.add_(output, alpha=weight)


def fast_pool(pool: Pool, x: Tensor, stride: int) -> Tensor:
    """The same as `pool(x, stride)`: with stride 1, from rows and columns shifted by one, which a CPU does several times faster."""
    if stride > 1:
        return pool(x, stride)
    if pool is max_pool:
        for dim in (2, 3):
            size = x.shape[dim]
            wider = x.clone(memory_format=torch.channels_last)
            torch.maximum(wider.narrow(dim, 1, size - 1), x.narrow(dim, 0, size - 1), out=wider.narrow(dim, 1, size - 1))
            torch.maximum(wider.narrow(dim, 0, size - 1), x.narrow(dim, 1, size - 1), out=wider.narrow(dim, 0, size - 1))
            x = wider
        return x
    box, inverse_count = box_sum_3x3(x)
    return box.mul_(inverse_count)
