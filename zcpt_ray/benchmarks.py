"""Tabular benchmarks: what the trained networks of a space are worth."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from zcpt_ray.data import data_directory
from zcpt_ray.errors import UserError

DATASETS = ("cifar10", "cifar100", "imagenet16_120")
"""As the columns of a table spell them."""


READINGS = ("test accuracy", "best test accuracy", "validation accuracy")
"""What a table may say of an architecture: mean over training seeds, the best of them, and on held-out training images."""


@dataclass(frozen=True)
class TabularBenchmark:
    """A table with one row per architecture.

    Columns: `arch`; per dataset D `D_test`, the mean test accuracy in percent; optionally `D_test_seed0`, `_seed1`, `_seed2`, the
    accuracy of each training seed (NAS-Bench-201: 777, 888, 999), null where not trained; `params_D` and `flops_D`.
    """

    table: pd.DataFrame

    @classmethod
    def load(cls, path: Path) -> "TabularBenchmark":
        """Read a parquet table.

        Raises:
            UserError: the file is truncated or lacks columns.
        """
        try:
            table = pd.read_parquet(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"cannot read {path}: {error}") from error
        needed = ["arch", *(f"{column}_{d}" for d in DATASETS for column in ("params", "flops")), *(f"{d}_test" for d in DATASETS)]
        missing = [column for column in needed if column not in table]
        if missing:
            raise UserError(f"{path} is no benchmark table: it lacks the columns {', '.join(missing)}")
        if table["arch"].duplicated().any() or table[needed].isna().any(axis=None):
            raise UserError(f"{path} is no benchmark table: it needs each architecture once, with a value in {', '.join(needed)}")
        return cls(table.set_index("arch"))

    def test_accuracy(self, dataset: str) -> pd.Series:
        """Mean test accuracy [%] of every architecture: over the training seeds where the table has them.

        For CIFAR-10 that mean is the benchmark release which the paper used; `cifar10_test` is a later one.
        """
        seeds = self.seed_columns(dataset)
        return self.table[seeds].mean(axis=1).fillna(self.table[f"{dataset}_test"])

    def seed_columns(self, dataset: str) -> list[str]:
        """The columns with one accuracy per training seed."""
        return [str(column) for column in self.table if str(column).startswith(f"{dataset}_test_seed")]

    def knows(self, dataset: str) -> bool:
        """Whether the table has accuracies on a data set."""
        return dataset.replace("-", "_") in DATASETS

    def accuracies(self, dataset: str, reading: str) -> pd.Series:
        """Accuracy [%] of every architecture on `dataset` in one of the `READINGS`.

        Raises:
            UserError: the table has none on that data set.
        """
        name = dataset.replace("-", "_")
        columns = {"test accuracy": f"{name}_test", "best test accuracy": f"{name}_test", "validation accuracy": f"{name}_valid"}
        if columns[reading] not in self.table:
            have = ", ".join(d for d in DATASETS if f"{d}_test" in self.table)
            raise UserError(f"the benchmark table has no {reading} on {dataset!r}; it has {have}")
        if reading == "best test accuracy" and self.seed_columns(name):
            return self.table[self.seed_columns(name)].max(axis=1).fillna(self.table[f"{name}_test"])
        accuracies = self.test_accuracy(name) if reading == "test accuracy" else self.table[columns[reading]]
        if accuracies.isna().any():
            raise UserError(f"the benchmark table has no {reading} on {dataset!r} for {accuracies.isna().sum()} architectures")
        return accuracies

    def query(self, arch: str) -> dict[str, Any]:
        """Per dataset the test `error` [%] (mean), `error_per_seed`, `rank` (1 is best, ties share the better rank), params, FLOPs.

        Raises:
            UserError: the table has no such architecture.
        """
        if arch not in self.table.index:
            raise UserError(f"the benchmark table of {len(self.table)} architectures does not know {arch!r}")
        row: dict[str, Any] = {str(column): value for column, value in self.table.loc[arch].items()}
        found = {}
        for dataset in DATASETS:
            accuracy = self.test_accuracy(dataset)
            seeds = [row[column] for column in self.seed_columns(dataset)]
            found[dataset] = {
                "error": 100 - float(accuracy[arch]),
                "error_per_seed": [100 - float(value) for value in seeds if not pd.isna(value)],
                "rank": 1 + int((accuracy > accuracy[arch]).sum()),
                "params": int(row[f"params_{dataset}"]),
                "flops": int(row[f"flops_{dataset}"]),
            }
        return found


TABLES = {"nasbench201": "tables/nasbench201.parquet"}
"""Per search space its table, below the data directory."""


def table_path(space: str) -> Path | None:
    """Where the table of a space is expected, or None if the space has no benchmark."""
    return data_directory() / TABLES[space] if space in TABLES else None


def load_benchmark(space: str) -> TabularBenchmark | None:
    """The benchmark of a space, or None where its table is not there.

    Raises:
        UserError: the table is there and unreadable.
    """
    path = table_path(space)
    return _load_once(path) if path and path.exists() else None


def require_benchmark(space: str, asked_by: str) -> TabularBenchmark:
    """The benchmark of a space, for something that cannot do without.

    Raises:
        UserError: its table is not there, or unreadable.
    """
    if (benchmark := load_benchmark(space)) is None:
        raise UserError(f"{asked_by} needs the benchmark table of {space!r}, which is not there")
    return benchmark


@cache
def _load_once(path: Path) -> TabularBenchmark:
    return TabularBenchmark.load(path)
