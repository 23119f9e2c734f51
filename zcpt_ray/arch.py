"""The vocabulary of a search: edges, partly decided architectures, finished architectures. No torch here."""

from dataclasses import dataclass, field, replace

Graph = list[tuple[str, str, str]]
"""Links (source node, target node, op) of a part of an architecture; an op "" only hands on."""


@dataclass(frozen=True)
class Edge:
    """One decision of a search space: `candidates` are its ops, `keep` of them survive.

    While the edge is open each op weighs `op_weight`. By default that is 1/|candidates|: the edge averages its ops.
    With 1 it sums them, as a node does with its inputs.

    Raises:
        ValueError: an empty or repeated candidate, or a `keep` outside 1..len(candidates).
    """

    name: str
    candidates: tuple[str, ...]
    keep: int = 1
    op_weight: float | None = None

    def __post_init__(self) -> None:
        if not self.candidates or len(set(self.candidates)) != len(self.candidates):
            raise ValueError(f"edge {self.name!r} needs distinct candidate ops, got {self.candidates}")
        if not 1 <= self.keep <= len(self.candidates):
            raise ValueError(f"edge {self.name!r} keeps {self.keep} ops; allowed are 1 to {len(self.candidates)}")

    @property
    def open_weight(self) -> float:
        """What each op weighs while nothing is decided."""
        return 1 / len(self.candidates) if self.op_weight is None else self.op_weight


@dataclass(frozen=True)
class PartialArch:
    """A supernet in the middle of a search: A_t of the paper, with A - (e, o) written as a `removed` op.

    Edges are named by their index in `edges`. `kept[e]` holds the ops that edge e was discretized to, or None while it
    is open.
    """

    edges: tuple[Edge, ...]
    kept: tuple[tuple[str, ...] | None, ...]
    removed: frozenset[tuple[int, str]] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if len(self.kept) != len(self.edges):
            raise ValueError(f"{len(self.edges)} edges need as many entries in kept, got {len(self.kept)}")
        for edge, ops in zip(self.edges, self.kept, strict=True):
            if ops is not None and (len(set(ops)) != edge.keep or len(ops) != edge.keep):
                raise ValueError(f"edge {edge.name!r} keeps {edge.keep} ops, got {ops}")
            for op in ops or ():
                _check_op(edge, op)
        for index, op in self.removed:
            _check_op(self.edges[index], op)

    @classmethod
    def all_open(cls, edges: tuple[Edge, ...]) -> "PartialArch":
        """A_0: every edge that leaves a choice is open, nothing removed."""
        return cls(edges, tuple(None if edge.keep < len(edge.candidates) else edge.candidates for edge in edges))

    @classmethod
    def whole(cls, edges: tuple[Edge, ...]) -> "PartialArch":
        """Every edge keeps all that it offers: a finished network, whose edges offer what they keep."""
        return cls(edges, tuple(edge.candidates for edge in edges))

    @property
    def open_edges(self) -> tuple[int, ...]:
        """Indices of the edges that are not decided yet, ascending."""
        return tuple(index for index, ops in enumerate(self.kept) if ops is None)

    def discretize(self, edge: int, ops: tuple[str, ...]) -> "PartialArch":
        """A + (e, o): `edge` keeps `ops` and nothing else.

        Raises:
            ValueError: the edge is decided already, or `ops` are not `keep` of its candidates.
        """
        self._check_open(edge)
        kept = (*self.kept[:edge], ops, *self.kept[edge + 1 :])
        return replace(self, kept=kept, removed=frozenset(pair for pair in self.removed if pair[0] != edge))

    def perturb(self, edge: int, op: str) -> "PartialArch":
        """A - (e, o): `op` is taken from the open `edge`, the other ops stay with the weights they had.

        Raises:
            ValueError: the edge is decided already, or `op` is not one of its candidates.
        """
        self._check_open(edge)
        return replace(self, removed=self.removed | {(edge, op)})

    def reduce_to(self, edge: int, op: str) -> "PartialArch":
        """The open `edge` with `op` alone: A + (e, o), or, where it is to keep several, all its other ops removed.

        Raises:
            ValueError: the edge is decided already, or `op` is not one of its candidates.
        """
        if self.edges[edge].keep == 1:
            return self.discretize(edge, (op,))
        self._check_open(edge)
        _check_op(self.edges[edge], op)
        others = {(edge, other) for other in self.edges[edge].candidates if other != op}
        return replace(self, removed=self.removed | others)

    def edge_weights(self) -> tuple[tuple[float, ...], ...]:
        """Per edge the weight of each candidate op: `Edge.open_weight` while it is open; then 1 if kept and 0 if not.

        A removed op weighs 0. The others keep their weights, as in the paper's released code.
        """
        return tuple(
            tuple(
                edge.open_weight * ((index, op) not in self.removed) if ops is None else float(op in ops)
                for op in edge.candidates
            )
            for index, (edge, ops) in enumerate(zip(self.edges, self.kept, strict=True))
        )

    def finish(self, space: str) -> "ArchSpec":
        """The finished architecture.

        Raises:
            ValueError: some edge is still open.
        """
        if self.open_edges:
            names = ", ".join(self.edges[index].name for index in self.open_edges)
            raise ValueError(f"edges still open: {names}")
        return ArchSpec(space, tuple(ops for ops in self.kept if ops is not None))

    def _check_open(self, edge: int) -> None:
        if self.kept[edge] is not None:
            raise ValueError(f"edge {self.edges[edge].name!r} is decided already: {self.kept[edge]}")


@dataclass(frozen=True)
class ArchSpec:
    """A finished architecture of `space`: per edge, in the space's order, the ops it keeps. Hashable."""

    space: str
    kept: tuple[tuple[str, ...], ...]


def _check_op(edge: Edge, op: str) -> None:
    if op not in edge.candidates:
        raise ValueError(f"edge {edge.name!r} has no op {op!r}; choose from {', '.join(edge.candidates)}")
