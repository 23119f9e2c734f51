"""Well-known networks, for comparison: each a space of one architecture, so that all that takes a space takes them."""

import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, Edge
from zcpt_ray.engine.block_layers import ConvHead, ConvStem, FixedBlock
from zcpt_ray.engine.folding import EdgeWeights
from zcpt_ray.engine.inverted_residual import ConvBN, InvertedResidual
from zcpt_ray.engine.layers import GlobalPool, Layer
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import Space

WHOLE = "whole"
"""The one architecture of a known network, as text."""
NO_CHOICE = Edge("network", (WHOLE,))
MOBILENETV2_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, width, repeats and first stride (Sandler et al. 2018, table 2)."""


class KnownNetwork(Space):
    """A network that leaves no choice. For images of up to 64 pixels it has a form that keeps their resolution longer,
    as the literature does on CIFAR; then its name ends with -cifar.
    """

    recipe = "small-data"

    def __init__(self, name: str, small_images: bool) -> None:
        self.name = f"{name}-cifar" if small_images else name
        self.made_for = 32 if small_images else 224
        self.small_images = small_images
        self.edges = (NO_CHOICE,)

    def encode(self, arch: ArchSpec) -> str:
        """`whole`."""
        return WHOLE

    def decode(self, text: str) -> ArchSpec:
        if text != WHOLE:
            raise UserError(f"{self.name} has one architecture, {WHOLE!r}, not {text!r}")
        return ArchSpec(self.name, ((WHOLE,),))


class ThinResNet18(KnownNetwork):
    """ResNet-18 (He et al. 2016) with a quarter of its widths: 16 to 128 channels, 0.7 M parameters."""

    widths = (16, 32, 64, 128)

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        before = self.widths[0]
        layers: dict[str, Layer] = {"stem": ResNetStem(before, self.small_images)}
        for stage, width in enumerate(self.widths):
            for block in range(2):
                stride = 2 if stage and not block else 1
                layers[f"stage{stage}_block{block}"] = BasicBlock(before, width, stride)
                before = width
        layers["pool"] = GlobalPool()
        return Supernet(edges, layers, before, num_classes)


class HalfMobileNetV2(KnownNetwork):
    """MobileNetV2 (Sandler et al. 2018) with half of its widths, and its head of 1280 channels: 0.7 M parameters."""

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        first = 1 if self.small_images else 2
        layers: dict[str, Layer] = {"stem": ConvStem(3, 16, first)}
        before = 16
        for group, (expansion, width, repeats, stride) in enumerate(MOBILENETV2_BLOCKS):
            for position in range(repeats):
                step = 1 if position or (self.small_images and group == 1) else stride
                block = InvertedResidual(expansion, 3, before, _half(width), step)
                layers[f"group{group}_block{position}"] = FixedBlock(block)
                before = _half(width)
        layers["head"] = ConvHead(before, 1280)
        return Supernet(edges, layers, 1280, num_classes)


def _half(width: int) -> int:
    """Half of it to a multiple of 8, but not much less, as the paper's code has it."""
    rounded = max(8, (width // 2 + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width / 2 else rounded


class ResNetStem(Layer):
    """A convolution 7x7 and a pool, each with stride 2, or, for small images, a convolution 3x3."""

    def __init__(self, channels: int, small_images: bool) -> None:
        super().__init__()
        self.conv = ConvBN(3, channels, 3 if small_images else 7, 1 if small_images else 2, relu=False)
        self.pool = nn.Identity() if small_images else nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.pool(F.relu(self.conv(x)))
        return out


class BasicBlock(Layer):
    """Two convolutions 3x3, plus the input; by a convolution 1x1 where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = ConvBN(in_channels, channels, 3, stride, relu=False)
        self.second = ConvBN(channels, channels, 3, relu=False)
        changes = stride != 1 or in_channels != channels
        self.shortcut = ConvBN(in_channels, channels, 1, stride, relu=False) if changes else nn.Identity()

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


KNOWN_NETWORKS: dict[str, Space] = {
    network.name: network
    for small_images in (False, True)
    for network in (ThinResNet18("resnet18-quarter", small_images), HalfMobileNetV2("mobilenetv2-half", small_images))
}
"""By name."""
