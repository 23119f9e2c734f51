"""Tables of ablations: hand-computed cells, over search seeds."""

import dataclasses
import math
from typing import Any

import pandas as pd
import pytest
from report_runs import benchmark_row

from zcpt_ray.benchmarks.entries import BenchmarkRow
from zcpt_ray.configs import SearchConfig
from zcpt_ray.reports.ablation_tables import (
    ablation_table,
    cell_name,
    interval_table,
    proposals_validations_table,
    search_errors,
    varied_fields,
)
from zcpt_ray.reports.figures import settings_with_intervals
from zcpt_ray.search.records import ScoredCandidate, SearchResult


def cell(error: float | None, distinct: int = 1, **fields: Any) -> SearchResult:
    """A search of 2 hours whose pick the benchmark knows with one training seed, or not at all."""
    candidates = tuple(ScoredCandidate(f"a{index}", 1.0, 1, index, 1_000_000, 2_000_000) for index in range(distinct))
    config = SearchConfig(**{"dataset": "cifar10", "device": "cpu"} | fields)
    benchmark = BenchmarkRow({}) if error is None else benchmark_row(error, [error])
    num_known = 0 if error is None else distinct
    return SearchResult(
        config,
        candidates[0],
        candidates,
        100,
        {"propose": 7000.0, "validate": 200.0},
        benchmark,
        {},
        num_known,
        {},
        {"CPU": 1.0},
    )


def test_an_ablation_has_a_column_for_what_varies() -> None:
    """By hand: errors 5 and 7 have mean 6 and deviation sqrt(2); 7200 seconds of tasks are 2 hours."""
    results = [
        cell(5.0, 3, seed=0),
        cell(7.0, 4, seed=1),
        cell(6.5, 1, seed=0, order="fixed"),
        cell(6.5, 1, seed=0, order="fixed"),
    ]
    table = ablation_table(results)
    assert list(table)[:3] == ["order", "seeds", "cifar10"]
    fixed, random = table.to_dict("records")
    assert (random["order"], random["seeds"], random["cifar10"], random["distinct"]) == (
        "random",
        2,
        "6.00±1.41",
        "3.5",
    )
    assert (random["scores"], random["seconds"], random["search [CPU-hours]"]) == (100, 7200.0, "2")
    assert (random["paper, cifar10"], random["paper, imagenet16_120"]) == ("5.97±0.17", "53.82±0.77")
    assert (fixed["seeds"], fixed["cifar10"], fixed["paper, cifar100"]) == (1, "6.50", "27.60±1.63")
    assert "N" not in table
    assert cell_name(results[0], varied_fields(results)) == "order random"


def test_means_have_intervals() -> None:
    """By hand: of 5 and 7 a bootstrap draws means 5, 6 and 7, the outer two a quarter of the time each."""
    results = [
        cell(5.0, seed=0),
        cell(7.0, seed=1),
        cell(6.5, seed=0, order="fixed"),
        cell(None, seed=1, order="fixed"),
    ]
    table = interval_table(results)
    of_cifar10 = table[table["dataset"] == "cifar10"].set_index("setting")
    fixed, random = of_cifar10.loc["order fixed"], of_cifar10.loc["order random"]
    assert list(random[["seeds", "error", "low", "high", "seconds"]]) == [2, 6.0, 5.0, 7.0, 7200.0]
    assert random["deviation"] == pytest.approx(2**0.5)
    assert (fixed["seeds"], fixed["error"]) == (1, 6.5)
    assert math.isnan(fixed["low"])
    assert math.isnan(fixed["deviation"])
    axes = settings_with_intervals(table).axes
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == ["order fixed", "order random"]
    assert axes[0].get_xlabel() == "cifar10: test error [%]"


def test_neighbours_are_no_proposals() -> None:
    result = cell(5.0, 3)
    joined = dataclasses.replace(result.candidates[2], times_proposed=0)
    with_neighbour = dataclasses.replace(result, candidates=(*result.candidates[:2], joined))
    assert (result.num_distinct, with_neighbour.num_distinct) == (3, 2)
    assert ablation_table([with_neighbour])["distinct"].tolist() == ["2"]


def test_other_proxies_stand_beside_table_2() -> None:
    results = [
        cell(8.0, proxy="snip"),
        cell(8.0, proxy="snip", order="fixed"),
        cell(8.0, proxy="synflow", scoring="disc-zc"),
    ]
    table = ablation_table(results)
    assert table["paper, cifar10"].tolist() == ["-", "8.32±2.02", "-"]
    assert table["order"].tolist() == ["fixed", "random", "random"]


def test_proposals_and_validations() -> None:
    """Figure 4: columns N and V, and the paper's 27.8 architectures of 100 proposals."""
    results = [
        cell(
            5.0 + seed + 10 / proposals, proposals // 5, seed=seed, num_proposals=proposals, num_validations=validations
        )
        for proposals in (10, 100)
        for validations in (0, 10)
        for seed in (0, 2)
    ]
    table = ablation_table(results)
    assert list(table)[:3] == ["N", "V", "seeds"]
    assert table["paper, distinct"].tolist() == ["-", "-", "27.8", "27.8"]
    numbers = proposals_validations_table(results, "cifar10")
    assert numbers[["N", "V", "seeds", "distinct"]].values.tolist() == [
        [10, 0, 2, 2],
        [10, 10, 2, 2],
        [100, 0, 2, 20],
        [100, 10, 2, 20],
    ]
    assert numbers["error"].tolist() == pytest.approx([7.0, 7.0, 6.1, 6.1])
    assert numbers["deviation"].tolist() == pytest.approx(4 * [math.sqrt(2)])


def test_what_a_benchmark_does_not_know_is_no_number() -> None:
    results = [cell(5.0, seed=0), cell(None, seed=1)]
    assert search_errors(results, "cifar10") == {0: 5.0}
    assert proposals_validations_table(results, "cifar10")["error"].isna().all()
    assert ablation_table(results)["picks known"].tolist() == ["1/2"]
    bare = [dataclasses.replace(result, benchmark=None) for result in results]
    assert "cifar10" not in ablation_table(bare)
    assert isinstance(ablation_table([]), pd.DataFrame)


def test_a_budget_or_another_training_is_a_setting_too() -> None:
    budget = cell(5.0, max_params=4.5)
    trained = dataclasses.replace(budget, config=dataclasses.replace(budget.config, max_params=None))
    assert ablation_table([budget, trained])["max_params"].tolist() == [4.5, "-"]
