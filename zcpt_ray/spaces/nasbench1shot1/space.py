"""NAS-Bench-1Shot1 (Zela, Siems and Hutter 2020): three search spaces of NAS-Bench-101 cells.

A cell has an input, choice blocks in a row, and an output; each block reads some of the nodes before it, and the output
concatenates some of the blocks. Every cell decides two kinds of edges: `block3` is the op of block 3, and `inputs of
block3` the nodes it reads. An open input edge sums all its sources with weight 1, and removing a source removes that
whole path (appendix A.10 of the Zero-Cost-PT paper calls it path scoring). Ops are decided first, then inputs.

How we read the supernet: a stem (conv3x3-bn-relu) of C = 16 channels; three stacks of three cells with a 2x2 max pool
and twice the channels between; global average pool, linear. A block of a cell has C channels, and reads the cell's
input by a conv1x1-bn-relu of its own and other blocks as they are. The cell's output is all its blocks side by side,
zeros in place of those that it does not read, plus a projection of the input where it reads that: so shapes never
depend on decisions, and a finished network has the supernet's weights. (NAS-Bench-101 splits the channels among the
blocks that the output reads, and has C = 128.) A block from which nothing leads to the output does not run, as the
benchmark prunes it; a removed op gives nothing, and none of its ReLUs count.
"""

import itertools
from collections.abc import Iterator

from zcpt_ray.arch import ArchSpec, Edge, Graph, PartialArch
from zcpt_ray.engine.layers import GlobalPool, Layer
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import OpCosts, Space, Stage
from zcpt_ray.spaces.nasbench1shot1.cell import BlockCell, ConvBNReLUStem, Downsample
from zcpt_ray.spaces.nasbench1shot1.cell_graph import NASBENCH101_OPS, read_cell, write_cell
from zcpt_ray.spaces.nasbench1shot1.wiring import BlockWiring

NUM_PARENTS = {1: (1, 2, 2, 2, 2), 2: (1, 1, 2, 2, 3), 3: (1, 1, 1, 2, 2, 2)}
"""Per space, how many nodes each block reads and, last, the output: nine edges in all."""


class NASBench1Shot1(Space):
    """Search space 1, 2 or 3: 14,580, 29,160 and 1,312,200 architectures, many of them the same graph.

    Edges: the ops of the blocks, then what each block and the output read; of some blocks the inputs are no choice.
    """

    def __init__(self, number: int, channels: int = 16, cells_per_stack: int = 3, image_channels: int = 3) -> None:
        self.number = number
        self.name = f"nasbench1shot1-{number}"
        counts = NUM_PARENTS[number]
        self.num_blocks = len(counts) - 1
        blocks = [f"block{block}" for block in range(1, len(counts))]
        reads = zip(counts, (*blocks, "output"), strict=True)
        self.edges = (
            *(Edge(name, NASBENCH101_OPS) for name in blocks),
            *(
                Edge(f"inputs of {name}", tuple(map(str, range(node))), keep, op_weight=1)
                for node, (keep, name) in enumerate(reads, start=1)
            ),
        )
        self.channels = channels
        self.cells_per_stack = cells_per_stack
        self.image_channels = image_channels

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (tuple(range(self.num_blocks)),), (tuple(range(self.num_blocks, len(self.edges))),)

    @property
    def thin(self) -> Space:
        return NASBench1Shot1(self.number, channels=1, cells_per_stack=1, image_channels=1)

    def graphs(self, arch: ArchSpec) -> dict[str, Graph]:
        """A block's op stands on every arrow that leads to the block."""
        ops, inputs = arch.kept[: self.num_blocks], arch.kept[self.num_blocks :]
        names = ("input", *(edge.name for edge in self.edges[: self.num_blocks]), "output")
        reads = zip(names[1:], (*(op for (op,) in ops), ""), inputs, strict=True)
        return {"cell": [(names[source], name, op) for name, op, nodes in reads for source in sorted(map(int, nodes))]}

    def encode(self, arch: ArchSpec) -> str:
        """`conv3x3-bn-relu(0)|maxpool3x3(0,1)|...|output(2,4)`: each block's op with the nodes it reads.

        Node 0 is the cell's input.
        """
        ops, inputs = arch.kept[: self.num_blocks], arch.kept[self.num_blocks :]
        return write_cell([op for (op,) in ops], tuple(tuple(sorted(map(int, nodes))) for nodes in inputs))

    def decode(self, text: str) -> ArchSpec:
        try:
            ops, parents = read_cell(text)
            arch = ArchSpec(self.name, (*((op,) for op in ops), *(tuple(map(str, nodes)) for nodes in parents)))
            self.single_path(arch)
            if self.encode(arch) == text:
                return arch
        except ValueError:
            pass
        parents = tuple(tuple(range(count)) for count in NUM_PARENTS[self.number])
        example = write_cell([NASBENCH101_OPS[0]] * self.num_blocks, parents)
        raise UserError(
            f"not a {self.name} architecture: {text!r}; expected as in {example!r}, ops of {', '.join(NASBENCH101_OPS)}"
        )

    def used(self, arch: ArchSpec) -> Iterator[tuple[int, str]]:
        """Ops and inputs of blocks from which something leads to the output, and what that reads."""
        plan = self._wiring(self.edges).plan(PartialArch(self.edges, arch.kept).edge_weights())
        for block, _ in plan.blocks:
            for index in (block - 1, self.num_blocks + block - 1):
                yield from ((index, op) for op in arch.kept[index])
        yield from ((len(self.edges) - 1, op) for op in arch.kept[-1])

    def cheapest(self, arch: PartialArch, costs: OpCosts) -> ArchSpec:
        """Open blocks keep their cheapest op, and open inputs are chosen so that what runs then costs least.

        Blocks from which nothing leads to the output do not run.
        """
        kept = super().cheapest(arch, costs).kept[: self.num_blocks]
        choices = [
            list(itertools.combinations(edge.candidates, edge.keep)) if inputs is None else [inputs]
            for edge, inputs in zip(self.edges[self.num_blocks :], arch.kept[self.num_blocks :], strict=True)
        ]
        archs = [ArchSpec(self.name, (*kept, *inputs)) for inputs in itertools.product(*choices)]
        return min(archs, key=lambda a: sum(costs[e][self.edges[e].candidates.index(op)] for e, op in self.used(a)))

    def _wiring(self, edges: tuple[Edge, ...]) -> BlockWiring:
        indexed = tuple(enumerate(edges))
        return BlockWiring(indexed[: self.num_blocks], indexed[self.num_blocks :])

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        wiring = self._wiring(edges)
        layers: dict[str, Layer] = {"stem": ConvBNReLUStem(self.image_channels, self.channels)}
        features = self.channels
        for stack in range(3):
            if stack:
                layers[f"down{stack}"] = Downsample()
            for number in range(self.cells_per_stack):
                width = self.channels * 2**stack
                layers[f"cell{stack * self.cells_per_stack + number}"] = BlockCell(wiring, features, width)
                features = width * self.num_blocks
        layers["head"] = GlobalPool()
        return Supernet(edges, layers, features, num_classes)
