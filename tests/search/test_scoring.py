import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from zcpt_ray.arch import PartialArch
from zcpt_ray.configs import SearchConfig, SupernetTraining
from zcpt_ray.errors import UserError
from zcpt_ray.search.inputs import SearchData, load_data
from zcpt_ray.search.oracles import Oracle
from zcpt_ray.search.proposal import OpScorer, propose
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.scoring import SCORINGS, BenchmarkAccuracy, Evidence, Scoring, by_edge
from zcpt_ray.spaces.toy_chain import TOY_CHAIN_OPS, ToyChain

SPACE = ToyChain(2)
START = PartialArch.all_open(SPACE.edges)
PAIRS = [(edge, op) for edge in (0, 1) for op in TOY_CHAIN_OPS]
WORTH = {"skip_connect": 1.0, "nor_conv_1x1": 3.0, "nor_conv_3x3": 4.0, "avg_pool_3x3": 2.0}
CONFIG = SearchConfig(
    space="toy-chain-2", batch_size=8, training=SupernetTraining(1, 1, training_batch_size=20, max_images=40)
)


def worth(arch: PartialArch) -> float:
    """Of a supernet: every op adds its worth by its weight."""
    rows = zip(arch.edges, arch.edge_weights(), strict=True)
    return sum(WORTH[op] * weight for edge, row in rows for op, weight in zip(edge.candidates, row, strict=True))


class Known:
    """A trained supernet whose accuracy is `worth` / 100."""

    def alpha(self, edge: int, op: str) -> float:
        return WORTH[op] / 10

    def accuracy(self, arch: PartialArch) -> float:
        return worth(arch) / 100

    def accuracy_after_training(self, arch: PartialArch) -> float:
        return worth(arch) / 100


def judge(archs: Sequence[PartialArch], groups: Sequence[int]) -> list[float]:
    return [worth(arch) for arch in archs]


VALUES = {f"{a}>{b}": WORTH[a] + WORTH[b] for a in TOY_CHAIN_OPS for b in TOY_CHAIN_OPS}
EVIDENCE = Evidence(judge, Oracle.of(SPACE, VALUES), Known())


@pytest.mark.parametrize("scoring", SCORINGS.values(), ids=lambda scoring: scoring.name)
def test_greater_is_better_for_every_function(scoring: Scoring) -> None:
    """Where an op's worth is all there is, every function ranks ops by it."""
    scores = by_edge(PAIRS, scoring.score(EVIDENCE, START, PAIRS))
    for values in scores.values():
        assert sorted(TOY_CHAIN_OPS, key=lambda op: values[TOY_CHAIN_OPS.index(op)]) == sorted(
            TOY_CHAIN_OPS, key=WORTH.__getitem__
        )
    assert scoring.reference


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zc-pt", -(5 - 4 / 4)),
        ("disc-zc", 4 + 2.5),
        ("best-acc", 8),
        ("avg-acc", 6.5),
        ("darts", 0.4),
        ("darts-pt", -0.04),
    ],
)
def test_the_score_of_conv_3x3_by_hand(name: str, expected: float) -> None:
    """The supernet of two layers is worth 2 x (1 + 3 + 4 + 2) / 4 = 5."""
    assert SCORINGS[name].score(EVIDENCE, START, [(0, "nor_conv_3x3")]) == pytest.approx([expected])


@pytest.mark.parametrize("scope", ["edge", "step"])
def test_a_proxy_that_ranks_does_so_within_its_scope(
    scope: str, data: SearchData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By each of two measures, the ops of an edge have ranks 1 to 4, all that are asked together 1 to 8."""
    monkeypatch.setitem(SCORINGS, "tenas", dataclasses.replace(SCORINGS["tenas"], scope=scope))
    config = dataclasses.replace(CONFIG, scoring="tenas", proxy="nwot")
    scores = OpScorer(Search.of(config), data).step(START, seed=0)([0, 1])
    sums = [sum(values) for values in scores.values()]
    if scope == "edge":
        assert sums == [-(1 + 2 + 3 + 4) * 2] * 2
    else:
        assert sum(sums) == -36 * 2
        assert min(min(values) for values in scores.values()) < -8


def test_all_of_nasbench201_is_ranked_at_once() -> None:
    """Two measures rank 30 ops at iteration 0, as in the scores that the authors published (theirs from 0)."""
    assert {scoring.scope for scoring in SCORINGS.values()} == {"step"}


def test_equals_go_to_the_costlier_op(data: SearchData, monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(CONFIG, scoring="flat")
    flat = Scoring("flat", lambda evidence, arch, pairs: [0.0] * len(pairs), BenchmarkAccuracy("test accuracy"), "test")
    monkeypatch.setitem(SCORINGS, "flat", flat)
    assert OpScorer(Search.of(config), data).step(START, seed=0).best(0, START) == ("nor_conv_3x3",)


@pytest.mark.parametrize("scoring", ["darts", "darts-pt", "disc-acc"])
def test_trained_supernets_discretize_too(
    scoring: str, data: SearchData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path))
    config = dataclasses.replace(CONFIG, scoring=scoring)
    proposal = propose(Search.of(config), data, 0)
    assert len(proposal.decisions) == 2
    assert propose(Search.of(config), data, 0).decisions == proposal.decisions


def test_an_oracle_needs_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    with pytest.raises(
        UserError, match="scoring 'best-acc' needs the benchmark table of 'nasbench201', which is not there"
    ):
        load_data(Search.of(SearchConfig(scoring="best-acc")))
    with pytest.raises(
        UserError, match="needs a benchmark, and there is none of 'toy-chain-2'; there are those of nasbench201"
    ):
        load_data(Search.of(dataclasses.replace(CONFIG, scoring="avg-acc")))


@pytest.mark.data
def test_an_oracle_needs_a_dataset_that_its_table_knows() -> None:
    with pytest.raises(UserError, match="no test accuracy on 'digits'; it has cifar10, cifar100, imagenet16_120"):
        load_data(Search.of(SearchConfig(scoring="best-acc")))


@pytest.mark.data
def test_the_best_network_is_what_best_acc_finds() -> None:
    search = Search.of(SearchConfig(dataset="cifar10", scoring="best-acc", batch_size=2, order="random"))
    found = propose(search, load_data(search), 0).arch
    assert found == "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
