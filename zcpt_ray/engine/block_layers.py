"""Layers of blocks: those that choose among blocks, and the stem and head beside them.

Folded, a block runs once for all edge weights of a call: they differ only in how much of its output they take.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from zcpt_ray.arch import Edge
from zcpt_ray.engine.cells import MixedOp
from zcpt_ray.engine.folding import EdgeWeights, FixedFolding, FoldedLayer, Folding, JointFoldedLayer, SharedCode
from zcpt_ray.engine.inverted_residual import BLOCKS, Block, ConvBN, FoldedBlock
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.ops import CandidateOp
from zcpt_ray.engine.relu_codes import ReluCode


class ConvStem(Layer):
    """Convolution 3x3, batch normalisation, ReLU6."""

    least_images = 1

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = ConvBN(in_channels, channels, 3, stride)
        self.widening = channels / (in_channels * stride**2)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.conv(x)
        return out

    def folding(self) -> Folding:
        return FixedFolding(OneBlock(self.conv.fold()))


class FixedBlock(Layer):
    """A block that leaves no choice."""

    least_images = 1

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.block(x)
        return out

    def folding(self) -> Folding:
        return FixedFolding(OneBlock(self.block.fold()))


class ConvHead(Layer):
    """Convolution 1x1, batch normalisation, ReLU6, global average pool."""

    least_images = 1

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = ConvBN(in_channels, channels, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out: Tensor = self.pool(self.conv(x)).flatten(1)
        return out

    def folding(self) -> Folding:
        return FixedFolding(OneBlock(self.conv.fold()))


class OneBlock(FoldedLayer):
    """A layer that is one block."""

    def __init__(self, block: FoldedBlock) -> None:
        self.block = block

    def __call__(self, x: Tensor) -> tuple[Tensor, list[ReluCode]]:
        out, codes = self.block(x)
        return out, [ReluCode(code, 1, 0) for code in codes]


class ChoiceLayer(Layer):
    """The candidate blocks of one edge, `index` in the weights, mixed by these.

    `blocks` makes a block for a change of shape: input channels, output channels and stride.
    """

    least_images = 1

    def __init__(
        self,
        index: int,
        edge: Edge,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        blocks: Mapping[str, Callable[[int, int, int], Block]] = BLOCKS,
    ) -> None:
        super().__init__()
        self.index = index
        self.out_channels = out_channels
        self.stride = stride
        self.blocks = {op: blocks[op](in_channels, out_channels, stride) for op in edge.candidates}
        self.mixed = MixedOp(self.blocks)
        widths = [conv.out_channels for conv in self.modules() if isinstance(conv, nn.Conv2d)]
        self.widening = max(widths, default=in_channels) / in_channels

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        out = self.mixed(x, weights[self.index])
        return self.zeros(x) if out is None else out

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        return {self.index: self.mixed.ops}

    def folding(self) -> Folding:
        return ChoiceFolding(self)

    def zeros(self, x: Tensor) -> Tensor:
        """What the layer gives of `x` [B, C, H, W] where all its ops were removed."""
        height, width = (-(-size // self.stride) for size in x.shape[2:])
        zeros = x.new_zeros(len(x), self.out_channels, height, width)
        return zeros.contiguous(memory_format=torch.channels_last)


class ChoiceFolding(Folding):
    """A `ChoiceLayer` whose blocks are folded when they first run, and then kept."""

    joint = None

    def __init__(self, layer: ChoiceLayer) -> None:
        self.layer = layer
        self.written = list(layer.blocks.values())
        self.folded: dict[int, FoldedBlock] = {}

    def block(self, op: int) -> FoldedBlock:
        """Block `op` of the edge, folded."""
        if op not in self.folded:
            self.folded[op] = self.written[op].fold()
        return self.folded[op]

    def fold_jointly(self, weights: Sequence[EdgeWeights]) -> "FoldedChoice":
        return FoldedChoice(self, [each[self.layer.index] for each in weights])


class FoldedChoice(JointFoldedLayer):
    """A `ChoiceLayer` for several mixtures of its ops: a block runs once, and is added to all that hold it."""

    def __init__(self, folding: ChoiceFolding, mixtures: Sequence[Sequence[float]]) -> None:
        self.folding = folding
        self.mixtures = mixtures
        holders = {
            op: tuple(position for position, mixture in enumerate(mixtures) if mixture[op] > 0)
            for op in range(len(folding.written))
        }
        self.holders = {op: positions for op, positions in holders.items() if positions}

    def __call__(self, x: Tensor) -> tuple[list[Tensor], list[SharedCode]]:
        totals = [self.folding.layer.zeros(x) for _ in self.mixtures]
        codes: list[SharedCode] = []
        for op, positions in self.holders.items():
            out, seen = self.folding.block(op)(x)
            codes += [(ReluCode(code, 1, 0), positions) for code in seen]
            for position in positions:
                totals[position].add_(out, alpha=self.mixtures[position][op])
        return totals, codes
