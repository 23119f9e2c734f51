"""Differences pair by pair: by hand, and that their intervals cover what is true."""

import math

import numpy as np
import pytest

from zcpt_ray.reports.paired_differences import paired_difference, paired_table


def test_pairs_of_methods() -> None:
    """By hand: over seeds 0 and 1 the differences are 1 and 3; resampled means are 1, 2 or 3."""
    first = {(0, 0): 3.0, (0, 1): 6.0, (9, 9): 100.0}
    second = {(0, 0): 2.0, (0, 1): 3.0, (8, 8): -100.0}
    found = paired_difference(first, second)
    assert (found.pairs, found.mean, found.low, found.high) == (2, 2.0, 1.0, 3.0)
    assert str(found) == "+2.00 [+1.00, +3.00]"
    assert paired_difference(first, second) == found
    one = paired_difference({0: 3.0}, {0: 2.5})
    assert (one.pairs, one.mean, str(one)) == (1, 0.5, "+0.50")
    assert math.isnan(one.low)
    equal = paired_difference({0: 3.0, 1: 4.0, 2: 5.0}, {0: 2.0, 1: 3.0, 2: 4.0})
    assert (equal.mean, equal.low, equal.high) == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="no seeds in common"):
        paired_difference({0: 1.0}, {1: 1.0})


def test_an_interval_covers_the_true_difference() -> None:
    """Of 100 samples of 16 differences with mean 1, about 95 intervals cover it."""
    random = np.random.default_rng(0)
    samples = [dict(enumerate(random.normal(1, 0.5, 16))) for _ in range(100)]
    found = [paired_difference(sample, dict.fromkeys(sample, 0.0)) for sample in samples]
    assert 85 <= sum(each.low <= 1 <= each.high for each in found) <= 99


def test_pairs_in_a_table() -> None:
    """Fewer than six pairs are too few to say whether methods differ."""
    first = {
        "a": {seed: 2.0 + seed for seed in range(6)},
        "b": dict.fromkeys(range(6), 1.0),
        "c": {1: 4.0},
        "d": {7: 0.0},
    }
    table = paired_table(first)
    assert table[["first", "second", "pairs", "differ"]].values.tolist() == [
        ["a", "b", 6, "yes"],
        ["a", "c", 1, "-"],
        ["b", "c", 1, "-"],
    ]
    assert table["first - second"].tolist() == ["+3.50 [+2.17, +4.83]", "-1.00", "-3.00"]
