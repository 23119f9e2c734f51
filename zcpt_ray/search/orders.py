"""Edge discretization orders (section 4.2 and A.5 of the paper).

An order is a generator over a lane's open edges. It yields a tuple of edges to have all their ops scored, and is sent
{edge: scores of its ops}; or it yields one edge, which is then decided. A step ends with a decision: scores asked for
in a step are on its minibatch and are not taken twice. The released code runs global-op-once and global-edge-once as
plain reverse order; here they are what the text says.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

EdgeScores = Mapping[int, Sequence[float]]
Visit = Generator[int | tuple[int, ...], EdgeScores, None]


@dataclass(frozen=True)
class Order:
    """`visit(edges, random)` visits each of `edges` once."""

    name: str
    visit: Callable[[Sequence[int], np.random.Generator], Visit]
    compares_edges: bool = False
    """Whether scores of ops of different edges are compared."""


def fixed(edges: Sequence[int], random: np.random.Generator) -> Visit:
    """From the input towards the output. |E||O| scores."""
    yield from edges


def shuffled(edges: Sequence[int], random: np.random.Generator) -> Visit:
    """In random order. |E||O| scores."""
    yield from random.permutation(np.asarray(edges)).tolist()


def _iterative(rate: Callable[[Sequence[float]], float]) -> Callable[[Sequence[int], np.random.Generator], Visit]:
    def visit(edges: Sequence[int], random: np.random.Generator) -> Visit:
        left = list(edges)
        while left:
            scores = yield tuple(left)
            best = max(left, key=lambda edge: rate(scores[edge]))
            left.remove(best)
            yield best

    visit.__doc__ = "Always the edge that rates best now, all scores redone each time. |O||E|(|E|+1)/2 scores."
    return visit


def _once(rate: Callable[[Sequence[float]], float]) -> Callable[[Sequence[int], np.random.Generator], Visit]:
    def visit(edges: Sequence[int], random: np.random.Generator) -> Visit:
        scores = yield tuple(edges)
        yield from sorted(edges, key=lambda edge: rate(scores[edge]), reverse=True)

    visit.__doc__ = "Edges sorted once by how they rate at first. 2|O||E| - |O| scores."
    return visit


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


ORDERS: dict[str, Order] = {
    order.name: order
    for order in (
        Order("fixed", fixed),
        Order("random", shuffled),
        Order("global-op-iter", _iterative(max), compares_edges=True),
        Order("global-op-once", _once(max), compares_edges=True),
        Order("global-edge-iter", _iterative(_mean), compares_edges=True),
        Order("global-edge-once", _once(_mean), compares_edges=True),
    )
}
