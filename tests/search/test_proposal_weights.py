"""Proposals that start from several sets of untrained weights."""

import dataclasses

import pytest

from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.search.inputs import load_data
from zcpt_ray.search.proposal import propose, untrained_supernet
from zcpt_ray.search.resolved import Search

CONFIG = SearchConfig(space="toy-chain-2", num_proposals=3, num_validations=0, batch_size=8, proxy="nwot")


def test_sets_of_weights_take_turns_from_proposal_to_proposal() -> None:
    one, two = Search.of(CONFIG), Search.of(dataclasses.replace(CONFIG, proposal_weights=2))
    data = load_data(one)
    alike = [propose(one, data, index).decisions == propose(two, data, index).decisions for index in range(3)]
    assert alike == [True, False, True]
    assert one.identity != two.identity
    assert "proposal_weights" not in one.identity, "runs from before are taken up"


def test_a_set_is_the_same_for_proposals_and_validation() -> None:
    search = Search.of(dataclasses.replace(CONFIG, proposal_weights=2))
    drawn = untrained_supernet(search, 10, 3).state_dict()
    other = search.space.supernet(10, search.weights_seed(1)).state_dict()
    assert all(bool((drawn[name] == other[name]).all()) for name in other)
    first = untrained_supernet(search, 10, 2).state_dict()
    assert any(bool((drawn[name] != first[name]).any()) for name in other)


@pytest.mark.parametrize("asks", [{"method": "evolution", "evaluations": 8}, {"method": "prune", "proxy": "nwot"}])
def test_methods_that_ask_a_proxy_take_turns_too(asks: dict[str, object]) -> None:
    config = dataclasses.replace(CONFIG, **asks)  # type: ignore[arg-type]
    one, two = Search.of(config), Search.of(dataclasses.replace(config, proposal_weights=2))
    assert one.identity != two.identity
    data = load_data(one)
    assert propose(one, data, 2).arch == propose(two, data, 2).arch


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"proposal_weights": 0}, "proposal_weights must be at least 1"),
        ({"proposal_weights": 2, "method": "random"}, "method 'random' asks no proxy of untrained weights"),
        ({"proposal_weights": 2, "scoring": "darts"}, "scoring 'darts' asks no proxy of untrained weights"),
        ({"proposal_weights": 2, "scoring": "best-zc"}, "scoring 'best-zc' asks no proxy of untrained weights"),
    ],
)
def test_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Search.of(dataclasses.replace(CONFIG, **fields))  # type: ignore[arg-type]
