"""Which nodes of a NAS-Bench-1Shot1 cell read which, and how values pass along them.

Node 0 is the cell's input, nodes 1, 2, ... are its blocks, and the last node is the output.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from zcpt_ray.arch import Edge
from zcpt_ray.engine.cells import scaled, takes_part
from zcpt_ray.engine.folding import EdgeWeights

Sources = tuple[tuple[int, float], ...]
"""The nodes that a node reads, each with its weight."""


@dataclass(frozen=True)
class CellPlan:
    """What runs of a cell at some edge weights.

    `blocks` are the blocks from which something leads to the output, ascending, each with what it reads. `output` is
    what the output, node `last`, reads.
    """

    blocks: tuple[tuple[int, Sources], ...]
    output: Sources
    last: int

    @property
    def input_readers(self) -> list[int]:
        """The nodes that read the cell's input."""
        return [node for node, sources in (*self.blocks, (self.last, self.output)) if 0 in dict(sources)]


@dataclass(frozen=True)
class BlockWiring:
    """The edges of a cell, each with its index in the weights.

    `ops` holds those that decide the op of each block. `inputs` holds those that decide what each block and the output
    read.
    """

    ops: tuple[tuple[int, Edge], ...]
    inputs: tuple[tuple[int, Edge], ...]

    def plan(self, weights: EdgeWeights) -> CellPlan:
        """What runs at these weights."""
        last = len(self.inputs)
        output = self._sources(last, weights)
        blocks: list[tuple[int, Sources]] = []
        live = {node for node, _ in output}
        for node in range(last - 1, 0, -1):
            if node in live:
                sources = self._sources(node, weights)
                live |= {source for source, _ in sources}
                blocks.insert(0, (node, sources))
        return CellPlan(tuple(blocks), output, last)

    def op_weights(self, block: int, weights: EdgeWeights) -> tuple[float, ...]:
        """The weights of the ops of a block."""
        return weights[self.ops[block - 1][0]]

    def _sources(self, node: int, weights: EdgeWeights) -> Sources:
        index, edge = self.inputs[node - 1]
        read = zip(edge.candidates, weights[index], strict=True)
        return tuple((int(source), weight) for source, weight in read if takes_part(weight))


class CellParts(ABC):
    """The parts of a cell on one input, as they are written or folded."""

    @abstractmethod
    def project(self, node: int) -> Tensor:
        """The cell's input as `node` reads it."""

    @abstractmethod
    def mix(self, block: int, read: Tensor) -> Tensor | None:
        """What the ops of a block make of the tensor it reads, or None if all were removed."""


def run_cell(plan: CellPlan, parts: CellParts, nothing: Tensor) -> Tensor:
    """The cell's output: all blocks side by side, plus the projected input if the output reads it.

    `nothing`, zeros [B, C, H, W], stands for a block that the output does not read.
    """
    nodes: dict[int, Tensor] = {}
    for block, sources in plan.blocks:
        read: Tensor | None = None
        for source, weight in sources:
            value = parts.project(block) if source == 0 else nodes.get(source)
            if value is not None:
                read = scaled(value, weight) if read is None else read + scaled(value, weight)
        if read is not None and (mixed := parts.mix(block, read)) is not None:
            nodes[block] = mixed
    weights = dict(plan.output)
    read_blocks = (
        scaled(nodes[block], weights[block]) if block in weights and block in nodes else nothing
        for block in range(1, plan.last)
    )
    joined = torch.cat(tuple(read_blocks), dim=1)
    return joined + scaled(parts.project(plan.last), weights[0]) if 0 in weights else joined
