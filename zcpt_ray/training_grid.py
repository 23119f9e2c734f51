"""Architectures x training seeds: which trainings there are, and each as the work of a trial."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zcpt_ray.ablation import cell_label, require_distinct
from zcpt_ray.configs import TrainConfig, run_id
from zcpt_ray.errors import UserError
from zcpt_ray.files import AnyPath, whole_file
from zcpt_ray.found_runs import GridRow, read_grid, search_directories
from zcpt_ray.ranking import read_archs
from zcpt_ray.records import SearchResult
from zcpt_ray.spaces import find_space
from zcpt_ray.spaces.darts import Darts
from zcpt_ray.training import resolve, train
from zcpt_ray.training_records import EpochMetrics

Train = Callable[[TrainConfig, AnyPath], Iterator[EpochMetrics]]


@dataclass(frozen=True)
class Training:
    """One training of a grid: `arch_name` tells its architecture from the others."""

    arch_name: str
    config: TrainConfig
    search: SearchResult | None = None

    @property
    def name(self) -> str:
        """Of its trial; the same where two searches found one architecture."""
        return run_id(self.config)


def found_by(places: Sequence[AnyPath]) -> dict[str, SearchResult]:
    """The results of the searches below some folders, by what tells them apart.

    Raises:
        UserError: there is none, or one is damaged.
    """
    found = [SearchResult.load(folder) for place in places for folder in search_directories(place)]
    if not found:
        raise UserError(f"no result.json in or below {', '.join(map(str, places))}; give folders of finished searches")
    configs = [result.config for result in found]
    named: dict[str, SearchResult] = {}
    for result in found:
        label = cell_label(result.config, configs)
        while label in named:
            label += "'"  # the same search in two folders
        named[label] = result
    return named


def trainings(
    base: TrainConfig,
    seeds: Sequence[int],
    searches: Mapping[str, SearchResult],
    archs: Mapping[str, str],
) -> list[Training]:
    """Every architecture with every training seed: what searches found best, in their space, and `archs` in that of `base`.

    Raises:
        UserError: there is nothing to train, or a training cannot be done; it is said before any is begun.
    """
    space = find_space(base.space)
    chosen = [Training(name, replace(base, space=r.config.space, arch=r.best.arch), r) for name, r in searches.items()]
    chosen += [Training(name, replace(base, arch=space.encode(space.decode(text)))) for name, text in archs.items()]
    if not chosen or not seeds:
        raise UserError("nothing to train: give --searches FOLDER..., --arch TEXT or --genotypes FILE, and at least one of --seeds")
    require_distinct("--seeds", seeds)
    grid = [replace(training, config=replace(training.config, seed=seed)) for training in chosen for seed in seeds]
    for training in grid:
        resolve(training.config)
    return grid


def smoke_training(base: TrainConfig) -> TrainConfig:
    """The same as small as it goes: two epochs on a few digits."""
    small = {"channels": 4, "num_cells": 3} if isinstance(find_space(base.space), Darts) else {}
    return replace(base, dataset="digits", epochs=2, batch_size=16, max_images=64, **small)  # type: ignore[arg-type]


def given_archs(space: str, arch: str, genotypes: Path | None, match: str) -> dict[str, str]:
    """Architectures given as text, and those of a file (`ranking.read_archs`), by name."""
    return ({"given": arch} if arch else {}) | (read_archs(genotypes, find_space(space), match) if genotypes else {})


def train_and_report(config: TrainConfig, out: AnyPath, emit: Callable[[dict[str, Any]], object], train: Train = train) -> None:
    """A training as the work of a trial: `emit` gets each epoch, those of an earlier start included."""
    epochs = resolve(config).recipe.epochs
    for metrics in train(config, training_directory(out, config)):
        done = metrics.epoch + 1
        emit({**dataclasses.asdict(metrics), "epoch": done, "share": done / epochs})


def training_directory(out: AnyPath, config: TrainConfig) -> AnyPath:
    """Where a training keeps its checkpoint and result."""
    return out / "trials" / run_id(config)


def write_grid(grid: Sequence[Training], out: AnyPath) -> None:
    """`grid.json`: which trial is which architecture with which seed, and the search behind it.

    What earlier grids in the same folder have begun stays there.

    Raises:
        UserError: the file of an earlier grid cannot be read.
    """
    rows = [
        GridRow(t.arch_name, t.name, t.config.seed, run_id(t.config.setting), t.search and replace(t.search, candidates=()))
        for t in grid
    ]
    if (out / "grid.json").exists():
        here = {_what(row) for row in rows}
        begun = [row for row in read_grid(out) if (out / "trials" / row.run_id).exists()]
        rows += [row for row in begun if _what(row) not in here]
    with whole_file(out / "grid.json") as temporary:
        temporary.write_text(json.dumps({"trials": [dataclasses.asdict(row) for row in rows]}, indent=1))


def _what(row: GridRow) -> tuple[str, str]:
    """The trial, and the search behind it, whatever they are called."""
    return row.run_id, run_id(row.search.config) if row.search else ""
