"""The layers of NAS-Bench-1Shot1's networks, as they are written."""

from collections.abc import Hashable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zcpt_ray.engine.cells import MixedOp
from zcpt_ray.engine.folding import EdgeWeights, Folding
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.ops import CandidateOp, Zero
from zcpt_ray.spaces.nasbench1shot1.folded_cell import BlockCellFolding
from zcpt_ray.spaces.nasbench1shot1.ops import BLOCK_OPS, ConvBNReLU
from zcpt_ray.spaces.nasbench1shot1.wiring import BlockWiring, CellParts, run_cell


class BlockCell(Layer):
    """A cell: the outputs of its blocks, of `channels` each, side by side, from any number of input channels."""

    def __init__(self, wiring: BlockWiring, in_channels: int, channels: int) -> None:
        super().__init__()
        self.wiring = wiring
        self.channels = channels
        output = len(wiring.inputs)
        self.blocks = [MixedOp({op: BLOCK_OPS[op](channels) for op in edge.candidates}) for _, edge in wiring.ops]
        self.projections: dict[int, ConvBNReLU] = {}
        for block, mixed in enumerate(self.blocks, start=1):
            self.add_module(f"block{block}", mixed)
        for node, (_, edge) in enumerate(wiring.inputs, start=1):
            if "0" in edge.candidates:
                width = channels if node < output else channels * len(self.blocks)
                self.projections[node] = ConvBNReLU(in_channels, width, 1)
                self.add_module(f"input_to_{node}", self.projections[node])

    def forward(self, x: Tensor, weights: EdgeWeights) -> Tensor:
        nothing = x.new_zeros(x.shape[0], self.channels, *x.shape[2:]).contiguous(memory_format=torch.channels_last)
        return run_cell(self.wiring.plan(weights), WrittenParts(self, x, weights), nothing)

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        """Ops of blocks, and for what reads the cell's input the projection; other nodes are read as they are."""
        ops = {index: mixed.ops for (index, _), mixed in zip(self.wiring.ops, self.blocks, strict=True)}
        for node, (index, edge) in enumerate(self.wiring.inputs, start=1):
            ops[index] = [self.projections[node] if source == "0" else Zero() for source in edge.candidates]
        return ops

    def key(self, weights: EdgeWeights) -> Hashable:
        """The weights of what runs."""
        plan = self.wiring.plan(weights)
        return plan, tuple(self.wiring.op_weights(block, weights) for block, _ in plan.blocks)

    def folding(self) -> Folding:
        return BlockCellFolding(self.wiring, self.channels, [mixed.ops for mixed in self.blocks], self.projections)


@dataclass(frozen=True)
class WrittenParts(CellParts):
    """The parts of a `BlockCell` on one input, as they are written."""

    cell: BlockCell
    x: Tensor
    weights: EdgeWeights

    def project(self, node: int) -> Tensor:
        out: Tensor = self.cell.projections[node](self.x)
        return out

    def mix(self, block: int, read: Tensor) -> Tensor | None:
        mixed: Tensor | None = self.cell.blocks[block - 1](read, self.cell.wiring.op_weights(block, self.weights))
        return mixed


class ConvBNReLUStem(Layer):
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
