"""The cell of the DARTS spaces: as it is written, and folded for fast evaluation.

A node is the sum of its edges, and each separable convolution ends in a pointwise one. So one code and one ReLU serve all ops that
read a node; the depthwise convolutions of one kind that read it run as one; and what enters a node is one matrix product over the
channels of all its edges' ops, with the edge weights folded in. Pools and skips are computed once per node.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.cells import MixedOp
from zcpt_ray.darts_ops import DARTS_OPS, FactorizedReduce, PoolBN, Separable, SkipConnect, Stage, max_pool, pad_to_even
from zcpt_ray.layers import EdgeWeights, Folded, Layer, ReluCode, relu_code
from zcpt_ray.ops import CandidateOp, Noise, ReLUConvBN, box_sum_3x3, fold_bn, scale_and_shift

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
        self.drop_path = 0.0
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
                        output = weight * self._drop(output, mixed)
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
            readers = [_Readers() for _ in range(1 + NODES)]
            for i, source, target in self.wiring.edges():
                share = self._input_weight(weights, source, target)
                for op, weight in zip(self._mixed(i).ops, weights[self.wiring.ops[i]], strict=True):
                    if share * weight:
                        readers[source].add(op, stages.get(op, ()), target, share * weight)
            sums = {target: _NodeSum() for target in range(2, 2 + NODES)}
            plans = [node_readers.plan(sums) for node_readers in readers]

            def run(x: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], list[ReluCode]]:
                codes: list[ReluCode] = []
                nodes = [read(tensor, codes) for read, tensor in zip(preprocess, x, strict=True)]
                into = {target: _Arrived() for target in sums}
                for source, plan in enumerate(plans):
                    if source in sums:
                        nodes.append(sums[source](into.pop(source), self._zeros(nodes)))
                    plan(nodes[source], codes, into)
                nodes.append(sums[1 + NODES](into.pop(1 + NODES), self._zeros(nodes)))
                return (x[1], torch.cat(nodes[2:], dim=1)), codes

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
        if not (self.training and self.drop_path) or isinstance(mixed.ops[0], SkipConnect):
            return output
        kept = torch.empty(len(output), 1, 1, 1, device=output.device).bernoulli_(1 - self.drop_path)
        return output * kept / (1 - self.drop_path)


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
        codes.append(ReluCode(relu_code(x), 1, blocks))
        active = F.relu(x) if stride == 1 else pad_to_even(F.relu(x))
        return F.conv2d(active, kernel, bias, stride)

    return run


@dataclass
class _Arrived:
    """What ops give to a node: tensors that a matrix product is still to join, and tensors to be added with a weight."""

    factors: list[Tensor] = field(default_factory=list)
    terms: list[tuple[Tensor, float | Tensor]] = field(default_factory=list)


class _NodeSum:
    """Turns what has arrived at a node into its value: pointwise kernels in the order in which their inputs arrive."""

    def __init__(self) -> None:
        self.kernels: list[Tensor] = []
        self.biases: list[Tensor] = []

    @cached_property
    def kernel(self) -> Tensor:
        return torch.cat(self.kernels, dim=1)

    @cached_property
    def bias(self) -> Tensor:
        return torch.stack(self.biases).sum(0)

    def __call__(self, arrived: _Arrived, zeros: Tensor) -> Tensor:
        if arrived.factors:
            total = F.conv2d(torch.cat(arrived.factors, dim=1), self.kernel, self.bias)
        else:
            total = zeros + self.bias[:, None, None] if self.biases else zeros
        for term, weight in arrived.terms:
            total.addcmul_(term, weight) if isinstance(weight, Tensor) else total.add_(term, alpha=weight)
        return total


Plan = Callable[[Tensor, list[ReluCode], dict[int, _Arrived]], None]
"""Runs all ops that read a node: adds the codes they see to a list, and what they give to what has arrived at their targets."""


class _Readers:
    """The ops that read one node, sorted by what they share."""

    def __init__(self) -> None:
        self.relus = 0
        self.separable: dict[tuple[tuple[int, int, int], ...], list[tuple[tuple[Stage, ...], int, float]]] = defaultdict(list)
        self.reduced: list[tuple[FactorizedReduce, int, float]] = []
        self.pools: dict[Callable[[Tensor, int], Tensor], list[tuple[PoolBN, int, float]]] = defaultdict(list)
        self.others: list[tuple[CandidateOp, int, float]] = []

    def add(self, op: CandidateOp, stages: tuple[Stage, ...], target: int, weight: float) -> None:
        """Note that `op` leads to `target`; `stages` are those of a separable one."""
        self.relus += isinstance(op, Separable | FactorizedReduce)
        if isinstance(op, Separable):
            self.separable[tuple(stage.shape for stage in stages)].append((stages, target, weight))
        elif isinstance(op, FactorizedReduce):
            self.reduced.append((op, target, weight))
        elif isinstance(op, PoolBN):
            self.pools[op.pool].append((op, target, weight))
        else:
            self.others.append((op, target, weight))

    def plan(self, sums: dict[int, _NodeSum]) -> Plan:
        """A function that runs them; the pointwise kernels that end in a node are handed to its sum, in the order of running."""
        separable = [_separable_plan(group, sums) for group in self.separable.values()]
        reduced = [_reduced_plan(self.reduced)] if self.reduced else []
        others = [_pool_plan(group, sums) for group in self.pools.values()] + [_plain_plan(*other) for other in self.others]

        def run(x: Tensor, codes: list[ReluCode], into: dict[int, _Arrived]) -> None:
            if self.relus:
                codes.append(ReluCode(relu_code(x), self.relus, 0))
                active = F.relu(x)
                for plan in (*separable, *reduced):
                    plan(active, codes, into)
            for plan in others:
                plan(x, codes, into)

        return run


def _separable_plan(group: list[tuple[tuple[Stage, ...], int, float]], sums: dict[int, _NodeSum]) -> Plan:
    """Convolutions of equal shape over one ReLU output, to several targets: they run side by side, up to the last pointwise one."""
    count, targets = len(group), [target for _, target, _ in group]
    steps = []
    for stages in zip(*(stages for stages, _, _ in group), strict=True):
        size, stride, dilation = stages[0].shape
        depthwise = torch.cat([stage.depthwise for stage in stages])
        pointwise, bias = torch.cat([stage.pointwise for stage in stages]), torch.cat([stage.bias for stage in stages])
        steps.append((depthwise, stride, dilation * (size // 2), dilation, pointwise, bias))
    for stages, target, weight in group:
        sums[target].kernels.append(weight * stages[-1].pointwise)
        sums[target].biases.append(weight * stages[-1].bias)

    def run(active: Tensor, codes: list[ReluCode], into: dict[int, _Arrived]) -> None:
        channels = active.shape[1]
        x = torch.cat([active] * count, dim=1) if count > 1 else active
        for depthwise, stride, padding, dilation, pointwise, bias in steps[:-1]:
            x = F.conv2d(x, depthwise, None, stride, padding, dilation, groups=len(depthwise))
            x = F.conv2d(x, pointwise, bias, groups=count)
            codes.append(ReluCode(relu_code(x), 1, 0))
            x = F.relu_(x)
        depthwise, stride, padding, dilation, _, _ = steps[-1]
        x = F.conv2d(x, depthwise, None, stride, padding, dilation, groups=len(depthwise))
        for position, target in enumerate(targets):
            into[target].factors.append(x[:, position * channels : (position + 1) * channels])

    return run


def _reduced_plan(group: list[tuple[FactorizedReduce, int, float]]) -> Plan:
    """Strided skips, to several targets, as one convolution."""
    kernels, biases = zip(*(op.kernel_and_bias() for op, _, _ in group), strict=True)
    kernel, bias = torch.cat(kernels), torch.cat(biases)

    def run(active: Tensor, codes: list[ReluCode], into: dict[int, _Arrived]) -> None:
        x = F.conv2d(pad_to_even(active), kernel, bias, stride=2)
        for (_, target, weight), part in zip(group, x.chunk(len(group), dim=1), strict=True):
            into[target].terms.append((part, weight))

    return run


def _pool_plan(group: list[tuple[PoolBN, int, float]], sums: dict[int, _NodeSum]) -> Plan:
    """Pools of one kind, to several targets, which differ in their batch norms only."""
    pool, stride = group[0][0].pool, group[0][0].stride
    scales: list[tuple[int, float | Tensor]] = []
    for op, target, weight in group:
        if isinstance(op.bn, nn.BatchNorm2d):
            scale, shift = scale_and_shift(op.bn)
            scales.append((target, (weight * scale)[:, None, None]))
            sums[target].biases.append(weight * shift)
        else:
            scales.append((target, weight))

    def run(x: Tensor, codes: list[ReluCode], into: dict[int, _Arrived]) -> None:
        pooled = fast_pool(pool, x, stride)
        for target, scale in scales:
            into[target].terms.append((pooled, scale))

    return run


def fast_pool(pool: Callable[[Tensor, int], Tensor], x: Tensor, stride: int) -> Tensor:
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


def _plain_plan(op: CandidateOp, target: int, weight: float) -> Plan:
    def run(x: Tensor, codes: list[ReluCode], into: dict[int, _Arrived]) -> None:
        output = op(x)
        if output is not None:
            into[target].terms.append((output, weight))

    return run
