import pytest
from hypothesis import given
from hypothesis import strategies as st

from zcpt_ray.arch import Edge, PartialArch

names = st.lists(st.sampled_from("abcdefg"), min_size=2, max_size=5, unique=True).map(tuple)
edges = st.lists(
    names.flatmap(lambda ops: st.integers(1, len(ops) - 1).map(lambda keep: (ops, keep))), min_size=1, max_size=5
).map(lambda parts: tuple(Edge(f"e{i}", ops, keep) for i, (ops, keep) in enumerate(parts)))


@given(edges, st.randoms(use_true_random=False))
def test_discretizing_every_edge_finishes(edges: tuple[Edge, ...], random) -> None:
    arch = PartialArch.all_open(edges)
    order = random.sample(range(len(edges)), len(edges))
    for decided, edge in enumerate(order):
        assert set(arch.open_edges) == set(order[decided:])
        before = arch
        arch = arch.discretize(edge, tuple(random.sample(edges[edge].candidates, edges[edge].keep)))
        assert before.kept[edge] is None
    assert arch.finish("space").kept == arch.kept


@given(edges, st.randoms(use_true_random=False))
def test_edge_weights(edges: tuple[Edge, ...], random) -> None:
    arch = PartialArch.all_open(edges)
    edge = random.randrange(len(edges))
    op = random.choice(edges[edge].candidates)
    weight = 1 / len(edges[edge].candidates)
    column = edges[edge].candidates.index(op)
    assert arch.edge_weights()[edge] == (weight,) * len(edges[edge].candidates)
    perturbed = arch.perturb(edge, op).edge_weights()
    assert perturbed[edge][column] == 0
    assert sum(perturbed[edge]) == pytest.approx(1 - weight)
    assert perturbed[:edge] + perturbed[edge + 1 :] == arch.edge_weights()[:edge] + arch.edge_weights()[edge + 1 :]
    kept = tuple(random.sample(edges[edge].candidates, edges[edge].keep))
    assert arch.perturb(edge, op).discretize(edge, kept) == arch.discretize(edge, kept)
    assert sum(arch.discretize(edge, kept).edge_weights()[edge]) == edges[edge].keep


def test_an_edge_needs_distinct_ops_and_a_possible_keep() -> None:
    with pytest.raises(ValueError, match="'e' needs distinct"):
        Edge("e", ("a", "a"))
    with pytest.raises(ValueError, match="'e' keeps 3 ops; allowed are 1 to 2"):
        Edge("e", ("a", "b"), keep=3)


def test_mistakes_name_the_edge_and_the_op() -> None:
    arch = PartialArch.all_open((Edge("e", ("a", "b")), Edge("f", ("a", "b"))))
    with pytest.raises(ValueError, match="'e' has no op 'c'; choose from a, b"):
        arch.perturb(0, "c")
    with pytest.raises(ValueError, match="'e' is decided already"):
        arch.discretize(0, ("a",)).perturb(0, "b")
    with pytest.raises(ValueError, match="'f' keeps 1 ops, got"):
        arch.discretize(1, ("a", "b"))
    with pytest.raises(ValueError, match="still open: f"):
        arch.discretize(0, ("a",)).finish("space")


def test_an_edge_without_a_choice_is_decided_from_the_start() -> None:
    arch = PartialArch.all_open((Edge("inputs", ("0", "1"), keep=2, op_weight=1), Edge("op", ("a", "b"))))
    assert arch.kept == (("0", "1"), None)


def test_an_edge_that_sums_weighs_every_op_1_until_it_is_removed() -> None:
    arch = PartialArch.all_open((Edge("inputs", ("0", "1", "2"), keep=2, op_weight=1),))
    assert arch.edge_weights() == ((1, 1, 1),)
    assert arch.perturb(0, "1").edge_weights() == ((1, 0, 1),)
    assert arch.reduce_to(0, "1").edge_weights() == ((0, 1, 0),)
    assert arch.discretize(0, ("0", "2")).edge_weights() == ((1, 0, 1),)


def test_reducing_an_edge_that_keeps_one_discretizes_it() -> None:
    arch = PartialArch.all_open((Edge("op", ("a", "b")),))
    assert arch.reduce_to(0, "b") == arch.discretize(0, ("b",))
