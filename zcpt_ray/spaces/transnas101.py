"""TransNAS-Bench-101 (Duan et al. 2021): networks for seven tasks on images of 256 pixels.

`micro` chooses the cell of a fixed chain, `macro` the chain of a fixed block. An architecture is written
`64-41414-1_23_330`: 64 channels at first; a digit per module of two cells, of which the first 2 doubles the channels, 3
halves the resolution, 4 does both; the cell, or `basic`. Networks are those with a classifier.
"""

from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, Edge
from zcpt_ray.engine.cells import Cell, MixedOp, add_up
from zcpt_ray.engine.folding import EdgeWeights
from zcpt_ray.engine.layers import GlobalPool, Layer
from zcpt_ray.engine.ops import CELL_OPS, CandidateOp, ReLUConvBN, Zero
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import Space
from zcpt_ray.spaces.darts.ops import FactorizedReduce
from zcpt_ray.spaces.whole_networks import WholeNetworks

PIXELS, CHANNELS = 256, 64
MICRO_OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
ENDS = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Source and target node of each edge, in the order in which a cell is written: `a_bc_def`."""
MICRO_CHAIN = "41414"
MODULE_DIGITS = ("1", "2", "3", "4")
ABSENT = "0"
SHORTEST, LONGEST = 4, 6
SHORTCUT_EPSILON = 1.0
"""Of the batch norm in the shortcut of `macro`, as in the code that trained it (and its momentum)."""


class TransNasStem(Layer):
    """Convolution and batch norm of stride 2, then a ReLU-conv-BN block of stride 2: a quarter of the pixels a side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS // 2, 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(CHANNELS // 2)
        self.block = ReLUConvBN(CHANNELS // 2, CHANNELS, 3, stride=2)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.block(self.bn(self.conv(x)))
        return out


class ReducingCell(Layer):
    """A cell whose edges from the input double the channels and halve the resolution."""

    widening = 2.0

    def __init__(self, edges: tuple[Edge, ...], in_channels: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        for edge, (source, _) in zip(edges, ENDS, strict=True):
            made = {
                op: _reducing(op, in_channels, channels) if source == 0 else CELL_OPS[op](channels)
                for op in edge.candidates
            }
            self.add_module(edge.name, MixedOp(made))
        self.mixed = [self.get_submodule(edge.name) for edge in edges]

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        height, width = (-(-size // 2) for size in x.shape[2:])
        zeros = x.new_zeros(len(x), self.channels, height, width)
        nodes = [x]
        for node in range(1, 4):
            incoming = [(index, source) for index, (source, target) in enumerate(ENDS) if target == node]
            nodes.append(add_up((self.mixed[i](nodes[source], weights[i]) for i, source in incoming), like=zeros))
        return nodes[-1]

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        return {index: mixed.ops for index, mixed in enumerate(self.mixed) if isinstance(mixed, MixedOp)}


def _reducing(op: str, in_channels: int, channels: int) -> CandidateOp:
    if op == "none":
        return Zero()
    if op == "skip_connect":
        return FactorizedReduce(in_channels, channels, affine=True)
    return ReLUConvBN(in_channels, channels, 1 if op == "nor_conv_1x1" else 3, stride=2)


class TransNas101Micro(Space):
    """4,096 cells in the chain `41414`."""

    name = "transnas101-micro"
    made_for = PIXELS
    table_classes = 63
    recipe = "small-data"
    edges = tuple(Edge(f"{target}<-{source}", MICRO_OPS) for source, target in ENDS)

    def build(self, edges: tuple[Edge, ...], num_classes: int) -> Supernet:
        layers: dict[str, Layer] = {"stem": TransNasStem()}
        channels = CHANNELS
        wiring = {index: (edge, *ENDS[index]) for index, edge in enumerate(edges)}
        for module, digit in enumerate(MICRO_CHAIN, start=1):
            for position in (1, 2):
                reduces = digit == "4" and position == 1
                wider = 2 * channels if reduces else channels
                layers[f"module{module}_cell{position}"] = (
                    ReducingCell(edges, channels, wider) if reduces else Cell(wiring, channels)
                )
                channels = wider
        layers["pool"] = GlobalPool()
        return Supernet(edges, layers, channels, num_classes)

    def graphs(self, arch: ArchSpec) -> dict[str, list[tuple[str, str, str]]]:
        """The cell."""
        return {"cell": [(str(s), str(t), op) for (s, t), (op,) in zip(ENDS, arch.kept, strict=True)]}

    def encode(self, arch: ArchSpec) -> str:
        """`64-41414-1_23_330`: a digit per edge 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2; 0 none, 1 skip, 2 1x1, 3 3x3."""
        a, b, c, *others = (str(MICRO_OPS.index(op)) for (op,) in arch.kept)
        return f"{CHANNELS}-{MICRO_CHAIN}-{a}_{b}{c}_{''.join(others)}"

    def decode(self, text: str) -> ArchSpec:
        start = f"{CHANNELS}-{MICRO_CHAIN}-"
        digits = text.removeprefix(start).replace("_", "")
        arch = None
        if text.startswith(start) and len(digits) == len(ENDS) and set(digits) <= set("0123"):
            arch = ArchSpec(self.name, tuple((MICRO_OPS[int(digit)],) for digit in digits))
        if arch is None or self.encode(arch) != text:
            raise UserError(f"not a {self.name} architecture: {text!r}; expected {start}a_bc_def with digits 0 to 3")
        return arch


class MacroBlock(nn.Module):
    """Two ReLU-conv3x3-BN blocks, plus the input, or a 1x1 convolution and batch norm of it where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(in_channels, channels, 3, stride)
        self.conv_b = ReLUConvBN(channels, channels, 3)
        self.shortcut = nn.Sequential()
        if stride > 1 or in_channels != channels:
            self.shortcut.add_module("conv", nn.Conv2d(in_channels, channels, 1, stride, bias=False))
            norm = nn.BatchNorm2d(channels, eps=SHORTCUT_EPSILON, momentum=SHORTCUT_EPSILON)
            self.shortcut.add_module("bn", norm)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv_b(self.conv_a(x)) + self.shortcut(x)
        return out


class MacroNet(nn.Module):
    """Stem, modules of two blocks, global average pool, classifier."""

    def __init__(self, digits: str, num_classes: int) -> None:
        super().__init__()
        self.stem = TransNasStem()
        channels, blocks = CHANNELS, []
        for digit in digits:
            wider, stride = channels * (2 if digit in "24" else 1), 2 if digit in "34" else 1
            blocks += [MacroBlock(channels, wider, stride), MacroBlock(wider, wider, 1)]
            channels = wider
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, num_classes]."""
        logits: Tensor = self.classifier(self.pool(self.blocks(self.stem(images, ()))).flatten(1))
        return logits


class TransNas101Macro(WholeNetworks):
    """3,256 chains of 4 to 6 modules, 1 to 4 of which halve the resolution and 1 to 3 double the channels."""

    name = "transnas101-macro"
    made_for = PIXELS
    table_classes = 63
    recipe = "small-data"
    edges = tuple(
        Edge(f"module{number}", MODULE_DIGITS if number <= SHORTEST else (ABSENT, *MODULE_DIGITS))
        for number in range(1, LONGEST + 1)
    )

    def example(self) -> ArchSpec:
        return self.decode(f"{CHANNELS}-1114-basic")

    def valid(self, arch: ArchSpec) -> bool:
        digits = "".join(op for (op,) in arch.kept)
        halvings, doublings = (sum(digit in kinds for digit in digits) for kinds in ("34", "24"))
        return ABSENT not in digits.rstrip(ABSENT) and 1 <= halvings <= 4 and 1 <= doublings <= 3

    def made(self, arch: ArchSpec, num_classes: int) -> nn.Module:
        return MacroNet("".join(op for (op,) in arch.kept).rstrip(ABSENT), num_classes)

    def encode(self, arch: ArchSpec) -> str:
        """`64-1243-basic`: a digit per module."""
        return f"{CHANNELS}-{''.join(op for (op,) in arch.kept).rstrip(ABSENT)}-basic"

    def decode(self, text: str) -> ArchSpec:
        digits = text.removeprefix(f"{CHANNELS}-").removesuffix("-basic")
        padded = digits.ljust(LONGEST, ABSENT)
        arch = ArchSpec(self.name, tuple((digit,) for digit in padded))
        known = len(padded) == LONGEST and all(d in e.candidates for d, e in zip(padded, self.edges, strict=True))
        if not known or not self.valid(arch) or self.encode(arch) != text:
            raise UserError(
                f"not a {self.name} architecture: {text!r}; expected {CHANNELS}-DIGITS-basic with 4 to 6 digits 1 to 4,"
                " of which 1 to 4 are 3 or 4, and 1 to 3 are 2 or 4"
            )
        return arch
