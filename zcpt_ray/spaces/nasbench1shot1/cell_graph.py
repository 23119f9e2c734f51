"""Cells of NAS-Bench-101 (Ying et al. 2019): as text, as the benchmark's matrix, and when two are one graph.

No torch here.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

NASBENCH101_OPS = ("conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3")
OUTPUT = "output"
MATRIX_SIZE = 7
"""Nodes of the benchmark's largest cell: the input, five inner nodes, the output."""

Parents = tuple[tuple[int, ...], ...]
"""Per block and for the output the nodes it reads, ascending; node 0 is the cell's input, block i is node i."""


@dataclass(frozen=True)
class CellGraph:
    """A cell as a graph; `edges` are (source, target).

    Node 0 is the input, node i has the op `ops[i - 1]`, the last node is the output.
    """

    ops: tuple[str, ...]
    edges: frozenset[tuple[int, int]]

    @classmethod
    def from_parents(cls, ops: Sequence[str], parents: Parents) -> "CellGraph":
        """From what each block and the output read."""
        return cls(
            tuple(ops), frozenset((source, node) for node, sources in enumerate(parents, start=1) for source in sources)
        )

    @classmethod
    def from_matrix(cls, ops: Sequence[str], matrix: Sequence[Sequence[int]]) -> "CellGraph":
        """From the benchmark's upper triangular adjacency matrix, whose last node is the output.

        `ops` are those of the inner nodes.

        Raises:
            ValueError: the matrix has another size, or edges that lead back.
        """
        size = range(len(ops) + 2)
        if [len(row) for row in matrix] != [len(size)] * len(size) or any(
            matrix[s][t] for s in size for t in range(s + 1)
        ):
            raise ValueError(f"{matrix} is no upper triangular {len(size)}x{len(size)} matrix")
        return cls(tuple(ops), frozenset((s, t) for s in size for t in size if matrix[s][t]))

    def pruned(self) -> "CellGraph":
        """Without the nodes that no path from input to output passes, as the benchmark trains it."""
        last = len(self.ops) + 1
        inner = [node for node in self._reached(0, 1) if node in self._reached(last, -1) and 0 < node < last]
        return self._renumbered(sorted(inner))

    def canonical(self) -> str:
        """One text for all cells that are this one but for the order of their nodes, once pruned.

        Nodes are sorted by op, and of all orders within equal ops that with the least list of edges counts.
        """
        graph = self.pruned()
        nodes = sorted(range(1, len(graph.ops) + 1), key=lambda node: graph.ops[node - 1])
        groups = [tuple(group) for _, group in itertools.groupby(nodes, key=lambda node: graph.ops[node - 1])]
        orders = itertools.product(*(itertools.permutations(group) for group in groups))
        edges = min(sorted(graph._renumbered([*itertools.chain(*order)]).edges) for order in orders)
        return f"{','.join(graph.ops[node - 1] for node in nodes)}:{','.join(f'{s}-{t}' for s, t in edges)}"

    def matrix(self) -> list[list[int]]:
        """The pruned cell as the benchmark's 7x7 matrix: output last, nodes that it has not got all zero."""
        graph = self.pruned()
        rows = [[0] * MATRIX_SIZE for _ in range(MATRIX_SIZE)]
        for source, target in graph.edges:
            rows[source][target if target <= len(graph.ops) else MATRIX_SIZE - 1] = 1
        return rows

    def _reached(self, start: int, direction: int) -> set[int]:
        """The nodes that edges lead to from `start`, forwards (1) or backwards (-1)."""
        found, waiting = {start}, [start]
        while waiting:
            node = waiting.pop()
            ends = {edge[::direction][1] for edge in self.edges if edge[::direction][0] == node}
            waiting += ends - found
            found |= ends
        return found

    def _renumbered(self, inner: Sequence[int]) -> "CellGraph":
        """The graph on the given inner nodes, numbered in this order."""
        last = len(self.ops) + 1
        number = {0: 0, **{node: position for position, node in enumerate(inner, start=1)}, last: len(inner) + 1}
        edges = frozenset((number[s], number[t]) for s, t in self.edges if s in number and t in number)
        return CellGraph(tuple(self.ops[node - 1] for node in inner), edges)


def write_cell(ops: Sequence[str], parents: Parents) -> str:
    """`conv3x3-bn-relu(0)|maxpool3x3(0,1)|output(1,2)`: each block's op with the nodes it reads."""
    return "|".join(f"{op}({','.join(map(str, sources))})" for op, sources in zip((*ops, OUTPUT), parents, strict=True))


def read_cell(text: str) -> tuple[tuple[str, ...], Parents]:
    """Ops and parents: the inverse of `write_cell`.

    Raises:
        ValueError: `text` is not written like that.
    """
    found = [re.fullmatch(r"([a-z0-9-]+)\((\d+(?:,\d+)*)\)", part) for part in text.split("|")]
    names = [match[1] for match in found if match]
    parents = tuple(tuple(int(node) for node in match[2].split(",")) for match in found if match)
    if (
        not all(found)
        or names[-1] != OUTPUT
        or not set(names[:-1]) <= set(NASBENCH101_OPS)
        or write_cell(names[:-1], parents) != text
    ):
        raise ValueError(f"not a cell: {text!r}")
    return tuple(names[:-1]), parents
