"""`zcpt baselines`: searches of the paper by name, with any proxies and seeds, in one table beside the paper's
table 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console, print_next, require_some
from zcpt_ray.cli.flags import Cluster, Help, OwnCode, parse
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError

if TYPE_CHECKING:
    from zcpt_ray.search.records import SearchResult

NASWOT_FLAG = "--naswot-draws"
COMPARISON_TITLE = (
    "Test error [%], mean ± standard deviation over search seeds and single training seeds, of naswot over draws"
)


def _choices() -> dict[str, Sequence[str]]:
    from zcpt_ray.experiments.baselines import SEARCHES

    return {"searches": tuple(SEARCHES)}


BASELINES_HELP = Help(
    "baselines",
    "Compare the paper's searches, by name, with any proxies and seeds.",
    (
        "zcpt baselines --searches zero-cost-pt random --seeds 0 1 --batch-size 64 --num-validations 10",
        "zcpt baselines --dataset cifar10 --proxies nwot-released synflow",
        "zcpt baselines --dataset cifar10 --naswot-draws 500",
    ),
    {
        "seed": "seeds are given by --seeds",
        "proxy": "proxies are given by --proxies",
        "scoring": "--searches fixes it",
        "method": "--searches fixes it",
    },
    _choices,
)


@dataclass(frozen=True)
class BaselineFlags:
    """Which searches to run; those that are finished are read."""

    config: SearchConfig
    searches: tuple[str, ...] = ("zero-cost-pt", "zero-cost-disc", "random", "max-param")
    """Their names, which fix scoring and method, and some order, N and V; what they leave open is as the other flags
    say."""
    proxies: tuple[str, ...] = ("nwot-released",)
    """Each search is run with each of them, but for searches that use none or bring their own."""
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Search seeds."""
    naswot_draws: int = 0
    """Also NASWOT with N = 1000 by each proxy, averaged over so many draws from the scores of every network (paper:
    500).
    """
    verbose: bool = False
    """Print the report of each search, not a line."""
    smoke: bool = False
    """Shrink each search, with one seed."""
    out: str = "runs/baselines"
    """Folder, local or a URI, of the run directories and of table.csv, .md, .tex and .parquet."""
    own: OwnCode = field(default_factory=OwnCode)
    cluster: Cluster = field(default_factory=Cluster)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, run the searches, print and save their table."""
    with one_line_errors():
        run(parse(BaselineFlags(SearchConfig()), BASELINES_HELP, argv), open_console())


def run(flags: BaselineFlags, console: Console) -> None:
    """Run them one after another; Ray spreads each over its cluster.

    Raises:
        UserError: an unknown name, missing data, or a flag without a value.
    """
    require_some(searches=flags.searches, proxies=flags.proxies, seeds=flags.seeds)
    config, seeds = replace(flags.config, seed=flags.seeds[0]), flags.seeds[:1] if flags.smoke else flags.seeds
    console.print(f"Compare {', '.join(flags.searches)} in {config.space} on {config.dataset}", highlight=False)
    import pandas as pd

    from zcpt_ray.benchmarks.tables import benchmark_note, has_partial_table, require_benchmark
    from zcpt_ray.cli.running import run_search_there, spread
    from zcpt_ray.experiments.baselines import named_searches, naswot_row
    from zcpt_ray.reports.search_report import print_result
    from zcpt_ray.reports.tables import comparison_table, with_dashes, write_table
    from zcpt_ray.reports.terminal import print_table
    from zcpt_ray.resources import RESOURCES
    from zcpt_ray.search.resolved import Search, flags_of, smoke, with_proxy
    from zcpt_ray.search.run_files import VALIDATIONS
    from zcpt_ray.storage.paths import any_path

    named = named_searches(config, flags.searches, flags.proxies)
    if flags.naswot_draws:
        benchmark = require_benchmark(config.space, NASWOT_FLAG)
        for dataset in benchmark.datasets:
            benchmark.accuracies(dataset, "test accuracy")  # raises where the table is a partial one
        if limited := [RESOURCES[name] for name in config.limits]:
            raise UserError(f"{NASWOT_FLAG} draws from all networks: leave out {flags_of(limited)}")
    if flags.smoke:
        config, named = smoke(config), {label: smoke(each) for label, each in named.items()}
    out, beside_paper = any_path(flags.out), not flags.smoke
    results: dict[str, list[SearchResult]] = {}
    for label, each in named.items():
        for seed in seeds:
            search = Search.of(replace(each, seed=seed))
            directory = out / f"{label.replace(' ', '-')}-{search.run_id}"
            shared = out / VALIDATIONS
            result = run_search_there(search, directory, flags.cluster, console, not flags.verbose, shared).result
            results.setdefault(label, []).append(result)
            if flags.verbose:
                print_result(
                    result, console, benchmark_note(config.space, config.dataset), has_partial_table(config.space)
                )
            else:
                console.print(f"{label}, seed {seed}: {_line(result)}", highlight=False, soft_wrap=True)
            write_table(comparison_table(results, beside_paper), out / "table")
    table = comparison_table(results, beside_paper)
    if flags.naswot_draws:
        drawing = [Search.of(replace(with_proxy(config, proxy), scoring="best-zc")) for proxy in flags.proxies]
        there = spread(flags.cluster, config.device)
        rows = [naswot_row(search, benchmark, flags.naswot_draws, there, beside_paper) for search in drawing]
        table = with_dashes(pd.DataFrame([*table.astype(str).to_dict("records"), *rows]))
        write_table(table, out / "table")
    print_table(console, table, COMPARISON_TITLE)
    console.print(f"Table: {out / 'table.csv'} (and .md, .tex, .parquet)", soft_wrap=True, highlight=False)
    print_next(console, ("report", flags.out))


def _line(result: "SearchResult") -> str:
    """What a search found, in one line."""
    errors = ", ".join(f"{dataset} {entry.error:.2f} %" for dataset, entry in (result.benchmark or {}).items())
    seconds = result.task_seconds
    told = f"test error {errors}, " if errors else ""
    return f"{told}{result.best.params / 1e6:.3f} M parameters, {seconds:.1f} s: {result.best.arch}"
