import json
import os
import time
from pathlib import Path

import pandas as pd
import pytest

from zcpt_ray.benchmarks.entries import BenchmarkEntry, BenchmarkRow
from zcpt_ray.benchmarks.formats import TABLES
from zcpt_ray.benchmarks.tables import TabularBenchmark, benchmark_note, load_benchmark, require_benchmark, table_path
from zcpt_ray.errors import UserError
from zcpt_ray.spaces import SPACES

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
    costs = {"validation_error": None, "params": 1, "flops": 1}
    assert found["cifar10"] == BenchmarkEntry(error=8.0, error_per_seed=(9.0, 7.0), rank=1, **costs)
    assert found["cifar100"] == BenchmarkEntry(error=30.0, error_per_seed=(), rank=3, **costs)
    assert (found.error("cifar10"), found.accuracy("cifar10"), found.rank("cifar100")) == (8.0, 0.92, 3)
    assert TabularBenchmark.load(table).query("b")["cifar10"].error_per_seed == (8.0,)


def test_a_row_is_stored_and_read(table: Path) -> None:
    found = TabularBenchmark.load(table).query("a")
    assert BenchmarkRow.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(KeyError):
        found.error("svhn")
    with pytest.raises(TypeError):
        BenchmarkRow.from_dict({"cifar10": {"error": 8.0, "colour": "red"}})


def test_equal_accuracies_share_the_better_rank(table: Path) -> None:
    benchmark = TabularBenchmark.load(table)
    assert benchmark.query("b").rank("cifar100") == benchmark.query("c").rank("cifar100") == 1


def test_an_architecture_without_single_seeds_has_its_mean(table: Path) -> None:
    pd.DataFrame(ROWS | {"cifar10_test_seed0": [91.0, None, 91.0]}).to_parquet(table)
    found = TabularBenchmark.load(table).query("b")["cifar10"]
    assert (found.error, found.error_per_seed, found.rank) == (8.0, (), 1)


def test_bad_tables(table: Path) -> None:
    with pytest.raises(UserError, match="of 3 architectures does not know 'd'"):
        TabularBenchmark.load(table).query("d")
    pd.DataFrame(ROWS).drop(columns="flops_cifar10").to_parquet(table)
    with pytest.raises(UserError, match="lacks the columns flops_cifar10"):
        TabularBenchmark.load(table)
    pd.DataFrame(ROWS | {"cifar10_test": ["x", "y", "z"]}).to_parquet(table)
    with pytest.raises(UserError, match=r"has no numbers in cifar10_test$"):
        TabularBenchmark.load(table)
    for spoiled in ({"arch": ["a", "b", "b"]}, {"params_cifar100": [1, None, 2]}):
        pd.DataFrame(ROWS | spoiled).to_parquet(table)
        with pytest.raises(UserError, match="needs each architecture once, with a value in"):
            TabularBenchmark.load(table)
    table.write_bytes(table.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot read"):
        TabularBenchmark.load(table)


def test_a_table_of_one_data_set(table: Path) -> None:
    macro = {"arch": ["00000000", "00000001"], "params": [5, 6], "flops": [7, 8], "mean_acc": [80.0, 90.0]}
    pd.DataFrame(macro | {f"test_acc_seed{seed}": [79.0 + seed, 89.0 + seed] for seed in range(3)}).to_parquet(table)
    benchmark = TabularBenchmark.load(table, TABLES["nasbench-macro"])
    entry = BenchmarkEntry(20.0, (21.0, 20.0, 19.0), validation_error=None, rank=2, params=5, flops=7)
    assert benchmark.datasets == ("cifar10",)
    assert benchmark.query("00000000") == BenchmarkRow({"cifar10": entry})
    assert benchmark.knows("cifar10")
    assert not benchmark.knows("cifar100")
    with pytest.raises(UserError, match=r"no test accuracy on 'cifar100'; it has cifar10$"):
        benchmark.accuracies("cifar100", "test accuracy")


CELL = "conv3x3-bn-relu(0)|maxpool3x3(0,1)|conv1x1-bn-relu(0,1)|conv1x1-bn-relu(1,2)|output(1,2)"
MATRIX = (
    "[[0,1,1,0,0,0,0],[0,0,1,0,0,0,1],[0,0,0,0,0,0,1],[0,0,0,0,0,0,0],[0,0,0,0,0,0,0],[0,0,0,0,0,0,0],[0,0,0,0,0,0,0]]"
)
ONESHOT = TABLES["nasbench1shot1-1"]


@pytest.fixture
def cells(table: Path) -> dict[str, list[object]]:
    """A table of a cell that two rows hold in different order, and of a cell without errors.

    Unused nodes have an op too.
    """
    other = MATRIX.replace("[0,1,1,0,", "[0,1,0,1,").replace("[0,0,1,0,0,0,1]", "[0,0,0,1,0,0,1]")
    other = other.replace("[0,0,0,0,0,0,1],[0,0,0,0,0,0,0]", "[0,0,0,0,0,0,0],[0,0,0,0,0,0,1]")
    rows = {"matrix": [MATRIX, other, MATRIX], **{f"node{n}": ["conv1x1-bn-relu"] * 3 for n in range(1, 6)}}
    rows |= {
        "node1": ["conv3x3-bn-relu", "conv3x3-bn-relu", "conv1x1-bn-relu"],
        "node2": ["maxpool3x3", "conv1x1-bn-relu", "maxpool3x3"],
    }
    rows |= {"node3": ["conv1x1-bn-relu", "maxpool3x3", "conv1x1-bn-relu"]}
    rows |= {f"val{run}": [0.01 * run, 0.01 * run, None] for run in (1, 2, 3)}
    return rows | {f"test{run}": [0.05 + 0.01 * run, 0.05 + 0.01 * run, None] for run in (1, 2, 3)}


def test_a_partial_table_finds_a_cell_by_its_graph(table: Path, cells: dict[str, list[object]]) -> None:
    pd.DataFrame(cells).to_parquet(table)
    benchmark = TabularBenchmark.load(table, ONESHOT)
    unknown = CELL.replace("output(1,2)", "output(0,1)")
    (entry,) = benchmark.query(CELL).values()
    assert (len(benchmark.table), entry.rank, entry.params, entry.flops) == (1, 1, None, None)
    assert (entry.error, entry.validation_error) == (pytest.approx(7), pytest.approx(2))
    assert entry.error_per_seed == pytest.approx((6, 7, 8))
    assert not benchmark.query(unknown)
    assert benchmark.count_known([CELL, unknown]) == 1
    assert not benchmark.knows("cifar10")
    with pytest.raises(UserError, match="lists only a part of its space"):
        benchmark.accuracies("cifar10", "test accuracy")


@pytest.mark.parametrize("matrix", ["nonsense(", "[[0, 1]]", "7"])
def test_a_partial_table_of_something_else_is_refused(matrix: str, table: Path, cells: dict[str, list[object]]) -> None:
    pd.DataFrame(cells | {"matrix": [matrix] * 3}).to_parquet(table)
    with pytest.raises(UserError, match="is no benchmark table") as error:
        TabularBenchmark.load(table, ONESHOT)
    assert "\n" not in str(error.value)


def test_a_table_is_read_again_when_it_has_changed(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path / "data"))
    path = table_path("nasbench201")
    assert path is not None
    assert load_benchmark("nasbench201") is None
    with pytest.raises(UserError, match=r"which is not there: .*zcpt convert-nasbench201 FILE"):
        require_benchmark("nasbench201", "--proxy best")
    path.parent.mkdir(parents=True)
    path.write_bytes(table.read_bytes())
    first = require_benchmark("nasbench201", "--proxy best")
    assert load_benchmark("nasbench201") is first
    pd.DataFrame(ROWS | {"cifar100_test": [72.0, 71.0, 71.0]}).to_parquet(path)
    os.utime(path, (time.time() + 9, time.time() + 9))
    second = require_benchmark("nasbench201", "--proxy best")
    assert (first.query("a").rank("cifar100"), second.query("a").rank("cifar100")) == (3, 1)
    path.unlink()
    assert load_benchmark("nasbench201") is None


