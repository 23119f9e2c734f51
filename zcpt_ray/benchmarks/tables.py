"""Tabular benchmarks: what the trained networks of a space are worth."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from zcpt_ray.benchmarks.entries import BenchmarkEntry, BenchmarkRow
from zcpt_ray.benchmarks.formats import NASBENCH201, TABLES, WHOLE_TABLES, TableFormat
from zcpt_ray.datasets import DATASETS
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import Space
from zcpt_ray.storage.parquet import read_parquet
from zcpt_ray.storage.paths import data_directory

READINGS = ("test accuracy", "best test accuracy", "validation accuracy", "validation accuracy after 12 epochs")
"""What a table may say of an architecture: mean over training seeds, best of them, on held-out training images."""


@dataclass(frozen=True)
class TabularBenchmark:
    """A table with one row per architecture, indexed by its name there (`format.key` of its encoding).

    Columns: per dataset D `D_test`, the mean test accuracy in percent; optionally `D_test_seed0`, `_seed1`, `_seed2`,
    the accuracy of each training seed (NAS-Bench-201: 777, 888, 999), null where not trained; `D_valid`; `params_D` and
    `flops_D`.
    """

    table: pd.DataFrame
    format: TableFormat = NASBENCH201

    @classmethod
    def load(cls, path: Path, form: TableFormat = NASBENCH201) -> "TabularBenchmark":
        """Read a parquet table.

        Raises:
            UserError: the file is truncated, lacks columns, or holds something else in them.
        """
        raw = read_parquet(path)
        missing = [column for column in form.columns if column not in raw]
        if missing:
            raise UserError(f"{path} is no benchmark table: it lacks the columns {', '.join(missing)}")
        try:
            table = form.normalized(raw)
        except (ValueError, TypeError, SyntaxError, IndexError) as error:
            raise UserError(f"{path} is no benchmark table: {error}") from error
        needed = [
            str(column)
            for column in table
            if str(column).startswith(("params_", "flops_")) or str(column).endswith("_test")
        ]
        texts = [column for column in needed if not pd.api.types.is_numeric_dtype(table[column])]
        if texts:
            raise UserError(f"{path} is no benchmark table: it has no numbers in {', '.join(texts)}")
        needed = ["arch", *needed]
        whole = needed if form.complete else ["arch"]
        if table["arch"].duplicated().any() or table[whole].isna().any(axis=None):
            raise UserError(
                f"{path} is no benchmark table: it needs each architecture once, with a value in {', '.join(whole)}"
            )
        return cls(table.set_index("arch"), form)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets that the table has test accuracies on, as its columns spell them."""
        return tuple(str(column).removesuffix("_test") for column in self.table if str(column).endswith("_test"))

    def test_accuracy(self, dataset: str) -> pd.Series:
        """Mean test accuracy [%] of every architecture: over the training seeds where the table has them.

        For CIFAR-10 on NAS-Bench-201 that mean is the benchmark release which the paper used; `cifar10_test` is a later
        one.
        """
        seeds = self.seed_columns(dataset)
        return self.table[seeds].mean(axis=1).fillna(self.table[f"{dataset}_test"])

    def seed_columns(self, dataset: str) -> list[str]:
        """The columns with one accuracy per training seed."""
        return [str(column) for column in self.table if str(column).startswith(f"{dataset}_test_seed")]

    def knows(self, dataset: str) -> bool:
        """Whether the table has the accuracies of the whole space on a data set."""
        return self.format.complete and dataset.replace("-", "_") in self.datasets

    def accuracies(self, dataset: str, reading: str) -> pd.Series:
        """Accuracy [%] of every architecture on `dataset` in one of the `READINGS`.

        Raises:
            UserError: the table has none on that data set, or does not have the whole space.
        """
        name = dataset.replace("-", "_")
        if not self.format.complete:
            raise UserError(
                f"{self.format.file} lists only a part of its space: there is no {reading} of every architecture"
            )
        columns = {
            "test accuracy": f"{name}_test",
            "best test accuracy": f"{name}_test",
            "validation accuracy": f"{name}_valid",
            "validation accuracy after 12 epochs": f"{name}_valid_e12",
        }
        if columns[reading] not in self.table:
            raise UserError(f"the benchmark table has no {reading} on {dataset!r}; it has {', '.join(self.datasets)}")
        if reading == "best test accuracy" and self.seed_columns(name):
            return self.table[self.seed_columns(name)].max(axis=1).fillna(self.table[f"{name}_test"])
        accuracies = self.test_accuracy(name) if reading == "test accuracy" else self.table[columns[reading]]
        if accuracies.isna().any():
            raise UserError(
                f"the benchmark table has no {reading} on {dataset!r} for {accuracies.isna().sum()} architectures"
            )
        return accuracies

    def count_known(self, archs: Iterable[str]) -> int:
        """How many of these encoded architectures the table has."""
        return sum(self.format.key(arch) in self.table.index for arch in archs)

    def query(self, arch: str) -> BenchmarkRow:
        """What the table knows of an encoded architecture; nothing, if it is not in a table that is not complete.

        Raises:
            UserError: the table is complete and has no such architecture.
        """
        key = self.format.key(arch)
        if key in self.table.index:
            row: dict[str, Any] = {str(column): value for column, value in self.table.loc[key].items()}
            known = [each for each in self.datasets if each not in self.format.other_scales]
            known = [each for each in known if not pd.isna(self.test_accuracy(each)[key])]
            return BenchmarkRow({dataset: self._entry(dataset, key, row) for dataset in known})
        if self.format.complete:
            raise UserError(f"the benchmark table of {len(self.table)} architectures does not know {arch!r}")
        return BenchmarkRow({})

    def _entry(self, dataset: str, key: str, row: dict[str, Any]) -> BenchmarkEntry:
        accuracy = self.test_accuracy(dataset)
        seeds = [row[column] for column in self.seed_columns(dataset)]
        params, flops = row.get(f"params_{dataset}"), row.get(f"flops_{dataset}")
        return BenchmarkEntry(
            error=100 - float(accuracy[key]),
            error_per_seed=tuple(100 - float(value) for value in seeds if not pd.isna(value)),
            validation_error=100 - float(row[f"{dataset}_valid"]) if self.format.validated else None,
            rank=1 + int((accuracy > accuracy[key]).sum()),
            params=None if params is None else int(params),
            flops=None if flops is None else int(flops),
        )


