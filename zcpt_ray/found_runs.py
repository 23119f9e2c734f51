"""The finished searches and trainings below some folders, local or behind a URI, found by what their directories hold."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from zcpt_ray.configs import run_id
from zcpt_ray.errors import UserError
from zcpt_ray.files import AnyPath
from zcpt_ray.records import SearchResult
from zcpt_ray.training_records import TrainResult

Result = TypeVar("Result", SearchResult, TrainResult)
SEARCH, TRAINING, GRID = "result.json", "training.json", "grid.json"
TUNE_TRIAL = "params.json"
"""Ray Tune's own trial directories have it; their `result.json` is none of ours."""
INSIDE_A_SEARCH = ("proposals", "validations")
CELLS = "cells"
"""The folder of an ablation that holds one run directory per cell."""


@dataclass(frozen=True)
class Found(Generic[Result]):
    """A finished run, where it is, and what its grid calls its architecture (without a grid: the directory's name)."""

    directory: AnyPath
    result: Result
    name: str


@dataclass(frozen=True)
class FoundRuns:
    """Searches by the folder that they lie in, trainings by their grid or folder; `trials` are those of a grid, finished or not.

    `problems` are lines about what cannot be read.
    """

    searches: dict[str, list[Found[SearchResult]]] = field(default_factory=dict)
    trainings: dict[str, list[Found[TrainResult]]] = field(default_factory=dict)
    trials: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Grid:
    """Where a training grid is, and what it calls the architectures of its trials, by run."""

    directory: AnyPath
    names: Mapping[str, str]


def find_runs(places: Sequence[AnyPath]) -> FoundRuns:
    """Everything in and below these folders, each run once.

    Raises:
        UserError: there is nothing to report in any of them.
    """
    runs, seen = FoundRuns(), set[str]()
    for place in places:
        empty, noted = True, len(runs.problems)
        for directory, names, grid in _walk(place, None, runs.problems):
            ours = _ours(names)
            empty = empty and not ours
            if ours and str(directory.absolute()) not in seen:
                seen.add(str(directory.absolute()))
                try:
                    _add(runs, directory, ours, grid)
                except UserError as error:
                    runs.problems.append(str(error))
        if empty and len(runs.problems) == noted:
            runs.problems.append(f"nothing to report in {place}: no finished search or training is there")
    if not runs.searches and not runs.trainings:
        raise UserError("; ".join(runs.problems))
    return runs


def search_directories(place: AnyPath) -> Iterator[AnyPath]:
    """The directories of finished searches, `place` or below.

    Raises:
        UserError: a folder that is there cannot be read.
    """
    problems: list[str] = []
    for directory, names, _ in _walk(place, None, problems):
        if SEARCH in _ours(names):
            yield directory
    if problems and place.exists():
        raise UserError("; ".join(problems))


def _ours(names: set[str]) -> set[str]:
    """What of a directory's files are results, and not Ray Tune's."""
    return names & {SEARCH, TRAINING} if TUNE_TRIAL not in names else names & {TRAINING}


def _add(runs: FoundRuns, directory: AnyPath, ours: set[str], grid: _Grid | None) -> None:
    if SEARCH in ours:
        parent = directory.parent.parent if directory.parent.name == CELLS else directory.parent
        result = SearchResult.load(directory)
        if not {"propose", "validate"} <= result.seconds.keys():
            raise UserError(f"{directory / SEARCH} is no result of this version: it does not say how long the search took")
        runs.searches.setdefault(str(parent), []).append(Found(directory, result, directory.name or str(directory)))
    if TRAINING in ours:
        trained = TrainResult.load(directory)
        if not trained.history:
            raise UserError(f"{directory / TRAINING} is no training of this version: it has no epochs")
        name = grid.names.get(run_id(trained.config), directory.name) if grid else directory.name
        group = runs.trainings.setdefault(str(grid.directory if grid else directory.parent), [])
        if grid:
            runs.trials[str(grid.directory)] = len(grid.names)
        if all(other.result.config != trained.config for other in group):
            group.append(Found(directory, trained, name))


def _walk(directory: AnyPath, grid: _Grid | None, problems: list[str]) -> Iterator[tuple[AnyPath, set[str], _Grid | None]]:
    """Each directory, what is in it, and the grid that it belongs to."""
    try:
        entries: list[AnyPath] = sorted(directory.iterdir(), key=str)
    except (OSError, UserError) as error:
        problems.append(str(error) if isinstance(error, UserError) else f"cannot read {directory}: {error.strerror or error}")
        return
    names = {entry.name for entry in entries}
    if GRID in names:
        grid = _read_grid(directory, problems)
    yield directory, names, grid
    for entry in entries:
        if entry.name not in INSIDE_A_SEARCH and not entry.name.endswith(".json") and entry.is_dir():
            yield from _walk(entry, grid, problems)


def _read_grid(directory: AnyPath, problems: list[str]) -> _Grid:
    try:
        trials = json.loads((directory / GRID).read_text())["trials"]
        return _Grid(directory, {str(trial["run_id"]): str(trial["arch_name"]) for trial in trials})
    except (OSError, KeyError, TypeError, ValueError) as error:
        problems.append(f"{directory / GRID} is damaged ({error!r}): its trainings go by the names of their folders")
        return _Grid(directory, {})
