"""Ablations: searches over a grid of spaces, data sets, proxies, orders, N, V and seeds, where N and V share what they compute."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

from zcpt_ray.configs import SearchConfig, run_id, smoke
from zcpt_ray.datasets import find_dataset
from zcpt_ray.errors import UserError
from zcpt_ray.files import AnyPath
from zcpt_ray.orders import ORDERS
from zcpt_ray.records import Progress, RunStore, SearchResult
from zcpt_ray.registry import lookup
from zcpt_ray.search import SearchData, load_data, resolve, run_search_locally, with_benchmark

AXES = ("space", "dataset", "batch_size", "proxy", "order", "num_proposals", "num_validations", "seed")
"""Fields of a configuration that a grid varies, slowest first."""
PRESETS: dict[str, dict[str, tuple[Any, ...]]] = {
    "proxies": {"proxy": ("nwot-released", "synflow", "zen_score", "snip", "grasp", "grad_norm", "fisher", "tenas")},
    "orders": {"order": tuple(ORDERS)},
    "proposals-validations": {"num_proposals": (1, 10, 100, 1000), "num_validations": (1, 10, 100)},
    "darts-proxies": {"space": ("darts",), "batch_size": (64,), "proxy": ("nwot-released", "synflow", "zen_score")},
    "subspaces": {
        "space": ("darts-s1", "darts-s2", "darts-s3", "darts-s4"),
        "dataset": ("cifar10", "cifar100", "svhn"),
        "batch_size": (64,),
        "seed": (0, 2),
    },
}
"""Grids of the paper: table 2, table 5, figure 4 (on DARTS: table 3), table A7, table A9."""
SEEDS = (0, 1, 2, 3)
EMIT_SECONDS = 5.0

Searched = Callable[[SearchConfig, Progress], None]


def grid(base: SearchConfig, preset: str, axes: Mapping[str, Sequence[Any]]) -> list[SearchConfig]:
    """`base` with every combination of the values of some fields; seeds 0 to 3 where nobody says otherwise.

    `axes` come first, then what `base` has other than by default, then the preset.

    Raises:
        UserError: an unknown name, or a value that is given twice.
    """
    usual = {field: values for field, values in lookup(PRESETS, preset, "preset").items() if _is_default(base, field)}
    values = {"seed": SEEDS, **usual, **{field: wanted for field, wanted in axes.items() if wanted}}
    for field, wanted in values.items():
        require_distinct(field, wanted)
    fields = [field for field in AXES if field in values]
    cells = [replace(base, **dict(zip(fields, cell, strict=True))) for cell in product(*(values[field] for field in fields))]
    for cell in cells:
        resolve(cell)
    return cells


def require_distinct(name: str, values: Sequence[Any]) -> None:
    """Have each value once.

    Raises:
        UserError: one is there twice.
    """
    if len(set(values)) < len(values):
        raise UserError(f"{name} has a value twice: {', '.join(map(str, values))}")


def _is_default(config: SearchConfig, field: str) -> bool:
    return bool(getattr(config, field) == getattr(SearchConfig(), field))


def smoke_grid(cells: Sequence[SearchConfig]) -> list[SearchConfig]:
    """The same kind of grid as small as it goes: of each axis the first two values, and one seed."""
    first = {field: list(dict.fromkeys(getattr(cell, field) for cell in cells))[: 1 if field == "seed" else 2] for field in AXES}
    kept = [cell for cell in cells if all(getattr(cell, field) in values for field, values in first.items())]
    return list(dict.fromkeys(replace(smoke(cell), dataset="digits") for cell in kept))


def shared_runs(cells: Sequence[SearchConfig]) -> dict[str, list[SearchConfig]]:
    """Cells that differ in N and V only, most proposals first, by a name for them all."""
    runs = defaultdict(list)
    for cell in cells:
        runs[_shared_name(cell)].append(cell)
    return {name: sorted(members, key=lambda c: (-c.num_proposals, -c.num_validations)) for name, members in runs.items()}


def _shared_name(cell: SearchConfig) -> str:
    """The same for cells that differ in N and V only."""
    return run_id(replace(cell, num_proposals=1, num_validations=0))


def cell_directory(out: AnyPath, cell: SearchConfig) -> AnyPath:
    """Where the result of a cell lies."""
    return out / "cells" / run_id(cell)


def search_cells(
    cells: Sequence[SearchConfig], out: AnyPath, report: Searched = lambda *_: None, data: SearchData | None = None
) -> Iterator[SearchResult]:
    """The results of cells that differ in N and V only, one after another; each takes from the one run directory what is there.

    What a cell is said to cost is what it would have cost alone. A finished cell is read.

    Raises:
        UserError: what a search raises.
    """
    data = data or _data_unless_finished(cells, out)
    for cell in cells:
        yield _search_cell(cell, out, report, data)


def _data_unless_finished(cells: Sequence[SearchConfig], out: AnyPath) -> SearchData | None:
    """What all cells search on, if one is left to search."""
    return load_data(cells[0]) if any(not _is_finished(cell, out) for cell in cells) else None


def _is_finished(cell: SearchConfig, out: AnyPath) -> bool:
    return (cell_directory(out, cell) / "result.json").exists()


def _search_cell(cell: SearchConfig, out: AnyPath, report: Searched, data: SearchData | None) -> SearchResult:
    directory = cell_directory(out, cell)
    if _is_finished(cell, out):
        return SearchResult.load(directory)
    store = RunStore(cell, out / "searches" / _shared_name(cell))
    result = with_benchmark(run_search_locally(cell, store, partial(report, cell), data))
    result.save(directory)
    return result


def search_and_report(cells: Sequence[SearchConfig], out: AnyPath, emit: Callable[[dict[str, Any]], object]) -> None:
    """`search_cells` as the work of a trial: `emit` gets a row as each is finished, and now and then how far all are.

    Raises:
        UserError: the data cannot be read; or some cells failed, each for the reason that is given, and the others are finished.
    """
    known = [max((other.num_proposals for other in cells[:i]), default=0) for i in range(len(cells))]
    work = [1 + max(0, cell.num_proposals - before) for cell, before in zip(cells, known, strict=True)]
    emitted = time.monotonic()

    def report(cell: SearchConfig, progress: Progress) -> None:
        nonlocal emitted
        if time.monotonic() - emitted > EMIT_SECONDS:
            emitted = time.monotonic()
            validated = progress.validations_done / (progress.validations_total or 1)
            part = (progress.proposals_done + validated) / (1 + progress.proposals_total)
            index = cells.index(cell)
            emit({"share": (sum(work[:index]) + part * work[index]) / sum(work), "scores": progress.scores})

    data, failures = _data_unless_finished(cells, out), []
    for index, cell in enumerate(cells):
        try:
            result = _search_cell(cell, out, report, data)
        except UserError as error:
            failures.append(f"{cell_label(cell, cells)}: {error}" if len(cells) > 1 else str(error))
            continue
        row: dict[str, Any] = {"proposals": result.config.num_proposals, "validations": result.config.num_validations}
        row |= {"distinct": len(result.candidates), "scores": result.num_evaluations, "best_score": result.best.score}
        row |= {f"error/{dataset}": entry["error"] for dataset, entry in (result.benchmark or {}).items()}
        emit({**row, "share": sum(work[: index + 1]) / sum(work)})
    if failures:
        raise UserError("; ".join(failures))


def cell_label(cell: SearchConfig, cells: Sequence[SearchConfig]) -> str:
    """What tells a cell from the others: `order random, seed 1`."""
    varying = [field for field in AXES if len({getattr(other, field) for other in cells}) > 1]
    shown = {"num_proposals": "N", "num_validations": "V"}
    named = {field: find_dataset(cell.dataset).name if field == "dataset" else getattr(cell, field) for field in varying}
    return ", ".join(f"{shown.get(field, field)} {value}" for field, value in named.items()) or f"seed {cell.seed}"
