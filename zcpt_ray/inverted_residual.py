"""Layers that choose among blocks: MobileNetV2's inverted residuals (Sandler et al. 2018), and what stands before and behind them.

Folded, batch norms go into convolutions, tensors are channels_last, and a block runs once for all edge weights of a call, which
differ in how they mix its output. Joining the 1x1 convolutions of several blocks into one product saves nothing: each fills a core.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.arch import Edge
from zcpt_ray.cells import MixedOp
from zcpt_ray.layers import EdgeWeights, Folded, JointFolded, Layer, ReluCode, active_code
from zcpt_ray.ops import CandidateOp, fold_bn

FoldedBlock = Callable[[Tensor], tuple[Tensor, list[Tensor]]]
"""A block in eval mode: [B, C, H, W] -> [B, C', H', W'], and the codes (bool [B, D]) of what its ReLUs read."""


class ConvBN(nn.Sequential):
    """Convolution without bias that keeps the size (but for its stride), batch normalisation and, if wanted, ReLU6."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        if relu:
            self.relu = nn.ReLU6()

    def folding(self) -> FoldedBlock:
        """One convolution."""
        kernel, bias = fold_bn(self.conv.weight, self.bn)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        has_relu = hasattr(self, "relu")

        def run(x: Tensor) -> tuple[Tensor, list[Tensor]]:
            x = _convolve(x, kernel, bias, self.conv.stride[0], self.conv.groups)
            if not has_relu:
                return x, []
            return x.clamp_(0, 6), [active_code(x)]

        return run


class Block(CandidateOp):
    """A candidate op for a change of shape: from `in_channels` to `out_channels`, at 1/`stride` of the resolution."""

    def folding(self) -> FoldedBlock:
        """The block in eval mode; it may give its input back, but does not change it."""
        raise NotImplementedError


class Identity(Block):
    """The input itself; where the shape changes, a 1x1 convolution and batch normalisation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        changes = stride != 1 or in_channels != out_channels
        self.project = ConvBN(in_channels, out_channels, 1, stride, relu=False) if changes else None

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        if not active:
            return None
        return self.project(x) if self.project else x

    def folding(self) -> FoldedBlock:
        return self.project.folding() if self.project else lambda x: (x, [])


class InvertedResidual(Block):
    """Expansion 1x1 (none if it is 1), depthwise convolution, both with ReLU6; projection 1x1; plus the input if shapes agree."""

    def __init__(self, expansion: int, kernel_size: int, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        width = expansion * in_channels
        self.residual = stride == 1 and in_channels == out_channels
        self.convs = nn.Sequential()
        if expansion > 1:
            self.convs.add_module("expand", ConvBN(in_channels, width, 1))
        self.convs.add_module("depthwise", ConvBN(width, width, kernel_size, stride, groups=width))
        self.convs.add_module("project", ConvBN(width, out_channels, 1, relu=False))

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        if not active:
            return None
        out: Tensor = self.convs(x)
        return out + x if self.residual else out

    def folding(self) -> FoldedBlock:
        convs = [conv.folding() for conv in self.convs if isinstance(conv, ConvBN)]

        def run(x: Tensor) -> tuple[Tensor, list[Tensor]]:
            out, codes = x, []
            for conv in convs:
                out, seen = conv(out)
                codes += seen
            return out.add_(x) if self.residual else out, codes

        return run


BLOCKS: dict[str, Callable[[int, int, int], Block]] = {
    "identity": Identity,
    "skip": Identity,
    **{f"MB{expansion}_K{size}": partial(InvertedResidual, expansion, size) for expansion in (3, 6) for size in (3, 5, 7)},
}
"""Blocks by their name in the spaces, made for input channels, output channels and stride."""


class ConvStem(Layer):
    """Convolution 3x3, batch normalisation, ReLU6."""

    least_images = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = ConvBN(in_channels, channels, 3, stride)
        self.widening = channels / (in_channels * stride**2)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.conv(x)
        return out

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        return _fixed(self.conv.folding())


class FixedBlock(Layer):
    """A block that leaves no choice."""

    least_images = 1

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.block(x)
        return out

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        return _fixed(self.block.folding())


class ConvHead(Layer):
    """Convolution 1x1, batch normalisation, ReLU6, global average pool."""

    least_images = 1

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = ConvBN(in_channels, channels, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.pool(self.conv(x)).flatten(1)
        return out

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        return _fixed(self.conv.folding())


class ChoiceLayer(Layer):
    """The candidate blocks of one edge, `index` in the weights, mixed by them. `blocks` makes a block for a change of shape."""

    joint = True
    least_images = 1

    def __init__(
        self,
        index: int,
        edge: Edge,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        blocks: Mapping[str, Callable[[int, int, int], Block]] = BLOCKS,
    ) -> None:
        super().__init__()
        self.index = index
        self.out_channels = out_channels
        self.stride = stride
        self.blocks = {op: blocks[op](in_channels, out_channels, stride) for op in edge.candidates}
        self.mixed = MixedOp(self.blocks)
        widths = [conv.out_channels for conv in self.modules() if isinstance(conv, nn.Conv2d)]
        self.widening = max(widths, default=in_channels) / in_channels

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out = self.mixed(x, weights[self.index])
        return self._zeros(x) if out is None else out

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        return {self.index: self.mixed.ops}

    def joint_folding(self) -> Callable[[Sequence[EdgeWeights]], JointFolded]:
        blocks = list(self.blocks.values())
        folded = cache(lambda position: blocks[position].folding())

        def fold(weights: Sequence[EdgeWeights]) -> JointFolded:
            rows = [each[self.index] for each in weights]
            readers = {op: tuple(i for i, row in enumerate(rows) if row[op] > 0) for op in range(len(blocks))}

            def run(x: Tensor) -> tuple[list[Tensor], list[tuple[ReluCode, tuple[int, ...]]]]:
                totals, codes = [self._zeros(x) for _ in rows], []
                for op, variants in readers.items():
                    if not variants:
                        continue
                    out, seen = folded(op)(x)
                    codes += [(ReluCode(code, 1, 0), variants) for code in seen]
                    for variant in variants:
                        totals[variant].add_(out, alpha=rows[variant][op])
                return totals, codes

            return run

        return fold

    def _zeros(self, x: Tensor) -> Tensor:
        height, width = (-(-size // self.stride) for size in x.shape[2:])
        zeros = x.new_zeros(len(x), self.out_channels, height, width)
        return zeros.contiguous(memory_format=torch.channels_last)


def _convolve(x: Tensor, kernel: Tensor, bias: Tensor, stride: int, groups: int) -> Tensor:
    """`conv2d`, padded to keep the size, without the taps of `kernel` that only ever meet the padding of a small image.

    On a CPU it is oneDNN's whatever the batch: with one thread, torch takes a slower one for fewer than 16 images.
    """
    padding = kernel.shape[-1] // 2
    reach = min(padding, max(x.shape[2:]) - 1)
    if reach < padding:
        taps = slice(padding - reach, padding + reach + 1)
        kernel = kernel[:, :, taps, taps].contiguous(memory_format=torch.channels_last)
    if x.device.type == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return torch.mkldnn_convolution(x, kernel, bias, (reach, reach), (stride, stride), (1, 1), groups)
    return F.conv2d(x, kernel, bias, stride, reach, groups=groups)


def _fixed(block: FoldedBlock) -> Callable[[EdgeWeights], Folded]:
    """A layer that depends on no weights."""

    def run(x: Tensor) -> tuple[Tensor, list[ReluCode]]:
        out, codes = block(x)
        return out, [ReluCode(code, 1, 0) for code in codes]

    return lambda weights: run
