import math

import pytest

from zcpt_ray.arch import PartialArch
from zcpt_ray.errors import UserError
from zcpt_ray.search.oracles import Oracle
from zcpt_ray.spaces.toy_chain import ToyChain

SPACE = ToyChain(2)
VALUES = {
    "skip_connect>skip_connect": 1.0,
    "skip_connect>nor_conv_3x3": 5.0,
    "nor_conv_3x3>skip_connect": 2.0,
    "nor_conv_3x3>nor_conv_3x3": 3.0,
}
START = PartialArch.all_open(SPACE.edges)


def test_best_and_mean_of_what_is_within_reach() -> None:
    oracle = Oracle.of(SPACE, VALUES)
    assert (oracle.best(START), oracle.mean(START)) == (5, 2.75)
    within = START.discretize(0, ("nor_conv_3x3",))
    assert (oracle.best(within), oracle.mean(within)) == (3, 2.5)
    assert oracle.best(START.perturb(1, "nor_conv_3x3")) == 2
    assert oracle.mean(within.discretize(1, ("skip_connect",))) == 2
    assert oracle.best(START, (0, "nor_conv_3x3")) == 3
    assert oracle.mean(START, (1, "skip_connect")) == 1.5


def test_nothing_within_reach() -> None:
    oracle = Oracle.of(SPACE, VALUES)
    assert (
        oracle.best(START.discretize(0, ("nor_conv_1x1",)))
        == oracle.mean(START.discretize(0, ("avg_pool_3x3",)))
        == -math.inf
    )


def test_a_key_of_another_space() -> None:
    with pytest.raises(UserError, match="not a toy-chain-2 architecture: 'a>b'"):
        Oracle.of(SPACE, {"a>b": 1.0})
