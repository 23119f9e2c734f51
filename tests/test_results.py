import dataclasses

import pytest

from zcpt_ray.configs import SearchConfig
from zcpt_ray.records import ScoredCandidate, SearchResult
from zcpt_ray.results import benchmark_table, candidate_table, summary_table, terminal_table


def result(seed: int, errors: list[float], order: str = "random") -> SearchResult:
    best = ScoredCandidate("a", 12.345, 2, 0)
    entry = {"error": sum(errors) / len(errors), "error_per_seed": errors, "rank": 3, "params": 1_500_000, "flops": 2_000_000}
    other = {**entry, "error": 30.0 + seed, "error_per_seed": []}
    config = SearchConfig(seed=seed, order=order)
    return SearchResult(config, best, (best,), 10, {"wall": 1.0}, {"cifar10": entry, "cifar100": other}, {})


def test_tables_of_one_search() -> None:
    one = result(0, [5.0, 7.0])
    assert candidate_table(one).to_dict("records") == [{"#": 1, "architecture": "a", "score": "12.35", "times proposed": 2}]
    row = benchmark_table(one.benchmark).to_dict("records")[0]
    assert row == {"dataset": "cifar10", "test error [%]": "6.00", "rank": 3, "params [M]": "1.500", "FLOPs [M]": "2.0"}
    assert terminal_table(candidate_table(one), "t").row_count == 1


def test_a_summary_is_over_search_and_training_seeds() -> None:
    """Errors 5, 7 and 6: mean 6, standard deviation sqrt(2/3). CIFAR-100 has means only: 30 and 31."""
    table = summary_table([result(0, [5.0, 7.0]), result(1, [6.0]), result(0, [9.0], order="fixed")])
    rows = {row["order"]: row for row in table.to_dict("records")}
    assert rows["random"]["cifar10"] == "6.00±0.82"
    assert rows["random"]["cifar100"] == "30.50±0.50"
    assert (rows["random"]["seeds"], rows["fixed"]["seeds"]) == (2, 1)


def test_a_summary_needs_benchmark_entries() -> None:
    with pytest.raises(ValueError, match="needs results with benchmark"):
        summary_table([dataclasses.replace(result(0, [5.0]), benchmark=None)])
