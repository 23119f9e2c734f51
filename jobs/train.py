"""Train found architectures: each with every training seed, as trials of Ray Tune, to one table over search and training seeds.

The architectures are those that searches found (--searches, folders of runs or of an ablation), that --arch gives, or the genotypes
of a file. The same command goes on where it stopped. With no more than the search seeds and four training seeds this is what the
paper trains: 4 x 4.
"""

from dataclasses import dataclass, field
from pathlib import Path

from zcpt_ray.cli import Report, open_console, start
from zcpt_ray.configs import SearchConfig, TrainConfig
from zcpt_ray.experiments import GridFlags, end_with_failures, run_trainings
from zcpt_ray.files import any_path
from zcpt_ray.grid_reports import report_trainings
from zcpt_ray.grids import Trial, require_storage
from zcpt_ray.ranking import random_archs
from zcpt_ray.recipes import RECIPES
from zcpt_ray.training import resolve
from zcpt_ray.training_grid import found_by, given_archs, smoke_training, trainings, write_grid


@dataclass(frozen=True)
class Options:
    """What to train, and how."""

    config: TrainConfig
    searches: tuple[str, ...] = ()
    """Folders or URIs of finished searches, or of folders that hold some; their spaces are taken from there."""
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
    """Two epochs on 64 digits with two seeds, of two random architectures if none is given: shows that everything runs."""
    flags: GridFlags = field(default_factory=GridFlags)
    out: str = "runs/training"
    """Folder or URI of everything; all nodes of a cluster must see it."""


def main(options: Options) -> None:
    """Run the grid; its tables, figures and failures."""
    console, out, config, seeds = open_console(), any_path(options.out), options.config, options.seeds
    searches = found_by([any_path(place) for place in options.searches]) if options.searches else {}
    archs = given_archs(config.space, config.arch, options.genotypes, options.match)
    if options.smoke:
        config, seeds = smoke_training(config), seeds[:2]
        archs = archs if archs or searches else random_archs(SearchConfig(space=config.space), 2)
    grid = trainings(config, seeds, searches, archs)
    trials = {t.name: Trial(t.name, t.config, {"arch": t.arch_name, "seed": t.config.seed}) for t in grid}
    console.print(f"{len(trials)} trainings on {config.dataset}, recipe {config.recipe} -> {out}", soft_wrap=True, highlight=False)
    epochs = resolve(grid[0].config).recipe.epochs if options.early_stopping else 0
    require_storage(out)
    write_grid(grid, out)
    outcome = run_trainings(list(trials.values()), out, options.flags, console, config.device, epochs, options.workers)
    report_trainings(grid, Report(out, console))
    end_with_failures(outcome.failures, {t.name: f"{t.arch_name}, training seed {t.config.seed}" for t in grid})


if __name__ == "__main__":
    defaults = Options(TrainConfig(arch=""))
    start(main, defaults, __doc__ or "", {"recipes": RECIPES}, {"seed": "seeds are given by --seeds"})
