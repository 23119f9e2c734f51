"""MobileNet-like spaces: layers of a fixed width, each with a choice of block.

`mobilenet` is the backbone of ProxylessNAS-GPU (Cai et al. 2019) with 21 layers, for images of 224 pixels. `photos` and
`photos-small` are this package's own, for a user's images and networks below 1 M parameters: where a layer is skipped
the network is less deep, and the expansion of a block says how wide it is inside.
"""

from dataclasses import dataclass

from zcpt_ray.arch import ArchSpec, Edge
from zcpt_ray.engine.block_layers import ChoiceLayer, ConvHead, ConvStem, FixedBlock
from zcpt_ray.engine.inverted_residual import InvertedResidual
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import Space

MOBILENET_OPS = ("skip", "MB3_K3", "MB3_K5", "MB3_K7", "MB6_K3", "MB6_K5", "MB6_K7")
SMALL_OPS = ("skip", "MB3_K3", "MB3_K5", "MB6_K3", "MB6_K5")


@dataclass(frozen=True)
class BlockGroup:
    """`layers` layers of `width` channels, at most so many where that is a choice; the first has `stride`."""

    width: int
    layers: int
    stride: int


PROXYLESS_GPU = (
    BlockGroup(32, 4, 2),
    BlockGroup(56, 4, 2),
    BlockGroup(112, 4, 2),
    BlockGroup(128, 4, 1),
    BlockGroup(256, 4, 2),
    BlockGroup(432, 1, 1),
)


class MobileNet(Space):
    """Stem, groups of layers with a choice among `ops` each, 1x1 convolution to `head` channels.

    The stem is a convolution with `stem_stride` and a block of expansion 1, of `stem` channels.
    """

    name = "mobilenet"
    made_for = 224

    def __init__(
        self,
        stem: tuple[int, int] = (40, 24),
        groups: tuple[BlockGroup, ...] = PROXYLESS_GPU,
        head: int = 1728,
        image_channels: int = 3,
        ops: tuple[str, ...] = MOBILENET_OPS,
        stem_stride: int = 2,
    ) -> None:
        self.ops = ops
        self.stem_stride = stem_stride
        self.stem = stem
        self.shapes = [
            (group.width, 1 if position else group.stride, ops if position else ops[1:])
            for group in groups
            for position in range(group.layers)
        ]
        self.edges = tuple(Edge(f"layer{index}", ops) for index, (_, _, ops) in enumerate(self.shapes))
        self.groups = groups
        self.head = head
        self.image_channels = image_channels

    @property
    def thin(self) -> Space:
        """Widths that still change from group to group."""
        groups = tuple(BlockGroup(index + 2, group.layers, group.stride) for index, group in enumerate(self.groups))
        thin = MobileNet((1, 1), groups, 4, 1, self.ops, self.stem_stride)
        thin.name = self.name
        return thin

    def encode(self, arch: ArchSpec) -> str:
        """`MB6_K7,skip,...`, input to output."""
        return ",".join(ops[0] for ops in arch.kept)

    def decode(self, text: str) -> ArchSpec:
        ops = [op.strip() for op in text.split(",")]
        if len(ops) != len(self.edges):
            raise UserError(
                f"not a {self.name} architecture: {text!r}; expected {len(self.edges)} of"
                f" {', '.join(self.ops)} joined by ','"
            )
        for op, edge in zip(ops, self.edges, strict=True):
            if op not in edge.candidates:
                raise UserError(
                    f"not a {self.name} architecture: {edge.name} has no op {op!r}; choose from"
                    f" {', '.join(edge.candidates)}"
                )
        return ArchSpec(self.name, tuple((op,) for op in ops))

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        first, channels = self.stem
        layers: dict[str, Layer] = {
            "stem": ConvStem(self.image_channels, first, self.stem_stride),
            "block": FixedBlock(InvertedResidual(1, 3, first, channels, stride=1)),
        }
        for index, (width, stride, _) in enumerate(self.shapes):
            layers[edges[index].name] = ChoiceLayer(index, edges[index], channels, width, stride)
            channels = width
        layers["head"] = ConvHead(channels, self.head)
        return Supernet(edges, layers, self.head, num_classes)


class Photos(MobileNet):
    """13 layers for images of 64 to 224 pixels; ends at 1/32 of their resolution. 0.13 to 0.90 M parameters."""

    name = "photos"
    made_for = 128
    recipe = "small-data"

    def __init__(self) -> None:
        groups = (BlockGroup(24, 3, 2), BlockGroup(40, 3, 2), BlockGroup(72, 4, 2), BlockGroup(120, 3, 2))
        super().__init__((16, 12), groups, head=480, ops=SMALL_OPS)


class SmallPhotos(MobileNet):
    """10 layers for images of 24 to 96 pixels; ends at 1/8 of their resolution. 0.10 to 0.72 M parameters."""

    name = "photos-small"
    made_for = 48
    recipe = "small-data"

    def __init__(self) -> None:
        groups = (BlockGroup(32, 3, 2), BlockGroup(64, 4, 2), BlockGroup(112, 3, 2))
        super().__init__((16, 16), groups, head=400, ops=SMALL_OPS, stem_stride=1)
