"""`zcpt train`: found architectures, each with every training seed, as trials of Ray Tune; one table over all seeds."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, fields
from pathlib import Path

from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console, print_next
from zcpt_ray.cli.flags import Help, OwnCode, given_flags, parse
from zcpt_ray.cli.grid_flags import GridFlags, end_with_failures
from zcpt_ray.configs import ImageOptions
from zcpt_ray.train_config import TrainConfig

TRAIN_HELP = Help(
    "train",
    """Train found architectures, each with every training seed, on Ray Tune: one table over search and training seeds.

The architectures are those that searches found (--searches, folders of runs or of an ablation), that --arch gives, or
the genotypes of a file. The same command goes on where it stopped. Four search seeds and four training seeds are what
the paper trains: 4 x 4.""",
    (
        "zcpt train --searches runs/first --dataset digits --epochs 2 --seeds 0 1",
        "zcpt train --searches runs/ablation --dataset cifar10 --recipe cifar",
        "zcpt train --space darts --genotypes genotypes.json --channels 16 --num-cells 8 --max-images 4096",
    ),
    {"seed": "seeds are given by --seeds"},
)


@dataclass(frozen=True)
class TrainFlags:
    """What to train, and how."""

    config: TrainConfig
    searches: tuple[str, ...] = ()
    """Folders or URIs of finished searches, or of folders that hold some; their spaces are taken from there, and their
    images unless others are given.
    """
    genotypes: Path | None = None
    """A JSON object of architectures by name, as text or, on DARTS, as lists `normal` and `reduce`."""
    match: str = ""
    """Of that file, only names in which this regular expression is found."""
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Training seeds."""
    workers: int = 1
    """So many workers (GPUs, where there are any) train each network together, on parts of each minibatch."""
    early_stopping: bool = False
    """Stop what is worse than others at the same epoch (ASHA); their errors are not in the table."""
    smoke: bool = False
    """Two epochs on 64 digits with two seeds, of two random architectures if none is given: shows that everything
    runs.
    """
    out: str = "runs/training"
    """Folder or URI of everything; all nodes of a cluster must see it."""
    own: OwnCode = field(default_factory=OwnCode)
    grid: GridFlags = field(default_factory=GridFlags)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, run the grid; its tables, figures and failures."""
    with one_line_errors():
        run(parse(TrainFlags(TrainConfig(arch="")), TRAIN_HELP, argv), open_console(), given_flags(argv))


def run(flags: TrainFlags, console: Console, given: Set[str] = frozenset()) -> None:
    """Run the grid; its tables, figures and failures. `given` are the flags that were typed.

    Raises:
        UserError: an unknown name, nothing to train, or a folder that cannot be written or not be seen by all nodes.
        SystemExit: some trainings failed.
    """
    config, seeds = flags.config, flags.seeds
    data_flags = {"dataset", *(field.name for field in fields(ImageOptions)), "no_flip"}
    from_searches = bool(flags.searches) and not data_flags & given
    where = "the images of these searches" if from_searches else config.dataset
    chooses = bool(flags.searches) and "recipe" not in given
    how = "the recipe for their space" if chooses else f"recipe {config.recipe}"
    console.print(f"Train on {where} by {how} -> {flags.out}", soft_wrap=True, highlight=False)
    from zcpt_ray.cli.running import run_trainings
    from zcpt_ray.experiments.grids import Trial
    from zcpt_ray.experiments.ranking import random_archs
    from zcpt_ray.experiments.training_grid import (
        by_fitting_recipe,
        finished_trainings,
        found_by,
        given_archs,
        on_data_of,
        smoke_training,
        trainings,
        write_grid,
    )
    from zcpt_ray.experiments.training_trial import training_directory
    from zcpt_ray.reports.output import Output
    from zcpt_ray.reports.training_report import report_trainings
    from zcpt_ray.spaces import find_space
    from zcpt_ray.storage.paths import any_path, require_storage

    out, space = any_path(flags.out), find_space(config.space)
    searches = found_by([any_path(place) for place in flags.searches]) if flags.searches else {}
    if from_searches:
        config = on_data_of(config, searches)
    if chooses:
        config = by_fitting_recipe(config, searches)
    archs = given_archs(space, config.arch, flags.genotypes, flags.match)
    if flags.smoke:
        config, seeds = smoke_training(config), seeds[:2]
        archs = archs if archs or searches else random_archs(space, 2, seed=0)
    grid = trainings(config, seeds, searches, archs)
    trials = {t.name: Trial(t.name, t.plan, {"arch": t.arch_name, "seed": t.config.seed}) for t in grid}
    console.print(f"{len(trials)} trainings{f' by recipe {config.recipe}' if chooses else ''}", highlight=False)
    epochs = grid[0].plan.recipe.epochs if flags.early_stopping else 0
    require_storage(out)
    write_grid(grid, out)
    outcome = run_trainings(list(trials.values()), out, flags.grid, console, config.device, epochs, flags.workers)
    report_trainings(finished_trainings(grid, out), Output(out, console))
    alone = len(grid) == 1 and not outcome.failures
    model = [("export", training_directory(out, grid[0].plan))] if alone else []
    print_next(console, ("report", flags.out), *model)
    end_with_failures(outcome.failures, {t.name: f"{t.arch_name}, training seed {t.config.seed}" for t in grid})
