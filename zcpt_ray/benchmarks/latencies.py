"""Tables of what networks take on a device: measured by `zcpt profile`, by others, or by the user."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from zcpt_ray.arch import ArchSpec, PartialArch
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.base import Space
from zcpt_ray.spaces.costs import AddedUp, Usage, finished_at_random
from zcpt_ray.spaces.module_costs import ConditionalCosts, option_amounts
from zcpt_ray.spaces.module_space import ModuleSpace
from zcpt_ray.storage.parquet import read_csv, read_parquet, reading
from zcpt_ray.storage.paths import AnyPath, any_path, write_whole

REST = ""
"""The edge of what runs whatever the architecture is, in a table of ops."""
OP_COLUMNS = ("edge", "op", "latency_ms")
ABOUT = b"zcpt_ray profile"


class ByArch:
    """A `Usage` that was measured network by network: `values` by encoded architecture; NaN is not measured."""

    def __init__(self, space: Space, values: pd.Series) -> None:
        known = values.dropna()
        archs = [space.decode(str(text)) for text in known.index]
        self.numbers: list[dict[tuple[str, ...], int]] = [{} for _ in space.edges]
        rows = [
            [numbers.setdefault(ops, len(numbers)) for numbers, ops in zip(self.numbers, arch.kept, strict=True)]
            for arch in archs
        ]
        self.rows = np.array(rows, dtype=np.int32).reshape(len(archs), len(space.edges))
        self.values = known.to_numpy(dtype=float)
        self.latencies = known

    def of(self, arch: ArchSpec) -> float:
        return self._least(arch.kept)

    def least(self, arch: PartialArch) -> float:
        return self._least(arch.kept)

    def typical(self, arch: PartialArch) -> float:
        found = self._fitting(arch.kept)
        return float(found.mean()) if len(found) else float("inf")

    def _least(self, kept: tuple[tuple[str, ...] | None, ...]) -> float:
        return float(self._fitting(kept).min(initial=np.inf))

    def _fitting(self, kept: tuple[tuple[str, ...] | None, ...]) -> np.ndarray:
        """The values of all that keep so."""
        fits = np.ones(len(self.rows), dtype=bool)
        for edge, ops in enumerate(kept):
            if ops is not None:
                fits &= self.rows[:, edge] == self.numbers[edge].get(ops, -1)
        found: np.ndarray = self.values[fits]
        return found


@dataclass(frozen=True)
class OpLatencies:
    """What `zcpt profile` found: a row per candidate op of each edge, and one, without an edge, for all the rest.

    - `table`: `edge`, `op`, `latency_ms` (median), `low_ms`, `high_ms` (quartiles); of an edge that several cells
      share, the sum over them.
    - `about`: where and how it was measured, and by how much predictions miss whole networks.
    """

    table: pd.DataFrame
    about: dict[str, Any]

    def usage(self, space: Space) -> Usage:
        """How long networks of `space` take: the sum over their ops, and the rest.

        Raises:
            UserError: the table is of another space.
        """
        if missing := set(self.about.get("edges", ())) ^ {edge.name for edge in space.edges}:
            raise UserError(
                f"the table of latencies is of space {self.about.get('space')!r}, not {space.name!r}: edge"
                f" {sorted(missing)[0]!r} is not in both"
            )
        columns = (self.table[name].tolist() for name in OP_COLUMNS)
        times = {(edge, op): latency for edge, op, latency in zip(*columns, strict=True)}
        try:
            by_op = [[float(times[edge.name, op]) for op in edge.candidates] for edge in space.edges]
        except KeyError as error:
            raise UserError(f"the table of latencies has no {error.args[0]} of space {space.name!r}") from error
        rest = float(times[REST, REST])
        if isinstance(space, ModuleSpace):
            return ConditionalCosts(space, option_amounts(space, rest, by_op), finished_at_random, unit=1.0)
        return AddedUp(space, rest, by_op)

    def told(self) -> str:
        """How well it predicts, in one line."""
        check = self.about["check"]
        return (
            f"predictions of {check['networks']} other networks miss by {check['median_error']:.1f} % (median) and"
            f" {check['p90_error']:.1f} % (90th percentile); rank correlation {check['spearman']:.3f}"
        )

    def save(self, path: AnyPath) -> None:
        """Write a parquet file that is there whole or not at all."""
        table = pa.Table.from_pandas(self.table, preserve_index=False)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), ABOUT: json.dumps(self.about)})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        write_whole(path, sink.getvalue().to_pybytes())


def read_profile(path: AnyPath) -> OpLatencies:
    """What `OpLatencies.save` wrote.

    Raises:
        UserError: it cannot be read, or is something else.
    """
    with reading(path):
        found = pq.read_table(pa.BufferReader(path.read_bytes()))
        about = json.loads((found.schema.metadata or {}).get(ABOUT, b"null"))
    columns = (*OP_COLUMNS, "low_ms", "high_ms")
    if not _is_about(about) or any(column not in found.column_names for column in columns):
        raise UserError(f"{path} was not written by zcpt profile, or is damaged")
    return OpLatencies(finite(found.to_pandas(), path, "latency_ms"), about)


def _is_about(about: Any) -> bool:
    """Whether this is what `OpLatencies.about` has to have."""
    kinds = {"space": str, "edges": list, "image_shape": list, "num_classes": int, "batch_size": int, "threads": int}
    kinds |= {"runtime": str, "cpu": str, "check": dict}
    if not isinstance(about, dict) or any(not isinstance(about.get(name), kind) for name, kind in kinds.items()):
        return False
    numbers = [*about["image_shape"], *about["check"].values()]
    return all(isinstance(edge, str) for edge in about["edges"]) and all(isinstance(n, int | float) for n in numbers)


def error_of(path: AnyPath) -> float:
    """By how many percent a network may be slower than a profile predicts; 0 for a table of networks.

    By what predictions missed nine times of ten, and by what the machine was slower at times.
    """
    if str(path).endswith(".csv") or "edge" not in read_parquet(path):
        return 0.0
    check = read_profile(path).about.get("check", {})
    return float(check.get("p90_error", 0.0)) + float(check.get("drift", 0.0))


def device_table(path: str, space: Space) -> Usage:
    """The latencies [ms] in a file: of ops, as `zcpt profile` writes it, or of whole networks, by `arch`.

    Raises:
        UserError: it cannot be read, is something else, or is of another space.
    """
    place = any_path(path)
    table = read_csv(place) if path.endswith(".csv") else read_parquet(place)
    if {"arch", "latency_ms"} <= set(table.columns):
        known = finite(table[["arch", "latency_ms"]].dropna(), place, "latency_ms")
        return ByArch(space, known.set_index("arch")["latency_ms"])
    if not set(OP_COLUMNS) <= set(table.columns):
        raise UserError(
            f"{place} is no table of latencies: it needs columns arch and latency_ms, or to be written by zcpt profile"
        )
    return read_profile(place).usage(space)


def finite(table: pd.DataFrame, path: AnyPath | Path, column: str) -> pd.DataFrame:
    """A table that has numbers in a column.

    Raises:
        UserError: something else than numbers from 0 on.
    """
    values = pd.to_numeric(table[column], errors="coerce")
    if not ((values >= 0) & np.isfinite(values)).all():
        raise UserError(f"{path}: {column} must be numbers of milliseconds (or millijoule) from 0 on")
    return table.assign(**{column: values})
