import dataclasses
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from zcpt_ray.arch import ArchSpec
from zcpt_ray.baselines import METHODS, SEARCHES, mutate, named_search, naswot_draws, random_arch, search_label
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.records import RunStore
from zcpt_ray.scoring import SCORINGS
from zcpt_ray.search import SearchData, propose, resolve, run_search_locally
from zcpt_ray.spaces import SPACES

CONFIG = SearchConfig(space="toy-chain-3", proxy="params", batch_size=8, evaluations=80, num_proposals=2, num_validations=2)
LARGEST = "nor_conv_3x3>nor_conv_3x3>nor_conv_3x3"


@pytest.mark.parametrize("method", METHODS)
def test_methods_propose_through_the_same_records(method: str, data: SearchData) -> None:
    config = dataclasses.replace(CONFIG, method=method)
    one, same = (propose(config, data, 0) for _ in range(2))
    assert dataclasses.replace(one, seconds=0) == dataclasses.replace(same, seconds=0)
    SPACES[config.space].decode(one.arch)
    assert run_search_locally(config, RunStore(config)).candidates


@pytest.mark.parametrize(("method", "evaluations"), [("max-param", 0), ("evolution", 80), ("prune", 3 * (4 + 3 + 2))])
def test_with_params_as_the_proxy_they_find_the_largest(method: str, evaluations: int, data: SearchData) -> None:
    proposal = propose(dataclasses.replace(CONFIG, method=method), data, 0)
    assert proposal.arch == LARGEST
    assert proposal.num_evaluations == evaluations


def test_random_is_even(data: SearchData) -> None:
    config = dataclasses.replace(CONFIG, space="toy-chain-1", method="random")
    counts = Counter(propose(config, data, index).arch for index in range(400))
    assert len(counts) == 4
    assert min(counts.values()) > 70


def test_a_mutation_changes_one_edge() -> None:
    space, random = SPACES["nasbench201"], np.random.default_rng(0)
    for _ in range(50):
        parent = random_arch(space, random)
        child = mutate(space, parent, random)
        assert sum(a != b for a, b in zip(parent.kept, child.kept, strict=True)) == 1


def test_pruning_records_what_it_took_away(data: SearchData) -> None:
    decisions = propose(dataclasses.replace(CONFIG, method="prune"), data, 0).decisions
    assert [len(d.scores) for d in decisions] == [4, 4, 4, 3, 3, 3, 2, 2, 2]


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_by_name_resolve(name: str) -> None:
    config = named_search(name, SearchConfig())
    resolve(config)
    assert config.training.fixed_alpha == (name == "darts-pt-fixed-alpha")
    assert search_label(name, config).startswith(name)


def test_labels_name_a_proxy_that_is_asked() -> None:
    labels = {name: search_label(name, named_search(name, SearchConfig(proxy="snip"))) for name in SEARCHES}
    asked = {name for name, label in labels.items() if label == f"{name} snip"}
    assert asked == {"zero-cost-pt", "zero-cost-disc", "naswot", "zero-cost-evo"}
    with pytest.raises(UserError, match="unknown search 'x'; choose from zero-cost-pt, "):
        named_search("x", SearchConfig())
    assert SCORINGS["tenas"].proxy == "tenas"


def test_naswot_by_hand() -> None:
    """Of 4 networks, 3 are drawn: the best scored one (error 9) is missing in a quarter of the draws, then the second (error 1)."""
    scores = pd.Series({"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0})
    errors = pd.Series({"d": 50.0, "c": 50.0, "b": 1.0, "a": 9.0})
    draws = naswot_draws(scores, errors, size=3, draws=400)
    assert set(draws) == {9.0, 1.0}
    assert 0.65 < (draws == 9).mean() < 0.85


def test_an_arch_is_counted_off() -> None:
    space = SPACES["toy-chain-2"]
    archs = [space.arch(index) for index in range(space.num_archs)]
    assert len(set(archs)) == 16
    assert archs[1] == ArchSpec("toy-chain-2", (("skip_connect",), ("nor_conv_1x1",)))
