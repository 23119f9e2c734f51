"""Races: candidates that cannot win any more are measured no further; neighbours of the best join in."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.search.budgets import Budget
from zcpt_ray.search.candidates import neighbours_of
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.racing import can_win, looks_until
from zcpt_ray.search.records import Proposal, SearchResult, Validation
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.search.validation import together
from zcpt_ray.spaces import find_space
from zcpt_ray.spaces.costs import AddedUp, Cost

FREE = Cost(0, 0)
SMALL = SearchConfig(space="toy-chain-3", num_proposals=6, num_validations=30, batch_size=8)
RACE = dataclasses.replace(SMALL, validation="race")


@pytest.mark.parametrize(
    ("total", "looks"),
    [
        (1, [1]),
        (4, [4]),
        (5, [4, 5]),
        (20, [4, 6, 8, 12, 16, 20]),
        (200, [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 144, 200]),
    ],
)
def test_when_a_race_looks(total: int, looks: list[int]) -> None:
    assert looks_until(total) == looks


def test_who_can_win() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (8, 1))
    small = np.random.default_rng(1).normal(0, 0.01, (8, 4))
    scores = noise + small + np.array([5.0, 5.0, 4.0, -np.inf])
    assert can_win(scores, 0.001, 4, 10).tolist() == [True, True, False, False]
    assert can_win(scores[:, [3, 3]], 0.001, 2, 10).tolist() == [True, True]
    assert can_win(np.array([[1.0, 2.0]] * 4), 0.001, 2, 10).tolist() == [False, True], "no difference ever differs"
    assert can_win(np.array([[1.0, 2.0]]), 0.001, 2, 10).tolist() == [True, True], "of one minibatch nothing is known"


def test_the_best_is_dropped_as_seldom_as_stated() -> None:
    """A thousand races of ten equals but for a tenth of a deviation, at an error of 20 %."""
    lost = 0
    for seed in range(300):
        scores = np.random.default_rng(seed).normal(0, 1, (96, 10))
        scores[:, 0] += 0.1
        looks = looks_until(96)
        lost += any(not can_win(scores[:look], 0.2, 10, len(looks) - 1)[0] for look in looks[:-1])
    assert lost <= 0.2 * 300


def finished(config: SearchConfig, scores: dict[str, list[float]], order: int) -> SearchResult:
    """A search whose proposals and scores are given, which arrive in some order."""
    store = RunStore(Search.of(config))
    mixed = random.Random(order)
    proposals = [Proposal(index, arch, (), 0, 1.0) for index, arch in enumerate(scores)]
    mixed.shuffle(proposals)
    for proposal in proposals:
        store.add([proposal])
    store.candidates.within(Budget())
    while missing := store.missing_slices():
        mixed.shuffle(missing)
        arch, part = missing[0]
        store.add([Validation(arch, {index: (scores[arch][index],) for index in part}, 1.0)])
    return store.result(0.0, lambda _: FREE)


def drawn(config: SearchConfig, seed: int, gap: float) -> dict[str, list[float]]:
    random_numbers = np.random.default_rng(seed)
    shared = random_numbers.normal(0, 3, config.num_validations)
    archs = [">".join([*["skip_connect"] * i, *["nor_conv_3x3"] * (3 - i)]) for i in range(4)]
    return {
        arch: (shared + gap * place + random_numbers.normal(0, 1, config.num_validations)).tolist()
        for place, arch in enumerate(archs)
    }


@pytest.mark.parametrize("gap", [0.3, 3.0])
def test_a_race_is_the_same_in_any_order_and_finds_who_wins(gap: float) -> None:
    config = dataclasses.replace(RACE, num_proposals=4)
    for seed in range(5):
        scores = drawn(config, seed, gap)
        first, second = (finished(config, scores, order) for order in (0, 1))
        assert first == second
        full = finished(dataclasses.replace(config, validation="full"), scores, 0)
        assert full.best.arch == first.best.arch
        assert first.num_evaluations <= full.num_evaluations
        assert first.best.score == max(
            candidate.score for candidate in first.candidates if candidate.minibatches == first.best.minibatches
        )
    assert (first.num_evaluations < full.num_evaluations / 2) == (gap > 1)
    assert [candidate.minibatches for candidate in full.candidates] == [30] * 4


def test_a_race_by_the_search_itself_and_resumed(tmp_path: Path) -> None:
    config = dataclasses.replace(RACE, num_proposals=4, neighbours=2, proxy="nwot")
    search = Search.of(config)
    whole = run_search_locally(search, tmp_path / "whole")
    store = RunStore(search, tmp_path / "part")
    for record in RunStore(search, tmp_path / "whole").proposals.values():
        store.add([record])
    again = run_search_locally(search, tmp_path / "part")
    resumed = run_search_locally(search, tmp_path / "whole")
    strip = {"seconds": {}, "resources": {}}
    assert dataclasses.replace(again, **strip) == dataclasses.replace(whole, **strip)
    assert dataclasses.replace(resumed, **strip) == dataclasses.replace(whole, **strip)
    full = run_search_locally(Search.of(dataclasses.replace(config, validation="full")))
    assert full.best.arch == whole.best.arch


def test_neighbours_join_and_keep_the_budget() -> None:
    space = find_space("toy-chain-3")
    arch = "nor_conv_3x3>nor_conv_3x3>nor_conv_3x3"
    assert len(neighbours_of(space, arch)) == 9
    convolutions = AddedUp(space, 0, [[int("3x3" in op) for op in edge.candidates] for edge in space.edges])
    fitting = neighbours_of(space, arch, Budget({"params_m": 2}, {"params_m": convolutions}))
    assert len(fitting) == 6, "an average pool of 3x3 counts as well"
    assert not neighbours_of(space, arch, Budget({"params_m": 1}, {"params_m": convolutions}))
    result = run_search_locally(Search.of(dataclasses.replace(SMALL, num_proposals=1, num_validations=2, neighbours=1)))
    assert len(result.candidates) == 10
    assert sorted(candidate.times_proposed for candidate in result.candidates) == [0] * 9 + [1]
    assert {candidate.first_proposal for candidate in result.candidates} == {0}


def test_candidates_are_scored_by_a_proxy_of_their_own(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, validation_proxy="params", num_validations=1)
    result = run_search_locally(Search.of(config), tmp_path)
    assert result.best.params == max(candidate.params for candidate in result.candidates)
    same = run_search_locally(Search.of(dataclasses.replace(SMALL, num_validations=1)))
    assert {candidate.arch for candidate in same.candidates} == {candidate.arch for candidate in result.candidates}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"validation": "half"}, "unknown validation 'half'; choose from full, race"),
        ({"error": 0.0}, "error must lie between 0 and 1, got 0"),
        ({"neighbours": 1, "num_validations": 0}, "they need num_validations of at least 1"),
        ({"neighbours": -1}, "neighbours must be at least 0"),
    ],
)
def test_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SMALL, **fields)  # type: ignore[arg-type]


def test_unknown_validation_proxies_are_refused() -> None:
    with pytest.raises(UserError, match="unknown proxy 'nwott'"):
        Search.of(dataclasses.replace(SMALL, validation_proxy="nwott"))
    with pytest.raises(UserError, match="'zico' needs minibatches of at least 6 images, got 4"):
        Search.of(dataclasses.replace(SMALL, validation_proxy="zico", batch_size=4))


def test_slices_that_others_stored_serve_too(tmp_path: Path) -> None:
    """A race reads what a whole validation stored, and the other way round."""
    full = run_search_locally(Search.of(SMALL), tmp_path / "full", shared=tmp_path / "shared")
    assert list(together([("x", range(10))])) == [(("x",), range(10))]
    race = run_search_locally(Search.of(RACE), tmp_path / "race", shared=tmp_path / "shared")
    assert race.best.arch == full.best.arch
    assert run_search_locally(Search.of(SMALL), tmp_path / "again", shared=tmp_path / "shared").best == full.best
