"""The layers a supernet is a chain of: each as it is written, and folded for fast evaluation at fixed edge weights."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.arch import Edge
from zcpt_ray.ops import OPS, CandidateOp, LinearForm, ReLUConvBN, Zero, box_sum_3x3, fold_bn, weighted_sum

EdgeWeights = tuple[tuple[float, ...], ...]
"""Per edge, per candidate op: `PartialArch.edge_weights`."""


@dataclass(frozen=True)
class ReluCode:
    """The binary code of one tensor that ReLUs read, and how often it is read.

    `code` is bool [B, D], True where the tensor is > 0. `relus` ReLUs see it; `blocks` ReLU-conv-BN blocks have it as their input
    (removed ones included); `silent` more ReLUs belong to removed ops and see D zeros in its place.
    """

    code: Tensor
    relus: int
    blocks: int
    silent: int = 0

    def without_removed_ops(self) -> "ReluCode":
        """As the same architecture's own network has it: removed ops, each one block with one ReLU, are not there."""
        return ReluCode(self.code, self.relus, self.blocks - self.silent)


Folded = Callable[[Tensor], tuple[Tensor, list[ReluCode]]]
"""A layer in eval mode for fixed edge weights: [b, C, H, W] -> its output and the codes seen on the way."""


class Layer(nn.Module):
    """One link of a supernet's chain."""

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        """The layer, one op at a time."""
        raise NotImplementedError

    def key(self, weights: EdgeWeights) -> Hashable:
        """What this layer's output depends on: architectures with equal keys (and inputs) share it."""
        return ()

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        """Per edge that this layer has ops of, those ops."""
        return {}

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        """Edge weights -> the same function as `forward` in eval mode, without the work that gives nothing."""
        raise NotImplementedError


class MixedOp(nn.Module):
    """The candidate ops of one edge, mixed by its weights (numbers, or tensors that are being trained)."""

    def __init__(self, candidates: Sequence[str], channels: int) -> None:
        super().__init__()
        self.ops = [OPS[op](channels) for op in candidates]
        for name, op in zip(candidates, self.ops, strict=True):
            self.add_module(name, op)

    def forward(self, x: Tensor, weights: Sequence[float]) -> Tensor:
        outputs = [(weight, op(x, active=bool(weight > 0))) for weight, op in zip(weights, self.ops, strict=True)]
        total: Tensor | None = None
        for weight, output in outputs:
            if output is not None:
                total = weight * output if total is None else total + weight * output
        return torch.zeros_like(x) if total is None else total


class Cell(Layer):
    """A graph of nodes; a node is the sum of the edges that end in it, and the last node is the output.

    `edges` maps the index of an edge in the weights to (edge, source node, target node); node 0 is the input.
    """

    def __init__(self, edges: dict[int, tuple[Edge, int, int]], channels: int) -> None:
        super().__init__()
        self.edges = edges
        self.num_nodes = 1 + max(target for _, _, target in edges.values())
        for edge, _, _ in edges.values():
            self.add_module(edge.name, MixedOp(edge.candidates, channels))

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        nodes = [x]
        for node in range(1, self.num_nodes):
            incoming = [(i, edge, source) for i, (edge, source, target) in self.edges.items() if target == node]
            outputs = [self.get_submodule(edge.name)(nodes[source], weights[i]) for i, edge, source in incoming]
            nodes.append(sum(outputs[1:], outputs[0]))
        return nodes[-1]

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        return {index: self._ops(edge) for index, (edge, _, _) in self.edges.items()}

    def key(self, weights: EdgeWeights) -> Hashable:
        """The weights of all ops but `none`: with or without it, a supernet is the same."""
        return tuple(
            weight
            for index, (edge, _, _) in self.edges.items()
            for op, weight in zip(self._ops(edge), weights[index], strict=True)
            if not isinstance(op, Zero)
        )

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        candidates = {index: [op.linear_form() for op in ops] for index, ops in self.candidate_ops().items()}

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
                return nodes[-1].value, [ReluCode(relu_code(node.value), *reads) for node, reads in read]

            return run

        return fold

    def _ops(self, edge: Edge) -> list[CandidateOp]:
        mixed = self.get_submodule(edge.name)
        assert isinstance(mixed, MixedOp)
        return mixed.ops

    def _count_reads(self, source: int, forms: dict[tuple[int, int], LinearForm]) -> tuple[int, int, int]:
        """How many ReLUs, blocks and silent ReLUs read a node."""
        outgoing = [op for edge, start, _ in self.edges.values() if start == source for op in self._ops(edge)]
        blocks = sum(isinstance(op, ReLUConvBN) for op in outgoing)
        relus = sum(form.relus for (start, _), form in forms.items() if start == source)
        return relus, blocks, blocks - relus


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


class Stem(Layer):
    """Convolution 3x3 and batch normalisation."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.bn(self.conv(x))
        return out

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        kernel, bias = fold_bn(self.conv, self.bn)
        return lambda weights: lambda x: (F.conv2d(x, kernel, bias, padding=1), [])


class ResidualBlock(Layer):
    """ResNet basic block that halves the resolution: two ReLU-conv3x3-BN blocks beside an average pool and a 1x1 conv."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(in_channels, channels, 3, stride=2)
        self.conv_b = ReLUConvBN(channels, channels, 3)
        self.downsample = nn.Sequential()
        self.downsample.add_module("pool", nn.AvgPool2d(2))
        self.downsample.add_module("conv", nn.Conv2d(in_channels, channels, 1, bias=False))

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.conv_b(self.conv_a(x)) + self.downsample(x)
        return out

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        def run(x: Tensor) -> tuple[Tensor, list[ReluCode]]:
            middle = self.conv_a(x)
            codes = [ReluCode(relu_code(x), 1, 1), ReluCode(relu_code(middle), 1, 1)]
            return self.conv_b(middle) + self.downsample(x), codes

        return lambda weights: run


class Head(Layer):
    """Batch normalisation, ReLU, global average pool."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.pool(self.relu(self.bn(x))).flatten(1)
        return out

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        def run(x: Tensor) -> tuple[Tensor, list[ReluCode]]:
            x = self.bn(x)
            return x, [ReluCode(relu_code(x), 1, 0)]

        return lambda weights: run


@contextmanager
def module_modes(net: nn.Module, training: bool) -> Iterator[None]:
    """Inside, every module of `net` is in train or in eval mode; afterwards each is as it was."""
    modes = {module: module.training for module in net.modules()}
    net.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def eval_mode(net: nn.Module) -> AbstractContextManager[None]:
    """Inside, every module of `net` is in eval mode; afterwards each is as it was."""
    return module_modes(net, training=False)


@contextmanager
def batch_statistics(net: nn.Module) -> Iterator[None]:
    """Inside, `net` is in train mode, but its batch norms keep no statistics; afterwards all is as it was."""
    tracking = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d) and module.track_running_stats]
    with module_modes(net, training=True):
        for module in tracking:
            module.track_running_stats = False
        try:
            yield
        finally:
            for module in tracking:
                module.track_running_stats = True


def relu_code(x: Tensor) -> Tensor:
    """[B, C, H, W] -> bool [B, D]: which units are > 0."""
    code = x > 0
    if code.dim() == 4:
        code = code.permute(0, 2, 3, 1)  # the memory order of channels_last: no copy
    return code.reshape(len(x), -1)
