"""Decisions that rest on more minibatches where one leaves them open."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.search.step_scores import MOST_MINIBATCHES, Confidence

CONFIG = SearchConfig(space="toy-chain-2", num_proposals=2, num_validations=0, batch_size=8, proxy="nwot")


def test_when_a_decision_is_certain() -> None:
    confidence = Confidence(0.95, lambda n: None)  # type: ignore[arg-type, return-value]
    assert not confidence.reached(np.array([[1.0, 2.0]]), 1), "of one minibatch nothing is certain"
    assert confidence.reached(np.array([[1.0, 2.0], [1.0, 2.0]]), 1), "no margin ever changes"
    assert confidence.reached(np.array([[1.0, 2.0]]), 2), "both are kept"
    assert confidence.reached(np.array([[-np.inf, 2.0]]), 1)
    assert not confidence.reached(np.array([[1.0, 2.0], [2.0, 1.1]]), 1)
    assert confidence.reached(np.array([1.0, 1.5]) + np.random.default_rng(0).normal(0, 0.01, (4, 2)), 1)


def test_a_search_takes_more_minibatches_and_is_the_same_again(tmp_path: Path) -> None:
    plain = run_search_locally(Search.of(CONFIG))
    config = dataclasses.replace(CONFIG, confidence=0.99)
    first = run_search_locally(Search.of(config), tmp_path / "first")
    again = run_search_locally(Search.of(config))
    assert plain.num_evaluations * 2 <= first.num_evaluations <= plain.num_evaluations * MOST_MINIBATCHES
    assert (again.candidates, again.num_evaluations) == (first.candidates, first.num_evaluations)
    proposals = RunStore(Search.of(config), tmp_path / "first").proposals.values()
    for decision in (decision for proposal in proposals for decision in proposal.decisions):
        assert decision.scores[decision.kept[0]] == max(decision.scores.values())


def test_a_step_that_is_known_is_not_scored_again(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, confidence=0.99, num_proposals=1)
    search = Search.of(config)
    whole = run_search_locally(search, tmp_path / "whole")
    store = RunStore(search, tmp_path / "part")
    known = RunStore(search, tmp_path / "whole")
    assert known.proposals
    store.add(list(known.steps_of(0)))
    assert run_search_locally(search, tmp_path / "part").best == whole.best


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"confidence": 1.0}, "confidence must be at least 0 and below 1, got 1"),
        ({"confidence": 0.9, "method": "random"}, "and method 'random' asks none: leave out --confidence"),
        ({"confidence": 0.9, "scoring": "darts"}, "and scoring 'darts' asks none: leave out --confidence"),
    ],
)
def test_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Search.of(dataclasses.replace(CONFIG, **fields))  # type: ignore[arg-type]
