"""Which nodes the edges of a DARTS cell join, and where an architecture says what they hold."""

from dataclasses import dataclass

from zcpt_ray.engine.folding import EdgeWeights

INNER_NODES = 4
"""Inner nodes of a cell, after its two inputs: they are the nodes 2 to 5."""
DARTS_ENDS = tuple((source, target) for target in range(2, 2 + INNER_NODES) for source in range(target))
"""Source and target node of each of the 14 edges; nodes 0 and 1 are the outputs of the two cells before."""


@dataclass(frozen=True)
class DartsWiring:
    """The edges of one kind of cell, normal or reduction, and their places in the edge weights.

    Of the i-th edge, `ops[i]` is the index in the weights and `candidates[i]` are the ops it has. Of node n,
    `inputs[n]` is the index of the decision about its inputs and `sources[n]` are the sources it may have.
    """

    ops: tuple[int, ...]
    candidates: tuple[tuple[str, ...], ...]
    inputs: dict[int, int]
    sources: dict[int, tuple[int, ...]]

    def edges(self) -> list[tuple[int, int, int]]:
        """(position, source, target) of the edges that there are."""
        return [(i, source, target) for i, (source, target) in enumerate(DARTS_ENDS) if source in self.sources[target]]

    def input_weight(self, weights: EdgeWeights, source: int, target: int) -> float:
        """How much node `target` takes of what comes from node `source`."""
        return weights[self.inputs[target]][self.sources[target].index(source)]
