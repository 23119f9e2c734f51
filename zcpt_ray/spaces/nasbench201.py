"""NAS-Bench-201 (Dong and Yang 2020): a cell of 4 nodes and 6 edges with 5 ops each, 15,625 architectures."""

import re

from zcpt_ray.arch import ArchSpec, Edge, Graph
from zcpt_ray.engine.cells import Cell
from zcpt_ray.engine.layers import Head, Layer, ResidualBlock, Stem
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import Space
from zcpt_ray.spaces.texts import expression, literal

NASBENCH201_OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NASBENCH201_ENDS = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Source and target node of each edge."""
NASBENCH201_NODE_NAMES = ("in", "1", "2", "out")
"""Their names in drawings."""


NASLIB_OPS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
"""In the order in which NASLib and HW-NAS-Bench number them."""
NASLIB_ENDS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""The edges in their order."""


class NASBench201(Space):
    """Stem of C = 16 channels, three stages of N = 5 cells at C, 2C, 4C channels with residual blocks between, head."""

    name = "nasbench201"
    recipe = "nb201"

    def __init__(
        self,
        channels: int = 16,
        cells_per_stage: int = 5,
        ops: tuple[str, ...] = NASBENCH201_OPS,
        image_channels: int = 3,
    ) -> None:
        self.edges = tuple(Edge(f"{target}<-{source}", ops) for source, target in NASBENCH201_ENDS)
        self.channels = channels
        self.cells_per_stage = cells_per_stage
        self.image_channels = image_channels

    @property
    def thin(self) -> Space:
        return NASBench201Cell(channels=1, image_channels=1)

    def graphs(self, arch: ArchSpec) -> dict[str, Graph]:
        return {
            "cell": [
                (NASBENCH201_NODE_NAMES[source], NASBENCH201_NODE_NAMES[target], kept[0])
                for (source, target), kept in zip(NASBENCH201_ENDS, arch.kept, strict=True)
            ]
        }

    def encode(self, arch: ArchSpec) -> str:
        """`|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|`: per target node its ops, each with its source node."""
        ops = [f"{kept[0]}~{source}|" for kept, (source, _) in zip(arch.kept, NASBENCH201_ENDS, strict=True)]
        return f"|{ops[0]}+|{ops[1]}{ops[2]}+|{ops[3]}{ops[4]}{ops[5]}"

    def decode(self, text: str) -> ArchSpec:
        """Reads, beside what `encode` writes, the op numbers of the tables (`421211`) and NASLib's tuples of six."""
        numbered = numbered_ops(text)
        ops = numbered or tuple(re.findall(r"\|?([^|~+]+)~\d\|", text))
        arch = ArchSpec(self.name, tuple((op,) for op in ops))
        if (
            len(ops) != len(self.edges)
            or not set(ops) <= set(NASBENCH201_OPS)
            or not (numbered or self.encode(arch) == text)
        ):
            raise UserError(
                f"not a NAS-Bench-201 architecture: {text!r}; expected '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|' "
                f"with ops of {', '.join(NASBENCH201_OPS)}"
            )
        return arch

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        layers: dict[str, Layer] = {"stem": Stem(self.image_channels, self.channels)}
        channels = self.channels
        for stage in range(3):
            if stage:
                layers[f"cell{len(layers) - 1}"] = ResidualBlock(channels, 2 * channels)
                channels *= 2
            for _ in range(self.cells_per_stage):
                layers[f"cell{len(layers) - 1}"] = Cell(_wiring(edges), channels)
        layers["head"] = Head(channels)
        return Supernet(edges, layers, channels, num_classes)


class NASBench201Cell(NASBench201):
    """One cell that reads the image itself, and the head: what TE-NAS counts linear regions on."""

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        layers = {"cell0": Cell(_wiring(edges), self.channels), "head": Head(self.channels)}
        return Supernet(edges, layers, self.channels, num_classes)


def _wiring(edges: tuple[Edge, ...]) -> dict[int, tuple[Edge, int, int]]:
    return {index: (edge, *NASBENCH201_ENDS[index]) for index, edge in enumerate(edges)}


def numbered_ops(text: str) -> tuple[str, ...]:
    """The ops of the edges, where `text` has their numbers.

    Six digits are positions in `NASBENCH201_OPS`, a tuple or list of six numbers those in `NASLIB_OPS`, in the order of
    `NASLIB_ENDS`. Nothing for other texts.
    """
    if re.fullmatch("[0-4]{6}", text):
        return tuple(NASBENCH201_OPS[int(number)] for number in text)
    try:
        numbers = literal(expression(text))
    except ValueError:
        return ()
    if not isinstance(numbers, tuple | list) or len(numbers) != len(NASLIB_ENDS):
        return ()
    if not all(type(number) is int and 0 <= number < len(NASLIB_OPS) for number in numbers):
        return ()
    ops = dict(zip(NASLIB_ENDS, numbers, strict=True))
    return tuple(NASLIB_OPS[ops[ends]] for ends in NASBENCH201_ENDS)
