"""What a tabular benchmark knows of one architecture."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class BenchmarkEntry:
    """What a table says of an architecture on one data set: mean test `error` [%], and that of each training seed.

    `validation_error` [%] is that of the same networks on held-out training images. `rank` is the place among all in
    the table by test error: 1 is best, equals share the better rank. `flops` are multiply-adds on one image. None
    stands for what the table does not say.
    """

    error: float
    error_per_seed: tuple[float, ...]
    validation_error: float | None
    rank: int
    params: int | None
    flops: int | None


@dataclass(frozen=True)
class BenchmarkRow(Mapping[str, BenchmarkEntry]):
    """An entry per data set of the benchmark; empty, and so false, for an architecture that a partial table lacks."""

    entries: Mapping[str, BenchmarkEntry]

    def __getitem__(self, dataset: str) -> BenchmarkEntry:
        return self.entries[dataset]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def error(self, dataset: str) -> float:
        """Mean test error [%] on a data set.

        Raises:
            KeyError: the table does not have it.
        """
        return self.entries[dataset].error

    def accuracy(self, dataset: str) -> float:
        """Mean test accuracy on a data set, in [0, 1]; raises as `error`."""
        return 1 - self.error(dataset) / 100

    def rank(self, dataset: str) -> int:
        """Place among all architectures of the table, 1 is best; raises as `error`."""
        return self.entries[dataset].rank

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The row as JSON holds it."""
        return {dataset: asdict(entry) for dataset, entry in self.entries.items()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Mapping[str, Any]]) -> "BenchmarkRow":
        """The row that `to_dict` wrote.

        Raises:
            TypeError: other fields than an entry has.
        """
        found = {dataset: BenchmarkEntry(**entry) for dataset, entry in raw.items()}
        return cls({name: replace(entry, error_per_seed=tuple(entry.error_per_seed)) for name, entry in found.items()})
