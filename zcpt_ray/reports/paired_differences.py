"""Differences of methods pair by pair, over the seeds that they have in common."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

RESAMPLES = 9999
"""Of the bootstrap."""
LEAST_PAIRS = 6
"""With fewer, chance alone gives all differences one sign in more than 5 % of cases, whatever a bootstrap says."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean of the differences over `pairs`, in the units of what was compared, and its 95 % interval.

    Of one pair the ends of the interval are NaN.
    """

    pairs: int
    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.2f}" + (f" [{self.low:+.2f}, {self.high:+.2f}]" if self.pairs > 1 else "")


def paired_difference(first: Mapping[Hashable, float], second: Mapping[Hashable, float]) -> PairedDifference:
    """First less second over the keys that both have, such as (search seed, training seed).

    Below 0 the first has less error. The interval is a percentile bootstrap over pairs, always drawn alike. It takes
    them as independent: trainings of one network are not quite, so with few search seeds it is narrower than it should
    be.

    Raises:
        ValueError: they have no key in common.
    """
    common = [key for key in first if key in second]
    if not common:
        raise ValueError("nothing to compare: no seeds in common")
    differences = [first[key] - second[key] for key in common]
    return PairedDifference(len(common), float(np.mean(differences)), *mean_interval(differences))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean: a percentile bootstrap, always drawn alike; NaN of one value."""
    if len(values) == 1:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(0)
    found = bootstrap((np.array(values),), np.mean, n_resamples=RESAMPLES, method="percentile", rng=drawn)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired_table(methods: Mapping[str, Mapping[Hashable, float]]) -> pd.DataFrame:
    """One row per two methods with seeds in common: the mean difference of their errors and its 95 % interval.

    `differ` says whether 0 lies outside of it; nothing of fewer than 6 pairs.
    """
    rows = []
    for first, second in combinations(methods, 2):
        if methods[first].keys() & methods[second].keys():
            found = paired_difference(methods[first], methods[second])
            differ = "-" if found.pairs < LEAST_PAIRS else "no" if found.low <= 0 <= found.high else "yes"
            row = {"first": first, "second": second, "pairs": found.pairs}
            rows.append(row | {"first - second": str(found), "differ": differ})
    return pd.DataFrame(rows)
