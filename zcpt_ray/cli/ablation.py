"""`zcpt ablation`: a grid of searches on Ray Tune, with the paper's grids as presets; one table over search seeds."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console, print_next
from zcpt_ray.cli.flags import Help, OwnCode, given_flags, parse, words_of
from zcpt_ray.cli.grid_flags import GridFlags, end_with_failures
from zcpt_ray.configs import SearchConfig

ABLATION_HELP = Help(
    "ablation",
    """Search over a grid, on Ray Tune: one table over search seeds.

Presets: proxies (table 2 of the paper), orders (table 5), proposals-validations (figure 4; with --space darts table 3),
darts-proxies (table A7), subspaces (table A9), choosing (how the winner is chosen of the candidates: by which proxy,
with neighbours, with finalists). Any axis may be given otherwise, and any other flag holds for all cells.
The same command goes on where it stopped, and a larger grid takes what a smaller one has left in the same folder.""",
    (
        "zcpt ablation --preset orders --batch-size 32 --proposals 2 --validations 5 --seeds 0 1",
        "zcpt ablation --preset proposals-validations --dataset cifar10 --proposals 1 10 100 --validations 0 10",
        "zcpt ablation --proxies nwot synflow --orders random fixed --out s3://bucket/grid",
    ),
    {"seed": "seeds are given by --seeds"},
)


@dataclass(frozen=True)
class AblationFlags:
    """The cells of the grid, and where they run."""

    config: SearchConfig
    preset: str = "orders"
    """Which axes have which values, unless they are given below."""
    spaces: tuple[str, ...] = ()
    """Search spaces."""
    datasets: tuple[str, ...] = ()
    """Data sets."""
    proxies: tuple[str, ...] = ()
    """Proxies."""
    orders: tuple[str, ...] = ()
    """Orders."""
    proposals: tuple[int, ...] = ()
    """Values of N. Cells share proposals and scores where they make the same: those that differ in N and V, say."""
    batch_sizes: tuple[int, ...] = ()
    """Images per minibatch."""
    proposal_weight_counts: tuple[int, ...] = ()
    """With how many sets of weights proposals are made."""
    validations: tuple[int, ...] = ()
    """Values of V."""
    validation_proxies: tuple[str, ...] = ()
    """Proxies that score candidates."""
    weight_counts: tuple[int, ...] = ()
    """With how many sets of weights candidates are scored."""
    neighbour_counts: tuple[int, ...] = ()
    """Of how many of the best candidates the neighbours join."""
    finalist_counts: tuple[int, ...] = ()
    """How many candidates are trained for a few epochs, or looked up (--finalist-source benchmark)."""
    seeds: tuple[int, ...] = ()
    """Search seeds; 0 to 3 by default."""
    smoke: bool = False
    """As small as it goes, with two values of each axis and one seed, on digits: shows that everything runs."""
    out: str = "runs/ablation"
    """Folder or URI of everything; all nodes of a cluster must see it."""
    own: OwnCode = field(default_factory=OwnCode)
    grid: GridFlags = field(default_factory=GridFlags)

    @property
    def axes(self) -> dict[str, Sequence[Any]]:
        """By field of the configuration."""
        return {
            "space": self.spaces,
            "dataset": self.datasets,
            "batch_size": self.batch_sizes,
            "proxy": self.proxies,
            "order": self.orders,
            "proposal_weights": self.proposal_weight_counts,
            "num_proposals": self.proposals,
            "num_validations": self.validations,
            "validation_proxy": self.validation_proxies,
            "validation_weights": self.weight_counts,
            "neighbours": self.neighbour_counts,
            "finalists": self.finalist_counts,
            "seed": self.seeds,
        }


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, run the grid; its tables, figures and failures."""
    with one_line_errors():
        run(parse(AblationFlags(SearchConfig()), ABLATION_HELP, argv), open_console(), given_flags(argv))


def run(flags: AblationFlags, console: Console, given: Collection[str] = ()) -> None:
    """Run the grid; its tables, figures and failures. What was `given` holds for all cells, whatever the preset says.

    Raises:
        UserError: an unknown name, or a folder that cannot be written or not be seen by all nodes.
        SystemExit: some cells failed.
    """
    console.print(f"Ablation {flags.preset} -> {flags.out}", soft_wrap=True, highlight=False)
    from zcpt_ray.cli.running import run_trials
    from zcpt_ray.experiments.ablation import (
        cell_label,
        finished_cells,
        grid,
        search_and_report,
        shared_runs,
        smoke_grid,
        trials,
    )
    from zcpt_ray.reports.ablation_report import report_ablation
    from zcpt_ray.reports.output import Output
    from zcpt_ray.storage.paths import any_path

    out = any_path(flags.out)
    cells = grid(flags.config, flags.preset, flags.axes, given)
    cells = smoke_grid(cells) if flags.smoke else cells
    runs = shared_runs(cells)
    shared = " (cells that make the same proposals share one)" if len(runs) < len(cells) else ""
    console.print(f"{len(cells)} cells of {len(runs)} searches{shared}", soft_wrap=True, highlight=False)
    outcome = run_trials(trials(runs), search_and_report, out, flags.grid, console, flags.config.device)
    report_ablation(finished_cells(cells, out), Output(out, console))
    images = words_of(cells[0].config.images)
    print_next(
        console,
        ("report", flags.out),
        ("train", "--searches", flags.out, "--dataset", cells[0].config.dataset, *images, *flags.own.words),
    )
    largest = [members[0] for members in runs.values()]
    end_with_failures(outcome.failures, {name: cell_label(members[0], largest) for name, members in runs.items()})
