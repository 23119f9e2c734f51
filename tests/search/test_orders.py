import pytest

from zcpt_ray.arch import Edge, PartialArch
from zcpt_ray.search.orders import ORDERS
from zcpt_ray.search.proposal import decide
from zcpt_ray.search.scoring import SCORINGS, Evidence
from zcpt_ray.search.step_scores import StepScores
from zcpt_ray.seeding import generator

EDGES = tuple(Edge(f"e{i}", ("a", "b", "c", "d")) for i in range(5))
COSTS = {
    "fixed": 5 * 4,
    "random": 5 * 4,
    "global-op-iter": 4 * 5 * 6 // 2,
    "global-edge-iter": 4 * 5 * 6 // 2,
    "global-op-once": 2 * 4 * 5 - 4,
    "global-edge-once": 2 * 4 * 5 - 4,
}


def judge(archs, groups):
    """Removing an op costs an amount that depends on the edge and the op only."""
    return [-sum(VALUES[edge][op] for edge, op in arch.removed) for arch in archs]


VALUES = [{"a": 9, "b": 0, "c": 0, "d": 0}, {"a": 5, "b": 6, "c": 5, "d": 5}] + 3 * [{"a": 0, "b": 1, "c": 2, "d": 3}]


def visited(name: str, index: int = 0) -> tuple[list[int], list[str], int]:
    arch, cost, edges, ops = PartialArch.all_open(EDGES), 0, [], []
    visit = ORDERS[name].visit(range(5), generator("order", index))
    for step in range(5):
        scorer = StepScores(SCORINGS["zc-pt"], Evidence(judge), arch, [[0] * 4] * 5)
        edge, decision = decide(arch, visit, scorer, step)
        arch = arch.discretize(edge, decision.kept)
        cost += scorer.num_evaluations
        edges.append(edge)
        ops += decision.kept
    return edges, ops, cost


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_visits_every_edge_once_at_its_cost(name: str) -> None:
    edges, _, cost = visited(name)
    assert sorted(edges) == list(range(5))
    assert cost == COSTS[name]


def test_what_the_orders_go_by() -> None:
    assert visited("fixed")[0] == [0, 1, 2, 3, 4]
    assert visited("global-op-iter")[0][:2] == visited("global-op-once")[0][:2] == [0, 1]
    assert visited("global-edge-iter")[0][:2] == visited("global-edge-once")[0][:2] == [1, 0]
    assert len({tuple(visited("random", index)[0]) for index in range(10)}) > 5


def test_the_best_op_is_kept() -> None:
    assert visited("fixed")[1] == ["a", "b", "d", "d", "d"]
