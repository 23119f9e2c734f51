"""Ablations: searches over a grid of spaces, data sets, proxies, orders, N, V, means of choosing, and seeds.

Cells that make the same proposals (they differ in N, V, who validates, neighbours or finalists) share them.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from zcpt_ray.configs import AS_THEY_ARE, SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.finalists import judged, require_finalists
from zcpt_ray.experiments.grids import Metrics, Trial
from zcpt_ray.identity import digest
from zcpt_ray.registry import lookup
from zcpt_ray.search.inputs import SearchData, load_data
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.orders import ORDERS
from zcpt_ray.search.records import Progress, SearchResult
from zcpt_ray.search.resolved import Search, smoke
from zcpt_ray.search.run_files import EXTENDABLE, VALIDATIONS, extendable
from zcpt_ray.search.validation import with_benchmark
from zcpt_ray.storage.paths import AnyPath

AXES = (
    *("space", "dataset", "batch_size", "proxy", "order", "proposal_weights", "num_proposals", "num_validations"),
    *("validation_proxy", "validation_weights", "neighbours", "finalists", "seed"),
)
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
    "choosing": {
        "batch_size": (32,),
        "proxy": ("nwot",),
        "num_validations": (2,),
        "validation_proxy": ("nwot+zen_score", "synflow+nwot"),
        "neighbours": (0, 2),
        "finalists": (0, 10),
    },
}
"""Grids of the paper: table 2, table 5, figure 4 (on DARTS: table 3), table A7, table A9; how candidates are chosen."""
SEEDS = (0, 1, 2, 3)
EMIT_SECONDS = 5.0

SearchedMore = Callable[[Search, Progress], None]
"""Is told how far the search of a cell is."""


def grid(
    base: SearchConfig, preset: str, axes: Mapping[str, Sequence[Any]], given: Collection[str] = ()
) -> list[Search]:
    """`base` with every combination of the values of some fields; seeds 0 to 3 where nobody says otherwise.

    `axes` come first, then what `base` has that was `given` or is other than by default, then the preset ("" is none).

    Raises:
        UserError: an unknown name or axis, a value that is given twice, or finalists that are to be stopped early.
    """
    if base.finalist_early_stopping:
        raise UserError("a cell of a grid trains its finalists one after another: leave out finalist_early_stopping")
    usual = lookup(PRESETS, preset, "preset") if preset else {}
    values: dict[str, Sequence[Any]] = {
        field: wanted
        for field, wanted in {"seed": SEEDS, **usual}.items()
        if field not in given and _is_default(base, field)
    }
    values |= {field: wanted for field, wanted in axes.items() if len(wanted)}
    for field, wanted in values.items():
        lookup(dict.fromkeys(AXES), field, "axis")
        require_distinct(field, wanted)
    fields = [field for field in AXES if field in values]
    combinations = product(*(values[field] for field in fields))
    configs = [replace(base, **dict(zip(fields, cell, strict=True))) for cell in combinations]
    if any(map(_joins_proxies, configs)):  # an aggregation is for these cells alone; without any it is refused
        configs = [
            cell if _joins_proxies(cell) else replace(cell, aggregation=SearchConfig.aggregation) for cell in configs
        ]
    return [Search.of(config) for config in configs]


def _joins_proxies(config: SearchConfig) -> bool:
    return "+" in config.proxy + config.validation_proxy


def require_distinct(name: str, values: Sequence[Any]) -> None:
    """Have each value once.

    Raises:
        UserError: one is there twice.
    """
    if len(set(values)) < len(values):
        raise UserError(f"{name} has a value twice: {', '.join(map(str, values))}")


def _is_default(config: SearchConfig, field: str) -> bool:
    return bool(getattr(config, field) == getattr(SearchConfig(), field))


def smoke_grid(cells: Sequence[Search]) -> list[Search]:
    """The same kind of grid as small as it goes: of each axis the first two values, and one seed."""
    configs = [cell.config for cell in cells]
    first = {
        field: list(dict.fromkeys(getattr(config, field) for config in configs))[: 1 if field == "seed" else 2]
        for field in AXES
    }
    kept = [c for c in configs if all(getattr(c, field) in values for field, values in first.items())]
    return [
        Search.of(config)
        for config in dict.fromkeys(replace(smoke(c), dataset="digits", images=AS_THEY_ARE) for c in kept)
    ]


def shared_runs(cells: Sequence[Search]) -> dict[str, list[Search]]:
    """Cells that make the same proposals, those that make most first, by a name for them all."""
    runs = defaultdict(list)
    for cell in cells:
        runs[_shared_name(cell)].append(cell)
    return {
        name: sorted(members, key=lambda cell: (-cell.config.num_proposals, -cell.config.num_validations))
        for name, members in runs.items()
    }


def trials(runs: Mapping[str, list[Search]]) -> list[Trial]:
    """`shared_runs` as trials, whose work is `search_and_report`."""
    return [
        Trial(name, members, {"proxy": members[0].config.proxy, "order": members[0].config.order})
        for name, members in runs.items()
    ]


def _shared_name(cell: Search) -> str:
    """The same for cells that make the same proposals: they differ in N and V, say."""
    alike = {name: getattr(SearchConfig, name) for name in EXTENDABLE} | {"num_proposals": 1, "num_validations": 0}
    differing = set(extendable(cell, validated_elsewhere=True)) - set(EXTENDABLE)
    same = cell.with_config(**alike).identity
    return digest({name: value for name, value in same.items() if name not in differing})


def cell_directory(out: AnyPath, cell: Search) -> AnyPath:
    """Where the result of a cell lies."""
    return out / "cells" / cell.run_id


def finished_cells(cells: Sequence[Search], out: AnyPath) -> list[SearchResult]:
    """The results that are there, in the order of the cells."""
    return [SearchResult.load(cell_directory(out, cell)) for cell in cells if _is_finished(cell, out)]


def search_cells(
    cells: Sequence[Search], out: AnyPath, report: SearchedMore = lambda *_: None, data: SearchData | None = None
) -> Iterator[SearchResult]:
    """The results of cells that make the same proposals, one after another; all share one run directory.

    Validation scores are shared by all cells of the grid that ask for the same ones.

    What a cell is said to cost is what it would have cost alone. A finished cell is read.

    Raises:
        UserError: what a search raises.
    """
    data = data or _data_unless_finished(cells, out)
    for cell in cells:
        yield _search_cell(cell, out, report, data)


def _data_unless_finished(cells: Sequence[Search], out: AnyPath) -> SearchData | None:
    """What all cells search on, if one is left to search."""
    return load_data(cells[0]) if any(not _is_finished(cell, out) for cell in cells) else None


def _is_finished(cell: Search, out: AnyPath) -> bool:
    return (cell_directory(out, cell) / "result.json").exists()


def _search_cell(cell: Search, out: AnyPath, report: SearchedMore, data: SearchData | None) -> SearchResult:
    directory = cell_directory(out, cell)
    if _is_finished(cell, out):
        return SearchResult.load(directory)
    shared = out / "searches" / _shared_name(cell)
    require_finalists(cell)
    result = run_search_locally(cell, shared, partial(report, cell), data, out / VALIDATIONS)
    result = with_benchmark(judged(result, cell, shared))
    result.save(directory)
    return result


def search_and_report(cells: Sequence[Search], out: AnyPath, emit: Callable[[Metrics], object]) -> None:
    """`search_cells` as the work of a trial.

    `emit` gets a row for each finished cell, and now and then how far all are.

    Raises:
        UserError: the data cannot be read; or some cells failed, each for the reason that is given, and the others are
            finished.
    """
    progress = _CellProgress(cells, emit)
    data, failures = _data_unless_finished(cells, out), []
    for index, cell in enumerate(cells):
        try:
            result = _search_cell(cell, out, progress.report, data)
        except UserError as error:
            failures.append(f"{cell_label(cell, cells)}: {error}" if len(cells) > 1 else str(error))
        else:
            emit({**_summary(result), "fraction": progress.fraction(index + 1)})
    if failures:
        raise UserError("; ".join(failures))


class _CellProgress:
    """How far a trial is: a cell weighs as many proposals as it adds to those before, and one more."""

    def __init__(self, cells: Sequence[Search], emit: Callable[[Metrics], object]) -> None:
        self.cells = cells
        self.emit = emit
        numbers = [cell.config.num_proposals for cell in cells]
        before = [max(numbers[:index], default=0) for index in range(len(numbers))]
        self.weights = [1 + max(0, number - known) for number, known in zip(numbers, before, strict=True)]
        self.emitted = time.monotonic()

    def fraction(self, done: int, of_next: float = 0.0) -> float:
        """In [0, 1], with so many cells done and a part of the next one."""
        weight_of_next = self.weights[done] if of_next else 0
        return (sum(self.weights[:done]) + of_next * weight_of_next) / sum(self.weights)

    def report(self, cell: Search, progress: Progress) -> None:
        """Emit how far all are, if that was some seconds ago."""
        if time.monotonic() - self.emitted > EMIT_SECONDS:
            self.emitted = time.monotonic()
            validated = progress.validations_done / (progress.validations_total or 1)
            of_this = (progress.proposals_done + validated) / (1 + progress.proposals_total)
            done = self.cells.index(cell)
            self.emit({"fraction": self.fraction(done, of_this), "scores": progress.scores})


def _summary(result: SearchResult) -> Metrics:
    """A finished cell as a row of Tune's tables."""
    row: Metrics = {"proposals": result.config.num_proposals, "validations": result.config.num_validations}
    row |= {
        "distinct": result.num_distinct,
        "scores": result.num_evaluations,
        "best_score": result.best.score,
    }
    return row | {f"error/{dataset}": entry.error for dataset, entry in (result.benchmark or {}).items()}


def cell_label(cell: Search, cells: Sequence[Search]) -> str:
    """What tells a cell from the others: `order random, seed 1`."""
    return config_label(cell.config, [other.config for other in cells])


def config_label(config: SearchConfig, others: Sequence[SearchConfig]) -> str:
    """What tells a configuration from others: `order random, seed 1`."""
    varying = [field for field in AXES if len({getattr(other, field) for other in others}) > 1]
    shown = {"num_proposals": "N", "num_validations": "V"}
    named = {field: getattr(config, field) for field in varying}
    if "dataset" in named:
        named["dataset"] = Path(config.dataset).name
    return ", ".join(f"{shown.get(field, field)} {value}" for field, value in named.items()) or f"seed {config.seed}"
