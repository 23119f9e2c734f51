"""The searches that the paper compares, by name, and NASWOT from a table of scores."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from zcpt_ray.benchmarks.tables import TabularBenchmark
from zcpt_ray.configs import SearchConfig
from zcpt_ray.registry import lookup
from zcpt_ray.reports.published import paper_covers
from zcpt_ray.reports.tables import mean_and_deviation, paper_column
from zcpt_ray.search.inputs import load_data
from zcpt_ray.search.methods import METHODS
from zcpt_ray.search.resolved import Search, with_proxy
from zcpt_ray.search.score_tables import Spread
from zcpt_ray.search.scoring import SCORINGS
from zcpt_ray.seeding import generator

SEARCHES: dict[str, dict[str, Any]] = {
    "zero-cost-pt": {},
    "zero-cost-disc": {"scoring": "disc-zc"},
    "random": {"method": "random", "num_proposals": 1, "num_validations": 0},
    "naswot": {"method": "random", "num_proposals": 1000, "num_validations": 1},
    "max-param": {"method": "max-param", "num_proposals": 1, "num_validations": 0},
    "zero-cost-evo": {"method": "evolution", "num_proposals": 1, "num_validations": 0},
    "te-nas": {"method": "prune", "proxy": "tenas", "num_proposals": 1, "num_validations": 0},
    "darts": {"scoring": "darts", "order": "fixed", "num_proposals": 1, "num_validations": 0},
    "darts-pt": {"scoring": "darts-pt", "num_proposals": 1, "num_validations": 0},
    "darts-pt-fixed-alpha": {"scoring": "darts-pt", "num_proposals": 1, "num_validations": 0, "fixed_alpha": True},
}
"""The paper's searches by name: what each changes in a `SearchConfig` (and its `training`)."""


def named_search(name: str, config: SearchConfig) -> SearchConfig:
    """`config` as the search called `name` has it; what the name does not fix stays.

    Raises:
        UserError: an unknown name.
    """
    changes = dict(lookup(SEARCHES, name, "search"))
    training = dataclasses.replace(
        config.training, fixed_alpha=bool(changes.pop("fixed_alpha", config.training.fixed_alpha))
    )
    return dataclasses.replace(config, training=training, **changes)


def search_label(name: str, config: SearchConfig) -> str:
    """The name, and the proxy where the search uses one that its name does not fix."""
    method = METHODS.get(config.method)
    asks = method.asks_proxy if method else SCORINGS[config.scoring].asks_proxy
    asks = asks or config.num_validations > 0
    return f"{name} {config.proxy}" if asks and "proxy" not in SEARCHES[name] else name


def named_searches(config: SearchConfig, names: Sequence[str], proxies: Sequence[str]) -> dict[str, SearchConfig]:
    """The searches of these names, each with each proxy that it asks, by what they are called in the table.

    Raises:
        UserError: an unknown name.
    """
    named: dict[str, SearchConfig] = {}
    for name in names:
        for proxy in proxies:
            search = named_search(name, with_proxy(config, proxy))
            Search.of(search)
            named.setdefault(search_label(name, search), search)
    return named


def naswot_draws(scores: pd.Series, errors: pd.Series, size: int = 1000, draws: int = 500, seed: int = 0) -> np.ndarray:
    """NASWOT from a table of scores: per draw the test error [%] of the best scored of `size` random networks, [draws].

    `scores` and `errors` are indexed by encoded architecture. This is how the paper states NASWOT: N = 1000, 500 runs.
    """
    aligned = errors.loc[scores.index].to_numpy()
    random = generator(seed, "naswot draws")
    picks = (random.choice(len(scores), size, replace=False) for _ in range(draws))
    return np.array([aligned[pick[np.argmax(scores.to_numpy()[pick])]] for pick in picks])


def naswot_row(
    search: Search, benchmark: TabularBenchmark, draws: int, spread: Spread, beside_paper: bool
) -> dict[str, str]:
    """NASWOT from the table of the scores of every network by the proxy, made if it is not there, as a row.

    `search` has the scoring best-zc, which asks that table.
    """
    config, label = search.config, f"naswot {search.config.proxy}"
    scores = pd.Series(load_data(search, spread).values)
    row = {"search": label, "dataset": config.dataset, "N": "1000", "V": "1", "batch": str(config.batch_size)}
    for dataset in benchmark.datasets:
        errors = 100 - benchmark.accuracies(dataset, "test accuracy")
        row[dataset] = mean_and_deviation(naswot_draws(scores, errors, draws=draws))
    if beside_paper and paper_covers(config.space, config.dataset):
        row |= paper_column(label, config.space)
    return row
