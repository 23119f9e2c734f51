"""Architectures x training seeds: which trainings there are, and each as the work of a trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zcpt_ray.benchmarks.tables import as_written
from zcpt_ray.configs import AS_THEY_ARE
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.ablation import config_label, require_distinct
from zcpt_ray.experiments.ranking import read_archs
from zcpt_ray.experiments.training_trial import training_directory
from zcpt_ray.identity import run_name
from zcpt_ray.reports.run_folders import GridRow, read_grid, search_directories
from zcpt_ray.reports.training_tables import Trained
from zcpt_ray.search.records import SearchResult
from zcpt_ray.spaces import Space, find_space
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.storage.run_directory import write_json
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.records import TrainResult


@dataclass(frozen=True)
class Training:
    """One training of a grid: `arch_name` tells its architecture from the others."""

    arch_name: str
    plan: TrainPlan
    search: SearchResult | None = None

    @property
    def config(self) -> TrainConfig:
        """How it is trained."""
        return self.plan.config

    @property
    def name(self) -> str:
        """Of its trial; the same where two searches found one architecture."""
        return self.plan.run_id


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
        label = config_label(result.config, configs)
        while label in named:
            label += "'"  # the same search in two folders
        named[label] = result
    return named


def on_data_of(base: TrainConfig, searches: Mapping[str, SearchResult]) -> TrainConfig:
    """`base` with the data set that the searches were on, and its images as they had them.

    Raises:
        UserError: they were on several.
    """
    found = {(result.config.dataset, result.config.images) for result in searches.values()}
    if len(found) > 1:
        names = ", ".join(sorted({dataset for dataset, _ in found}))
        raise UserError(f"these searches were on different images ({names}): say --dataset, and how it is read")
    ((dataset, images),) = found
    return replace(base, dataset=dataset, images=images)


def by_fitting_recipe(base: TrainConfig, searches: Mapping[str, SearchResult]) -> TrainConfig:
    """`base` with the recipe for the spaces and the data of searches; as it is where these are of several."""
    recipes = set()
    for result in searches.values():
        space = find_space(result.config.space)
        recipes.add(space.recipe_on(base.dataset))
    return replace(base, recipe=recipes.pop()) if len(recipes) == 1 else base


def trainings(
    base: TrainConfig, seeds: Sequence[int], searches: Mapping[str, SearchResult], archs: Mapping[str, str]
) -> list[Training]:
    """Every architecture with every training seed: what searches found best, and `archs`, in the space of `base`.

    Raises:
        UserError: there is nothing to train, or a training cannot be done; it is said before any is begun.
    """
    space = find_space(base.space)
    chosen: list[tuple[str, TrainConfig, SearchResult | None]] = []
    for name, result in searches.items():
        chosen.append((name, replace(base, space=result.config.space, arch=result.best.arch), result))
    for name, text in archs.items():
        chosen.append((name, replace(base, arch=as_written(space, text)), None))
    if not chosen or not seeds:
        raise UserError(
            "nothing to train: give --searches FOLDER..., --arch TEXT or --genotypes FILE, and at least one of --seeds"
        )
    require_distinct("--seeds", seeds)
    return [
        Training(name, TrainPlan.of(replace(config, seed=seed)), result)
        for name, config, result in chosen
        for seed in seeds
    ]


def smoke_training(base: TrainConfig) -> TrainConfig:
    """The same as small as it goes: two epochs on a few digits."""
    small = find_space(base.space).smallest_sizes
    return replace(base, dataset="digits", images=AS_THEY_ARE, epochs=2, batch_size=16, max_images=64, **small)  # type: ignore[arg-type]


def given_archs(space: Space, arch: str, genotypes: Path | None, match: str) -> dict[str, str]:
    """Architectures given as text, and those of a file (`ranking.read_archs`), by name."""
    return ({"given": arch} if arch else {}) | (read_archs(genotypes, space, match) if genotypes else {})


def finished_trainings(grid: Sequence[Training], out: AnyPath) -> list[Trained]:
    """Those of a grid that are finished, in its order."""
    folders = [(training, training_directory(out, training.plan)) for training in grid]
    return [
        Trained(training.arch_name, TrainResult.load(folder), training.search)
        for training, folder in folders
        if (folder / "training.json").exists()
    ]


def write_grid(grid: Sequence[Training], out: AnyPath) -> None:
    """`grid.json`: which trial is which architecture with which seed, and the search behind it.

    What earlier grids in the same folder have begun stays there.

    Raises:
        UserError: the file of an earlier grid cannot be read.
    """
    rows = []
    for training in grid:
        search = training.search and replace(training.search, candidates=())
        setting = run_name(training.config.setting)
        rows.append(GridRow(training.arch_name, training.name, training.config.seed, setting, search))
    if (out / "grid.json").exists():
        here = {_what(row) for row in rows}
        begun = [row for row in read_grid(out) if (out / "trials" / row.run_id).exists()]
        rows += [row for row in begun if _what(row) not in here]
    write_json(out / "grid.json", {"trials": [row.to_dict() for row in rows]})


def _what(row: GridRow) -> tuple[str, str]:
    """The trial, and the search behind it, whatever they are called."""
    return row.run_id, row.search.run_id if row.search else ""
