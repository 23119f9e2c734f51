"""An ablation of the paper, or any grid of searches, on Ray Tune: one table over search seeds.

Presets: proxies (table 2), orders (table 5), proposals-validations (figure 4; with --space darts table 3), darts-proxies
(table A7), subspaces (table A9). Any axis may be given otherwise, and any other flag holds for all cells. The same command goes
on where it stopped, and a larger grid takes what a smaller one has left in the same folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zcpt_ray.ablation import PRESETS, cell_label, grid, search_and_report, shared_runs, smoke_grid
from zcpt_ray.cli import Report, open_console, start
from zcpt_ray.configs import SearchConfig
from zcpt_ray.experiments import GridFlags, end_with_failures, run_trials
from zcpt_ray.files import any_path
from zcpt_ray.grid_reports import report_ablation
from zcpt_ray.grids import Trial


@dataclass(frozen=True)
class Options:
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
    """Values of N. Cells that differ in N and V only share their proposals and validation scores."""
    validations: tuple[int, ...] = ()
    """Values of V."""
    seeds: tuple[int, ...] = ()
    """Search seeds; 0 to 3 by default."""
    smoke: bool = False
    """As small as it goes, with two values of each axis and one seed, on digits: shows that everything runs."""
    flags: GridFlags = field(default_factory=GridFlags)
    out: str = "runs/ablation"
    """Folder or URI of everything; all nodes of a cluster must see it."""


def main(options: Options) -> None:
    """Run the grid; its tables, figures and failures."""
    console, out = open_console(), any_path(options.out)
    axes: dict[str, Sequence[Any]] = {"space": options.spaces, "dataset": options.datasets, "proxy": options.proxies}
    axes |= {"order": options.orders, "num_proposals": options.proposals, "num_validations": options.validations}
    cells = grid(options.config, options.preset, axes | {"seed": options.seeds})
    cells = smoke_grid(cells) if options.smoke else cells
    runs = shared_runs(cells)
    shared = " (cells that differ in N and V only share one)" if len(runs) < len(cells) else ""
    console.print(f"{len(cells)} cells of {len(runs)} searches{shared} -> {out}", soft_wrap=True, highlight=False)
    trials = [Trial(name, members, {"proxy": members[0].proxy, "order": members[0].order}) for name, members in runs.items()]
    outcome = run_trials(trials, search_and_report, out, options.flags, console, options.config.device)
    report_ablation(cells, Report(out, console))
    largest = [members[0] for members in runs.values()]
    end_with_failures(outcome.failures, {name: cell_label(members[0], largest) for name, members in runs.items()})


if __name__ == "__main__":
    start(main, Options(SearchConfig()), __doc__ or "", {"presets": PRESETS}, {"seed": "seeds are given by --seeds"})
