"""NAS-Bench-1Shot1 (Zela, Siems and Hutter 2020): three search spaces of NAS-Bench-101 cells.

A cell has an input, choice blocks in a row, and an output; each block reads some of the nodes before it, and the output
concatenates some of the blocks. Every cell decides two kinds of edges: `block3` is the op of block 3, and `inputs of block3` the
nodes it reads. An open input edge sums all its sources with weight 1, and removing a source removes that whole path (appendix A.10
of the Zero-Cost-PT paper calls it path scoring). Ops are decided first, then inputs.

How we read the supernet: a stem (conv3x3-bn-relu) of C = 16 channels; three stacks of three cells with a 2x2 max pool and twice
the channels between; global average pool, linear. A block of a cell has C channels, and reads the cell's input by a
conv1x1-bn-relu of its own and other blocks as they are. The cell's output is all its blocks side by side, zeros in place of those
that it does not read, plus a projection of the input where it reads that: so shapes never depend on decisions, and a finished
network has the supernet's weights. (NAS-Bench-101 splits the channels among the blocks that the output reads, and has C = 128.)
A block from which nothing leads to the output does not run, as the benchmark prunes it; a removed op gives nothing, and none of
its ReLUs count.
"""

import itertools
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, Edge, Graph, PartialArch
from zcpt_ray.cells import MixedOp, add_up, scaled
from zcpt_ray.errors import UserError
from zcpt_ray.layers import EdgeWeights, Folded, GlobalPool, Layer, ReluCode, active_code
from zcpt_ray.nasbench101 import OPS as OP_NAMES
from zcpt_ray.nasbench101 import read_cell, write_cell
from zcpt_ray.ops import CandidateOp, Zero, fold_bn
from zcpt_ray.spaces.base import OpCosts, Space, Stage
from zcpt_ray.supernet import Supernet

NUM_PARENTS = {1: (1, 2, 2, 2, 2), 2: (1, 1, 2, 2, 3), 3: (1, 1, 1, 2, 2, 2)}
"""Per space, how many nodes each block reads and, last, the output: nine edges in all."""


class ConvBNReLU(CandidateOp):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        if not active:
            return None
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


class MaxPool(CandidateOp):
    """Greatest of the 3x3 neighbours."""

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        return F.max_pool2d(x, 3, stride=1, padding=1) if active else None


OPS: dict[str, Callable[[int], CandidateOp]] = {
    "conv1x1-bn-relu": lambda channels: ConvBNReLU(channels, channels, 1),
    "conv3x3-bn-relu": lambda channels: ConvBNReLU(channels, channels, 3),
    "maxpool3x3": lambda channels: MaxPool(),
}


@dataclass(frozen=True)
class Wiring:
    """The edges of a cell with their indices in the weights: per block its ops, and per block and for the output its sources."""

    ops: tuple[tuple[int, Edge], ...]
    inputs: tuple[tuple[int, Edge], ...]

    def sources(self, target: int, weights: EdgeWeights) -> list[tuple[int, float]]:
        """The nodes that `target` reads (the output is the last), each with its weight."""
        index, edge = self.inputs[target - 1]
        return [(int(node), weight) for node, weight in zip(edge.candidates, weights[index], strict=True) if weight > 0]

    def live_blocks(self, weights: EdgeWeights) -> list[int]:
        """The blocks from which something leads to the output, ascending."""
        live = {len(self.inputs)}
        for node in range(len(self.inputs), 0, -1):
            if node in live:
                live |= {source for source, _ in self.sources(node, weights)}
        return sorted(live - {0, len(self.inputs)})


