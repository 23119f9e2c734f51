"""Blocks that a layer may choose among: MobileNetV2's inverted residuals (Sandler et al. 2018).

Folded, batch norms go into convolutions, and tensors are channels_last. Joining the 1x1 convolutions of several blocks
into one product would save nothing: each fills a core.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from zcpt_ray.engine.convolutions import RELU6, Clamp, convolve
from zcpt_ray.engine.ops import CandidateOp, fold_bn
from zcpt_ray.engine.relu_codes import BinaryCode, active_code


class FoldedBlock(ABC):
    """A block in eval mode."""

    @abstractmethod
    def __call__(self, x: Tensor) -> tuple[Tensor, list[BinaryCode]]:
        """[B, C, H, W] -> [B, C', H', W'], and the codes of what its ReLUs read.

        It may give `x` back, but does not change it.
        """


class ConvBN(nn.Sequential):
    """Convolution without bias that keeps the size (but for its stride), batch normalisation and, if wanted, ReLU6."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels)
        if relu:
            self.relu = nn.ReLU6()

    def fold(self) -> "FoldedConvBN":
        """One convolution."""
        return FoldedConvBN(self)


class FoldedConvBN(FoldedBlock):
    """A `ConvBN` as one convolution, with ReLU6 where that has one."""

    def __init__(self, written: ConvBN) -> None:
        kernel, self.bias = fold_bn(written.conv.weight, written.bn)
        self.kernel = kernel.contiguous(memory_format=torch.channels_last)
        self.stride = written.conv.stride[0]
        self.groups = written.conv.groups
        self.has_relu = hasattr(written, "relu")

    def __call__(self, x: Tensor) -> tuple[Tensor, list[BinaryCode]]:
        clamp = RELU6 if self.has_relu else None
        x = size_keeping_conv(x, self.kernel, self.bias, self.stride, self.groups, clamp)
        return x, [active_code(x)] if self.has_relu else []


class Block(CandidateOp):
    """A candidate op for a change of shape: from `in_channels` to `out_channels`, at 1/`stride` of the resolution."""

    def fold(self) -> FoldedBlock:
        """The block in eval mode."""
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

    def fold(self) -> FoldedBlock:
        return self.project.fold() if self.project else Unchanged()


class Unchanged(FoldedBlock):
    """An `Identity` that changes no shape."""

    def __call__(self, x: Tensor) -> tuple[Tensor, list[BinaryCode]]:
        return x, []


class InvertedResidual(Block):
    """Expansion 1x1 and depthwise convolution with ReLU6, then projection 1x1; plus the input where shapes agree.

    An expansion of 1 has no convolution of its own.
    """

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

    def fold(self) -> FoldedBlock:
        return FoldedInvertedResidual([conv.fold() for conv in self.convs if isinstance(conv, ConvBN)], self.residual)


class FoldedInvertedResidual(FoldedBlock):
    """The convolutions of an `InvertedResidual` one after another; plus the input if `residual`."""

    def __init__(self, convs: Sequence[FoldedConvBN], residual: bool) -> None:
        self.convs = convs
        self.residual = residual

    def __call__(self, x: Tensor) -> tuple[Tensor, list[BinaryCode]]:
        out, codes = x, list[BinaryCode]()
        for conv in self.convs:
            out, seen = conv(out)
            codes += seen
        return out.add_(x) if self.residual else out, codes


BLOCKS: dict[str, Callable[[int, int, int], Block]] = {
    "identity": Identity,
    "skip": Identity,
    **{
        f"MB{expansion}_K{size}": partial(InvertedResidual, expansion, size)
        for expansion in (3, 6)
        for size in (3, 5, 7)
    },
}
"""Blocks by their name in the spaces, made for input channels, output channels and stride."""


def size_keeping_conv(
    x: Tensor, kernel: Tensor, bias: Tensor, stride: int, groups: int, clamp: Clamp | None = None
) -> Tensor:
    """A convolution of x [B, C, H, W], padded so that nothing but the stride changes the size; kernels are odd squares.

    On small images it leaves out the taps of `kernel` that would only ever meet the padding.
    """
    padding = kernel.shape[-1] // 2
    reach = min(padding, max(x.shape[2:]) - 1)
    if reach < padding:
        taps = slice(padding - reach, padding + reach + 1)
        kernel = kernel[:, :, taps, taps].contiguous(memory_format=torch.channels_last)
    return convolve(x, kernel, bias, stride, reach, groups=groups, clamp=clamp)
