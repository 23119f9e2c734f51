"""The finished searches and trainings below some folders, local or behind a URI, found by what their directories hold."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from zcpt_ray.configs import TrainConfig, run_id
from zcpt_ray.errors import UserError
from zcpt_ray.files import AnyPath
from zcpt_ray.records import SearchResult
from zcpt_ray.training_records import TrainResult
from zcpt_ray.training_results import Trained, with_distinct_names

SEARCH, TRAINING, GRID = "result.json", "training.json", "grid.json"
TUNE_TRIAL = "params.json"
"""Ray Tune's own trial directories have it; their `result.json` is none of ours."""
INSIDE_A_SEARCH = ("proposals", "validations")
CELLS = "cells"
"""The folder of an ablation that holds one run directory per cell."""


@dataclass(frozen=True)
class Found:
    """A finished search, where it is, and that directory's name."""

    directory: AnyPath
    result: SearchResult
    name: str


@dataclass(frozen=True)
class FoundRuns:
    """Searches by the folder that they lie in, trainings by their grid or folder, each setting apart.

    A training without a grid goes by its directory's name. `trials` are those of a grid, finished or not. `problems` are lines
    about what cannot be read.
    """

    searches: dict[str, list[Found]] = field(default_factory=dict)
    trainings: dict[str, list[Trained]] = field(default_factory=dict)
    trials: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class GridRow:
    """A trial of a training grid, as `grid.json` tells it: `setting` is a digest of how it is trained."""

    arch_name: str
    run_id: str
    seed: int
    setting: str
    search: SearchResult | None


@dataclass(frozen=True)
class _Grid:
    """Where a training grid is, and its trials, where that can be read."""

    directory: AnyPath
    rows: Sequence[GridRow]


@dataclass(frozen=True)
class _Trainings:
    """Those at one place and of one setting, and the names of all such trials of their grid."""

    trained: list[Trained] = field(default_factory=list)
    trials: set[str] = field(default_factory=set)


def find_runs(places: Sequence[AnyPath]) -> FoundRuns:
    """Everything in and below these folders, each run once.

    Raises:
        UserError: there is nothing to report in any of them.
    """
    runs, seen = FoundRuns(), set[str]()
    groups: dict[tuple[str, TrainConfig], _Trainings] = defaultdict(_Trainings)
    for place in places:
        empty, noted = True, len(runs.problems)
        for directory, names, grid in _walk(place, None, runs.problems):
            ours = _ours(names)
            empty = empty and not ours
            if ours and str(directory.absolute()) not in seen:
                seen.add(str(directory.absolute()))
                try:
                    if SEARCH in ours:
                        _add_search(runs, directory)
                    if TRAINING in ours:
                        _add_training(groups, directory, grid)
                except UserError as error:
                    runs.problems.append(str(error))
        if empty and len(runs.problems) == noted:
            runs.problems.append(f"nothing to report in {place}: no finished search or training is there")
    for name, group in _named(groups):
        runs.trainings[name] = group.trained
        if group.trials:
            runs.trials[name] = len(group.trials)
    if not runs.searches and not runs.trainings:
        raise UserError("; ".join(runs.problems))
    return runs


def search_directories(place: AnyPath) -> Iterator[AnyPath]:
    """The directories of finished searches, `place` or below.

    Raises:
        UserError: a folder that is there cannot be read.
    """
    problems: list[str] = []
    for directory, names, _ in _walk(place, None, problems, with_grids=False):
        if SEARCH in _ours(names):
            yield directory
    if problems and place.exists():
        raise UserError("; ".join(problems))


def _ours(names: set[str]) -> set[str]:
    """What of a directory's files are results, and not Ray Tune's."""
    return names & {SEARCH, TRAINING} if TUNE_TRIAL not in names else names & {TRAINING}


def _add_search(runs: FoundRuns, directory: AnyPath) -> None:
    parent = directory.parent.parent if directory.parent.name == CELLS else directory.parent
    result = SearchResult.load(directory)
    if not {"propose", "validate"} <= result.seconds.keys():
        raise UserError(f"{directory / SEARCH} is no result of this version: it does not say how long the search took")
    runs.searches.setdefault(str(parent), []).append(Found(directory, result, directory.name or str(directory)))


def _add_training(groups: dict[tuple[str, TrainConfig], _Trainings], directory: AnyPath, grid: _Grid | None) -> None:
    """One that several searches found is there once for each."""
    result = TrainResult.load(directory)
    if not result.history:
        raise UserError(f"{directory / TRAINING} is no training of this version: it has no epochs")
    rows, own, setting = grid.rows if grid else (), run_id(result.config), run_id(result.config.setting)
    trained = [Trained(row.arch_name, result, row.search) for row in rows if row.run_id == own]
    group = groups[str(grid.directory if grid else directory.parent), result.config.setting]
    group.trials.update(row.run_id for row in rows if row.setting == setting)
    if all(other.result.config != result.config for other in group.trained):
        group.trained.extend(trained or [Trained(directory.name, result)])


def _named(groups: Mapping[tuple[str, TrainConfig], _Trainings]) -> Iterator[tuple[str, _Trainings]]:
    """By the place where they are; where one holds several settings, also by what differs."""
    for (place, setting), group in groups.items():
        there = [other for where, other in groups if where == place]
        varied = [f.name for f in fields(TrainConfig) if len({getattr(other, f.name) for other in there}) > 1]
        told = ", ".join(f"{name} {getattr(setting, name)}" for name in varied)
        yield f"{place}: {told}" if varied else place, replace(group, trained=with_distinct_names(group.trained))


def _walk(
    directory: AnyPath, grid: _Grid | None, problems: list[str], with_grids: bool = True
) -> Iterator[tuple[AnyPath, set[str], _Grid | None]]:
    """Each directory, what is in it, and the grid that it belongs to."""
    try:
        entries: list[AnyPath] = sorted(directory.iterdir(), key=str)
    except (OSError, UserError) as error:
        problems.append(str(error) if isinstance(error, UserError) else f"cannot read {directory}: {error.strerror or error}")
        return
    names = {entry.name for entry in entries}
    if with_grids and GRID in names:
        grid = _read_grid(directory, problems)
    yield directory, names, grid
    for entry in entries:
        if entry.name not in INSIDE_A_SEARCH and not entry.name.endswith(".json") and entry.is_dir():
            yield from _walk(entry, grid, problems, with_grids)


def _read_grid(directory: AnyPath, problems: list[str]) -> _Grid:
    try:
        return _Grid(directory, read_grid(directory))
    except UserError as error:
        problems.append(f"{error}: its trainings go by the names of their folders")
        return _Grid(directory, ())


def read_grid(directory: AnyPath) -> list[GridRow]:
    """The trials of a training grid.

    Raises:
        UserError: its file cannot be read, or is damaged.
    """
    try:
        rows = json.loads((directory / GRID).read_text())["trials"]
        return [GridRow(**{**row, "search": SearchResult.from_dict(row["search"]) if row["search"] else None}) for row in rows]
    except (OSError, KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{directory / GRID} is damaged ({error!r})") from error
