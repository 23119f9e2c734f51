"""The finished searches and trainings below some folders, local or behind a URI, found by the files in them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zcpt_ray.configs import ImageOptions
from zcpt_ray.errors import UserError
from zcpt_ray.identity import run_name
from zcpt_ray.reports.training_tables import Trained, with_distinct_names
from zcpt_ray.search.records import SearchResult
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.storage.run_directory import read_json
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.records import TrainResult

SEARCH_FILE, TRAINING_FILE, GRID_FILE = "result.json", "training.json", "grid.json"
"""What a directory holds that is a finished search, a finished training, or a grid of trainings."""
TUNE_TRIAL_FILE = "params.json"
"""Ray Tune's own trial directories have it; their `result.json` is none of ours."""
INSIDE_A_SEARCH = ("proposals", "steps", "validations", "finalists", "owners")
"""Folders of a run directory that hold no runs."""
CELLS_FOLDER = "cells"
"""The folder of an ablation that holds one run directory per cell."""


@dataclass(frozen=True)
class FoundSearch:
    """A finished search, where it is, and that directory's name."""

    directory: AnyPath
    result: SearchResult
    name: str


@dataclass(frozen=True)
class FoundRuns:
    """What there is to report, and what is wrong with the rest.

    `searches` are by the folder that they lie in. `trainings` are by their grid or folder, each setting apart; one
    without a grid goes by its directory's name. `trials` counts those of a grid, finished or not. `problems` are lines
    about what cannot be read.
    """

    searches: dict[str, list[FoundSearch]] = field(default_factory=dict)
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

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**vars(self), "search": self.search.to_dict() if self.search else None}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "GridRow":
        """The inverse of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError, UserError: it is none of this version.
        """
        return cls(**{**raw, "search": SearchResult.from_dict(raw["search"]) if raw["search"] else None})


