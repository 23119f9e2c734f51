"""NSGA-II over score and size, as a method of proposing."""

import dataclasses
import sys

import pytest

from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.resolved import Search

pytest.importorskip("pymoo")
FRONT = SearchConfig(
    space="toy-chain-4", method="nsga2", proxy="nwot", num_proposals=4, num_validations=1, batch_size=8, evaluations=120
)


def test_proposals_lie_along_the_front() -> None:
    result = run_search_locally(Search.of(FRONT))
    candidates = sorted(result.candidates, key=lambda candidate: candidate.first_proposal)
    params = [candidate.params for candidate in candidates]
    assert len(candidates) >= 3
    assert params == sorted(params)
    assert candidates[-1].arch.count("nor_conv_3x3") >= 2 > candidates[0].arch.count("nor_conv_3x3")
    assert run_search_locally(Search.of(FRONT)).candidates == result.candidates
    assert result.num_evaluations <= 4 * 120 + len(candidates)


def test_an_aggregate_is_an_objective_too() -> None:
    config = dataclasses.replace(FRONT, proxy="nwot+synflow", num_proposals=1, evaluations=60)
    (candidate,) = run_search_locally(Search.of(config)).candidates
    assert candidate.arch.count("nor_conv") >= 3


def test_a_budget_is_kept_and_is_the_size() -> None:
    config = dataclasses.replace(FRONT, max_params=0.02, num_proposals=2, evaluations=60)
    result = run_search_locally(Search.of(config))
    assert all(candidate.params <= 20_000 for candidate in result.candidates)


def test_without_pymoo_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymoo.algorithms.moo.nsga2", None)
    with pytest.raises(UserError, match=r"pip install 'zcpt_ray\[pareto\]'"):
        run_search_locally(Search.of(FRONT))
