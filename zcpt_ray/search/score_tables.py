"""Proxy scores of every network of a space, on one minibatch: computed once in slices, kept in the cache directory."""

import logging
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets.minibatches import ImageSet, draw_minibatch
from zcpt_ray.devices import local_device
from zcpt_ray.errors import UserError
from zcpt_ray.identity import digest
from zcpt_ray.proxies import measure_archs
from zcpt_ray.search.resolved import Search
from zcpt_ray.seeding import derive_seed
from zcpt_ray.storage.parquet import read_parquet
from zcpt_ray.storage.paths import cache_directory, whole_file

log = logging.getLogger(__name__)
LINE_SECONDS = 10
TABLE_SLICE = 125
"""Networks that are scored and stored together."""
LARGEST = 100_000
"""Networks of a space that one can still think of scoring all."""


class ScoreTable:
    """The table that a search on these images looks into, on disk: whole, or the slices that are done so far.

    It depends on space, data set, proxy, batch size and search seed. `fingerprint` tells data sets of one name apart.
    It lies in `folder`, or the cache directory.

    Raises:
        UserError: a space too large to score whole.
    """

    def __init__(self, search: Search, fingerprint: str = "", folder: Path | None = None) -> None:
        config, space = search.config, search.space
        if space.num_archs > LARGEST:
            raise UserError(
                f"space {config.space!r} has {space.num_archs:.3g} networks; up to {LARGEST} can be scored all"
            )
        self.proxy = search.proxy
        self.num_archs = space.num_archs
        depends = search.scored_by | {"dataset": config.dataset + fingerprint}
        if config.aggregation != SearchConfig.aggregation:
            depends["aggregation"] = config.aggregation
        told = (Path(config.space).stem, Path(config.dataset + fingerprint).name, search.proxy.name, digest(depends))
        self.path = (folder or cache_directory() / "scores") / f"{'-'.join(told)}.parquet"
        self.parts = self.path.with_suffix(".parts")

    def missing(self) -> list[range]:
        """Slices, as indices for `Space.arch`, that nobody has scored yet."""
        return [part for part in self._slices() if not self.has(part)]

    def has(self, part: range) -> bool:
        """Whether somebody has scored a slice."""
        return self.path.exists() or self._part(part).exists()

    def add(self, part: range, measured: pd.DataFrame) -> None:
        """Store a slice; on disk before this returns."""
        if not self.has(part):
            _write(measured, self._part(part))

    def load(self) -> pd.Series:
        """Score by encoded architecture, once no slice is missing.

        Raises:
            UserError: the file, or a slice, is damaged.
        """
        if not self.path.exists():
            try:
                self._join()
            except (UserError, OSError):
                if not self.path.exists():  # no other process has just done that, and removed the slices
                    raise
        shutil.rmtree(self.parts, ignore_errors=True)
        table = _read(self.path)
        return pd.Series(table["score"].to_numpy(), index=table["arch"])

    def _join(self) -> None:
        table = pd.concat([_read(self._part(part)) for part in self._slices()], ignore_index=True)
        if len(table) != self.num_archs:
            raise UserError(f"{self.parts} holds {len(table)} of {self.num_archs} networks; delete it")
        table["score"] = self.proxy.combine(list(table.drop(columns="arch").itertuples(index=False, name=None)))
        _write(table, self.path)

    def _slices(self) -> list[range]:
        return [
            range(start, min(start + TABLE_SLICE, self.num_archs)) for start in range(0, self.num_archs, TABLE_SLICE)
        ]

    def _part(self, part: range) -> Path:
        return self.parts / f"{part.start:08d}-{part.stop:08d}.parquet"


def measure_slice(shared: tuple[Search, ImageSet], part: range) -> pd.DataFrame:
    """What the proxy measures of some networks, each on its own, on one minibatch.

    They have the supernet's weights.
    Columns: `arch`, `measure0`, ...
    """
    search, data = shared
    return measure_on_their_own(search, data, [search.space.arch(index) for index in part])


def measure_on_their_own(search: Search, data: ImageSet, archs: Sequence[ArchSpec]) -> pd.DataFrame:
    """What the proxy measures of networks on the minibatch of score tables: columns `arch`, `measure0`, ..."""
    config, space, device = search.config, search.space, local_device(search.config.device)
    make = space.networks if space.networks_apart else space.supernet
    supernet = make(data.num_classes, search.weights_seed()).to(device)
    batch = draw_minibatch(data, config.batch_size, derive_seed(config.seed, "score table"), device)
    partial_archs = [PartialArch(space.edges, arch.kept) for arch in archs]
    measured = measure_archs(search.proxy, supernet, partial_archs, batch, alone=True)
    columns = {f"measure{index}": values for index, values in enumerate(zip(*measured, strict=True))}
    return pd.DataFrame({"arch": [space.encode(arch) for arch in archs]} | columns)


def spread_locally(function: Callable[[Any, Any], Any], shared: Any, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """(item, function(shared, item)) of each item, one after another in this process."""
    for item in items:
        yield item, function(shared, item)


Spread = Callable[[Callable[[Any, Any], Any], Any, Iterable[Any]], Iterator[tuple[Any, Any]]]
"""A way to run a function over items: `spread_locally`, or the same over a cluster, in the order they finish."""


def score_table(search: Search, data: ImageSet, spread: Spread = spread_locally) -> pd.Series:
    """The table for these very images; missing slices are computed and kept, a log line says now and then how far.

    Several processes may do so at once: each goes through the slices in an order of its own, and leaves out what
    another has done meanwhile.
    """
    table = ScoreTable(search, data.fingerprint)
    missing = table.missing()
    random.Random().shuffle(missing)
    done = table.num_archs - sum(len(part) for part in missing)
    said = time.monotonic()
    for part, measured in spread(measure_slice, (search, data), (part for part in missing if not table.has(part))):
        table.add(part, measured)
        done += len(part)
        if time.monotonic() - said > LINE_SECONDS:
            said = time.monotonic()
            message = "%s of every network of %s: %d of %d scored"
            log.info(message, search.proxy.name, search.config.space, done, table.num_archs)
    return table.load()


def _write(table: pd.DataFrame, path: Path) -> None:
    with whole_file(path) as temporary:
        table.to_parquet(temporary)


def _read(path: Path) -> pd.DataFrame:
    return read_parquet(path, "delete it to have it computed again")