def read_grid(directory: AnyPath) -> list[GridRow]:
    """The trials of a training grid.

    Raises:
        UserError: its file cannot be read, or is damaged.
    """
    try:
        return [GridRow.from_dict(row) for row in read_json(directory / GRID_FILE)["trials"]]
    except (OSError, KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{directory / GRID_FILE} is damaged ({error!r})") from error


def find_runs(places: Sequence[AnyPath]) -> FoundRuns:
    """Everything in and below these folders, each run once.

    Raises:
        UserError: there is nothing to report in any of them.
    """
    finder = _Finder()
    for place in places:
        finder.look_below(place)
    runs = finder.runs()
    if not runs.searches and not runs.trainings:
        raise UserError("; ".join(runs.problems))
    return runs


def search_directories(place: AnyPath) -> Iterator[AnyPath]:
    """The directories of finished searches, `place` or below.

    Raises:
        UserError: a folder that is there cannot be read.
    """
    problems: list[str] = []
    yield from (each.directory for each in _walk(place, problems) if SEARCH_FILE in each.results)
    if problems and place.exists():
        raise UserError("; ".join(problems))


@dataclass(frozen=True)
class _Directory:
    """A directory, and the names of what is in it."""

    directory: AnyPath
    names: frozenset[str]
    parents: "tuple[_Directory, ...]"
    """Those that it was reached through, the nearest first."""

    @property
    def results(self) -> frozenset[str]:
        """Which of its files are results, and not Ray Tune's."""
        ours = {TRAINING_FILE} if TUNE_TRIAL_FILE in self.names else {SEARCH_FILE, TRAINING_FILE}
        return self.names & ours

    @property
    def grid(self) -> AnyPath | None:
        """The folder of the training grid that it belongs to."""
        return next((each.directory for each in (self, *self.parents) if GRID_FILE in each.names), None)


def _walk(
    place: AnyPath, problems: list[str], parents: tuple[_Directory, ...] = (), walked: set[Path] | None = None
) -> Iterator[_Directory]:
    """`place` and all directories below it that may hold runs, each once, whatever links lead to it.

    `problems` gets a line for each that cannot be read.
    """
    walked = set() if walked is None else walked
    if isinstance(place, Path):
        try:
            real = place.resolve()
        except (OSError, RuntimeError) as error:  # a link to itself
            problems.append(f"cannot read {place}: {error}")
            return
        if real in walked:
            return
        walked.add(real)
    try:
        entries: list[AnyPath] = sorted(place.iterdir(), key=str)
    except UserError as error:
        problems.append(str(error))
        return
    except OSError as error:
        problems.append(f"cannot read {place}: {error.strerror or error}")
        return
    here = _Directory(place, frozenset(entry.name for entry in entries), parents)
    yield here
    for entry in entries:
        if entry.name not in INSIDE_A_SEARCH and not entry.name.endswith(".json") and entry.is_dir():
            yield from _walk(entry, problems, (here, *parents), walked)


@dataclass(frozen=True)
class _Trainings:
    """Those at one place and of one setting, and the names of all such trials of their grid."""

    trained: list[Trained] = field(default_factory=list)
    trials: set[str] = field(default_factory=set)


@dataclass
class _Finder:
    """What has been found so far: each directory is read once, and so is each grid."""

    searches: dict[str, list[FoundSearch]] = field(default_factory=lambda: defaultdict(list))
    trainings: dict[tuple[str, TrainConfig], _Trainings] = field(default_factory=lambda: defaultdict(_Trainings))
    problems: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    grids: dict[str, list[GridRow]] = field(default_factory=dict)

    def look_below(self, place: AnyPath) -> None:
        """Take what is in and below a folder; say so if nothing is."""
        empty, noted = True, len(self.problems)
        for found in _walk(place, self.problems):
            if GRID_FILE in found.names:
                self._rows(found.directory)
            if found.results:
                empty = False
                self._take(found)
        if empty and len(self.problems) == noted:
            self.problems.append(f"nothing to report in {place}: no finished search or training is there")

    def runs(self) -> FoundRuns:
        """All of it; trainings by the place where they are and, where one holds several settings, by what differs."""
        runs = FoundRuns(searches=dict(self.searches), problems=self.problems)
        for (place, setting), group in self.trainings.items():
            varied = _varied(other for where, other in self.trainings if where == place)
            told = ", ".join(f"{name} {_shown(getattr(setting, name))}" for name in varied)
            name = f"{place}: {told}" if varied else place
            runs.trainings[name] = with_distinct_names(group.trained)
            if group.trials:
                runs.trials[name] = len(group.trials)
        return runs

    def _take(self, found: _Directory) -> None:
        key = str(found.directory.absolute())
        if key in self.seen:
            return
        self.seen.add(key)
        try:
            if SEARCH_FILE in found.results:
                self._take_search(found.directory)
            if TRAINING_FILE in found.results:
                self._take_training(found)
        except UserError as error:
            self.problems.append(str(error))

    def _take_search(self, directory: AnyPath) -> None:
        result = SearchResult.load(directory)
        if not {"propose", "validate"} <= result.seconds.keys():
            path = directory / SEARCH_FILE
            raise UserError(f"{path} is no result of this version: it does not say how long the search took")
        parent = directory.parent.parent if directory.parent.name == CELLS_FOLDER else directory.parent
        _require_same_code(directory, result, [other.result for other in self.searches[str(parent)]])
        self.searches[str(parent)].append(FoundSearch(directory, result, directory.name or str(directory)))

    def _take_training(self, found: _Directory) -> None:
        """One whose network several searches found is there once for each."""
        directory, grid = found.directory, found.grid
        result = TrainResult.load(directory)
        if not result.history:
            raise UserError(f"{directory / TRAINING_FILE} is no training of this version: it has no epochs")
        rows = self._rows(grid) if grid else []
        setting = run_name(result.config.setting)
        group = self.trainings[str(grid or directory.parent), result.config.setting]
        _require_same_code(directory, result, [other.result for other in group.trained])
        group.trials.update(row.run_id for row in rows if row.setting == setting)
        if all(other.result.config != result.config for other in group.trained):
            trained = [Trained(row.arch_name, result, row.search) for row in rows if row.run_id == directory.name]
            group.trained.extend(trained or [Trained(directory.name, result)])

    def _rows(self, grid: AnyPath) -> list[GridRow]:
        """The trials of a grid; none where they cannot be read."""
        key = str(grid.absolute())
        if key not in self.grids:
            self.grids[key] = []
            try:
                self.grids[key] = read_grid(grid)
            except UserError as error:
                self.problems.append(f"{error}: its trainings go by the names of their folders")
        return self.grids[key]


def _require_same_code(
    directory: AnyPath, result: SearchResult | TrainResult, others: Iterable[SearchResult | TrainResult]
) -> None:
    """Leave out what would be taken for another run of its configuration.

    Raises:
        UserError: one of `others` has the configuration of `result`, with other code of the user's own.
    """
    if any(other.config == result.config and other.own != result.own for other in others):
        raise UserError(
            f"{directory} is left out: a run beside it has the same configuration, and other code of your own"
            f" ({', '.join(result.own) or 'none'}); report the two one by one"
        )


def _varied(settings: Iterable[TrainConfig]) -> list[str]:
    """The fields in which some settings differ."""
    values = [vars(setting) for setting in settings]
    return [name for name in values[0] if len({each[name] for each in values}) > 1]


def _shown(value: object) -> str:
    if not isinstance(value, ImageOptions):
        return str(value)
    return ", ".join(f"{name} {item}" for name, item in value.given.items()) or "as they are"
