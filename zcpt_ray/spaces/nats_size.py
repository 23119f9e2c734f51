"""The size space of NATS-Bench (Dong et al. 2021): the widths of the five parts of one network, 32,768 architectures.

The network is that of NAS-Bench-201 with one cell a stage, in which its best cell on CIFAR-100 is fixed. Widths are
those of the first cell (and the stem), a residual block of stride 2, a cell, a residual block, a cell.
"""

from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, Edge
from zcpt_ray.engine.layers import Head, ResidualBlock, Stem
from zcpt_ray.engine.ops import ReLUConvBN
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.whole_networks import WholeNetworks

WIDTHS = ("8", "16", "24", "32", "40", "48", "56", "64")
PARTS = ("stem", "block1", "cell1", "block2", "cell2")


class SizedCell(nn.Module):
    """`|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|`.

    Where the width changes the skip is a 1x1 convolution and batch norm.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        for source, target in ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3)):
            self.add_module(f"conv{target}_{source}", ReLUConvBN(channels if source else in_channels, channels, 3))
        self.skip = nn.Sequential()
        if in_channels != channels:
            self.skip.add_module("conv", nn.Conv2d(in_channels, channels, 1, bias=False))
            self.skip.add_module("bn", nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        first = self.get_submodule("conv1_0")(x)
        second = self.get_submodule("conv2_0")(x) + self.get_submodule("conv2_1")(first)
        out: Tensor = self.skip(x) + self.get_submodule("conv3_1")(first) + self.get_submodule("conv3_2")(second)
        return out


class SizedNetwork(nn.Module):
    """Stem, cell, residual block, cell, residual block, cell, batch norm, ReLU, global average pool, classifier."""

    def __init__(self, widths: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        first, second, third, fourth, fifth = widths
        self.stem = Stem(3, first)
        self.cell0 = SizedCell(first, first)
        self.block1 = ResidualBlock(first, second)
        self.cell1 = SizedCell(second, third)
        self.block2 = ResidualBlock(third, fourth)
        self.cell2 = SizedCell(fourth, fifth)
        self.head = Head(fifth)
        self.classifier = nn.Linear(fifth, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, num_classes]."""
        x = self.cell0(self.stem(images, ()))
        x = self.cell1(self.block1(x, ()))
        x = self.cell2(self.block2(x, ()))
        logits: Tensor = self.classifier(self.head(x, ()))
        return logits


class NATSSize(WholeNetworks):
    """Written `8:16:24:32:64`."""

    name = "nats-size"
    edges = tuple(Edge(part, WIDTHS) for part in PARTS)

    def made(self, arch: ArchSpec, num_classes: int) -> nn.Module:
        return SizedNetwork(tuple(int(width) for (width,) in arch.kept), num_classes)

    def encode(self, arch: ArchSpec) -> str:
        """`8:16:24:32:64`."""
        return ":".join(width for (width,) in arch.kept)

    def decode(self, text: str) -> ArchSpec:
        widths = text.split(":")
        if len(widths) != len(PARTS) or not set(widths) <= set(WIDTHS):
            raise UserError(f"not a {self.name} architecture: {text!r}; expected 5 of {', '.join(WIDTHS)} joined by :")
        return ArchSpec(self.name, tuple((width,) for width in widths))
