"""A search space of one's own: two cells of three nodes, over ops that the package has and one that it has not.

Searched like any other: zcpt search --space docs/own_space.py --dataset FOLDER_OF_IMAGES
"""

from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, Edge
from zcpt_ray.engine.cells import Cell
from zcpt_ray.engine.layers import Head, Layer, ResidualBlock, Stem
from zcpt_ray.engine.ops import CELL_OPS, CandidateOp
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.spaces import Space


class Bottleneck(CandidateOp):
    """ReLU, a convolution to a quarter of the channels, ReLU, one back; with a batch norm after each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        few = channels // 4
        self.body = nn.Sequential(
            *(nn.ReLU(), nn.Conv2d(channels, few, 1, bias=False), nn.BatchNorm2d(few)),
            *(nn.ReLU(), nn.Conv2d(few, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)),
        )

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        return self.body(x) if active else None


MY_OPS = {**CELL_OPS, "bottleneck": Bottleneck}
CANDIDATES = ("skip_connect", "nor_conv_3x3", "bottleneck")
ENDS = ((0, 1), (0, 2), (1, 2))  # source and target node of each edge


class OwnSpace(Space):
    """27 architectures: an op of three on each edge of the cell."""

    name = "own"
    edges = tuple(Edge(f"{target}<-{source}", CANDIDATES) for source, target in ENDS)

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        wiring = {index: (edge, *ENDS[index]) for index, edge in enumerate(edges)}
        layers: dict[str, Layer] = {
            "stem": Stem(3, 16),
            "cell1": Cell(wiring, 16, MY_OPS),
            "down": ResidualBlock(16, 32),
            "cell2": Cell(wiring, 32, MY_OPS),
            "head": Head(32),
        }
        return Supernet(edges, layers, 32, num_classes)

    def graphs(self, arch: ArchSpec) -> dict[str, list[tuple[str, str, str]]]:
        """How it is drawn: nodes 0, 1 and 2, joined by the ops that were kept."""
        return {
            "cell": [(str(source), str(target), op) for (source, target), (op,) in zip(ENDS, arch.kept, strict=True)]
        }

    def encode(self, arch: ArchSpec) -> str:
        return ",".join(op for (op,) in arch.kept)

    def decode(self, text: str) -> ArchSpec:
        ops = text.split(",")
        if len(ops) != len(self.edges) or not set(ops) <= set(CANDIDATES):
            raise UserError(
                f"not an architecture of this space: {text!r}; expected {len(self.edges)} of {', '.join(CANDIDATES)}"
            )
        return ArchSpec(self.name, tuple((op,) for op in ops))


SPACE = OwnSpace()
