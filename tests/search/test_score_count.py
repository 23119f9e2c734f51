import dataclasses

import pytest

from zcpt_ray.configs import SearchConfig
from zcpt_ray.search import score_count
from zcpt_ray.search.inputs import SearchData
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.proposal import propose
from zcpt_ray.search.records import Progress
from zcpt_ray.search.resolved import Search

CONFIG = SearchConfig(space="toy-chain-2", batch_size=8, evaluations=6, num_proposals=2, num_validations=1)


@pytest.fixture
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_count, "TELL_SECONDS", -1)


@pytest.mark.parametrize(
    ("proxy", "method", "told"),
    [
        ("nwot", "discretize", [4, 8]),
        ("snip", "discretize", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("nwot", "evolution", [1, 2, 3, 4, 5, 6]),
        ("tenas", "prune", list(range(1, 19))),
        ("nwot", "random", []),
    ],
)
def test_a_proposal_tells_what_it_has_scored(
    proxy: str, method: str, told: list[int], data: SearchData, told_at_once: None
) -> None:
    """4 ops on 2 edges are 8 scores, pruned 2 * (4 + 3 + 2); nwot takes a step at once. Scores are those of a proposal
    untold.
    """
    config, seen = dataclasses.replace(CONFIG, proxy=proxy, method=method), []
    proposal = propose(Search.of(config), data, 0, seen.append)
    assert seen == told
    assert proposal.num_evaluations == (told[-1] if told else 0)
    assert propose(Search.of(config), data, 0).decisions == proposal.decisions


def test_it_does_not_tell_more_often_than_is_read(data: SearchData) -> None:
    seen: list[int] = []
    propose(Search.of(CONFIG), data, 0, seen.append)
    assert not seen


def test_a_search_reports_scores_under_way(told_at_once: None) -> None:
    seen: list[Progress] = []
    run_search_locally(Search.of(CONFIG), report=seen.append)
    before_any = [progress.scores for progress in seen if progress.proposals_done == 0]
    assert before_any == [0, 4, 8]
    assert seen[-1].scores == 16