def table_format(space: str) -> TableFormat:
    """That of the table of a whole space, where it is there, or else that of a part of it."""
    whole = WHOLE_TABLES.get(space)
    return whole if whole and (data_directory() / whole.file).exists() else TABLES[space]


def table_path(space: str) -> Path | None:
    """Where the table of a space is expected, or None if the space has no benchmark."""
    return data_directory() / table_format(space).file if space in TABLES else None


def load_benchmark(space: str) -> TabularBenchmark | None:
    """The benchmark of a space, or None where its table is not there.

    Raises:
        UserError: the table is there and unreadable.
    """
    path = table_path(space)
    if path is None or not path.exists():
        return None
    found = path.stat()
    return _load_once(path, table_format(space), found.st_mtime_ns, found.st_size)


def require_benchmark(space: str, asked_by: str) -> TabularBenchmark:
    """The benchmark of a space, for something that cannot do without.

    Raises:
        UserError: there is no benchmark of that space, or its table is not there or unreadable.
    """
    if space not in TABLES:
        raise UserError(
            f"{asked_by} needs a benchmark, and there is none of {space!r}; there are those of {', '.join(TABLES)}"
        )
    if (benchmark := load_benchmark(space)) is None:
        remedy = f"{table_path(space)}. {table_format(space).remedy}".rstrip()
        raise UserError(f"{asked_by} needs the benchmark table of {space!r}, which is not there: {remedy}")
    return benchmark


def benchmark_note(space: str, dataset: str) -> str:
    """Why no test errors are known of an architecture, and what to do.

    Empty for a space without a benchmark, and for images of the user's own, of which a table says nothing.
    """
    path = table_path(space)
    if path is None or dataset not in DATASETS or (table_format(space).sample and not path.exists()):
        return ""
    if path.exists():
        kind = "partial table" if has_partial_table(space) else "table"
        return f"Test errors of the best candidate: not in the {kind} {path}"
    return f"No test errors: there is no {path}. {table_format(space).remedy}".rstrip()


def as_written(space: Space, given: object) -> str:
    """A given architecture as its space writes it.

    A number is the place in the official files of NAS-Bench-201 and NATS-Bench, if the table of the space has `index`.

    Raises:
        UserError: it is no architecture of the space.
    """
    text = str(given)
    try:
        return space.encode(space.decode(text))
    except UserError:
        benchmark = load_benchmark(space.name) if text.strip().isdecimal() else None
        if benchmark is None or "index" not in benchmark.table:
            raise
    found = benchmark.table.index[benchmark.table["index"] == int(text)]
    if len(found) != 1:
        raise UserError(f"{space.name} has architectures 0 to {benchmark.table['index'].max()}, got {text.strip()}")
    return str(found[0])


def has_partial_table(space: str) -> bool:
    """Whether the table of a space lists only a part of it."""
    return space in TABLES and not table_format(space).complete


@lru_cache(len(TABLES))
def _load_once(path: Path, form: TableFormat, changed: int, size: int) -> TabularBenchmark:
    """The table of a file; `changed` and `size` are what tells that the file is still the one that was read."""
    return TabularBenchmark.load(path, form)
