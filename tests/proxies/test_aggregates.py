"""Several proxies as one: ranks of a stated cohort, each member measured as on its own."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from golden_case import FOLDER

import zcpt_ray as zc
from zcpt_ray.arch import PartialArch
from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES, Proxy, aggregate, find_proxy, measure_archs, score_archs
from zcpt_ray.proxies.base import score_network
from zcpt_ray.registry import own_content
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.records import Decision, ScoredStep
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.spaces.nasbench201 import NASBench201

TWO = "nwot+synflow"
SMALL = SearchConfig(space="toy-chain-2", num_proposals=2, num_validations=3, batch_size=8, proxy=TWO)
MEASURED = [(1.0, 10.0), (2.0, -math.inf), (3.0, 10.0), (4.0, 20.0)]
"""Ranks 1 2 3 4 and 2.5 1 2.5 4."""


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("log-rank", [math.log(2.5 / 16), math.log(2 / 16), math.log(7.5 / 16), 0.0]),
        ("mean-rank", [3.5 / 8, 3 / 8, 5.5 / 8, 1.0]),
        ("borda", [1.5, 1.0, 3.5, 6.0]),
    ],
)
def test_what_ranks_make(aggregation: str, expected: list[float]) -> None:
    assert find_proxy(TWO, aggregation).combine(MEASURED) == pytest.approx(expected)


@pytest.mark.golden
@pytest.mark.parametrize("path", sorted(FOLDER.glob("newer_proxies*.json")), ids=lambda path: path.stem)
def test_az_nas_over_the_networks_of_the_golden_file(path: Path) -> None:
    networks = json.loads(path.read_text())["networks"]
    values = [known["az_nas"] for known in networks.values()]
    parts = ("expressivity", "progressivity", "trainability", "complexity")
    scores = PROXIES["az-nas"].combine([tuple(float(value[part]) for part in parts) for value in values])
    np.testing.assert_allclose(scores, [value["aggregate"] for value in values], atol=1e-9)


def test_members_measure_as_on_their_own(small_space: NASBench201, batch: Batch) -> None:
    supernet, arch = small_space.supernet(10, 0), PartialArch.all_open(small_space.edges)
    archs = [arch.perturb(0, op) for op in arch.edges[0].candidates]
    alone = [measure_archs(PROXIES[name], supernet, archs, batch) for name in ("nwot", "synflow", "tenas")]
    together = measure_archs(find_proxy("nwot+synflow+tenas"), supernet, archs, batch)
    np.testing.assert_allclose(together, [sum(parts, ()) for parts in zip(*alone, strict=True)], rtol=1e-6)
    scores = score_archs(find_proxy(TWO), supernet, archs, batch)
    assert len(set(scores)) > 1
    assert max(scores) <= 0


def test_a_search_says_among_how_many_its_scores_are_ranks(tmp_path: Path) -> None:
    result = run_search_locally(Search.of(SMALL), tmp_path)
    assert result.best.score == max(candidate.score for candidate in result.candidates)
    assert cohorts(Search.of(SMALL), tmp_path) == [4] * 4, "a random order rates one edge of four ops a step"
    everything = Search.of(dataclasses.replace(SMALL, order="global-op-iter", num_proposals=1, num_validations=0))
    run_search_locally(everything, tmp_path / "global")
    assert cohorts(everything, tmp_path / "global") == [8, 4]


def cohorts(search: Search, directory: Path) -> list[int]:
    store = RunStore(search, directory)
    return [decision.cohort for proposal in store.proposals.values() for decision in proposal.decisions]


def test_the_scope_decides_among_which_ops_ranks_are(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, scope="edge", num_proposals=1, num_validations=0)
    assert run_search_locally(Search.of(config)).num_decisions == 2
    with pytest.raises(UserError, match=r"'global-op-iter' compares the scores of different edges, .* --scope step"):
        Search.of(dataclasses.replace(config, order="global-op-iter"))
    Search.of(dataclasses.replace(config, order="global-op-iter", proxy="nwot"))
    with pytest.raises(UserError, match="unknown scope 'cell'"):
        dataclasses.replace(config, scope="cell")


@pytest.mark.parametrize(
    ("name", "aggregation", "message"),
    [
        ("nwot+nwott", "log-rank", "unknown proxy 'nwott'"),
        ("nwot+nwot", "log-rank", "each once, got nwot, nwot"),
        ("nwot+", "log-rank", "unknown proxy ''"),
        ("nwot", "borda", "aggregation 'borda' is for several proxies joined by"),
        (TWO, "median", "unknown aggregation 'median'; choose from log-rank, mean-rank, borda"),
    ],
)
def test_refused(name: str, aggregation: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_proxy(name, aggregation)


def test_one_network_has_no_rank(small_space: NASBench201, batch: Batch) -> None:
    with pytest.raises(UserError, match=r"'nwot\+synflow' only ranks networks against each other"):
        score_network(find_proxy(TWO), small_space.network(small_space.arch(1), 10, 0), batch)


def test_what_a_row_needs_is_what_its_members_need() -> None:
    row = find_proxy("nwot+jacob_cov+zico+tenas")
    assert row.needs == ("images", "gradients", "labels")
    assert (row.images_needed(), row.thin, row.batch_norm) == (6, True, "batch")
    assert find_proxy("synflow+vkdnw").dtype == "float64"


def test_own_members_are_part_of_the_identity() -> None:
    assert not own_content(find_proxy(TWO))
    zc.register_proxy("mine-aggregated")(lambda net, batch: 1.0)
    try:
        joined = find_proxy("nwot+mine-aggregated")
        assert own_content(joined)
        named = Search.of(dataclasses.replace(SMALL, proxy="nwot+mine-aggregated"))
        assert named.own
    finally:
        del PROXIES["mine-aggregated"]


def test_records_of_earlier_versions_have_no_cohort() -> None:
    decision = {"step": 0, "edge": "a", "kept": ["x"], "scores": {"x": 1.0}}
    assert Decision.from_dict(decision).cohort == 0
    step = {"index": 0, "step": 0, "turn": 0, "scores": {"0": [1.0]}, "seconds": 1.0}
    assert ScoredStep.from_dict(step).cohorts == {}
    assert ScoredStep.from_dict(step | {"cohorts": {"0": 5}}).cohorts == {0: 5}


def test_from_python() -> None:
    joined = aggregate([PROXIES["nwot"], Proxy("one", (lambda net, batch: 1.0,), "own")], "borda")
    assert joined.combine([(1.0, 1.0), (2.0, 1.0)]) == [0.5, 1.5]
    table = zc.rank(
        ["skip_connect>nor_conv_3x3", "skip_connect>skip_connect"], space="toy-chain-2", proxies=[TWO], batch_size=8
    )
    assert list(table[TWO]) == sorted(table[TWO], reverse=True)
