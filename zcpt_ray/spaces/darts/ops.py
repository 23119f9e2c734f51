"""Candidate operations of the DARTS spaces (Liu et al. 2019; Zela et al. 2020), and what each is once folded.

Separable convolutions end in a pointwise one, so what the ops of a node's edges give adds up to one matrix product over
joined channels; `DartsCellFolding` builds it from the stages that are listed here. A removed op is left out altogether.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.engine.ops import CandidateOp, Noise, Skip, Zero, fold_bn, skip_and_pool


@dataclass(frozen=True)
class SeparableStage:
    """ReLU, depthwise convolution [C, 1, k, k], pointwise convolution [C', C, 1, 1] with bias [C']."""

    depthwise: Tensor
    stride: int
    dilation: int
    pointwise: Tensor
    bias: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """What stages must have in common to run as one: kernel size, stride, dilation."""
        return self.depthwise.shape[-1], self.stride, self.dilation


class Separable(CandidateOp):
    """Stages of ReLU, depthwise and pointwise convolution, batch norm."""

    def __init__(self, channels: int, kernel_size: int, strides: tuple[int, ...], dilation: int, affine: bool) -> None:
        super().__init__()
        self.names = [str(index + 1) if len(strides) > 1 else "" for index in range(len(strides))]
        padding = dilation * (kernel_size // 2)
        for name, stride in zip(self.names, strides, strict=True):
            depthwise = nn.Conv2d(
                channels, channels, kernel_size, stride, padding, dilation, groups=channels, bias=False
            )
            self.add_module(f"relu{name}", nn.ReLU())
            self.add_module(f"depthwise{name}", depthwise)
            self.add_module(f"pointwise{name}", nn.Conv2d(channels, channels, 1, bias=False))
            self.add_module(f"bn{name}", nn.BatchNorm2d(channels, affine=affine))

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        if not active:
            return None
        for child in self.children():
            x = child(x)
        return x

    def stages(self) -> tuple[SeparableStage, ...]:
        """The op in eval mode."""
        found = []
        for name in self.names:
            depthwise, pointwise, bn = (
                self.get_submodule(f"{part}{name}") for part in ("depthwise", "pointwise", "bn")
            )
            assert isinstance(depthwise, nn.Conv2d)
            assert isinstance(pointwise, nn.Conv2d)
            assert isinstance(bn, nn.BatchNorm2d)
            found.append(
                SeparableStage(
                    depthwise.weight, depthwise.stride[0], depthwise.dilation[0], *fold_bn(pointwise.weight, bn)
                )
            )
        return tuple(found)


class FactorizedReduce(CandidateOp):
    """`skip_connect` with stride 2: ReLU, two strided 1x1 convolutions, one of them shifted by a pixel, batch norm."""

    def __init__(self, in_channels: int, out_channels: int, affine: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv_1 = nn.Conv2d(in_channels, out_channels // 2, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(in_channels, out_channels - out_channels // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        if not active:
            return None
        x = pad_to_even(self.relu(x))
        out: Tensor = self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], dim=1))
        return out

    def kernel_and_bias(self) -> tuple[Tensor, Tensor]:
        """The op in eval mode, but for its ReLU and `pad_to_even`: a convolution of stride 2.

        Its kernel is [C', C, 2, 2], its bias [C'].
        """
        first, second = self.conv_1.weight, self.conv_2.weight
        kernel = torch.cat([F.pad(first, (0, 1, 0, 1)), F.pad(second, (1, 0, 1, 0))])
        return fold_bn(kernel, self.bn)


Pool = Callable[[Tensor, int], Tensor]
"""(image, stride) -> a 3x3 pool of it."""


class PoolBN(CandidateOp):
    """`max_pool_3x3` or `avg_pool_3x3` (over the neighbours inside the image); a batch norm follows while searching."""

    def __init__(self, pool: Pool, channels: int, stride: int, bn: bool) -> None:
        super().__init__()
        self.pool = pool
        self.stride = stride
        self.bn = nn.BatchNorm2d(channels, affine=False) if bn else nn.Identity()

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        return self.bn(self.pool(x, self.stride)) if active else None


def max_pool(x: Tensor, stride: int) -> Tensor:
    """Greatest of the 3x3 neighbours."""
    return F.max_pool2d(x, 3, stride, padding=1)


def avg_pool(x: Tensor, stride: int) -> Tensor:
    """Mean of the 3x3 neighbours that lie inside the image."""
    return F.avg_pool2d(x, 3, stride, padding=1, count_include_pad=False)


def fast_pool(pool: Pool, x: Tensor, stride: int) -> Tensor:
    """The same as `pool(x, stride)`, of x [B, C, H, W].

    With stride 1 it is taken from rows and columns shifted by one, which a CPU does several times faster.
    """
    if stride > 1:
        return pool(x, stride)
    if pool is max_pool:
        for dim in (2, 3):
            size = x.shape[dim]
            wider = x.clone(memory_format=torch.channels_last)
            torch.maximum(
                wider.narrow(dim, 1, size - 1), x.narrow(dim, 0, size - 1), out=wider.narrow(dim, 1, size - 1)
            )
            torch.maximum(
                wider.narrow(dim, 0, size - 1), x.narrow(dim, 1, size - 1), out=wider.narrow(dim, 0, size - 1)
            )
            x = wider
        return x
    return skip_and_pool(x, skip=0, pool=1)


def pad_to_even(x: Tensor) -> Tensor:
    """[B, C, H, W] with a row or column of zeros at the end where there is an odd number."""
    height, width = x.shape[2:]
    return F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x


MakeOp = Callable[[int, int, bool], CandidateOp]

DARTS_OPS: dict[str, MakeOp] = {
    "none": lambda channels, stride, searching: Zero(),
    "max_pool_3x3": lambda channels, stride, searching: PoolBN(max_pool, channels, stride, bn=searching),
    "avg_pool_3x3": lambda channels, stride, searching: PoolBN(avg_pool, channels, stride, bn=searching),
    "skip_connect": lambda channels, stride, searching: (
        Skip() if stride == 1 else FactorizedReduce(channels, channels, affine=not searching)
    ),
    "sep_conv_3x3": lambda channels, stride, searching: Separable(channels, 3, (stride, 1), 1, affine=not searching),
    "sep_conv_5x5": lambda channels, stride, searching: Separable(channels, 5, (stride, 1), 1, affine=not searching),
    "dil_conv_3x3": lambda channels, stride, searching: Separable(channels, 3, (stride,), 2, affine=not searching),
    "dil_conv_5x5": lambda channels, stride, searching: Separable(channels, 5, (stride,), 2, affine=not searching),
    "noise": lambda channels, stride, searching: Noise(stride, fresh=not searching),
}
"""Ops by name, made for a number of channels, a stride, and a supernet (`searching`) or a network to be trained."""
