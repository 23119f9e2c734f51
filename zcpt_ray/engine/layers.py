"""The layers that a supernet is a chain of."""

from collections.abc import Hashable
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.engine.convolutions import RELU, add_convolution, convolve
from zcpt_ray.engine.folding import EdgeWeights, FixedFolding, FoldedLayer, Folding, State, WatchedFolding
from zcpt_ray.engine.ops import CandidateOp, ReLUConvBN, Zero, fold_bn
from zcpt_ray.engine.relu_codes import ReluCode, active_code, relu_code


class Layer(nn.Module):
    """One link of a supernet's chain.

    A new layer needs `forward` and, where it has candidate ops, `candidate_ops`. With a `folding` of its own it is
    faster.
    """

    images_apart = True
    """In eval mode what it makes of an image depends neither on the others nor on its place among them."""
    widening: float = 1.0
    """About how many times larger than its input its largest tensor is: it says how many images run at a time."""
    least_images: ClassVar[int] = 16
    """Images that run at a time at least: with fewer, torch does 1x1 convolutions on one thread a slower way."""

    def forward(self, x: Any, weights: EdgeWeights) -> Any:
        """A `State` -> the next, one op at a time."""
        raise NotImplementedError

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        """Per edge that this layer has ops of, those ops."""
        return {}

    def key(self, weights: EdgeWeights) -> Hashable:
        """What this layer's output depends on: architectures with equal keys (and inputs) share it.

        By default, the weights of its ops, but for `none`: with or without it, a supernet is the same.
        """
        return tuple(
            weight
            for index, ops in self.candidate_ops().items()
            for op, weight in zip(ops, weights[index], strict=True)
            if not isinstance(op, Zero)
        )

    def folding(self) -> Folding:
        """The same function as `forward` in eval mode, without the work that gives nothing.

        By default, `forward` itself, watched for what its ReLUs read.
        """
        return WatchedFolding(self)


class Stem(Layer):
    """Convolution 3x3 and batch normalisation."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.bn(self.conv(x))
        return out

    def folding(self) -> Folding:
        return FixedFolding(FoldedStem(*fold_bn(self.conv.weight, self.bn)))


class FoldedStem(FoldedLayer):
    """A `Stem` as one convolution 3x3."""

    def __init__(self, kernel: Tensor, bias: Tensor) -> None:
        self.kernel = kernel
        self.bias = bias

    def __call__(self, x: Tensor) -> tuple[Tensor, list[ReluCode]]:
        return F.conv2d(x, self.kernel, self.bias, padding=1), []


class CifarStem(Layer):
    """`Stem` for cells that take the outputs of two layers before them: both are its own."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, weights: EdgeWeights) -> tuple[Tensor, Tensor]:
        out = self.bn(self.conv(x))
        return out, out


class Twice(Layer):
    """Hands on what it reads, twice: for cells that take the outputs of two layers before them."""

    def forward(self, x: Tensor, weights: EdgeWeights) -> tuple[Tensor, Tensor]:
        return x, x


class ImageNetStem(Layer):
    """Three convolutions of stride 2 with batch norms: 224 px -> (56 px, 28 px), for cells that take two outputs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(3, channels // 2, 3, stride=2, padding=1, bias=False)
        self.bn_1 = nn.BatchNorm2d(channels // 2)
        self.relu_1 = nn.ReLU()
        self.conv_2 = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1, bias=False)
        self.bn_2 = nn.BatchNorm2d(channels)
        self.relu_2 = nn.ReLU()
        self.conv_3 = nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False)
        self.bn_3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, weights: EdgeWeights) -> tuple[Tensor, Tensor]:
        first = self.bn_2(self.conv_2(self.relu_1(self.bn_1(self.conv_1(x)))))
        return first, self.bn_3(self.conv_3(self.relu_2(first)))


class GlobalPool(Layer):
    """Average over the image, of the last of the tensors that it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: State, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.pool(x[-1] if isinstance(x, tuple) else x).flatten(1)
        return out


class ResidualBlock(Layer):
    """ResNet's basic block with stride 2: two ReLU-conv3x3-BN blocks, plus an average pool and a 1x1 convolution."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(in_channels, channels, 3, stride=2)
        self.conv_b = ReLUConvBN(channels, channels, 3)
        self.downsample = nn.Sequential()
        self.downsample.add_module("pool", nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False))
        self.downsample.add_module("conv", nn.Conv2d(in_channels, channels, 1, bias=False))

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.conv_b(self.conv_a(x)) + self.downsample(x)
        return out

    def folding(self) -> Folding:
        return FixedFolding(FoldedResidualBlock(self))


class FoldedResidualBlock(FoldedLayer):
    """A `ResidualBlock` as three convolutions and a pool, with its two codes."""

    def __init__(self, block: ResidualBlock) -> None:
        self.kernel_a, self.bias_a = fold_bn(block.conv_a.conv.weight, block.conv_a.bn)
        self.kernel_b, self.bias_b = fold_bn(block.conv_b.conv.weight, block.conv_b.bn)
        self.downsample = block.downsample

    def __call__(self, x: Tensor) -> tuple[Tensor, list[ReluCode]]:
        active = F.relu(x)
        middle = convolve(active, self.kernel_a, self.bias_a, stride=2, padding=1, clamp=RELU)
        out = self.downsample(x)
        add_convolution(out, middle, self.kernel_b, self.bias_b, padding=1)
        return out, [ReluCode(active_code(active), 1, 1), ReluCode(active_code(middle), 1, 1)]


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

    def folding(self) -> Folding:
        return FixedFolding(FoldedHead(self.bn))


class FoldedHead(FoldedLayer):
    """A `Head` up to its code. Nothing behind it has a ReLU, so it gives what the ReLU reads, and does not pool."""

    def __init__(self, bn: nn.BatchNorm2d) -> None:
        self.bn = bn

    def __call__(self, x: Tensor) -> tuple[Tensor, list[ReluCode]]:
        x = self.bn(x)
        return x, [ReluCode(relu_code(x), 1, 0)]
