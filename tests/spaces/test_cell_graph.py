import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zcpt_ray.spaces.nasbench1shot1.cell_graph import NASBENCH101_OPS, CellGraph, read_cell, write_cell

TEXT = "conv3x3-bn-relu(0)|maxpool3x3(0,1)|conv1x1-bn-relu(0,1)|conv1x1-bn-relu(1,2)|output(1,2)"


def test_a_cell_as_the_benchmark_has_it() -> None:
    """Blocks 3 and 4 lead nowhere: input -> conv, conv and input -> pool, both -> output."""
    graph = CellGraph.from_parents(*read_cell(TEXT))
    nothing = [0] * 7
    assert graph.pruned().ops == ("conv3x3-bn-relu", "maxpool3x3")
    assert graph.matrix() == [[0, 1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 1], *[nothing] * 4]
    assert graph.canonical() == "conv3x3-bn-relu,maxpool3x3:0-1,0-2,1-2,1-3,2-3"
    five = (*graph.pruned().ops, *["conv1x1-bn-relu"] * 3)
    assert CellGraph.from_matrix(five, graph.matrix()).canonical() == graph.canonical()


def test_an_output_that_reads_the_input_alone() -> None:
    graph = CellGraph.from_parents(["maxpool3x3"], ((0,), (0,)))
    assert (graph.pruned().ops, graph.canonical()) == ((), ":0-1")


@given(st.data())
def test_the_order_of_nodes_does_not_matter(data: st.DataObject) -> None:
    nodes = range(1, 6)
    ops = data.draw(st.lists(st.sampled_from(NASBENCH101_OPS), min_size=5, max_size=5))
    edges = data.draw(st.sets(st.sampled_from(list(itertools.combinations(range(7), 2)))))
    order = [0, *data.draw(st.permutations(nodes)), 6]
    moved = [ops[order.index(node) - 1] for node in nodes]
    shuffled = CellGraph(tuple(moved), frozenset((order[s], order[t]) for s, t in edges))
    assert shuffled.canonical() == CellGraph(tuple(ops), frozenset(edges)).canonical()


def test_different_graphs_differ() -> None:
    one, other = ("conv1x1-bn-relu", "maxpool3x3"), ("maxpool3x3", "conv1x1-bn-relu")
    chain = ((0,), (1,), (2,))
    assert CellGraph.from_parents(one, chain).canonical() != CellGraph.from_parents(other, chain).canonical()
    assert (
        CellGraph.from_parents(one, chain).canonical() != CellGraph.from_parents(one, ((0,), (0,), (1, 2))).canonical()
    )


def test_text_round_trips() -> None:
    assert write_cell(*read_cell(TEXT)) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "output",
        TEXT.removesuffix("|output(1,2)"),
        TEXT.replace("maxpool", "avgpool"),
        TEXT + "|output(1)",
        TEXT + " ",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a cell"):
        read_cell(text)


@pytest.mark.parametrize("matrix", [[[0, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1], [0, 1, 0]], [[0, 1]] * 3])
def test_other_matrices_are_refused(matrix: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="no upper triangular 3x3 matrix"):
        CellGraph.from_matrix(["maxpool3x3"], matrix)
