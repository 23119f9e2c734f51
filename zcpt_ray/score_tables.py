"""Proxy scores of every network of a space, on one minibatch: computed once in slices, kept in the cache directory."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from zcpt_ray.arch import PartialArch
from zcpt_ray.configs import SearchConfig
from zcpt_ray.data import ImageSet, cache_directory, draw_minibatch, local_device
from zcpt_ray.errors import UserError
from zcpt_ray.files import whole_file
from zcpt_ray.proxies import PROXIES, measure_archs
from zcpt_ray.registry import lookup
from zcpt_ray.seeding import derive_seed
from zcpt_ray.spaces import find_space

log = logging.getLogger(__name__)
LINE_SECONDS = 10
SLICE = 125
"""Networks that are scored and stored together."""
LARGEST = 100_000
"""Networks of a space that one can still think of scoring all."""


@dataclass(frozen=True)
class TableKey:
    """What the scores in a table depend on."""

    space: str
    dataset: str
    proxy: str
    batch_size: int
    seed: int

    @classmethod
    def of(cls, config: SearchConfig) -> "TableKey":
        """The table that a search would look into."""
        return cls(config.space, config.dataset, config.proxy, config.batch_size, config.seed)


class ScoreTable:
    """The table of `key`, on disk: whole, or the slices that are done so far.

    Raises:
        UserError: an unknown name, or a space too large to score whole.
    """

    def __init__(self, key: TableKey) -> None:
        self.key = key
        self.proxy = lookup(PROXIES, key.proxy, "proxy")
        space = find_space(key.space)
        if space.num_archs > LARGEST:
            raise UserError(f"space {key.space!r} has {space.num_archs:.3g} networks; up to {LARGEST} can be scored all")
        self.num_archs = space.num_archs
        depends = {**asdict(key), "space": key.space + space.fingerprint}
        digest = hashlib.blake2b(json.dumps(depends).encode(), digest_size=6).hexdigest()
        self.path = cache_directory() / "scores" / f"{Path(key.space).stem}-{Path(key.dataset).name}-{key.proxy}-{digest}.parquet"
        self.parts = self.path.with_suffix(".parts")

    def missing(self) -> list[range]:
        """Slices, as indices for `Space.arch`, that nobody has scored yet."""
        return [] if self.path.exists() else [part for part in self._slices() if not self._part(part).exists()]

    def add(self, part: range, measured: pd.DataFrame) -> None:
        """Store a slice; on disk before this returns."""
        _write(measured, self._part(part))

    def load(self) -> pd.Series:
        """Score by encoded architecture, once no slice is missing.

        Raises:
            UserError: the file, or a slice, is damaged.
        """
        if not self.path.exists():
            table = pd.concat([_read(self._part(part)) for part in self._slices()], ignore_index=True)
            assert len(table) == self.num_archs
            table["score"] = self.proxy.combine(list(table.drop(columns="arch").itertuples(index=False, name=None)))
            _write(table, self.path)
            shutil.rmtree(self.parts, ignore_errors=True)
        table = _read(self.path)
        return pd.Series(table["score"].to_numpy(), index=table["arch"])

    def _slices(self) -> list[range]:
        return [range(start, min(start + SLICE, self.num_archs)) for start in range(0, self.num_archs, SLICE)]

    def _part(self, part: range) -> Path:
        return self.parts / f"{part.start:08d}-{part.stop:08d}.parquet"


def measure_slice(shared: tuple[TableKey, ImageSet, str], part: range) -> pd.DataFrame:
    """What the proxy measures of some networks, each as it stands alone, all on the same minibatch and with the supernet's weights.

    `shared` is the table's key, the images and the device asked for. Columns: `arch`, `measure0`, ...
    """
    key, data, device = shared
    space, proxy = find_space(key.space), PROXIES[key.proxy]
    supernet = space.supernet(data.num_classes, derive_seed(key.seed, "supernet")).to(local_device(device))
    batch = draw_minibatch(data, key.batch_size, derive_seed(key.seed, "score table"), local_device(device))
    archs = [space.arch(index) for index in part]
    measured = measure_archs(proxy, supernet, [PartialArch(space.edges, arch.kept) for arch in archs], batch, alone=True)
    columns = {f"measure{index}": values for index, values in enumerate(zip(*measured, strict=True))}
    return pd.DataFrame({"arch": [space.encode(arch) for arch in archs]} | columns)


def spread_locally(function: Callable[[Any, Any], Any], shared: Any, items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """(item, function(shared, item)) of each item, one after another in this process."""
    for item in items:
        yield item, function(shared, item)


Spread = Callable[[Callable[[Any, Any], Any], Any, Sequence[Any]], Iterator[tuple[Any, Any]]]
"""A way to run a function over items: `spread_locally`, or the same over a cluster, in the order they finish."""


def score_table(key: TableKey, data: ImageSet, device: str = "auto", spread: Spread = spread_locally) -> pd.Series:
    """The table for these very images; slices that are missing are computed and kept, and a log line says now and then how far."""
    table = ScoreTable(replace(key, dataset=key.dataset + data.fingerprint))
    missing = table.missing()
    done = table.num_archs - sum(len(part) for part in missing)
    said = time.monotonic()
    for part, measured in spread(measure_slice, (key, data, device), missing):
        table.add(part, measured)
        done += len(part)
        if time.monotonic() - said > LINE_SECONDS:
            said = time.monotonic()
            log.info("%s of every network of %s: %d of %d scored", key.proxy, key.space, done, table.num_archs)
    return table.load()


def _write(table: pd.DataFrame, path: Path) -> None:
    with whole_file(path) as temporary:
        table.to_parquet(temporary)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} is damaged ({error}); delete it to have it computed again") from error
