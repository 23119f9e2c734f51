"""NAS-Bench-Macro (Su et al. 2021): 8 layers with 3 blocks each on images of 32 pixels, 6,561 architectures."""

from zcpt_ray.arch import ArchSpec, Edge
from zcpt_ray.engine.block_layers import ChoiceLayer, ConvHead, ConvStem
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import Space

MACRO_OPS = ("identity", "MB3_K3", "MB6_K5")
"""In the order of their digits; `identity` is a 1x1 convolution with batch normalisation where the shape changes."""
LAYERS_PER_STAGE = (2, 3, 3)
"""Per stage; the first layer of each halves the resolution."""


class NASBenchMacro(Space):
    """Stem, stages of 2, 3 and 3 layers, 1x1 convolution to `head` channels.

    Parameters are those of the benchmark's table. Its FLOPs are multiply-adds of convolutions and of the classifier
    without the biases that the proxy `flops` counts as well: one per class more.
    """

    name = "nasbench-macro"
    counts_biases = False

    def __init__(
        self, stem: int = 32, widths: tuple[int, int, int] = (64, 128, 256), head: int = 1280, image_channels: int = 3
    ) -> None:
        self.edges = tuple(Edge(f"layer{index}", MACRO_OPS) for index in range(sum(LAYERS_PER_STAGE)))
        self.stem = stem
        self.widths = widths
        self.head = head
        self.image_channels = image_channels

    @property
    def thin(self) -> Space:
        return NASBenchMacro(stem=1, widths=(2, 3, 4), head=4, image_channels=1)

    def encode(self, arch: ArchSpec) -> str:
        """`02211000`: a digit a layer, input to output; 0 identity, 1 MB3_K3, 2 MB6_K5."""
        return "".join(str(MACRO_OPS.index(ops[0])) for ops in arch.kept)

    def decode(self, text: str) -> ArchSpec:
        if len(text) != len(self.edges) or not set(text) <= set("012"):
            raise UserError(
                f"not a NAS-Bench-Macro architecture: {text!r}; expected {len(self.edges)} digits, "
                f"{', '.join(f'{digit} for {op}' for digit, op in enumerate(MACRO_OPS))}"
            )
        return ArchSpec(self.name, tuple((MACRO_OPS[int(digit)],) for digit in text))

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        layers: dict[str, Layer] = {"stem": ConvStem(self.image_channels, self.stem, stride=1)}
        channels, index = self.stem, 0
        for width, count in zip(self.widths, LAYERS_PER_STAGE, strict=True):
            for position in range(count):
                layers[edges[index].name] = ChoiceLayer(
                    index, edges[index], channels, width, stride=1 if position else 2
                )
                channels, index = width, index + 1
        layers["head"] = ConvHead(channels, self.head)
        return Supernet(edges, layers, self.head, num_classes)
