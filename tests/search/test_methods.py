import dataclasses
from collections import Counter

import numpy as np
import pytest

from zcpt_ray.arch import ArchSpec
from zcpt_ray.configs import SearchConfig
from zcpt_ray.search.inputs import SearchData
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.methods import METHODS, mutate, random_arch
from zcpt_ray.search.proposal import propose
from zcpt_ray.search.resolved import Search
from zcpt_ray.spaces import SPACES

CONFIG = SearchConfig(
    space="toy-chain-3", proxy="params", batch_size=8, evaluations=80, num_proposals=2, num_validations=2
)
LARGEST = "nor_conv_3x3>nor_conv_3x3>nor_conv_3x3"


@pytest.mark.parametrize("method", METHODS)
def test_methods_propose_through_the_same_records(method: str, data: SearchData) -> None:
    config = dataclasses.replace(CONFIG, method=method)
    one, same = (propose(Search.of(config), data, 0) for _ in range(2))
    assert dataclasses.replace(one, seconds=0) == dataclasses.replace(same, seconds=0)
    SPACES[config.space].decode(one.arch)
    assert run_search_locally(Search.of(config)).candidates


@pytest.mark.parametrize(("method", "evaluations"), [("max-param", 0), ("evolution", 80), ("prune", 3 * (4 + 3 + 2))])
def test_with_params_as_the_proxy_they_find_the_largest(method: str, evaluations: int, data: SearchData) -> None:
    proposal = propose(Search.of(dataclasses.replace(CONFIG, method=method)), data, 0)
    assert proposal.arch == LARGEST
    assert proposal.num_evaluations == evaluations


def test_random_is_even(data: SearchData) -> None:
    config = dataclasses.replace(CONFIG, space="toy-chain-1", method="random")
    counts = Counter(propose(Search.of(config), data, index).arch for index in range(400))
    assert len(counts) == 4
    assert min(counts.values()) > 70


def test_a_mutation_changes_one_edge() -> None:
    space, random = SPACES["nasbench201"], np.random.default_rng(0)
    for _ in range(50):
        parent = random_arch(space, random)
        child = mutate(space, parent, random)
        assert sum(a != b for a, b in zip(parent.kept, child.kept, strict=True)) == 1


def test_pruning_records_what_it_took_away(data: SearchData) -> None:
    decisions = propose(Search.of(dataclasses.replace(CONFIG, method="prune")), data, 0).decisions
    assert [len(d.scores) for d in decisions] == [4, 4, 4, 3, 3, 3, 2, 2, 2]


def test_pruning_goes_stage_by_stage(data: SearchData) -> None:
    """On DARTS ops first, then inputs of nodes: of 5 inputs two are left after three rounds."""
    config = dataclasses.replace(CONFIG, space="darts-s2-small", method="prune", proxy="params")
    proposal = propose(Search.of(config), data, 0)
    decisions = proposal.decisions
    assert [(d.step, len(d.scores)) for d in decisions[:28]] == [(0, 2)] * 28
    assert all("node" in d.edge for d in decisions[28:])
    assert [d.edge for d in decisions if d.step == 3] == ["normal/node5", "reduce/node5"]
    assert [len(d.scores) for d in decisions if d.edge == "normal/node5"] == [5, 4, 3]
    assert "skip_connect" not in proposal.arch


def test_an_arch_is_counted_off() -> None:
    space = SPACES["toy-chain-2"]
    archs = [space.arch(index) for index in range(space.num_archs)]
    assert len(set(archs)) == 16
    assert archs[1] == ArchSpec("toy-chain-2", (("skip_connect",), ("nor_conv_1x1",)))