class BlockCell(Layer):
    """The cell: `channels` of each block, side by side, from any number of input channels."""

    def __init__(self, wiring: Wiring, in_channels: int, channels: int) -> None:
        super().__init__()
        self.wiring = wiring
        self.channels = channels
        self.output = len(wiring.inputs)
        self.blocks = [MixedOp({op: OPS[op](channels) for op in edge.candidates}) for _, edge in wiring.ops]
        self.projections: dict[int, ConvBNReLU] = {}
        for block, mixed in enumerate(self.blocks, start=1):
            self.add_module(f"block{block}", mixed)
        for node, (_, edge) in enumerate(wiring.inputs, start=1):
            if "0" in edge.candidates:
                width = channels if node < self.output else channels * len(self.blocks)
                self.projections[node] = ConvBNReLU(in_channels, width, 1)
                self.add_module(f"input_to_{node}", self.projections[node])

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        def mix(block: int, read: Tensor) -> Tensor | None:
            mixed: Tensor | None = self.blocks[block - 1](read, weights[self.wiring.ops[block - 1][0]])
            return mixed

        return self._wired(x, weights, lambda node: self.projections[node](x), mix)

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        """Ops of blocks, and for what reads the cell's input the projection; other nodes are read as they are."""
        ops = {index: mixed.ops for (index, _), mixed in zip(self.wiring.ops, self.blocks, strict=True)}
        for node, (index, edge) in enumerate(self.wiring.inputs, start=1):
            ops[index] = [self.projections[node] if source == "0" else Zero() for source in edge.candidates]
        return ops

    def key(self, weights: EdgeWeights) -> Hashable:
        """The weights of what runs."""
        live = self.wiring.live_blocks(weights)
        ops = tuple(weights[self.wiring.ops[block - 1][0]] for block in live)
        return ops, tuple((node, *self.wiring.sources(node, weights)) for node in (*live, self.output))

    def folding(self) -> Callable[[EdgeWeights], Folded]:
        """Batch norms fold into convs, and all projections of the input into one. The ops' weights too: relu(w z) = w relu(z)."""
        projections = {node: fold_bn(op.conv.weight, op.bn) for node, op in self.projections.items()}
        folded = [[_folded_op(op) for op in mixed.ops] for mixed in self.blocks]

        def fold(weights: EdgeWeights) -> Folded:
            readers = [n for n in (*self.wiring.live_blocks(weights), self.output) if 0 in dict(self.wiring.sources(n, weights))]
            joined = [torch.cat(parts) for parts in zip(*(projections[node] for node in readers), strict=True)]

            def run(x: Tensor) -> tuple[Tensor, list[ReluCode]]:
                codes: list[ReluCode] = []

                def conv_relu(read: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
                    out = F.conv2d(read, kernel, bias, padding=kernel.shape[-1] // 2).relu_()
                    codes.append(ReluCode(active_code(out), 1, 0))
                    return out

                def mix(block: int, read: Tensor) -> Tensor | None:
                    ops = zip(weights[self.wiring.ops[block - 1][0]], folded[block - 1], strict=True)
                    live = [(weight, op) for weight, op in ops if weight > 0]
                    outputs = (
                        conv_relu(read, op[0] * w, op[1] * w) if isinstance(op, tuple) else scaled(op(read), w) for w, op in live
                    )
                    return add_up(outputs, like=read) if live else None

                widths = [len(projections[node][1]) for node in readers]
                projected = dict(zip(readers, torch.split(conv_relu(x, *joined), widths, dim=1), strict=True)) if readers else {}
                return self._wired(x, weights, projected.__getitem__, mix), codes

            return run

        return fold

    def _wired(
        self,
        x: Tensor,
        weights: EdgeWeights,
        project: Callable[[int], Tensor],
        mix: Callable[[int, Tensor], Tensor | None],
    ) -> Tensor:
        """The cell's output, where `project` gives the input as a node reads it, and `mix` what a block makes of what it reads."""
        nodes: dict[int, Tensor] = {}
        for block in self.wiring.live_blocks(weights):
            read: Tensor | None = None
            for source, weight in self.wiring.sources(block, weights):
                value = project(block) if source == 0 else nodes.get(source)
                if value is not None:
                    read = scaled(value, weight) if read is None else read + scaled(value, weight)
            if read is not None and (mixed := mix(block, read)) is not None:
                nodes[block] = mixed
        sources = dict(self.wiring.sources(self.output, weights))
        nothing = x.new_zeros(len(x), self.channels, *x.shape[2:]).contiguous(memory_format=torch.channels_last)
        blocks = (scaled(nodes[b], sources[b]) if b in sources and b in nodes else nothing for b in range(1, self.output))
        joined = torch.cat(tuple(blocks), dim=1)
        return joined + scaled(project(self.output), sources[0]) if 0 in sources else joined


def _folded_op(op: CandidateOp) -> tuple[Tensor, Tensor] | CandidateOp:
    """Kernel and bias of a convolution with its batch norm; another op as it is."""
    return fold_bn(op.conv.weight, op.bn) if isinstance(op, ConvBNReLU) else op


class ConvStem(Layer):
    """Convolution 3x3, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.op = ConvBNReLU(in_channels, channels, 3)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.op(x)
        return out


class Downsample(Layer):
    """Max pool 2x2; what sticks out at the edge is a window too."""

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        return F.max_pool2d(x, 2, ceil_mode=True)


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
            *(Edge(name, OP_NAMES) for name in blocks),
            *(
                Edge(f"inputs of {name}", tuple(map(str, range(node))), keep, share=1)
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
        """`conv3x3-bn-relu(0)|maxpool3x3(0,1)|...|output(2,4)`: each block's op with the nodes it reads; 0 is the cell's input."""
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
        example = write_cell([OP_NAMES[0]] * self.num_blocks, parents)
        raise UserError(f"not a {self.name} architecture: {text!r}; expected as in {example!r}, ops of {', '.join(OP_NAMES)}")

    def used(self, arch: ArchSpec) -> Iterator[tuple[int, str]]:
        """Ops and inputs of blocks from which something leads to the output, and what that reads."""
        wiring = self._wiring(self.edges)
        for node in (*wiring.live_blocks(PartialArch(self.edges, arch.kept).edge_weights()), self.num_blocks + 1):
            for index in (node - 1, self.num_blocks + node - 1) if node <= self.num_blocks else (self.num_blocks + node - 1,):
                yield from ((index, op) for op in arch.kept[index])

    def cheapest(self, arch: PartialArch, costs: OpCosts) -> ArchSpec:
        """Of all inputs that are open, those with which least runs: blocks from which nothing leads to the output cost nothing."""
        kept = super().cheapest(arch, costs).kept[: self.num_blocks]
        choices = [
            list(itertools.combinations(edge.candidates, edge.keep)) if inputs is None else [inputs]
            for edge, inputs in zip(self.edges[self.num_blocks :], arch.kept[self.num_blocks :], strict=True)
        ]
        archs = [ArchSpec(self.name, (*kept, *inputs)) for inputs in itertools.product(*choices)]
        return min(archs, key=lambda a: sum(costs[e][self.edges[e].candidates.index(op)] for e, op in self.used(a)))

    def _wiring(self, edges: tuple[Edge, ...]) -> Wiring:
        indexed = tuple(enumerate(edges))
        return Wiring(indexed[: self.num_blocks], indexed[self.num_blocks :])

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        wiring = self._wiring(edges)
        layers: dict[str, Layer] = {"stem": ConvStem(self.image_channels, self.channels)}
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
