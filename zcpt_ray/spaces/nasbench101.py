"""NAS-Bench-101 (Ying et al. 2019): cells of up to seven nodes and nine links, 423,624 different networks."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, Edge, Graph
from zcpt_ray.engine.cells import add_up
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.nasbench1shot1.cell_graph import NASBENCH101_OPS, CellGraph, read_cell, write_cell
from zcpt_ray.spaces.whole_networks import WholeNetworks

INNER, MOST_LINKS = 5, 9
STEM, STACKS, CELLS = 128, 3, 3
LINK, NO_LINK = "link", "none"
LINKS = tuple(combinations(range(INNER + 2), 2))
"""Source and target of what may be linked: node 0 is the input, the last one the output."""
BN_EPSILON, BN_MOMENTUM = 1e-5, 0.003


def conv_bn_relu(in_channels: int, channels: int, kernel: int) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU."""
    conv = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels, eps=BN_EPSILON, momentum=BN_MOMENTUM), nn.ReLU())


def _op(name: str, channels: int) -> nn.Module:
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, 1, 1)
    return conv_bn_relu(channels, channels, 1 if name.startswith("conv1x1") else 3)


class Cell101(nn.Module):
    """The output is the nodes that lead to it side by side, plus the input where it leads there itself.

    A node adds what it reads, cut to its channels; of the input it reads a 1x1 projection.
    """

    def __init__(self, graph: CellGraph, in_channels: int, channels: int) -> None:
        super().__init__()
        self.last = len(graph.ops) + 1
        self.links = sorted(graph.edges)
        self.widths = _widths(graph, channels)
        for node, op in enumerate(graph.ops, start=1):
            self.add_module(f"op{node}", _op(op, self.widths[node]))
        for source, target in self.links:
            if source == 0:
                self.add_module(f"input{target}", conv_bn_relu(in_channels, self.widths[target], 1))

    def forward(self, x: Tensor) -> Tensor:
        nodes: dict[int, Tensor] = {}
        for node in range(1, self.last):
            read = [nodes[s][:, : self.widths[node]] for s, target in self.links if target == node and s]
            if (0, node) in self.links:
                read.append(self.get_submodule(f"input{node}")(x))
            nodes[node] = self.get_submodule(f"op{node}")(add_up(read, like=x))
        outputs = [nodes[source] for source, target in self.links if target == self.last and source]
        if not outputs:
            out: Tensor = self.get_submodule(f"input{self.last}")(x)
            return out
        joined = torch.cat(outputs, 1)
        return joined + self.get_submodule(f"input{self.last}")(x) if (0, self.last) in self.links else joined


def _widths(graph: CellGraph, channels: int) -> Mapping[int, int]:
    """Channels of each inner node and of the output: those that lead to the output share its channels."""
    last = len(graph.ops) + 1
    widths = {last: channels}
    to_output = sorted(source for source, target in graph.edges if target == last and source)
    for position, node in enumerate(to_output):
        share, rest = divmod(channels, len(to_output))
        widths[node] = share + (position < rest)
    for node in range(last - 1, 0, -1):
        if node not in widths:
            widths[node] = max(widths[target] for source, target in graph.edges if source == node)
    return widths


class Network101(nn.Module):
    """Stem, three stacks of three cells, each but the first after a max pool; global average pool, classifier."""

    def __init__(self, graph: CellGraph, num_classes: int) -> None:
        super().__init__()
        self.stem = conv_bn_relu(3, STEM, 3)
        channels, width = STEM, STEM
        layers: list[nn.Module] = []
        for stack in range(STACKS):
            if stack:
                layers.append(nn.MaxPool2d(2, 2))
                width *= 2
            for _ in range(CELLS):
                layers.append(Cell101(graph, channels, width))
                channels = width
        self.layers = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, num_classes]."""
        logits: Tensor = self.classifier(self.pool(self.layers(self.stem(images))).flatten(1))
        return logits


def encode_cell(graph: CellGraph) -> str:
    """`conv3x3-bn-relu(0)|output(1)`, of a pruned cell."""
    parents = [tuple(sorted(s for s, t in graph.edges if t == node)) for node in range(1, len(graph.ops) + 2)]
    return write_cell(graph.ops, tuple(parents))


class NASBench101(WholeNetworks):
    """Written as a pruned cell: `conv3x3-bn-relu(0)|maxpool3x3(0,1)|output(1,2)`, each node with what it reads."""

    name = "nasbench101"
    edges = (
        *(Edge(f"op{node}", NASBENCH101_OPS) for node in range(1, INNER + 1)),
        *(Edge(f"{target}<-{source}", (NO_LINK, LINK)) for source, target in LINKS),
    )

    def graph(self, arch: ArchSpec) -> CellGraph:
        """The pruned cell."""
        kept = [op for (op,) in arch.kept]
        links = frozenset(ends for ends, kind in zip(LINKS, kept[INNER:], strict=True) if kind == LINK)
        return CellGraph(tuple(kept[:INNER]), links).pruned()

    def example(self) -> ArchSpec:
        return self.decode("output(0)")

    def valid(self, arch: ArchSpec) -> bool:
        links = sum(kind == LINK for (kind,) in arch.kept[INNER:])
        return links <= MOST_LINKS and bool(self.graph(arch).edges)

    @property
    def num_archs(self) -> int:
        """Different networks, as counted by Ying et al."""
        return 423_624

    def arch(self, index: int) -> ArchSpec:
        raise UserError(f"the architectures of {self.name} are not numbered: draw them by --method random")

    def made(self, arch: ArchSpec, num_classes: int) -> nn.Module:
        return Network101(self.graph(arch), num_classes)

    def graphs(self, arch: ArchSpec) -> dict[str, Graph]:
        """The cell."""
        graph = self.graph(arch)
        names = ("input", *(f"{node} {op}" for node, op in enumerate(graph.ops, start=1)), "output")
        return {"cell": [(names[source], names[target], "") for source, target in sorted(graph.edges)]}

    def encode(self, arch: ArchSpec) -> str:
        """`conv3x3-bn-relu(0)|maxpool3x3(0,1)|output(1,2)`: the pruned cell, its nodes in the order they have."""
        return encode_cell(self.graph(arch))

    def decode(self, text: str) -> ArchSpec:
        try:
            ops, parents = read_cell(text)
        except ValueError as error:
            raise UserError(f"not a {self.name} architecture: {error}") from error
        last, links = len(ops) + 1, {(s, t) for t, sources in enumerate(parents, start=1) for s in sources}
        if len(ops) > INNER or len(links) > MOST_LINKS or any(s >= t for s, t in links):
            raise UserError(f"not a {self.name} architecture: {text!r}; a cell has up to 5 inner nodes and 9 links")
        placed = {(s, INNER + 1 if t == last else t) for s, t in links}
        kinds = tuple((LINK,) if ends in placed else (NO_LINK,) for ends in LINKS)
        padded = (*ops, *[NASBENCH101_OPS[0]] * (INNER - len(ops)))
        arch = ArchSpec(self.name, (*((op,) for op in padded), *kinds))
        if self.encode(arch) != text:
            raise UserError(f"not a {self.name} architecture: {text!r}; of it, {self.encode(arch)} runs")
        return arch
