"""Tables of searches, by hand."""

import dataclasses
from pathlib import Path

import pandas as pd
from report_runs import benchmark_row

from zcpt_ray.benchmarks.entries import BenchmarkEntry, BenchmarkRow
from zcpt_ray.configs import SearchConfig
from zcpt_ray.reports.tables import (
    benchmark_table,
    candidate_table,
    comparison_table,
    cost_table,
    pareto_table,
    readable,
    write_table,
)
from zcpt_ray.search.records import ScoredCandidate, SearchResult


def result(seed: int, errors: list[float], order: str = "random", dataset: str = "cifar10") -> SearchResult:
    best = ScoredCandidate("a", 12.345, 2, 0, 3_000_000, 50_000_000)
    cifar10 = benchmark_row(sum(errors) / max(len(errors), 1), errors)
    benchmark = BenchmarkRow({**cifar10, **benchmark_row(30.0 + seed, dataset="cifar100")})
    config = SearchConfig(dataset=dataset, seed=seed, order=order)
    return SearchResult(config, best, (best,), 10, {"propose": 2.0, "validate": 1.0}, benchmark, {})


def test_tables_of_one_search() -> None:
    one = result(0, [5.0, 7.0])
    assert candidate_table(one).to_dict("records") == [
        {"#": 1, "architecture": "a", "score": "12.35", "times proposed": 2}
    ]
    unscored = dataclasses.replace(one, config=dataclasses.replace(one.config, num_validations=0))
    assert candidate_table(unscored)["score"].to_list() == ["-"]
    assert one.benchmark is not None
    row = benchmark_table(one.benchmark).to_dict("records")[0]
    assert row == {
        "dataset": "cifar10",
        "test error [%]": "6.00",
        "validation error [%]": "4.50",
        "rank": 3,
        "params [M]": "1.500",
        "FLOPs [M]": "2.0",
    }


def test_a_comparison_is_over_search_and_training_seeds(tmp_path: Path) -> None:
    """Errors 5, 7 and 6: mean 6, of a sample deviation 1. CIFAR-100 has means only: 30 and 31.

    20 scores take 6 seconds.
    """
    named = {
        "zero-cost-pt nwot-released": [result(0, [5.0, 7.0]), result(1, [6.0])],
        "other": [result(0, [9.0], order="fixed")],
    }
    table = comparison_table(named)
    first, second = table.to_dict("records")
    assert (first["cifar10"], first["cifar100"]) == ("6.00±1.00", "30.50±0.71")
    assert (first["seeds"], second["seeds"]) == (2, 1)
    assert (first["s per score"], first["scores"]) == ("0.3", 10)
    assert (first["paper"], second["paper"]) == ("5.97±0.17", "-")
    assert (first["training seeds"], second["training seeds"]) == ("cifar10 1-2", "cifar10 1")
    write_table(table, tmp_path / "table")
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".md", ".parquet", ".tex"]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), table)
    assert "6.00±1.00" in (tmp_path / "table.md").read_text()


def test_the_paper_stands_beside_its_own_setting_only() -> None:
    on = {dataset: {"random": [result(0, [5.0], dataset=dataset)]} for dataset in ("cifar10", "digits")}
    assert comparison_table(on["cifar10"])["paper"].to_list() == ["13.39±13.28"]
    assert "paper" not in comparison_table(on["digits"])
    assert "paper" not in comparison_table(on["cifar10"], beside_paper=False)


def test_means_of_a_benchmark_are_no_training_seeds() -> None:
    table = comparison_table({"x": [result(0, [])]})
    assert table["training seeds"].to_list() == ["-"]


def test_without_a_benchmark_a_comparison_has_no_errors() -> None:
    table = comparison_table({"x": [dataclasses.replace(result(0, [5.0]), benchmark=None)]})
    assert "cifar10" not in table


def test_a_partial_benchmark_reports_its_coverage() -> None:
    """Two of three picks are known, and of the 1 + 1 + 2 distinct candidates of the searches three."""
    known = BenchmarkRow({"cifar10": BenchmarkEntry(6.0, (5.0, 7.0), None, 3, None, None)})
    first = dataclasses.replace(result(0, [5.0]), benchmark=known, num_known=1)
    more = (*first.candidates, dataclasses.replace(first.best, arch="b"))
    miss = dataclasses.replace(first, benchmark=BenchmarkRow({}), candidates=more)
    assert list(benchmark_table(known)) == ["dataset", "test error [%]", "rank"]
    (row,) = comparison_table({"x": [first, first, miss]}).to_dict("records")
    assert (row["cifar10"], row["picks known"], row["candidates known"]) == ("6.00±1.15", "2/3", "3/4")
    (row,) = comparison_table({"x": [dataclasses.replace(miss, num_known=0)]}).to_dict("records")
    assert (row["picks known"], row["candidates known"]) == ("0/1", "0/2")
    both = comparison_table({"x": [result(0, [5.0])], "y": [first]}).to_dict("records")
    assert [row["cifar100"] for row in both] == ["30.00", "-"]
    assert "picks known" not in both[0]


def test_numbers_are_readable() -> None:
    table = readable(pd.DataFrame({"a": [0.123456, float("nan")], "b": ["x", "y"], "c": [1, 2]}))
    assert table.to_dict("list") == {"a": ["0.123", "-"], "b": ["x", "y"], "c": [1, 2]}


def test_score_against_size() -> None:
    """By hand: b scores less than the smaller a, and c has more multiply-adds than the better d."""
    sizes = {"a": (5.0, 1, 10), "b": (4.0, 2, 20), "c": (6.0, 3, 40), "d": (7.0, 4, 30)}
    candidates = tuple(
        ScoredCandidate(arch, score, 1, 0, params, flops) for arch, (score, params, flops) in sizes.items()
    )
    table = pareto_table(dataclasses.replace(result(0, []), candidates=candidates))
    assert list(table)[-1] == "architecture"
    table = table.set_index("architecture")
    assert table.index.tolist() == ["a", "b", "c", "d"]
    assert table["best for its params"].tolist() == [True, False, True, True]
    assert table["best for its FLOPs"].tolist() == [True, False, False, True]


def test_a_bar_in_a_name_does_not_break_a_markdown_table(tmp_path: Path) -> None:
    write_table(pd.DataFrame({"a": ["|x~0|"], "b": [1]}), tmp_path / "table")
    assert (tmp_path / "table.md").read_text().splitlines()[-1].count("|") - 2 == 3


def test_costs_are_in_millions() -> None:
    assert cost_table({"scored": {"params": 372_346, "flops": 50_240_000}}).to_dict("records") == [
        {"network": "scored", "params [M]": "0.372", "FLOPs [M]": "50.2"}
    ]
