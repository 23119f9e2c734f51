"""What leads to a node of a DARTS cell, folded: terms that are added to the node's value."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zcpt_ray.engine.convolutions import RELU, add_convolution, convolve
from zcpt_ray.engine.ops import CandidateOp
from zcpt_ray.engine.relu_codes import ReluCode, active_code
from zcpt_ray.spaces.darts.ops import Pool, SeparableStage, fast_pool, pad_to_even


class NodeValues:
    """The values of a cell's nodes so far, and what several ops read of them, computed once."""

    def __init__(self, values: list[Tensor]) -> None:
        self.values = values
        self.known: dict[Hashable, Tensor] = {}

    def append(self, value: Tensor) -> None:
        """Add the next node's value."""
        self.values.append(value)

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


class Term(ABC):
    """What some ops that lead to one node give, without their biases."""

    @abstractmethod
    def add_to(self, total: Tensor, nodes: NodeValues, codes: list[ReluCode]) -> None:
        """Add it to the node's value, `total`, and the codes of what ReLUs read on the way to `codes`."""


@dataclass(frozen=True)
class WeightedStages:
    """`weight` times a separable convolution, given by its stages, of node `source`."""

    source: int
    stages: tuple[SeparableStage, ...]
    weight: float


@dataclass(frozen=True)
class Depthwise:
    """Depthwise convolutions of one shape, side by side: `kernel` is [channels of all, 1, k, k]."""

    kernel: Tensor
    stride: int
    dilation: int

    @classmethod
    def of(cls, stages: Sequence[SeparableStage]) -> "Depthwise":
        """Those of `stages`."""
        _, stride, dilation = stages[0].shape
        return cls(torch.cat([stage.depthwise for stage in stages]), stride, dilation)

    def __call__(self, x: Tensor) -> Tensor:
        padding = self.dilation * (self.kernel.shape[-1] // 2)
        return convolve(x, self.kernel, None, self.stride, padding, self.dilation, groups=len(self.kernel))


@dataclass(frozen=True)
class JoinedStage:
    """A stage of several separable convolutions side by side, which is not their last one."""

    depthwise: Depthwise
    pointwise: Tensor
    bias: Tensor
    groups: int

    @classmethod
    def of(cls, stages: Sequence[SeparableStage]) -> "JoinedStage":
        """That of `stages`, which have one shape."""
        pointwise, bias = (torch.cat(parts) for parts in zip(*((s.pointwise, s.bias) for s in stages), strict=True))
        return cls(Depthwise.of(stages), pointwise, bias, len(stages))

    def __call__(self, active: Tensor) -> Tensor:
        """What the ReLUs of one stage gave -> what those of the next give."""
        return convolve(self.depthwise(active), self.pointwise, self.bias, groups=self.groups, clamp=RELU)


@dataclass(frozen=True)
class SeparableTerm(Term):
    """Separable convolutions of equal shape, side by side over the channels of their sources.

    Their last pointwise convolutions are one matrix product with `pointwise` [channels of all, C].
    """

    sources: tuple[int, ...]
    stages: Sequence[JoinedStage]
    depthwise: Depthwise
    pointwise: Tensor

    @classmethod
    def of(cls, group: Sequence[WeightedStages]) -> "SeparableTerm":
        """That of a group whose stages have equal shapes."""
        *first, last = zip(*(part.stages for part in group), strict=True)
        kernels = [part.weight * part.stages[-1].pointwise for part in group]
        pointwise = torch.cat(kernels, dim=1)[:, :, 0, 0].T.contiguous()
        sources = tuple(part.source for part in group)
        return cls(sources, [JoinedStage.of(stages) for stages in first], Depthwise.of(last), pointwise)

    def add_to(self, total: Tensor, nodes: NodeValues, codes: list[ReluCode]) -> None:
        x = nodes.active(self.sources)
        for stage in self.stages:
            x = stage(x)
            codes.append(ReluCode(active_code(x), 1, 0))
        _pixels(total).addmm_(_pixels(self.depthwise(x)), self.pointwise)


def _pixels(x: Tensor) -> Tensor:
    """[B, C, H, W] in channels_last order -> the same memory as [B H W, C]."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


@dataclass(frozen=True)
class ReducedTerm(Term):
    """`FactorizedReduce` of several nodes: one convolution of stride 2 over the channels of all."""

    sources: tuple[int, ...]
    kernel: Tensor

    def add_to(self, total: Tensor, nodes: NodeValues, codes: list[ReluCode]) -> None:
        add_convolution(total, pad_to_even(nodes.active(self.sources)), self.kernel, stride=2)


@dataclass(frozen=True)
class PoolTerm(Term):
    """A pool of a node, times a number or, with a batch norm folded in, times one per channel [C, 1, 1]."""

    source: int
    pool: Pool
    stride: int
    scale: Tensor | float

    def add_to(self, total: Tensor, nodes: NodeValues, codes: list[ReluCode]) -> None:
        pooled = nodes.pooled(self.source, self.pool, self.stride)
        if isinstance(self.scale, Tensor):
            total.addcmul_(pooled, self.scale)
        else:
            total.add_(pooled, alpha=self.scale)


@dataclass(frozen=True)
class PlainTerm(Term):
    """`weight` times an op of a node that has no ReLU, as the op is written."""

    source: int
    op: CandidateOp
    weight: float

    def add_to(self, total: Tensor, nodes: NodeValues, codes: list[ReluCode]) -> None:
        if (output := self.op(nodes.values[self.source])) is not None:
            total.add_(output, alpha=self.weight)
