"""The toy supernet of appendix A.4: a chain of L mixed layers, to see how operation scoring changes with depth."""

from zcpt_ray.arch import ArchSpec, Edge
from zcpt_ray.engine.cells import Cell
from zcpt_ray.engine.layers import Head, Layer, Stem
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import Space

TOY_CHAIN_OPS = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


class ToyChain(Space):
    """Stem, `length` mixed layers of `channels` channels at full resolution, head."""

    def __init__(self, length: int, channels: int = 16, image_channels: int = 3) -> None:
        self.name = f"toy-chain-{length}"
        self.edges = tuple(Edge(f"layer{index}", TOY_CHAIN_OPS) for index in range(length))
        self.channels = channels
        self.image_channels = image_channels

    @property
    def thin(self) -> Space:
        return ToyChain(len(self.edges), channels=1, image_channels=1)

    def encode(self, arch: ArchSpec) -> str:
        """`skip_connect>nor_conv_3x3>...`, input to output."""
        return ">".join(ops[0] for ops in arch.kept)

    def decode(self, text: str) -> ArchSpec:
        ops = [op.strip() for op in text.split(">")]
        if len(ops) != len(self.edges) or not set(ops) <= set(TOY_CHAIN_OPS):
            raise UserError(
                f"not a {self.name} architecture: {text!r}; expected {len(self.edges)} of"
                f" {', '.join(TOY_CHAIN_OPS)} joined by '>'"
            )
        return ArchSpec(self.name, tuple((op,) for op in ops))

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        layers: dict[str, Layer] = {"stem": Stem(self.image_channels, self.channels)}
        for index, edge in enumerate(edges):
            layers[f"cell{index}"] = Cell({index: (edge, 0, 1)}, self.channels)
        layers["head"] = Head(self.channels)
        return Supernet(edges, layers, self.channels, num_classes)
