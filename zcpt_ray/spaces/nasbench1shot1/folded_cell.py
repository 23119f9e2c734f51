"""The cell of NAS-Bench-1Shot1, folded for fast evaluation.

Batch norms fold into convolutions, and the convolutions that project the cell's input for its readers run as one. The
weight w of an op z folds in too: relu(w z) = w relu(z).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zcpt_ray.engine.cells import add_up, scaled
from zcpt_ray.engine.convolutions import RELU, convolve
from zcpt_ray.engine.folding import EdgeWeights, FoldedLayer, SeparateFolding
from zcpt_ray.engine.ops import CandidateOp, fold_bn
from zcpt_ray.engine.relu_codes import ReluCode, active_code
from zcpt_ray.spaces.nasbench1shot1.ops import ConvBNReLU
from zcpt_ray.spaces.nasbench1shot1.wiring import BlockWiring, CellParts, CellPlan, run_cell


class BlockOp(ABC):
    """An op of a block in eval mode, times its weight."""

    @abstractmethod
    def __call__(self, read: Tensor, codes: list[ReluCode]) -> Tensor | None:
        """What the op gives of the tensor that its block reads; codes of what its ReLU reads are added to `codes`."""


@dataclass(frozen=True)
class FoldedConvReLU(BlockOp):
    """Convolutions of one size with batch norm and ReLU: `kernel` [C_out, C_in, k, k] and `bias` [C_out]."""

    kernel: Tensor
    bias: Tensor

    def __call__(self, read: Tensor, codes: list[ReluCode]) -> Tensor:
        out = convolve(read, self.kernel, self.bias, padding=self.kernel.shape[-1] // 2, clamp=RELU)
        codes.append(ReluCode(active_code(out), 1, 0))
        return out


@dataclass(frozen=True)
class WeightedOp(BlockOp):
    """An op without ReLUs, as it is written."""

    op: CandidateOp
    weight: float

    def __call__(self, read: Tensor, codes: list[ReluCode]) -> Tensor | None:
        out = self.op(read)
        return None if out is None else scaled(out, self.weight)


class BlockCellFolding(SeparateFolding):
    """A cell whose batch norms are folded.

    `blocks` are the candidate ops of each block, `projections` the convolutions by which nodes may read the input.
    """

    def __init__(
        self,
        wiring: BlockWiring,
        channels: int,
        blocks: Sequence[Sequence[CandidateOp]],
        projections: Mapping[int, ConvBNReLU],
    ) -> None:
        self.wiring = wiring
        self.channels = channels
        self.blocks = blocks
        convs = [op for ops in blocks for op in ops if isinstance(op, ConvBNReLU)]
        self.folded = {op: fold_bn(op.conv.weight, op.bn) for op in (*convs, *projections.values())}
        self.projections = projections

    def fold(self, weights: EdgeWeights) -> "FoldedBlockCell":
        plan = self.wiring.plan(weights)
        ops = {block: self._live_ops(block, weights) for block, _ in plan.blocks}
        return FoldedBlockCell(plan, self.channels, ops, self._joined_projections(plan))

    def _live_ops(self, block: int, weights: EdgeWeights) -> list[BlockOp]:
        pairs = zip(self.wiring.op_weights(block, weights), self.blocks[block - 1], strict=True)
        return [self._weighted(op, weight) for weight, op in pairs if weight > 0]

    def _weighted(self, op: CandidateOp, weight: float) -> BlockOp:
        if isinstance(op, ConvBNReLU):
            kernel, bias = self.folded[op]
            return FoldedConvReLU(kernel * weight, bias * weight)
        return WeightedOp(op, weight)

    def _joined_projections(self, plan: CellPlan) -> "JoinedProjections | None":
        if not plan.input_readers:
            return None
        kernels, biases = zip(*(self.folded[self.projections[node]] for node in plan.input_readers), strict=True)
        widths = dict(zip(plan.input_readers, map(len, biases), strict=True))
        return JoinedProjections(FoldedConvReLU(torch.cat(kernels), torch.cat(biases)), widths)


@dataclass(frozen=True)
class JoinedProjections:
    """The cell's input as several nodes read it, by one convolution; `widths` are the channels that each gets."""

    conv: FoldedConvReLU
    widths: dict[int, int]

    def __call__(self, x: Tensor, codes: list[ReluCode]) -> dict[int, Tensor]:
        """Per node, what it reads; codes are added to `codes`."""
        parts = torch.split(self.conv(x, codes), list(self.widths.values()), dim=1)
        return dict(zip(self.widths, parts, strict=True))


class FoldedBlockCell(FoldedLayer):
    """A cell for fixed edge weights. `ops` are the ops that are left, per block that runs."""

    def __init__(
        self,
        plan: CellPlan,
        channels: int,
        ops: Mapping[int, Sequence[BlockOp]],
        projections: JoinedProjections | None,
    ) -> None:
        self.plan = plan
        self.channels = channels
        self.ops = ops
        self.projections = projections

    def __call__(self, x: Tensor) -> tuple[Tensor, list[ReluCode]]:
        codes: list[ReluCode] = []
        projected = self.projections(x, codes) if self.projections else {}
        nothing = x.new_zeros(len(x), self.channels, *x.shape[2:]).contiguous(memory_format=torch.channels_last)
        return run_cell(self.plan, FoldedParts(self.ops, projected, codes), nothing), codes


@dataclass(frozen=True)
class FoldedParts(CellParts):
    """The parts of a folded cell on one input, which is projected already; codes are added to `codes`."""

    ops: Mapping[int, Sequence[BlockOp]]
    projected: Mapping[int, Tensor]
    codes: list[ReluCode]

    def project(self, node: int) -> Tensor:
        return self.projected[node]

    def mix(self, block: int, read: Tensor) -> Tensor | None:
        ops = self.ops[block]
        return add_up((op(read, self.codes) for op in ops), like=read) if ops else None
