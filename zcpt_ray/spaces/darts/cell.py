"""The cell of the DARTS spaces, as it is written."""

from collections.abc import Hashable

import torch
from torch import Tensor

from zcpt_ray.engine.cells import MixedOp, scaled, takes_part
from zcpt_ray.engine.folding import EdgeWeights, Folding
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.ops import CandidateOp, Noise, ReLUConvBN, Skip
from zcpt_ray.spaces.darts.folded_cell import DartsCellFolding, zeros_of_node
from zcpt_ray.spaces.darts.ops import DARTS_OPS, FactorizedReduce
from zcpt_ray.spaces.darts.wiring import INNER_NODES, DartsWiring


class DartsCell(Layer):
    """Maps the outputs of the last two cells to those of the last cell and of this one, which has 4C channels.

    `in_channels` are those of the two, C is `channels`. With `reduction` it halves the resolution. With `halve_first`
    the first input has twice the resolution of the second. `searching` says that it is part of a supernet, not of a
    network that is to be trained.
    """

    def __init__(
        self,
        wiring: DartsWiring,
        in_channels: tuple[int, int],
        channels: int,
        reduction: bool,
        halve_first: bool,
        searching: bool,
    ) -> None:
        super().__init__()
        self.wiring = wiring
        self.reduction = reduction
        self.drop_path: Tensor | None = None
        affine = not searching
        first, last = in_channels
        self.preprocess0 = (
            FactorizedReduce(first, channels, affine) if halve_first else _preprocess(first, channels, affine)
        )
        self.preprocess1 = _preprocess(last, channels, affine)
        for i, source, _ in wiring.edges():
            stride = 2 if reduction and source < 2 else 1
            self.add_module(
                f"edge{i}", MixedOp({op: DARTS_OPS[op](channels, stride, searching) for op in wiring.candidates[i]})
            )
        self.images_apart = not any(isinstance(module, Noise) for module in self.modules())

    def forward(self, x: tuple[Tensor, Tensor], weights: EdgeWeights) -> tuple[Tensor, Tensor]:
        nodes = [self.preprocess0(x[0]), self.preprocess1(x[1])]
        for target in range(2, 2 + INNER_NODES):
            total: Tensor | None = None
            for i, source, end in self.wiring.edges():
                if end == target and takes_part(weight := self.wiring.input_weight(weights, source, target)):
                    mixed = self._mixed(i)
                    output = mixed(nodes[source], weights[self.wiring.ops[i]])
                    if output is not None:
                        output = scaled(self._drop(output, mixed), weight)
                        total = output if total is None else total + output
            nodes.append(zeros_of_node(nodes, self.reduction) if total is None else total)
        return x[1], torch.cat(nodes[2:], dim=1)

    def candidate_ops(self) -> dict[int, list[CandidateOp]]:
        return {self.wiring.ops[i]: self._mixed(i).ops for i, _, _ in self.wiring.edges()}

    def key(self, weights: EdgeWeights) -> Hashable:
        return super().key(weights), tuple(tuple(weights[index]) for index in self.wiring.inputs.values())

    def folding(self) -> Folding:
        ops = {i: self._mixed(i).ops for i, _, _ in self.wiring.edges()}
        return DartsCellFolding(self.wiring, ops, (self.preprocess0, self.preprocess1), self.reduction)

    def _mixed(self, position: int) -> MixedOp:
        mixed = self.get_submodule(f"edge{position}")
        assert isinstance(mixed, MixedOp)
        return mixed

    def _drop(self, output: Tensor, mixed: MixedOp) -> Tensor:
        """Drop path: an edge that is not the identity gives nothing for some images, and more for the others."""
        if not self.training or self.drop_path is None or isinstance(mixed.ops[0], Skip):
            return output
        keep = 1 - self.drop_path
        kept = torch.bernoulli(keep.expand(len(output), 1, 1, 1))
        return output * (kept / keep).to(output.dtype)


def _preprocess(in_channels: int, channels: int, affine: bool) -> ReLUConvBN:
    return ReLUConvBN(in_channels, channels, 1, affine=affine)
