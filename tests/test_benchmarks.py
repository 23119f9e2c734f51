from pathlib import Path

import pandas as pd
import pytest

from zcpt_ray.benchmarks import TabularBenchmark, load_benchmark
from zcpt_ray.errors import UserError

ROWS = {
    "arch": ["a", "b", "c"],
    "cifar10_test": [90.0, 92.0, 91.0],
    "cifar10_test_seed0": [91.0, 92.0, 91.0],
    "cifar10_test_seed1": [93.0, None, 90.0],
    "cifar100_test": [70.0, 71.0, 71.0],
    "imagenet16_120_test": [40.0, 41.0, 42.0],
} | {f"{kind}_{d}": [1, 2, 3] for kind in ("params", "flops") for d in ("cifar10", "cifar100", "imagenet16_120")}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    pd.DataFrame(ROWS).to_parquet(path)
    return path


def test_a_query_is_the_mean_over_the_known_seeds(table: Path) -> None:
    found = TabularBenchmark.load(table).query("a")
    assert found["cifar10"] == {"error": 8.0, "error_per_seed": [9.0, 7.0], "rank": 1, "params": 1, "flops": 1}
    assert found["cifar100"] == {"error": 30.0, "error_per_seed": [], "rank": 3, "params": 1, "flops": 1}
    assert TabularBenchmark.load(table).query("b")["cifar10"]["error_per_seed"] == [8.0]


def test_equal_accuracies_share_the_better_rank(table: Path) -> None:
    benchmark = TabularBenchmark.load(table)
    assert benchmark.query("b")["cifar100"]["rank"] == benchmark.query("c")["cifar100"]["rank"] == 1


def test_an_architecture_without_single_seeds_has_its_mean(table: Path) -> None:
    pd.DataFrame(ROWS | {"cifar10_test_seed0": [91.0, None, 91.0]}).to_parquet(table)
    found = TabularBenchmark.load(table).query("b")["cifar10"]
    assert (found["error"], found["error_per_seed"], found["rank"]) == (8.0, [], 1)


def test_bad_tables(table: Path) -> None:
    with pytest.raises(UserError, match="of 3 architectures does not know 'd'"):
        TabularBenchmark.load(table).query("d")
    pd.DataFrame(ROWS).drop(columns="flops_cifar10").to_parquet(table)
    with pytest.raises(UserError, match="lacks the columns flops_cifar10"):
        TabularBenchmark.load(table)
    for spoiled in ({"arch": ["a", "b", "b"]}, {"params_cifar100": [1, None, 2]}):
        pd.DataFrame(ROWS | spoiled).to_parquet(table)
        with pytest.raises(UserError, match="needs each architecture once, with a value in"):
            TabularBenchmark.load(table)
    table.write_bytes(table.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot read"):
        TabularBenchmark.load(table)


@pytest.mark.data
def test_table_1_oracles() -> None:
    """Best network 5.63 % (rank 1), all-conv-3x3 6.24 % (rank 166)."""
    benchmark = load_benchmark("nasbench201")
    accuracy = benchmark.test_accuracy("cifar10")
    assert len(accuracy) == 15_625
    best = benchmark.query(accuracy.idxmax())["cifar10"]
    convs = benchmark.query("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|")[
        "cifar10"
    ]
    assert (round(best["error"], 2), best["rank"]) == (5.63, 1)
    assert (round(convs["error"], 2), convs["rank"]) == (6.24, 166)
    for dataset, greatest in (("cifar100", 73.513), ("imagenet16_120", 47.311)):
        assert benchmark.test_accuracy(dataset).max() == pytest.approx(greatest, abs=0.001)