def test_a_space_without_a_table() -> None:
    assert load_benchmark("mobilenet") is None
    with pytest.raises(UserError, match="needs a benchmark, and there is none of 'mobilenet'; there are those of nasb"):
        require_benchmark("mobilenet", "--proxy best")


def test_a_note_says_why_there_are_no_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    assert benchmark_note("mobilenet", "digits") == ""
    assert benchmark_note("darts", "cifar10") == ""  # a sample, which few have
    assert benchmark_note("nasbench201", "/home/me/photos") == ""  # no table says anything of those
    assert benchmark_note("nasbench201", "digits").startswith(
        f"No test errors: there is no {tmp_path}/tables/nasbench201.parquet"
    )
    assert benchmark_note("nasbench201", "digits").endswith("zcpt convert-nasbench201 FILE")
    path = tmp_path / "tables" / "nasbench1shot1_space1.parquet"
    assert benchmark_note("nasbench1shot1-1", "digits") == f"No test errors: there is no {path}."
    path.parent.mkdir()
    path.touch()
    assert (
        benchmark_note("nasbench1shot1-1", "digits")
        == f"Test errors of the best candidate: not in the partial table {path}"
    )


@pytest.mark.data
@pytest.mark.parametrize(("number", "size", "known"), [(1, 2127, 12_636), (2, 3258, 12_393)])
def test_coverage_of_nasbench1shot1(number: int, size: int, known: int) -> None:
    """The table knows 86.7 % of space 1 and 42.5 % of space 2."""
    space, benchmark = SPACES[f"nasbench1shot1-{number}"], load_benchmark(f"nasbench1shot1-{number}")
    assert len(benchmark.table) == size
    assert benchmark.count_known(space.encode(space.arch(index)) for index in range(space.num_archs)) == known


@pytest.mark.data
def test_the_best_of_nasbench_macro() -> None:
    benchmark = load_benchmark("nasbench-macro")
    found = benchmark.query(benchmark.test_accuracy("cifar10").idxmax())["cifar10"]
    assert (round(found.error, 2), found.rank, len(found.error_per_seed)) == (6.87, 1, 3)


@pytest.mark.data
def test_table_1_oracles() -> None:
    """The best network has 5.63 % (rank 1), that of 3x3 convolutions 6.24 % (rank 166)."""
    benchmark = load_benchmark("nasbench201")
    accuracy = benchmark.test_accuracy("cifar10")
    assert len(accuracy) == 15_625
    best = benchmark.query(accuracy.idxmax())["cifar10"]
    convs = benchmark.query(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    )["cifar10"]
    assert (round(best.error, 2), best.rank) == (5.63, 1)
    assert (round(convs.error, 2), convs.rank) == (6.24, 166)
    for dataset, greatest in (("cifar100", 73.513), ("imagenet16_120", 47.311)):
        assert benchmark.test_accuracy(dataset).max() == pytest.approx(greatest, abs=0.001)
